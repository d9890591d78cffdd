"""From the names in a configuration to the indicator of one twin that is to change, and to the units of everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from dtb.config import InterveneConfig
from dtb.errors import ConfigurationError, StageError
from dtb.fleet.twins import Troupe, outlines_of
from dtb.intervene.indicators import Indicator, TaskOutline, list_indicators
from dtb.intervene.search import Goal, make_goal
from dtb.tasks.taskset import TaskSet


@dataclasses.dataclass(frozen=True)
class Aim:
    """What a search is after, in the terms of one twin.

    Attributes
    ----------
    settings : InterveneConfig
    tasks : tuple of TaskOutline
    indicators : tuple of Indicator
        All that the twin has.
    target : int
        Which of them is to change.
    regions : tuple of str
        Names of the BOLD regions.
    """

    settings: InterveneConfig
    tasks: tuple[TaskOutline, ...]
    indicators: tuple[Indicator, ...]
    target: int
    regions: tuple[str, ...]

    @property
    def name(self) -> str:
        """The target in words."""
        one = self.indicators[self.target]
        where = f" of {self.regions[one.region]}" if one.region is not None else ""
        return f"{one.kind}{where} in {self.tasks[one.task].name}"

    @property
    def sign(self) -> float:
        """1 to increase the target, -1 to decrease it."""
        return 1.0 if self.settings.direction == "increase" else -1.0

    def goal_from(self, people: pa.Table) -> tuple[Goal, np.ndarray]:
        """Take the spread of each indicator, and the mean gradient (E,), from the people who performed unchanged."""
        order = np.argsort(np.array(people["pseudonym"].to_pylist(), dtype=object))
        values_SM = torch.from_numpy(np.stack([people["values"][int(row)].as_py() for row in order]).astype(np.float64))
        if not values_SM[:, self.target].isfinite().any():
            raise StageError(
                f"Nobody has {self.name}: no run of the cohort has trials or volumes that it could be measured on."
            )
        slopes = [people["slope"][int(row)].as_py() for row in order]
        given = [np.asarray(slope_E) for slope_E in slopes if slope_E is not None]
        return make_goal(self.indicators, self.target, self.sign, values_SM), np.mean(given, axis=0)


def make_aim(settings: InterveneConfig, troupe: Troupe) -> Aim:
    """Find the indicator that the configuration names.

    Raises
    ------
    ConfigurationError
        There is none; the message lists what there is.
    """
    taskset, regions = troupe.taskset, troupe.card.bold_region_names
    tasks = outlines_of(taskset)
    indicators = list_indicators(tasks, len(regions))
    task = _task_index(settings, taskset)
    region = None
    if settings.indicator == "bold_contrast":
        region = _region_index(settings, regions)
    elif settings.region is not None:
        raise ConfigurationError(
            f"intervene.region is {settings.region!r}, but intervene.indicator is {settings.indicator!r}; a region goes with "
            "`bold_contrast` only."
        )
    wanted = Indicator(settings.indicator, task, region)
    if wanted not in indicators:
        raise ConfigurationError(
            f"intervene.indicator is {settings.indicator!r}, but the task {tasks[task].name!r} has no contrast between conditions. "
            "Name another task in intervene.task, or add `contrast` to the task's specification."
        )
    return Aim(settings, tuple(tasks), tuple(indicators), indicators.index(wanted), tuple(regions))


def _task_index(settings: InterveneConfig, taskset: TaskSet) -> int:
    names = [spec.name for spec in taskset.specs]
    if settings.task is None:
        return 0
    if settings.task not in names:
        raise ConfigurationError(f"intervene.task is {settings.task!r}; the twin performs {', '.join(names)}.")
    return names.index(settings.task)


def _region_index(settings: InterveneConfig, regions: Sequence[str]) -> int:
    if not regions:
        raise ConfigurationError("intervene.indicator is 'bold_contrast', but the twin was trained without task BOLD.")
    if settings.region not in regions:
        some = ", ".join(regions[:5]) + (", ..." if len(regions) > 5 else "")
        given = "not given" if settings.region is None else repr(settings.region)
        raise ConfigurationError(
            f"intervene.region is {given}; `bold_contrast` needs one of the {len(regions)} regions: {some}"
        )
    return list(regions).index(str(settings.region))
