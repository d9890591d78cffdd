"""Covariates from a BIDS `participants.tsv`, whose columns have different names in different laboratories."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from dtb import terminal
from dtb.errors import InputDataError
from dtb.people.covariates import COVARIATES, Covariate, listed
from dtb.tasks.plain_text import plain_text
from dtb.tasks.tables import line_of, number_or_none, read_tsv

Covariates = dict[str, float | str | None]

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
        other = next((label for label in found if label.lstrip("0") == missing[0].lstrip("0")), None)
        hint = "" if other is None else f"; the table has sub-{other}"
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
    found: dict[str, Covariates] = {}
    numbers = [covariate for covariate in _in_table() if covariate.is_number]
    odd: dict[str, list[str]] = {covariate.name: [] for covariate in numbers}
    for row, cell in enumerate(by_name["participant_id"]):
        label = cell.strip().removeprefix("sub-")
        values: Covariates = {
            covariate: None if plain_text(cells[row].strip()).lower() in _ABSENT else cells[row].strip()
            for covariate, cells in columns.items()
        }
        for covariate in numbers:
            if values[covariate.name] is None:
                continue
            number = number_or_none(columns[covariate.name][row])
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
            within = "" if covariate.limits is None else " from {:g} to {:g}".format(*covariate.limits)
            _warn(
                f"{len(places)} {covariate.plural or f'values of {covariate.words}'} in {path.name} are not numbers{within} (for example "
                f"{places[0]}) and count as unknown."
            )
    return found


def _warn(text: str) -> None:
    terminal.err.print(f"Warning: {text}")


def no_covariates() -> Covariates:
    """Return the covariates of a person who is not in the table: all unknown."""
    return dict.fromkeys(covariate.name for covariate in _in_table())


def _in_table() -> list[Covariate]:
    return [covariate for covariate in COVARIATES if covariate.columns]


def _named() -> str:
    return listed([covariate.name for covariate in _in_table() if covariate.is_counted])
