"""What volumes weigh in the contrast of a person's task, over all runs and segments of a batch.

Shape letters: `S` subject, `K` segment, `V` volume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dtb.cohort.glm import run_contrast
from dtb.cohort.records import Run, SubjectRecord
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch

_DESIGNS_KEPT = 1000


class Contrasts:
    """Weights of volumes in the contrasts of their tasks; runs of the same design share them.

    Parameters
    ----------
    taskset : TaskSet
    """

    def __init__(self, taskset: TaskSet) -> None:
        self._taskset = taskset
        self._known: dict[str, np.ndarray | None] = {}

    def weights(self, records: Sequence[SubjectRecord], batch: Batch) -> Tensor:
        """Give the weight of each volume in its run's task contrast, averaged over a person's runs of the task.

        The linear model is fitted to the volumes that the batch counts, all of a run's or those of some segments.

        Returns
        -------
        (S, K, V) float32 Tensor
            0 for volumes that do not count, and in runs that cannot tell the conditions apart.
        """
        weights_SKV = np.zeros(batch.volume_seconds_SKV.shape, dtype=np.float32)
        run_SK, start_SK = batch.run_SK.cpu().numpy(), batch.start_seconds_SK.cpu().numpy()
        counted_SKV, seconds_SKV = batch.bold_counted_SKV.cpu().numpy(), batch.volume_seconds_SKV.cpu().numpy()
        for subject, record in enumerate(records):
            found: dict[int, tuple[np.ndarray, list[tuple[int, np.ndarray, np.ndarray]]]] = {}
            for number, run in enumerate(record.runs):
                if run.bold_VR is None or run.repetition_time is None:
                    continue
                pieces, usable_V = [], np.zeros(len(run.bold_VR), dtype=bool)
                for segment in np.flatnonzero(run_SK[subject] == number).tolist():
                    (volumes,) = np.nonzero(counted_SKV[subject, segment])
                    seconds_V = start_SK[subject, segment] + seconds_SKV[subject, segment, volumes]
                    places = np.rint(seconds_V / run.repetition_time).astype(int)
                    usable_V[places] = True
                    pieces.append((segment, volumes, places))
                weights_V = self._of_run(run, usable_V)
                if weights_V is not None:
                    found[number] = weights_V, pieces
            for number, (weights_V, pieces) in found.items():
                same = sum(record.runs[other].task == record.runs[number].task for other in found)
                for segment, volumes, places in pieces:
                    weights_SKV[subject, segment, volumes] = weights_V[places] / same
        return torch.from_numpy(weights_SKV).to(batch.volume_seconds_SKV.device)

    def _of_run(self, run: Run, usable_V: np.ndarray) -> np.ndarray | None:
        spec = self._taskset.specs[self._taskset.index(run.task)]
        trials = run.trials
        parts = [trials.onset_seconds_J, trials.window_seconds_J, trials.condition_J, trials.pulse_onset_seconds_Q]
        parts += [trials.pulse_duration_seconds_Q, usable_V]
        text = f"{run.task}/{run.repetition_time}".encode()
        key = hashlib.sha256(b"/".join([text, *(np.ascontiguousarray(part).tobytes() for part in parts)])).hexdigest()
        if key not in self._known:
            if len(self._known) >= _DESIGNS_KEPT:
                self._known.clear()
            self._known[key] = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), usable_V)
        return self._known[key]
