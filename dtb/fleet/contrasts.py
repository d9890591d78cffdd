"""The weight of each volume in a person's task contrast, over all runs and segments of a batch.

Shape letters: `S` subject, `K` segment, `V` volume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dtb.people.glm import run_basis, run_contrast
from dtb.people.records import Run, SubjectRecord
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch

_DESIGNS_KEPT = 1000
_Pieces = list[tuple[int, np.ndarray, np.ndarray]]


class Contrasts:
    """Weights of volumes in the contrasts of their tasks, shared by runs of the same design.

    Parameters
    ----------
    taskset : TaskSet
    """

    def __init__(self, taskset: TaskSet) -> None:
        self._taskset = taskset
        self._known: dict[str, np.ndarray | None] = {}

    def weights(self, records: Sequence[SubjectRecord], batch: Batch) -> Tensor:
        """Return the weight of each volume in its run's task contrast, averaged over a person's runs of the task.

        The linear model is fitted to the volumes that the batch counts, all of a run's or those of some segments.

        Returns
        -------
        (S, K, V) float32 Tensor
            0 for volumes that do not count, and in runs whose design cannot separate the conditions.
        """
        weights_SKV = np.zeros(batch.volume_seconds_SKV.shape, dtype=np.float32)
        for subject, record in enumerate(records):
            found: dict[int, tuple[np.ndarray, _Pieces]] = {}
            for number, usable_V, pieces in _runs_of(record, batch, subject):
                weights_V = self._of_run(record.runs[number], usable_V)
                if weights_V is not None:
                    found[number] = weights_V, pieces
            for number, (weights_V, pieces) in found.items():
                same = sum(record.runs[other].task == record.runs[number].task for other in found)
                for segment, volumes, places in pieces:
                    weights_SKV[subject, segment, volumes] = weights_V[places] / same
        return torch.from_numpy(weights_SKV).to(batch.volume_seconds_SKV.device)

    def basis(self, records: Sequence[SubjectRecord], batch: Batch) -> Tensor:
        """Return an orthonormal basis of the regressors of each run's linear model, for the error of the contrasts.

        Returns
        -------
        (S, K, V, P) float64 Tensor
            0 for volumes that do not count, and in runs without a contrast.
        """
        found = []
        for subject, record in enumerate(records):
            for number, usable_V, pieces in _runs_of(record, batch, subject):
                run = record.runs[number]
                if self._of_run(run, usable_V) is not None:
                    conditions = self._taskset.specs[self._taskset.index(run.task)].conditions
                    found.append((subject, pieces, run_basis(run, conditions, usable_V)))
        most = max([1, *(basis_VP.shape[1] for _, _, basis_VP in found)])
        basis_SKVP = np.zeros((*batch.volume_seconds_SKV.shape, most))
        for subject, pieces, basis_VP in found:
            for segment, volumes, places in pieces:
                basis_SKVP[subject, segment, volumes, : basis_VP.shape[1]] = basis_VP[places]
        return torch.from_numpy(basis_SKVP).to(batch.volume_seconds_SKV.device)

    def halves_apart(self, record: SubjectRecord, task: int, series_of: Callable[[Run], np.ndarray]) -> float:
        """Return the contrast's effect in the first less that in the second halves of a person's runs, their
        mean; NaN where no run has both.

        Parameters
        ----------
        record : SubjectRecord
        task : int
        series_of : callable
            From a run with volumes to its signal (V,), NaN where there is none.
        """
        spec, apart = self._taskset.specs[task], []
        for run in record.runs:
            if run.task != spec.name or run.bold_VR is None:
                continue
            series_V = series_of(run)
            middle = run.duration_seconds / 2
            weights = [
                run_contrast(run, spec.conditions, spec.contrast, span, np.isfinite(series_V))
                for span in ((0.0, middle), (middle, np.inf))
            ]
            effects = [float(weights_V @ np.nan_to_num(series_V)) for weights_V in weights if weights_V is not None]
            if len(effects) == 2:
                apart.append(effects[0] - effects[1])
        return float(np.mean(apart)) if apart else float("nan")

    def _of_run(self, run: Run, usable_V: np.ndarray) -> np.ndarray | None:
        spec = self._taskset.specs[self._taskset.index(run.task)]
        trials = run.trials
        parts = [trials.onset_seconds_J, trials.window_seconds_J, trials.condition_J, trials.pulse_onset_seconds_Q]
        parts += [trials.pulse_duration_seconds_Q, usable_V]
        text = f"{run.task}/{run.repetition_time}/{run.first_volume_seconds}".encode()
        key = hashlib.sha256(b"/".join([text, *(np.ascontiguousarray(part).tobytes() for part in parts)])).hexdigest()
        if key not in self._known:
            if len(self._known) >= _DESIGNS_KEPT:
                self._known.clear()
            self._known[key] = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), usable_V)
        return self._known[key]


def _runs_of(record: SubjectRecord, batch: Batch, subject: int) -> Iterator[tuple[int, np.ndarray, _Pieces]]:
    """Return each run with volumes: its number, which of them the batch counts, and in which segments they lie."""
    run_K, start_K = batch.run_SK[subject].cpu().numpy(), batch.start_seconds_SK[subject].cpu().numpy()
    counted_KV = batch.bold_counted_SKV[subject].cpu().numpy()
    seconds_KV = batch.volume_seconds_SKV[subject].cpu().numpy()
    for number, run in enumerate(record.runs):
        if run.bold_VR is None or run.repetition_time is None:
            continue
        pieces, usable_V = [], np.zeros(len(run.bold_VR), dtype=bool)
        for segment in np.flatnonzero(run_K == number).tolist():
            (volumes,) = np.nonzero(counted_KV[segment])
            places = run.volumes_at(start_K[segment] + seconds_KV[segment, volumes])
            usable_V[places] = True
            pieces.append((segment, volumes, places))
        yield number, usable_V, pieces
