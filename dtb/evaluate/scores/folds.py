"""What each fold has of its own, which is taken out before folds are pooled, and what folds share, which p-values allow for.

The twin and the regressions of each fold were fitted to other people. Their means and their spreads differ for reasons that are no
person's: one was stopped early and says little of anybody, another says much.

Shape letters: `S` subject, `X` observed or predictor, `C` column of a basis of covariates, `F` fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtb.evaluate.scores.figures import without_covariates
from dtb.evaluate.scores.statistics import orthonormal

_ROUNDING = 1e-7
"""Over the largest value: what spreads less is the same for all, but for rounding, of single precision too."""


def without_fold_means(values_SX: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Return the columns minus each fold's mean, over the people of the fold who have a value."""
    centred_SX = values_SX.copy()
    for fold in pd.unique(fold_S[~pd.isna(fold_S)]):
        here_S = fold_S == fold
        present_SX = np.isfinite(values_SX[here_S])
        total_X = np.where(present_SX, values_SX[here_S], 0.0).sum(axis=0)
        centred_SX[here_S] -= total_X / np.maximum(present_SX.sum(axis=0), 1)
    return centred_SX


def standardised_in_folds(values_SX: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Return the columns minus each fold's mean, over its standard deviation; 0 where a fold's people all have the same value.

    Examples
    --------
    >>> standardised_in_folds(np.array([[1.0], [3.0], [10.0], [30.0], [5.0], [5.0]]), np.array([0, 0, 1, 1, 2, 2])).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0, 0.0, 0.0]
    """
    scaled_SX = without_fold_means(values_SX, fold_S)
    for fold in pd.unique(fold_S[~pd.isna(fold_S)]):
        here_S = fold_S == fold
        present_SX = np.isfinite(values_SX[here_S])
        largest_X = np.abs(np.where(present_SX, values_SX[here_S], 0.0)).max(axis=0)
        squares_X = (np.where(present_SX, scaled_SX[here_S], 0.0) ** 2).sum(axis=0)
        spread_X = np.sqrt(squares_X / np.maximum(present_SX.sum(axis=0), 1))
        varies_X = spread_X > _ROUNDING * largest_X
        scaled_SX[here_S] *= np.where(varies_X, 1 / np.where(varies_X, spread_X, 1.0), 0.0)
    return scaled_SX


def residuals_in_folds(values_SX: np.ndarray, basis_SC: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Return the columns without what covariates explain of everybody, as standard deviations of what is left in each fold.

    Parameters
    ----------
    values_SX : (S, X)
    basis_SC : (S, C)
        From `with_fold_means`; people with a NaN get NaN.
    fold_S : (S,)
    """
    rest_SX = without_covariates(values_SX, basis_SC)
    largest_X = np.where(np.isfinite(values_SX), np.abs(values_SX), 0.0).max(axis=0, initial=0.0)
    # What is left of a value that covariates explain wholly is rounding.
    rest_SX = np.where(np.abs(rest_SX) <= _ROUNDING * largest_X, 0.0, rest_SX)
    return standardised_in_folds(rest_SX, fold_S)


def with_fold_means(basis_SC: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Put a mean of each fold beside what covariates can explain; a person without a fold does not count."""
    complete_S = np.isfinite(basis_SC).all(axis=1) & ~pd.isna(fold_S)
    means_SF = pd.get_dummies(pd.Series(fold_S[complete_S])).to_numpy(np.float64)
    found_SC = orthonormal(np.concatenate([basis_SC[complete_S], means_SF], axis=1))
    filled_SC = np.full((len(fold_S), found_SC.shape[1]), np.nan)
    filled_SC[complete_S] = found_SC
    return filled_SC


def shared_of(splits: Sequence[Mapping[str, Any]], num_people: int) -> float:
    """Return the share of the people whom a fold's training saw that are tested in other folds, of the fold where it is largest.

    Parameters
    ----------
    splits : sequence of mapping
        Of each evaluation, with ``num_train``, ``num_validation`` and ``num_test``.
    num_people : int
        People who are tested in any of them.

    Examples
    --------
    >>> shared_of([{"num_train": 70, "num_validation": 10, "num_test": 20}], 60)
    0.5
    """
    return max(
        min(1.0, (num_people - each["num_test"]) / max(each["num_train"] + each["num_validation"], 1))
        for each in splits
    )
