"""Possible reasons why a twin does not fit, read from the outputs of earlier stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dtb.evaluate.certificate.fit import Circumstances, together
from dtb.shards.split import Split
from dtb.stages import read_stage

QUALITY_FILE = "quality.tsv"


def read_circumstances(shards: Path, trained: Sequence[Path], split: Split) -> Circumstances:
    """Read how trainings ended and of how many people they were, and what of the behaviour a twin cannot see.

    Parameters
    ----------
    shards : Path
        Output folder of `dtb ingest`.
    trained : sequence of Path
        Output folders of `dtb train`: the twin's, and those of further members of an ensemble.
    split : Split
    """
    trainings = together([_of_training(read_stage(each)["summary"], split) for each in trained])
    invisible_onsets, lost_presses = _of_cohort(shards / QUALITY_FILE)
    return dataclasses.replace(trainings, invisible_onsets=invisible_onsets, lost_presses=lost_presses)


def _of_training(summary: dict[str, Any], split: Split) -> Circumstances:
    ending = summary.get("ending") or {}  # an older dtb did not say
    return Circumstances(
        ending=ending.get("kind"),
        steps=ending.get("steps"),
        longer=ending.get("longer", ""),
        num_training=len(split.train),
    )


def _of_cohort(path: Path) -> tuple[float | None, float | None]:
    """Return the shares of unseen onsets and of late presses in the task that has most of each; None where the table does not say."""
    if not path.is_file():
        return None, None
    runs = pd.read_csv(path, sep="\t", na_values="n/a")
    runs = runs[runs["task"].notna() & runs["set_aside"].isna() & runs["left_out"].isna()]
    unseen = late = None
    if "num_unseen" in runs:
        of_task = runs.groupby("task")[["num_unseen", "num_usable"]].sum()
        unseen = _largest(of_task["num_unseen"] / of_task["num_usable"])
    if "late_fraction" in runs:
        late = _largest(runs.groupby("task")["late_fraction"].mean())
    return unseen, late


def _largest(shares: pd.Series) -> float | None:
    return float(shares.max()) if shares.notna().any() else None
