"""Scores of what a regression of trials says of trials, and of what it says of people's figures.

Shape letters: see `dtb.evaluate.living.trial_regression`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import gaussian_kde

from dtb.evaluate.living.trial_regression import Coefficients, TrialRegression
from dtb.evaluate.predictors.reaction_times import crps_of_sorted
from dtb.evaluate.scores.observed import ObservedTrials
from dtb.tasks.taskset import TaskSet

GRID = np.linspace(-12.0, 12.0, 961)
SMALLEST_DENSITY = 1e-6
"""No density of a residual over its scale is taken to be smaller, so that one trial cannot outweigh all others."""
TRIALS_AT_ONCE = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class TrialScores:
    """Scores of reaction times of judged trials.

    Attributes
    ----------
    crps_J : (J,) float64
        Seconds; NaN for other trials and without a press.
    log_score_J : (J,) float64
        Log density, per second, at the observed reaction time given a press; higher is better.
    """

    crps_J: np.ndarray
    log_score_J: np.ndarray


def trial_scores(
    regression: TrialRegression,
    coefficients: Coefficients,
    trials: ObservedTrials,
    place_J: np.ndarray,
    judged_J: np.ndarray,
) -> TrialScores:
    """Return the scores of judged trials; all of them are late ones.

    Parameters
    ----------
    regression : TrialRegression
    coefficients : Coefficients
        Of the people of `trials`.
    trials : ObservedTrials
    place_J : (J,) int
    judged_J : (J,) bool
    """
    crps_J, log_score_J = np.full(len(trials), np.nan), np.full(len(trials), np.nan)
    (scored,) = np.nonzero(judged_J & np.isfinite(trials.rt_J) & (trials.rt_J > 0))
    for rows in np.array_split(scored, max(1, -(-len(scored) // TRIALS_AT_ONCE))):
        kept_J = np.zeros(len(trials), bool)
        kept_J[rows] = True
        some = trials.only(kept_J)
        centre_J, spread_J = _location(regression, coefficients, some, place_J[kept_J])
        member_JM = np.exp(centre_J[:, None] + spread_J[:, None] * regression.member_TM[some.task_J])
        crps_J[kept_J] = crps_of_sorted(member_JM, some.rt_J)
        standard_J = (np.log(some.rt_J) - centre_J) / spread_J
        for task in np.unique(some.task_J):
            density = np.maximum(gaussian_kde(regression.member_TM[task])(GRID), SMALLEST_DENSITY)
            here_J = some.task_J == task
            log_density_J = np.interp(standard_J[here_J], GRID, np.log(density))
            log_score_J[np.flatnonzero(kept_J)[here_J]] = log_density_J - np.log(spread_J[here_J] * some.rt_J[here_J])
    return TrialScores(crps_J, log_score_J)


def figures_of(
    regression: TrialRegression,
    coefficients: Coefficients,
    trials: ObservedTrials,
    place_J: np.ndarray,
    judged_J: np.ndarray,
    taskset: TaskSet,
    task: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and variance (S, 3) of people's figures over judged trials, in the order of `FIGURES`; of accuracy nothing is said.

    The expectation of a trial's reaction time follows from the shared distribution; how uncertain coefficients carry over is linearised.
    """
    num_people = len(coefficients.mean_SP)
    judged_J = judged_J & (trials.task_J == task)
    some, who_J = trials.only(judged_J), trials.person_J[judged_J]
    centre_J, spread_J = _location(regression, coefficients, some, place_J[judged_J])
    member_JM = np.exp(centre_J[:, None] + spread_J[:, None] * regression.member_TM[some.task_J])
    expected_J, rows_JP = member_JM.mean(axis=1), regression.columns.rows(some, np.ones(len(some)))
    own_JM = np.exp(centre_J[:, None] + coefficients.scale_S[who_J, None] * regression.member_TM[some.task_J])
    noise_J = own_JM.var(axis=1)
    slope_JP = expected_J[:, None] * rows_JP
    spec = taskset.specs[task]
    mean_S3, variance_S3 = np.full((num_people, 3), np.nan), np.full((num_people, 3), np.nan)
    weights = {spec.conditions.index(name): weight for name, weight in spec.contrast.items() if weight}
    for place, parts in enumerate(([(1.0, np.ones(len(some), bool))], _parts(some, weights))):
        total_S, noise_S = np.zeros(num_people), np.zeros(num_people)
        slope_SP = np.zeros_like(coefficients.mean_SP)
        for weight, here_J in parts:
            count_S = np.bincount(who_J[here_J], minlength=num_people).astype(float)
            count_S[count_S == 0] = np.nan
            total_S += weight * np.bincount(who_J[here_J], expected_J[here_J], num_people) / count_S
            noise_S += weight**2 * np.bincount(who_J[here_J], noise_J[here_J], num_people) / count_S**2
            sums_SP = np.zeros_like(slope_SP)
            np.add.at(sums_SP, who_J[here_J], slope_JP[here_J])
            slope_SP += weight * sums_SP / count_S[:, None]
        if parts:
            mean_S3[:, place] = total_S
            variance_S3[:, place] = noise_S + np.einsum("sp,spq,sq->s", slope_SP, coefficients.covariance_SPP, slope_SP)
    return mean_S3, variance_S3


def _parts(trials: ObservedTrials, weights: dict[int, float]) -> list[tuple[float, np.ndarray]]:
    return [(weight, trials.condition_J == condition) for condition, weight in weights.items()]


def _location(
    regression: TrialRegression, coefficients: Coefficients, trials: ObservedTrials, place_J: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and the spread of the logarithm of each trial's reaction time, uncertain coefficients included."""
    rows_JP, who_J = regression.columns.rows(trials, np.ones(len(trials))), trials.person_J
    centre_J = (rows_JP * coefficients.mean_SP[who_J]).sum(axis=1) + regression.practice(trials, place_J)
    uncertain_S = coefficients.covariance_SPP
    spread_J = np.einsum("jp,jpq,jq->j", rows_JP, uncertain_S[who_J], rows_JP)
    return centre_J, np.sqrt(spread_J + coefficients.scale_S[who_J] ** 2)
