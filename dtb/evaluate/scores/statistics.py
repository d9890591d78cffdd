"""Statistics over people: bootstrap draws shared by the twin and every baseline, correlations, partial correlations, intervals.

A bootstrap draw is a row of counts, how often each person was drawn, so that any statistic made of weighted sums is computed for
all draws in one matrix product, and twin and baselines are compared on the same draws (paired). People, not trials, are drawn:
trials of one person are not independent.

Where figures rest on several trainings of a twin, values are kept by training and person, and a statistic is the mean of what it is for
each training (`OverTrainings`): the mean prediction of several twins is an ensemble's, and says more than any of them.

Shape letters: `B` bootstrap draw, `S` subject, `N` training, `C` column of a basis of covariates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""`statistic(observed_S, predicted_S, weights_BS) -> (B,)`; people with a NaN in either do not count.

One that is `OverTrainings` takes (N, S) in place of (S,).
"""

STREAM = 0
"""Of the draws and permutations behind figures and certificate: one for all, so that no seed decides a verdict."""
FEWEST_FOR_R = 3
"""Two people always lie on a line."""
FEWEST_BEYOND = 3
"""So many people more than columns a partial correlation needs."""
FEWEST_PEOPLE = 5
"""Below this many people the bootstrap has too few distinct draws for a percentile to mean anything."""


def draw_weights(num_people: int, num_draws: int, seed: int, family_S: np.ndarray | None = None) -> np.ndarray:
    """Return bootstrap weights of people, drawn with replacement, relatives together.

    Parameters
    ----------
    num_people, num_draws, seed : int
    family_S : (S,) int, optional
        Number of each person's family; everybody is one's own if not given.

    Returns
    -------
    weights_BS : (num_draws, num_people) float64
        How often each person was drawn; every row sums to the number of people, where nobody has relatives.
    """
    rng = np.random.default_rng([seed, 0x0B0075])
    _, family_S = np.unique(np.arange(num_people) if family_S is None else family_S, return_inverse=True)
    num_families = int(family_S.max(initial=-1)) + 1
    drawn_BF = rng.multinomial(num_families, np.full(num_families, 1 / num_families), size=num_draws)
    return drawn_BF[:, family_S].astype(np.float64)


