"""Strict reading of BIDS tables: the cells as text, or a message that says where the file is broken.

A general reader guesses: it turns ``NULL`` into "absent", fills short rows and joins lines at stray quotes. Events and participants are
read here instead, where only what BIDS defines has a meaning.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from dtb.errors import InputDataError

_OTHER_SEPARATOR = re.compile(r"[ ,;]")
_QUOTED = re.compile(r"([\"']).+\1")
_HINTS = (
    (re.compile(r"[-+]?\d*,\d+"), "write numbers with a decimal point, not a comma"),
    (re.compile(r"[-+]?\d{1,3}([.,]\d{3}){2,}"), "write numbers without separators of thousands"),
    (re.compile(r"\[.*\]"), "a list: write one value a row, for example the first press"),
    (re.compile(r"\d+(:\d+)+(\.\d+)?"), "a time of day: write seconds from the run's first volume"),
    (_QUOTED, "write it without quotation marks"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Table:
    """A tab-separated table.

    Attributes
    ----------
    path : Path
    columns : dict
        Cells of each column, as text, one per row.
    num_rows : int
        Rows below the header.
    """

    path: Path
    columns: dict[str, list[str]]
    num_rows: int


def line_of(row: int) -> int:
    """Return the line of the file, counted from 1, in which row `row`, counted from 0, stands below the header."""
    return row + 2


def read_tsv(path: Path) -> Table:
    """Read a tab-separated file with a header.

    Raises
    ------
    InputDataError
        The file is absent, empty, not UTF-8 text or without line feeds, names a column twice, has its cells in quotation marks, or has a
        row whose number of cells is not the header's.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise InputDataError(f"{path} is {why_no_file(path)}; expected a tab-separated table.") from None
    except OSError as error:
        raise InputDataError(f"{path} cannot be read ({error.strerror}); expected a tab-separated table.") from None
    except UnicodeDecodeError as error:
        found = "UTF-16, as E-Prime and Windows write it" if content.startswith(_UTF16) else f"byte {error.start}"
        raise InputDataError(
            f"{path} is not UTF-8 text ({found}); expected a tab-separated table. Save it as UTF-8."
        ) from None
    if "\0" in text:
        raise InputDataError(f"{path} holds binary data; expected a tab-separated table.")
    if "\r" in text and "\n" not in text:
        raise InputDataError(
            f"{path} ends its lines with carriage returns alone, as old Macs did. Save it with line feeds (`\\n`)."
        )
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputDataError(f"{path} is empty; expected a tab-separated table with a header.")
    names = [name.strip() for name in lines[0].split("\t")]
    if len(names) == 1 and _OTHER_SEPARATOR.search(names[0]):
        raise InputDataError(
            f"{path} has one column, {names[0]!r}. Separate its cells by tabs, not by spaces or commas."
        )
    if any(_QUOTED.fullmatch(name) for name in names):
        raise InputDataError(
            f"{path} has its cells in quotation marks, which BIDS has not. Write it without (in R, `quote = FALSE`)."
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputDataError(f"{path} has the column {twice[0]!r} more than once.")
    rows = [line.split("\t") for line in lines[1:]]
    for row, cells in enumerate(rows):
        if len(cells) != len(names):
            reason = (
                "So has every row: a tab at its end, or a name in front that has no column (in R, write with `row.names = FALSE`)."
                if all(len(each) == len(names) + 1 for each in rows)
                else "The file may have been cut, or have spaces in place of tabs."
            )
            raise InputDataError(
                f"{path} has {len(cells)} cells in line {line_of(row)}, but {len(names)} columns in its header. {reason}"
            )
    # Columns without a name are left out: a spreadsheet's empty ones, or the numbers of rows that pandas writes.
    columns = {name: [cells[place] for cells in rows] for place, name in enumerate(names) if name}
    return Table(path, columns, len(rows))


def why_no_file(path: Path) -> str:
    """Return why a path is not a file."""
    if path.is_symlink() and not path.exists():
        return "a link to a file that is not there (not fetched? `datalad get`, `git annex get`)"
    return "not a file"


def hint_of(cell: str) -> str:
    """Return what to write in place of a cell that is no number, after a semicolon; empty where nothing can be advised.

    Examples
    --------
    >>> hint_of("0,512")
    '; write numbers with a decimal point, not a comma'
    """
    return next((f"; {hint}" for pattern, hint in _HINTS if pattern.fullmatch(cell.strip())), "")


def number_or_none(cell: str) -> float | None:
    """Read a plain decimal number; None for anything else, ``nan`` and ``inf`` included.

    Examples
    --------
    >>> number_or_none(" 1.50"), number_or_none("nan"), number_or_none("1_0")
    (1.5, None, None)
    """
    text = cell.strip()
    return float(text) if _NUMBER.fullmatch(text) else None
