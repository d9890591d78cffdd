"""What is done with a trained twin: `dtb update`, `dtb simulate`, `dtb intervene`, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dtb.config.kind_names import OneOf
from dtb.config.section import STRICT, Count, CountOrZero, Fraction, NonNegative, Positive, Section


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UpdateConfig(Section):
    """Every person's twin is conditioned on the person's own trials and BOLD."""

    trials: CountOrZero | None = None
    """Only the first so many usable trials of each task, in the order of sessions, runs and onsets; all if not given, none with 0."""
    bold_seconds: NonNegative | None = None
    """Only the first so many seconds of BOLD, summed over runs in that order; all if not given, none with 0."""
    tasks: tuple[str, ...] = ()
    """Only runs of these tasks; all if not given."""
    sessions: tuple[str, ...] = ()
    """Only runs of these sessions, by their labels; all if not given."""
    connectome: bool = True
    """Whether connectomes are read; without, people are known by their own data alone, as those who were never scanned."""
    members: tuple[Path, ...] = ()
    """Further trained folders: an ensemble, each of whose members is updated."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SimulateConfig(Section):
    """Every person's twin performs the tasks."""

    num_draws: Count = 20
    """Presses drawn for each trial from its distribution."""
    num_noise_draws: Count = 1
    """Performances of everything by each twin, each with its own process noise and, with `updated`, its own draw of the person's latent;
    more than one needs either."""
    updated: Path | None = None
    """Output folder of `dtb update`: each performance is by a draw from what people's own data made known of them; if not given, people
    perform as their connectomes alone say."""
    members: tuple[Path, ...] = ()
    """Further trained folders: an ensemble, each of whose members performs."""
    designs: tuple[Path, ...] = ()
    """Task designs that everybody performs in place of their own runs: events files with a BIDS task label in their names
    (`task-stroop_events.tsv`) and the columns of the task's specification; those of responses are not needed."""
    design_repetition_time: Positive = 2.0
    """Seconds from one simulated volume to the next, in `designs`."""
    bids_derivatives: bool = False
    """Also write the simulations as BIDS derivatives, to `OUT/derivatives`, under pseudonyms."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InterveneConfig(Section):
    """A search, for each person, for a change of the connectome that moves one indicator and leaves the others."""

    indicator: Annotated[str, OneOf("dtb.intervene.kinds:INDICATORS")] = "mean_rt"
    """What is to change; `condition_rt`, `bold_contrast` and `bold_t` take the difference of the task's contrast, `bold_t` over its
    standard error in the linear model; `choice` is the probability of one alternative."""
    task: str | None = None
    """Task of the indicator; the first of the cohort's tasks if not given."""
    alternative: str | None = None
    """Alternative of `choice`, as the task's specification names it."""
    region: str | None = None
    """Region of `bold_contrast` and `bold_t`."""
    network: str | None = None
    """In place of a region, the network whose regions' mean is meant, as their names say it (`VisCent` in
    `17Networks_LH_VisCent_ExStr_1`)."""
    direction: Literal["increase", "decrease"] = "decrease"
    """Which way the indicator should go."""
    against: str | None = None
    """A second aim, in words such as `increase accuracy in stroop` or `decrease bold_contrast of network VisCent in hammer`: further
    searches weigh it against the first, and show what of one is had for how much of the other (a Pareto front)."""
    front_points: Annotated[int, Field(ge=2)] = 5
    """Searches for the front, from the first aim alone to the second alone, with `against`."""
    budget: Positive = 0.05
    """Largest Frobenius norm of the change, in `budget_unit`."""
    budget_unit: Literal["norm", "retest_sd"] = "norm"
    """`norm`: the norm of the person's own connectome off the diagonal; `retest_sd`: that of a change which moves every edge by the
    standard deviation with which it differs from one rest run to another, so that 1 is what a second scan would change by itself."""
    off_target_weight: NonNegative = 1.0
    """Penalty on changes of the other indicators, in units of their spread between people."""
    space: Literal["edges", "sparse", "regions"] = "edges"
    """What may change: all edges; at most `max_edges` edges; or the gains of at most `max_regions` regions, whose correlations with all
    others are scaled, as a stimulator or a drug there would."""
    max_edges: Count = 20
    """Edges that may change, with `space: sparse`."""
    max_regions: Count = 3
    """Regions whose gain may change, with `space: regions`."""
    regions: tuple[str, ...] = ()
    """Names of the regions among which `space: regions` may choose, as those that a stimulator reaches; all of them if not given."""
    max_distance: Positive | None = None
    """How far from the cohort's mean a changed connectome may lie, as root mean square over edges in standard deviations between the people
    of the training; whoever lies farther already may not go farther still. No bound if not given."""
    updated: Path | None = None
    """Output folder of `dtb update`: the search is over draws from what each person's own data made known, which count as members of the
    ensemble; if not given, over what connectomes alone say."""
    latent_draws: Annotated[int, Field(ge=2)] = 4
    """Draws of each person's latent by each member, with `updated`."""
    metric: Literal["cohort", "euclidean"] = "cohort"
    """`cohort`: steps go where people differ, the slope weighted with the covariance of connectomes over people; `euclidean`: the steepest
    slope, which may be a pattern of edges that nobody has. `space: regions` is not affected."""
    num_restarts: Count = 1
    """Searches for each person, from different beginnings, all at once; the best is kept."""
    members: tuple[Path, ...] = ()
    """Further trained folders: an ensemble, whose mean is searched and whose members must agree."""
    min_agreement: Fraction = 1.0
    """Share of an ensemble's members in which the target must move the wanted way; below it the result is marked as an abstention."""
    num_steps: Count = 30
    """Steps of the search."""
    relmat: bool = True
    """Whether each person's change is written as a matrix too, `OUT/derivatives/sub-*/func/*_relmat.tsv`; one of 434 regions is 1 MB of
    text."""
    segments_per_task: CountOrZero = 3
    """Segments of each task that are performed at every step, spread over the runs; 0 for all, as always with BOLD. Before and
    after are measured on everything."""
    step_size: Positive = 0.2
    """Length of the first step, as a share of the budget; later ones adapt."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FleetConfig(Section):
    """How people are fanned out over the cluster in `simulate` and `intervene`."""

    num_actors: Count = 2
    """Actors that hold the twin."""
    cpus_per_actor: NonNegative = 1.0
    """CPU cores reserved for each actor."""
    gpus_per_actor: NonNegative = 0.0
    """GPUs (or a share of one) reserved for each actor."""
    subjects_per_batch: Count | None = None
    """People that an actor takes at once. If not given, as many as half the memory of its device holds, at most 8 on a CPU and 256 on a
    GPU, and no more than leaves every actor two batches."""
    batches_in_flight_per_actor: Count = 2
    """Batches handed out before results are awaited."""
    max_failed_fraction: Fraction = 0.2
    """Exit with an error if more than this share of the people failed; their rows and reasons are written all the same."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportConfig(Section):
    """One HTML page, and a page for each of some people."""

    subject: str | None = None
    """Pseudonym of the person shown as an example; the median one if not given."""
    person_pages: CountOrZero = 8
    """How many people get a page of their own: of those held out, evenly from the best to the worst predicted, and with a number larger
    than theirs others too; 0 for none."""
    atlas: Path | None = None
    """Where the regions lie, to draw on a brain: the cohort's atlas as a labelled volume with its names in `STEM.tsv` beside it, or a table
    of centres (`name`, `x`, `y`, `z` in mm), or `Schaefer100`, `Schaefer200`, `Schaefer300` or `Schaefer400`, for regions in the order of
    that parcellation of 7 networks, whatever they are called. If not given, what `dtb ingest` found: by the regions' names, or in the
    derivative trees."""
