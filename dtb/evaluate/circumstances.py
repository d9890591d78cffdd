"""What may be why a twin does not fit, read from what the stages before left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtb.evaluate.certificate.fit import Circumstances, together
from dtb.shards.split import Split
from dtb.stages import read_stage


def read_circumstances(trained: Sequence[Path], split: Split) -> Circumstances:
    """Read how trainings ended, and of how many people they were.

    Parameters
    ----------
    trained : sequence of Path
        Output folders of `dtb train`: the twin's, and those of further members of an ensemble.
    split : Split
    """
    return together([_of_training(read_stage(each)["summary"], split) for each in trained])


def _of_training(summary: dict[str, Any], split: Split) -> Circumstances:
    ending = summary.get("ending") or {}  # an older dtb did not say
    return Circumstances(
        ending=ending.get("kind"),
        steps=ending.get("steps"),
        longer=ending.get("longer", ""),
        num_training=len(split.train),
    )
