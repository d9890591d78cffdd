"""Sets of tasks for one model: the channels and response slots of each task.

With ``separate`` channels every task has its own, one task after the other, and a flag channel that is 1 while it is performed. With
``shared`` channels all tasks use the first ones and a single flag tells them apart, as in the published model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from dtb.errors import TaskError
from dtb.tasks.spec import TaskSpec, task_from_mapping, task_to_plain


@dataclasses.dataclass(frozen=True)
class TaskSet:
    """Tasks of one model.

    Attributes
    ----------
    specs : tuple of TaskSpec
        Their order is the order of channels and of task indices; none for a cohort of connectomes alone.
    channel_layout : {"separate", "shared"}

    Examples
    --------
    >>> from dtb.tasks.spec import load_task
    >>> tasks = TaskSet((load_task("stroop"), load_task("hammer")))
    >>> tasks.num_channels, tasks.num_alternatives, tasks.index("hammer")
    (16, 3, 1)
    >>> TaskSet(tasks.specs, "shared").num_channels
    9
    """

    specs: tuple[TaskSpec, ...]
    channel_layout: Literal["separate", "shared"] = "separate"

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.specs]
        if len(set(names)) != len(names):
            raise TaskError(f"A set of tasks needs each under its own name; found: {', '.join(names)}.")

    @property
    def num_channels(self) -> int:
        """Return the number of stimulus channels, flags included."""
        own = [len(spec.channels) for spec in self.specs]
        return sum(own) + len(own) if self.channel_layout == "separate" else max(own, default=0) + 1

    @property
    def num_alternatives(self) -> int:
        """Response slots; every task uses the first ones."""
        return max((len(spec.alternatives) for spec in self.specs), default=0)

    def index(self, name: str) -> int:
        """Return the index of a task.

        Raises
        ------
        TaskError
            The set has no such task.
        """
        for place, spec in enumerate(self.specs):
            if spec.name == name:
                return place
        raise TaskError(f"There is no task {name!r} here, only {', '.join(spec.name for spec in self.specs)}.")

    def first_channel(self, task_index: int) -> int:
        """Return the place of the task's own first channel among all."""
        if self.channel_layout == "shared":
            return 0
        return sum(len(spec.channels) for spec in self.specs[:task_index])

    def flags(self, task_index: int) -> np.ndarray:
        """(I,) float32: what the flag channels show throughout a run of the task, 0 in all other channels."""
        flags_I = np.zeros(self.num_channels, dtype=np.float32)
        if self.channel_layout == "separate":
            flags_I[self.num_channels - len(self.specs) + task_index] = 1.0
        else:
            flags_I[-1] = task_index / max(1, len(self.specs) - 1)
        return flags_I

    def to_plain(self) -> dict[str, Any]:
        """Return the set as mappings, lists, strings and numbers, ready for JSON."""
        return {"channel_layout": self.channel_layout, "specs": [task_to_plain(spec) for spec in self.specs]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TaskSet:
        """Return the set from the result of `to_plain`."""
        specs = tuple(task_from_mapping(values, f"task {values.get('name')}") for values in plain["specs"])
        return cls(specs, plain["channel_layout"])
