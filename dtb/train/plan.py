"""The plan of a training: split, sizes, scales and card, made from a cohort and a configuration."""

from __future__ import annotations

import dataclasses
import difflib
import math
from pathlib import Path

import numpy as np
import torch

from dtb.config import Config
from dtb.errors import ConfigurationError, DamagedOutputError
from dtb.people.connectome_kinds import connectome_in_words, is_correlation
from dtb.shards.batches import BatchMaker
from dtb.shards.divide import make_split
from dtb.shards.layouts import LayoutStore
from dtb.shards.read import Cohort
from dtb.shards.remote import absolute
from dtb.shards.split import Part, Split
from dtb.shards.stream import SubjectStream
from dtb.tasks.taskset import TaskSet
from dtb.train.at_once import rows_of
from dtb.train.budget import Budget, begun_batch_size, budget_of, fitted
from dtb.train.engine import overlaps
from dtb.train.feed import Feed
from dtb.train.start.normalise import Normalisation
from dtb.train.start.summaries import Asked
from dtb.twin.blocks import block_steps
from dtb.twin.export import TwinCard
from dtb.twin.model import Twin
from dtb.twin.person_effects import Beginning, PersonEffects
from dtb.twin.sizes import TwinSizes
from dtb.version import __version__

_FED: tuple[Part, ...] = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training before it begins.

    Attributes
    ----------
    config : Config
    shards, out : Path
        Absolute; every worker must see the same folders there.
    cohort : Cohort
    split : Split
    card : TwinCard
    left_out : frozenset of str
        People of the split who cannot be trained on.
    """

    config: Config
    shards: Path
    out: Path
    cohort: Cohort
    split: Split
    card: TwinCard
    left_out: frozenset[str] = frozenset()

    @property
    def bold_regions(self) -> tuple[int, ...]:
        """Columns of the runs' BOLD that are targets."""
        columns = {name: column for column, name in enumerate(self.cohort.manifest.bold_regions)}
        return tuple(columns[name] for name in self.card.bold_region_names)

    @property
    def budget(self) -> Budget:
        """Return the budget of the training."""
        return budget_of(self.config.train, len(self.split.train))

    @property
    def batch_size(self) -> int:
        """People in a global batch."""
        assert self.config.train.batch_size is not None, "make_plan chooses it"
        return self.config.train.batch_size

    def stream(self, part: str) -> SubjectStream:
        """Return the stream of a part: shuffled for training, in one fixed order otherwise."""
        people = self.split.train if part == "train" else self.split.validation
        return SubjectStream(
            people, self.batch_size, self.config.seed, shuffled=part == "train", left_out=self.left_out
        )

    def maker(self, bold_mean_R: np.ndarray | None = None) -> BatchMaker:
        """Return what lays people out for training; `bold_mean_R` is that of the training's scales."""
        return BatchMaker(
            TaskSet.from_plain(self.card.taskset),
            self.config.segments,
            self.config.twin.step_seconds,
            self.bold_regions,
            self.split,
            loss_of=self.config.twin,
            bold_mean_R=bold_mean_R,
        )

    @property
    def asked(self) -> Asked:
        """Return what has to be known of everybody before the training begins."""
        config, taskset = self.config, self.card.taskset
        is_read = config.train.start == "regression" and config.twin.standardise_connectome and config.twin.latent_size
        return Asked(self.split, self.bold_regions, config.twin.bold == "direct", taskset if is_read else None)

    def layouts(self, bold_mean_R: np.ndarray | None = None) -> LayoutStore:
        """Return this node's store of people's layouts; whoever asks for it closes it."""
        depend_on = self.maker(bold_mean_R).layouts_depend_on
        return LayoutStore({"cohort": self.card.cohort_hash, "dtb": __version__, **depend_on})

    def feeds(
        self,
        rank: int,
        world_size: int,
        pieces: int,
        bold_mean_R: np.ndarray | None = None,
        layouts: LayoutStore | None = None,
    ) -> dict[str, Feed]:
        """Return a rank's training and validation feeds; `bold_mean_R` is that of the training's scales."""
        maker, threads = self.maker(bold_mean_R), self.config.train.loader_threads
        return {
            part: Feed(
                self.cohort,
                maker,
                self.stream(part),
                part,
                rank,
                world_size,
                pieces,
                threads,
                layouts,
            )
            for part in _FED
        }

    def person_effects(self, normalisation: Normalisation | None = None) -> PersonEffects | None:
        """Make the table of the training people's own effects as it begins; None for a twin without them."""
        if not self.config.twin.person_effects:
            return None
        beginning = Beginning.of_nothing(self.split.train, self.config.twin.latent_size)
        if normalisation is not None and normalisation.read_people is not None:
            scores = (normalisation.read_PZ, normalisation.own_PZ, normalisation.own_variance_PZ)
            read_PZ, own_PZ, own_variance_PZ = (torch.tensor(array) for array in scores)
            beginning = Beginning.of_scores(
                self.split.train, normalisation.read_people, read_PZ, own_PZ, own_variance_PZ
            )
        return PersonEffects(beginning, self.observations_per_person)

    @property
    def observations_per_person(self) -> float:
        """Mean number of usable trials of a person of the cohort; of volumes, where nobody has any trial."""
        counts = self.cohort.manifest.counts
        return max((counts["usable_trials"] or counts["volumes"]) / max(counts["subjects"], 1), 1.0)

    def twin(self, normalisation: Normalisation | None = None) -> Twin:
        """Make the twin with its initial weights, which depend only on the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            twin = Twin(self.config.twin, self.card.sizes)
        if normalisation is not None:
            optional = (normalisation.components_EC, normalisation.reader_EZ)
            twin.set_normalisation(
                torch.tensor(normalisation.edge_mean_E),
                torch.tensor(normalisation.edge_scale_E),
                torch.tensor(normalisation.bold_scale_R),
                *(None if array is None else torch.tensor(array) for array in optional),
            )
            if twin.tangent is not None:
                found = (
                    normalisation.tangent_reference_RR,
                    normalisation.tangent_mean_E,
                    normalisation.tangent_scale_E,
                )
                twin.tangent.set_reference(*(torch.tensor(array) for array in found))
        return twin


def make_plan(config: Config, shards: Path, out: Path, cohort: Cohort) -> Plan:
    """Return the plan: split, batches, steps, sizes and card.

    Parameters
    ----------
    config : Config
    shards, out : Path
        A training that was begun in `out` keeps the size of its batches.
    cohort : Cohort

    Raises
    ------
    ConfigurationError
        The cohort and the configuration do not fit.
    """
    if why := cohort.manifest.use_without_training:
        raise ConfigurationError(f"{shards}: {why}")
    if not config.twin.person_effects and (why := cohort.manifest.use_without_connectome):
        raise ConfigurationError(f"{shards}: {why} This twin has `person_effects: false`.")
    if config.twin.connectome_space == "tangent" and (why := cohort.manifest.use_without_connectome):
        raise ConfigurationError(f"{shards}: {why} With people who have none, `connectome_space` has to be `edges`.")
    description = cohort.manifest.description
    taskset = TaskSet.from_plain(description.taskset)
    split = make_split(cohort, config.split, config.seed)
    if config.train.bold_weight == 0 and config.train.press_weight == 0:
        raise ConfigurationError("train.press_weight and train.bold_weight are both 0: there is nothing to learn.")
    if config.twin.connectome_space == "tangent" and not is_correlation(description.connectome):
        raise ConfigurationError(
            "twin.connectome_space is 'tangent', which is a space of correlation matrices; this cohort's connectomes are "
            f"{connectome_in_words(description.connectome)}. Ingest with `connectome: ledoit_wolf`, or train with "
            "`connectome_space: edges`."
        )
    bold_regions = _bold_regions(config.twin.bold_regions, cohort.manifest.bold_regions)
    if config.twin.bold == "direct" and bold_regions:
        _require_levels(cohort, split.train)
    sizes = TwinSizes(
        num_regions=len(description.regions),
        num_channels=taskset.num_channels,
        num_alternatives=taskset.num_alternatives,
        num_bold_regions=len(bold_regions),
    )
    card = TwinCard(
        config=config.twin,
        sizes=sizes,
        taskset=description.taskset,
        region_names=tuple(description.regions),
        bold_region_names=bold_regions,
        connectome=description.connectome,
        cohort_hash=cohort.manifest.cohort_hash,
        split_hash=split.split_hash,
        seed=config.seed,
        segments=config.segments,
    )
    train = fitted(config.train, len(split.train), begun_batch_size(out))
    return Plan(dataclasses.replace(config, train=train), absolute(shards), out.resolve(), cohort, split, card)


def _require_levels(cohort: Cohort, people: tuple[str, ...]) -> None:
    """Refuse shards of an older dtb, which did not keep each run's mean BOLD: with a mean of 0, all runs would look alike."""
    for pseudonym in people:
        try:
            if all(run["repetition_time"] is None for run in cohort.header(pseudonym)["runs"]):
                continue
            runs = cohort.record(pseudonym).runs
        except DamagedOutputError:  # training sets such people aside
            continue
        if any(run.bold_VR is not None and run.bold_mean_R is None for run in runs):
            raise ConfigurationError(
                f"{cohort.path} does not have the level of each run's BOLD, from which `twin.bold: direct` counts: an older dtb made "
                "it. Run `dtb ingest` anew, or train with `bold: hrf`."
            )
        return


