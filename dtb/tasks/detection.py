"""Signal detection: omissions, commissions and d', in tasks that require a press in some trials and none in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def d_prime(hits: ArrayLike, num_go: ArrayLike, false_alarms: ArrayLike, num_nogo: ArrayLike) -> np.ndarray:
    """Return d': how well presses distinguish trials that require one from those that require none.

    It is z(hits) - z(false alarms), with half a trial added to each count and a whole one to each number of trials (log-linear correction;
    Hautus 1995, Behav Res Methods 27:46), so that it is finite whatever was done.

    Parameters
    ----------
    hits, false_alarms : array of float
        How many of the trials that ask for a press, and of those that ask for none, have one; a sum of probabilities does too.
    num_go, num_nogo : array of int

    Returns
    -------
    array of float
        NaN without trials of both kinds.

    Examples
    --------
    >>> round(float(d_prime(90, 100, 5, 20)), 3)  # z(90.5 / 101) - z(5.5 / 21)
    1.897
    """
    from scipy.special import ndtri  # takes as long to import as all else that reads events

    hits, num_go, false_alarms, num_nogo = (np.asarray(each, float) for each in (hits, num_go, false_alarms, num_nogo))
    found = ndtri((hits + 0.5) / (num_go + 1)) - ndtri((false_alarms + 0.5) / (num_nogo + 1))
    return np.asarray(np.where((num_go > 0) & (num_nogo > 0), found, np.nan))


def chance_of_right(pressed_J: Sequence[bool] | np.ndarray, asks_for_press_J: Sequence[bool] | np.ndarray) -> float:
    """Return the chance level: the share of correct trials for as many presses at random, p g + (1 - p) (1 - g).

    With one alternative that is what guessing gives; always to press is no guess but a bias, which g alone would reward.

    Examples
    --------
    >>> round(chance_of_right([True] * 9 + [False], [True] * 5 + [False] * 5), 3)
    0.5
    """
    press, go = float(np.mean(pressed_J)), float(np.mean(asks_for_press_J))
    return press * go + (1 - press) * (1 - go)
