"""Quantiles of people's reaction times, predicted and observed.

A person's predicted distribution is the mixture of what is predicted of the trials, each by its probability of a press.

Shape letters: see `dtb.evaluate.scores.observed`; `Q` level of probability.
"""

from __future__ import annotations

import numpy as np

from dtb.evaluate.predictors.predictions import TrialPrediction
from dtb.evaluate.scores.observed import ObservedTrials

LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
"""Whose quantiles are compared."""
TRIAL_LEVELS = (np.arange(10) + 0.5) / 10
"""A trial's predicted distribution stands in the mixture as its quantiles at these, each with the same weight."""


def person_quantiles(
    trials: ObservedTrials, values_JQ: np.ndarray, weight_J: np.ndarray, num_people: int, task: int
) -> np.ndarray:
    """Return the quantiles (S, `LEVELS`) of each person's values in one task; NaN for a person without any."""
    found_SQ = np.full((num_people, len(LEVELS)), np.nan)
    used_J = (trials.task_J == task) & np.isfinite(values_JQ).all(axis=1) & (weight_J > 0)
    for person in np.unique(trials.person_J[used_J]):
        mine_J = used_J & (trials.person_J == person)
        weights = np.repeat(weight_J[mine_J], values_JQ.shape[1])
        found_SQ[person] = np.quantile(values_JQ[mine_J].ravel(), LEVELS, weights=weights, method="inverted_cdf")
    return found_SQ


def quantile_errors(
    trials: ObservedTrials, prediction: TrialPrediction, num_people: int, task: int
) -> np.ndarray | None:
    """Return each person's mean absolute difference (S,), in seconds, of predicted and observed quantiles; None without a prediction."""
    if prediction.rt_quantiles_JQ is None:
        return None
    pressed_J = np.where(np.isfinite(trials.rt_J), 1.0, 0.0)
    observed_SQ = person_quantiles(trials, trials.rt_J[:, None], pressed_J, num_people, task)
    press_J = np.nan_to_num(1.0 - prediction.outcome_JO[:, -1], nan=1.0)
    predicted_SQ = person_quantiles(trials, prediction.rt_quantiles_JQ, press_J, num_people, task)
    return np.abs(predicted_SQ - observed_SQ).mean(axis=1)
