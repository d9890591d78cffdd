"""Regressions fitted to training people, their cross-validated predictions, and their stack.

Which regression is best, how far its predictions are to be trusted, and with which weights several make a better one, is learnt from
training people that a fit did not see (Wolpert 1992, Neural Networks 5, 241; Breiman 1996, Machine Learning 24, 49). So every regression
is fitted once to all training people and once without each of a few folds of them.

Shape letters: `S` training person, `Q` person to predict, `Y` figure of a person, `K` regression.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy.optimize import nnls

from dtb.evaluate.predictors.leave_out import balanced_folds
from dtb.evaluate.predictors.predictions import Prediction, Summary
from dtb.evaluate.predictors.reaction_times import LogSpeeds
from dtb.evaluate.predictors.regressions import REGRESSIONS, Read, Regression
from dtb.evaluate.scores.observed import People
from dtb.people.covariates import family_numbers

FEWEST_TO_FIT = 10
"""A regression is not fitted to fewer training people."""
FEWEST_OF_OTHERS = 5
"""The same of the part of the training people that the rest are predicted from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """Predictions of a regression.

    Attributes
    ----------
    said_QY : (Q, Y) float64
        Of the people to predict, from all training people.
    left_out_SY : (S, Y) float64
        Of training people, from those in other folds.
    """

    said_QY: np.ndarray
    left_out_SY: np.ndarray


class Features:
    """Features of training people and of people to predict, each kind computed once.

    Parameters
    ----------
    training : People
        Training people, and no others.
    people : People
        Whom to predict; their edges and covariates are used, not what they did.
    """

    def __init__(self, training: People, people: People) -> None:
        self._people = training, people
        self._made: dict[Read, tuple[np.ndarray, np.ndarray] | None] = {}

    def of(self, regression: Regression) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a regression's features of both; None if there are none, or too few training people."""
        if len(self._people[0]) < FEWEST_TO_FIT:
            return None
        if regression.read not in self._made:
            self._made[regression.read] = regression.read(*self._people)
        return self._made[regression.read]


def to_columns(summary: Summary, speeds: LogSpeeds | None = None) -> np.ndarray:
    """Return people's figures as columns (S, Y)."""
    of_tasks = [summary.mean_rt_ST, summary.condition_rt_ST, summary.accuracy_ST]
    of_tasks += [] if speeds is None else [speeds.location_ST, speeds.log_scale_ST]
    maps_SY = summary.maps_STR.reshape(len(summary.maps_STR), -1)
    return np.concatenate([*of_tasks, maps_SY], axis=1, dtype=np.float64)


def from_columns(values_SY: np.ndarray, num_tasks: int, num_regions: int) -> tuple[Summary, LogSpeeds]:
    """Return the figures from the columns of `to_columns`."""
    *of_tasks, maps_SY = np.split(values_SY, num_tasks * np.arange(1, 6), axis=1)
    maps_STR = maps_SY.reshape(len(values_SY), num_tasks, num_regions)
    return Summary(of_tasks[0], of_tasks[1], of_tasks[2], maps_STR), LogSpeeds(of_tasks[3], of_tasks[4])


def inner_folds(training: People) -> np.ndarray:
    """Return folds (S,) of training people of about equal size; people of one family share a fold."""
    return balanced_folds(family_numbers(training.covariates))


def fitted(training: People, people: People, targets_SY: np.ndarray, fold_S: np.ndarray) -> dict[str, Fitted]:
    """Return each of `REGRESSIONS` fitted to all training people and to those outside each fold.

    Returns
    -------
    dict of str to Fitted
        By name; without those that cannot be fitted.
    """
    features, found, family_S = Features(training, people), {}, family_numbers(training.covariates)
    for regression in REGRESSIONS:
        seen = features.of(regression)
        if seen is None:
            continue
        features_SF, features_QF = seen
        left_out_SY = np.full(targets_SY.shape, np.nan)
        for fold in np.unique(fold_S):
            rest_S, others_S = fold_S == fold, fold_S != fold
            known = features_SF[others_S], features_SF[rest_S], targets_SY[others_S], family_S[others_S]
            left_out_SY[rest_S] = _fit(regression, *known, FEWEST_OF_OTHERS)
        said_QY = _fit(regression, features_SF, features_QF, targets_SY, family_S, FEWEST_TO_FIT)
        found[regression.name] = Fitted(said_QY, left_out_SY)
    return found


