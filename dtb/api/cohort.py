"""Making people up, reading them, and planning how many a study needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dtb.api.settings import whole_config
from dtb.config import Config, IngestConfig, PlanConfig, SynthConfig
from dtb.results.cohort import IngestResult, PlanResult, SynthResult
from dtb.shards.remote import absolute


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
    synthesise(whole_config(config, "synth"), folder, resume=resume)
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
    ingest(whole_config(config, "ingest"), *places, folder, resume=resume)
    return IngestResult(folder)


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
    plan(whole_config(config, "plan"), folder, resume=resume)
    return PlanResult(folder)
