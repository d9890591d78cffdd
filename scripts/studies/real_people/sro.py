"""Self-Regulation Ontology: three online tasks done twice by 100 people; no brains."""

from __future__ import annotations

from behaviour import baselines, twin
from parts import Figure, Work

TASKS = ("sro_stroop", "sro_simon", "sro_choice_rt")
FOLDS, STEPS = (0, 1, 2), 400
SMALLER = "Three of the seven tasks that were done twice. A twin of each of three folds, 400 steps each."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    specs = [work.specs / f"{task}.yaml" for task in TASKS]
    work.dtb("ingest", "bids", "shards", "--without-connectome", "keep", "--tasks", *specs)
    return baselines(work) | twin(work, FOLDS, STEPS)
