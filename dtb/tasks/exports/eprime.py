"""E-Prime's `.txt` log, with its frames, and the tables that E-DataAid exports; times in milliseconds of the program's clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dtb.errors import InputDataError
from dtb.tasks.exports.export import Export, Exported, Row, busiest, events_table, numbers_of, rows_of
from dtb.tasks.tables import number_or_none

_START, _END = "*** LogFrame Start ***", "*** LogFrame End ***"
_INNER = re.compile(
    r".*\.(Cycle|Sample|OnsetDelay|OnsetTime|OffsetDelay|OffsetTime|DurationError|Duration|StartTime|FinishTime|RTTime|ActionDelay|"
    r"ActionTime|TargetOffsetTime|TargetOnsetTime|PreRelease|CustomOnsetTime|CustomOffsetTime|TimingMode|Tag)(\[\w+\])?|Running(\[\w+\])?|Level"
)
_FEWEST_TRIALS = 4  # of a run
_TRIGGER = re.compile(
    r"\w*(trigger|scan|wait|sync|pulse|ready)\w*\.(RTTime|OffsetTime|FinishTime)(\[\w+\])?", re.IGNORECASE
)


def _fits_log(text: str) -> bool:
    return _START in text


def _fits_table(text: str) -> bool:
    return any("ExperimentName" in line and "Subject" in line for line in text.splitlines()[:2])


def _frames(text: str) -> Iterator[tuple[int, Row]]:
    """Yield each frame with its level, in the order in which the program wrote them: inner ones before the one around them."""
    level = 0
    frame: Row | None = None
    for line in map(str.strip, text.splitlines()):
        if line == _START:
            frame = {}
        elif line == _END and frame is not None:
            yield level, frame
            frame = None
        elif ":" in line:
            key, _, value = line.partition(":")
            if frame is not None:
                frame[key.strip()] = value.strip()
            elif key == "Level":
                level = int(number_or_none(value) or 0)


def _read_log(path: Path, text: str) -> Exported:
    rows: list[Row] = []
    inner: list[tuple[int, Row]] = []
    for level, frame in _frames(text):
        for depth, row in inner:
            if depth > level:
                row.update({key: value for key, value in frame.items() if key not in row})
        inner = [(depth, row) for depth, row in inner if depth <= level]
        inner.append((level, frame))
        rows.append(frame)
    header = text.partition(_START)[0]
    found = re.search(r"^\s*Experiment: *(.+?)\s*$", header, re.MULTILINE)
    return _events(path, rows, found[1] if found else "")


def _read_table(path: Path, text: str) -> Exported:
    rows = rows_of(text)
    return _events(path, rows, rows[0].get("ExperimentName", "") if rows else "")


def _events(path: Path, rows: list[Row], label: str) -> Exported:
    times = busiest(rows, ".rt")
    shown = times.rpartition(".")[0] if times else ""
    trials = [row for row in rows if times in row] if times else rows
    onset = f"{shown}.OnsetTime"
    if not any(row.get(onset) for row in trials):
        onset = busiest(trials, ".onsettime") or onset
    began = numbers_of(trials, onset, 0.001)
    trigger = _trigger(rows, [second for second in began if second is not None], path)
    start = 0.0 if trigger is None else trigger[1]
    onsets = [None if second is None else second - start for second in began]
    durations = numbers_of(trials, f"{shown}.Duration", 0.001)
    own = [{name: cell for name, cell in row.items() if not _INNER.fullmatch(name)} for row in trials]
    clock = (
        "the start of the program"
        if trigger is None
        else f"`{trigger[0]}`, which was taken for the scanner's first pulse"
    )
    return Exported(events_table(path, own, onsets, durations), label, clock)


def _trigger(rows: list[Row], onsets: list[float], path: Path) -> tuple[str, float] | None:
    """Return the column that seems to say when the scanner started, and when that was, in seconds.

    A column with a time for each trial is of a screen that people wait at, and a single time after the trials of the program's end.

    Raises
    ------
    InputDataError
        It has several times: each run began with one.
    """
    seconds: dict[str, set[float]] = {}
    for row in reversed(rows):
        for key, cell in row.items():
            if _TRIGGER.fullmatch(key) and (number := number_or_none(cell) or 0.0) > 0:
                seconds.setdefault(key, set()).add(number / 1000)
    once = {key: min(found) for key, found in seconds.items() if len(found) == 1}
    for key, start in once.items():
        if not onsets or 2 * sum(onset >= start for onset in onsets) >= len(onsets):
            return key, start
    for key, found in seconds.items():
        if 1 < len(found) <= len(onsets) / _FEWEST_TRIALS:
            raise InputDataError(
                f"{path} has {len(found)} times of a trigger, {key}: as many runs began, each with a clock of its own. Cut the file into "
                "one for each run."
            )
    return None


EPRIME_LOG = Export("eprime", "E-Prime's .txt log", _fits_log, _read_log)
EPRIME_TABLE = Export("eprime_table", "a table that E-DataAid exported", _fits_table, _read_table)
