"""What the stages that read or make up people take: `dtb synth`, `dtb ingest`, `dtb plan`, and where `dtb run` begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dtb.config.kind_names import OneOf
from dtb.config.labels import ParticipantLabel
from dtb.config.section import (
    STRICT,
    STRICT_AND_HIDDEN,
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    OpenFraction,
    Positive,
    Section,
)


@dataclass(frozen=True, kw_only=True, config=STRICT_AND_HIDDEN)
class InputConfig(Section):
    """Where `dtb run` finds its cohort."""

    bids: Path | None = None
    """Raw BIDS tree; a ground-truth cohort is made if not given."""
    derivatives: tuple[Path, ...] = ()
    """Derivative trees with the parcellated series."""
    shards: Path | None = None
    """Shards that `dtb ingest` made before, in place of a BIDS tree: their folder, or the URL of a copy of it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SynthConfig(Section):
    """The ground-truth cohort: people whose traits load on known edges, and who act by a drift-diffusion process."""

    num_subjects: Count = 64
    """How many people."""
    num_regions: Annotated[int, Field(ge=8)] = 116
    """Regions: 116 are all of Schaefer's parcellation of 100 regions and Tian's of the subcortex, fewer are some of each network, and
    more are of finer parcellations."""
    num_sites: Count = 2
    """Scanner sites; the connectome and behaviour are both confounded with them."""
    site_effect: Annotated[float, Field(ge=0, le=0.7)] = 0.3
    """How far the traits of the first and the last site lie from the middle, in standard deviations."""
    age_years: tuple[Positive, Positive] = (18.0, 65.0)
    """Youngest and oldest."""
    age_effect: Annotated[float, Field(ge=0, le=0.7)] = 0.3
    """Standard deviations of each trait for 13.6 years of age, the spread of ages between 18 and 65."""
    motion_mm: Positive = 0.135
    """Median over people of the mean framewise displacement; the old move more, and so do the people of later sites."""
    jerks_per_minute: NonNegative = 0.0
    """How often a person's head jerks, by about a millimetre, on top of what it moves all the time."""
    motion_artefact: NonNegative = 0.0
    """What moving does to BOLD, in every region alike: standard deviations of the rest signal for a millimetre of framewise displacement.
    It makes motion a confound of the connectome, and 0 an innocent covariate."""
    missing_rest_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the people who have no rest run at all."""
    missing_run_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the task runs that were never made."""
    rest_seconds: Positive = 480.0
    """Length of each rest run in seconds: the shorter, the noisier the estimated connectome."""
    num_rest_runs: Count = 2
    """Rest runs a person."""
    repetition_time: Annotated[float, Field(ge=0.1, le=20)] = 0.8
    """Seconds from one volume to the next."""
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] = ("stroop", "hammer")
    """Which task designs the people perform."""
    runs_per_task: Count = 1
    """Runs of each task."""
    num_causal_edges: Count = 24
    """Edges that carry each trait."""
    trait_loadings: Literal["sparse", "dense"] = "sparse"
    """`sparse`: these edges carry it, each equally; `dense`: every edge does, with weights of its own, and all changes together are as
    large."""
    trait_strength: NonNegative = 1.0
    """Scale of the traits' effect on behaviour and task BOLD; 0 makes a cohort whose connectome says nothing."""
    age_on_behaviour: Annotated[float, Field(ge=0, le=0.7)] = 0.0
    """Log drift that 13.6 years of age take away in every task by a way that no connectome is part of. Connectomes that carry age then
    predict behaviour without a cause, for whoever does not take age out."""
    age_law: Literal["linear", "curved"] = "linear"
    """How: `linear`, the same each year; `curved`, least at 35 years and ever more after."""
    bold_noise: NonNegative = 1.0
    """Standard deviation of autocorrelated BOLD noise, in units of the task response."""
    lapse_rate: Annotated[float, Field(ge=0, lt=0.5)] = 0.03
    """Share of trials answered at random."""
    omission_rate: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Share of trials with no press at all, beyond those that the decision process leaves open."""
    volumes: bool = False
    """Write images with confounds, as fMRIPrep does, in place of parcellated series, and the atlas that goes with them: to try the whole
    way of reading."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IngestConfig(Section):
    """From BIDS trees to shards."""

    tasks: tuple[str, ...] = ("stroop", "hammer")
    """Task specifications: names of shipped ones (`dtb task list` lists them) or paths of YAML files. None (`--tasks` with nothing behind
    it) makes shards of connectomes alone, with the people of the derivative trees too; no twin can be trained on these."""
    without_connectome: Literal["set_aside", "keep"] = "set_aside"
    """Who has no connectome that can be used: `set_aside`, or `keep`, with their behaviour and every edge absent. Only `dtb train` of a
    twin with `person_effects` and `dtb update` use such people."""
    channel_layout: Literal["separate", "shared"] = "separate"
    """Stimulus channels of several tasks: `separate`, side by side with a flag for each task; `shared`, the paper's, in the same
    places with one flag."""
    rest_task: str = "rest"
    """BIDS task label of the resting-state runs, matched at its beginning (`rest` matches `restAP`)."""
    layout: Annotated[str, OneOf("dtb.cohort.layouts.table:LAYOUTS")] = "xcpd"
    """What the derivative trees hold. `xcpd`: XCP-D's `*_timeseries.tsv`; `xcpd_cifti`: its `*_timeseries.ptseries.nii`; `halfpipe`:
    `*_timeseries.tsv` or `.tsv.gz` without a header; `fmriprep`: volumes, `*_desc-preproc_bold.nii.gz`; `fmriprep_cifti`:
    `*_bold.dtseries.nii`; `tcp`: the Transdiagnostic Connectome Project's HDF5 files."""
    atlas: Path | None = None
    """Atlas for `fmriprep` (a labelled NIfTI volume, its names in a table of the same name or in `region_labels`) and `fmriprep_cifti` (a
    `dlabel.nii`). With other layouts it only says where regions lie whose names do not tell it, so that brains are drawn; see
    `report.atlas`."""
    space: str | None = None
    """Which space to read (the name after `space-`), where a derivative tree holds several, or one that is none of the MNI's and that the
    atlas's file name does not say."""
    confounds: Literal["24p", "24p_gsr", "36p", "none"] = "24p_gsr"
    """With `fmriprep` and `fmriprep_cifti`, what is regressed out beside slow drifts: 24 motion parameters; those and the global signal;
    those and the global, white-matter and CSF signals with derivatives and squares."""
    low_pass_hz: NonNegative = 0.0
    """With `fmriprep` and `fmriprep_cifti`, the highest frequency that is kept; 0 keeps all."""
    min_parcel_coverage: Fraction = 0.5
    """A parcel with a smaller share of its voxels covered is absent."""
    family_column: str = ""
    """Column of `participants.tsv` that says who are relatives. If not given: `family_id`, `Family_ID` or `rel_family_id`. Relatives stay
    together wherever people are divided."""
    max_memory_gib: Positive = 1.5
    """An image whose header asks for more memory than this, in one process, is refused."""
    repetition_time: Positive | None = None
    """Seconds from one volume to the next, whatever files say. If not given, the sidecar says it, or else the header of the image."""
    dropped_volumes: CountOrZero | None = None
    """Volumes that were removed from the beginning of every task series, as XCP-D does with `--dummy-scans`: they count as missing, so that
    events keep their place. If not given, each run's own number, from HALFpipe's sidecar or XCP-D's `*_qc.tsv`."""
    halfpipe_feature: str = "corrMatrix5"
    """Which HALFpipe feature's series to read (the name after `feature-`)."""
    region_labels: Path | None = None
    """Table that names the regions, one `index<TAB>name` a line or columns `index` and `name`, for `halfpipe`, `tcp` and `fmriprep`. If
    not given: the one `*_dseg.tsv` at the top of the derivative tree, or the table beside the atlas."""
    parcellation: str | None = None
    """Which parcellation to read (the name after `seg-` or `atlas-`), where a derivative tree holds several."""
    subject_timeout_seconds: Positive = 600.0
    """A person whose files take longer to read is set aside."""
    participant_label: tuple[ParticipantLabel, ...] = ()
    """Read these participants only, with or without `sub-`; all if empty. Or the path of a text file with one label a line, with a slash in
    it: `./pilot.txt`. Labels are written nowhere but beside the shards, in `*.identities.tsv`."""
    session_label: tuple[str, ...] = ()
    """Read these sessions only, with or without `ses-`; all if empty."""
    task: tuple[str, ...] = ()
    """Read these tasks only, of those in `tasks`: BIDS labels with or without `task-`, or names of specifications; all if empty. Rest is
    read in any case."""
    bids_filter_file: Path | None = None
    """JSON file that selects runs by BIDS entities as fMRIPrep's does, by its query `bold`."""
    connectome: Annotated[str, OneOf("dtb.people.connectome_kinds:CONNECTOMES")] = "pearson"
    """Correlation of the regions: as it is; shrunk after Ledoit and Wolf (2004), which short runs with many regions need; or partial, each
    pair given all other regions, from the inverse of the shrunk matrix. Or `precomputed`: matrices that the derivative trees hold,
    structural ones for instance."""
    matrix_files: str | None = None
    """With `connectome: precomputed`, pattern of the file names (`*_seg-4S156Parcels_*relmat.tsv`); if not given `*_relmat.tsv`,
    `*_relmat.dense.tsv` and `*connectivity.mat`."""
    matrix_key: str | None = None
    """With `connectome: precomputed`, which matrix of a `.mat` file to read; may be left out where there is one only."""
    matrix_transform: Literal["log1p", "fisher_z", "none"] = "log1p"
    """With `connectome: precomputed`: `log1p`, the logarithm of 1 + value, for numbers of streamlines; `fisher_z`, for correlations;
    `none`, values as they are."""
    rest_runs: Literal["average", "concatenate", "separate"] = "average"
    """Several rest runs of a person: `average`, the mean of their Fisher z, each weighted by its volumes; `concatenate`, standardised and
    put after one another, where a region that one run lacks is absent; `separate`, as `average`, and each run's own is kept beside."""
    min_rest_seconds: NonNegative = 120.0
    """A person with less usable rest is set aside."""
    min_region_fraction: Fraction = 0.8
    """A person with fewer of the regions present is set aside."""
    min_volumes_fraction: Fraction = 0.5
    """A series of which censoring left a smaller share of the volumes is not used; a task run then keeps its behaviour."""
    max_motion_mm: Positive = 0.5
    """A person whose mean framewise displacement at rest is larger is set aside; those of whom it is not known are kept."""
    max_omission_fraction: Fraction = 0.5
    """A task run with a larger share of trials without a press, where one was asked for, is left out."""
    max_rt_outlier_fraction: Fraction = 0.3
    """A task run is left out if a larger share of its reaction times is under 0.15 s, or more than three robust standard deviations from
    their median."""
    below_chance: Literal["keep", "drop"] = "keep"
    """What to do with a task run that is answered wrongly more often than guessing would (one-sided binomial test, p < .01), as by somebody
    who took one button for the other; it is flagged in quality.tsv either way."""
    max_late_fraction: Fraction = 0.1
    """Stop if anybody loses more than this share of a task's presses because they came after the response window: a window that is too
    short cuts slow people."""
    max_quarantined_fraction: Fraction = 0.5
    """Stop if more than this share of the people is set aside."""
    subjects_per_shard: Count = 32
    """People in one tar shard."""

    def __post_init__(self) -> None:
        """Refuse options that would leave nothing of anybody."""
        super().__post_init__()
        if not self.tasks and self.keeps_people_without_connectome:
            raise ValueError(
                "`without_connectome: keep` needs `tasks`: without either, nothing is left of such a person"
            )

    @property
    def keeps_people_without_connectome(self) -> bool:
        """Whether who has no connectome that can be used has a record all the same."""
        return self.without_connectome == "keep"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlanConfig(Section):
    """How many people, scan minutes and trials a claim between people needs."""

    claim: Literal["mean_rt", "condition_rt"] = "mean_rt"
    """What is to be predicted from the connectome: people's mean reaction time, or their condition effect."""
    task: Literal["stroop", "hammer"] = "stroop"
    """Design that people perform, and in which they are predicted."""
    other_tasks: tuple[Literal["stroop", "hammer"], ...] = ()
    """Designs that people perform beside it, with as many trials: their tests stand on the certificate too, and share its correction."""
    size: OpenFraction | None = None
    """Size of the claim: the partial correlation, beyond age, sex, site and motion, that a study with the most people, minutes and trials
    below would find on the mean. If not given, effects are as large as `synth.trait_strength` makes them."""
    people: Annotated[tuple[Annotated[int, Field(ge=20)], ...], Field(min_length=1)] = (40, 80, 160, 320)
    """Numbers of people to try."""
    rest_minutes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (5.0, 10.0, 20.0)
    """Minutes of rest a person to try; the middle one stands while trials vary."""
    trials: Annotated[tuple[Annotated[int, Field(ge=10)], ...], Field(min_length=1)] = (40, 80, 160)
    """Trials a person to try; the middle one stands while minutes vary."""
    num_cohorts: Annotated[int, Field(ge=10)] = 40
    """Cohorts made for each setting."""
    power: OpenFraction = 0.8
    """Share of the cohorts whose certificate should call the twin personal."""
    significance: OpenFraction = 0.05
    """One-sided level of the certificate, 1 minus `evaluate.confidence`: what it leaves to each of its tests, its correction decides."""
