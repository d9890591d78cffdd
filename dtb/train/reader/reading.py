"""From training people's connectomes and figures to the latents that a twin begins at.

Everything is nested: a latent's size says how well people were predicted who had no part in its axis, in the readers' fits, their settings
or their weights. What readers say of a training person is from fits to other families, as it will be of people whom training never sees.

Shape letters: `S` training person, `E` connectome edge, `Y` figure, `Z` latent, `A` axis of a kind of figures, `P` setting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy.special import ndtri

from dtb.train.reader.axes import MOST_AXES, noise_covariance, readable_axes, reliable_axes
from dtb.train.reader.edges import EdgeRows
from dtb.train.reader.readers import READERS, Fitted, Folds, Readers
from dtb.train.reader.stack import Stack, cross_fitted, learn

FEWEST_PEOPLE = 20
"""A figure that fewer training people have is not regressed on."""
NUM_FOLDS = 5
_CHANCE = 0.05
"""With this probability any latent has a size where connectomes say nothing."""


@dataclasses.dataclass(frozen=True, eq=False)
class Figures:
    """One kind of figures of some people: of behaviour, say.

    Attributes
    ----------
    kind : str
    values_SY : (S, Y) float64
        NaN where absent.
    halves : pair of (S, Y) float64 or None
        The same from two halves of people's trials, where errors are to be known.
    trials_S : (S,) float64 or None
        How many trials a person's figures are from.
    """

    kind: str
    values_SY: np.ndarray
    halves: tuple[np.ndarray, np.ndarray] | None = None
    trials_S: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """Axes of one kind of figures: a person's score is ``(figures - mean) / spread @ axes``, with absent figures at the mean."""

    kept_Y: np.ndarray
    mean_Y: np.ndarray
    spread_Y: np.ndarray
    axes_YA: np.ndarray

    def scores(self, values_SY: np.ndarray) -> np.ndarray:
        """Return people's scores (S, A); NaN for a person without any figure."""
        standard_SY = (values_SY[:, self.kept_Y] - self.mean_Y) / self.spread_Y
        known_S = np.isfinite(standard_SY).any(axis=1)
        return np.where(known_S[:, None], np.nan_to_num(standard_SY) @ self.axes_YA, np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """Latents, as readers see them and as people's own figures do.

    Attributes
    ----------
    reader_EZ : (E, Z) float32
        ``standardised edges @ reader_EZ`` is what connectomes say of latents.
    read_SZ : (S, Z) float64
        The same of training people, from fits to other families; 0 for a person without a connectome.
    own_SZ : (S, Z) float64
        What their own figures say, with mean 0 and variance 1 over people; NaN where they say nothing.
    own_variance_SZ : (S, Z) float64
        Variance of its error; NaN where that is not known.
    size_Z : (Z,) float64
        How well people are predicted who had no part in a latent, as a correlation: the standard deviation of what readers say. The
        largest come first.
    summary : list of dict
        Of each latent: its kind of figures, its size, the readers' weights, and the mean variance of the error of people's own scores.
    axes : tuple of Axes
        Of each latent, in order.
    """

    reader_EZ: np.ndarray
    read_SZ: np.ndarray
    own_SZ: np.ndarray
    own_variance_SZ: np.ndarray
    size_Z: np.ndarray
    summary: list[dict[str, Any]]
    axes: tuple[Axes, ...]


def folds_of(family_S: np.ndarray) -> np.ndarray:
    """Return folds (S,) at random that divide no family."""
    _, family_S = np.unique(family_S, return_inverse=True)
    num_families = int(family_S.max(initial=-1)) + 1
    return np.asarray((np.random.default_rng(0).permutation(num_families) % NUM_FOLDS)[family_S])


def read(
    edges: EdgeRows,
    product_SM: np.ndarray,
    has_S: np.ndarray,
    figures: Sequence[Figures],
    family_S: np.ndarray,
    num_latents: int,
) -> Reading | None:
    """Read latents from connectomes.

    Parameters
    ----------
    edges : EdgeRows
        Of the people who have a connectome, in order, standardised by them.
    product_SM : (S, M) float64
        Their `dtb.train.reader.readers.products`.
    has_S : (S,) bool
        Who has.
    figures : sequence of Figures
        Of everybody.
    family_S : (S,) int
        Number of each person's family.
    num_latents : int

    Returns
    -------
    Reading or None
        None if there are too few people or families for any figure.
    """
    begun = [_begin(one, has_S) for one in figures]
    used = [(place, axes) for place, axes in enumerate(begun) if axes is not None]
    fold_S = folds_of(family_S[has_S])
    if not used or len(np.unique(fold_S)) < NUM_FOLDS:
        return None
    num_families = len(np.unique(family_S[has_S]))
    standard = [np.nan_to_num(axes.scores(figures[place].values_SY))[has_S] for place, axes in used]
    readers = Readers(edges, fold_S, product_SM)
    nested = _Nested(readers, fold_S, standard, min(num_latents, MOST_AXES))
    size_A, said_SA = nested.sizes(num_families), nested.left_out_SA
    order = [axis for axis in np.argsort(-size_A, kind="stable")[:num_latents] if size_A[axis] > 0]
    of_axis = [(place, axes, column) for place, axes in nested.axes_of(used) for column in range(axes.axes_YA.shape[1])]
    chosen = [
        (place, dataclasses.replace(axes, axes_YA=axes.axes_YA[:, [column]]))
        for place, axes, column in (of_axis[axis] for axis in order)
    ]
    size_Z, factor_Z = size_A[order], size_A[order] / np.maximum(said_SA[:, order].std(axis=0), 1e-12)
    stack = nested.stack_of(order)
    read_SZ = np.zeros((len(has_S), num_latents))
    read_SZ[has_S, : len(order)] = (said_SA[:, order] - said_SA[:, order].mean(axis=0)) * factor_Z
    own_SZ, variance_SZ = np.full((2, len(has_S), num_latents), np.nan)
    kinds = list(chosen)
    for place, axes in used:
        taken_YZ = [axis.axes_YA for other, axis in chosen if other == place]
        kinds += _reliable(figures[place], axes, place, taken_YZ, has_S, num_latents)
    summary = []
    for latent, (place, axis) in enumerate(kinds[:num_latents]):
        own_SZ[:, latent], variance_SZ[:, latent] = _own(figures[place], axis)
        said: dict[str, Any] = {"latent": latent, "figures": figures[place].kind, "r": 0.0}
        if latent < len(order):
            said["r"] = round(float(size_Z[latent]), 4)
            said["weights"] = {reader: round(float(stack.weight[reader][latent]), 4) for reader in READERS}
        known_S = variance_SZ[np.isfinite(variance_SZ[:, latent]), latent]
        said["own_error_variance"] = round(float(known_S.mean()), 4) if len(known_S) else None
        summary.append(said)
    sizes_Z = np.zeros(num_latents)
    sizes_Z[: len(order)] = size_Z
    reader_EZ = np.zeros((edges.num_edges, num_latents), np.float32)
    if order:
        weight = {reader: weight_Z * factor_Z for reader, weight_Z in stack.weight.items()}
        reader_EZ[:, : len(order)] = readers.weights(nested.scores[None][:, order], stack.setting, weight)
    axes_Z = tuple(axis for _, axis in kinds[:num_latents])
    return Reading(reader_EZ, read_SZ, own_SZ, variance_SZ, sizes_Z, summary, axes_Z)


class _Nested:
    """Fits to all folds but one and to all but two, and what follows from them.

    Parameters
    ----------
    readers : Readers
    fold_S : (S,) int
    standard : list of (S, Y)
        Standardised figures of each kind.
    num_axes : int
    """

    def __init__(self, readers: Readers, fold_S: np.ndarray, standard: list[np.ndarray], num_axes: int) -> None:
        self._fold_S, folds = fold_S, range(NUM_FOLDS)
        ones = [frozenset([one]) for one in folds]
        pairs = [frozenset(pair) for pair in combinations(folds, 2)]
        all_SY = np.concatenate(standard, axis=1)
        fitted = readers.fit(dict.fromkeys([*ones, *pairs], all_SY))
        ends = np.cumsum([0, *(one_SY.shape[1] for one_SY in standard)])
        kinds = [slice(begin, end) for begin, end in pairwise(ends)]
        self._axes: dict[int | None, list[np.ndarray]] = {}
        self.scores: dict[int | None, np.ndarray] = {}
        for outer in (None, *folds):
            others_S = fold_S != outer
            left_out = self._left_out(fitted, outer, slice(None))
            said_SY = cross_fitted(left_out, all_SY[others_S], fold_S[others_S])
            axes, scores = [], []
            for kind, standard_SY in zip(kinds, standard, strict=True):
                axes_YA = readable_axes(said_SY[:, kind], standard_SY[others_S], num_axes)
                fitted_SA = standard_SY[others_S] @ axes_YA
                axes_YA = axes_YA / np.maximum(fitted_SA.std(axis=0), 1e-12)
                axes.append(axes_YA)
                scores.append(standard_SY @ axes_YA - (standard_SY[others_S] @ axes_YA).mean(axis=0))
            self._axes[outer], self.scores[outer] = axes, np.concatenate(scores, axis=1)
        num = self.scores[None].shape[1]
        first, second = slice(0, num), slice(num, 2 * num)
        targets = {one: np.concatenate([self.scores[None], self.scores[min(one)]], axis=1) for one in ones}
        targets |= {pair: np.concatenate([self.scores[min(pair)], self.scores[max(pair)]], axis=1) for pair in pairs}
        fitted = readers.fit(targets)
        self._said, self._did = np.zeros_like(self.scores[None]), np.zeros_like(self.scores[None])
        for outer in folds:
            here_S = fold_S == outer
            columns = {pair: first if outer == min(pair) else second for pair in pairs if outer in pair}
            left_out = self._left_out(fitted, outer, columns)
            stack = learn(left_out, self.scores[outer][~here_S])
            said = {name: said_PQY[:, :, second] for name, said_PQY in fitted[frozenset([outer])].said.items()}
            self._said[here_S], self._did[here_S] = stack.of(said), self.scores[outer][here_S]
        self._final = self._left_out(fitted, None, dict.fromkeys(ones, first))
        self.left_out_SA = cross_fitted(self._final, self.scores[None], fold_S)

    def sizes(self, num_families: int) -> np.ndarray:
        """Return how well each axis predicts people (A,) who had no part in it; 0 where that may be chance.

        Axes that were chosen on the same people seem to predict them even where there is nothing to predict.
        """
        explained_A = 1 - ((self._did - self._said) ** 2).sum(axis=0) / np.maximum((self._did**2).sum(axis=0), 1e-12)
        r_A = np.sqrt(np.maximum(explained_A, 0.0))
        return np.where(r_A * np.sqrt(num_families) > -ndtri(_CHANCE / len(r_A)), r_A, 0.0)

    def axes_of(self, used: list[tuple[int, Axes]]) -> list[tuple[int, Axes]]:
        """Return the axes of each kind of figures that all people gave."""
        return [
            (place, dataclasses.replace(axes, axes_YA=axes_YA))
            for (place, axes), axes_YA in zip(used, self._axes[None], strict=True)
        ]

    def stack_of(self, axes: list[int]) -> Stack:
        """Return the stack of some axes, its weights learnt on everybody."""
        return learn({name: said_PSA[:, :, axes] for name, said_PSA in self._final.items()}, self.scores[None][:, axes])

    def _left_out(
        self, fitted: dict[Folds, Fitted], outer: int | None, columns: slice | dict[Folds, slice]
    ) -> dict[str, np.ndarray]:
        """Return what fits without each fold (and without the outer one) say of that fold, (P, S, Y) by reader, of all but the outer."""
        others = np.flatnonzero(self._fold_S != outer)
        found: dict[str, np.ndarray] = {}
        for fold in range(NUM_FOLDS):
            if fold == outer:
                continue
            folds = frozenset([fold] if outer is None else [fold, outer])
            here_Q = self._fold_S[np.isin(self._fold_S, list(folds))] == fold
            some = columns if isinstance(columns, slice) else columns[folds]
            for name, said_PQY in fitted[folds].said.items():
                of_fold_PQY = said_PQY[:, here_Q][:, :, some]
                shape = (len(of_fold_PQY), len(others), of_fold_PQY.shape[2])
                found.setdefault(name, np.empty(shape))[:, self._fold_S[others] == fold] = of_fold_PQY
        return found


def _begin(figures: Figures, has_S: np.ndarray) -> Axes | None:
    """Return the figures that can be used, each an axis of its own; None without any."""
    values_SY = figures.values_SY[has_S]
    present_SY = np.isfinite(values_SY)
    count_Y = present_SY.sum(axis=0)
    mean_Y = np.where(present_SY, values_SY, 0.0).sum(axis=0) / np.maximum(count_Y, 1)
    square_Y = np.where(present_SY, (values_SY - mean_Y) ** 2, 0.0).sum(axis=0)
    spread_Y = np.sqrt(square_Y / np.maximum(count_Y, 1))
    kept_Y = (count_Y >= FEWEST_PEOPLE) & (spread_Y > 1e-9)
    if not kept_Y.any():
        return None
    return Axes(kept_Y, mean_Y[kept_Y], spread_Y[kept_Y], np.eye(int(kept_Y.sum())))


def _reliable(
    figures: Figures, axes: Axes, place: int, taken: list[np.ndarray], has_S: np.ndarray, num_latents: int
) -> list[tuple[int, Axes]]:
    """Return axes that connectomes do not show and people keep, the most reliable first."""
    if figures.halves is None:
        return []
    noise_YY = noise_covariance(_kept(figures.halves, axes.kept_Y), axes.spread_Y)
    standard_SY = np.nan_to_num(axes.scores(figures.values_SY))[has_S]
    taken_YZ = np.concatenate([np.zeros((len(noise_YY), 0)), *taken], axis=1)
    found_YZ, _ = reliable_axes(standard_SY, noise_YY, taken_YZ, num_latents)
    found_YZ = found_YZ / np.maximum((standard_SY @ found_YZ).std(axis=0), 1e-12)
    return [(place, dataclasses.replace(axes, axes_YA=found_YZ[:, [axis]])) for axis in range(found_YZ.shape[1])]


def _own(figures: Figures, axis: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Return everybody's own score (S,) of an axis, and the variance of its error (S,)."""
    own_S = axis.scores(figures.values_SY)[:, 0]
    own_S = own_S - np.nanmean(own_S)
    if figures.halves is None or figures.trials_S is None:
        return own_S, np.full(len(own_S), np.nan)
    noise_YY = noise_covariance(_kept(figures.halves, axis.kept_Y), axis.spread_Y)
    typical = np.mean(figures.trials_S[figures.trials_S > 0]) if (figures.trials_S > 0).any() else 1.0
    variance = float((axis.axes_YA.T @ noise_YY @ axis.axes_YA).item())
    return own_S, np.where(np.isfinite(own_S), variance * typical / np.maximum(figures.trials_S, 1.0), np.nan)


def _kept(halves: tuple[np.ndarray, np.ndarray], kept_Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return halves[0][:, kept_Y], halves[1][:, kept_Y]
