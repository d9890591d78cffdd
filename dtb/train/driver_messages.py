"""What the driver prints while its workers train: each epoch and each note as it comes, from the files that rank 0 writes."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dtb.terminal import err
from dtb.train.log import ALIVE_FILE, METRICS_FILE, NOTES_FILE, read_metrics, whole_lines

_ALIVE_SECONDS = 5.0


@contextlib.contextmanager
def told(out: Path, max_epochs: int, on_epoch: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Print each epoch's figures and each note as they come, from the files that rank 0 writes, and show that the driver is alive."""
    over = threading.Event()

    def follow() -> None:
        last_epoch = max((row["epoch"] for row in read_metrics(out / METRICS_FILE)), default=0)
        num_notes = len(whole_lines(out / NOTES_FILE))
        touched = -math.inf
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
                    last_epoch = row["epoch"]
                    err.print(_sentence(row, max_epochs))
                    on_epoch(row)
            if last_look:
                return

    follower = threading.Thread(target=follow, name="metrics", daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
        (out / ALIVE_FILE).unlink(missing_ok=True)


def _sentence(row: dict[str, Any], max_epochs: int) -> str:
    losses = "  ".join(
        f"{name} {'not finite' if row[key] is None else format(row[key], '.4f')}"
        for name, key in (("train", "train_loss"), ("validation", "validation_loss"))
    )
    return f"epoch {row['epoch']:>4}/{max_epochs}  {losses}  {row['subjects_per_second']:.1f} people/s"
