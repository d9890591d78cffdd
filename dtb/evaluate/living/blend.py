"""What validation people tell of a living twin: level and width of its figures, and how much of it a baseline is to be blended with.

A twin knows what it was told: the posterior, and the noise of so many trials. It does not know that people tire, or learn, between the
first trials and the later ones, which the baselines beside it learn from training people. So figures are moved by validation people's mean
error, drawn towards 0, and variances are multiplied by what the squared errors that are left ask for, drawn towards 1.

The blend is what the best linear baseline says after own trials, moved towards the living twin as far as validation people ask for.

A twin that knows less than a regression then costs nothing, and one that knows something else adds it. Validation people were not trained
on; few of them tell little, so that the share is drawn towards a half: equal weights are hard to beat where the best ones have to be
learnt (Smith & Wallis 2009, Oxf Bull Econ Stat 71, 331).

Shape letters: see `dtb.evaluate.scores.observed`; `V` validation person, `Y` figure.
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
_UNMOVED_PEOPLE = 10
"""Shift and scale are drawn towards 0 and 1 as by so many people without an error on average, whose errors are as large as is said."""


def calibrated(said: Said, shift_Y: np.ndarray, scale_Y: np.ndarray) -> Said:
    """Return the same with other means and variances of figures; single trials are left as they are."""
    return dataclasses.replace(said, mean_QY=said.mean_QY + shift_Y, variance_QY=said.variance_QY * scale_Y)


def shift_of(did_VY: np.ndarray, points: Sequence[Said]) -> np.ndarray:
    """Return what is to be added to each figure (Y,).

    Parameters
    ----------
    did_VY : (V, Y)
        What validation people did.
    points : sequence of Said
        What is said of them after more and more trials.

    Examples
    --------
    Forty people are all slower by .05 s than is said; as many without an error as a quarter of them draw it towards 0.

    >>> shift_of(np.full((40, 1), 0.05), [Said(np.zeros((40, 1)), np.ones((40, 1)))])
    array([0.04])
    """
    return _over_people([did_VY - said.mean_QY for said in points], 0.0)


def variance_scale_of(did_VY: np.ndarray, points: Sequence[Said]) -> np.ndarray:
    """Return what the variances of each figure (Y,) are to be multiplied by.

    Parameters
    ----------
    did_VY : (V, Y)
        What validation people did.
    points : sequence of Said
        What is said of them after more and more trials.

    Examples
    --------
    Of errors twice as large as is said, variances are to be four times as large.

    >>> did_VY = 2 * np.random.default_rng(0).standard_normal((4000, 1))
    >>> variance_scale_of(did_VY, [Said(np.zeros((4000, 1)), np.ones((4000, 1)))]).round(1)
    array([4.])
    """
    return _over_people([(did_VY - said.mean_QY) ** 2 / said.variance_QY for said in points], 1.0)


def _over_people(values: Sequence[np.ndarray], otherwise: float) -> np.ndarray:
    """Return the mean (Y,) over people and points of values (V, Y) at each point, drawn towards what it is otherwise."""
    values_NVY = np.stack(values)
    known_NVY = np.isfinite(values_NVY)
    # The same people at every point: points are averaged, people are counted.
    mean_VY = np.where(known_NVY, values_NVY, 0.0).sum(axis=0) / np.maximum(known_NVY.sum(axis=0), 1)
    number_Y = known_NVY.any(axis=0).sum(axis=0)
    return np.asarray((mean_VY.sum(axis=0) + _UNMOVED_PEOPLE * otherwise) / (number_Y + _UNMOVED_PEOPLE))


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
