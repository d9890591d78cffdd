"""P-values by permuting or flipping people, families as wholes, and their correction for the number of tests.

Shape letters: `S` subject, `N` training, `C` column of a basis of covariates, `D` permutation, `B` draw of signs, `F` family.
"""

from __future__ import annotations

import numpy as np

from dtb.evaluate.scores.statistics import PartialCorrelation, Statistic, of_trainings, orthonormal


def deal(family_S: np.ndarray, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return permutations of people (D, S): families as wholes, exchanged with families of the same size."""
    _, family_S = np.unique(family_S, return_inverse=True)
    order_DS = np.empty((num_draws, len(family_S)), np.int64)
    by_family, size_F = np.argsort(family_S, kind="stable"), np.bincount(family_S)
    begin_F = np.cumsum(size_F) - size_F
    for size in np.unique(size_F):
        member_Fm = by_family[begin_F[size_F == size][:, None] + np.arange(size)]
        places_DF = rng.permuted(np.broadcast_to(np.arange(len(member_Fm)), (num_draws, len(member_Fm))), axis=1)
        order_DS[:, member_Fm.ravel()] = member_Fm[places_DF].reshape(num_draws, -1)
    return order_DS


def freedman_lane_p(
    statistic: Statistic,
    observed_S: np.ndarray,
    predicted_S: np.ndarray,
    num_draws: int,
    seed: int,
    family_S: np.ndarray | None = None,
    shared: float = 0.0,
) -> float:
    """Return the p-value of a partial r > 0, by permuting residuals over people (Freedman and Lane 1983).

    What is dealt is the residual of the observed; from what comes of it covariates are taken out again before it is correlated (Freedman
    and Lane 1983, J Bus Econ Stat 1, 292; Winkler et al. 2014, NeuroImage 92, 381).

    Parameters
    ----------
    statistic : PartialCorrelation or OverTrainings
        With several trainings the same people are dealt in all of them.
    observed_S, predicted_S : (S,) or (N, S)
    num_draws : int
    seed : int
    family_S : (S,) int, optional
        Families, which are dealt as wholes (Winkler et al. 2015, NeuroImage 123, 253).
    shared : float
        See `wider_where_shared`.

    Returns
    -------
    float
        (1 + draws at least as large) / (1 + draws); NaN where the partial r is not defined.
    """
    own = float(statistic(observed_S, predicted_S, np.ones((1, observed_S.shape[-1])))[0])
    if not np.isfinite(own):
        return float("nan")
    rows = list(zip(of_trainings(statistic), np.atleast_2d(observed_S), np.atleast_2d(predicted_S), strict=True))
    partials = [one for one, _, _ in rows if isinstance(one, PartialCorrelation)]
    assert len(partials) == len(rows), "only partial correlations have residuals to deal"
    used_S = np.all([one.paired(*values)[3] for one, (_, *values) in zip(partials, rows, strict=True)], axis=0)
    rng = np.random.default_rng([seed, 0x9E12])
    order_DS = deal(np.arange(int(used_S.sum())) if family_S is None else family_S[used_S], num_draws, rng)
    drawn_D = np.zeros(num_draws)
    reached = 0.0
    for one, (_, *values) in zip(partials, rows, strict=True):
        basis_SC = orthonormal(one.basis_SC[used_S])
        seen_S, said_S = (values_S[used_S] - basis_SC @ (basis_SC.T @ values_S[used_S]) for values_S in values)
        dealt_DS = seen_S[order_DS]
        left_D = np.maximum((dealt_DS**2).sum(axis=1) - ((dealt_DS @ basis_SC) ** 2).sum(axis=1), 1e-300)
        size = np.sqrt((said_S**2).sum())
        drawn_D += dealt_DS @ said_S / (np.sqrt(left_D) * size * len(rows))
        reached += seen_S @ said_S / (np.sqrt((seen_S**2).sum()) * size * len(rows))
    drawn_D *= wider_where_shared(shared)
    return float((1 + (drawn_D >= reached - 1e-12).sum()) / (1 + num_draws))


def wider_where_shared(shared: float) -> float:
    """Return how much wider a pooled figure spreads from cohort to cohort than draws with fixed predictions do, where nothing is predicted.

    Permutations hold predictions fixed. That is right for one fold, whose people no training saw. Where folds are pooled, what Ann does
    teaches the twin that predicts Bob, and what Bob does teaches the twin that predicts Ann. Let what is predicted of somebody be a sum of
    what others did, weighted by how alike their connectomes are. Then this pair gives the same product of both people's behaviour twice.
    Permuted, the two are independent; in truth they are one. So the variance of the sum over pairs is twice that of the draws, whatever
    the weights are. Trainings that stop early, or choose their penalty, spread less than that.

    Parameters
    ----------
    shared : float
        Share of such pairs: of the people whom a fold's training saw, those who are tested in other folds. 1 where all folds are pooled.

    Examples
    --------
    >>> wider_where_shared(0.0), round(wider_where_shared(1.0), 3)
    (1.0, 1.414)
    """
    return float(np.sqrt(1.0 + shared))


def sign_flip_p(
    gain_S: np.ndarray,
    num_draws: int,
    seed: int,
    leverage: float = 0.0,
    family_S: np.ndarray | None = None,
    shared: float = 0.0,
) -> float:
    """Return the p-value of a mean over people > 0, by flipping signs at random.

    Parameters
    ----------
    gain_S : (S,)
    num_draws : int
    seed : int
    leverage : float
        Columns taken out of what the values were computed from, over people. Flipped, such values vary less than they do from sample to
        sample, by that share, which is made up for: effective scores in small samples (Hemerik et al. 2020, J R Stat Soc B 82, 841).
    family_S : (S,) int, optional
        Families, whose signs are flipped together.
    shared : float
        See `wider_where_shared`.

    Returns
    -------
    float
        (1 + draws at least as large) / (1 + draws); NaN without people.
    """
    known_S = np.isfinite(gain_S)
    if not known_S.any():
        return float("nan")
    gain_S = gain_S[known_S]
    _, family_S = np.unique(np.arange(len(gain_S)) if family_S is None else family_S[known_S], return_inverse=True)
    rng = np.random.default_rng([seed, 0x51B5])
    signs_BS = rng.choice([-1.0, 1.0], size=(num_draws, int(family_S.max()) + 1))[:, family_S]
    drawn_B = signs_BS @ gain_S / len(gain_S) / np.sqrt(1 - leverage) * wider_where_shared(shared)
    return float((1 + (drawn_B >= gain_S.mean() - 1e-15).sum()) / (1 + num_draws))


def holm(p_values: list[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), which controls the chance of any false rejection; NaN stays NaN.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    present = sorted((p, place) for place, p in enumerate(p_values) if np.isfinite(p))
    corrected = [float("nan")] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(present):
        largest = max(largest, min(1.0, (len(present) - rank) * p))
        corrected[place] = largest
    return corrected
