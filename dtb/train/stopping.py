"""Saving when a scheduler takes the machine back: by SIGTERM to the driver, or by Ray's word that a node will be gone.

The driver says so in the output folder, where the first rank looks about once a second. Ranks agree on the steps after which it looks, so
all of them save at the same place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch

from dtb.cluster.shared_folder import SharedFolder
from dtb.errors import ToldToEndError
from dtb.terminal import err
from dtb.train.log import note

Wanted = Literal["", "save", "end"]
_EVERY_SECONDS = 1.0
_END, _LEAVING = "end", "a-node-leaves"


class LookOut:
    """Says, after a step, whether a checkpoint is wanted now; every rank must call it after the same steps.

    Parameters
    ----------
    is_told : callable
        Whether the training was told to end; asked on the first rank.
    leaving_nodes : callable
        Returns the names of nodes that will be gone soon; every rank calls it, and all get the same.
    on_leaving : callable
        Called on the first rank when there are further ones.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        is_told: Callable[[], bool],
        leaving_nodes: Callable[[], tuple[str, ...]] = tuple,
        on_leaving: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_told, self._leaving_nodes, self._on_leaving, self._clock = is_told, leaving_nodes, on_leaving, clock
        self._due = 0
        self._last: tuple[int, float] | None = None
        self._saved_for: tuple[str, ...] = ()

    def __call__(self, made: int) -> Wanted:
        """Return what is wanted after so many steps of the training."""
        if made < self._due:
            return ""
        now = self._clock()
        pace = 1.0
        if self._last is not None and made > self._last[0]:
            pace = max((made - self._last[0]) * _EVERY_SECONDS / max(now - self._last[1], 1e-3), 1.0)
        self._last = made, now
        is_first = torch.distributed.get_rank() == 0
        said: list[Any] = [(made + int(pace), self._is_told()) if is_first else None]
        torch.distributed.broadcast_object_list(said, src=0)
        self._due, is_told = said[0]
        if is_told:
            return "end"
        leaving = self._leaving_nodes()
        is_news = not set(leaving) <= set(self._saved_for)
        self._saved_for = leaving
        if is_news and is_first:
            self._on_leaving()
        return "save" if is_news else ""


def is_told(folder: SharedFolder) -> bool:
    """Whether the driver of this folder was told to end."""
    return folder.told() == _END


def look_out_of(folders: Sequence[SharedFolder], leaving_nodes: Callable[[], tuple[str, ...]]) -> LookOut:
    """Return what a rank looks out for: a driver's word in the output folder, or in that of its sweep, and nodes that will be gone soon."""

    def on_leaving() -> None:
        note(
            folders[0].folder,
            "A node is taken back: the training saves, goes on, and begins again from there without it.",
        )
        folders[0].mark(_LEAVING)

    return LookOut(lambda: any(map(is_told, folders)), leaving_nodes, on_leaving)


def has_lost_announced_node(folder: SharedFolder) -> bool:
    """Whether ranks saved because a node would be gone: what broke then is no failure."""
    return folder.holds(_LEAVING)


@contextlib.contextmanager
def saving_on_termination(folder: SharedFolder, grace_seconds: float) -> Iterator[None]:
    """Answer SIGTERM within the block by having the ranks save and end; after the grace, or at the second one, interrupt.

    In another thread than the main one, which alone may answer signals, nothing is changed.

    Parameters
    ----------
    folder : SharedFolder
        The output folder.
    grace_seconds : float
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    at_last = threading.Timer(grace_seconds, os.kill, (os.getpid(), signal.SIGTERM))
    at_last.daemon = True

    def answer(_signal: int, _frame: object) -> None:
        if at_last.ident is not None:  # it was started before
            raise KeyboardInterrupt
        at_last.start()
        folder.tell(_END)
        err.print(f"Told to end: training saves, for which it has {grace_seconds:g} s (cluster.grace_seconds).")

    before = signal.signal(signal.SIGTERM, answer)
    try:
        yield
    except ToldToEndError:
        raise
    except Exception:
        if at_last.ident is not None:  # whatever else broke, it is told to end and not tried again
            raise KeyboardInterrupt from None
        raise
    finally:
        at_last.cancel()
        signal.signal(signal.SIGTERM, before)
