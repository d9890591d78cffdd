"""Reaction times of trials from a regression's predictions of people's speed and its variability.

The logarithm of a reaction time is taken to be the person's location, an offset of the condition, and the person's scale times a number
from a distribution that all people share. Location and scale of a person are what a regression is fitted to. The shared distribution is
not assumed but seen, in training people whose location and scale were said by fits to others: so it holds the regression's own errors,
and is as wide for unseen people as it should be.

Shape letters: see `dtb.evaluate.scores.observed`; `C` condition, `Q` quantile, `M` member of the shared distribution.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.evaluate.scores.observed import ObservedTrials
from dtb.evaluate.scores.quantiles import TRIAL_LEVELS

FEWEST_PRESSES = 5
"""Of a person with fewer presses in a task no scale is known."""
FEWEST_OF_A_CONDITION = 50
"""With fewer presses in a condition, its numbers are taken from the task's distribution."""
NUM_MEMBERS = 100
"""The shared distribution stands as its quantiles at so many levels, evenly spaced."""


@dataclasses.dataclass(frozen=True, eq=False)
class LogSpeeds:
    """Location and scale of the logarithm of people's reaction times.

    Attributes
    ----------
    location_ST : (S, T) float64
        Mean over conditions of their means of log seconds.
    log_scale_ST : (S, T) float64
        Logarithm of the standard deviation within conditions; NaN where too few presses are known.
    """

    location_ST: np.ndarray
    log_scale_ST: np.ndarray


def log_reaction_times(trials: ObservedTrials) -> np.ndarray:
    """Return the logarithm of seconds (J,); NaN without a press."""
    pressed_J = np.isfinite(trials.rt_J) & (trials.rt_J > 0)
    return np.where(pressed_J, np.log(np.where(pressed_J, trials.rt_J, 1.0)), np.nan)


def log_speeds(trials: ObservedTrials, num_people: int, num_tasks: int) -> LogSpeeds:
    """Return people's location and scale of log reaction times; nobody's figures depend on others.

    Examples
    --------
    Somebody who takes 1 and e squared seconds in turn has location 1, and as variance 6 / 5.

    >>> from dtb.evaluate.predictors.reaction_times import log_speeds
    >>> none_J, all_JO = np.zeros(6, int), np.ones((6, 2), bool)
    >>> rt_J = np.exp([0.0, 2.0, 0.0, 2.0, 0.0, 2.0])
    >>> found = log_speeds(ObservedTrials(none_J, none_J, none_J, none_J, none_J, rt_J, all_JO, all_JO, all_JO), 1, 1)
    >>> found.location_ST.item(), round(np.exp(2 * found.log_scale_ST).item(), 6)
    (1.0, 1.2)
    """
    log_J = log_reaction_times(trials)
    known_J, num_conditions = np.isfinite(log_J), int(trials.condition_J.max(initial=0)) + 1
    shape, place = (num_people, num_tasks, num_conditions), (trials.person_J, trials.task_J, trials.condition_J)
    place, log_J = tuple(index_J[known_J] for index_J in place), log_J[known_J]
    count_STC, total_STC, squares_STC = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(count_STC, place, 1.0)
    np.add.at(total_STC, place, log_J)
    mean_STC = total_STC / np.maximum(count_STC, 1)
    np.add.at(squares_STC, place, (log_J - mean_STC[place]) ** 2)
    num_ST, count_ST = (count_STC > 0).sum(axis=2), count_STC.sum(axis=2)
    variance_ST = squares_STC.sum(axis=2) / np.maximum(count_ST - num_ST, 1)
    known_ST = (count_ST >= FEWEST_PRESSES) & (variance_ST > 0)
    return LogSpeeds(
        np.where(known_ST, mean_STC.sum(axis=2) / np.maximum(num_ST, 1), np.nan),
        np.where(known_ST, np.log(np.where(known_ST, variance_ST, 1.0)) / 2, np.nan),
    )


