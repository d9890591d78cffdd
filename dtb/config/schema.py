"""Every option of the system, its default, its unit and what it may be: one frozen dataclass a stage, and the only place with defaults.

Values are checked on construction (pydantic), unknown keys are refused with the nearest known one, and `config_hash` names a
configuration by its content, so that an output folder can tell which settings wrote it. The text under each field is what
``dtb <stage> --help`` prints.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from dtb.config.kind_names import OneOf
from dtb.config.labels import ParticipantLabel
from dtb.config.mappings import NOT_SHOWN, from_mapping, read_yaml
from dtb.passwords import holds_password

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


def _name_of_variable(text: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", text):
        raise PydanticCustomError(NOT_SHOWN, "expected the name of an environment variable, and never its value")
    return text


VariableName = Annotated[str, AfterValidator(_name_of_variable)]


def _name_of_no_secret(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise PydanticCustomError(NOT_SHOWN, "expected the name of an environment variable, and never its value")
    if re.search("TOKEN|SECRET|PASSW|CREDENTIAL|KEY", text.upper()):
        raise ValueError(
            f"{text} is called like a secret, which must not travel: set it where Ray is started on the nodes"
        )
    return text


PassedVariable = Annotated[str, AfterValidator(_name_of_no_secret)]

_STRICT = ConfigDict(extra="forbid")
_NOT_SHOWN_EITHER = ConfigDict(extra="forbid", hide_input_in_errors=True)  # where URLs are given, or secrets might be


class _Section:
    """What every section refuses: it is saved with every output, and a password with it."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            texts = [
                str(each) for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str | Path)
            ]
            if any(map(holds_password, texts)):
                raise ValueError(
                    f"{field.name} holds a URL with a password, which would be written with every output. Leave it out, and give it "
                    "through the environment (docs/clusters.md)"
                )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SynthConfig(_Section):
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class IngestConfig(_Section):
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
    `dlabel.nii`)."""
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
        if not self.tasks and self.without_connectome == "keep":
            raise ValueError(
                "`without_connectome: keep` needs `tasks`: without either, nothing is left of such a person"
            )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SegmentConfig(_Section):
    """How runs are cut into the pieces that the twin simulates."""

    segment_seconds: Positive = 60.0
    """Length of a segment, burn-in included."""
    burn_in_seconds: NonNegative = 20.0
    """Beginning of each segment that carries no loss, for the state and the haemodynamic response to settle: of activity that stays the
    same, BOLD is 40% from its final value after 12 s (SPM's response 14%), 1.6% (3.2%) after 20 s and 0.2% (0.7%) after 24 s. What trains
    without BOLD can do with less."""

    def __post_init__(self) -> None:
        """Refuse a burn-in that leaves nothing to count."""
        super().__post_init__()
        if self.burn_in_seconds >= self.segment_seconds:
            raise ValueError(
                f"`burn_in_seconds` is {self.burn_in_seconds:g}; it must be shorter than `segment_seconds` ({self.segment_seconds:g})"
            )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TwinConfig(_Section):
    """The model: a hypernetwork from connectome to parameters, and the recurrent network that they make."""

    step_seconds: Annotated[float, Field(ge=0.001, le=1)] = 0.08
    """Length of a model step."""
    num_hidden: Count = 64
    """Units of the recurrent network."""
    cell: Literal["elman", "leaky", "gated"] = "leaky"
    """`elman` is the paper's tanh network, `leaky` integrates with a learned rate, `gated` learns when to."""
    generation: Literal["full", "low_rank", "additive"] = "low_rank"
    """`full` generates every weight; `low_rank` a personal change of rank `rank` to a shared matrix; `additive` none: all people share
    one network, of which the connectome is a further input that stays the same (the paper's ablation)."""
    rank: Count = 4
    """Rank of the personal change, with `generation: low_rank`."""
    standardise_connectome: bool = True
    """Whether the encoder reads each edge in standard deviations from the training people's mean; `false` for Fisher z as it is, as in the
    paper."""
    connectome_space: Literal["edges", "tangent"] = "edges"
    """What the encoder reads of a connectome: `edges`, as the shards hold them; `tangent`, correlation matrices in the tangent space at
    the training people's geometric mean, fitted for each split anew."""
    connectome_components: CountOrZero = 64
    """Principal components of the training people's connectomes that the encoder reads; 0 for every edge, as in the paper."""
    encoder_widths: tuple[Count, ...] = (64,)
    """Widths of the layers between connectome and generated parameters."""
    latent_size: CountOrZero = 16
    """Size of the explicit latent `z` between encoder and heads; 0 for none, as in the paper."""
    person_effects: bool = True
    """Whether a person is more than their connectome says: the latent is what is read from the connectome plus an effect of the person's
    own, whose distribution over people is learnt, and which the person's own trials and BOLD tell of afterwards. Needs a latent, and
    likelihoods of presses and volumes; `false` for the published model."""
    connectome_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of edges hidden from the encoder in training; drawn per person, whatever the batch. It would blur what latents begin at with
    `train.start: regression`; from a random start, a tenth to a third keeps an encoder from learning single edges by heart."""
    stimulus_delay_steps: CountOrZero = 1
    """Steps by which the stimulus reaches the network late."""
    press: Literal["hazard", "sigmoid"] = "hazard"
    """`hazard`: press-time likelihood; `sigmoid`: the paper's per-step binary cross-entropy, for which segments follow each other without
    room for response windows in training."""
    bold: Literal["hrf", "direct"] = "hrf"
    """`hrf`: neural readout convolved with a haemodynamic response, compared at the run's own volumes, from the mean of each run's training
    part; `direct`: the paper's, a readout compared at every step with the series' cubic spline, z-scored over all training people."""
    hrf: Literal["glover", "spm"] = "glover"
    """Canonical haemodynamic response, from nilearn."""
    hrf_derivatives: bool = False
    """Whether each person's response is shifted and widened by own amounts of its time and dispersion derivatives, with `bold: hrf`."""
    bold_regions: tuple[str, ...] = ()
    """Names of the regions whose BOLD is predicted, as the cohort names them; all if empty."""
    process_noise: NonNegative = 0.0
    """Standard deviation of the noise that enters the state at each step, in training and whenever the twin performs; figures of an
    evaluation are means over ten performances."""

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        super().__post_init__()
        if self.connectome_components and not self.standardise_connectome:
            raise ValueError(
                "`standardise_connectome: false` needs `connectome_components: 0`: components are of standardised edges"
            )
        if self.hrf_derivatives and self.bold != "hrf":
            raise ValueError("`hrf_derivatives` needs `bold: hrf`")
        if self.person_effects and self.latent_size == 0:
            raise ValueError(
                "`person_effects` needs a latent: give `latent_size` of 1 or more, or `person_effects: false` as in the published model"
            )
        if self.person_effects and (self.press != "hazard" or self.bold != "hrf"):
            raise ValueError(
                "`person_effects` needs the likelihoods of `press: hazard` and `bold: hrf`; with the paper's losses give "
                "`person_effects: false`"
            )
        if len(set(self.bold_regions)) < len(self.bold_regions):
            raise ValueError("`bold_regions` names a region twice")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SplitConfig(_Section):
    """Which data train the twin, which choose when to stop, and which are never seen."""

    kind: Literal["subjects", "sites", "temporal", "runs", "tasks"] = "subjects"
    """`subjects`: whole people are held out; `sites`: all people of one site are; `temporal`: the same people, the later part of each run
    is held out (replication); `runs`: the same people, whole runs are; `tasks`: people, and a task that nobody is trained on."""
    held_out: str = ""
    """With `kind: runs`, the label of the runs held out, as in `stroopPA`; empty for each person's last run of each task of which they
    have several. With `kind: tasks`, the task. With `kind: sites`, the site; empty for the one that `fold` names."""
    num_folds: Annotated[int, Field(ge=2)] = 5
    """Folds over people, with `kind: subjects` and `kind: tasks`."""
    fold: CountOrZero = 0
    """Which fold is held out for testing; with `kind: sites` and no `held_out`, which site, in alphabetical order."""
    seed: CountOrZero | None = None
    """Seed of who is dealt where; the run's own `seed` if not given. Twins of several seeds are an ensemble only if they share this one."""
    validation_fraction: OpenFraction = 0.15
    """Share of the training people (or of the training time) that decides when to stop."""
    train_seconds_fraction: OpenFraction = 0.5
    """With `kind: temporal`, the share of each run, from its beginning, that trains and validates; the rest tests."""
    train_seconds: NonNegative = 0.0
    """With `kind: temporal`, as many seconds of each run, from its beginning, train and validate, and as many after them test, as in the
    paper; 0 for `train_seconds_fraction`."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig(_Section):
    """How the twin is trained: Ray Train workers, each with a DeepSpeed engine."""

    num_workers: Count = 2
    """Ray Train workers (ranks)."""
    min_workers: CountOrZero = 0
    """Go on with as few workers as this when nodes are lost, and with more when they come back; 0 for `num_workers` always."""
    cpus_per_worker: Positive = 1.0
    """CPU cores reserved for each worker."""
    use_gpu: bool = False
    """Workers compute on GPUs (NCCL); otherwise on CPUs (gloo)."""
    gpus_per_worker: Positive = 1.0
    """GPUs reserved for each worker, with `use_gpu`; a share of one lets several trainings of one worker, as in a sweep, have one GPU."""
    batch_size: Count | None = None
    """People in a global batch, over all workers. If not given, 16, or less where an epoch would have fewer than 12 batches: 8, or 4; and
    at least one person for each worker."""
    max_steps: Count | None = None
    """Steps of the optimizer at most, one for each global batch. If neither this nor `max_epochs` is given, 1,500, or as many as 60
    epochs have if that is more; if both are, whichever is less."""
    max_epochs: Count | None = None
    """The same in passes over the training people."""
    patience_steps: Count | None = None
    """Stop after this many steps without a better validation loss. If neither this nor `patience_epochs` is given, a quarter of all steps,
    and 15 epochs at least; if both are, whichever is less."""
    patience_epochs: Count | None = None
    """The same in passes over the training people."""
    start: Literal["regression", "random"] = "regression"
    """Where latents begin: `regression`, at what a stack of regressions reads from the training people's connectomes about their behaviour
    and task BOLD, from which training moves them little; `random`. A twin without an explicit latent, or that reads connectomes without
    standardising them, begins at random."""
    learning_rate: Positive = 2e-3
    """Adam's learning rate, at its highest."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine`: the learning rate falls to 0 over all steps; `constant`."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay."""
    gradient_clipping: NonNegative = 1.0
    """Largest norm of the gradient; 0 for no clipping."""
    press_weight: NonNegative = 1.0
    """Weight of the press term in the loss."""
    bold_weight: NonNegative = 1.0
    """Weight of the BOLD term in the loss."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage: what is divided over the workers (1 optimizer, 2 gradients too, 3 parameters too)."""
    precision: Literal["float32", "bf16"] = "float32"
    """Precision of the hypernetwork; the recurrent state is float32 always."""
    deepspeed: Path | None = None
    """A DeepSpeed JSON file merged with the settings above; a contradiction is refused. `"optimizer": {"params": {"torch_adam": false}}`
    takes DeepSpeed's own Adam."""
    recompute_states: bool = False
    """Keep the network's states of one block of steps at a time and compute them again for the gradient: long segments in little memory,
    for up to two thirds more time."""
    checkpoint_every_epochs: Count | None = None
    """Epochs between checkpoints; a twelfth of all if not given."""
    checkpoint_every_steps: CountOrZero = 0
    """Global batches between further checkpoints within an epoch, for epochs that take long; 0 for none."""
    checkpoints_kept: Count = 2
    """Newest checkpoints to keep; the best weights so far are in each of them."""
    max_failures: CountOrZero = 3
    """How many times a broken worker group is started anew."""
    max_quarantined_fraction: Fraction = 0.1
    """Stop if more than this share of the training and validation people cannot be trained on."""
    threads_per_worker: CountOrZero = 1
    """torch threads in each worker; 0 leaves torch's default."""
    loader_threads: Count = 1
    """Threads of each worker that read people and lay them out while it trains; more where shards are slow to read."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EvaluateConfig(_Section):
    """Figures for held-out data, beside baselines."""

    num_bootstrap: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap draws over people for each interval."""
    confidence: OpenFraction = 0.95
    """Coverage of the intervals."""
    members: tuple[Path, ...] = ()
    """Further trained folders: an ensemble, whose mean prediction is compared with the data. All must hold out the same people, as
    seeds of one fold of `dtb sweep` do."""
    num_permuted: CountOrZero = 0
    """Twins to train anew, as this one was, where the training people's connectomes are dealt to one another: what they reach stands beside
    each figure, and on the certificate. Each takes as long as the training did; with 19, the smallest p-value is 0.05, before correction.
    Not for twins that are tested on people seen in training."""
    retrained: tuple[Annotated[str, OneOf("dtb.evaluate.predictors.retrained_kinds:RETRAINED")], ...] = ()
    """Baselines to train anew, by the settings of this twin's training, early stopping included: `additive`, one network for all people
    with the connectome as a further input; `codes`, this twin with a code number in place of each connectome, for people seen in training.
    Each takes about as long as the training did."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class UpdateConfig(_Section):
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SimulateConfig(_Section):
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InterveneConfig(_Section):
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FleetConfig(_Section):
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ReportConfig(_Section):
    """One HTML page, and a page for each of some people."""

    subject: str | None = None
    """Pseudonym of the person shown as an example; the median one if not given."""
    person_pages: CountOrZero = 8
    """How many people get a page of their own: of those held out, evenly from the best to the worst predicted, and with a number larger
    than theirs others too; 0 for none."""
    atlas: Path | None = None
    """Where the regions lie, to draw on a brain: the cohort's atlas as a labelled volume with its names in `STEM.tsv` beside it, or a table
    of centres (`name`, `x`, `y`, `z` in mm). If not given, what `dtb ingest` found: by the regions' names, or in the derivative trees."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PlanConfig(_Section):
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


@dataclass(frozen=True, kw_only=True, config=_NOT_SHOWN_EITHER)
class ClusterConfig(_Section):
    """Which Ray cluster does the work."""

    ray_address: str | None = None
    """Address of a running cluster (`auto`, `127.0.0.1:6379`, `ray://host:10001`); a private one on this machine if not given."""
    num_cpus: Count | None = None
    """Cores of the private cluster; all that this process may use (affinity, quota) if not given."""
    pools: bool = False
    """Train only on nodes that offer the Ray resource `dtb_train`, and fan out only over those that offer `dtb_fleet`."""
    variables: tuple[PassedVariable, ...] = ()
    """Names of environment variables that are passed on, where they are set, to the processes of a cluster, and with `dtb submit` to the
    job: those of NCCL and gloo (`NCCL_IB_HCA`, `GLOO_SOCKET_IFNAME`), proxies (`https_proxy`, `no_proxy`). Secrets are refused."""
    wait_seconds: Positive = 600.0
    """How long to wait for room, where a cluster is busy or still growing; what is waited for is said every half minute."""
    grace_seconds: Positive = 25.0
    """How long a training that is told to end (SIGTERM) may take to save and end. Schedulers kill after a grace of their own, Kubernetes
    after 30 s: stay below it."""


@dataclass(frozen=True, kw_only=True, config=_NOT_SHOWN_EITHER)
class LaunchConfig(_Section):
    """How `dtb submit` hands the work to a cluster."""

    secrets: tuple[VariableName, ...] = ()
    """Names of environment variables that the job needs, such as WANDB_API_KEY. The cluster has their values; they never travel."""
    max_hours: Positive = 24.0
    """On Kubernetes and Slurm, the job is ended after this many hours."""
    node_cpus: Count = 8
    """Cores of a node (a pod, on Kubernetes) that is asked for."""
    node_gpus: CountOrZero = 0
    """GPUs of a node that is asked for."""
    node_memory_gib: Count = 32
    """Memory of a node that is asked for."""
    image: str = "dtb:0.1.0"
    """On Kubernetes, the container image, made from docker/Dockerfile."""
    volume_claim: str = "dtb"
    """On Kubernetes, the PersistentVolumeClaim (ReadWriteMany) with the data and OUT."""
    volume_path: Path = Path("/shared")
    """On Kubernetes, where the pods see it."""
    variables: str = "dtb"
    """On Kubernetes, the Secret that holds the values of `secrets`, under the same names."""
    keep_seconds: CountOrZero = 600
    """On Kubernetes, how long the cluster stays after the job, to be looked at."""
    environment: Path | None = None
    """On Slurm, the virtual environment with dtb, seen by all nodes; what `python` is there anyway if not given."""
    partition: Annotated[str, Field(pattern=r"^[\w.,-]+$")] | None = None
    """On Slurm, the partition; the default one if not given."""
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    """On Kubernetes, labels that a node must have, as in `{gpu: h100}`."""
    tolerations: tuple[dict[str, str | int], ...] = ()
    """On Kubernetes, taints of nodes that are accepted, as in a pod's `tolerations`."""
    pull_secrets: tuple[str, ...] = ()
    """On Kubernetes, names of the Secrets with which the image is pulled."""
    runtime_class: str | None = None
    """On Kubernetes, the runtime class of the pods, such as `nvidia`."""


@dataclass(frozen=True, kw_only=True, config=_NOT_SHOWN_EITHER)
class TrackConfig(_Section):
    """Weights & Biases."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """`auto`: as `WANDB_MODE` or `WANDB_DISABLED` say; else online if the user has a key and W&B answers, offline otherwise;
    off where it is not installed."""
    project: str = "dtb"
    """W&B project."""
    name: str | None = None
    """Name of the run; made from the configuration if not given."""
    group: str | None = None
    """Group that W&B shows the run in; `dtb sweep` puts its members into one."""


@dataclass(frozen=True, kw_only=True, config=_NOT_SHOWN_EITHER)
class InputConfig(_Section):
    """Where `dtb run` finds its cohort."""

    bids: Path | None = None
    """Raw BIDS tree; a ground-truth cohort is made if not given."""
    derivatives: tuple[Path, ...] = ()
    """Derivative trees with the parcellated series."""
    shards: Path | None = None
    """Shards that `dtb ingest` made before, in place of a BIDS tree: their folder, or the URL of a copy of it."""


@dataclass(frozen=True, kw_only=True, config=_NOT_SHOWN_EITHER)
class Config(_Section):
    """All sections; a YAML file holds any part of it."""

    name: str = "dtb"
    """What the work is called in the report and in W&B."""
    seed: CountOrZero = 0
    """Seed of everything random."""
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    synth: SynthConfig = dataclasses.field(default_factory=SynthConfig)
    ingest: IngestConfig = dataclasses.field(default_factory=IngestConfig)
    segments: SegmentConfig = dataclasses.field(default_factory=SegmentConfig)
    twin: TwinConfig = dataclasses.field(default_factory=TwinConfig)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)
    update: UpdateConfig = dataclasses.field(default_factory=UpdateConfig)
    simulate: SimulateConfig = dataclasses.field(default_factory=SimulateConfig)
    intervene: InterveneConfig = dataclasses.field(default_factory=InterveneConfig)
    fleet: FleetConfig = dataclasses.field(default_factory=FleetConfig)
    report: ReportConfig = dataclasses.field(default_factory=ReportConfig)
    plan: PlanConfig = dataclasses.field(default_factory=PlanConfig)
    cluster: ClusterConfig = dataclasses.field(default_factory=ClusterConfig)
    launch: LaunchConfig = dataclasses.field(default_factory=LaunchConfig)
    track: TrackConfig = dataclasses.field(default_factory=TrackConfig)


def load_config(path: Path) -> Config:
    """Read a YAML configuration file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigurationError
        The file is absent, is not YAML, or has unknown keys or values that are not allowed.
    """
    values = read_yaml(path, "--config expects a YAML file such as configs/demo.yaml")
    return from_mapping(Config, {} if values is None else values, str(path))


def sections(config: Config, *names: str) -> Config:
    """Return a configuration with the named sections kept and all others at their defaults, so that its hash depends on those alone.

    Parameters
    ----------
    config : Config
    *names : str

    Examples
    --------
    >>> kept = sections(Config(seed=3, name="mine"), "seed")
    >>> kept.seed, kept.name
    (3, 'dtb')
    """
    return Config(**{name: getattr(config, name) for name in names})
