"""What is taken out where folds are pooled: the mean of each, for their twins and regressions were fitted to different people.

Shape letters: `S` subject, `X` observed or predictor, `C` column of a basis of covariates, `F` fold.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dtb.evaluate.scores.statistics import orthonormal


def with_fold_means(basis_SC: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Return a basis with a mean of each fold beside what covariates can explain; NaN for a person without a fold."""
    complete_S = np.isfinite(basis_SC).all(axis=1) & ~pd.isna(fold_S)
    means_SF = pd.get_dummies(pd.Series(fold_S[complete_S])).to_numpy(np.float64)
    found_SC = orthonormal(np.concatenate([basis_SC[complete_S], means_SF], axis=1))
    filled_SC = np.full((len(fold_S), found_SC.shape[1]), np.nan)
    filled_SC[complete_S] = found_SC
    return filled_SC


def without_fold_means(values_SX: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Return the columns minus each fold's mean, over the people of the fold who have a value."""
    centred_SX = values_SX.copy()
    for fold in pd.unique(fold_S[~pd.isna(fold_S)]):
        here_S = fold_S == fold
        present_SX = np.isfinite(values_SX[here_S])
        total_X = np.where(present_SX, values_SX[here_S], 0.0).sum(axis=0)
        centred_SX[here_S] -= total_X / np.maximum(present_SX.sum(axis=0), 1)
    return centred_SX
