"""The inputs of an evaluation: shards, their split, and the twin or ensemble that was trained on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dtb.errors import DamagedOutputError, InputDataError
from dtb.people.records import Run
from dtb.shards.read import Cohort, open_cohort, require_ingested
from dtb.shards.split import Span, Split
from dtb.stages import require_complete
from dtb.tasks.taskset import TaskSet
from dtb.twin.export import TwinCard, read_twin, require_distinct
from dtb.twin.model import Twin


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationInputs:
    """The inputs of an evaluation: a cohort, its split, and the twin or ensemble that was trained on it."""

    cohort: Cohort
    split: Split
    twin: Twin
    card: TwinCard
    taskset: TaskSet
    members: tuple[Twin, ...] = ()

    @property
    def bold_regions(self) -> np.ndarray:
        """Return the columns of a run's BOLD that the twin predicts, (R,) int."""
        place = {name: index for index, name in enumerate(self.cohort.manifest.description.regions)}
        return np.array([place[name] for name in self.card.bold_region_names], dtype=np.int64)

    @property
    def training_people(self) -> tuple[str, ...]:
        """Return everybody whose data trained the twin or decided when to stop."""
        return tuple(sorted({*self.split.train, *self.split.validation}))

    def training_spans(self, runs: Sequence[Run]) -> list[Span]:
        """Return the span of training and validation data within each of a person's runs."""
        parts = (self.split.spans("train", runs), self.split.spans("validation", runs))
        return [train._replace(end=validation.end) for train, validation in zip(*parts, strict=True)]


def open_inputs(shards: Path, trained: Path, members: Sequence[Path]) -> EvaluationInputs:
    """Return the inputs of an evaluation, after checking that they belong together.

    Parameters
    ----------
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    members : sequence of Path
        Further trained folders: an ensemble.

    Raises
    ------
    UserError
        An input is absent or incomplete, or belongs to other data; a member may have seen whom another holds out.
    """
    require_distinct(trained, members, "evaluate.members")
    require_ingested(shards)
    require_complete(trained, "train")
    cohort = open_cohort(shards)
    split = Split.load(trained / "split.json")
    twin, card = read_twin(trained / "twin")
    if card.cohort_hash != cohort.manifest.cohort_hash:
        raise DamagedOutputError(
            f"The twin in {trained} was trained on another cohort than {shards}: the cohort hashes are {card.cohort_hash[:12]} and "
            f"{cohort.manifest.cohort_hash[:12]}. Give the shards it was trained on, or train anew."
        )
    if card.split_hash != split.split_hash:
        raise DamagedOutputError(
            f"{trained / 'split.json'} is not the split that its twin was trained with; who is held out cannot be known. Train anew."
        )
    others = tuple(_open_member(path, trained, card) for path in members)
    return EvaluationInputs(cohort, split, twin, card, TaskSet.from_plain(card.taskset), others)


def _open_member(path: Path, trained: Path, first: TwinCard) -> Twin:
    """Return a further member of an ensemble, which must not have seen the people whom the first holds out."""
    require_complete(path, "train")
    twin, card = read_twin(path / "twin")
    if (card.cohort_hash, card.split_hash) != (first.cohort_hash, first.split_hash):
        raise InputDataError(
            f"evaluate.members: the twin in {path} was trained with another split than that in {trained}, so it may have seen people whom "
            "that one holds out. Train further seeds with the same split.seed, as `dtb sweep` does."
        )
    if (card.segments, card.config.step_seconds) != (first.segments, first.config.step_seconds):
        raise InputDataError(
            f"evaluate.members: the twin in {path} has other segments or another step than that in {trained}. Give `dtb train` another "
            "seed, and nothing else."
        )
    return twin
