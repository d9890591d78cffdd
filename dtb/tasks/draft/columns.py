"""The columns of some events files of one task, pooled, and what their names and cells say by themselves.

Shape letters: `W` row of the pooled files.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from dtb.errors import InputDataError
from dtb.tasks.plain_text import ABSENT, plain_text
from dtb.tasks.tables import Table, number_or_none

MOST_LEVELS = 12
"""Values that a column of categories may have."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TIME_WORDS = {"onset", "offset", "duration", "time", "elapsed", "started", "stopped", "clock", "interval"}
_COUNTER_WORDS = {"index", "num", "number", "trl", "trial", "block", "blk", "run", "id", "rep", "row", "thisn", "order"}
_MOST_IN_LINE = 0.98


@dataclasses.dataclass(frozen=True)
class Pool:
    """Columns that all files have, one file after the other.

    Attributes
    ----------
    columns : dict of str to (W,) array
        Cells in the spelling of `dtb.tasks.plain_text.plain_text`, without spaces around them.
    file_W : (W,) int
        Place of each row's file.
    has_spaces : bool
        Whether cells had spaces around them.
    """

    columns: dict[str, np.ndarray]
    file_W: np.ndarray
    has_spaces: bool

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""
        return len(self.file_W)

    @functools.cached_property
    def every_row(self) -> np.ndarray:
        """(W,) bool, all true."""
        return np.ones(self.num_rows, dtype=bool)

    def numbers(self, name: str) -> np.ndarray:
        """(W,) float: a column's numbers, NaN for other cells."""
        found = (number_or_none(cell) for cell in self.columns[name])
        return np.array([np.nan if number is None else number for number in found], dtype=float)

    def levels(self, name: str, rows: np.ndarray | None = None) -> Counter[str]:
        """Count a column's values in some rows (bool), absent ones left out."""
        cells = self.columns[name] if rows is None else self.columns[name][rows]
        counts = Counter(cells.tolist())
        counts.pop(ABSENT, None)
        return counts

    def sorted_levels(self, name: str, rows: np.ndarray | None = None) -> list[str]:
        """Return a column's values in some rows (bool): numbers by size, words by the alphabet."""
        return sorted(self.levels(name, rows), key=_size_then_name)

    def is_categorical(self, name: str, rows: np.ndarray, most: int = MOST_LEVELS) -> bool:
        """Whether a column has a few values in some rows (bool), each of them more than once."""
        counts = self.levels(name, rows)
        return 1 < len(counts) <= most and sum(counts.values()) > 2 * len(counts)

    def is_complete(self, name: str, rows: np.ndarray) -> bool:
        """Whether a column is absent in none of some rows (bool)."""
        return bool((self.columns[name][rows] != ABSENT).all())

    def varies_within_files(self, name: str, rows: np.ndarray) -> bool:
        """Whether a column has more than one value in most files, unlike what belongs to a session or a person."""
        files = np.unique(self.file_W[rows])
        varying = [len(self.levels(name, rows & (self.file_W == file))) > 1 for file in files]
        return 2 * sum(varying) > len(varying)

    def counts_up(self, name: str, rows: np.ndarray) -> bool:
        """Whether a column only grows within each file, as a clock and a number of trials do."""
        number_W = self.numbers(name)
        grows: list[bool] = []
        for file in np.unique(self.file_W):
            own = number_W[rows & (self.file_W == file)]
            grows += (np.diff(own[np.isfinite(own)]) >= 0).tolist()
        return len(grows) > 2 and float(np.mean(grows)) > _MOST_IN_LINE

    def determines(self, names: Sequence[str], other: str, rows: np.ndarray) -> bool:
        """Whether the values of some columns together say the value of another one."""
        seen: dict[tuple[str, ...], str] = {}
        keys = zip(*(self.columns[name][rows] for name in names), strict=True)
        return all(
            seen.setdefault(key, value) == value for key, value in zip(keys, self.columns[other][rows], strict=True)
        )


def _size_then_name(value: str) -> tuple[int, float, str]:
    number = number_or_none(value)
    return (0, number, value) if number is not None else (1, 0.0, value)


def pool_tables(tables: Sequence[Table]) -> Pool:
    """Pool the tables of one task.

    Raises
    ------
    InputDataError
        They have no column in common, or no rows.
    """
    names = [name for name in tables[0].columns if all(name in table.columns for table in tables)]
    num_rows = sum(table.num_rows for table in tables)
    if not names or not num_rows:
        raise InputDataError(
            f"{', '.join(str(table.path) for table in tables)}: no rows, or no column that all have. Give files of one task."
        )
    cells = {name: [cell for table in tables for cell in table.columns[name]] for name in names}
    columns = {
        name: np.array([plain_text(cell.strip()) for cell in each], dtype=object) for name, each in cells.items()
    }
    has_spaces = any(cell != cell.strip() for each in cells.values() for cell in each)
    file_W = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
    return Pool(columns, file_W, has_spaces)


def words_of(name: str) -> list[str]:
    """Return the words of a column's name or of a value, in small letters.

    Examples
    --------
    >>> words_of("SubjectResponseButtonCode"), words_of("key_resp.rt"), words_of("StimRTTime")
    (['subject', 'response', 'button', 'code'], ['key', 'resp', 'rt'], ['stim', 'rt', 'time'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def has_word(name: str, words: Iterable[str]) -> bool:
    """Whether a name has any of some words."""
    return not set(words).isdisjoint(words_of(name))


def is_time(name: str) -> bool:
    """Whether a column's name says that it holds times."""
    return has_word(name, _TIME_WORDS)


def is_counter(name: str) -> bool:
    """Whether a column's name says that it numbers trials, blocks or the like."""
    return has_word(name, _COUNTER_WORDS - {"trial"}) or words_of(name) in (["trial"], ["trials"])


def identifier(text: str, before: str = "") -> str:
    """Return a text as a name that a specification may have.

    Examples
    --------
    >>> identifier("No Go!"), identifier("3", "image"), identifier("stim_color")
    ('no_go', 'image_3', 'stim_color')
    """
    found = re.sub(r"\W+", "_", text.strip().lower(), flags=re.ASCII).strip("_")
    if before or not re.match(r"[a-z]", found):
        found = f"{before or 'value'}_{found}".strip("_")
    return found
