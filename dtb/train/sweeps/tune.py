"""The members of a sweep as trials of Ray Tune: as many at a time as there is room for, with early stopping of the worst."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from dtb.cluster.shared_folder import SharedFolder
from dtb.config import Config
from dtb.errors import StageError, ToldToEndError, UserError
from dtb.train.stopping import is_told
from dtb.train.trainer import train

_RAY_FOLDER = ".ray-tune"
_NAME, _FAILURE = "member", "failure"
# What drives a training computes nothing: its workers take the cores. Ray does not take a trial that asks for nothing at all.
_DRIVER = {"memory": 64.0 * 2**20}
_RAY_TUNE = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_SIGINT_HANDLER": "1", "RAY_AIR_NEW_OUTPUT": "0"}


def train_all(
    members: Mapping[str, Config],
    shards: Path,
    folder: Path,
    *,
    at_once: int,
    max_failures: int,
    is_behind: Callable[[str], bool],
    on_end: Callable[[str], None],
    sweep: SharedFolder,
) -> dict[str, str]:
    """Train each member in a folder of its own name.

    Parameters
    ----------
    members : mapping of str to Config
    shards : Path
    folder : Path
        Folder of the members' folders, which all nodes see.
    at_once : int
    max_failures : int
        How many times a member is restarted after its driver was lost.
    is_behind : callable
        Called with a member's name after each of its epochs; if true, the member is stopped.
    on_end : callable
        Called for each member that is trained or was stopped.
    sweep : SharedFolder
        Output folder of the sweep, where members look whether they are to end.

    Returns
    -------
    dict of str to str
        Why members failed.
    """
    for name, value in _RAY_TUNE.items():
        os.environ.setdefault(name, value)
    storage = folder.parent / _RAY_FOLDER
    rungs = _Rungs(is_behind, on_end)
    tuner = tune.Tuner(
        tune.with_resources(
            functools.partial(_train_member, members=dict(members), shards=shards, folder=folder, sweep=sweep), _DRIVER
        ),
        param_space={_NAME: tune.grid_search(list(members))},
        tune_config=tune.TuneConfig(scheduler=rungs, max_concurrent_trials=at_once),
        run_config=tune.RunConfig(
            name=f"sweep-{uuid.uuid4().hex[:12]}",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=max_failures),
            verbose=0,
        ),
    )
    # It warns that trials left no records of Ray's own; theirs are metrics.jsonl.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tuner.fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    return rungs.failures


def _train_member(
    chosen: dict[str, Any], *, members: dict[str, Config], shards: Path, folder: Path, sweep: SharedFolder
) -> None:
    """Train one member, in the process of its trial; errors that a retry cannot mend are reported, not raised."""
    name = chosen[_NAME]
    try:
        if is_told(sweep):  # a place has come free because others end
            raise ToldToEndError("it was not begun")
        train(
            members[name],
            shards,
            folder / name,
            resume=True,
            on_epoch=lambda row: tune.report({"epoch": row["epoch"]}),
            of_sweep=sweep,
        )
    except (UserError, StageError) as error:
        tune.report({_FAILURE: str(error)})


class _Rungs(FIFOScheduler):
    """Stops members that are behind, and collects the failures of others.

    Attributes
    ----------
    failures : dict of str to str
    """

    def __init__(self, is_behind: Callable[[str], bool], on_end: Callable[[str], None]) -> None:
        super().__init__()
        self.failures: dict[str, str] = {}
        self._is_behind = is_behind
        self._on_end = on_end

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        del tune_controller
        if _FAILURE in result:
            self.failures[trial.config[_NAME]] = result[_FAILURE]
        elif self._is_behind(trial.config[_NAME]):
            return str(self.STOP)
        return str(self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        del tune_controller, result
        self._on_end(trial.config[_NAME])

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        del tune_controller
        self.failures[trial.config[_NAME]] = "the process that drove it was lost"
        self._on_end(trial.config[_NAME])
