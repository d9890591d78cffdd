"""How many unseen people lie within the bands around what the twin says of them.

A twin's own spread is that of trials and performances: people differ from each other by more. A band that claims to hold people is as
wide as the errors on validation people ask for (split conformal prediction: Lei et al. 2018, J Am Stat Assoc 113, 1094), and so holds its
share of unseen people whatever the law of these errors.

Shape letters: `S` person, `V` validation person, `T` task.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from scipy import stats

from dtb.evaluate.predictors.predictions import Prediction
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import TWIN, Figure
from dtb.evaluate.scores.statistics import mean_of

LEVELS = (0.5, 0.8, 0.9)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How many unseen people lie within a band.

    Attributes
    ----------
    task : str
    level : float
        The share of people that the band claims to hold.
    share : float
        The share that it holds.
    lower, upper : float
        95% interval of that share (Clopper and Pearson).
    num_people : int
    """

    task: str
    level: float
    share: float
    lower: float
    upper: float
    num_people: int

    @property
    def is_kept(self) -> bool:
        """Whether what the band holds agrees with what it claims."""
        return self.lower <= self.level <= self.upper


def metric_of(level: float) -> str:
    """Return the name of the figure of a level's coverage."""
    return f"people within the {level:.0%} band"


def coverage_of(figures: Iterable[Figure]) -> Iterator[Coverage]:
    """Gather the coverage of each task and level from an evaluation's figures."""
    level_of = {metric_of(level): level for level in LEVELS}
    for figure in figures:
        num_people, share = figure.twin.num_people, figure.twin.value
        if figure.metric in level_of and num_people and math.isfinite(share):
            ends = stats.binomtest(round(share * num_people), num_people).proportion_ci(0.95, method="exact")
            yield Coverage(figure.task, level_of[figure.metric], share, float(ends.low), float(ends.high), num_people)


def half_width(error_V: np.ndarray, level: float) -> float:
    """Return how far to both sides of a prediction a band reaches that holds this share of unseen people; NaN with too few errors.

    Examples
    --------
    >>> half_width(np.array([1.0, -2.0, 3.0, -4.0]), 0.8), half_width(np.array([1.0, -2.0, 3.0]), 0.8)
    (4.0, nan)
    """
    errors = np.sort(np.abs(error_V[np.isfinite(error_V)]))
    rank = math.ceil((len(errors) + 1) * level - 1e-9)
    return float(errors[rank - 1]) if 0 < rank <= len(errors) else math.nan


def reach_of(evidence: Evidence, level: float) -> np.ndarray:
    """Return the half width (T,) of each task's band of mean reaction times, seconds; NaN without enough validation people."""
    error_VT = evidence.validation_error_VT
    num_tasks = len(evidence.taskset.specs)
    return np.full(num_tasks, np.nan) if error_VT is None else np.array([half_width(row, level) for row in error_VT.T])


def coverage_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    """Return, for each level, the share of people's mean reaction times within its band; nothing without validation people."""
    if evidence.validation_error_VT is None:
        return []
    found = []
    for level in LEVELS:
        reach = float(reach_of(evidence, level)[task])
        error_S = evidence.observed.mean_rt_ST[:, task] - evidence.predictions[TWIN].summary.mean_rt_ST[:, task]
        within_S = np.where(np.isfinite(error_S) & math.isfinite(reach), np.abs(error_S) <= reach, np.nan)
        found.append(
            evidence.figure(
                evidence.taskset.specs[task].name,
                metric_of(level),
                "share of people",
                mean_of,
                np.zeros(len(error_S)),
                functools.partial(_of_twin, evidence.predictions[TWIN], within_S),
                note=f"of mean reaction times, {reach:.3f} s to both sides, from the errors on validation people; should be {level:.0%}",
                with_strangers=False,
            )
        )
    return found


def _of_twin(twin: Prediction, within_S: np.ndarray, prediction: Prediction) -> np.ndarray | None:
    return within_S if prediction is twin else None