def mean_of(_observed_S: np.ndarray, values_S: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
    """Return the mean of one value per person in every draw; NaN where nobody with a value was drawn."""
    present_S = np.isfinite(values_S)
    return _divide(weights_BS @ np.where(present_S, values_S, 0.0), weights_BS @ present_S.astype(np.float64))


def correlation(observed_S: np.ndarray, predicted_S: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
    """Return Pearson's r over people in every draw; NaN where either does not vary, and of fewer than three people.

    Examples
    --------
    >>> float(correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6]), np.ones((1, 3)))[0].round(6))
    1.0
    """
    x_S, y_S, weights_BS = _paired(observed_S, predicted_S, weights_BS)
    if len(x_S) < FEWEST_FOR_R:
        return np.full(len(weights_BS), np.nan)
    rounding_x, rounding_y = _rounding(x_S), _rounding(y_S)
    x_S, y_S = x_S - _mean(x_S), y_S - _mean(y_S)
    # All sums in one product, which reads the draws once: they are by far the largest array.
    sums_B = weights_BS @ np.stack([np.ones_like(x_S), x_S, y_S, x_S * y_S, x_S**2, y_S**2], axis=1)
    means_B = _divide(sums_B[:, 1:], sums_B[:, :1])
    mean_x_B, mean_y_B = means_B[:, 0], means_B[:, 1]
    covariance_B = means_B[:, 2] - mean_x_B * mean_y_B
    variance_x_B, variance_y_B = means_B[:, 3] - mean_x_B**2, means_B[:, 4] - mean_y_B**2
    varies_B = (variance_x_B > rounding_x**2) & (variance_y_B > rounding_y**2)
    return np.where(
        varies_B, _divide(covariance_B, np.sqrt(np.where(varies_B, variance_x_B * variance_y_B, 1.0))), np.nan
    )


def explained_variance(observed_S: np.ndarray, predicted_S: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
    """Return R2 = 1 - sum (o - p)^2 / sum (o - mean o)^2 over people in every draw.

    Unlike r, it falls when predictions are shifted or have the wrong scale, and is negative where the mean would predict better.
    """
    observed_S, predicted_S, weights_BS = _paired(observed_S, predicted_S, weights_BS)
    rounding = _rounding(observed_S)
    shift = _mean(observed_S)
    observed_S, predicted_S = observed_S - shift, predicted_S - shift
    total_B = weights_BS.sum(axis=1)
    mean_B = _divide(weights_BS @ observed_S, total_B)
    spread_B = weights_BS @ observed_S**2 - total_B * mean_B**2
    varies_B = spread_B > total_B * rounding**2
    return np.where(varies_B, 1 - _divide(weights_BS @ (observed_S - predicted_S) ** 2, spread_B), np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class PartialCorrelation:
    """Partial correlation over people, covariates regressed out of both, in every draw.

    Attributes
    ----------
    basis_SC : (S, C)
        What is taken out by least squares among the people that count, in each draw anew, the mean included. People with a NaN do not
        count.
    """

    basis_SC: np.ndarray

    def __call__(self, observed_S: np.ndarray, predicted_S: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
        """Return r in every draw; NaN where fewer than three people more than there are columns were drawn, or either does not vary."""
        x_S, y_S, basis_SC, used_S = self.paired(observed_S, predicted_S)
        num_columns = basis_SC.shape[1]
        if len(x_S) < num_columns + FEWEST_BEYOND:
            return np.full(len(weights_BS), np.nan)
        x_S, y_S = (values_S - _mean(values_S) for values_S in (x_S, y_S))
        size_x, size_y = (float(np.sqrt((values_S**2).sum())) for values_S in (x_S, y_S))
        varies = size_x > len(x_S) * _rounding(observed_S) and size_y > len(y_S) * _rounding(predicted_S)
        if not varies:
            return np.full(len(weights_BS), np.nan)
        columns = np.column_stack([basis_SC, x_S / size_x, y_S / size_y])
        upper = np.triu_indices(columns.shape[1])
        drawn_BS = weights_BS[:, used_S]
        gram = np.empty((len(drawn_BS), columns.shape[1], columns.shape[1]))
        gram[:, upper[0], upper[1]] = drawn_BS @ (columns[:, upper[0]] * columns[:, upper[1]])
        gram[:, upper[1], upper[0]] = gram[:, upper[0], upper[1]]
        inner, across = gram[:, :num_columns, :num_columns], gram[:, :num_columns, num_columns:]
        # The columns are orthonormal: the ridge matters only where a draw lacks all who make one up, and then takes nothing out by it.
        explained = across.transpose(0, 2, 1) @ np.linalg.solve(inner + 1e-10 * np.eye(num_columns), across)
        rest = gram[:, num_columns:, num_columns:] - explained
        enough_B = (drawn_BS > 0).sum(axis=1) >= num_columns + FEWEST_BEYOND
        # What is left of a value that covariates explain wholly is rounding.
        varies_B = enough_B & (rest[:, 0, 0] > 1e-10) & (rest[:, 1, 1] > 1e-10)
        scale_B = np.sqrt(np.where(varies_B, rest[:, 0, 0] * rest[:, 1, 1], 1.0))
        return np.where(varies_B, rest[:, 0, 1] / scale_B, np.nan)

    def draws(self, observed_S: np.ndarray, predicted_S: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
        """Return bootstrap draws of r whose percentiles are an interval, however many covariates there are.

        A draw lacks a third of the people and has as many covariates as ever: with them taken out in each draw anew, r varies by more than
        from sample to sample. So what is drawn are the residuals of all people. These vary by too little, as if no covariate had been
        fitted. In Fisher's z they are widened for the freedom that is lost (Fisher 1924, Metron 3, 329) and, as Student's t is, for a
        spread that is estimated. Their middle is moved to r.
        """
        r = self(observed_S, predicted_S, np.ones((1, len(observed_S))))[0]
        x_S, y_S, basis_SC, used_S = self.paired(observed_S, predicted_S)
        if not np.isfinite(r):
            return np.full(len(weights_BS), np.nan)
        basis_SC = orthonormal(basis_SC)
        x_S, y_S = (values_S - basis_SC @ (basis_SC.T @ values_S) for values_S in (x_S, y_S))
        z_B = _to_z(correlation(x_S, y_S, weights_BS[:, used_S]))
        widened = np.sqrt(len(x_S) / max(len(x_S) - basis_SC.shape[1] - 4, 1))
        return np.tanh(_to_z(r) + widened * (z_B - np.nanmean(z_B)))

    def paired(
        self, observed_S: np.ndarray, predicted_S: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return both values and the basis of the people with all values, and the mask of these people."""
        used_S = np.isfinite(observed_S) & np.isfinite(predicted_S) & np.isfinite(self.basis_SC).all(axis=1)
        return observed_S[used_S], predicted_S[used_S], self.basis_SC[used_S], used_S


@dataclasses.dataclass(frozen=True, eq=False)
class OverTrainings:
    """The mean over trainings of a statistic of each; of (N, S) values.

    Attributes
    ----------
    statistics : tuple of Statistic
        Of each training; they differ where what is taken out does.
    """

    statistics: tuple[Statistic, ...]

    def __call__(self, observed_NS: np.ndarray, predicted_NS: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
        """Return the mean in every draw."""
        found = [
            one(observed_S, predicted_S, weights_BS)
            for one, observed_S, predicted_S in zip(self.statistics, observed_NS, predicted_NS, strict=True)
        ]
        return np.asarray(np.mean(found, axis=0))


def draws_of(
    statistic: Statistic, observed_S: np.ndarray, predicted_S: np.ndarray, weights_BS: np.ndarray
) -> np.ndarray:
    """Return the bootstrap draws of a statistic, whose percentiles are its interval."""
    if isinstance(statistic, OverTrainings):
        rows = zip(statistic.statistics, observed_S, predicted_S, strict=True)
        return np.asarray(np.mean([draws_of(one, did_S, said_S, weights_BS) for one, did_S, said_S in rows], axis=0))
    if isinstance(statistic, PartialCorrelation):
        return statistic.draws(observed_S, predicted_S, weights_BS)
    return statistic(observed_S, predicted_S, weights_BS)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes
    ----------
    value, lower, upper : float
        NaN where the figure or its interval does not exist; `note` then says why.
    num_people : int
        People it rests on.
    note : str
    """

    value: float
    lower: float
    upper: float
    num_people: int
    note: str = ""


def estimate(
    statistic: Statistic, observed_S: np.ndarray, predicted_S: np.ndarray, weights_BS: np.ndarray, confidence: float
) -> Estimate:
    """Return a statistic over people and its percentile bootstrap interval.

    Parameters
    ----------
    statistic : Statistic
    observed_S, predicted_S : (S,) or (N, S) float64
        NaN for people without the quantity.
    weights_BS : (B, S) float64
        From `draw_weights`.
    confidence : float
        Coverage, for example 0.95.

    Returns
    -------
    Estimate
    """
    num_people = _count(statistic, np.isfinite(observed_S) & np.isfinite(predicted_S))
    value = _at(statistic, observed_S, predicted_S)
    draws_B = draws_of(statistic, observed_S, predicted_S, weights_BS)
    return Estimate(value, *_interval(draws_B, confidence, num_people), num_people, _note(value, num_people))


def difference(
    statistic: Statistic,
    observed_S: np.ndarray,
    first_S: np.ndarray,
    second_S: np.ndarray,
    weights_BS: np.ndarray,
    confidence: float,
) -> Estimate:
    """Return the statistic of one predictor minus that of another, over the people that both predict, on the same draws."""
    both_S = np.isfinite(observed_S) & np.isfinite(first_S) & np.isfinite(second_S)
    observed_S = np.where(both_S, observed_S, np.nan)
    first_S, second_S = np.where(both_S, first_S, np.nan), np.where(both_S, second_S, np.nan)
    value = _at(statistic, observed_S, first_S) - _at(statistic, observed_S, second_S)
    draws_B, others_B = (draws_of(statistic, observed_S, said_S, weights_BS) for said_S in (first_S, second_S))
    num_people = _count(statistic, both_S)
    return Estimate(value, *_interval(draws_B - others_B, confidence, num_people), num_people, _note(value, num_people))


def _count(statistic: Statistic, known_S: np.ndarray) -> int:
    """Return the number of people with all values known, in all trainings."""
    for one, row_S in zip(of_trainings(statistic), np.atleast_2d(known_S), strict=True):
        if isinstance(one, PartialCorrelation):
            known_S = known_S & row_S & np.isfinite(one.basis_SC).all(axis=1)
    return int(np.atleast_2d(known_S).all(axis=0).sum())


def of_trainings(statistic: Statistic) -> tuple[Statistic, ...]:
    """Return the statistic of each training."""
    return statistic.statistics if isinstance(statistic, OverTrainings) else (statistic,)


def _at(statistic: Statistic, observed_S: np.ndarray, predicted_S: np.ndarray) -> float:
    return float(statistic(observed_S, predicted_S, np.ones((1, observed_S.shape[-1])))[0])


def _interval(draws_B: np.ndarray, confidence: float, num_people: int) -> tuple[float, float]:
    finite_B = draws_B[np.isfinite(draws_B)]
    # Where many draws have no value, those that have one are a selection.
    if num_people < FEWEST_PEOPLE or len(finite_B) < 0.9 * len(draws_B):
        return float("nan"), float("nan")
    lower, upper = np.quantile(finite_B, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(lower), float(upper)


def _note(value: float, num_people: int) -> str:
    if num_people == 0:
        return "no person has both"
    if not np.isfinite(value):
        return "not defined: no variation over people, or too few of them"
    if num_people < FEWEST_PEOPLE:
        return f"{num_people} people are too few for an interval"
    return ""


def _paired(
    first_S: np.ndarray, second_S: np.ndarray, weights_BS: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both values without the people with a NaN in either."""
    both_S = np.isfinite(first_S) & np.isfinite(second_S)
    return first_S[both_S], second_S[both_S], weights_BS if both_S.all() else weights_BS[:, both_S]


def _to_z(r: np.ndarray | float) -> np.ndarray:
    """Return Fisher's z; of a correlation of 1, as of one that is next to it."""
    return np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))


def _mean(values_S: np.ndarray) -> float:
    return float(values_S.mean()) if len(values_S) else 0.0


def _rounding(values_S: np.ndarray) -> float:
    """Return the standard deviation below which values of this size are equal but for rounding, of single precision too."""
    return 1e-7 * float(np.fmax.reduce(np.abs(values_S), initial=0.0))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan)


def orthonormal(columns_SC: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (S, C) of what columns span, the first column's direction first."""
    scaled_SC = columns_SC / np.maximum(np.sqrt((columns_SC**2).sum(axis=0)), 1e-300)
    first_S1 = scaled_SC[:, :1]
    rest_SC = scaled_SC[:, 1:] - first_S1 @ (first_S1.T @ scaled_SC[:, 1:])
    vectors_SC, values_C, _ = np.linalg.svd(rest_SC, full_matrices=False)
    return np.concatenate([first_S1, vectors_SC[:, values_C > 1e-6]], axis=1)
