"""What the twin is, and how it is trained and evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dtb.config.kind_names import OneOf
from dtb.config.section import STRICT, Count, CountOrZero, Fraction, NonNegative, OpenFraction, Positive, Section


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SegmentConfig(Section):
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwinConfig(Section):
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitConfig(Section):
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig(Section):
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateConfig(Section):
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
