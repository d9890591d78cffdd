"""What some of people's trials say of them: mean reaction time, condition effect and accuracy, each with the noise that is in it.

Shape letters: see `dtb.evaluate.scores.observed`; `Y` figure.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.evaluate.scores.observed import ObservedTrials
from dtb.tasks.taskset import TaskSet

FIGURES = ("mean RT", "condition effect", "accuracy")
PRIOR_TRIALS = 10.0
"""A person's spread of reaction times, and share of right answers for its own noise, are drawn towards the group's as if so many trials of
the group had been seen."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnFigures:
    """Figures of people in one task.

    Attributes
    ----------
    value_SY : (S, Y) float64
        In the order of `FIGURES`; seconds, seconds, share. NaN where no trial says anything of it.
    noise_SY : (S, Y) float64
        Variance with which each differs from what it would be over endlessly many such trials.
    """

    value_SY: np.ndarray
    noise_SY: np.ndarray


@dataclasses.dataclass(frozen=True)
class Spread:
    """The spread of single trials in one task, over a group.

    Attributes
    ----------
    within, total : float
        Variance of reaction times within a person's conditions, and over them.
    right : float
        Share of right answers.
    """

    within: float
    total: float
    right: float


def own_figures(
    trials: ObservedTrials,
    counted_J: np.ndarray,
    num_people: int,
    taskset: TaskSet,
    task: int,
    spread: Spread | None = None,
) -> OwnFigures:
    """Return people's figures in one task from some of their trials.

    Parameters
    ----------
    trials : ObservedTrials
    counted_J : (J,) bool
        The trials to look at; those of other tasks are left out.
    num_people : int
    taskset : TaskSet
    task : int
    spread : Spread, optional
        The group's, which each person's own is drawn towards; that of the same trials if not given.
    """
    counted_J = counted_J & (trials.task_J == task)
    spread = spread or spread_of(trials, counted_J, num_people, task)
    spec, who_J = taskset.specs[task], trials.person_J
    pressed_J = counted_J & np.isfinite(trials.rt_J)
    weights = {spec.conditions.index(name): weight for name, weight in spec.contrast.items() if weight}
    count_S, mean_S = _mean_by(who_J, trials.rt_J, pressed_J, num_people)
    total_S = _variance_by(who_J, trials.rt_J - mean_S[who_J], pressed_J, num_people, 1, spread.total)
    effect_S, noise_S = np.zeros(num_people), np.zeros(num_people)
    within_S = _within(trials, pressed_J, num_people, spread.within)
    for condition, weight in weights.items():
        here_J = pressed_J & (trials.condition_J == condition)
        num_S, each_S = _mean_by(who_J, trials.rt_J, here_J, num_people)
        effect_S += weight * each_S
        noise_S += weight**2 * within_S / np.where(num_S > 0, num_S, np.nan)
    if not weights:
        effect_S, noise_S = np.full(num_people, np.nan), np.full(num_people, np.nan)
    scored_J = counted_J & trials.scored_J
    num_S, right_S = _mean_by(who_J, trials.was_correct_J, scored_J, num_people)
    share_S = (num_S * np.nan_to_num(right_S) + PRIOR_TRIALS * spread.right) / (num_S + PRIOR_TRIALS)
    value_SY = np.stack([mean_S, effect_S, right_S], axis=1)
    noise_SY = np.stack(
        [
            total_S / np.where(count_S > 0, count_S, np.nan),
            noise_S,
            share_S * (1 - share_S) / np.where(num_S > 0, num_S, np.nan),
        ],
        axis=1,
    )
    return OwnFigures(value_SY, noise_SY)


