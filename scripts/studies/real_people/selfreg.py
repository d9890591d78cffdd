"""Bissett et al. 2024: Stroop and stop signal of 70 people in the scanner, one session; behaviour alone."""

from __future__ import annotations

from behaviour import baselines, twin
from parts import Figure, Work

TASKS = ("selfreg_stroop", "selfreg_stop")
FOLDS, STEPS = (0,), 150
SMALLER = "Two of seven tasks. Baselines of everybody; a twin of one of three folds and 150 steps."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    specs = [work.specs / f"{task}.yaml" for task in TASKS]
    work.dtb("ingest", "bids", "shards", "--without-connectome", "keep", "--tasks", *specs)
    return baselines(work) | twin(work, FOLDS, STEPS)
