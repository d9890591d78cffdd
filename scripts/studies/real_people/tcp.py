"""TCP: Emotional Faces and Stroop of 180 people, whose images are not in the public tree; no brains."""

from __future__ import annotations

from behaviour import baselines, twin
from parts import Figure, Work

TASKS = ("hammer", "stroop")
FOLDS, STEPS = (0, 1, 2), 400
SMALLER = "A twin of each of three folds, 400 steps each."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.name_openly(work.folder / "shards")
    work.dtb("ingest", work.source, "shards", "--without-connectome", "keep", "--tasks", *TASKS)
    return baselines(work) | twin(work, FOLDS, STEPS)
