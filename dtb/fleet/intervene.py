"""``dtb intervene``: for each person, the change of the connectome that moves one indicator and leaves the others.

Two passes over the people. The first lets everybody perform unchanged: the spread of each indicator between people is the unit in which
off-target changes are penalised, and the mean gradient is the direction that would help the population. The second searches.

Tables, one row each as named, in the folders of the same name:

- ``results``: an indicator of a person, before, after the change and after each control of the same norm.
- ``changes``: a person: the change of the correlations, upper triangle row by row, and the target's way through the search.
- ``status``: a person.

Shape letters: `S` subject, `E` connectome edge, `M` indicator, `K` segment, `V` volume.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.cluster import connected
from dtb.cohort.records import SubjectRecord
from dtb.config import Config, InterveneConfig, sections
from dtb.evaluate.glm import run_contrast
from dtb.files import OutputFolder
from dtb.fleet.aim import Aim, make_aim
from dtb.fleet.ledger import Ledger
from dtb.fleet.pool import Work, run_pool, say_summary
from dtb.fleet.twins import Company, Troupe, open_troupe, seed_of
from dtb.intervene.indicators import Performance
from dtb.intervene.search import Found, Goal, Start, random_directions, search, slope
from dtb.tasks.taskset import TaskSet
from dtb.terminal import err, out
from dtb.twin.batch import Batch

TABLES = ("results", "changes")
REFERENCE = "reference"
CONTROLS = ("random", "population")

_PEOPLE_IN_DIRECTION = 256
"""People whose gradients make the population's direction: the mean of so many hardly moves, and each takes one number an edge."""


def intervene(
    config: Config, shards: Path, trained: Path, folder: Path, *, resume: bool, dry_run: bool = False
) -> None:
    """Search a change for everybody.

    Parameters
    ----------
    config : Config
        Sections `seed`, `intervene`, `fleet` and `cluster`.
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    folder : Path
        Output folder.
    resume : bool
        Go on in a folder that was begun.
    dry_run : bool
        Check the inputs, say what would be done, write nothing.

    Raises
    ------
    ConfigurationError
        The twin has no such indicator, task or region.
    """
    troupe = open_troupe(shards, trained)
    aim = make_aim(config.intervene, troupe)
    keys = sorted(troupe.cohort().pseudonyms)
    if dry_run:
        out.print(
            f"Would search, for {len(keys)} people, a change of the connectome that will {config.intervene.direction} {aim.name}, "
            f"{config.intervene.num_steps} steps each, on {config.fleet.num_actors} actor(s), and write {', '.join(TABLES)} to {folder}."
        )
        return
    claimed = OutputFolder.claim(folder, "intervene", sections(config, "seed", "intervene"), resume=resume)
    if claimed.is_complete:
        err.print(f"{folder} is complete; nothing to do.")
        return
    can_grow = config.cluster.ray_address is not None
    references, results = Ledger(folder / REFERENCE, ["people"]), Ledger(folder, TABLES)
    with connected(config.cluster):
        run_pool(
            functools.partial(Surveyor, aim=aim, seed=config.seed, sample=sample_of(keys, config.seed)),
            troupe,
            keys,
            references,
            config.fleet,
            description="Performing unchanged",
            can_grow=can_grow,
        )
        goal, population_E = aim.goal_from(references.read("people"))
        summary = run_pool(
            functools.partial(Searcher, aim=aim, seed=config.seed, goal=goal, population_E=population_E),
            troupe,
            keys,
            results,
            config.fleet,
            description="Searching",
            can_grow=can_grow,
        )
    figures = _figures(results.read("results"), aim)
    claimed.finish({"num_people": len(keys), "num_failed": summary.num_failed, **figures})
    out.print(f"Searched: {say_summary(summary)}")
    out.print(_in_words(figures, aim, config.intervene))
    out.print(f"Tables {', '.join(TABLES)} are in {folder}.")


def sample_of(keys: Sequence[str], seed: int) -> frozenset[str]:
    """Choose whose gradients make the population's direction."""
    return frozenset(sorted(keys, key=lambda key: seed_of(key, seed, "sample"))[:_PEOPLE_IN_DIRECTION])


