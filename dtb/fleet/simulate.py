"""``dtb simulate``: every person's twin performs that person's own runs, and what it does goes to Parquet.

Tables, one row each as named, in the folders of the same name:

- ``trials``: a simulated performance (`draw`) of a trial: choice and reaction time, beside the person's own.
- ``expected``: a trial's distribution in closed form: choice probabilities, mean and quantiles of the reaction time.
- ``bold``: a volume of a run: the signal of each region in `bold`, a list in the order of the table's ``regions`` metadata.
- ``status``: a person.

Read one with ``pandas.read_parquet("OUT/trials")``, or in DuckDB with ``SELECT * FROM 'OUT/trials/*.parquet'``.

Shape letters: `S` subject, `K` segment, `V` volume, `A` response alternative, `R` BOLD region, `J` trial, `D` draw.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.cluster import connected
from dtb.cohort.records import SubjectRecord
from dtb.config import Config, sections
from dtb.files import OutputFolder
from dtb.fleet.ledger import Ledger
from dtb.fleet.pool import Work, run_pool, say_summary
from dtb.fleet.twins import Company, Troupe, generator_of, open_troupe
from dtb.intervene.indicators import press_distribution
from dtb.tasks.taskset import TaskSet
from dtb.terminal import err, out
from dtb.twin.batch import Batch
from dtb.twin.likelihood import PressDistribution
from dtb.twin.model import TwinOutput

TABLES = ("trials", "expected", "bold")
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


def simulate(config: Config, shards: Path, trained: Path, folder: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Let everybody's twin perform.

    Parameters
    ----------
    config : Config
        Sections `seed`, `simulate`, `fleet` and `cluster`.
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    folder : Path
        Output folder.
    resume : bool
        Go on in a folder that was begun.
    dry_run : bool
        Check the inputs, say what would be done, write nothing.
    """
    troupe = open_troupe(shards, trained)
    keys = sorted(troupe.cohort().pseudonyms)
    if dry_run:
        out.print(
            f"Would let {len(keys)} people's twins perform {config.simulate.num_draws} times each, on {config.fleet.num_actors} "
            f"actor(s), and write {', '.join(TABLES)} to {folder}."
        )
        return
    claimed = OutputFolder.claim(folder, "simulate", sections(config, "seed", "simulate"), resume=resume)
    if claimed.is_complete:
        err.print(f"{folder} is complete; nothing to do.")
        return
    ledger = Ledger(folder, TABLES)
    make = functools.partial(Simulator, seed=config.seed, num_draws=config.simulate.num_draws)
    with connected(config.cluster):
        summary = run_pool(
            make,
            troupe,
            keys,
            ledger,
            config.fleet,
            description="Simulating",
            can_grow=config.cluster.ray_address is not None,
        )
    figures = {"num_people": len(keys), "num_ok": len(keys) - summary.num_failed, "num_failed": summary.num_failed}
    claimed.finish({**figures, "num_draws": config.simulate.num_draws, "cohort_hash": troupe.card.cohort_hash})
    out.print(f"Simulated: {say_summary(summary)} Tables {', '.join(TABLES)} are in {folder}.")


