"""`dtb sweep`: trainings for all combinations of folds, seeds and settings, on one cluster.

Each member is a trial of Ray Tune that drives its own `dtb train`, so it survives the same faults, and a sweep resumes by resuming
each member. Settings that are behind are stopped by asynchronous successive halving (Li et al., MLSys
2020), as Ray Tune's scheduler does it, among trainings of the same fold and seed: losses of other folds are those of other people.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.table import Table

from dtb.cluster.connection import connected
from dtb.cluster.shared_folder import marked
from dtb.config import Config, from_mapping, sections, to_plain
from dtb.errors import ConfigurationError, StageError, ToldToEndError
from dtb.files import read_json, write_frame, write_json
from dtb.shards.read import open_cohort, require_ingested
from dtb.stages import StageCall, progress_of_stage
from dtb.terminal import err
from dtb.terminal import out as console
from dtb.train.driver.room import require_room, resources_of_worker
from dtb.train.driver.waiting import ended_if_no_member_has_room
from dtb.train.log import METRICS_FILE, read_metrics
from dtb.train.plan import make_plan
from dtb.train.start.summaries import summaries_of
from dtb.train.stopping import is_told, saving_on_termination

MEMBERS, TABLE_FILE, STOPPED_FILE = "members", "sweep.tsv", "stopped.json"
HALVING = 3
"""At each rung one of so many goes on; rungs lie so many times further apart each time."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One training of a sweep.

    Attributes
    ----------
    name : str
        Names its folder.
    config : Config
    settings : dict
        Settings that differ from the configuration of the sweep, beside fold and seed.
    max_epochs : int
        Most epochs of its training; 0 before the cohort is known.
    """

    name: str
    config: Config
    settings: dict[str, Any]
    max_epochs: int = 0

    @property
    def rivals(self) -> tuple[int, int]:
        """Return fold and seed: members with the same ones differ only in their settings."""
        return self.config.split.fold, self.config.seed


def members_of(config: Config, folds: Sequence[int], seeds: Sequence[int], settings: Sequence[str]) -> Iterator[Member]:
    """Make the members of a sweep.

    Parameters
    ----------
    config : Config
    folds, seeds : sequence of int
        The configuration's own if empty.
    settings : sequence of str
        ``section.option=value,value,...``; all combinations are tried.

    Raises
    ------
    ConfigurationError
        A setting is malformed, unknown or not allowed.
    """
    choices = [_choices(text) for text in settings]
    for fold, seed in itertools.product(folds or [config.split.fold], seeds or [config.seed]):
        for chosen in itertools.product(*choices):
            plain = to_plain(config)
            # Seeds of one fold are an ensemble, so none of its members may have seen whom another holds out.
            split_seed = config.seed if config.split.seed is None else config.split.seed
            plain["seed"], plain["split"] = seed, {**plain["split"], "fold": fold, "seed": split_seed}
            for section, option, value in chosen:
                plain[section] = {**plain[section], option: value}
            parts = [f"fold{fold}", f"seed{seed}", *(f"{option}_{value}" for _, option, value in chosen)]
            plain["track"] |= {"name": "-".join(parts), "group": config.track.group or config.name}
            made = from_mapping(Config, plain, "--set")
            yield Member("-".join(parts), made, {f"{section}.{option}": value for section, option, value in chosen})


def _choices(text: str) -> list[tuple[str, str, Any]]:
    name, sign, values = text.partition("=")
    section, dot, option = name.partition(".")
    if not sign or not dot or section not in {"twin", "train", "segments", "split"}:
        raise ConfigurationError(
            f"--set {text}: expected section.option=value,value with a section of twin, train, segments or split, as in twin.rank=3,4."
        )
    return [(section, option, yaml.safe_load(value)) for value in values.split(",")]


class Halving:
    """Asynchronous successive halving of rivals, by Ray Tune's scheduler, which is told each epoch's smallest loss so far.

    Parameters
    ----------
    max_epochs : int
        Most epochs of each. Rungs lie at a ninth and a third of them.
    """

    def __init__(self, max_epochs: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        self._last = max_epochs - 1  # who has come to the end is not stopped there
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="loss",
            mode="min",
            max_t=max(self._last, 1),
            grace_period=max(max_epochs // HALVING**2, 1),
            reduction_factor=HALVING,
            stop_last_trials=False,
        )
        self._told: dict[str, int] = {}

    def is_behind(self, name: str, losses: Sequence[float]) -> bool:
        """Whether a member with these losses of its epochs comes to a rung now, and is not among the best third that have been there.

        Examples
        --------
        >>> halving = Halving(max_epochs=6)
        >>> halving.is_behind("a", [3.0, 2.0]), halving.is_behind("b", [4.0, 3.9]), halving.is_behind("c", [2.5])
        (False, True, False)
        """
        trial: Any = types.SimpleNamespace(trial_id=name)
        controller: Any = None  # which it never asks
        if name not in self._told:
            self._scheduler.on_trial_add(controller, trial)
        told, self._told[name] = self._told.get(name, 0), max(self._told.get(name, 0), len(losses))
        found = [
            self._scheduler.on_trial_result(controller, trial, {"epoch": epoch, "loss": min(losses[:epoch])})
            for epoch in range(told + 1, min(len(losses), self._last) + 1)
        ]
        return self._scheduler.STOP in found


def sweep(
    config: Config,
    shards: Path,
    out: Path,
    *,
    folds: Sequence[int],
    seeds: Sequence[int],
    settings: Sequence[str],
    resume: bool,
    dry_run: bool = False,
) -> None:
    """Train every member, as many at a time as the cluster has room for, and write the table of them all.

    Parameters
    ----------
    config : Config
        Settings that all members have in common.
    shards : Path
        Output folder of `dtb ingest`, or the URL of a copy of it.
    out : Path
        Output folder: `members/NAME`, each the output folder of a training, and `sweep.tsv`.
    folds, seeds, settings
        See `members_of`.
    resume : bool
        Go on with what is not finished; folds, seeds and settings may be others than before.
    dry_run : bool
        Say what would be trained, and write nothing.

    Raises
    ------
    UserError
        The cohort, the configuration, the cluster or the output folder do not allow it.
    StageError
        Some members failed; the others are trained.
    """
    require_ingested(shards)
    cohort = open_cohort(shards, verify=dry_run)  # else they are verified as they are read
    made = list(members_of(config, folds, seeds, settings))
    plans = [make_plan(member.config, shards, out, cohort) for member in made]
    members = [
        dataclasses.replace(member, max_epochs=plan.budget.max_epochs) for member, plan in zip(made, plans, strict=True)
    ]
    common = sections(config, "segments", "twin", "split", "train")
    call = StageCall("sweep", out, common, resume=resume, dry_run=dry_run, goes_on_when_complete=True)
    names = ", ".join(member.name for member in members)
    if call.ends_early(lambda: console.print(f"Would train {len(members)} members: {names}")):
        return
    with connected(config.cluster):
        require_room(config)
        folder = call.claim()
        (out / MEMBERS).mkdir(exist_ok=True)
        for asked in {plan.asked.key: plan.asked for plan in plans}.values():
            summaries_of(cohort, asked, config.cluster)  # once for all members, which find them beside the shards
        losses = _Losses(members, out)
        failed = _train_all(members, losses, config, shards, out)
    rows = [losses.row(member.name) for member in members]
    write_frame(out / TABLE_FILE, pd.DataFrame(rows))
    console.print(_table(rows))
    if failed:
        listed = "\n".join(f"  {name}: {why}" for name, why in sorted(failed.items()))
        raise StageError(f"{len(failed)} of {len(members)} members failed; --resume tries them again.\n{listed}")
    folder.finish({"members": len(members), "trained": sum(row["state"] == "trained" for row in rows)})


class _Losses:
    """The members' validation losses by epoch, and the members stopped; updated when a member has a new epoch."""

    def __init__(self, members: Sequence[Member], out: Path) -> None:
        self._members = {member.name: member for member in members}
        self._out = out
        self._losses = {name: self._read(name) for name in self._members}
        path = out / STOPPED_FILE
        self.stopped: dict[str, int] = (
            read_json(path, "Remove it, and the sweep decides anew.") if path.is_file() else {}
        )
        # Rivals have the same cohort, batches and steps, but for settings of `train` that change these.
        longest: dict[tuple[int, int], int] = {}
        for member in members:
            longest[member.rivals] = max(longest.get(member.rivals, 1), member.max_epochs)
        self._halvings = {rivals: Halving(max_epochs) for rivals, max_epochs in longest.items()}
        for member in members:  # what was trained before counts
            self._halvings[member.rivals].is_behind(member.name, self._losses[member.name])

    def of(self, name: str) -> list[float]:
        """Return the losses of a member so far; those that are not finite are infinite."""
        return self._losses[name]

    def is_behind(self, name: str) -> bool:
        """Return whether a member is behind its rivals after its new epoch; if so, it counts as stopped."""
        self._losses[name] = self._read(name)
        member = self._members[name]
        found = (
            self._halvings[member.rivals].is_behind(name, self._losses[name])
            and len(self._losses[name]) < member.max_epochs
        )
        if found:
            self.stopped[name] = len(self._losses[name])
            write_json(self._out / STOPPED_FILE, self.stopped)
        return found

    def row(self, name: str) -> dict[str, Any]:
        """Return a member's row of the table."""
        member, losses = self._members[name], self._losses[name]
        state = "trained" if _is_trained(self._out, name) else "stopped" if name in self.stopped else "unfinished"
        fold, seed = member.rivals
        best = min(losses, default=math.inf)
        found = {"member": name, "fold": fold, "seed": seed, **member.settings, "state": state, "epochs": len(losses)}
        return {**found, "loss": f"{best:.4f}" if math.isfinite(best) else ""}

    def tell(self, name: str) -> None:
        """Print how a member ended."""
        row = self.row(name)
        err.print(f"{name}: {row['state']} after {row['epochs']} epochs, validation loss {row['loss']}")

    def _read(self, name: str) -> list[float]:
        rows = read_metrics(self._out / MEMBERS / name / METRICS_FILE)
        return [math.inf if row["validation_loss"] is None else row["validation_loss"] for row in rows]


