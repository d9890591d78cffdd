"""Messages of the driver while its workers train: epochs and notes, from the files that rank 0 writes."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dtb.terminal import err
from dtb.train.budget import Budget
from dtb.train.log import ALIVE_FILE, METRICS_FILE, NOTES_FILE, read_metrics, whole_lines

_ALIVE_SECONDS = 5.0
_LINES = 60


@contextlib.contextmanager
def print_messages(out: Path, budget: Budget, on_epoch: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Print figures of epochs, and notes, as rank 0 writes them, and show that the driver is alive.

    Of many epochs only every n-th and the last is printed, so that a training fills a screen or two.
    """
    over = threading.Event()
    every = -(-budget.max_epochs // _LINES)

    def follow() -> None:
        last_epoch = max((row["epoch"] for row in read_metrics(out / METRICS_FILE)), default=0)
        num_notes = len(whole_lines(out / NOTES_FILE))
        touched = -math.inf
        unsaid: str | None = None
        while True:
            if time.monotonic() - touched > _ALIVE_SECONDS:
                (out / ALIVE_FILE).touch()
                touched = time.monotonic()
            last_look = over.wait(0.5)
            notes = whole_lines(out / NOTES_FILE)
            for sentence in notes[num_notes:]:
                err.print(sentence.rstrip())
            num_notes = len(notes)
            for row in read_metrics(out / METRICS_FILE):
                if row["epoch"] > last_epoch:
                    last_epoch, unsaid = row["epoch"], _sentence(row, budget)
                    if last_epoch % every == 0:
                        err.print(unsaid)
                        unsaid = None
                    on_epoch(row)
            if last_look:
                if unsaid is not None:
                    err.print(unsaid)
                return

    follower = threading.Thread(target=follow, name="metrics", daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
        (out / ALIVE_FILE).unlink(missing_ok=True)


def _sentence(row: dict[str, Any], budget: Budget) -> str:
    losses = "  ".join(
        f"{name} {'not finite' if row[key] is None else format(row[key], '.4f')}"
        for name, key in (("train", "train_loss"), ("validation", "validation_loss"))
    )
    made = f"step {row['step']:>5,}/{budget.max_steps:,} (epoch {row['epoch']})"
    return f"{made}  {losses}  {row['subjects_per_second']:.1f} people/s"
