"""The stages for Python: each a function that does what its subcommand does and returns what it left, as a result with tables.

    import dtb

    cohort = dtb.make_cohort("cohort", dtb.SynthConfig(num_subjects=24))
    shards = dtb.ingest_cohort(cohort.bids, cohort.derivatives, "shards")
    trained = dtb.train_twin(shards.folder, "trained", dtb.TrainConfig(max_epochs=20))
    dtb.evaluate_twin(shards.folder, trained.folder, "evaluated").plot()

A stage takes its own section of the configuration, or a whole `Config` where it is to read others too (`seed`, `cluster`, `twin`). What
may be set is in `dtb.config`. They start Ray as the commands do: a private cluster for as long as the stage takes, if
`cluster.ray_address` names none. The names differ from the packages' (`dtb.train` is one), so that neither hides the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtb.config import (
    Config,
    EvaluateConfig,
    IngestConfig,
    InterveneConfig,
    PlanConfig,
    ReportConfig,
    SimulateConfig,
    SynthConfig,
    TrainConfig,
    UpdateConfig,
    load_config,
)
from dtb.errors import ConfigurationError
from dtb.results import (
    EvaluateResult,
    IngestResult,
    InterveneResult,
    PlanResult,
    PoolResult,
    ReportResult,
    RunResult,
    SimulateResult,
    SynthResult,
    TrainResult,
    TrialResult,
    UpdateResult,
)
from dtb.shards.remote import absolute, with_absolute_paths

if TYPE_CHECKING:
    from dtb.twin.model import Twin

__all__ = [
    "evaluate_twin",
    "ingest_cohort",
    "load_twin",
    "make_cohort",
    "plan_study",
    "pool_evaluations",
    "run_pipeline",
    "run_trial",
    "search_interventions",
    "simulate_twins",
    "train_twin",
    "update_twins",
    "write_report",
]


def load_twin(path: str | Path) -> Twin:
    """Read a trained twin, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        Folder that `dtb train` wrote, or the folder `twin` in it.

    Returns
    -------
    Twin
        Its `region_names` and `bold_region_names` say which regions, in order.

    Raises
    ------
    InputDataError
        There is no exported twin there.
    DamagedOutputError
        A file is altered, cut or does not fit the other.
    """
    from dtb.twin.export import CARD_FILE
    from dtb.twin.export import load_twin as load

    folder = Path(path)
    return load(folder if (folder / CARD_FILE).is_file() or not (folder / "twin").is_dir() else folder / "twin")[0]


def make_cohort(out: str | Path, config: Config | SynthConfig | None = None, *, resume: bool = False) -> SynthResult:
    """Make a ground-truth cohort: people whose traits load on known edges of their connectome (`dtb synth`).

    Parameters
    ----------
    out : str or Path
        Folder to write; new or empty.
    config : Config or SynthConfig, optional
        `seed`, `synth` and `cluster` are read.
    resume : bool
        Whether to go on in a folder that was begun with the same settings; one that is complete is left as it is.

    Returns
    -------
    SynthResult
    """
    from dtb.groundtruth.synthesise import synthesise

    folder = absolute(Path(out))
    synthesise(_whole(config, "synth"), folder, resume=resume)
    return SynthResult(folder)


def ingest_cohort(
    bids: str | Path,
    derivatives: str | Path | Sequence[str | Path],
    out: str | Path,
    config: Config | IngestConfig | None = None,
    *,
    resume: bool = False,
) -> IngestResult:
    """Read a BIDS tree and its derivatives into shards: one record a person, under a pseudonym (`dtb ingest`).

    Parameters
    ----------
    bids : str or Path
        Raw BIDS tree: participants.tsv and events.
    derivatives : str or Path, or sequence of them
        Derivative trees with the parcellated series.
    out : str or Path
        Folder to write; new or empty.
    config : Config or IngestConfig, optional
        `ingest` and `cluster` are read.
    resume : bool
        Whether to go on in a folder that was begun with the same settings.

    Returns
    -------
    IngestResult
    """
    from dtb.cohort.ingest import ingest

    trees = [derivatives] if isinstance(derivatives, str | Path) else derivatives
    folder = absolute(Path(out))
    places = absolute(Path(bids)), tuple(absolute(Path(tree)) for tree in trees)
    ingest(_whole(config, "ingest"), *places, folder, resume=resume)
    return IngestResult(folder)


def train_twin(
    shards: str | Path, out: str | Path, config: Config | TrainConfig | None = None, *, resume: bool = False
) -> TrainResult:
    """Train a twin on shards, with DeepSpeed on Ray Train (`dtb train`).

    Parameters
    ----------
    shards : str or Path
        Folder that `ingest_cohort` wrote, or the URL of a copy of it.
    out : str or Path
        Folder to write; new or empty.
    config : Config or TrainConfig, optional
        `seed`, `train`, `twin`, `segments`, `split`, `cluster` and `track` are read.
    resume : bool
        Whether to go on from the newest checkpoint.

    Returns
    -------
    TrainResult
    """
    from dtb.train.trainer import train

    folder = absolute(Path(out))
    train(_whole(config, "train"), absolute(Path(shards)), folder, resume=resume)
    return TrainResult(folder)


def evaluate_twin(
    shards: str | Path,
    trained: str | Path,
    out: str | Path,
    config: Config | EvaluateConfig | None = None,
    *,
    truth: str | Path | None = None,
    resume: bool = False,
) -> EvaluateResult:
    """Compare a twin with held-out data, beside baselines that know no brain (`dtb evaluate`).

    Parameters
    ----------
    shards, trained : str or Path
        Folders that `ingest_cohort` and `train_twin` wrote.
    out : str or Path
        Folder to write; new or empty.
    config : Config or EvaluateConfig, optional
        `seed`, `evaluate` and `cluster` are read.
    truth : str or Path, optional
        `SynthResult.truth` of a made-up cohort: figures then stand beside what perfect knowledge would reach.
    resume : bool
        Whether to accept a folder that was begun with the same settings.

    Returns
    -------
    EvaluateResult
    """
    from dtb.evaluate.stage import evaluate

    folder = absolute(Path(out))
    places = absolute(Path(shards)), absolute(Path(trained)), folder
    evaluate(_whole(config, "evaluate"), *places, resume=resume, truth=None if truth is None else absolute(Path(truth)))
    return EvaluateResult(folder)


def simulate_twins(
    shards: str | Path,
    trained: str | Path,
    out: str | Path,
    config: Config | SimulateConfig | None = None,
    *,
    resume: bool = False,
) -> SimulateResult:
    """Simulate every person's twin in the tasks, on a pool of Ray actors (`dtb simulate`).

    Parameters
    ----------
    shards, trained : str or Path
        Folders that `ingest_cohort` and `train_twin` wrote.
    out : str or Path
        Folder to write; new or empty.
    config : Config or SimulateConfig, optional
        `seed`, `simulate`, `fleet` and `cluster` are read.
    resume : bool
        Whether to do only who is missing in a folder that was begun with the same settings.

    Returns
    -------
    SimulateResult
    """
    from dtb.fleet.simulate import simulate

    folder = absolute(Path(out))
    simulate(_whole(config, "simulate"), absolute(Path(shards)), absolute(Path(trained)), folder, resume=resume)
    return SimulateResult(folder)


def update_twins(
    trained: str | Path,
    shards: str | Path,
    out: str | Path,
    config: Config | UpdateConfig | None = None,
    *,
    resume: bool = False,
) -> UpdateResult:
    """Condition every person's twin on the person's own trials and BOLD, on a pool of Ray actors (`dtb update`).

    Parameters
    ----------
    trained, shards : str or Path
        Folders that `train_twin` and `ingest_cohort` wrote.
    out : str or Path
        Folder to write; new or empty.
    config : Config or UpdateConfig, optional
        `seed`, `update`, `fleet` and `cluster` are read.
    resume : bool
        Whether to do only who is missing in a folder that was begun with the same settings.

    Returns
    -------
    UpdateResult
        To be given to `simulate_twins` and `search_interventions` as `updated`.
    """
    from dtb.fleet.update import update

    folder = absolute(Path(out))
    update(_whole(config, "update"), absolute(Path(trained)), absolute(Path(shards)), folder, resume=resume)
    return UpdateResult(folder)


def search_interventions(
    shards: str | Path,
    trained: str | Path,
    out: str | Path,
    config: Config | InterveneConfig | None = None,
    *,
    resume: bool = False,
) -> InterveneResult:
    """Search, for each person, for a change of the connectome that moves an indicator (`dtb intervene`).

    Parameters
    ----------
    shards, trained : str or Path
        Folders that `ingest_cohort` and `train_twin` wrote.
    out : str or Path
        Folder to write; new or empty.
    config : Config or InterveneConfig, optional
        `seed`, `intervene`, `fleet` and `cluster` are read.
    resume : bool
        Whether to do only who is missing in a folder that was begun with the same settings.

    Returns
    -------
    InterveneResult
        Hypotheses about a model; research use only.
    """
    from dtb.fleet.intervene import intervene

    folder = absolute(Path(out))
    intervene(_whole(config, "intervene"), absolute(Path(shards)), absolute(Path(trained)), folder, resume=resume)
    return InterveneResult(folder)


def run_trial(
    protocol: str | Path,
    shards: str | Path,
    trained: str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    resume: bool = False,
) -> TrialResult:
    """Put every person's twin through an in-silico trial, under a protocol that was written before (`dtb trial`).

    Parameters
    ----------
    protocol : str or Path
        YAML file with the protocol.
    shards, trained : str or Path
        Folders that `ingest_cohort` and `train_twin` wrote.
    out : str or Path
        Folder to write; new or empty.
    config : Config, optional
        `seed`, `fleet` and `cluster` are read.
    resume : bool
        Whether to do only who is missing in a folder that was begun with the same settings.

    Returns
    -------
    TrialResult
    """
    from dtb.fleet.in_silico_trial import trial
    from dtb.intervene.protocol import load_protocol

    folder = absolute(Path(out))
    places = absolute(Path(shards)), absolute(Path(trained)), folder
    trial(_whole(config, ""), load_protocol(Path(protocol)), *places, resume=resume)
    return TrialResult(folder)


def write_report(
    run: str | Path, out: str | Path, config: Config | ReportConfig | None = None, *, resume: bool = False
) -> ReportResult:
    """Make one HTML page of a run folder (`dtb report`).

    Parameters
    ----------
    run : str or Path
        Folder with any of the folders that `run_pipeline` writes.
    out : str or Path
        Folder to write; new or empty.
    config : Config or ReportConfig, optional
        `name` and `report` are read.
    resume : bool
        Whether to make a page anew that is there.

    Returns
    -------
    ReportResult
    """
    from dtb.report.stage import report

    folder = absolute(Path(out))
    report(_whole(config, "report"), absolute(Path(run)), folder, resume=resume)
    return ReportResult(folder)


def pool_evaluations(
    evaluated: Sequence[str | Path],
    out: str | Path,
    config: Config | EvaluateConfig | None = None,
    *,
    resume: bool = False,
) -> PoolResult:
    """Take the folds of one cohort together, so that everybody is an unseen person once (`dtb pool`).

    Parameters
    ----------
    evaluated : sequence of str or Path
        Folders that `evaluate_twin` wrote, one a fold (and seed).
    out : str or Path
        Folder to write; new or empty.
    config : Config or EvaluateConfig, optional
        `seed` and `evaluate` are read.
    resume : bool
        Whether to accept a folder that was begun with the same settings.

    Returns
    -------
    PoolResult
    """
    from dtb.evaluate.pool import pool

    folder = absolute(Path(out))
    pool(_whole(config, "evaluate"), tuple(absolute(Path(each)) for each in evaluated), folder, resume=resume)
    return PoolResult(folder)


def plan_study(out: str | Path, config: Config | PlanConfig | None = None, *, resume: bool = False) -> PlanResult:
    """Find how many people, scan minutes and trials a claim between people needs (`dtb plan`).

    Parameters
    ----------
    out : str or Path
        Folder to write; new or empty.
    config : Config or PlanConfig, optional
        `seed`, `plan` and `synth` are read.
    resume : bool
        Whether to accept a folder that was begun with the same settings.

    Returns
    -------
    PlanResult
    """
    from dtb.evaluate.planning.plan import plan

    folder = absolute(Path(out))
    plan(_whole(config, "plan"), folder, resume=resume)
    return PlanResult(folder)


def run_pipeline(config: Config | str | Path, out: str | Path, *, resume: bool = False) -> RunResult:
    """Do all stages in one go, from a cohort to a page (`dtb run`).

    Parameters
    ----------
    config : Config, str or Path
        The configuration, or the YAML file that holds any part of it.
    out : str or Path
        Run folder; each stage writes a folder of its own in it.
    resume : bool
        Whether to go on where an earlier call stopped.

    Returns
    -------
    RunResult
    """
    from dtb.pipeline import run_all

    folder = absolute(Path(out))
    whole = load_config(Path(config)) if isinstance(config, str | Path) else config
    run_all(_whole(whole, ""), folder, resume=resume, dry_run=False)
    return RunResult(folder)


def _whole(config: Any, section: str) -> Config:
    """Make a whole configuration of a stage's own section, with paths that hold in every process."""
    own = type(getattr(Config(), section)) if section else None
    if config is None:
        whole = Config()
    elif isinstance(config, Config):
        whole = config
    elif own is not None and isinstance(config, own):
        whole = Config(**{section: config})
    else:
        allowed = f"a Config or {own.__name__}" if own is not None else "a Config"
        raise ConfigurationError(
            f"`config` is of type {type(config).__name__}; this stage takes {allowed}. Put several sections into one Config: "
            f"`Config(seed=1, {section or 'fleet'}=..., twin=...)`."
        )
    return with_absolute_paths(whole)
