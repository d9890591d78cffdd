"""What a certificate certifies: which twin of which cohort, tested on whom, by what, and when; without which it could be shown for another.

Of the people there are aggregates alone.
"""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dtb.evaluate.scores.covariates import Facts
from dtb.people.covariates import labels
from dtb.shards.split import SEEN_KINDS, held_out_in_words
from dtb.version import __version__

FEWEST_TO_COUNT = 5
"""Smaller groups of people are not told apart."""


def about(described: Mapping[str, Any], people: Facts) -> dict[str, Any]:
    """Return what is certified, as JSON values.

    Parameters
    ----------
    described : mapping
        What `figures.json` says about the split.
    people : sequence of mapping
        Covariates of the people tested.
    """
    hashes = described.get("split_hashes") or [described.get("split_hash")]
    return {
        "cohort_hash": described.get("cohort_hash"),
        "split_hashes": [one for one in dict.fromkeys(hashes) if one],
        "kind": described["kind"],
        "held_out": described.get("held_out", ""),
        "tested_on": what_was_tested(described),
        "seeds": list(described.get("seeds") or [described.get("seed", 0)]),
        "num_members": described.get("num_members", 1),
        "people": whom(people),
        "stimuli_depend_on_responses": list(described.get("stimuli_depend_on_responses", [])),
        "dtb_version": __version__,
        "date": _today(),
    }


def _today() -> str:
    """Return the date, UTC; with SOURCE_DATE_EPOCH that one, so that what is made again is the same (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.datetime.now(datetime.UTC)
    return (datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch.isdigit() else now).date().isoformat()


def what_was_tested(described: Mapping[str, Any]) -> str:
    """Return what was held out.

    Examples
    --------
    >>> what_was_tested({"kind": "subjects", "fold": 1, "num_folds": 5})
    'people never seen in training: fold 1 (of 0 to 4)'
    >>> what_was_tested({"kind": "subjects", "held_out": "UCLA"})
    'people never seen in training: those of the site UCLA'
    """
    kind, held_out = described["kind"], described.get("held_out", "")
    if kind in SEEN_KINDS:
        return f"{held_out_in_words(kind, held_out)}, of people who were seen in training"
    if kind == "tasks":
        return f"people never seen in training, at a task that nobody was trained on: {held_out}"
    if held_out:
        return f"people never seen in training: those of the site {held_out}"
    if "fold" in described:
        return f"people never seen in training: fold {described['fold']} (of 0 to {described['num_folds'] - 1})"
    return "people never seen in training"


def whom(people: Facts) -> dict[str, Any]:
    """Describe people by aggregates: their number, the middle nine tenths of their ages, and how many are of each sex, site and group."""
    table = pd.DataFrame(list(people), index=range(len(people)))
    found: dict[str, Any] = {"number": len(table)}
    ages = pd.to_numeric(table["age"]).dropna() if "age" in table else pd.Series(dtype=float)
    if len(ages) >= FEWEST_TO_COUNT:
        low, middle, high = np.percentile(ages, [5, 50, 95])
        found["age"] = {"known": len(ages), "from": round(low), "median": round(middle), "to": round(high)}
    for name in labels():
        counts = Counter(table[name].dropna().astype(str) if name in table else ())
        if counts:
            named = {value: count for value, count in sorted(counts.items()) if count >= FEWEST_TO_COUNT}
            found[name] = named | {"smaller or unknown": len(table) - sum(named.values())}
    return found


def whom_in_words(found: Mapping[str, Any]) -> str:
    """Return it as one line.

    Examples
    --------
    >>> whom_in_words({"number": 40, "sex": {"F": 22, "M": 18, "smaller or unknown": 0}})
    '40 people; sex: F 22, M 18'
    """
    parts = [f"{found['number']} {'person' if found['number'] == 1 else 'people'}"]
    if "age" in found:
        age = found["age"]
        parts.append(
            f"age: {age['from']} to {age['to']} (nine in ten), median {age['median']}, known of {age['known']}"
        )
    for name in labels():
        counts = [f"{value} {count}" for value, count in found.get(name, {}).items() if count]
        parts += [f"{name}: {', '.join(counts)}"] if counts else []
    return "; ".join(parts)


def in_words(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is certified as lines with headings."""
    seeds = ", ".join(map(str, found["seeds"]))
    members = f"; an ensemble of {found['num_members']}" if found["num_members"] > 1 else ""
    return [
        ("for whom", whom_in_words(found["people"])),
        ("tested on", str(found["tested_on"])),
        ("trainings", f"{len(found['seeds'])} ({'seeds' if len(found['seeds']) > 1 else 'seed'} {seeds}){members}"),
        ("cohort", str(found["cohort_hash"])),
        ("split", f"{found['kind']}, {', '.join(found['split_hashes'])}"),
        ("made", f"{found['date']}, by dtb {found['dtb_version']}"),
    ]
