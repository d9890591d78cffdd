"""The blend: what the stack of regressions says of people, moved towards the twin as far as validation people show to be worth it.

A twin that knows less than a regression then costs nothing, and one that knows something else adds it. The share of the twin is found for
each figure and task by least squares on validation people: the twin was not trained on them, and what the stack says of them is from fits
to others. What is said of the twin in a certificate is of the twin alone.

Shape letters: see `dtb.evaluate.scores.observed`; `V` validation person.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from dtb.evaluate.predictors.predictions import Prediction, Summary

FEWEST_PEOPLE = 5
"""With fewer validation people who have a figure there is no share."""
BLENDED = ("mean_rt_ST", "condition_rt_ST", "accuracy_ST")
"""Figures of a summary that are blended; maps of validation people are not simulated."""


@dataclasses.dataclass(frozen=True, eq=False)
class Blend:
    """Shares of the twin.

    Attributes
    ----------
    share : dict of str to (T,) float64
        By figure of a summary, between 0, the stack alone, and 1, the twin alone; NaN where validation people cannot tell.
    """

    share: Mapping[str, np.ndarray]

    def of(self, stack: Summary, twin: Summary) -> Prediction:
        """Return the blend of two predictions of the same people."""
        said = {
            name: getattr(stack, name) + share_T * (getattr(twin, name) - getattr(stack, name))
            for name, share_T in self.share.items()
        }
        return Prediction(Summary(**said, maps_STR=np.full(stack.maps_STR.shape, np.nan)))

    def to_plain(self, tasks: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
        """Return the shares by task and figure as JSON values."""
        return {
            task: {
                name.removesuffix("_ST"): round(float(share_T[place]), 3) if np.isfinite(share_T[place]) else None
                for name, share_T in self.share.items()
            }
            for place, task in enumerate(tasks)
        }


def learn_blend(did: Summary, stack: Summary, twin: Summary) -> Blend:
    """Return the shares of the twin that are best for validation people.

    Parameters
    ----------
    did, stack, twin : Summary
        Of validation people: what they did, what fits to others of the stack say, and what the twin says.

    Examples
    --------
    A twin whose errors are as large as the stack's, and independent, has a share of about a half.

    >>> rng = np.random.default_rng(0)
    >>> did, stack, twin = (Summary(*[rng.standard_normal((500, 1))] * 3, np.zeros((500, 1, 0))) for _ in range(3))
    >>> learn_blend(did, stack, twin).share["accuracy_ST"].round(1)
    array([0.5])
    """
    share = {}
    for name in BLENDED:
        step_VT = getattr(twin, name) - getattr(stack, name)
        wanted_VT = getattr(did, name) - getattr(stack, name)
        known_VT = np.isfinite(step_VT) & np.isfinite(wanted_VT)
        both_T = np.where(known_VT, step_VT * wanted_VT, 0.0).sum(axis=0)
        square_T = np.where(known_VT, step_VT**2, 0.0).sum(axis=0)
        is_known_T = (known_VT.sum(axis=0) >= FEWEST_PEOPLE) & (square_T > 0)
        share[name] = np.where(is_known_T, np.clip(both_T / np.where(is_known_T, square_T, 1.0), 0.0, 1.0), np.nan)
    return Blend(share)
