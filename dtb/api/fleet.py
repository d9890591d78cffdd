"""What is done with the twins of many people: `update_twins`, `simulate_twins`, `search_interventions` and `run_trial`."""

from __future__ import annotations

from pathlib import Path

from dtb.api.settings import whole_config
from dtb.config import Config, InterveneConfig, SimulateConfig, UpdateConfig
from dtb.results.fleet import InterveneResult, SimulateResult, TrialResult, UpdateResult
from dtb.shards.remote import absolute


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
    update(whole_config(config, "update"), absolute(Path(trained)), absolute(Path(shards)), folder, resume=resume)
    return UpdateResult(folder)


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
    simulate(whole_config(config, "simulate"), absolute(Path(shards)), absolute(Path(trained)), folder, resume=resume)
    return SimulateResult(folder)


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
    intervene(whole_config(config, "intervene"), absolute(Path(shards)), absolute(Path(trained)), folder, resume=resume)
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
    trial(whole_config(config, ""), load_protocol(Path(protocol)), *places, resume=resume)
    return TrialResult(folder)
