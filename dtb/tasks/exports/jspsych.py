"""jsPsych's data, as JSON or as `.csv`: a row for each trial of a plugin, with the milliseconds that had passed at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dtb.tasks.exports.export import Export, Exported, Row, events_table, numbers_of, rows_of

_INNER = re.compile(r"trial_index|time_elapsed|stimulus_html")
_PICTURE = re.compile(r"<(?:img|audio|video|source)[^>]*\bsrc=[\"']([^\"']*)[\"'][^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


def _fits(text: str) -> bool:
    head = text.lstrip()[:1]
    if head in ("[", "{"):
        return '"trial_type"' in text and '"time_elapsed"' in text
    header = text.split("\n", 1)[0]
    return "trial_type" in header and "time_elapsed" in header


def _read(path: Path, text: str) -> Exported:
    rows = _json_rows(text) if text.lstrip()[:1] in ("[", "{") else rows_of(text)
    ends = numbers_of(rows, "time_elapsed", 0.001)
    onsets: list[float | None] = []
    before: float | None = 0.0
    for end in ends:
        onsets.append(None if end is None else before)
        before = before if end is None else end
    durations = [None if begin is None or end is None else end - begin for begin, end in zip(onsets, ends, strict=True)]
    own = [
        {name: _TAG.sub("", _PICTURE.sub(r"\1", cell)) for name, cell in row.items() if not _INNER.fullmatch(name)}
        for row in rows
    ]
    return Exported(
        events_table(path, own, onsets, durations),
        "",
        "the start of the page; a trial was taken to begin when the one before ended",
    )


def _json_rows(text: str) -> list[Row]:
    """Read one list of trials, or one a line as JATOS writes them."""
    try:
        found = json.loads(text)
        found = found.get("trials", [found]) if isinstance(found, dict) else found
    except json.JSONDecodeError:
        found = [trial for line in text.splitlines() if line.strip() for trial in json.loads(line)]
    return [{str(key): _cell(value) for key, value in trial.items()} for trial in found if isinstance(trial, dict)]


def _cell(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


JSPSYCH = Export("jspsych", "jsPsych's .json or .csv", _fits, _read)
