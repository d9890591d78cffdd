"""`dtb sweep`: folds by seeds by settings, each a training of its own, on one cluster.

Each member is a `dtb train` process that shares the cluster with the others, so whatever training survives a member survives, and a sweep
goes on where it stopped by going on with each. What the sweep knows it reads from the members' `metrics.jsonl`: settings that are behind
are stopped there, by asynchronous successive halving (Li et al., MLSys 2020), among trainings of the same fold and seed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.markup import escape
from rich.table import Table

from dtb.cluster import connected
from dtb.config import Config, from_mapping, sections, to_plain, to_yaml
from dtb.errors import ConfigurationError, StageError
from dtb.files import STAGE_FILE, OutputFolder, read_stage, write_json, write_text, written_whole
from dtb.shards.read import open_cohort, require_ingested
from dtb.terminal import err
from dtb.terminal import out as console
from dtb.train.plan import make_plan
from dtb.train.trainer import require_room
from dtb.train.worker import METRICS_FILE, read_metrics

MEMBERS, TABLE_FILE, STOPPED_FILE = "members", "sweep.tsv", "stopped.json"
HALVING = 3
"""At each rung the best of so many goes on; rungs lie so many times further apart each time."""
_LOOK_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Member:
    """One training of a sweep.

    Attributes
    ----------
    name : str
        Names its folder.
    config : Config
    settings : dict
        What is set otherwise than in the configuration of the sweep, beside fold and seed.
    """

    name: str
    config: Config
    settings: dict[str, Any]

    @property
    def rivals(self) -> tuple[int, int]:
        """Fold and seed: members that have these in common differ in their settings alone."""
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
            plain["seed"], plain["split"]["fold"] = seed, fold
            for section, option, value in chosen:
                plain[section] = {**plain[section], option: value}
            made = from_mapping(Config, plain, "--set")
            parts = [f"fold{fold}", f"seed{seed}", *(f"{option}_{value}" for _, option, value in chosen)]
            yield Member("-".join(parts), made, {f"{section}.{option}": value for section, option, value in chosen})


def _choices(text: str) -> list[tuple[str, str, Any]]:
    name, sign, values = text.partition("=")
    section, dot, option = name.partition(".")
    if not sign or not dot or section not in {"twin", "train", "segments", "split"}:
        raise ConfigurationError(
            f"--set {text}: expected section.option=value,value with a section of twin, train, segments or split, as in twin.rank=3,4."
        )
    return [(section, option, yaml.safe_load(value)) for value in values.split(",")]


def is_behind(epochs: Mapping[str, Sequence[float]], name: str, max_epochs: int) -> bool:
    """Whether a member is to be stopped: at the last rung that it reached it was not among the best third of its rivals there.

    Parameters
    ----------
    epochs : mapping of str to sequence of float
        The validation losses of the member and of its rivals, epoch by epoch.
    name : str
        The member.
    max_epochs : int

    Examples
    --------
    >>> is_behind({"a": [3.0, 2.0], "b": [4.0, 3.9]}, "b", 6), is_behind({"a": [3.0, 2.0], "b": [4.0, 3.9]}, "a", 6)
    (True, False)
    """
    rung = max(max_epochs // HALVING**2, 1)
    while rung * HALVING <= len(epochs[name]):
        rung *= HALVING
    if rung > len(epochs[name]) or rung >= max_epochs:
        return False
    best = {each: min(losses[:rung]) for each, losses in epochs.items() if len(losses) >= rung}
    better = sum(loss < best[name] for each, loss in best.items() if each != name)
    return better >= math.ceil(len(best) / HALVING)


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
    """Train every member, as many at a time as the cluster holds, and write the table of them all.

    Parameters
    ----------
    config : Config
        What all have in common.
    shards : Path
        Output folder of `dtb ingest`, or the URL of a copy of it.
    out : Path
        Takes `members/NAME`, each the output folder of a training, `logs/NAME.log`, and `sweep.tsv`.
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
    cohort = open_cohort(shards)
    members = list(members_of(config, folds, seeds, settings))
    for member in members:
        make_plan(member.config, shards, out, cohort)
    if dry_run:
        console.print(
            f"Would train {len(members)} members: {', '.join(member.name for member in members)}", markup=False
        )
        return
    common = sections(config, "segments", "twin", "split", "train")
    folder = OutputFolder.claim(out, "sweep", common, resume=resume)
    with connected(config.cluster):
        require_room(config)
        failed = _train_all(members, config, shards, out)
    rows = [_row(member, out) for member in members]
    with written_whole(out / TABLE_FILE) as temporary:
        pd.DataFrame(rows).to_csv(temporary, sep="\t", index=False)
    console.print(_table(rows))
    if failed:
        raise StageError(
            f"{len(failed)} of {len(members)} members failed: {', '.join(failed)}. Why is in {out / 'logs'}; --resume tries them again."
        )
    folder.finish({"members": len(members), "trained": sum(row["state"] == "trained" for row in rows)})


