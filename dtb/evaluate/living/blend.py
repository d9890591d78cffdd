"""The blend: what the best linear baseline says after own trials, moved towards the living twin as far as validation people ask for.

A twin that knows less than a regression then costs nothing, and one that knows something else adds it. Validation people were not trained
on; few of them tell little, so that the share is drawn towards a half: equal weights are hard to beat where the best ones have to be
learnt (Smith & Wallis 2009, Oxf Bull Econ Stat 71, 331).

Shape letters: see `dtb.evaluate.scores.observed`; `V` validation person, `Y` figure.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dtb.evaluate.living.baselines import MANY, MIX, Said
from dtb.evaluate.living.table import normal_crps

LIVING, LIVING_BLEND = "living_twin", "living_blend"
BLEND_IN_WORDS = "the best linear baseline, moved towards the living twin as far as validation people ask for"
_EQUAL_PEOPLE = 20
"""The share is drawn towards a half as by so many people who ask for that."""
_SHARES = np.linspace(0.0, 1.0, 21)


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
