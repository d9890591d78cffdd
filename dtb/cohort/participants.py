"""Covariates from a BIDS `participants.tsv`, under the few names by which laboratories call them."""

from __future__ import annotations

from pathlib import Path

from dtb.tasks.spec import ABSENT, plain_text
from dtb.tasks.tables import number_or_none, read_tsv

_NAMES = {
    "age": ("age",),
    "sex": ("sex", "gender"),
    "site": ("site", "scannerserialnumber", "scanner"),
    "group": ("group", "diagnosis"),
}


def read_covariates(bids: Path) -> dict[str, dict[str, float | str | None]]:
    """Give `age`, `sex`, `site` and `group` of each participant label, None where unknown; nobody's without a `participants.tsv`."""
    path = bids / "participants.tsv"
    if not path.exists():
        return {}
    table = read_tsv(path)
    by_name = {name.lower(): cells for name, cells in table.columns.items()}
    labels = by_name.get("participant_id", [])
    found: dict[str, dict[str, float | str | None]] = {}
    for row, label in enumerate(labels):
        values: dict[str, float | str | None] = {}
        for covariate, names in _NAMES.items():
            cell = next((by_name[name][row].strip() for name in names if name in by_name), "")
            known = None if plain_text(cell) == ABSENT else cell
            values[covariate] = number_or_none(cell) if covariate == "age" else known
        found[label.strip().removeprefix("sub-")] = values
    return found


def no_covariates() -> dict[str, float | str | None]:
    """Give what is known of somebody who is not in the table."""
    return dict.fromkeys(_NAMES)
