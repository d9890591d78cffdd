"""A thread that looks on while the driver waits in Ray, and can end its block in one sentence."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator

from dtb.errors import StageError
from dtb.terminal import err


class Watcher:
    """What a watching function sees of the block that it watches.

    It waits by a pipe and not by `threading`, whose waits follow a clock that is set back on some systems.

    Parameters
    ----------
    over : int
        Descriptor of a pipe that is closed at its other end when the block is left.
    is_main : bool
        Whether the block is in the main thread, the only one that can be interrupted.
    """

    def __init__(self, over: int, is_main: bool) -> None:
        self._over = over
        self._is_main = is_main
        self.reason: str | None = None
        """Why the block is ended; None while it is not."""

    def is_over_after(self, seconds: float) -> bool:
        """Wait so long, or until the block is left; return whether it was."""
        return bool(select.select([self._over], [], [], seconds)[0])

    def give_up(self, reason: str) -> None:
        """Interrupt the block, which then raises `StageError` of this sentence; in another thread than the main one, only print it."""
        main = threading.main_thread().ident
        if self._is_main and main is not None:
            self.reason = reason
            signal.pthread_kill(main, signal.SIGINT)  # which also ends a sleep
        else:
            err.print(reason)


@contextlib.contextmanager
def watched(watch: Callable[[Watcher], None]) -> Iterator[None]:
    """Run a function in a thread for as long as the block lasts.

    Parameters
    ----------
    watch : callable
        Returns when `Watcher.is_over_after` is true, or earlier.

    Raises
    ------
    StageError
        The function gave the block up.
    """
    over, leaving = os.pipe()
    watcher = Watcher(over, threading.current_thread() is threading.main_thread())
    thread = threading.Thread(target=watch, args=(watcher,), name="watcher", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if watcher.reason is not None and not isinstance(error, StageError):
            raise StageError(watcher.reason) from None
        raise
    finally:
        os.close(leaving)
        thread.join()
        os.close(over)
