"""Regressions that predict people from their connectome or from demographics and motion, without a model of behaviour.

Ridge, kernel ridge, connectome-based predictive modelling and a quadratic regression on latents see the same edges as the twin's encoder;
*demographics and motion* sees what is known of age, sex, site, head motion and length of rest alone.
Every step, filling in and scaling included, is fitted on training people only, and every choice of a penalty is made among them, with
relatives left out together.

Shape letters: `S` training person, `Q` person to predict, `E` edge, `Y` target, `P` level of significance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from dtb.evaluate.predictors.leave_out import balanced_folds, ridge_in_kernel
from dtb.evaluate.scores.observed import People
from dtb.people.covariates import removed_labels, removed_numbers

NUM_LATENTS = 8
PENALTIES = np.logspace(-2, 6, 17)
CPM_P = (0.001, 0.005, 0.01, 0.05)
CPM_TARGETS_AT_ONCE = 32
KERNEL_PENALTIES = np.logspace(-3, 1, 5)
KERNEL_WIDTHS = np.array([0.1, 0.3, 1.0])
"""Over the median squared distance between training people."""

Read = Callable[[People, People], tuple[np.ndarray, np.ndarray] | None]
"""`read(training, people)` gives the features (S, F) and (Q, F) of both, or None where there are none."""


@dataclasses.dataclass(frozen=True)
class Regression:
    """A regression of people's figures on numbers about them.

    Attributes
    ----------
    name, words, short : str
        As of a `dtb.evaluate.predictors.table.Predictor`.
    fit : function
        From the features (S, F) of training people, those (Q, F) of people to predict, targets (S, Y) without NaN and training people's
        families (S,), to predictions (Q, Y).
    read : function
        From training people and people to predict to the features of both, or None where there are none.
    """

    name: str
    words: str
    short: str
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    read: Read


def _edges(training: People, people: People) -> tuple[np.ndarray, np.ndarray] | None:
    """Return scaled edges; None where nobody of the training people has a connectome."""
    found = scaled_edges(training.edges_SE, people.edges_SE)
    return found if found[0].shape[1] else None


def scaled_edges(edges_SE: np.ndarray, edges_QE: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale edges by training people's mean and standard deviation; an absent edge is then 0, at the training mean.

    Edges that no training person has, or that do not vary among them, are left out.
    """
    present_SE = np.isfinite(edges_SE)
    count_E = present_SE.sum(axis=0)
    mean_E = np.where(present_SE, edges_SE, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(count_E, 1)
    deviation_SE = np.where(present_SE, edges_SE - mean_E, 0.0)
    scale_E = np.sqrt((deviation_SE**2).sum(axis=0) / np.maximum(count_E, 1))
    kept_E = (count_E >= 2) & (scale_E > 1e-9)
    scaled_QE = np.where(np.isfinite(edges_QE), edges_QE - mean_E, 0.0)
    return (deviation_SE[:, kept_E] / scale_E[kept_E]), (scaled_QE[:, kept_E] / scale_E[kept_E])


def scaled_covariates(training: People, people: People) -> tuple[np.ndarray, np.ndarray] | None:
    """Turn covariates into numbers with scikit-learn, fitted on training people; None if no covariate is known of any of them."""
    all_numbers, all_labels = list(removed_numbers()), list(removed_labels())
    tables = [pd.DataFrame(who.covariates, columns=[*all_numbers, *all_labels]) for who in (training, people)]
    numbers = [name for name in all_numbers if pd.to_numeric(tables[0][name]).notna().sum() >= 2]
    labels = [name for name in all_labels if tables[0][name].notna().any()]
    if not numbers and not labels:
        return None
    for table in tables:
        table[all_numbers] = table[all_numbers].apply(pd.to_numeric)
        for name in all_labels:
            table[name] = ["unknown" if pd.isna(value) else str(value) for value in table[name]]
    transformer = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False, drop="if_binary"), labels),
    )
    who_SC = transformer.fit_transform(tables[0])
    return np.asarray(who_SC, dtype=np.float64), np.asarray(transformer.transform(tables[1]), dtype=np.float64)


def _ridge(
    features_SE: np.ndarray, features_QE: np.ndarray, targets_SY: np.ndarray, family_S: np.ndarray
) -> np.ndarray:
    """Fit a ridge regression to each target, its penalty by leaving out families of training people.

    Its weights lie in the span of training people, so that the products of people's features are enough. With thousands of edges and
    targets the weights themselves would not fit in memory.
    """
    kernel_SS, kernel_QS = features_SE @ features_SE.T, features_QE @ features_SE.T
    return ridge_in_kernel(kernel_SS, kernel_QS, targets_SY, PENALTIES, family_S)[0]


def _kernel_ridge(
    features_SE: np.ndarray, features_QE: np.ndarray, targets_SY: np.ndarray, family_S: np.ndarray
) -> np.ndarray:
    """Fit a ridge regression with a Gaussian kernel to each target, penalty and width by leaving out families of training people."""
    distance_SS = euclidean_distances(features_SE, squared=True)
    distance_QS = euclidean_distances(features_QE, features_SE, squared=True)
    typical = max(float(np.median(distance_SS[~np.eye(len(distance_SS), dtype=bool)])), 1e-12)
    best_Y = np.full(targets_SY.shape[1], np.inf)
    predicted_QY = np.empty((len(features_QE), targets_SY.shape[1]))
    for gamma in KERNEL_WIDTHS / typical:
        kernel_SS, kernel_QS = np.exp(-gamma * distance_SS), np.exp(-gamma * distance_QS)
        said_QY, error_Y = ridge_in_kernel(kernel_SS, kernel_QS, targets_SY, KERNEL_PENALTIES, family_S)
        better_Y = error_Y < best_Y
        predicted_QY[:, better_Y], best_Y[better_Y] = said_QY[:, better_Y], error_Y[better_Y]
    return predicted_QY