def _bold_regions(wanted: tuple[str, ...], there: tuple[str, ...]) -> tuple[str, ...]:
    """Return the regions whose BOLD is predicted: those requested, or all."""
    absent = [name for name in wanted if name not in there]
    if absent:
        near = difflib.get_close_matches(absent[0], there, n=1)
        if near:
            advice = f"did you mean {near[0]!r}?"
        else:
            advice = "manifest.json in the folder of shards lists them." if there else "it has no task BOLD."
        raise ConfigurationError(
            f"twin.bold_regions: the cohort has no BOLD of {', '.join(map(repr, absent[:5]))} "
            f"({len(absent)} of {len(wanted)} are not among its {len(there)} regions); {advice}"
        )
    return wanted or there


def estimated_bytes(
    num_parameters: int, config: Config, plan: Plan, bucket_size: int, pieces: int = 1
) -> dict[str, int]:
    """Return an estimate of a worker's memory: weights, gradients, Adam's moments by ZeRO stage, and states for the backward pass.

    Parameters
    ----------
    num_parameters : int
    config : Config
    plan : Plan
    bucket_size : int
        Number of gradients in the buffer; see `dtb.train.engine.bucket_size`.
    pieces : int
        In so many a worker's share of a batch is taken.

    Returns
    -------
    dict
        Bytes for `weights`, `gradients`, `bucket`, `optimizer`, `states` and `responses`, the matrices from steps to volumes.
    """
    train, workers = config.train, config.train.num_workers
    # The optimizer has float32 weights of its own with bf16, and with ZeRO in float32 too.
    weight, master = (2, 4) if train.precision == "bf16" else (4, 4 if train.zero_stage else 0)
    rows = rows_of(plan.batch_size, workers, pieces)
    people = [plan.cohort.header(who)["runs"] for who in plan.split.train[:8]]
    seconds = max(sum(run["duration_seconds"] for run in runs) for runs in people)
    longest = max((run["duration_seconds"] for runs in people for run in runs), default=0.0)
    burn_in = config.segments.burn_in_seconds
    length = min(config.segments.segment_seconds, burn_in + longest)  # as `BatchMaker` lays segments out
    steps = seconds / max(length - burn_in, 1e-9) * length / config.twin.step_seconds
    fastest = min(
        (run["repetition_time"] for runs in people for run in runs if run["repetition_time"]), default=math.inf
    )
    volumes = length / fastest if plan.bold_regions and config.twin.bold == "hrf" else 0.0
    responses = rows * steps * volumes * 4
    if train.recompute_states:
        # Of each segment, one block's states, and the state between blocks.
        block = block_steps(round(length / config.twin.step_seconds))
        steps *= min(1.0, block * config.twin.step_seconds / length + 1 / block)
    per_step = 3 * config.twin.num_hidden + plan.card.sizes.num_channels + 2 * plan.card.sizes.num_alternatives
    return {
        "weights": num_parameters * weight // (workers if train.zero_stage == 3 else 1),
        "gradients": num_parameters * weight // (workers if train.zero_stage >= 2 else 1),
        "bucket": bucket_size * weight * (2 if overlaps(train) else 1) if train.zero_stage >= 1 else 0,
        "optimizer": num_parameters * (8 + master) // (workers if train.zero_stage >= 1 else 1),
        "states": int(rows * steps * per_step * 4),
        "responses": int(responses),
    }
