"""A training's log for its driver, `dtb watch` and `dtb sweep`: a row per epoch, and sentences for the user."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

from dtb.files import readable

METRICS_FILE = "metrics.jsonl"
NOTES_FILE = "notes.log"
ALIVE_FILE = ".alive"
"""Touched by the driver every few seconds while it lives, so that `dtb watch` can tell a training from one that was killed."""
TRACKER_FILE = ".tracker_id"
"""The training's run in the tracker: it is the same however often the training begins again, also before its first checkpoint."""
_BROKEN_FILE = ".broken"
_BEGUN_FILE = ".begun"


def note(out: Path, sentence: str) -> None:
    """Add a line for the user to the training's notes, which the driver prints."""
    with (out / NOTES_FILE).open("a", encoding="utf-8") as stream:
        stream.write(sentence + "\n")


def read_tracker_id(out: Path) -> str | None:
    """Read the id of a training's run in the tracker, or None."""
    path = out / TRACKER_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else None


def tell_broken(out: Path, sentence: str | None) -> None:
    """Log when and why a worker group broke, unless that has been logged."""
    (out / _BROKEN_FILE).touch()
    (out / _BEGUN_FILE).unlink(missing_ok=True)
    if sentence is not None:
        note(out, sentence)


def tell_going_on(out: Path, checkpoint: tuple[str, int] | None) -> None:
    """Log where a training continues, which epochs are repeated, and how long ago its workers broke.

    Parameters
    ----------
    out : Path
    checkpoint : (str, int) or None
        Name of the checkpoint that is loaded, and the epochs that were finished then; None at the beginning.
    """
    broken = out / _BROKEN_FILE
    seconds = max(time.time() - broken.stat().st_mtime, 0.0) if broken.exists() else None
    broken.unlink(missing_ok=True)
    if checkpoint is None and seconds is None:
        return
    name, epoch = checkpoint or ("the beginning, for there is no checkpoint yet", 0)
    again = sum(row["epoch"] > epoch for row in read_metrics(out / METRICS_FILE))
    parts = [f"Going on after epoch {epoch}, from {name}"]
    if again:
        parts.append(f"{again} finished epoch{'s are' if again > 1 else ' is'} trained again")
    if seconds is not None:
        parts.append(f"it took {seconds:.0f} s from when the failure was seen")
    note(out, "; ".join(parts) + ".")


def tell_begun(out: Path) -> None:
    """Log that all ranks have met, and train from now on."""
    (out / _BEGUN_FILE).write_text(secrets.token_hex(8), encoding="utf-8")


def read_begun(out: Path) -> str | None:
    """Read what `tell_begun` wrote, which is another text each time; None if ranks have not begun, or broke."""
    path = out / _BEGUN_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a `metrics.jsonl`; none if there is no such file.

    Raises
    ------
    DamagedOutputError
        A line is not an epoch's row.
    """
    with readable(path, "Train anew, or take the damaged line out."):
        rows = [json.loads(line) for line in whole_lines(path)]
        for row in rows:
            int(row["epoch"])
    return rows


def whole_lines(path: Path) -> list[str]:
    """Read the complete lines of a file that may still be written; none if there is no such file."""
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
