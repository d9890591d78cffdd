"""Hedge et al. 2018: flanker and Stroop of 47 people, two sessions three weeks apart; no brains."""

from __future__ import annotations

from behaviour import baselines, twin
from parts import Figure, Work

TASKS = ("hedge_flanker", "hedge_stroop")
FOLDS, STEPS = (0, 1, 2), 400
SMALLER = (
    "Flanker and Stroop: the Posner task of 40 other people is left out. A twin of each of three folds, 400 steps each."
)


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    specs = [work.specs / f"{task}.yaml" for task in TASKS]
    work.dtb("ingest", "bids", "shards", "--without-connectome", "keep", "--tasks", *specs)
    return baselines(work) | twin(work, FOLDS, STEPS)