class _Performers:
    """What both passes do first: let people perform as a function of their connectomes."""

    def __init__(self, troupe: Troupe, aim: Aim, seed: int) -> None:
        self._company = Company(troupe, seed)
        self._aim = aim

    def _meet(self, keys: Sequence[str]) -> tuple[Performance, Start]:
        company, aim = self._company, self._aim
        records, batch = company.meet(keys)
        contrast_SKV = contrast_weights(records, batch, company.taskset)
        performance = Performance(company.twin, batch, contrast_SKV, aim.tasks, aim.indicators)
        return performance, Start.of(batch.connectome_SE, company.card.sizes.num_regions, aim.settings.budget)


class Surveyor(_Performers):
    """The first pass's worker: indicators without any change, and the gradients of some people."""

    def __init__(self, troupe: Troupe, aim: Aim, seed: int, sample: frozenset[str]) -> None:
        super().__init__(troupe, aim, seed)
        self._sample = sample

    def work(self, keys: Sequence[str]) -> Work:
        """Measure people."""
        performance, start = self._meet(keys)
        # The spread is not known yet, and the gradient's direction does not depend on it.
        ones_M = torch.ones(len(self._aim.indicators), dtype=torch.float64, device=start.budget_S.device)
        values_SM, slope_SE = slope(performance, start, Goal(self._aim.target, self._aim.sign, ones_M, ones_M * 0))
        slopes = [
            row_E.astype(np.float32) if key in self._sample else None
            for key, row_E in zip(keys, slope_SE.cpu().numpy(), strict=True)
        ]
        return Work(
            {
                "people": pa.table(
                    {
                        "pseudonym": pa.array(keys, pa.string()),
                        "values": pa.array(list(values_SM.cpu().numpy()), pa.list_(pa.float64())),
                        "slope": pa.array(slopes, pa.list_(pa.float32())),
                    }
                )
            }
        )


