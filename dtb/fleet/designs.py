"""New task designs: events files without responses, read as runs for a twin.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dtb.errors import InputDataError
from dtb.people.records import Run
from dtb.tasks.read import read_trials
from dtb.tasks.taskset import TaskSet

_SHOWN = 3


def read_designs(paths: Sequence[Path], taskset: TaskSet, num_regions: int, repetition_time: float) -> tuple[Run, ...]:
    """Read designs as runs in which nothing was observed.

    Parameters
    ----------
    paths : sequence of Path
        Events files; the task is found by the BIDS task label in the name.
    taskset : TaskSet
        Tasks of the twin.
    num_regions : int
        Regions of the cohort.
    repetition_time : float
        Seconds from one simulated volume to the next.

    Raises
    ------
    InputDataError
        A name has no task label or one that the twin does not have, or a row cannot be used.
    TaskError
        A file does not fit the task's specification.
    """
    runs = []
    for path in paths:
        label = re.search(r"(?:^|_)task-([A-Za-z0-9]+)", path.name)
        fitting = [spec for spec in taskset.specs if label and spec.fits_label(label[1])]
        if label is None or not fitting:
            known = ", ".join(f"{spec.name} (task-{', task-'.join(spec.matches)})" for spec in taskset.specs)
            found = "no task label in its name" if label is None else f"the task label {label[1]!r}"
            raise InputDataError(
                f"simulate.designs: {path} has {found}; expected a task that the twin was trained on: {known}."
            )
        read = read_trials(fitting[0], path, responses=False)
        if read.unusable:
            rows = "; ".join(f"line {row.row}: {row.reason}" for row in read.unusable[:_SHOWN])
            raise InputDataError(
                f"simulate.designs: {len(read.unusable)} of {read.num_rows} rows of {path} cannot be shown to a twin. {rows}"
            )
        seconds = read.trials.end_seconds
        bold_VR = np.full((int(np.ceil(seconds / repetition_time)), num_regions), np.nan, dtype=np.float32)
        runs.append(Run(fitting[0].name, label[1], None, None, read.trials, seconds, bold_VR, repetition_time))
    return tuple(runs)