def members_at_once(config: Config, cluster: Mapping[str, float]) -> int:
    """Return how many members fit on a cluster of these resources, at least one.

    Examples
    --------
    >>> from dtb.config import TrainConfig
    >>> quarter = TrainConfig(num_workers=1, cpus_per_worker=0.5, use_gpu=True, gpus_per_worker=0.25)
    >>> members_at_once(Config(train=quarter), {"CPU": 8.0, "GPU": 1.0})
    4
    """
    each = resources_of_worker(config)
    return max(
        int(min(cluster.get(kind, 0.0) / (amount * config.train.num_workers) for kind, amount in each.items())), 1
    )


def _train_all(members: Sequence[Member], losses: _Losses, config: Config, shards: Path, out: Path) -> dict[str, str]:
    """Train the members that are neither trained nor stopped; return those that failed, with reasons."""
    import ray

    from dtb.train.sweeps.tune import train_all

    waiting = {
        member.name: member.config
        for member in members
        if not _is_trained(out, member.name) and member.name not in losses.stopped
    }
    if not waiting:
        return {}
    with (
        marked(out) as folder,
        saving_on_termination(folder, config.cluster.grace_seconds),
        ended_if_no_member_has_room(config),
    ):
        failed = train_all(
            waiting,
            shards,
            out / MEMBERS,
            at_once=members_at_once(config, ray.cluster_resources()),
            max_failures=config.train.max_failures,
            is_behind=losses.is_behind,
            on_end=losses.tell,
            sweep=folder,
        )
        if is_told(folder):
            raise ToldToEndError(
                "told to end, and members that were training have saved. Run the same command with --resume to go on."
            )
    ended = {name for name in waiting if _is_trained(out, name) or name in losses.stopped}
    return {name: failed.get(name, "it did not finish") for name in waiting if name not in ended}


def _is_trained(out: Path, name: str) -> bool:
    return progress_of_stage(out / MEMBERS / name) == "done"


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table
