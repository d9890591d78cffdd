"""The source data set of a cohort, from its `dataset_description.json`, which derivatives and reports have to name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dtb import terminal
from dtb.terminal import printable

DESCRIPTION_FILE = "dataset_description.json"
MADE_UP_SEED = "MadeUpWithSeed"
"""Key beside dtb's name in `GeneratedBy`: nobody in the tree exists, and all follows from this seed."""
_KEYS = ("Name", "License", "DatasetDOI")
_MOST_LETTERS = 1000


def read_source(bids: Path) -> dict[str, str]:
    """Read name, license and DOI of a BIDS tree, as far as it has them.

    Parameters
    ----------
    bids : Path
        Root of the tree.

    Returns
    -------
    dict of str to str
        `Name`, `License` and `DatasetDOI`; without those that the tree does not say.
    """
    try:
        found = _description(bids)
    except (OSError, ValueError, RecursionError) as error:
        path = bids / DESCRIPTION_FILE
        terminal.err.print(f"Warning: {path} cannot be read ({error}); nothing will say which data set this is.")
        return {}
    given = {key: value for key in _KEYS if isinstance(value := found.get(key), str) and value.strip()}
    return {key: " ".join(printable(value).split())[:_MOST_LETTERS] for key, value in given.items()}


def read_made_up_seed(bids: Path) -> int | None:
    """Read the seed with which `dtb synth` made a tree; None for other trees."""
    try:
        makers = _description(bids).get("GeneratedBy")
    except (OSError, ValueError, RecursionError):
        return None
    for maker in makers if isinstance(makers, list) else []:
        seed = maker.get(MADE_UP_SEED) if isinstance(maker, dict) and maker.get("Name") == "dtb" else None
        if isinstance(seed, int) and not isinstance(seed, bool):
            return seed
    return None


def _description(bids: Path) -> dict[str, Any]:
    """Read the description of a tree; empty if there is none."""
    try:
        found = json.loads((bids / DESCRIPTION_FILE).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}
