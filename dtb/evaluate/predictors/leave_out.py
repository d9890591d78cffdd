"""Choices among training people alone: folds that divide no family, and ridge regression whose penalty is chosen by leaving out families.

A penalty that is chosen by leaving out one person at a time is too small where a sister stays in: she tells what is asked.

Shape letters: `S` training person, `Q` person to predict, `Y` target, `F` family, `m` member of a family.
"""

from __future__ import annotations

import numpy as np

NUM_FOLDS = 5


def balanced_folds(family_S: np.ndarray, num_folds: int = NUM_FOLDS) -> np.ndarray:
    """Return folds (S,) of about equal size that divide no family.

    Examples
    --------
    >>> np.bincount(balanced_folds(np.array([0, 0, 1, 1, 2, 2]), 3)).tolist()
    [2, 2, 2]
    """
    _, first_F, family_S = np.unique(family_S, return_index=True, return_inverse=True)
    fold_S, size_K = np.zeros(len(family_S), np.int64), np.zeros(num_folds, np.int64)
    for family in np.argsort(first_F)[np.random.default_rng(0).permutation(len(first_F))]:
        smallest, mine_S = int(size_K.argmin()), family_S == family
        fold_S[mine_S] = smallest
        size_K[smallest] += mine_S.sum()
    return fold_S


def ridge_in_kernel(
    kernel_SS: np.ndarray,
    kernel_QS: np.ndarray,
    targets_SY: np.ndarray,
    penalties: np.ndarray,
    family_S: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression in a kernel to each target, with the penalty that predicts families best from all others.

    The intercept is not penalised. What a fit without a family would say of it follows from the fit with it: its residuals, times the
    inverse of 1 minus its block of the smoother (Golub, Heath and Wahba 1979, Technometrics 21, 215, for blocks of one).

    Parameters
    ----------
    kernel_SS, kernel_QS : (S, S) and (Q, S)
        Between training people, and of those to predict with them; products of features for an ordinary ridge regression.
    targets_SY : (S, Y)
        Without NaN.
    penalties : sequence of float
    family_S : (S,) int

    Returns
    -------
    predicted_QY : (Q, Y)
    error_Y : (Y,)
        Sum of squared errors of families left out, at the penalty of each target.
    """
    mean_S, mean_Y = kernel_SS.mean(axis=0), targets_SY.mean(axis=0)
    centred_SS = kernel_SS - mean_S - mean_S[:, None] + mean_S.mean()
    centred_QS = kernel_QS - mean_S - kernel_QS.mean(axis=1, keepdims=True) + mean_S.mean()
    size_S, axes_SS = np.linalg.eigh(centred_SS)
    size_S = np.where(size_S > 1e-12 * size_S[-1], size_S, 0.0)
    targets_SY = targets_SY - mean_Y
    along_SY = axes_SS.T @ targets_SY
    best_Y, penalty_Y = np.full(targets_SY.shape[1], np.inf), np.full(targets_SY.shape[1], float(penalties[0]))
    blocks = _blocks(family_S)
    for penalty in penalties:
        shrunk_S = size_S / (size_S + penalty)
        rest_SY = targets_SY - axes_SS @ (shrunk_S[:, None] * along_SY)
        error_Y = _error_of_left_out(axes_SS, shrunk_S, rest_SY, blocks)
        better_Y = error_Y < best_Y
        best_Y[better_Y], penalty_Y[better_Y] = error_Y[better_Y], penalty
    weights_SY = axes_SS @ (along_SY / (size_S[:, None] + penalty_Y))
    return centred_QS @ weights_SY + mean_Y, best_Y


def _blocks(family_S: np.ndarray) -> list[np.ndarray]:
    """Return the places of families' members (F, m), those of one size together."""
    _, family_S = np.unique(family_S, return_inverse=True)
    order_S, size_F = np.argsort(family_S, kind="stable"), np.bincount(family_S)
    begin_F = np.cumsum(size_F) - size_F
    return [order_S[begin_F[size_F == size][:, None] + np.arange(size)] for size in np.unique(size_F)]


def _error_of_left_out(
    axes_SS: np.ndarray, shrunk_S: np.ndarray, rest_SY: np.ndarray, blocks: list[np.ndarray]
) -> np.ndarray:
    """Return the sum of squared errors (Y,) of families, each left out, from the residuals of a fit to all."""
    error_Y, num_people = np.zeros(rest_SY.shape[1]), len(rest_SY)
    for member_Fm in blocks:
        axes_FmS = axes_SS[member_Fm]
        smoother_Fmm = (axes_FmS * shrunk_S) @ axes_FmS.transpose(0, 2, 1) + 1 / num_people
        left_Fmm = np.eye(member_Fm.shape[1]) * (1 + 1e-12) - smoother_Fmm
        error_Y += (np.linalg.solve(left_Fmm, rest_SY[member_Fm]) ** 2).sum(axis=(0, 1))
    return error_Y