class Searcher(_Performers):
    """The second pass's worker."""

    def __init__(self, troupe: Troupe, aim: Aim, seed: int, goal: Goal, population_E: np.ndarray) -> None:
        super().__init__(troupe, aim, seed)
        where = next(self._company.twin.parameters()).device
        self._goal = Goal(goal.target, goal.sign, goal.spread_M.to(where), goal.penalty_M.to(where))
        self._population_E = torch.from_numpy(population_E).double().to(where)
        self._seed = seed

    def work(self, keys: Sequence[str]) -> Work:
        """Search changes for people."""
        performance, start = self._meet(keys)
        num_edges = len(self._population_E)
        directions = {
            "random": random_directions([seed_of(key, self._seed, "control") for key in keys], num_edges).to(
                start.budget_S
            ),
            "population": self._population_E.expand(len(keys), num_edges),
        }
        found = search(performance, start, self._goal, self._aim.settings, directions)
        failures = self._failures(keys, found)
        kept = [place for place, key in enumerate(keys) if key not in failures]
        return Work(self._tables(keys, kept, start, found), failures)

    def _failures(self, keys: Sequence[str], found: Found) -> dict[str, str]:
        target = self._aim.target
        failures = {}
        for key, before, norm in zip(keys, found.before_SM[:, target].tolist(), found.norm_S.tolist(), strict=True):
            if not np.isfinite(before):
                failures[key] = (
                    f"no {self._aim.name}: no run has the trials or volumes for it, or the twin's output is not finite"
                )
            elif norm == 0.0:
                failures[key] = (
                    f"no change within the budget moves {self._aim.name} as wanted at this off-target weight"
                )
        return failures

    def _tables(self, keys: Sequence[str], kept: Sequence[int], start: Start, found: Found) -> dict[str, pa.Table]:
        aim, num_people, num = self._aim, len(kept), len(self._aim.indicators)
        rows = torch.tensor(kept, dtype=torch.int64, device=start.budget_S.device)

        def spread_out(values_SM: Tensor) -> pa.Array:
            flat = values_SM[rows].reshape(-1).cpu().numpy()
            return pa.array(flat, mask=np.isnan(flat))

        def each_person(values_S: Tensor) -> pa.Array:
            return pa.array(np.repeat(values_S[rows].cpu().numpy(), num))

        def each_indicator(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
            return pa.array(list(values) * num_people, kind)

        indicators = aim.indicators
        results = {
            "pseudonym": pa.array(np.repeat(np.array(keys, dtype=object)[kept], num), pa.string()),
            "indicator": each_indicator([one.kind for one in indicators], pa.string()),
            "task": each_indicator([aim.tasks[one.task].name for one in indicators], pa.string()),
            "domain": each_indicator([aim.tasks[one.task].domain for one in indicators], pa.string()),
            "region": each_indicator(
                [None if one.region is None else aim.regions[one.region] for one in indicators], pa.string()
            ),
            "unit": each_indicator([one.unit for one in indicators], pa.string()),
            "is_target": each_indicator([place == aim.target for place in range(num)], pa.bool_()),
            "before": spread_out(found.before_SM),
            "after": spread_out(found.after_SM),
            **{f"{name}_after": spread_out(found.controls_SM[name]) for name in CONTROLS},
            "spread": spread_out(self._goal.spread_M.expand_as(found.before_SM)),
            "budget": each_person(start.budget_S),
            "change_norm": each_person(found.norm_S),
            "repair_norm": each_person(start.repair_norm_S),
        }
        changes = {
            "pseudonym": pa.array([keys[place] for place in kept], pa.string()),
            "change_E": pa.array(list(found.change_SE[rows].float().cpu().numpy()), pa.list_(pa.float32())),
            "target_path": pa.array(list(found.target_SG[rows].cpu().numpy()), pa.list_(pa.float64())),
        }
        metadata = {"regions": json.dumps(list(self._company.card.region_names))}
        return {"results": pa.table(results), "changes": pa.table(changes).replace_schema_metadata(metadata)}


def contrast_weights(records: Sequence[SubjectRecord], batch: Batch, taskset: TaskSet) -> Tensor:
    """Give the weight of each volume in its run's task contrast, averaged over a person's runs of the task.

    Returns
    -------
    (S, K, V) float32 Tensor
        0 for volumes that do not count, and in runs that cannot tell the conditions apart.
    """
    weights_SKV = np.zeros(batch.volume_seconds_SKV.shape, dtype=np.float32)
    run_SK, start_SK = batch.run_SK.cpu().numpy(), batch.start_seconds_SK.cpu().numpy()
    counted_SKV, seconds_SKV = batch.bold_counted_SKV.cpu().numpy(), batch.volume_seconds_SKV.cpu().numpy()
    for subject, record in enumerate(records):
        found: dict[int, np.ndarray] = {}
        for number, run in enumerate(record.runs):
            spec = taskset.specs[taskset.index(run.task)]
            if run.bold_VR is not None:
                everything_V = np.ones(len(run.bold_VR), dtype=bool)
                weights_V = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), everything_V)
                if weights_V is not None:
                    found[number] = weights_V
        for number, weights_V in found.items():
            run = record.runs[number]
            same = sum(record.runs[other].task == run.task for other in found)
            for segment in np.flatnonzero(run_SK[subject] == number):
                (volumes,) = np.nonzero(counted_SKV[subject, segment])
                seconds_V = start_SK[subject, segment] + seconds_SKV[subject, segment, volumes]
                places = np.rint(seconds_V / run.repetition_time).astype(int)
                weights_SKV[subject, segment, volumes] = weights_V[places] / same
    return torch.from_numpy(weights_SKV).to(batch.volume_seconds_SKV.device)


def _figures(results: pa.Table, aim: Aim) -> dict[str, Any]:
    """Give the few figures that describe a search over people."""
    table = results.to_pandas()
    target = table[table["is_target"]]
    others = table[~table["is_target"] & table["spread"].notna()]
    moved = ((others["after"] - others["before"]).abs() / others["spread"]).dropna()
    columns = ("before", "after", *(f"{name}_after" for name in CONTROLS))
    return {
        "target": aim.name,
        "unit": aim.indicators[aim.target].unit,
        "num_searched": len(target),
        "median": {column: float(target[column].median()) for column in columns},
        "spread": float(target["spread"].iloc[0]),
        "off_target_median_moved_in_spreads": float(moved.median()) if len(moved) else None,
    }


def _in_words(figures: Mapping[str, Any], aim: Aim, settings: InterveneConfig) -> str:
    median = figures["median"]
    text = (
        f"{aim.name}, to {settings.direction}: median {median['before']:.4g} -> {median['after']:.4g} {figures['unit']} "
        f"(a random change of the same norm: {median['random_after']:.4g}; the population's direction: {median['population_after']:.4g}; "
        f"spread between people: {figures['spread']:.3g})."
    )
    off_target = figures["off_target_median_moved_in_spreads"]
    if off_target is not None:
        text += f" Other indicators moved by {off_target:.2g} spreads in the median."
    return f"{text} What a model does is a hypothesis, not advice."
