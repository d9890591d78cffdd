"""What a training has to know of everybody before it begins: found in one pass over the shards, and kept beside them.

Each shard is read once, by a worker where there are many people: its checksum, who cannot be trained on, and the sums and figures of which
scales and initial latents are made. That is kept in `.summaries` of the folder of shards, by the shard's checksum and what was asked, so
that the next training, or member of a sweep, reads it instead.

Shape letters: `P` person of a shard, `H` all data, or either half, `Y` figure of behaviour, `C` contrast, `R` BOLD region.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from dtb.cluster.fan_out import as_finished
from dtb.config import ClusterConfig
from dtb.errors import StageError, UserError
from dtb.files import written_whole
from dtb.people.records import SubjectRecord
from dtb.shards.bold import series, within
from dtb.shards.manifest import ShardEntry
from dtb.shards.possible import ImpossibleRecordError
from dtb.shards.read import Cohort
from dtb.shards.split import Split
from dtb.tasks.taskset import TaskSet
from dtb.train.quarantine import unfit
from dtb.train.start.initial_latents import PersonFigures
from dtb.version import __version__

FOLDER = ".summaries"
FEW = 256
"""As many people are gone through by the driver itself, before Ray's workers would have started."""


class Moments:
    """Count, mean and sum of squared deviations of each column, merged block by block (Chan, Golub & LeVeque 1983)."""

    def __init__(self, size: int) -> None:
        self.count = np.zeros(size)
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)

    def add(self, rows: np.ndarray) -> None:
        """Add rows of values; NaN are absent."""
        present = np.isfinite(rows)
        own = Moments(rows.shape[1])
        own.count = present.sum(axis=0).astype(np.float64)
        values = np.where(present, rows, 0.0).astype(np.float64)
        own.mean = values.sum(axis=0) / np.maximum(own.count, 1)
        own.squares = (np.where(present, values - own.mean, 0.0) ** 2).sum(axis=0)
        self.merge(own)

    def merge(self, other: Moments) -> None:
        """Add what another one has seen."""
        total = self.count + other.count
        shift = np.where(other.count > 0, other.mean - self.mean, 0.0)
        self.mean = self.mean + shift * other.count / np.maximum(total, 1)
        self.squares = self.squares + other.squares + shift**2 * self.count * other.count / np.maximum(total, 1)
        self.count = total

    def scale(self) -> np.ndarray:
        """Return standard deviations; 1 where there are fewer than two values or no spread."""
        variance = self.squares / np.maximum(self.count - 1, 1)
        return np.where((self.count > 1) & (variance > 1e-12), np.sqrt(variance), 1.0)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of everybody, whoever is in which part.

    Attributes
    ----------
    split : Split
        Which times of a run are training data; its people do not matter.
    bold_regions : tuple of int
        Columns of the runs' BOLD that are targets.
    bold_of_cohort : bool
        Whether BOLD is measured from 0, or from the mean of each run's training part.
    taskset : dict or None
        `TaskSet.to_plain()`; None if no figures are needed.
    """

    split: Split
    bold_regions: tuple[int, ...]
    bold_of_cohort: bool
    taskset: dict[str, Any] | None

    @property
    def key(self) -> str:
        """Return a name for what is asked, and for the version that answers."""
        nobody = dataclasses.replace(self.split, train=(), validation=(), test=())
        plain = [__version__, nobody.to_plain(), self.bold_regions, self.bold_of_cohort, self.taskset]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """What is known of one person.

    Attributes
    ----------
    pseudonym : str
    reason : str or None
        Why they cannot be trained on, even if no connectome is needed.
    has_connectome : bool
    covariates : dict
    bold : Moments
        Of the training part's volumes.
    figures : PersonFigures or None
    """

    pseudonym: str
    reason: str | None
    has_connectome: bool
    covariates: dict[str, float | str | None]
    bold: Moments
    figures: PersonFigures | None

    def why_unfit(self, *, needs_connectome: bool) -> str | None:
        """Return why they cannot be trained on, or None."""
        return "the connectome has no edge" if needs_connectome and not self.has_connectome else self.reason


def summarise(record: SubjectRecord, asked: Asked) -> Summary:
    """Return what is known of a person."""
    columns = np.asarray(asked.bold_regions, dtype=np.int64)
    bold = Moments(len(columns))
    reason = unfit(record, needs_connectome=False)
    figures = None
    if reason is None:
        for run, span in zip(record.runs, asked.split.spans("train", record.runs), strict=True):
            bold_VR = series(run, span, columns, np.zeros(len(columns)) if asked.bold_of_cohort else None)
            if bold_VR is not None and len(columns):
                bold.add(bold_VR[within(run, span)])
    if asked.taskset is not None and reason is None:
        figures = PersonFigures.of(record, TaskSet.from_plain(asked.taskset), asked.split, columns)
    return Summary(record.pseudonym, reason, record.has_connectome, dict(record.covariates), bold, figures)


def summaries_of(cohort: Cohort, asked: Asked, cluster: ClusterConfig | None = None) -> dict[str, Summary]:
    """Return what is known of everybody.

    Parameters
    ----------
    cohort : Cohort
    asked : Asked
    cluster : ClusterConfig or None
        Where workers read the shards if there are many people; None to read them here.

    Raises
    ------
    DamagedOutputError
        A shard was altered.
    StageError
        A worker that read a shard was lost twice.
    """
    found: dict[str, Summary] = {}
    if cluster is None or len(cohort) <= FEW:
        for shard in cohort.manifest.shards:
            found |= {person.pseudonym: person for person in _of_shard(shard, cohort, asked)}
        return found
    for shard, people, death in as_finished(_attempt, cohort.manifest.shards, (cohort, asked), cluster):
        if isinstance(people, UserError):
            raise people
        if people is None:
            raise StageError(f"{shard.name} could not be read: {death}. Run the same command again.")
        found |= {person.pseudonym: person for person in people}
    return found


def _attempt(shard: ShardEntry, shared: tuple[Cohort, Asked]) -> list[Summary] | UserError:
    """Read a shard on a worker; what is wrong with it is returned as it is, without the worker's trace."""
    try:
        return _of_shard(shard, *shared)
    except UserError as error:
        return error