def condition_offsets(trials: ObservedTrials, location_ST: np.ndarray) -> np.ndarray:
    """Return the offset of each condition (T, C) from people's log reaction times; 0 if unknown."""
    rest_J = log_reaction_times(trials) - location_ST[trials.person_J, trials.task_J]
    shape = (location_ST.shape[1], int(trials.condition_J.max(initial=0)) + 1)
    known_J, sum_TC, count_TC = np.isfinite(rest_J), np.zeros(shape), np.zeros(shape)
    place = (trials.task_J[known_J], trials.condition_J[known_J])
    np.add.at(sum_TC, place, rest_J[known_J])
    np.add.at(count_TC, place, 1.0)
    return np.asarray(sum_TC / np.maximum(count_TC, 1))


def log_location_scale(
    training: ObservedTrials, left_out: LogSpeeds, trials: ObservedTrials, said: LogSpeeds
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predicted reaction times of trials.

    Parameters
    ----------
    training : ObservedTrials
        Trials of training people.
    left_out : LogSpeeds
        What is said of them by fits to other training people.
    trials : ObservedTrials
        Trials to predict.
    said : LogSpeeds
        What is said of the people of `trials`.

    Returns
    -------
    mean_rt_J, crps_J, rt_quantiles_JQ
        See `dtb.evaluate.predictors.predictions.TrialPrediction`; NaN where nothing is said.
    """
    offset_TC = condition_offsets(training, log_speeds(training, *left_out.location_ST.shape).location_ST)
    centre_J = (
        left_out.location_ST[training.person_J, training.task_J] + offset_TC[training.task_J, training.condition_J]
    )
    scale_J = np.exp(left_out.log_scale_ST[training.person_J, training.task_J])
    shared_J = (log_reaction_times(training) - centre_J) / scale_J
    mean_J, crps_J = np.full(len(trials), np.nan), np.full(len(trials), np.nan)
    quantiles_JQ = np.full((len(trials), len(TRIAL_LEVELS)), np.nan)
    location_J, log_scale_J = (
        values_ST[trials.person_J, trials.task_J] for values_ST in (said.location_ST, said.log_scale_ST)
    )
    levels_M = (np.arange(NUM_MEMBERS) + 0.5) / NUM_MEMBERS
    for task, condition in np.unique(np.stack([trials.task_J, trials.condition_J], axis=1), axis=0):
        of_task_J = (training.task_J == task) & np.isfinite(shared_J)
        of_condition_J = of_task_J & (training.condition_J == condition)
        used_J = of_condition_J if of_condition_J.sum() >= FEWEST_OF_A_CONDITION else of_task_J
        here_J = (trials.task_J == task) & (trials.condition_J == condition) & np.isfinite(location_J + log_scale_J)
        if not used_J.any() or not here_J.any():
            continue
        offset = offset_TC[task, condition] if condition < offset_TC.shape[1] else 0.0
        centre_J1, scale_J1 = location_J[here_J, None] + offset, np.exp(log_scale_J[here_J, None])
        member_JM = np.exp(centre_J1 + scale_J1 * np.quantile(shared_J[used_J], levels_M))
        mean_J[here_J] = member_JM.mean(axis=1)
        crps_J[here_J] = crps_of_sorted(member_JM, trials.rt_J[here_J])
        quantiles_JQ[here_J] = np.exp(centre_J1 + scale_J1 * np.quantile(shared_J[used_J], TRIAL_LEVELS))
    return mean_J, crps_J, quantiles_JQ


def crps_of_sorted(member_JM: np.ndarray, rt_J: np.ndarray) -> np.ndarray:
    """Return the CRPS of each trial from its own sorted sample (`crps_of_sample` has one for all); NaN without a press."""
    num_members = member_JM.shape[1]
    order_M = 2 * np.arange(num_members) - num_members + 1
    return np.asarray(np.abs(member_JM - rt_J[:, None]).mean(axis=1) - member_JM @ order_M / num_members**2)
