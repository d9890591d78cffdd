"""The stages that take others together: the report, the whole run, pooled folds, and a plan before all of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import OmitArgPrefixes, Positional, Suppress, arg

from dtb import config as cfg
from dtb.commands.stage import Stage


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
class Run(Stage):
    """Do all stages in one go: synth (where no BIDS tree is given), ingest, train, evaluate, simulate, intervene, report.

    Each stage writes a folder of its own name in OUT. A second call with --resume goes on where the first stopped.

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
    name: str = "dtb"
    """What the work is called in the report and in W&B."""
    input: cfg.InputConfig
    synth: cfg.SynthConfig
    ingest: cfg.IngestConfig
    segments: cfg.SegmentConfig
    twin: cfg.TwinConfig
    split: cfg.SplitConfig
    train: cfg.TrainConfig
    evaluate: cfg.EvaluateConfig
    simulate: cfg.SimulateConfig
    intervene: cfg.InterveneConfig
    fleet: cfg.FleetConfig
    report: cfg.ReportConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]
    launch: cfg.LaunchConfig
    track: cfg.TrackConfig

    @property
    def config_path(self) -> Path | None:
        return self.config_file

    def run(self, config: cfg.Config) -> None:
        from dtb.pipeline import run_all

        run_all(config, self.out or Path("runs").resolve() / config.name, resume=self.resume, dry_run=self.dry_run)


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
