"""The stages that take others together: the report, the whole run, pooled folds, and a plan before all of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import OmitArgPrefixes, Positional, Suppress, arg

from dtb import config as cfg
from dtb.commands.stage import Stage
from dtb.errors import ConfigurationError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Stage):
    """Make one HTML page of a run folder: learning curves, predictions against observations, a twin, an intervention.

    The page stands alone: no network is needed to look at it. Stages that are absent are named as absent.

    Example: dtb report runs/demo page
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder that `dtb run` wrote, with shards, train, evaluate, simulate and intervene in it."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for index.html; new or empty."""
    report: OmitArgPrefixes[cfg.ReportConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.report.stage import report

        report(config, self.run_folder, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Whole(Stage):
    """What a run takes beside its places."""

    name: str = "dtb"
    """What the work is called in the report and in W&B."""
    segments: cfg.SegmentConfig
    twin: cfg.TwinConfig
    split: cfg.SplitConfig
    train: cfg.TrainConfig
    evaluate: cfg.EvaluateConfig
    update: cfg.UpdateConfig
    simulate: cfg.SimulateConfig
    intervene: cfg.InterveneConfig
    fleet: cfg.FleetConfig
    report: cfg.ReportConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]
    track: cfg.TrackConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(_Whole):
    """Do all stages in one go: synth (where no BIDS tree is given), ingest, train, evaluate, simulate, intervene, report.

    Each stage writes a folder of its own name in OUT. A second call with --resume goes on where the first stopped. With
    --ingest.without-connectome keep, people may have behaviour alone: twins are updated by it, and simulate and intervene left out.

    Examples: dtb run configs/demo.yaml   |   dtb run configs/cohorts/cnp.yaml runs/cnp --input.bids DIR --input.derivatives DIR
    """

    common: ClassVar[tuple[str, ...]] = (
        "--input.bids",
        "--input.derivatives",
        "--ingest.tasks",
        "--ingest.layout",
        "--split.kind",
        "--train.num-workers",
        "--train.max-steps",
        "--ray-address",
        "--resume",
        "--dry-run",
    )

    config: Suppress[Path | None] = None
    config_file: Annotated[Positional[Path], arg(metavar="CONFIG")]
    """YAML file with any part of the configuration."""
    out: Annotated[Positional[Path | None], arg(metavar="[OUT]")] = None
    """Run folder; runs/NAME if not given, NAME being the configuration's `name`."""
    input: cfg.InputConfig
    synth: cfg.SynthConfig
    ingest: cfg.IngestConfig
    launch: cfg.LaunchConfig

    @property
    def config_path(self) -> Path | None:
        return self.config_file

    def run(self, config: cfg.Config) -> None:
        from dtb.pipeline import run_all

        run_all(config, self.out or Path("runs").resolve() / config.name, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class App(_Whole):
    """Do the stages of `dtb run` as BIDS apps are called: `dtb BIDS OUT participant`, then `dtb BIDS OUT group`.

    `participant` reads the people (`ingest`): all of them, or those that --participant-label names, in one call that uses all cores.
    `group` does what needs them all: train, evaluate, simulate, intervene, report. Without --config the first call writes OUT/init as
    `dtb init BIDS` would, with drafts of tasks that dtb does not know: look at their questions before the second.

    Examples: dtb /data/bids /data/out participant --participant-label 01 02   |   dtb /data/bids /data/out group
    """

    common: ClassVar[tuple[str, ...]] = (
        "--participant-label",
        "--session-label",
        "--task",
        "--bids-filter-file",
        "--derivatives",
        "--config",
        "--num-cpus",
        "--ray-address",
        "--resume",
        "--dry-run",
    )

    bids: Annotated[Positional[Path], arg(metavar="BIDS")]
    """Raw BIDS tree."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Run folder, of both levels."""
    level: Annotated[Positional[Literal["participant", "group"]], arg(metavar="{participant,group}")] = "participant"
    """Which stages to do."""
    derivatives: Annotated[tuple[Path, ...], arg(metavar="DIR [DIR ...]")] = ()
    """Derivative trees with the parcellated series; those that --config names, or below and beside BIDS, if not given."""
    ingest: OmitArgPrefixes[cfg.IngestConfig]

    @property
    def config_path(self) -> Path | None:
        written = self.out / "init" / "config.yaml"
        return self.config or (written if written.is_file() else None)

    def prepare(self) -> None:
        from dtb.init.command import Given, init

        if self.config_path is None and self.level == "participant" and not (self.dry_run or self.print_config):
            init(Given(self.bids, self.derivatives, (), None, None), self.out / "init", lambda _: None)

    def run(self, config: cfg.Config) -> None:
        from dtb.pipeline import FOLDERS, progress_of_stage, run_all

        stages = {"ingest"} if self.level == "participant" else set(FOLDERS) - {"synth", "ingest"}
        derivatives = self.derivatives or config.input.derivatives
        config = dataclasses.replace(config, input=cfg.InputConfig(bids=self.bids, derivatives=derivatives))
        if self.level == "group":
            if config.ingest.participant_label:
                raise ConfigurationError(
                    "--participant-label belongs to the level participant; the group is who was read there."
                )
            if progress_of_stage(self.out / FOLDERS["ingest"]) != "done":
                raise ConfigurationError(f"Nobody was read yet. First: dtb {self.bids} {self.out} participant")
        if self.config_path is None:
            raise ConfigurationError(
                f"Without --config, the call without --dry-run writes {self.out / 'init'} first, as `dtb init` does."
            )
        run_all(config, self.out, resume=self.resume, dry_run=self.dry_run, stages=stages)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool(Stage):
    """Take the folds of one cohort together, so that everybody is an unseen person once.

    Reads the folders of several `dtb evaluate`, each with other people held out (--split.fold 0, 1, ... of `dtb train`), and writes the
    same figures and certificate over all of them: OUT/certificate.html, OUT/figures.json. Several seeds (--seed of `dtb train`), each
    with all of its folds, are pooled too: each figure is then the mean over them.

    Example: dtb pool pooled evaluated0 evaluated1 evaluated2 evaluated3 evaluated4
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    evaluated: Annotated[Positional[tuple[Path, ...]], arg(metavar="EVALUATED [EVALUATED ...]")] = ()
    """Folders that `dtb evaluate` wrote, one a fold."""
    evaluate: OmitArgPrefixes[cfg.EvaluateConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.evaluate.pool import pool

        pool(config, self.evaluated, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan(Stage):
    """Estimate how many people, scan minutes and trials a claim between people needs.

    Makes cohorts of the ground-truth generator, predicts people from their connectomes by cross-validated ridge regression, and counts how
    often the claim comes out. Writes OUT/plan.json and OUT/plan.png. A twin that is no better than the regression needs as many.

    Example: dtb plan planned --claim mean_rt --size 0.3 --people 50 100 200
    """

    common: ClassVar[tuple[str, ...]] = (
        "--claim",
        "--task",
        "--size",
        "--people",
        "--rest-minutes",
        "--trials",
        "--num-cohorts",
        "--seed",
        "--resume",
        "--dry-run",
    )

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    plan: OmitArgPrefixes[cfg.PlanConfig]
    synth: cfg.SynthConfig

    def run(self, config: cfg.Config) -> None:
        from dtb.evaluate.planning.plan import plan

        plan(config, self.out, resume=self.resume, dry_run=self.dry_run)
