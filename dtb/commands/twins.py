"""The stages that make twins and use them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import OmitArgPrefixes, Positional, arg

from dtb import config as cfg
from dtb.commands.stage import Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """Train the twin on shards, with DeepSpeed on Ray Train.

    Writes OUT/checkpoints (for --resume), OUT/metrics.jsonl (one line an epoch), OUT/split.json (who trains, validates and is held out)
    and OUT/twin: the trained twin as safetensors and JSON, the only thing that later stages load.

    Example: dtb train shards trained --num-workers 2 --twin.num-hidden 64
    """

    common: ClassVar[tuple[str, ...]] = (
        "--num-workers",
        "--use-gpu",
        "--max-steps",
        "--batch-size",
        "--twin.num-hidden",
        "--split.kind",
        "--split.fold",
        "--config",
        "--resume",
        "--dry-run",
    )

    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, or the URL of a copy of it."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    train: OmitArgPrefixes[cfg.TrainConfig]
    twin: cfg.TwinConfig
    segments: cfg.SegmentConfig
    split: cfg.SplitConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]
    track: cfg.TrackConfig

    def run(self, config: cfg.Config) -> None:
        from dtb.train.trainer import train

        train(config, self.shards, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ReadsTwin(Stage):
    """What the stages after training take."""

    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, or the URL of a copy of it."""
    trained: Annotated[Positional[Path], arg(metavar="TRAINED")]
    """Folder that `dtb train` wrote."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(_ReadsTwin):
    """Compare the twin with held-out data, beside baselines that know no brain.

    Writes OUT/certificate.html (whether the twin is personal, test by test), OUT/figures.json (every figure with its interval and its
    baselines, and what may be claimed), OUT/subjects.parquet (a row for each person and task) and OUT/bold_map.parquet. With --members,
    the mean prediction of an ensemble is evaluated. One training shows at most that the twin is provisionally personal: see `dtb pool`.

    Example: dtb evaluate shards trained evaluated
    """

    common: ClassVar[tuple[str, ...]] = (
        "--truth",
        "--members",
        "--num-bootstrap",
        "--num-permuted",
        "--retrained",
        "--ray-address",
        "--seed",
        "--config",
        "--resume",
        "--dry-run",
    )

    truth: Path | None = None
    """Folder `truth` of a cohort that `dtb synth` made: figures then stand beside what perfect knowledge would reach."""
    evaluate: OmitArgPrefixes[cfg.EvaluateConfig]
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.evaluate.stage import evaluate

        places = (self.shards, self.trained, self.out)
        evaluate(config, *places, resume=self.resume, dry_run=self.dry_run, truth=self.truth)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update(Stage):
    """Update every person's twin by the person's own trials and BOLD.

    A connectome says where a person's latent may lie; the trials and volumes of that person say where in there it does. Writes Parquet:
    OUT/latents, a row for each person and session with mean and covariance, and OUT/status. Whatever exists is used: people without a
    connectome, one task and not another, the first trials only (--trials), earlier sessions. `dtb simulate` and `dtb intervene` take OUT as
    --updated.

    Example: dtb update trained shards updated --trials 20
    """

    common: ClassVar[tuple[str, ...]] = (
        "--trials",
        "--bold-seconds",
        "--tasks",
        "--sessions",
        "--members",
        "--fleet.num-actors",
        "--ray-address",
        "--config",
        "--resume",
        "--dry-run",
    )

    trained: Annotated[Positional[Path], arg(metavar="TRAINED")]
    """Folder that `dtb train` wrote."""
    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, of the same cohort or another, or the URL of a copy of it."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    update: OmitArgPrefixes[cfg.UpdateConfig]
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.update import update

        update(config, self.trained, self.shards, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate(_ReadsTwin):
    """Simulate every person's twin in the tasks, on a pool of Ray actors.

    Writes Parquet: OUT/trials (choices and reaction times, a row for each draw), OUT/expected (their distributions in closed form),
    OUT/bold, OUT/contrasts, OUT/connectomes, and OUT/status with a row a person; with --bids-derivatives also OUT/derivatives. An ensemble
    performs with --members, new designs with --designs. A person whose twin fails is a row with the reason; --resume does only who is
    missing.

    Example: dtb simulate shards trained simulated --num-draws 50 --designs task-stroop_events.tsv
    """

    common: ClassVar[tuple[str, ...]] = (
        "--num-draws",
        "--designs",
        "--updated",
        "--members",
        "--bids-derivatives",
        "--fleet.num-actors",
        "--ray-address",
        "--config",
        "--resume",
        "--dry-run",
    )

    simulate: OmitArgPrefixes[cfg.SimulateConfig]
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.simulate import simulate

        simulate(config, self.shards, self.trained, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervene(_ReadsTwin):
    """Search, for each person, for a change of the connectome that moves an indicator.

    The changed connectome stays a correlation matrix and the change within the budget; it is fed through the whole twin again, and
    compared with changes of equal size that others would make. All edges may change, or a few, or the gains of a few regions (--space).
    Research use only: what comes out is a hypothesis about a model.

    Example: dtb intervene shards trained searched --indicator mean_rt --budget 0.05
    """

    common: ClassVar[tuple[str, ...]] = (
        "--indicator",
        "--task",
        "--direction",
        "--budget",
        "--space",
        "--updated",
        "--members",
        "--fleet.num-actors",
        "--resume",
        "--dry-run",
    )

    intervene: OmitArgPrefixes[cfg.InterveneConfig]
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.intervene import intervene

        intervene(config, self.shards, self.trained, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial(Stage):
    """Put every person's twin through an in-silico trial, under a protocol that was written before.

    Arms (each person's own change, the population's, a random one, none) at several doses, paired within people. Writes OUT/outcomes
    (Parquet), OUT/trial.json with the primary outcome and the protocol's hash, OUT/doses.tsv, OUT/matrix.tsv and OUT/slopes.tsv. It is a
    trial of models, not of people. What is searched, and how, stands in PROTOCOL, and so do the further trainings of the twin that it
    needs: paths in it are relative to where the command is called.

    Example: dtb trial configs/trials/stroop_speed.yaml shards train trial
    """

    common: ClassVar[tuple[str, ...]] = (
        "--fleet.num-actors",
        "--fleet.gpus-per-actor",
        "--fleet.subjects-per-batch",
        "--ray-address",
        "--num-cpus",
        "--seed",
        "--config",
        "--resume",
        "--dry-run",
    )

    protocol: Annotated[Positional[Path], arg(metavar="PROTOCOL")]
    """YAML file with the protocol."""
    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, or the URL of a copy of it."""
    trained: Annotated[Positional[Path], arg(metavar="TRAINED")]
    """Folder that `dtb train` wrote."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.in_silico_trial import trial
        from dtb.intervene.protocol import load_protocol

        protocol = load_protocol(self.protocol)
        trial(config, protocol, self.shards, self.trained, self.out, resume=self.resume, dry_run=self.dry_run)
