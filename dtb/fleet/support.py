"""Whether a target can be searched for at all: what the twin says of it must hold for people whom training did not see.

A search always finds a change that moves its own model. If the model's figure does not go with what unseen people did, the change is
one of the model alone, and the search abstains.

Shape letters: `S` subject.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import pearsonr

from dtb.fleet.twins import SharedTwin

SIGNIFICANCE = 0.05
"""One-sided level at which the correlation must differ from none."""
FEWEST_PEOPLE = 5


@dataclasses.dataclass(frozen=True)
class Support:
    """How the twin's figure goes with what people did whom training did not see.

    Attributes
    ----------
    num_people : int
    r : float
        Correlation over them; NaN where there are too few, or no differences.
    p_value : float
        One-sided.
    """

    num_people: int
    r: float
    p_value: float

    @property
    def is_shown(self) -> bool:
        """Whether there is more than chance in it."""
        return self.p_value < SIGNIFICANCE

    def plain(self) -> dict[str, float | int | None]:
        """Return the support as JSON values, which have no NaN."""
        values = {name: None if math.isnan(value) else value for name, value in dataclasses.asdict(self).items()}
        return {**values, "is_shown": self.is_shown}

    def in_words(self, name: str) -> str:
        """Return what is known of the target."""
        if np.isnan(self.r):
            return (
                f"whether the twin knows {name} of people whom training did not see cannot be told: it can be compared with what they did "
                f"in {self.num_people}"
            )
        found = f"over {self.num_people} people whom training did not see, the twin's {name} goes with what they did at r = {self.r:.2f}"
        return (
            f"{found} (p = {self.p_value:.2g})"
            if self.is_shown
            else f"{found}, which may be chance (p = {self.p_value:.2g})"
        )


def seen_in_training(shared_twins: Sequence[SharedTwin]) -> frozenset[str]:
    """Return everybody whom a member of the ensemble was trained on."""
    return frozenset().union(*(shared_twin.split.train for shared_twin in shared_twins))


def support_of(predicted_S: np.ndarray, observed_S: np.ndarray) -> Support:
    """Compare what twins of unseen people do with what the people did; NaN where either is not known.

    Examples
    --------
    >>> support_of(np.arange(6.0), np.array([0.0, 1.0, 3.0, 2.0, 4.0, np.nan])).is_shown
    True
    >>> support_of(np.arange(3.0), np.arange(3.0)).is_shown
    False
    """
    known_S = np.isfinite(predicted_S) & np.isfinite(observed_S)
    x_S, y_S = predicted_S[known_S], observed_S[known_S]
    if len(x_S) < FEWEST_PEOPLE or np.ptp(x_S) == 0.0 or np.ptp(y_S) == 0.0:
        return Support(len(x_S), float("nan"), float("nan"))
    found = pearsonr(x_S, y_S, alternative="greater")
    return Support(len(x_S), float(found.statistic), float(found.pvalue))
