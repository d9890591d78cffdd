"""What one presentation program writes, as a kind; and what the readers share."""

from __future__ import annotations

import ast
import csv
import dataclasses
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dtb.errors import InputDataError
from dtb.tasks.tables import Table, number_or_none, why_no_file

Row = dict[str, str]

_SEPARATOR_LINE = re.compile(r"\A\"?sep=.\"?\r?\n")  # for Excel
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
_IDENTITY = re.compile(
    r"participant|subject|session|date|age|sex|gender|handedness|prolific_pid|worker_?id|study_?id|session_?id|run_id|subject_?id|"
    r"participant_?id|expname|psychopyversion|framerate|expstart|os|experimentname|session(date|time|startdatetimeutc)|randomseed|"
    r"display\.refreshrate|clock\.information|studiversion|runtimeversion(expected)?|dataf?ile\.basename|experimentversion|"
    r"internal_node_id|view_history|plugin_version|success|success_\w+|timeout|failed_\w+|user_?agent|browser\w*|recorded_at",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A program's file as events.

    Attributes
    ----------
    table : Table
        Columns `onset` and `duration` in seconds, and the program's own, without those that say who it was.
    label : str
        What the experiment is called, if the file says so.
    clock : str
        From when onsets count, in words; empty for events files.
    """

    table: Table
    label: str = ""
    clock: str = ""


@dataclasses.dataclass(frozen=True)
class Export:
    """A presentation program.

    Attributes
    ----------
    name, words : str
    fits : callable
        Takes the file's text, and says whether the program wrote it.
    read : callable
        Takes path and text, and gives the events.
    """

    name: str
    words: str
    fits: Callable[[str], bool]
    read: Callable[[Path, str], Exported]


def text_of(path: Path) -> str:
    """Read a text file in whichever encoding programs on Windows write: UTF-8, UTF-16 with or without a mark, or the old code page.

    Raises
    ------
    InputDataError
        It is no file.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise InputDataError(
            f"{path} is {why_no_file(path)}; expected an events file, or one of PsychoPy, E-Prime or jsPsych."
        ) from None
    except OSError as error:
        raise InputDataError(f"{path} cannot be read ({error.strerror}).") from None
    return _SEPARATOR_LINE.sub("", _decoded(content))


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if content[1:40:2].count(0) > 10:
        return content.decode("utf-16-le", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def rows_of(text: str) -> list[Row]:
    """Read rows separated by commas, semicolons or tabs, below a header; a line above the header is passed over.

    Between semicolons, spreadsheets write numbers with a decimal comma where people do.
    """
    lines = text.splitlines()
    header = lines[1] if len(lines) > 1 and not re.search(r"[,;\t]", lines[0]) else (lines[0] if lines else "")
    delimiter = max(",;\t", key=header.count)
    start = lines.index(header) if lines else 0
    reader = csv.DictReader(io.StringIO("\n".join(lines[start:])), delimiter=delimiter, restkey="", restval="")
    rows = [{key: value for key, value in row.items() if key} for row in reader]
    if delimiter != ";":
        return rows
    return [
        {key: value.replace(",", ".") if _DECIMAL_COMMA.fullmatch(value) else value for key, value in row.items()}
        for row in rows
    ]


def plain_cell(cell: str) -> str:
    """Return a cell as an events file has it: `n/a` where there is nothing, and of a list of presses the first.

    Examples
    --------
    >>> plain_cell("['left', 'right']"), plain_cell("None"), plain_cell(" 0.51")
    ('left', 'n/a', '0.51')
    """
    text = re.sub(r"\s+", " ", cell).strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            items = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            items = []
        text = str(items[0]) if isinstance(items, list) and items else ""
    return "n/a" if text in ("", "None", "null", "NA", "undefined", "NULL") else text


def busiest(rows: Sequence[Mapping[str, str]], ending: str) -> str | None:
    """Return the column with this ending that has the most numbers above 0; None if none has any."""
    names = dict.fromkeys(name for row in rows for name in row if name.lower().endswith(ending))
    counts = {name: sum((number_or_none(row.get(name, "")) or 0) > 0 for row in rows) for name in names}
    return max(counts, key=lambda name: counts[name]) if counts and max(counts.values()) else None


def events_table(
    path: Path, rows: Sequence[Row], onsets: Sequence[float | None], durations: Sequence[float | None]
) -> Table:
    """Return events with the rows' own columns, those without an onset left out.

    Raises
    ------
    InputDataError
        No row has an onset.
    """
    kept = [place for place, onset in enumerate(onsets) if onset is not None]
    if not kept:
        raise InputDataError(
            f"{path}: no row has both a trial and a time at which it began. Give an events.tsv with the column `onset`."
        )
    names = dict.fromkeys(
        name
        for place in kept
        for name in rows[place]
        if name not in ("onset", "duration") and not _IDENTITY.fullmatch(name)
    )
    columns = {
        "onset": [_seconds(onsets[place]) for place in kept],
        "duration": [_seconds(durations[place]) for place in kept],
        **{name: [plain_cell(rows[place].get(name, "")) for place in kept] for name in names},
    }
    columns = {name: cells for name, cells in columns.items() if name == "duration" or set(cells) != {"n/a"}}
    return Table(path, columns, len(kept))


def _seconds(number: float | None) -> str:
    return "n/a" if number is None else f"{number:.4f}".rstrip("0").rstrip(".")


def numbers_of(rows: Sequence[Row], name: str, factor: float = 1.0) -> list[float | None]:
    """Return a column's numbers, times a factor, None where there is none."""
    found = (number_or_none(plain_cell(row.get(name, ""))) for row in rows)
    return [None if number is None else number * factor for number in found]