def _of_shard(shard: ShardEntry, cohort: Cohort, asked: Asked) -> list[Summary]:
    """Return what is known of the people of a shard, from beside it or from the shard."""
    kept = cohort.path / FOLDER / f"{shard.sha256[:16]}-{asked.key}.safetensors"
    state = _state_of(cohort.path / shard.name)
    found = _read(kept, shard, state)
    if found is None:
        cohort.verify(shard)
        found = [_of_person(who, cohort, asked) for who in shard.subjects]
        if state is not None and state == _state_of(cohort.path / shard.name):
            _keep(kept, found, state)
    return found


def _of_person(pseudonym: str, cohort: Cohort, asked: Asked) -> Summary:
    try:
        return summarise(cohort.record(pseudonym), asked)
    except ImpossibleRecordError as error:
        return Summary(pseudonym, error.reason, True, {}, Moments(len(asked.bold_regions)), None)


def _state_of(path: Path) -> list[int] | None:
    """Return by what a file that was altered or copied is known, which nobody can set; None if it is not on this machine."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_ino, found.st_ctime_ns]


def _keep(path: Path, people: list[Summary], state: list[int]) -> None:
    """Write what is known of a shard's people beside it; where nobody may write, it is found anew each time."""
    arrays = {
        f"bold_{name}_PR": np.array([getattr(person.bold, name) for person in people])
        for name in ("count", "mean", "squares")
    }
    plain = []
    for place, person in enumerate(people):
        figures = person.figures
        known = {field: getattr(person, field) for field in ("pseudonym", "reason", "has_connectome", "covariates")}
        if figures is not None:
            arrays |= {f"{place}.behaviour_HY": figures.behaviour_HY, f"{place}.maps_HCR": figures.maps_HCR}
            known |= {"num_trials": figures.num_trials, "num_volumes": figures.num_volumes}
        plain.append(known)
    said = {"people": json.dumps(plain), "state": json.dumps(state)}
    try:
        path.parent.mkdir(exist_ok=True)
        with written_whole(path, sync=False) as temporary:
            safetensors.numpy.save_file(arrays, temporary, metadata=said)
    except OSError:
        return


def _read(path: Path, shard: ShardEntry, state: list[int] | None) -> list[Summary] | None:
    """Read what `_keep` wrote; None if there is nothing, or the shard may have been altered since."""
    try:
        with safe_open(path, framework="numpy") as opened:
            said = opened.metadata()
        if json.loads(said["state"]) != state:
            return None
        arrays = safetensors.numpy.load_file(path)
        found = list(_restored(json.loads(said["people"]), arrays))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):  # whatever it is, it can be made anew
        return None
    return found if tuple(person.pseudonym for person in found) == shard.subjects else None


def _restored(plain: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> Iterator[Summary]:
    for place, known in enumerate(plain):
        bold = Moments(0)
        bold.count, bold.mean, bold.squares = (
            arrays[f"bold_{name}_PR"][place] for name in ("count", "mean", "squares")
        )
        figures = None
        if "num_trials" in known:
            counts = known.pop("num_trials"), known.pop("num_volumes")
            figures = PersonFigures(arrays[f"{place}.behaviour_HY"], arrays[f"{place}.maps_HCR"], *counts)
        yield Summary(**known, bold=bold, figures=figures)
