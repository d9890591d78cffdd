"""Whether a target can be searched for at all: the twin must predict it in people not seen in training.

A search always finds a change that moves its own model. If the model's predictions do not correlate with what unseen people did, the
change concerns the model alone, and the search abstains. A model that has read people's age in their connectomes predicts whatever
goes with age: so what covariates explain is taken out of both.

Shape letters: `S` subject.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from dtb.evaluate.scores.covariates import Facts, covariate_basis, known_covariates
from dtb.fleet.twins import SharedTwin
from dtb.people.covariates import listed

SIGNIFICANCE = 0.05
"""One-sided level at which the correlation must differ from none."""
FEWEST_PEOPLE = 5
FEWEST_FREE = 3
"""Degrees of freedom that covariates have to leave."""


@dataclasses.dataclass(frozen=True)
class Support:
    """Correlation of the twin's predictions with the behaviour or BOLD of people not seen in training.

    Attributes
    ----------
    num_people : int
    r : float
        Correlation over them beyond covariates; NaN where there are too few, or no differences.
    p_value : float
        One-sided.
    taken_out : tuple of str
        The covariates.
    """

    num_people: int
    r: float
    p_value: float
    taken_out: tuple[str, ...] = ()

    @property
    def is_shown(self) -> bool:
        """Whether the correlation is above chance."""
        return self.p_value < SIGNIFICANCE

    def plain(self) -> dict[str, float | int | list[str] | None]:
        """Return the support as JSON values, which have no NaN."""
        r, p_value = (None if math.isnan(value) else value for value in (self.r, self.p_value))
        return {
            "num_people": self.num_people,
            "r": r,
            "p_value": p_value,
            "taken_out": list(self.taken_out),
            "is_shown": self.is_shown,
        }

    def in_words(self, name: str) -> str:
        """Return what is known about the target in words."""
        if np.isnan(self.r):
            return (
                f"it cannot be said whether the twin predicts {name} of people not seen in training: only {self.num_people} of them can be "
                "compared"
            )
        found = f"over {self.num_people} people not seen in training, predicted and observed {name} correlate at r = {self.r:.2f}"
        found += f" beyond {listed(self.taken_out)}" if self.taken_out else ""
        return (
            f"{found} (p = {self.p_value:.2g})"
            if self.is_shown
            else f"{found}, which may be chance (p = {self.p_value:.2g})"
        )


def seen_in_training(shared_twins: Sequence[SharedTwin]) -> frozenset[str]:
    """Return everybody whom a member of the ensemble was trained on, or whose data decided when its training ended."""
    return frozenset().union(*({*each.split.train, *each.split.validation} for each in shared_twins))


def support_of(predicted_S: np.ndarray, observed_S: np.ndarray, people: Facts) -> Support:
    """Compare the simulations of unseen people's twins with what the people did, both without what covariates explain.

    Parameters
    ----------
    predicted_S, observed_S : (S,)
        NaN where unknown.
    people : sequence of mapping
        Covariates of these people; those that nine in ten have are taken out, by the same basis as in an evaluation.

    Returns
    -------
    Support
        The partial correlation; its p-value is Student's, with the degrees of freedom that the covariates leave.

    Examples
    --------
    >>> support_of(np.arange(6.0), np.array([0.0, 1.0, 3.0, 2.0, 4.0, np.nan]), [{}] * 6).is_shown
    True
    >>> support_of(np.arange(3.0), np.arange(3.0), [{}] * 3).is_shown
    False
    """
    known_S = np.isfinite(predicted_S) & np.isfinite(observed_S)
    facts = [who for who, is_known in zip(people, known_S, strict=True) if is_known]
    known = known_covariates(facts, facts).known if facts else ()
    basis_SC = covariate_basis(facts, known) if facts else np.zeros((0, 1))
    complete_S = np.isfinite(basis_SC).all(axis=1)
    basis_SC, num_columns = basis_SC[complete_S], basis_SC.shape[1]
    x_S, y_S = (values_S[known_S][complete_S] for values_S in (predicted_S, observed_S))
    freedom = len(x_S) - num_columns - 1
    nothing = Support(len(x_S), math.nan, math.nan, known)
    if len(x_S) < FEWEST_PEOPLE or freedom < FEWEST_FREE or np.ptp(x_S) == 0.0 or np.ptp(y_S) == 0.0:
        return nothing
    basis_SC = np.linalg.qr(basis_SC)[0]
    rest_x_S, rest_y_S = (values_S - basis_SC @ (basis_SC.T @ values_S) for values_S in (x_S, y_S))
    # Of a figure that covariates explain wholly, rounding is left.
    is_left = [np.linalg.norm(rest_S) > 1e-6 * np.std(own_S) for rest_S, own_S in ((rest_x_S, x_S), (rest_y_S, y_S))]
    if not all(is_left):
        return nothing
    r = float(np.clip(rest_x_S @ rest_y_S / (np.linalg.norm(rest_x_S) * np.linalg.norm(rest_y_S)), -1.0, 1.0))
    t = r * math.sqrt(freedom / max(1.0 - r**2, 1e-300))
    return Support(len(x_S), r, float(stdtr(freedom, -t)), known)