def expected_noise(
    trials: ObservedTrials,
    given_J: np.ndarray,
    judged_J: np.ndarray,
    num_people: int,
    taskset: TaskSet,
    given: int,
    judged: int,
    spread: Spread,
) -> np.ndarray:
    """Return the variance (S, Y) that trials to come add to people's figures, without a look at what they do in them.

    A person's own spread is known from the given trials only where these are of the same task.
    """
    blind_J = given_J if given == judged else np.zeros(len(trials), bool)
    who_J, spec = trials.person_J, taskset.specs[judged]
    pressed_J = blind_J & (trials.task_J == judged) & np.isfinite(trials.rt_J)
    _, mean_S = _mean_by(who_J, trials.rt_J, pressed_J, num_people)
    total_S = _variance_by(who_J, trials.rt_J - mean_S[who_J], pressed_J, num_people, 1, spread.total)
    within_S = _within(trials, pressed_J, num_people, spread.within)
    coming_J = judged_J & (trials.task_J == judged)
    count_S = np.bincount(who_J[coming_J], minlength=num_people).astype(float)
    weights = {spec.conditions.index(name): weight for name, weight in spec.contrast.items() if weight}
    effect_S = np.zeros(num_people)
    for condition, weight in weights.items():
        here_J = coming_J & (trials.condition_J == condition)
        num_S = np.bincount(who_J[here_J], minlength=num_people)
        effect_S += weight**2 * within_S / np.where(num_S > 0, num_S, np.nan)
    num_S, right_S = _mean_by(who_J, trials.was_correct_J, blind_J & trials.scored_J, num_people)
    share_S = (num_S * np.nan_to_num(right_S) + PRIOR_TRIALS * spread.right) / (num_S + PRIOR_TRIALS)
    scored_S = np.bincount(who_J[coming_J & trials.scored_J], minlength=num_people)
    return np.stack(
        [
            total_S / np.where(count_S > 0, count_S, np.nan),
            effect_S,
            share_S * (1 - share_S) / np.where(scored_S > 0, scored_S, np.nan),
        ],
        axis=1,
    )


def spread_of(trials: ObservedTrials, counted_J: np.ndarray, num_people: int, task: int) -> Spread:
    """Return a group's spread of single trials, people's own means taken out."""
    counted_J = counted_J & (trials.task_J == task)
    pressed_J = counted_J & np.isfinite(trials.rt_J)
    _, mean_S = _mean_by(trials.person_J, trials.rt_J, pressed_J, num_people)
    people = len(np.unique(trials.person_J[pressed_J]))
    square = float(((trials.rt_J - mean_S[trials.person_J])[pressed_J] ** 2).sum())
    rest_J, cells = _within_conditions(trials, pressed_J, num_people)
    inner = float((rest_J[pressed_J] ** 2).sum())
    right_J = trials.was_correct_J[counted_J & trials.scored_J]
    number = int(pressed_J.sum())
    return Spread(
        inner / max(number - cells, 1),
        square / max(number - people, 1),
        float(right_J.mean()) if len(right_J) else float("nan"),
    )


def _within(trials: ObservedTrials, pressed_J: np.ndarray, num_people: int, group: float) -> np.ndarray:
    """Return each person's variance (S,) within conditions, drawn towards the group's."""
    rest_J, _ = _within_conditions(trials, pressed_J, num_people)
    num_conditions = int(trials.condition_J.max(initial=0)) + 2
    cell_J = trials.person_J * num_conditions + trials.condition_J + 1
    used = np.unique(cell_J[pressed_J]) // num_conditions
    cells_S = np.bincount(used, minlength=num_people)
    return _variance_by(trials.person_J, rest_J, pressed_J, num_people, cells_S, group)


def _within_conditions(trials: ObservedTrials, pressed_J: np.ndarray, num_people: int) -> tuple[np.ndarray, int]:
    """Return reaction times (J,) minus the mean of the person's condition, and the number of these."""
    num_conditions = int(trials.condition_J.max(initial=0)) + 2
    cell_J = trials.person_J * num_conditions + trials.condition_J + 1
    _, mean_C = _mean_by(cell_J, trials.rt_J, pressed_J, num_people * num_conditions)
    return trials.rt_J - mean_C[cell_J], len(np.unique(cell_J[pressed_J]))


def _mean_by(
    group_J: np.ndarray, values_J: np.ndarray, counted_J: np.ndarray, num_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many values count in each group, and their mean; NaN for none."""
    count = np.bincount(group_J[counted_J], minlength=num_groups)
    total = np.bincount(group_J[counted_J], weights=values_J[counted_J], minlength=num_groups)
    return count, np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _variance_by(
    who_J: np.ndarray, rest_J: np.ndarray, counted_J: np.ndarray, num_people: int, lost: int | np.ndarray, group: float
) -> np.ndarray:
    """Return people's variances about their own means, drawn towards the group's."""
    square_S = np.bincount(who_J[counted_J], weights=rest_J[counted_J] ** 2, minlength=num_people)
    freedom_S = np.maximum(np.bincount(who_J[counted_J], minlength=num_people) - lost, 0)
    return np.asarray((square_S + PRIOR_TRIALS * group) / (freedom_S + PRIOR_TRIALS))
