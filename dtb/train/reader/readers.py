"""The readers: regressions on standardised edges whose predictions are all linear in the edges.

- *ridge*: ridge regression on all edges.
- *components*: ridge regression on the first principal components.
- *selected*: connectome-based predictive modelling (Shen et al. 2017, Nat Protoc 12, 506): edges that go with the target at some level of
  significance are summed, those with a negative correlation subtracted, and the target is regressed on that one number.
- *weighted*: the same with each edge weighted by how far its correlation exceeds the threshold (soft thresholding); with no threshold the
  weights are the correlations, as in the first component of partial least squares.

Each has several settings. A fit is made to the people outside of some folds. The first two need the products of people's edges alone; the
others go over the edges once in blocks, all fits and targets together, and no table of edges by targets is kept.

Shape letters: `S` training person, `Q` person left out, `M` landmark person, `E` connectome edge, `B` edge of a block, `Y` target,
`P` setting, `K` direction of people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from dtb.train.reader.edges import EdgeRows

MOST_LANDMARKS = 2000
"""Ridge regressions look for their weights in the span of this many people at most."""
NUM_COMPONENTS = 64
PENALTIES = np.logspace(-2, 3, 11)
"""Over the median variance of the directions between people."""
SELECTED_P = (0.001, 0.01, 0.05)
WEIGHTED_P = (0.001, 0.01, 0.05, 1.0)
READERS = ("ridge", "components", "selected", "weighted")

Folds = frozenset[int]
"""Folds that a fit leaves out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """One fit of all readers to some targets.

    Attributes
    ----------
    said : dict of str to (P, Q, Y) float64
        By reader, what each setting says of the people left out, in the order of all people.
    slope : dict of str to (P, Y) float64
        Of the regressions of targets on sums of edges, for `selected` and `weighted`.
    """

    said: dict[str, np.ndarray]
    slope: dict[str, np.ndarray]


class _Directions(NamedTuple):
    """Orthogonal directions of the people of a fit, by falling variance: sums of squares (K,), people's places on them (S, K), and the
    weights (M, K) that turn features, minus their mean (M,), into these places times the square root of the sums."""

    squares_K: np.ndarray
    left_SK: np.ndarray
    right_MK: np.ndarray
    mean_M: np.ndarray


def products(edges: EdgeRows) -> np.ndarray:
    """Return the products (S, M) float64 of people's standardised edges with those of the first `MOST_LANDMARKS` of them."""
    product_SM = np.zeros((len(edges), min(len(edges), MOST_LANDMARKS)))
    for _, values_SB in edges.blocks():
        product_SM += values_SB @ values_SB[: product_SM.shape[1]].T
    return product_SM


