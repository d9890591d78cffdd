"""Whether a target can be searched for at all: the twin must predict it in people not seen in training.

A search always finds a change that moves its own model. If the model's predictions do not correlate with what unseen people did, the
change concerns the model alone, and the search abstains.

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
    """Correlation of the twin's predictions with the behaviour or BOLD of people not seen in training.

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
        """Whether the correlation is above chance."""
        return self.p_value < SIGNIFICANCE

    def plain(self) -> dict[str, float | int | None]:
        """Return the support as JSON values, which have no NaN."""
        values = {name: None if math.isnan(value) else value for name, value in dataclasses.asdict(self).items()}
        return {**values, "is_shown": self.is_shown}

    def in_words(self, name: str) -> str:
        """Return what is known about the target in words."""
        if np.isnan(self.r):
            return (
                f"it cannot be said whether the twin predicts {name} of people not seen in training: only {self.num_people} of them can be "
                "compared"
            )
        found = f"over {self.num_people} people not seen in training, predicted and observed {name} correlate at r = {self.r:.2f}"
        return (
            f"{found} (p = {self.p_value:.2g})"
            if self.is_shown
            else f"{found}, which may be chance (p = {self.p_value:.2g})"
        )


def seen_in_training(shared_twins: Sequence[SharedTwin]) -> frozenset[str]:
    """Return all people whom any member of the ensemble was trained on."""
    return frozenset().union(*(shared_twin.split.train for shared_twin in shared_twins))


def support_of(predicted_S: np.ndarray, observed_S: np.ndarray) -> Support:
    """Return the correlation of predicted and observed values of unseen people; NaN means unknown.

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
