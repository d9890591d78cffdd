"""A clock that is set back while a training starts: Ray's processes count waits by it, and one of them may wait as long as it was set back.

So the driver looks, by the monotonic clock alone, whether the ranks have begun; where they have not within ten minutes of the
clock's going back, it ends the training, with all its processes, in one sentence.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from dtb.terminal import err
from dtb.train.driver.watcher import Watcher, watched
from dtb.train.log import read_begun

LEAST_SECONDS = 5.0
"""How far a clock has to go back to be told of: clocks are corrected by less all the time, and so long a wait is none."""
START_SECONDS = 600.0
"""What ranks have to begin in, once the clock was set back."""
END_SECONDS = 60.0
"""What the driver has to end by itself before it is ended."""
_LOOK_SECONDS = 0.5


@contextlib.contextmanager
def ended_if_clock_holds_it(out: Path) -> Iterator[None]:
    """End a training within the block if its clock is set back while it starts, and its ranks then do not begin.

    Parameters
    ----------
    out : Path
        Output folder of the training.

    Raises
    ------
    StageError
        They did not begin. Where Python gets no word in, because Ray waits, the processes of this one and then itself are ended, with
        code 1.
    """
    with watched(functools.partial(_watch, out)):
        yield


def _watch(out: Path, watcher: Watcher) -> None:
    before, set_back, since = read_begun(out), 0.0, 0.0
    ahead = time.time() - time.monotonic()
    while not watcher.is_over_after(_LOOK_SECONDS):
        last, ahead = ahead, time.time() - time.monotonic()
        has_begun = read_begun(out) not in (None, before)
        if has_begun:
            set_back = 0.0
        elif last - ahead > LEAST_SECONDS:
            set_back, since = last - ahead, time.monotonic()
            err.print(
                f"Warning: this machine's clock was set back by {set_back:.0f} s while training starts, and Ray counts by it. If training "
                f"has not begun in {START_SECONDS / 60:.3g} min, it ends."
            )
        if set_back and watcher.reason is None and time.monotonic() - since > START_SECONDS:
            watcher.give_up(
                f"This machine's clock was set back by {set_back:.0f} s while training started, and the workers have not begun in "
                f"{START_SECONDS / 60:.3g} min since. Keep the clock steady, and run the same command with --resume."
            )
            since = time.monotonic()
        elif watcher.reason is not None and time.monotonic() - since > END_SECONDS:
            err.print(watcher.reason)
            end_processes()
            os._exit(1)


def end_processes() -> None:
    """End all processes that this one started, and theirs."""
    processes = psutil.Process().children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=10)
