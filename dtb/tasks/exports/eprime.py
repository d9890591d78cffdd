"""E-Prime's `.txt` log, with its frames, and the tables that E-DataAid exports; times in milliseconds of the program's clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dtb.tasks.exports.export import Export, Exported, Row, busiest, events_table, numbers_of, rows_of
from dtb.tasks.tables import number_or_none

_START, _END = "*** LogFrame Start ***", "*** LogFrame End ***"
_INNER = re.compile(
    r".*\.(Cycle|Sample|OnsetDelay|OnsetTime|OffsetDelay|OffsetTime|DurationError|Duration|StartTime|FinishTime|RTTime|ActionDelay|"
    r"ActionTime|TargetOffsetTime|TargetOnsetTime|PreRelease|CustomOnsetTime|CustomOffsetTime|TimingMode|Tag)(\[\w+\])?|Running(\[\w+\])?|Level"
)
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
    trigger = _trigger(rows)
    start = 0.0 if trigger is None else float(number_or_none(trigger[1]) or 0.0) / 1000
    onsets = [None if second is None else second - start for second in numbers_of(trials, onset, 0.001)]
    durations = numbers_of(trials, f"{shown}.Duration", 0.001)
    own = [{name: cell for name, cell in row.items() if not _INNER.fullmatch(name)} for row in trials]
    clock = (
        "the start of the program"
        if trigger is None
        else f"`{trigger[0]}`, which was taken for the scanner's first pulse"
    )
    return Exported(events_table(path, own, onsets, durations), label, clock)


def _trigger(rows: list[Row]) -> tuple[str, str] | None:
    """Return the column and the cell that seem to say when the scanner started."""

    def cells(row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        return (
            (key, value) for key, value in row.items() if _TRIGGER.fullmatch(key) and (number_or_none(value) or 0) > 0
        )

    return next((cell for row in reversed(rows) for cell in cells(row)), None)


EPRIME_LOG = Export("eprime", "E-Prime's .txt log", _fits_log, _read_log)
EPRIME_TABLE = Export("eprime_table", "a table that E-DataAid exported", _fits_table, _read_table)
