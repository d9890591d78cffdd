"""Covariates from a BIDS `participants.tsv`, whose columns have different names in different laboratories."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from dtb import terminal
from dtb.errors import InputDataError
from dtb.people.covariates import COVARIATES, Covariate, listed
from dtb.tasks.plain_text import plain_text
from dtb.tasks.tables import line_of, number_or_none, read_tsv

Covariates = dict[str, float | str | None]

_PREFIX = re.compile(r"sub[-_ ]?", re.IGNORECASE)
_WORDS = re.compile(r"[a-z]+")
_WHOLE = re.compile(r"(\d+)\.0+")
_IN_A_YEAR = {"month": 12.0, "mo": 12.0, "week": 365.25 / 7, "day": 365.25}
_MONTHS = ' Numbers in months are read where participants.json says so: {"%s": {"Units": "months"}}.'
_NUM_NAMED = 3
_ABSENT = frozenset({"", "n/a", "na", "nan", "null", "-9", "-99", "-999", "-9999", "999", "9999"})


def read_covariates(bids: Path, labels: Iterable[str], family_column: str = "") -> dict[str, Covariates]:
    """Return the covariates of participants, None where unknown, and warn of people without any.

    Parameters
    ----------
    bids : Path
        Raw BIDS tree; nothing is known of anybody if it has no `participants.tsv`.
    labels : iterable of str
        Participant labels without ``sub-``.
    family_column : str
        Name of the column of families; one of the known names if not given.

    Raises
    ------
    InputDataError
        The table has no column `participant_id` or not the one that is named, or says different things of one participant.
    """
    labels = list(labels)
    path = bids / "participants.tsv"
    if not path.exists() and not path.is_symlink():
        _warn(f"there is no {path}: nobody's {_named()} are known.")
        return {label: no_covariates() for label in labels}
    found = _read(path, family_column)
    missing = [label for label in labels if label not in found]
    if missing:
        other = next((label for label in found if _bare(label) == _bare(missing[0])), None)
        written = "" if other is None else other if _PREFIX.match(other) else f"sub-{other}"
        hint = "" if other is None else f"; the table has {written}"
        _warn(
            f"{len(missing)} of {len(labels)} people are not in {path.name} (for example sub-{missing[0]}{hint}): their {_named()} are "
            "unknown."
        )
    return {label: found.get(label, no_covariates()) for label in labels}


def _read(path: Path, family_column: str) -> dict[str, Covariates]:
    table = read_tsv(path)
    by_name = {name.lower(): cells for name, cells in table.columns.items()}
    if "participant_id" not in by_name:
        raise InputDataError(f"{path} has no column participant_id. Found: {', '.join(table.columns)}.")
    if family_column and family_column.lower() not in by_name:
        raise InputDataError(
            f"ingest.family_column is {family_column!r}, but {path} has no such column. Found: {', '.join(table.columns)}."
        )
    chosen = {"family": (family_column.lower(),)} if family_column else {}
    columns = {}
    for covariate in _in_table():
        names = chosen.get(covariate.name, covariate.columns)
        columns[covariate.name] = next((by_name[name] for name in names if name in by_name), [""] * table.num_rows)
    _warn_of_other_names(path, table.columns)
    spelling = {
        covariate.name: _spellings(covariate, columns[covariate.name], path)
        for covariate in _in_table()
        if not covariate.is_number
    }
    divisors = {covariate.name: _units_a_year(path, covariate) for covariate in _in_table() if covariate.is_number}
    found: dict[str, Covariates] = {}
    numbers = [covariate for covariate in _in_table() if covariate.is_number]
    odd: dict[str, list[str]] = {covariate.name: [] for covariate in numbers}
    for row, cell in enumerate(by_name["participant_id"]):
        label = cell.strip().removeprefix("sub-")
        values: Covariates = {
            covariate: None
            if plain_text(cells[row].strip()).lower() in _ABSENT
            else spelling.get(covariate, {}).get(cells[row].strip(), cells[row].strip())
            for covariate, cells in columns.items()
        }
        for covariate in numbers:
            if values[covariate.name] is None:
                continue
            number = number_or_none(columns[covariate.name][row])
            number = None if number is None else number / divisors[covariate.name]
            low, high = covariate.limits or (-math.inf, math.inf)
            if number is None or not low <= number <= high:
                odd[covariate.name].append(f"{values[covariate.name]!r} in line {line_of(row)}")
                number = None
            values[covariate.name] = number
        if found.setdefault(label, values) != values:
            raise InputDataError(
                f"{path}: sub-{label} occurs more than once, with different values in line {line_of(row)}. Leave one row each: what "
                "changes from session to session belongs in sessions.tsv."
            )
    for covariate in numbers:
        if places := odd[covariate.name]:
            hint = _MONTHS % covariate.columns[0] if covariate.is_in_years and len(places) > 1 else ""
            within = "" if covariate.limits is None else " from {:g} to {:g}".format(*covariate.limits)
            _warn(
                f"{len(places)} {covariate.plural or f'values of {covariate.words}'} in {path.name} are not numbers{within} (for example "
                f"{places[0]}) and count as unknown.{hint}"
            )
    return found


def _bare(label: str) -> str:
    """Return a label without prefix, capitals and leading zeros."""
    return _PREFIX.sub("", label).lower().lstrip("0")


def _warn_of_other_names(path: Path, names: Collection[str]) -> None:
    """Warn of columns that may hold a covariate under another name than is read, where none has such a name."""
    for covariate in _in_table():
        if {name.lower() for name in names} & set(covariate.columns):
            continue
        similar = [name for name in names if set(_WORDS.findall(name.lower())) & set(covariate.columns)]
        similar += [name for name in names if name.lower() in covariate.other_columns and name not in similar]
        if similar:
            unit = ", in years" if covariate.is_in_years else ""
            _warn(
                f"{path.name} has no column {' or '.join(covariate.columns)}, and nobody's {covariate.words} is known. If {similar[0]} "
                f"holds it, call the column {covariate.columns[0]}{unit}."
            )


def _spellings(covariate: Covariate, cells: list[str], path: Path) -> dict[str, str]:
    """Return the one spelling of each of a label's values: the commonest of those that differ in capitals, or as `1` and `1.0` do."""
    groups: dict[str, Counter[str]] = {}
    for cell in (cell.strip() for cell in cells):
        whole = _WHOLE.fullmatch(cell)
        key = whole[1] if whole else " ".join(unicodedata.normalize("NFC", cell).casefold().split())
        groups.setdefault(covariate.spellings.get(key, key), Counter())[cell] += 1
    spelling = {cell: spelt.most_common(1)[0][0] for spelt in groups.values() for cell in spelt}
    several = [
        list(spelt)
        for spelt in groups.values()
        if len(spelt) > 1 and plain_text(next(iter(spelt))).lower() not in _ABSENT
    ]
    if several:
        alike = "; ".join(" and ".join(map(repr, spelt)) for spelt in several[:_NUM_NAMED])
        _warn(f"in {path.name}, values of {covariate.words} that are spelt in several ways are taken for one: {alike}.")
    return spelling


def _units_a_year(path: Path, covariate: Covariate) -> float:
    """Return what a column's numbers are divided by to be years, as the table's sidecar says; 1 for what is not in years."""
    sidecar = path.with_suffix(".json")
    if not covariate.is_in_years or not sidecar.is_file():
        return 1.0
    try:
        described = json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        _warn(f"{sidecar.name} cannot be read ({error}); {covariate.plural or covariate.words} are taken to be years.")
        return 1.0
    own = {name.lower(): each for name, each in described.items()} if isinstance(described, dict) else {}
    about: dict[str, object] = next((own[name] for name in covariate.columns if isinstance(own.get(name), dict)), {})
    unit = str(about.get("Units", "")).strip().lower().rstrip("s")
    return _IN_A_YEAR.get(unit, 1.0)


def _warn(text: str) -> None:
    terminal.err.print(f"Warning: {text}")


def no_covariates() -> Covariates:
    """Return the covariates of a person who is not in the table: all unknown."""
    return dict.fromkeys(covariate.name for covariate in _in_table())


def _in_table() -> list[Covariate]:
    return [covariate for covariate in COVARIATES if covariate.columns]


def _named() -> str:
    return listed([covariate.name for covariate in _in_table() if covariate.is_counted])
