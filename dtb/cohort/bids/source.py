"""Which data set a cohort was made of, as its `dataset_description.json` says: what derivatives and reports have to name."""

from __future__ import annotations

import json
from pathlib import Path

from dtb import terminal

DESCRIPTION_FILE = "dataset_description.json"
_KEYS = ("Name", "License", "DatasetDOI")


def read_source(bids: Path) -> dict[str, str]:
    """Read name, license and DOI of a BIDS tree, as far as they are there.

    Parameters
    ----------
    bids : Path
        Root of the tree.

    Returns
    -------
    dict of str to str
        `Name`, `License` and `DatasetDOI`; without those that the tree does not say.
    """
    path = bids / DESCRIPTION_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        terminal.err.print(f"Warning: {path} cannot be read ({error}); nothing will say which data set this is.")
        return {}
    given = {key: found.get(key) for key in _KEYS} if isinstance(found, dict) else {}
    return {key: " ".join(value.split()) for key, value in given.items() if isinstance(value, str) and value.strip()}