def _cpm(features_SE: np.ndarray, features_QE: np.ndarray, targets_SY: np.ndarray, family_S: np.ndarray) -> np.ndarray:
    """Fit connectome-based predictive modelling to each target (Shen et al. 2017, Nat Protoc 12, 506).

    Edges whose correlation with the target is significant among training people are summed, those with a negative one subtracted, and the
    target is regressed on that one number; a target without such edges gets its mean. At which p an edge is taken is chosen for each target
    by cross-validation among training people.
    """
    error_PY = np.zeros((len(CPM_P), targets_SY.shape[1]))
    if len(CPM_P) > 1:
        for fit_S, rest_S in _folds(family_S):
            held_out_PQY = _cpm_at_each_p(features_SE[fit_S], features_SE[rest_S], targets_SY[fit_S])
            error_PY += ((held_out_PQY - targets_SY[rest_S]) ** 2).sum(axis=1)
    predicted_PQY = _cpm_at_each_p(features_SE, features_QE, targets_SY)
    return np.asarray(np.take_along_axis(predicted_PQY, error_PY.argmin(axis=0)[None, None], axis=0)[0])


def _cpm_at_each_p(features_SE: np.ndarray, features_QE: np.ndarray, targets_SY: np.ndarray) -> np.ndarray:
    """Return the predictions (P, Q, Y) of `_cpm` with edges taken at each of `CPM_P`."""
    freedom = len(features_SE) - 2
    threshold_t_P = stats.t.isf(np.array(CPM_P) / 2, freedom)
    threshold_r_P = threshold_t_P / np.sqrt(freedom + threshold_t_P**2)
    mean_E = features_SE.mean(axis=0)
    centred_SE, centred_QE = features_SE - mean_E, features_QE - mean_E
    size_E1 = np.maximum(np.sqrt((centred_SE**2).sum(axis=0)), 1e-300)[:, None]
    predicted_PQY = np.empty((len(CPM_P), len(features_QE), targets_SY.shape[1]))
    # Some targets after the other: all edges by all targets would not fit in memory.
    for begin in range(0, targets_SY.shape[1], CPM_TARGETS_AT_ONCE):
        some = slice(begin, begin + CPM_TARGETS_AT_ONCE)
        mean_Y = targets_SY[:, some].mean(axis=0)
        centred_SY = targets_SY[:, some] - mean_Y
        r_EY = centred_SE.T @ centred_SY / (size_E1 * np.maximum(np.sqrt((centred_SY**2).sum(axis=0)), 1e-300))
        for place, threshold_r in enumerate(threshold_r_P):
            sign_EY = np.where(np.abs(r_EY) > threshold_r, np.sign(r_EY), 0.0)
            strength_SY = centred_SE @ sign_EY
            spread_Y = (strength_SY**2).sum(axis=0)
            slope_Y = (strength_SY * centred_SY).sum(axis=0) / np.where(spread_Y > 0, spread_Y, np.inf)
            predicted_PQY[place, :, some] = mean_Y + slope_Y * (centred_QE @ sign_EY)
    return predicted_PQY


def _latents_quadratic(
    features_SE: np.ndarray, features_QE: np.ndarray, targets_SY: np.ndarray, family_S: np.ndarray
) -> np.ndarray:
    """Read latents from connectomes, and regress each target on them, their squares and their products.

    Latents are the principal axes of the targets, each predicted by ridge regression: what a twin could make of its latents, with one bend.
    Those of training people come from fits to others, or the second regression would trust them more than it may.
    """
    spread_Y = np.maximum(targets_SY.std(axis=0), 1e-12)
    axes_SK, size_K, _ = np.linalg.svd((targets_SY - targets_SY.mean(axis=0)) / spread_Y, full_matrices=False)
    axes_SZ = axes_SK[:, : int((size_K[:NUM_LATENTS] > 1e-9).sum())]
    if not axes_SZ.shape[1]:
        return np.broadcast_to(targets_SY.mean(axis=0), (len(features_QE), targets_SY.shape[1])).copy()
    read_SZ, read_QZ = np.zeros_like(axes_SZ), _ridge(features_SE, features_QE, axes_SZ, family_S)
    for fit_S, rest_S in _folds(family_S):
        read_SZ[rest_S] = _ridge(features_SE[fit_S], features_SE[rest_S], axes_SZ[fit_S], family_S[fit_S])
    bend = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler()).fit(read_SZ)
    return _ridge(bend.transform(read_SZ), bend.transform(read_QZ), targets_SY, family_S)


def _folds(family_S: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, fold by fold, masks of those to fit to and of the rest; nothing where all are of one family."""
    fold_S = balanced_folds(family_S)
    for fold in np.unique(fold_S):
        if (fold_S != fold).any():
            yield fold_S != fold, fold_S == fold


REGRESSIONS = (
    Regression("ridge", "ridge regression on the connectome", "", _ridge, _edges),
    Regression("kernel_ridge", "kernel ridge regression on the connectome", "", _kernel_ridge, _edges),
    Regression("cpm", "connectome-based predictive modelling", "CPM", _cpm, _edges),
    Regression(
        "latents_quadratic",
        "a quadratic regression on latents that ridge regression reads from the connectome",
        "latents, quadratic",
        _latents_quadratic,
        _edges,
    ),
    Regression("demographics_motion", "demographics and motion", "demographics, motion", _ridge, scaled_covariates),
)
