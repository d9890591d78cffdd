"""Which numbers a person's record may hold: a checksum says that a shard is as it was written, not that somebody measured it.

Absent numbers (NaN) pass: training and evaluation say which they can do without.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dtb.errors import DamagedOutputError
from dtb.people.records import Run, SubjectRecord
from dtb.tasks.taskset import TaskSet

LONGEST_SECONDS = 24 * 3600.0
"""No run, wait or stimulus is longer than a day."""


class ImpossibleRecordError(DamagedOutputError):
    """A person's record holds numbers that nobody can have; `reason` says which."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class TaskSizes(NamedTuple):
    """How many stimulus channels, conditions and response alternatives a task has."""

    channels: int
    conditions: int
    alternatives: int


def sizes_of_tasks(taskset: dict[str, Any]) -> dict[str, TaskSizes]:
    """Return the sizes of each task of a cohort, by name, from the plain form of its task set; none where it has no tasks."""
    if not taskset.get("specs"):
        return {}
    return {
        spec.name: TaskSizes(len(spec.channels), len(spec.conditions), len(spec.alternatives))
        for spec in TaskSet.from_plain(taskset).specs
    }


def impossible(record: SubjectRecord, tasks: dict[str, TaskSizes]) -> str | None:
    """Return which numbers of a person nobody can have, or None.

    Parameters
    ----------
    record : SubjectRecord
    tasks : dict of str to TaskSizes
        From `sizes_of_tasks`; without any, indices are not held against them.
    """
    for run in record.runs:
        if tasks and run.task not in tasks:
            return f"run {run.label}: the cohort has no task {run.task!r}"
        if (reason := _impossible_run(run, tasks.get(run.task))) is not None:
            return f"run {run.label}: {reason}"
    return None


def _impossible_run(run: Run, sizes: TaskSizes | None) -> str | None:
    trials = run.trials
    most, day = np.inf, LONGEST_SECONDS
    times = {
        "duration_seconds": (np.array([run.duration_seconds]), 0.0, day),
        "repetition_time": (np.array([] if run.repetition_time is None else [run.repetition_time]), 1e-3, 60.0),
        "first_volume_seconds": (np.array([run.first_volume_seconds]), -day, day),
        "onset_seconds": (trials.onset_seconds_J, -day, day),
        "window_seconds": (trials.window_seconds_J, 0.0, day),
        "rt_seconds": (trials.rt_seconds_J, 0.0, day),
        "pulse_onset_seconds": (trials.pulse_onset_seconds_Q, -day, day),
        "pulse_duration_seconds": (trials.pulse_duration_seconds_Q, 0.0, day),
        "condition": (trials.condition_J, -1, most if sizes is None else sizes.conditions - 1),
        "pulse_channel": (trials.pulse_channel_Q, 0, most if sizes is None else sizes.channels - 1),
    }
    for name, (values, smallest, largest) in times.items():
        outside = (values < smallest) | (values > largest)
        if outside.any():
            row = int(np.argmax(outside))
            return f"{name} has {values[row]:g} in row {row + 1}; {smallest:g} to {largest:g} is possible"
    if sizes is not None and trials.response_JA.shape[1] != sizes.alternatives:
        return f"it has {trials.response_JA.shape[1]} response alternatives; the task has {sizes.alternatives}"
    if run.bold_VR is not None and run.repetition_time is None:
        return "it has volumes and no repetition time"
    return None
