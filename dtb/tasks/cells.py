"""The cells of one events file as a task specification sees them: compared as plain text, read as times, with problems noted by row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from dtb.tasks.parts import Time, Where
from dtb.tasks.plain_text import ABSENT, plain_text
from dtb.tasks.spec import TaskSpec, values_named
from dtb.tasks.tables import Table, hint_of, number_or_none

_SECONDS = {"s": 1.0, "ms": 1e-3}


class Cells:
    """Columns of a table, derived ones included, and the problems of its rows.

    Parameters
    ----------
    table : Table
        It has every column that the specification needs.
    spec : TaskSpec

    Attributes
    ----------
    num_rows : int
    problems : dict
        Reasons for which a row (counted from 0) cannot be used.
    kinds : dict
        The kind of each such row's first reason: the same words for all rows of the kind, without what their cells hold.
    """

    def __init__(self, table: Table, spec: TaskSpec) -> None:
        self.num_rows = table.num_rows
        self.problems: dict[int, list[str]] = {}
        self.kinds: dict[int, str] = {}
        self._unread: set[tuple[int, str]] = set()
        self._raw = table.columns
        self._strip = spec.strip_spaces
        self._columns: dict[str, np.ndarray] = {}
        self._spaces: dict[str, bool] = {}
        self._unlearnt: dict[str, np.ndarray] = {}
        self._named = values_named(spec)
        for name, derived in spec.derive.items():
            if derived.recode is not None:
                others = self._has_other_capitals(derived.recode, derived.values)
                self._note_spelling(derived.recode, others, derived.values)
                self._set(name, (derived.values.get(cell, ABSENT) for cell in self.column(derived.recode)))
            elif derived.select_by is not None:
                chosen = {value: self.column(source) for value, source in derived.columns.items()}
                keys = self.column(derived.select_by)
                self._set(name, (chosen[key][row] if key in chosen else ABSENT for row, key in enumerate(keys)))
            elif derived.same is not None:
                left, right = (self.column(source) for source in derived.same)
                known = self.present(derived.same)
                self._set(name, np.where(known, np.where(left == right, "same", "different"), ABSENT))
            elif derived.count_before is not None:
                counted, order = self.fits(derived.count_before), self._in_time(spec.trials.onset)
                self._set(name, self._counts_before(counted, derived.within, order))

    def add_mapped(self, spec: TaskSpec, mapping: dict[tuple[str, ...], str] | None) -> None:
        """Add the derived columns that look up a mapping; None if there was nothing to learn one from."""
        for name, derived in spec.derive.items():
            if derived.mapping_of is not None:
                keys = list(zip(*(self.column(source) for source in derived.mapping_of), strict=True))
                self._set(name, ((mapping or {}).get(key, ABSENT) for key in keys))
                if mapping is not None:
                    self._unlearnt[name] = np.array([ABSENT not in key and key not in mapping for key in keys])

    def unlearnt(self, name: str) -> np.ndarray:
        """(rows,) bool: whether a column looks up a mapping that a person's presses leave unclear."""
        return self._unlearnt.get(name, np.zeros(self.num_rows, dtype=bool))

    def column(self, name: str) -> np.ndarray:
        """(rows,) text of a column, in the spelling of `dtb.tasks.plain_text.plain_text`."""
        if name not in self._columns:
            cells = self._raw[name]
            self._set(name, (plain_text(cell.strip() if self._strip else cell) for cell in cells))
        return self._columns[name]

    def _set(self, name: str, values: Iterable[str]) -> None:
        self._columns[name] = np.array(list(values), dtype=object)

    def _counts_before(self, counted: np.ndarray, within: str | None, order: np.ndarray) -> list[str]:
        groups = self.column(within) if within is not None else [ABSENT] * self.num_rows
        seen: Counter[str] = Counter()
        counts = [""] * self.num_rows
        for row in order:
            counts[row] = str(seen[groups[row]])
            seen[groups[row]] += int(counted[row])
        return counts

    def _in_time(self, onset: Time) -> np.ndarray:
        """Return the rows in the order of onsets, (rows,) int: some files are sorted by condition. One without follows the row above."""
        seconds = np.full(self.num_rows, onset.seconds)
        for name, unit in onset.columns.items():
            cells = self._raw[name] if name in self._raw else self._columns.get(name, [ABSENT] * self.num_rows)
            numbers = [number_or_none(cell) for cell in cells]
            seconds += np.array([np.nan if number is None else number for number in numbers]) * _SECONDS[unit]
        last = -np.inf
        for row, time in enumerate(seconds):
            last = seconds[row] = last if np.isnan(time) else time
        return np.argsort(seconds, kind="stable")

    def fits(self, where: Where) -> np.ndarray:
        """(rows,) bool: whether every named column has one of its listed values.

        A row that would fit but for spaces around a value, or for capitals, would be passed over without a word: it is noted.
        """
        found = np.ones(self.num_rows, dtype=bool)
        for name, values in where.items():
            found &= np.isin(self.column(name), list(values))
        if any(self._has_spaces(name) for name in where):
            self._note_spaces(where, found)
        self._note_capitals(where, found)
        return found

    def _has_spaces(self, name: str) -> bool:
        if name not in self._spaces:
            self._spaces[name] = any(cell != cell.strip() for cell in self.column(name))
        return self._spaces[name]

    def _note_spaces(self, where: Where, found: np.ndarray) -> None:
        """Note rows that are not among the `found` ones (bool) because of spaces alone."""
        fits = {name: np.isin(self.column(name), list(values)) for name, values in where.items()}
        stripped = ~found
        for name, values in where.items():
            stripped &= fits[name] | np.isin([plain_text(cell.strip()) for cell in self.column(name)], list(values))
        for name in where:
            reason = (
                f"column {name!r} has {{!r}}, with spaces around it; set `strip_spaces: true` in the task specification"
            )
            self.problem(stripped & ~fits[name], reason, self.column(name))

    def _note_capitals(self, where: Where, found: np.ndarray) -> None:
        """Note rows that are not among the `found` ones (bool) because of capitals alone, and not as the specification has it elsewhere."""
        fits = {name: np.isin(self.column(name), list(values)) for name, values in where.items()}
        meant = ~found
        for name, values in where.items():
            meant &= fits[name] | self._has_other_capitals(name, values)
        for name, values in where.items():
            self._note_spelling(name, meant & ~fits[name], values)

    def _has_other_capitals(self, name: str, values: Iterable[str]) -> np.ndarray:
        """(rows,) bool: whether cells of a column are as one of the values but for capitals, and the specification nowhere has them so."""
        folded, named = {value.casefold() for value in values}, self._named.get(name, set())
        return np.array([cell.casefold() in folded and cell not in named for cell in self.column(name)], dtype=bool)

    def _note_spelling(self, name: str, rows: np.ndarray, values: Iterable[str]) -> None:
        spelt = {value.casefold(): value for value in values}
        for row in np.flatnonzero(rows):
            cell = self.column(name)[row]
            self.note(
                int(row),
                f"column {name!r} has {cell!r}, the task specification {spelt[cell.casefold()]!r}; write both alike, or list both",
                f"column {name!r} has …, which differs from the task specification in capitals alone",
            )

    def present(self, names: tuple[str, ...]) -> np.ndarray:
        """(rows,) bool: whether none of the columns is absent."""
        return np.all([self.column(name) != ABSENT for name in names], axis=0) & np.ones(self.num_rows, dtype=bool)

    def numbers(self, name: str, rows: np.ndarray, what: str) -> np.ndarray:
        """(rows,) float of a column, NaN where it is no number; that is noted for the `rows` (bool) in which it should be one."""
        cells = self.column(name)
        values = np.array(
            [np.nan if (number := number_or_none(cell)) is None else number for cell in cells], dtype=float
        )
        unread = rows & np.isnan(values)
        unread[[row for row in np.flatnonzero(unread) if (row, name) in self._unread]] = False  # said once is enough
        self._unread.update((int(row), name) for row in np.flatnonzero(unread))
        hints = np.array([hint_of(cell) if bad else "" for cell, bad in zip(cells, unread, strict=True)], dtype=object)
        for hint in sorted(set(hints[unread])):
            reason = f"{what}: column {name!r} has {{!r}}, which is not a number{hint}"
            self.problem(unread & (hints == hint), reason, shown_text(cells))
        return values

    def times(self, time: Time, rows: np.ndarray, what: str) -> np.ndarray:
        """(rows,) float: the time in seconds, NaN where a column is no number; that is noted for the `rows` (bool) that need it."""
        total = np.full(self.num_rows, time.seconds)
        for name, unit in time.columns.items():
            total += self.numbers(name, rows, what) * _SECONDS[unit]
        return total

    def problem(self, rows: np.ndarray, reason: str, values: np.ndarray) -> None:
        """Note for each of the `rows` (bool) why it cannot be used; `values` fills the braces in `reason`."""
        for row in np.flatnonzero(rows):
            value = values[row]
            text = reason.format(f"{value:g}" if isinstance(value, float) else value)
            # Rows are counted by the reason without the value, which tells of each; that nothing is there is one reason.
            self.note(int(row), text, text if value == "n/a" else re.sub(r"\{[^}]*\}", "…", reason))

    def note(self, row: int, reason: str, kind: str) -> None:
        """Note why one row cannot be used."""
        reasons = self.problems.setdefault(row, [])
        if reason not in reasons:
            reasons.append(reason)
        self.kinds.setdefault(row, kind)


def shown_text(cells: np.ndarray) -> np.ndarray:
    """Return the text of cells as a message shows it: an absent one as ``n/a``."""
    return np.where(cells == ABSENT, "n/a", cells)
