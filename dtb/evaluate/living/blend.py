"""What training and validation people tell of a living twin: the level of its figures, how wide its intervals should be, and how much of it
a baseline is to be blended with.

A twin whose reaction times are distributed a little otherwise than people's, or whose people get faster from the first trials to the
later ones, errs for everybody alike, where the baselines beside it learn the level from training people. So does the twin: its figures are
moved by the mean error for people it was trained on and validation people, drawn towards 0 as far as that may be chance.

Its intervals hold what it knows of: the posterior, and the noise of so many trials. They do not hold that one tires and another learns,
however many trials are given. So a variance is added, the one that makes what validation people did most probable, drawn towards 0.

The blend is what the best linear baseline says after own trials, moved towards the living twin as far as validation people ask for.

A twin that knows less than a regression then costs nothing, and one that knows something else adds it. Validation people were not trained
on; few of them tell little, so that the share is drawn towards a half: equal weights are hard to beat where the best ones have to be
learnt (Smith & Wallis 2009, Oxf Bull Econ Stat 71, 331).

Shape letters: see `dtb.evaluate.scores.observed`; `V` validation person, `Y` figure, `N` point of a curve, `C` change that is tried, `X`
value that is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtb.evaluate.living.baselines import MANY, MIX, Said
from dtb.evaluate.living.table import normal_crps

LIVING, LIVING_BLEND = "living_twin", "living_blend"
BLEND_IN_WORDS = "the best linear baseline, moved towards the living twin as far as validation people ask for"
_EQUAL_PEOPLE = 20
"""The share is drawn towards a half as by so many people who ask for that."""
_SHARES = np.linspace(0.0, 1.0, 21)
_UNCHANGED_PEOPLE = 10
"""The added variance is drawn towards 0 as by so many people who do not change."""
_CHANGES = np.concatenate([[0.0], np.geomspace(1e-3, 1e2, 101)])
"""Added variances that are tried, in units of the median variance that is said."""


def level_of(error_VY: np.ndarray) -> np.ndarray:
    """Return what is to be added to each figure (Y,): the mean error, drawn towards 0 by its own variance.

    It is the positive-part estimator of James & Stein (1961, Proc 4th Berkeley Symp 1, 361) with one mean in place of many.

    Parameters
    ----------
    error_VY : (V, Y)
        How far people's figures lie above what is said of them after all that they may be asked for.

    Examples
    --------
    >>> level_of(np.array([[0.9, 1.0], [1.0, -1.0], [1.1, 0.1]])).round(2)
    array([1., 0.])
    """
    known_VY = np.isfinite(error_VY)
    number_Y = known_VY.sum(axis=0)
    mean_Y = np.where(known_VY, error_VY, 0.0).sum(axis=0) / np.maximum(number_Y, 1)
    squares_Y = np.where(known_VY, (error_VY - mean_Y) ** 2, 0.0).sum(axis=0)
    chance_Y = squares_Y / np.maximum(number_Y - 1, 1) / np.maximum(number_Y, 1)
    share_Y = 1.0 - chance_Y / np.maximum(mean_Y**2, np.finfo(np.float64).tiny)
    return np.where(number_Y > 1, mean_Y * np.maximum(share_Y, 0.0), 0.0)


def moved(said: Said, level_Y: np.ndarray) -> Said:
    """Return the same with so much added to each figure; single trials are left as they are."""
    return dataclasses.replace(said, mean_QY=said.mean_QY + level_Y)


def change_of(did_VY: np.ndarray, points: Sequence[Said]) -> np.ndarray:
    """Return the variance of people's change from given to judged trials, of each figure (Y,).

    Parameters
    ----------
    did_VY : (V, Y)
        What validation people did.
    points : sequence of Said
        What is said of them after more and more trials.

    Examples
    --------
    Of what is said with a variance of 1, errors have one of 4: people change by 3.

    >>> did_VY = 2 * np.random.default_rng(0).standard_normal((4000, 1))
    >>> change_of(did_VY, [Said(np.zeros((4000, 1)), np.ones((4000, 1)))]).round()
    array([3.])
    """
    squared_NVY = np.stack([(did_VY - said.mean_QY) ** 2 for said in points])
    variance_NVY = np.stack([said.variance_QY for said in points])
    known_NVY = np.isfinite(squared_NVY) & np.isfinite(variance_NVY)
    number_Y = known_NVY.any(axis=0).sum(axis=0)
    # The same people at every point: points are averaged, people are counted.
    weight_NVY = known_NVY / np.maximum(known_NVY.sum(axis=0), 1)
    found_Y = np.zeros(did_VY.shape[1])
    for figure in np.flatnonzero(number_Y):
        known_NV = known_NVY[..., figure]
        squared_X, variance_X, weight_X = (
            each[..., figure][known_NV] for each in (squared_NVY, variance_NVY, weight_NVY)
        )
        total_CX = variance_X + _CHANGES[:, None] * np.median(variance_X)
        surprise_C = (np.log(total_CX) + squared_X / total_CX) @ weight_X
        found_Y[figure] = _CHANGES[surprise_C.argmin()] * np.median(variance_X)
    return np.asarray(found_Y * number_Y / (number_Y + _UNCHANGED_PEOPLE))


def widened(said: Said, change_Y: np.ndarray) -> Said:
    """Return the same with a variance added to each figure; single trials are left as they are."""
    return dataclasses.replace(said, variance_QY=said.variance_QY + change_Y)


def partner_of(said: Mapping[str, Said]) -> Said:
    """Return the baseline that is blended: the linear mix; without connectomes the Gaussian over all figures."""
    return said[MIX] if MIX in said else said[MANY]


def share_of(did_VY: np.ndarray, partner: Said, twin: Said) -> np.ndarray:
    """Return the twin's share (Y,) that has the least CRPS for validation people, drawn towards a half.

    Parameters
    ----------
    did_VY : (V, Y)
        What they did.
    partner, twin : Said
        What is said of them.

    Examples
    --------
    Of two predictors whose errors are independent and as large, each has a half; one that errs without end has nothing.

    >>> rng = np.random.default_rng(0)
    >>> did_VY = np.zeros((4000, 2))
    >>> one, two = (Said(rng.standard_normal((4000, 2)) * [1, scale], np.ones((4000, 2))) for scale in (1, 50))
    >>> share_of(did_VY, one, two).round(1)
    array([0.5, 0. ])
    """
    crps_WVY = np.stack(
        [normal_crps(did_VY, *_mixed(partner, twin, np.full(did_VY.shape[1], share))) for share in _SHARES]
    )
    known_VY = np.isfinite(crps_WVY).all(axis=0)
    best_Y = _SHARES[np.where(known_VY, crps_WVY, 0.0).sum(axis=1).argmin(axis=0)]
    number_Y = known_VY.sum(axis=0)
    return np.asarray((number_Y * best_Y + _EQUAL_PEOPLE * 0.5) / (number_Y + _EQUAL_PEOPLE))


def blended(partner: Said, twin: Said, share_Y: np.ndarray) -> Said:
    """Return what both say together of figures; nothing of single trials."""
    return Said(*_mixed(partner, twin, share_Y))


def _mixed(partner: Said, twin: Said, share_Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance: both are shared, because errors that agree do not average out."""
    mean_QY = partner.mean_QY + share_Y * (twin.mean_QY - partner.mean_QY)
    return mean_QY, partner.variance_QY + share_Y * (twin.variance_QY - partner.variance_QY)