class Simulator:
    """The worker: simulates batches of people."""

    def __init__(self, troupe: Troupe, seed: int, num_draws: int) -> None:
        self._company = Company(troupe, seed)
        self._num_draws = num_draws

    @torch.inference_mode()
    def work(self, keys: Sequence[str]) -> Work:
        """Simulate people; those whose twins do anything that is not finite are failures."""
        company = self._company
        records, batch = company.meet(keys)
        output = company.twin(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S)
        hazard_SKTA = company.twin.hazards(output)
        failures = _failures(keys, output, hazard_SKTA)
        presses = press_distribution(company.twin, output, batch, company.outlines)
        columns = _trial_columns(records, batch, company.taskset)
        kept_J = np.array([keys[subject] not in failures for subject in batch.trials.subject_J.tolist()], dtype=bool)
        tables = {
            "trials": self._trials(columns, presses, batch, keys, kept_J),
            "expected": _expected(columns, presses, kept_J),
        }
        bold_SKVR = company.twin.bold(output, batch.volume_seconds_SKV) * company.twin.bold_scale_R
        bold = _bold_rows(records, batch, bold_SKVR.cpu(), failures)
        if bold:
            tables["bold"] = _bold_table(bold, company.card.bold_region_names)
        return Work(tables, failures)

    def _trials(
        self,
        columns: dict[str, np.ndarray],
        presses: PressDistribution,
        batch: Batch,
        keys: Sequence[str],
        kept_J: np.ndarray,
    ) -> pa.Table:
        draws = []
        for subject, key in enumerate(keys):
            (rows,) = np.nonzero((batch.trials.subject_J.cpu().numpy() == subject) & kept_J)
            if not len(rows):
                continue
            chosen = torch.from_numpy(rows).to(presses.hazard_JWA.device)
            # One person's window is as long as that person's longest trial, whoever else is in the batch.
            covered_JW = presses.covered_JW[chosen]
            longest = int(covered_JW.any(0).nonzero().max()) + 1
            own = PressDistribution(presses.hazard_JWA[chosen, :longest], covered_JW[:, :longest], presses.step_seconds)
            generator = generator_of(key, self._company.seed, "draws")
            choice_DJ, rt_DJ = own.sample(generator, self._num_draws)
            draws.append((np.repeat(rows, self._num_draws), choice_DJ.T.flatten(), rt_DJ.T.flatten()))
        if not draws:
            return pa.table({})
        rows_P = np.concatenate([rows for rows, _, _ in draws])
        choice_P = torch.cat([choice for _, choice, _ in draws]).cpu().numpy()
        rt_P = torch.cat([rt for _, _, rt in draws]).cpu().numpy().astype(np.float32)
        taskset = self._company.taskset
        names = _names(
            batch.trials.task_J.cpu().numpy()[rows_P], choice_P, [spec.alternatives for spec in taskset.specs]
        )
        given_JA = batch.trials.correct_JA.cpu().numpy()
        is_right_P = np.where(choice_P >= 0, given_JA[rows_P, choice_P.clip(min=0)], ~given_JA[rows_P].any(axis=1))
        scored_P = batch.trials.scored_J.cpu().numpy()[rows_P]
        own_columns = {name: values[rows_P] for name, values in columns.items()}
        return pa.table(
            {
                **{name: _arrow(own_columns[name]) for name in _PLACE},
                "draw": pa.array(np.tile(np.arange(self._num_draws, dtype=np.int16), len(rows_P) // self._num_draws)),
                "onset": pa.array(own_columns["onset"]),
                "condition": _arrow(own_columns["condition"]),
                "choice": _arrow(names),
                "rt": pa.array(rt_P, mask=np.isnan(rt_P)),
                "observed_choice": _arrow(own_columns["observed_choice"]),
                "observed_rt": pa.array(own_columns["observed_rt"], mask=np.isnan(own_columns["observed_rt"])),
                "correct": pa.array(is_right_P, mask=~scored_P),
            }
        )


_PLACE = ("pseudonym", "task", "label", "run", "trial")


def _failures(keys: Sequence[str], output: TwinOutput, hazard_SKTA: Tensor) -> dict[str, str]:
    fine_S = hazard_SKTA.isfinite().flatten(1).all(1) & output.hidden_SKTN.isfinite().flatten(1).all(1)
    return {
        key: "the twin's state or hazards are not finite: is the connectome far from those it was trained on?"
        for key, fine in zip(keys, fine_S.tolist(), strict=True)
        if not fine
    }


def _trial_columns(records: Sequence[SubjectRecord], batch: Batch, taskset: TaskSet) -> dict[str, np.ndarray]:
    """Describe each trial of a batch, (J,) arrays; names are objects, None where there is none."""
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
    """Name the press that was seen; where it is not known which of several, name them all, joined by ``|``."""
    return _objects(
        "|".join(name for name, is_it in zip(taskset.specs[task].alternatives, response_A, strict=False) if is_it)
        or None
        for task, response_A in zip(task_J, response_JA, strict=True)
    )


def _names(task_P: np.ndarray, index_P: np.ndarray, names: Sequence[Sequence[str]]) -> np.ndarray:
    """Look up names by task and index; None for a negative index."""
    width = max([int(index_P.max(initial=0)) + 1, *(len(own) for own in names)])
    lookup = np.full((len(names), width + 1), None, dtype=object)
    for task, own in enumerate(names):
        lookup[task, : len(own)] = own
    return np.asarray(lookup[task_P, index_P])


def _objects(values: Any) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _arrow(values: np.ndarray) -> pa.Array:
    """Text goes to Parquet as a dictionary, for names repeat."""
    if values.dtype == object:
        return pa.array(values, type=pa.string()).dictionary_encode()
    return pa.array(values)


def _expected(columns: dict[str, np.ndarray], presses: PressDistribution, kept_J: np.ndarray) -> pa.Table:
    quantile_JQ = torch.stack([presses.rt_quantile_J(share) for share in QUANTILES], dim=1).cpu().numpy()
    choice_JA = presses.choice_probability_JA().cpu().numpy()
    values: dict[str, Any] = {name: _arrow(columns[name][kept_J]) for name in (*_PLACE, "condition")}
    values["mean_rt"] = pa.array(presses.mean_rt_J().cpu().numpy()[kept_J])
    values["rt_quantiles"] = _lists(quantile_JQ[kept_J])
    values["choice_probabilities"] = _lists(choice_JA[kept_J])
    values["omission_probability"] = pa.array(presses.omission_probability_J().cpu().numpy()[kept_J])
    return pa.table(values).replace_schema_metadata({"quantiles": json.dumps(QUANTILES)})


def _lists(rows: np.ndarray) -> pa.Array:
    """Give the rows of a matrix as lists of float32."""
    flat = pa.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    offsets = np.arange(0, rows.size + 1, max(rows.shape[1], 1), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _bold_rows(
    records: Sequence[SubjectRecord], batch: Batch, bold_SKVR: Tensor, failures: dict[str, str]
) -> list[tuple[str, str, int, np.ndarray, np.ndarray]]:
    """Put the segments' counted volumes back onto their runs: (pseudonym, task, run, seconds_V, bold_VR)."""
    rows = []
    for subject, record in enumerate(records):
        for number, run in enumerate(record.runs):
            if run.bold_VR is None or record.pseudonym in failures or not bold_SKVR.shape[-1]:
                continue
            mine_K = (batch.run_SK[subject] == number).cpu()
            counted_KV = batch.bold_counted_SKV[subject].cpu()[mine_K]
            seconds_KV = (
                batch.volume_seconds_SKV[subject].cpu()[mine_K] + batch.start_seconds_SK[subject].cpu()[mine_K, None]
            )
            bold_VR = bold_SKVR[subject][mine_K][counted_KV].numpy()
            rows.append((record.pseudonym, run.task, number, seconds_KV[counted_KV].numpy(), bold_VR))
    return rows


def _bold_table(rows: list[tuple[str, str, int, np.ndarray, np.ndarray]], regions: Sequence[str]) -> pa.Table:
    lengths = [len(seconds_V) for *_, seconds_V, _ in rows]
    values = {
        "pseudonym": _arrow(np.repeat(_objects(row[0] for row in rows), lengths)),
        "task": _arrow(np.repeat(_objects(row[1] for row in rows), lengths)),
        "run": pa.array(np.repeat(np.array([row[2] for row in rows], dtype=np.int16), lengths)),
        "volume": pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        "seconds": pa.array(np.concatenate([row[3] for row in rows]).astype(np.float32)),
        "bold": _lists(np.concatenate([row[4] for row in rows])),
    }
    return pa.table(values).replace_schema_metadata({"regions": json.dumps(list(regions))})
