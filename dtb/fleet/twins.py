"""What an actor needs to simulate people's twins: the twin from the object store, the people from the shards.

Shape letters: see `dtb.twin.batch`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from dtb.cluster.connection import has_gpu
from dtb.errors import InputDataError
from dtb.files import sha256_of
from dtb.intervene.indicators import TaskOutline
from dtb.people.connectome_kinds import connectome_in_words
from dtb.people.records import Run, SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.manifest import WITHOUT_CONNECTOME
from dtb.shards.read import Cohort, open_cohort, require_ingested
from dtb.shards.remote import absolute
from dtb.shards.split import Split
from dtb.stages import CONFIG_FILE, require_complete
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch
from dtb.twin.export import NUMBERS_FILE, TwinCard, read_twin, require_distinct
from dtb.twin.model import Twin


@dataclasses.dataclass(frozen=True, eq=False)
class SharedTwin:
    """A trained twin and the cohort to simulate, in a form that the object store copies once per node.

    Attributes
    ----------
    card : TwinCard
    numbers : dict of str to ndarray
        The twin's parameters and buffers.
    shards : Path
        The cohort's folder, on a file system that all nodes see.
    split : Split
        The split that the twin was trained with.
    hashes : dict of str to str
        Hashes of what decides the results beside the configuration: the twin's numbers, the split and the cohort.
    source : dict of str to str
        What the cohort says about its source data set.
    """

    card: TwinCard
    numbers: dict[str, np.ndarray]
    shards: Path
    split: Split
    hashes: dict[str, str]
    source: dict[str, str]

    def twin(self) -> Twin:
        """Build the twin, in evaluation mode, on the actor's GPU if it has one."""
        twin = Twin(self.card.config, self.card.sizes)
        twin.load_state_dict({name: torch.tensor(values) for name, values in self.numbers.items()})
        twin.requires_grad_(False)
        return twin.eval().to(device())

    @property
    def taskset(self) -> TaskSet:
        """Return the tasks of the twin."""
        return TaskSet.from_plain(self.card.taskset)

    def cohort(self) -> Cohort:
        """Return the open cohort, which the driver has verified."""
        return open_cohort(self.shards, verify=False)

    def batch_maker(self) -> BatchMaker:
        """Return the maker of batches, as in training."""
        columns = [self.card.region_names.index(name) for name in self.card.bold_region_names]
        config = self.card.config
        return BatchMaker(self.taskset, self.card.segments, config.step_seconds, columns, self.split)


