"""Covariates from a BIDS `participants.tsv`, under the few names by which laboratories call them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dtb import terminal
from dtb.errors import InputDataError
from dtb.tasks.spec import plain_text
from dtb.tasks.tables import line_of, number_or_none, read_tsv

Covariates = dict[str, float | str | None]

_NAMES = {
    "age": ("age",),
    "sex": ("sex", "gender"),
    "site": ("site", "scannerserialnumber", "scanner"),
    "group": ("group", "diagnosis"),
}
_ABSENT = frozenset({"", "n/a", "na", "nan", "null", "-9", "-99", "-999", "-9999", "999", "9999"})
_OLDEST = 120.0


def read_covariates(bids: Path, labels: Iterable[str]) -> dict[str, Covariates]:
    """Return `age`, `sex`, `site` and `group` of participants, None where unknown, and say of how many nothing is known.

    Parameters
    ----------
    bids : Path
        Raw BIDS tree; nothing is known of anybody if it has no `participants.tsv`.
    labels : iterable of str
        Participant labels without ``sub-``.

    Raises
    ------
    InputDataError
        The table has no column `participant_id`, or says different things of one participant.
    """
    labels = list(labels)
    path = bids / "participants.tsv"
    if not path.exists():
        _warn(f"there is no {path}: nobody's age, sex, site and group are known.")
        return {label: no_covariates() for label in labels}
    found = _read(path)
    missing = [label for label in labels if label not in found]
    if missing:
        other = next((label for label in found if label.lstrip("0") == missing[0].lstrip("0")), None)
        hint = "" if other is None else f"; the table has sub-{other}"
        _warn(
            f"{len(missing)} of {len(labels)} people are not in {path.name} (for example sub-{missing[0]}{hint}): their age, sex, site and "
            "group are unknown."
        )
    return {label: found.get(label, no_covariates()) for label in labels}


def _read(path: Path) -> dict[str, Covariates]:
    table = read_tsv(path)
    by_name = {name.lower(): cells for name, cells in table.columns.items()}
    if "participant_id" not in by_name:
        raise InputDataError(f"{path} has no column participant_id. Found: {', '.join(table.columns)}.")
    columns = {
        covariate: next((by_name[name] for name in names if name in by_name), [""] * table.num_rows)
        for covariate, names in _NAMES.items()
    }
    found: dict[str, Covariates] = {}
    odd_ages = []
    for row, cell in enumerate(by_name["participant_id"]):
        label = cell.strip().removeprefix("sub-")
        values: Covariates = {
            covariate: None if plain_text(cells[row].strip()).lower() in _ABSENT else cells[row].strip()
            for covariate, cells in columns.items()
        }
        if values["age"] is not None:
            age = number_or_none(columns["age"][row])
            if age is None or not 0 <= age <= _OLDEST:
                odd_ages.append(f"{values['age']!r} in line {line_of(row)}")
                age = None
            values["age"] = age
        if found.setdefault(label, values) != values:
            raise InputDataError(
                f"{path}: sub-{label} stands there more than once, with other values in line {line_of(row)}. Leave one row each: what "
                "changes from session to session belongs into sessions.tsv."
            )
    if odd_ages:
        _warn(
            f"{len(odd_ages)} ages in {path.name} are no number from 0 to {_OLDEST:g} (for example {odd_ages[0]}) and count as unknown."
        )
    return found


def _warn(text: str) -> None:
    terminal.err.print(f"Warning: {text}")


def no_covariates() -> Covariates:
    """Return what is known of somebody who is not in the table."""
    return dict.fromkeys(_NAMES)