def _train_all(members: Sequence[Member], config: Config, shards: Path, out: Path) -> list[str]:
    """Keep as many trainings going as there is room for; give the names of those that failed."""
    import ray

    there, wanted = ray.cluster_resources(), config.train
    room = there["CPU"] / (wanted.num_workers * wanted.cpus_per_worker)
    if wanted.use_gpu:
        room = min(room, there.get("GPU", 0.0) / wanted.num_workers)
    address = ray.get_runtime_context().gcs_address
    stopped = _read_stopped(out)
    waiting = [member for member in members if not _is_trained(out, member) and member.name not in stopped]
    running: dict[str, subprocess.Popen[bytes]] = {}
    by_name = {member.name: member for member in members}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < max(int(room), 1):
                member = waiting.pop(0)
                running[member.name] = _start(member, shards, out, address)
            time.sleep(_LOOK_SECONDS)
            for name, process in list(running.items()):
                if process.poll() is None and _is_behind(by_name[name], members, out):
                    process.send_signal(signal.SIGTERM)
                    process.wait()
                    if not _is_trained(out, by_name[name]):
                        stopped[name] = len(read_metrics(out / MEMBERS / name / METRICS_FILE))
                        write_json(out / STOPPED_FILE, stopped)
                if process.poll() is None:
                    continue
                del running[name]
                if not _is_trained(out, by_name[name]) and name not in stopped:
                    failed.append(name)
                row = _row(by_name[name], out)
                err.print(
                    f"{name}: {row['state']} after {row['epochs']} epochs, validation loss {row['loss']}", markup=False
                )
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait()
    return failed


def _start(member: Member, shards: Path, out: Path, address: str) -> subprocess.Popen[bytes]:
    log = out / "logs" / f"{member.name}.log"
    log.parent.mkdir(exist_ok=True)
    config = dataclasses.replace(
        member.config, cluster=dataclasses.replace(member.config.cluster, ray_address=address, num_cpus=None)
    )
    path = log.with_suffix(".yaml")
    write_text(path, to_yaml(config))
    command = [sys.executable, "-m", "dtb", "train", str(shards), str(out / MEMBERS / member.name)]
    search = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*command, "--config", str(path), "--resume"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": search},
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which then ends them one by one
        )


def _is_behind(member: Member, members: Sequence[Member], out: Path) -> bool:
    rivals = [each for each in members if each.rivals == member.rivals]
    epochs = {
        each.name: [
            math.inf if row["validation_loss"] is None else row["validation_loss"]
            for row in read_metrics(out / MEMBERS / each.name / METRICS_FILE)
        ]
        for each in rivals
    }
    return is_behind(epochs, member.name, member.config.train.max_epochs)


def _is_trained(out: Path, member: Member) -> bool:
    folder = out / MEMBERS / member.name
    return (folder / STAGE_FILE).is_file() and bool(read_stage(folder)["complete"])


def _read_stopped(out: Path) -> dict[str, int]:
    path = out / STOPPED_FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _row(member: Member, out: Path) -> dict[str, Any]:
    rows = read_metrics(out / MEMBERS / member.name / METRICS_FILE)
    losses = [row["validation_loss"] for row in rows if row["validation_loss"] is not None]
    state = "trained" if _is_trained(out, member) else "stopped" if member.name in _read_stopped(out) else "unfinished"
    fold, seed = member.rivals
    found = {"member": member.name, "fold": fold, "seed": seed, **member.settings, "state": state, "epochs": len(rows)}
    return {**found, "loss": f"{min(losses):.4f}" if losses else ""}


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    return table