class TwinRunner:
    """Lays out people's data for the twin within an actor; shared by simulation and search.

    Parameters
    ----------
    shared_twin : SharedTwin
    seed : int
    num_rows : int, optional
        Rows of every batch, padded at the end: matrix products of another shape round differently, so a person's results would
        depend on the number of others.
    """

    def __init__(self, shared_twin: SharedTwin, seed: int, num_rows: int | None = None) -> None:
        self.taskset = shared_twin.taskset
        self.outlines = outlines_of(shared_twin.taskset)
        self.card = shared_twin.card
        self.seed = seed
        self.twin = shared_twin.twin()
        self._num_rows = num_rows
        self._cohort = shared_twin.cohort()
        self._maker = shared_twin.batch_maker()

    def lay_out(
        self, pseudonyms: Sequence[str], runs: tuple[Run, ...] = (), sessions: Collection[str] = ()
    ) -> tuple[list[SubjectRecord], Batch]:
        """Return people's records and batch, with all of their runs, with those of some sessions, or with the runs given."""
        records = list(self._cohort.records(pseudonyms))
        if runs:
            records = [dataclasses.replace(record, runs=runs) for record in records]
        if sessions:
            records = [
                dataclasses.replace(record, runs=tuple(run for run in record.runs if run.session in sessions))
                for record in records
            ]
        num_rows = max(len(records), self._num_rows or 0)
        return records, self._maker.batch(records, part="all", seed=self.seed, num_subjects=num_rows).to(device())

    def lay_out_stranger(self, run: Run) -> Batch:
        """Return the batch of somebody who is not in the cohort and has no connectome, with one run."""
        num_regions = len(self.card.region_names)
        nothing_E = np.full(num_regions * (num_regions - 1) // 2, np.nan, np.float32)
        record = SubjectRecord("stranger", nothing_E, {}, (run,))
        return self._maker.batch([record], part="all", seed=self.seed).to(device())


def outlines_of(taskset: TaskSet) -> list[TaskOutline]:
    """Return for each task what simulation and indicators need."""
    return [
        TaskOutline(
            spec.name,
            spec.domain,
            tuple(float(spec.contrast.get(condition, 0.0)) for condition in spec.conditions),
            spec.alternatives,
        )
        for spec in taskset.specs
    ]


def device() -> torch.device:
    """Return the device of this process: a GPU only where Ray reserved one for it (`fleet.gpus_per_actor`), and then always."""
    return torch.device("cuda" if has_gpu() else "cpu")


def generator_of(pseudonym: str, seed: int, purpose: str) -> torch.Generator:
    """Make a random generator that depends only on person, seed and purpose, in every process."""
    return torch.Generator().manual_seed(seed_of(pseudonym, seed, purpose))


def seed_of(pseudonym: str, seed: int, purpose: str) -> int:
    """Return a seed between 0 and 2^63 - 1 that depends only on person, seed and purpose.

    Examples
    --------
    >>> seed_of("a", 0, "draws") == seed_of("a", 0, "draws") != seed_of("a", 0, "control")
    True
    """
    digest = hashlib.sha256(f"{purpose}/{seed}/{pseudonym}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def open_shared_twin(shards: Path, trained: Path) -> SharedTwin:
    """Return a twin with a cohort, after checking that they belong together.

    Parameters
    ----------
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.

    Raises
    ------
    InputDataError
        The cohort has other regions or tasks than those of the twin.
    DamagedOutputError
        Either folder is incomplete or altered.
    """
    return _join(_open_ingested(shards), shards, trained)


def _open_ingested(shards: Path) -> Cohort:
    """Return an open cohort with every shard verified."""
    require_ingested(shards)
    return open_cohort(shards)


def _join(cohort: Cohort, shards: Path, trained: Path, *, needs_connectomes: bool = True) -> SharedTwin:
    require_complete(trained, "train")
    twin, card = read_twin(trained / "twin")
    if needs_connectomes and cohort.manifest.counts.get(WITHOUT_CONNECTOME):
        raise InputDataError(f"{shards}: {cohort.manifest.use_without_connectome}")
    description = cohort.manifest.description
    if tuple(description.regions) != card.region_names:
        raise InputDataError(
            f"{shards} has {len(description.regions)} regions that are not the {len(card.region_names)} of the twin in {trained}. "
            "Ingest the cohort with the parcellation that the twin was trained on, or train a twin on this cohort."
        )
    made, trained_on = (connectome_in_words(found) for found in (description.connectome, card.connectome))
    if made != trained_on:
        raise InputDataError(
            f"{shards} has connectomes that are {made}; the twin in {trained} was trained on {trained_on}. Ingest the cohort as the "
            "twin's was (`ingest.connectome`), or train a twin on this cohort."
        )
    tasks, own = TaskSet.from_plain(description.taskset), TaskSet.from_plain(card.taskset)
    unknown = {spec.name: spec for spec in tasks.specs}.keys() - {spec.name for spec in own.specs}
    if unknown:
        raise InputDataError(
            f"{shards} has runs of {', '.join(sorted(unknown))}, which the twin in {trained} was not trained on. "
            f"Ingest without them: --ingest.tasks {' '.join(spec.name for spec in own.specs)}"
        )
    numbers = {name: tensor.numpy() for name, tensor in twin.state_dict().items()}
    split = Split.load(trained / "split.json")
    hashes = {
        "twin": sha256_of(trained / "twin" / NUMBERS_FILE),
        "split": split.split_hash,
        "cohort": cohort.manifest.cohort_hash,
    }
    return SharedTwin(card, numbers, absolute(shards), split, hashes, description.source)


def inputs_of(shared_twins: Sequence[SharedTwin]) -> dict[str, str]:
    """Return the hashes of a stage's inputs, so that a resumed stage notices another twin or cohort."""
    found = dict(shared_twins[0].hashes)
    for number, shared_twin in enumerate(shared_twins[1:], start=2):
        found |= {f"{name} of member {number}": shared_twin.hashes[name] for name in ("twin", "split")}
    return found


def open_ensemble(
    shards: Path, trained: Path, members: Sequence[Path], option: str, *, needs_connectomes: bool = True
) -> list[SharedTwin]:
    """Return the twin and the further members of its ensemble, which `option` names.

    Without `needs_connectomes`, people of the cohort may have none.

    Raises
    ------
    ConfigurationError
        A trained folder is named twice.
    InputDataError
        A member is not there, or has other tasks or BOLD regions than the first.
    """
    require_distinct(trained, members, option)
    cohort = _open_ingested(shards)
    first = _join(cohort, shards, trained, needs_connectomes=needs_connectomes)
    if absent := [str(path) for path in members if not path.is_dir()]:
        raise InputDataError(
            f"{option}: there is no folder {', '.join(absent)} (paths are relative to where the command is called). Members of an ensemble "
            "are further trainings on the same cohort, alike but for their seed. Make each, with another N: "
            f"`dtb train {shards} {absent[0]} --config {trained / CONFIG_FILE} --seed N`; or name those that there are."
        )
    shared_twins = [first, *(_join(cohort, shards, path, needs_connectomes=needs_connectomes) for path in members)]
    for path, shared_twin in zip(members, shared_twins[1:], strict=True):
        if (shared_twin.card.taskset, shared_twin.card.bold_region_names) != (
            shared_twins[0].card.taskset,
            shared_twins[0].card.bold_region_names,
        ):
            raise InputDataError(
                f"{option}: the twin in {path} has other tasks or BOLD regions than that in {trained}. Members of an ensemble "
                "are trained on the same cohort; give `dtb train` another seed, and nothing else."
            )
    return shared_twins
