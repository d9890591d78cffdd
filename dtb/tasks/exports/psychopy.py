"""PsychoPy's `.csv`: a row for each pass of a loop, times in seconds on the experiment's clock."""

from __future__ import annotations

import re
from pathlib import Path

from dtb.tasks.exports.export import Export, Exported, busiest, events_table, numbers_of, plain_cell, rows_of

_INNER = re.compile(r".*\.(this\w+|ran|order|started|stopped|tStart|tStop|duration)|thisRow\.t|notes|")


def _fits(text: str) -> bool:
    header = text.split("\n", 1)[0]
    return "psychopyVersion" in header or ".thisRepN" in header or ".thisN" in header


def _read(path: Path, text: str) -> Exported:
    rows = rows_of(text)
    times = busiest(rows, ".rt")
    component = times.removesuffix(".rt") if times else ""
    started = f"{component}.started"
    if times is None or not any(number is not None for number in numbers_of(rows, started)):
        started = busiest(rows, ".started") or started
    onsets = numbers_of(rows, started)
    stopped = numbers_of(rows, re.sub(r"\.started$", ".stopped", started))
    durations = [
        None if begin is None or end is None or end <= begin else end - begin
        for begin, end in zip(onsets, stopped, strict=True)
    ]
    label = next((plain_cell(row["expName"]) for row in rows if row.get("expName")), "")
    own = [{name: cell for name, cell in row.items() if not _INNER.fullmatch(name)} for row in rows]
    clock = f"the start of the experiment (the column `{started}`)"
    return Exported(events_table(path, own, onsets, durations), label, clock)


PSYCHOPY = Export("psychopy", "PsychoPy's .csv", _fits, _read)
