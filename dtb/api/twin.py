"""A twin: loaded, trained, evaluated, and its evaluations pooled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtb.api.settings import whole_config
from dtb.config import Config, EvaluateConfig, TrainConfig
from dtb.results.twin import EvaluateResult, PoolResult, SweepResult, TrainResult
from dtb.shards.remote import absolute

if TYPE_CHECKING:
    from dtb.twin.model import Twin


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
    from dtb.twin.export import CARD_FILE, read_twin

    folder = Path(path)
    return read_twin(folder if (folder / CARD_FILE).is_file() or not (folder / "twin").is_dir() else folder / "twin")[0]


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
    train(whole_config(config, "train"), absolute(Path(shards)), folder, resume=resume)
    return TrainResult(folder)


def sweep_twins(
    shards: str | Path,
    out: str | Path,
    config: Config | TrainConfig | None = None,
    *,
    folds: Sequence[int] = (),
    seeds: Sequence[int] = (),
    settings: Sequence[str] = (),
    resume: bool = False,
) -> SweepResult:
    """Train all combinations of folds, seeds and settings, as many at a time as the cluster holds (`dtb sweep`).

    Parameters
    ----------
    shards : str or Path
        Folder that `ingest_cohort` wrote, or the URL of a copy of it.
    out : str or Path
        Folder to write; new or empty.
    config : Config or TrainConfig, optional
        What all have in common; as for `train_twin`.
    folds, seeds : sequence of int
        The configuration's own if empty.
    settings : sequence of str
        ``"section.option=value,value"``, of `twin`, `train`, `segments` or `split`; all combinations are trained.
    resume : bool
        Whether to go on with what is not finished.

    Returns
    -------
    SweepResult
    """
    from dtb.train.sweeps.sweep import sweep

    folder = absolute(Path(out))
    places = absolute(Path(shards)), folder
    sweep(whole_config(config, "train"), *places, folds=folds, seeds=seeds, settings=settings, resume=resume)
    return SweepResult(folder)


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
    evaluate(
        whole_config(config, "evaluate"), *places, resume=resume, truth=None if truth is None else absolute(Path(truth))
    )
    return EvaluateResult(folder)


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
    pool(whole_config(config, "evaluate"), tuple(absolute(Path(each)) for each in evaluated), folder, resume=resume)
    return PoolResult(folder)
