"""One simulation of some people's twins, and its tables.

Shape letters: `S` subject, `K` segment, `V` volume, `A` response alternative, `R` BOLD region, `J` trial, `D` draw, `P` row of a
table, `Q` quantile.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.fleet.actors.ledger import column_of
from dtb.fleet.twins import TwinRunner, generator_of
from dtb.people.records import SubjectRecord, edges_from_matrix
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch
from dtb.twin.readouts.press import PressDistribution

TABLES = ("trials", "expected", "bold", "contrasts", "connectomes")
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)

_PLACE = ("pseudonym", "task", "label", "run", "trial")


@dataclasses.dataclass(frozen=True, eq=False)
class SimulationTables:
    """One simulation by one member of the ensemble.

    Attributes
    ----------
    runner : TwinRunner
    member, noise_draw : int
    records : list of SubjectRecord
        The people, with the runs that were simulated.
    batch : Batch
    presses : PressDistribution
        One per trial of the batch.
    bold_SKVR : (S, K, V, R) Tensor
        In the units of the observed signal.
    contrast_SKV : (S, K, V) Tensor
        Weights of volumes in their tasks' contrasts.
    """

    runner: TwinRunner
    member: int
    noise_draw: int
    records: list[SubjectRecord]
    batch: Batch
    presses: PressDistribution
    bold_SKVR: Tensor
    contrast_SKV: Tensor

    def record_of(self, key: str) -> SubjectRecord:
        """Return one person's record."""
        return next(record for record in self.records if record.pseudonym == key)

    def signals_of(self, subject: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Return a person's runs from the segments: number of the run, seconds (V,) and signal (V, R) of its counted volumes."""
        run_K, counted_KV = self.batch.run_SK[subject].cpu(), self.batch.bold_counted_SKV[subject].cpu()
        seconds_KV = self.batch.volume_seconds_SKV[subject].cpu() + self.batch.start_seconds_SK[subject].cpu()[:, None]
        for number in range(len(self.records[subject].runs)):
            counted = counted_KV & (run_K == number)[:, None]
            if counted.any():
                yield number, seconds_KV[counted].numpy(), self.bold_SKVR[subject][counted].numpy()

    @property
    def has_bold(self) -> bool:
        """Whether the twin simulates BOLD, and any run has volumes."""
        return bool(self.bold_SKVR.shape[-1]) and bool(self.batch.bold_counted_SKV.any())


def simulation_tables(
    simulations: Sequence[SimulationTables], failures: dict[str, str], num_draws: int
) -> dict[str, pa.Table]:
    """Return the tables of all simulations, without the people who failed.

    Parameters
    ----------
    simulations : sequence of SimulationTables
    failures : dict
        Reasons by pseudonym.
    num_draws : int
        Presses to draw for each trial.
    """
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    for one in simulations:
        subjects = [place for place, record in enumerate(one.records) if record.pseudonym not in failures]
        kept_J = np.isin(one.batch.trials.subject_J.cpu().numpy(), subjects)
        columns = _trial_columns(one.records, one.batch, one.runner.taskset)
        found = {
            "trials": _trials(one, columns, subjects, kept_J, num_draws),
            "expected": _expected(one, columns, kept_J),
            "bold": _bold(one, subjects),
            "contrasts": _contrasts(one, subjects),
            "connectomes": _connectomes(one, subjects),
        }
        for name, table in found.items():
            if table is not None and table.num_rows:
                parts[name].append(_marked(table, one))
    return {name: pa.concat_tables(tables).unify_dictionaries() for name, tables in parts.items() if tables}


def _marked(table: pa.Table, one: SimulationTables) -> pa.Table:
    """Return the columns with the member of the ensemble after the pseudonym."""
    for name, value in (("noise_draw", one.noise_draw), ("member", one.member)):
        table = table.add_column(1, name, pa.array(np.full(table.num_rows, value, dtype=np.int16)))
    return table


def _trials(
    one: SimulationTables, columns: dict[str, np.ndarray], subjects: Sequence[int], kept_J: np.ndarray, num_draws: int
) -> pa.Table | None:
    batch, presses, runner = one.batch, one.presses, one.runner
    subject_J = batch.trials.subject_J.cpu().numpy()
    draws = []
    for subject in subjects:
        (rows,) = np.nonzero((subject_J == subject) & kept_J)
        if not len(rows):
            continue
        # One person's window is as long as that person's longest trial, whoever else is in the batch.
        own = presses.of_rows(torch.from_numpy(rows).to(presses.hazard_JWA.device))
        purpose = f"draws/{one.member}/{one.noise_draw}"
        generator = generator_of(one.records[subject].pseudonym, runner.seed, purpose)
        choice_DJ, rt_DJ = own.sample(generator, num_draws)
        draws.append((np.repeat(rows, num_draws), choice_DJ.T.flatten(), rt_DJ.T.flatten()))
    if not draws:
        return None
    rows_P = np.concatenate([rows for rows, _, _ in draws])
    choice_P = torch.cat([choice for _, choice, _ in draws]).cpu().numpy()
    rt_P = torch.cat([rt for _, _, rt in draws]).cpu().numpy().astype(np.float32)
    alternatives = [spec.alternatives for spec in runner.taskset.specs]
    names = _names(batch.trials.task_J.cpu().numpy()[rows_P], choice_P, alternatives)
    given_JA = batch.trials.correct_JA.cpu().numpy()
    is_right_P = np.where(choice_P >= 0, given_JA[rows_P, choice_P.clip(min=0)], ~given_JA[rows_P].any(axis=1))
    scored_P = batch.trials.scored_J.cpu().numpy()[rows_P]
    own_columns = {name: values[rows_P] for name, values in columns.items()}
    return pa.table(
        {
            **{name: column_of(own_columns[name]) for name in _PLACE},
            "draw": pa.array(np.tile(np.arange(num_draws, dtype=np.int16), len(rows_P) // num_draws)),
            "onset": pa.array(own_columns["onset"]),
            "condition": column_of(own_columns["condition"]),
            "choice": column_of(names),
            "rt": pa.array(rt_P, mask=np.isnan(rt_P)),
            "observed_choice": column_of(own_columns["observed_choice"]),
            "observed_rt": pa.array(own_columns["observed_rt"], mask=np.isnan(own_columns["observed_rt"])),
            "correct": pa.array(is_right_P, mask=~scored_P),
        }
    )


def _expected(one: SimulationTables, columns: dict[str, np.ndarray], kept_J: np.ndarray) -> pa.Table:
    presses = one.presses
    quantile_JQ = torch.stack([presses.rt_quantile_J(share) for share in QUANTILES], dim=1).cpu().numpy()
    choice_JA = presses.choice_probability_JA().cpu().numpy()
    values: dict[str, Any] = {name: column_of(columns[name][kept_J]) for name in (*_PLACE, "condition")}
    values["mean_rt"] = pa.array(presses.mean_rt_J().cpu().numpy()[kept_J])
    values["rt_quantiles"] = _lists(quantile_JQ[kept_J])
    values["choice_probabilities"] = _lists(choice_JA[kept_J])
    values["omission_probability"] = pa.array(presses.omission_probability_J().cpu().numpy()[kept_J])
    return pa.table(values).replace_schema_metadata({"quantiles": json.dumps(QUANTILES)})


def _bold(one: SimulationTables, subjects: Sequence[int]) -> pa.Table | None:
    """Return the signal of every counted volume."""
    if not one.has_bold:
        return None
    keys, tasks, runs, seconds, signals = [], [], [], [], []
    for subject in subjects:
        record = one.records[subject]
        for number, seconds_V, signal_VR in one.signals_of(subject):
            keys.append(record.pseudonym)
            tasks.append(record.runs[number].task)
            runs.append(number)
            seconds.append(seconds_V)
            signals.append(signal_VR)
    if not runs:
        return None
    lengths = [len(seconds_V) for seconds_V in seconds]
    values = {
        "pseudonym": column_of(np.repeat(_objects(keys), lengths)),
        "task": column_of(np.repeat(_objects(tasks), lengths)),
        "run": pa.array(np.repeat(np.array(runs, dtype=np.int16), lengths)),
        "volume": pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        "seconds": pa.array(np.concatenate(seconds).astype(np.float32)),
        "bold": _lists(np.concatenate(signals)),
    }
    return pa.table(values).replace_schema_metadata(_regions(one))


def _contrasts(one: SimulationTables, subjects: Sequence[int]) -> pa.Table | None:
    """Return each region's effect of each task's contrast, simulated and observed under the same weights."""
    if not one.has_bold:
        return None
    weights_SKV = one.contrast_SKV.double()
    task_SK, observed_SKVR = one.batch.task_SK.cpu(), one.batch.bold_SKVR.cpu().double()
    regions = _objects(one.runner.card.bold_region_names)
    parts = []
    for task, spec in enumerate(one.runner.taskset.specs):
        of_task_SKV = torch.where((task_SK == task)[..., None], weights_SKV, 0.0)
        for subject in subjects:
            weight_KV = of_task_SKV[subject]
            used_KV = weight_KV != 0
            if not used_KV.any():
                continue
            weight_V, seen_VR = weight_KV[used_KV], observed_SKVR[subject][used_KV]
            effect_R = weight_V @ one.bold_SKVR[subject].double()[used_KV]
            parts.append(
                {
                    "pseudonym": _objects([one.records[subject].pseudonym] * len(regions)),
                    "task": _objects([spec.name] * len(regions)),
                    "region": regions,
                    "effect": effect_R.numpy().astype(np.float32),
                    "observed_effect": (weight_V @ seen_VR).numpy().astype(np.float32),
                }
            )
    if not parts:
        return None
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    observed = columns.pop("observed_effect")
    table = {name: column_of(values) for name, values in columns.items()}
    return pa.table({**table, "observed_effect": pa.array(observed, mask=np.isnan(observed))})


def _connectomes(one: SimulationTables, subjects: Sequence[int]) -> pa.Table | None:
    """Return the correlations of the simulated signals over all runs, the mean of each run removed."""
    num_regions = one.bold_SKVR.shape[-1]
    if not one.has_bold or num_regions < 2:
        return None
    keys, edges, volumes = [], [], []
    for subject in subjects:
        parts = [
            signal_VR.astype(np.float64) - signal_VR.mean(axis=0, dtype=np.float64)
            for _, _, signal_VR in one.signals_of(subject)
        ]
        series_VR = np.concatenate(parts) if parts else np.zeros((0, num_regions))
        if len(series_VR) < 2 or (series_VR.std(axis=0) == 0).any():
            continue
        keys.append(one.records[subject].pseudonym)
        edges.append(edges_from_matrix(np.corrcoef(series_VR, rowvar=False)))
        volumes.append(len(series_VR))
    if not keys:
        return None
    table = {
        "pseudonym": column_of(_objects(keys)),
        "num_volumes": pa.array(volumes, pa.int32()),
        "correlations": _lists(np.stack(edges)),
    }
    return pa.table(table).replace_schema_metadata(_regions(one))


def _regions(one: SimulationTables) -> dict[str, str]:
    return {"regions": json.dumps(list(one.runner.card.bold_region_names))}


def _trial_columns(records: Sequence[SubjectRecord], batch: Batch, taskset: TaskSet) -> dict[str, np.ndarray]:
    """Return the columns that describe each trial of a batch, (J,) arrays; a missing name is None."""
    table = batch.trials
    subject_J, run_J, trial_J = (one.cpu().numpy() for one in (table.subject_J, table.run_J, table.trial_J))
    task_J, condition_J = table.task_J.cpu().numpy(), table.condition_J.cpu().numpy()
    runs = [records[subject].runs[run] for subject, run in zip(subject_J, run_J, strict=True)]
    onset_J = np.array(
        [run.trials.onset_seconds_J[row] for run, row in zip(runs, trial_J, strict=True)], dtype=np.float64
    )
    return {
        "pseudonym": _objects(records[subject].pseudonym for subject in subject_J),
        "task": _objects(taskset.specs[task].name for task in task_J),
        "label": _objects(run.label for run in runs),
        "run": run_J.astype(np.int16),
        "trial": trial_J.astype(np.int32),
        "onset": onset_J,
        "condition": _names(task_J, condition_J, [spec.conditions for spec in taskset.specs]),
        "observed_choice": _observed(task_J, table.response_JA.cpu().numpy(), taskset),
        "observed_rt": table.rt_seconds_J.cpu().numpy().astype(np.float32),
    }


def _observed(task_J: np.ndarray, response_JA: np.ndarray, taskset: TaskSet) -> np.ndarray:
    """Return the observed press; if it is not known which of several, all of them, joined by ``|``."""
    return _objects(
        "|".join(name for name, is_it in zip(taskset.specs[task].alternatives, response_A, strict=False) if is_it)
        or None
        for task, response_A in zip(task_J, response_JA, strict=True)
    )


def _names(task_P: np.ndarray, index_P: np.ndarray, names: Sequence[Sequence[str]]) -> np.ndarray:
    """Return names by task and index; None for a negative index."""
    width = max([int(index_P.max(initial=0)) + 1, *(len(own) for own in names)])
    lookup = np.full((len(names), width + 1), None, dtype=object)
    for task, own in enumerate(names):
        lookup[task, : len(own)] = own
    return np.asarray(lookup[task_P, index_P])


def _objects(values: Iterable[Any]) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _lists(rows: np.ndarray) -> pa.Array:
    """Return the rows of a matrix as lists of float32."""
    flat = pa.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    offsets = np.arange(0, rows.size + 1, max(rows.shape[1], 1), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