def stacked(parts: Mapping[str, Fitted], targets_SY: np.ndarray, fold_S: np.ndarray) -> Fitted | None:
    """Return the stack of regressions, for each figure with the non-negative weights that are best in cross-validation.

    Returns
    -------
    Fitted or None
        None without a regression.
    """
    if not parts:
        return None
    left_out_KSY = np.stack([one.left_out_SY for one in parts.values()])
    said_KQY = np.stack([one.said_QY for one in parts.values()])
    left_out_SY = np.full(targets_SY.shape, np.nan)
    for fold in np.unique(fold_S):
        rest_S, others_S = fold_S == fold, fold_S != fold
        left_out_SY[rest_S] = _add_up(left_out_KSY[:, others_S], targets_SY[others_S], left_out_KSY[:, rest_S])
    return Fitted(_add_up(left_out_KSY, targets_SY, said_KQY), left_out_SY)


def stack_weights(left_out_KS: np.ndarray, target_S: np.ndarray) -> np.ndarray:
    """Return the non-negative least-squares weights (K,) of deviations from the mean."""
    centred_KS = left_out_KS - left_out_KS.mean(axis=1, keepdims=True)
    return np.asarray(nnls(centred_KS.T, target_S - target_S.mean())[0])


def _add_up(left_out_KSY: np.ndarray, targets_SY: np.ndarray, said_KQY: np.ndarray) -> np.ndarray:
    said_QY = np.full(said_KQY.shape[1:], np.nan)
    for column in range(targets_SY.shape[1]):
        known_K = np.isfinite(left_out_KSY[:, :, column]).any(axis=1) & np.isfinite(said_KQY[:, :, column]).all(axis=1)
        left_out_KS, target_S = left_out_KSY[known_K, :, column], targets_SY[:, column]
        known_S = np.isfinite(left_out_KS).all(axis=0) & np.isfinite(target_S)
        if not known_K.any() or known_S.sum() < FEWEST_OF_OTHERS:
            continue
        weight_K = stack_weights(left_out_KS[:, known_S], target_S[known_S])
        centre_K1 = left_out_KS[:, known_S].mean(axis=1, keepdims=True)
        said_QY[:, column] = target_S[known_S].mean() + weight_K @ (said_KQY[known_K, :, column] - centre_K1)
    return said_QY


def regressions(training: People, target: Summary, people: People) -> dict[str, Prediction]:
    """Return predictions of each of `REGRESSIONS`, fitted to training people.

    Parameters
    ----------
    training : People
    target : Summary
        What training people did.
    people : People
        Whom to predict.

    Returns
    -------
    dict of str to Prediction
        By name; without those that cannot be fitted.
    """
    features, targets_SY, found = Features(training, people), to_columns(target), {}
    num_tasks = target.mean_rt_ST.shape[1]
    for regression in REGRESSIONS:
        seen = features.of(regression)
        if seen is not None:
            said_QY = _fit(regression, *seen, targets_SY, family_numbers(training.covariates), FEWEST_TO_FIT)
            mean_QT, effect_QT, accuracy_QT, maps_QY = np.split(said_QY, num_tasks * np.arange(1, 4), axis=1)
            maps_QTR = maps_QY.reshape(len(said_QY), *target.maps_STR.shape[1:])
            found[regression.name] = Prediction(Summary(mean_QT, effect_QT, accuracy_QT, maps_QTR))
    return found


def _fit(
    regression: Regression,
    features_SF: np.ndarray,
    features_QF: np.ndarray,
    targets_SY: np.ndarray,
    family_S: np.ndarray,
    fewest: int,
) -> np.ndarray:
    def fit(who_S: np.ndarray, y_SY: np.ndarray) -> np.ndarray:
        return regression.fit(features_SF[who_S], features_QF, y_SY, family_S[who_S])

    return fill(fit, targets_SY, len(features_QF), fewest)


def fill(
    fit: Callable[[np.ndarray, np.ndarray], np.ndarray],
    targets_SY: np.ndarray,
    num_people: int,
    fewest: int = FEWEST_TO_FIT,
) -> np.ndarray:
    """Fit targets together if the same training people have them; NaN for a target that too few have.

    Parameters
    ----------
    fit : function
        ``fit(training_people_S, targets_SY)`` gives the predictions (Q, Y) from those training people; the targets hold no NaN.
    targets_SY : (S, Y)
    num_people : int
        Whom to predict.
    fewest : int
        So many training people have to have a target.
    """
    predicted_QY = np.full((num_people, targets_SY.shape[1]), np.nan)
    present_YS = np.isfinite(targets_SY).T
    patterns, pattern_Y = np.unique(present_YS, axis=0, return_inverse=True)
    for number, who_S in enumerate(patterns):
        if who_S.sum() >= fewest:
            (columns,) = np.nonzero(pattern_Y.reshape(-1) == number)
            predicted_QY[:, columns] = fit(who_S, targets_SY[np.ix_(who_S, columns)])
    return predicted_QY