class Readers:
    """All readers on some people's edges.

    Parameters
    ----------
    edges : EdgeRows
        Standardised by the same people.
    fold_S : (S,) int
        Number of each person's fold, which no family is divided by.
    product_SM : (S, M) float64
        From `products`.
    """

    def __init__(self, edges: EdgeRows, fold_S: np.ndarray, product_SM: np.ndarray) -> None:
        self._edges, self._fold_S, self.num_edges = edges, fold_S, edges.num_edges
        num_landmarks = product_SM.shape[1]
        values_M, vectors_MM = np.linalg.eigh(product_SM[:num_landmarks])
        kept = values_M > 1e-6 * max(values_M[-1], 1e-30)
        # People's edges, turned so that as few numbers as there are landmarks carry them.
        self._turn_MM = vectors_MM[:, kept] / np.sqrt(values_M[kept])
        self._features_SM = product_SM @ self._turn_MM
        self._directions: dict[Folds, _Directions] = {}

    def fit(self, targets: Mapping[Folds, np.ndarray]) -> dict[Folds, Fitted]:
        """Fit all readers, by the folds that each fit leaves out, to targets (S, Y) without NaN; only rows of its people count."""
        sums = self._sums_of_edges(targets)
        found = {}
        for folds, targets_SY in targets.items():
            kept_S = self._kept(folds)
            mean_Y = targets_SY[kept_S].mean(axis=0)
            centred_SY = targets_SY[kept_S] - mean_Y
            said = self._ridges(folds, centred_SY)
            slopes = {}
            for reader, sums_PSY in sums[folds].items():
                strength_PSY = sums_PSY - sums_PSY[:, kept_S].mean(axis=1, keepdims=True)
                square_PY = (strength_PSY[:, kept_S] ** 2).sum(axis=1)
                both_PY = np.einsum("psy,sy->py", strength_PSY[:, kept_S], centred_SY)
                slopes[reader] = both_PY / np.where(square_PY > 0, square_PY, np.inf)
                said[reader] = strength_PSY[:, ~kept_S] * slopes[reader][:, None]
            found[folds] = Fitted({name: said_PQY + mean_Y for name, said_PQY in said.items()}, slopes)
        return found

    def weights(
        self, targets_SY: np.ndarray, setting: Mapping[str, np.ndarray], weight: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Return the sum of readers that are fitted to everybody as weights of standardised edges, (E, Y) float32.

        Parameters
        ----------
        targets_SY : (S, Y)
        setting, weight : dict of str to (Y,)
            By reader, the number of the setting and the weight of each target.
        """
        everybody: Folds = frozenset()
        slope = self.fit({everybody: targets_SY})[everybody].slope
        centred_SY = targets_SY - targets_SY.mean(axis=0)
        directions = self._directions_of(everybody)
        answer_KY = directions.left_SK.T @ centred_SY
        turned_MY = np.zeros((self._turn_MM.shape[1], targets_SY.shape[1]))
        for column in range(targets_SY.shape[1]):
            for reader, limit in (("ridge", None), ("components", NUM_COMPONENTS)):
                penalty = PENALTIES[setting[reader][column]] * np.median(directions.squares_K)
                scale_K = np.sqrt(directions.squares_K) / (directions.squares_K + penalty)
                some = slice(0, limit)
                turned_MY[:, column] += weight[reader][column] * (
                    directions.right_MK[:, some] @ (scale_K * answer_KY[:, column])[some]
                )
        landmark_MY = (self._turn_MM @ turned_MY).astype(np.float32)
        columns = np.arange(targets_SY.shape[1])
        found_EY = np.zeros((self._edges.num_edges, targets_SY.shape[1]), np.float32)
        kept_S = np.ones(len(targets_SY), bool)
        for block, values_SB in self._edges.blocks():
            found_EY[block] = values_SB[: len(landmark_MY)].T @ landmark_MY
            r_BY = _correlations(values_SB, kept_S, centred_SY)
            for reader, threshold_P in _thresholds(len(targets_SY)).items():
                threshold_Y = threshold_P[setting[reader]]
                factor_Y = weight[reader] * slope[reader][setting[reader], columns]
                found_EY[block] += _of_edges(reader, r_BY, threshold_Y) * factor_Y.astype(np.float32)
        return found_EY

    def _kept(self, folds: Folds) -> np.ndarray:
        return ~np.isin(self._fold_S, list(folds))

    def _directions_of(self, folds: Folds) -> _Directions:
        if folds not in self._directions:
            features_SM = self._features_SM[self._kept(folds)]
            mean_M = features_SM.mean(axis=0)
            left_SK, size_K, right_KM = np.linalg.svd(features_SM - mean_M, full_matrices=False)
            real = size_K > 1e-4 * max(size_K[0], 1e-30)
            self._directions[folds] = _Directions(size_K[real] ** 2, left_SK[:, real], right_KM[real].T, mean_M)
        return self._directions[folds]

    def _ridges(self, folds: Folds, centred_SY: np.ndarray) -> dict[str, np.ndarray]:
        directions = self._directions_of(folds)
        answer_KY = directions.left_SK.T @ centred_SY
        left_out_QK = (self._features_SM[~self._kept(folds)] - directions.mean_M) @ directions.right_MK
        penalty_P1 = PENALTIES[:, None] * np.median(directions.squares_K)
        scale_PK = np.sqrt(directions.squares_K) / (directions.squares_K + penalty_P1)
        some = slice(0, NUM_COMPONENTS)
        return {
            "ridge": np.stack([(left_out_QK * scale_K) @ answer_KY for scale_K in scale_PK]),
            "components": np.stack([(left_out_QK[:, some] * scale_K[some]) @ answer_KY[some] for scale_K in scale_PK]),
        }

    def _sums_of_edges(self, targets: Mapping[Folds, np.ndarray]) -> dict[Folds, dict[str, np.ndarray]]:
        """Return, for each fit, everybody's sums of edges (P, S, Y) by reader."""
        num_people = len(self._fold_S)
        sums, thresholds, centred = {}, {}, {}
        for folds, targets_SY in targets.items():
            kept_S = self._kept(folds)
            thresholds[folds] = _thresholds(int(kept_S.sum()))
            centred[folds] = np.where(kept_S[:, None], targets_SY - targets_SY[kept_S].mean(axis=0), 0.0)
            sums[folds] = {
                reader: np.zeros((len(threshold_P), num_people, targets_SY.shape[1]))
                for reader, threshold_P in thresholds[folds].items()
            }
        for _, values_SB in self._edges.blocks():
            for folds, centred_SY in centred.items():
                r_BY = _correlations(values_SB, self._kept(folds), centred_SY)
                for reader, threshold_P in thresholds[folds].items():
                    for place, threshold in enumerate(threshold_P):
                        sums[folds][reader][place] += values_SB @ _of_edges(reader, r_BY, threshold)
        return sums


def _thresholds(num_people: int) -> dict[str, np.ndarray]:
    """Return the correlations (P,) float32 at which edges are significant among so many people, by reader."""
    freedom = max(num_people - 2, 1)
    found = {}
    for reader, p in (("selected", SELECTED_P), ("weighted", WEIGHTED_P)):
        t_P = -stdtrit(freedom, np.array(p) / 2)
        found[reader] = (t_P / np.sqrt(freedom + t_P**2)).astype(np.float32)
    return found


def _correlations(values_SB: np.ndarray, kept_S: np.ndarray, centred_SY: np.ndarray) -> np.ndarray:
    """Return correlations (B, Y) float32 over the people kept; targets are 0 for all others, and of mean 0 over these."""
    some_SB = values_SB[kept_S]
    spread_B = np.sqrt(np.einsum("sb,sb->b", some_SB, some_SB) - some_SB.sum(axis=0) ** 2 / len(some_SB))
    some_SY = centred_SY[kept_S].astype(np.float32)
    size_Y = np.sqrt((some_SY**2).sum(axis=0))
    # An edge that does not vary among these people goes with nothing.
    spread_B = np.where(spread_B > 1e-4, spread_B, np.inf)
    return np.asarray(some_SB.T @ some_SY / np.maximum(size_Y, 1e-12) / spread_B[:, None])


def _of_edges(reader: str, r_BY: np.ndarray, threshold: np.ndarray | np.float32) -> np.ndarray:
    """Return the weights (B, Y) of edges in a sum."""
    if reader == "weighted":
        return np.asarray(np.sign(r_BY) * np.maximum(np.abs(r_BY) - threshold, 0.0))
    return np.asarray((r_BY > threshold).astype(np.float32) - (r_BY < -threshold))
