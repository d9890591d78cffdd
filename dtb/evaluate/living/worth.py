"""What a connectome adds to what own trials already tell, and how many trials a scan is worth.

Two predictors are compared that differ in the connectome alone, at each number of own trials. A scan is worth as many trials as the one
without needs to be as good as the one with a connectome is before any: 0 where the connectome makes nothing better.

Shape letters: `S` subject, `B` bootstrap draw, `N` point of a curve.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd

from dtb.evaluate.living.curves import CONFIDENCE, NUM_DRAWS, Weights, by_person
from dtb.evaluate.scores.figure import number_or_none
from dtb.evaluate.scores.statistics import Estimate, difference, mean_of

LOSS, FIGURE = "crps", "mean RT"


@dataclasses.dataclass(frozen=True)
class Worth:
    """What a connectome is worth in one task.

    Attributes
    ----------
    task : str
    trials : Estimate
        So many own trials are worth as much as the connectome; no more than `most`.
    most : int
        The largest number of trials that was tried: a value of as many means at least that.
    num_given : tuple of int
        Trials at each point.
    losses : tuple of (float, float)
        Mean loss with and without a connectome, at each point: the CRPS of people's mean reaction times, seconds.
    gains : tuple of Estimate
        How much smaller the loss is with a connectome, at each point; seconds.
    """

    task: str
    trials: Estimate
    most: int
    num_given: tuple[int, ...]
    losses: tuple[tuple[float, float], ...]
    gains: tuple[Estimate, ...]

    def point(self, num_given: int) -> int:
        """Return the place of the point with so many trials, or of the nearest with fewer."""
        return max(place for place, number in enumerate(self.num_given) if number <= num_given or place == 0)

    def to_plain(self) -> dict[str, Any]:
        """Return what the connectome is worth as JSON values."""

        def plain(one: Estimate) -> list[float | None]:
            return [number_or_none(each) for each in (one.value, one.lower, one.upper)]

        return {
            "task": self.task,
            "trials": plain(self.trials),
            "most": self.most,
            "n": self.trials.num_people,
            "points": [
                {"num_given": number, "with": own, "without": theirs, "gain": plain(gain)}
                for number, (own, theirs), gain in zip(self.num_given, self.losses, self.gains, strict=True)
            ],
        }

    @property
    def in_words(self) -> str:
        """Return what a scan is worth, for a sentence."""
        one = self.trials
        if not math.isfinite(one.value):
            return "nobody can tell how many trials a scan is worth"
        if one.value == 0 and not one.upper > 0:
            return "a scan is worth no trials"
        least = "at least " if one.value >= self.most else ""
        interval = f" [{one.lower:.0f}, {one.upper:.0f}]" if math.isfinite(one.lower) else ""
        return f"a scan is worth {least}{one.value:.0f} trials{interval}"


def worths_of(
    table: pd.DataFrame, mine: str, without: str, num_draws: int = NUM_DRAWS, confidence: float = CONFIDENCE
) -> list[Worth]:
    """Return what a connectome is worth in each task, for later trials of the same task.

    Parameters
    ----------
    table : DataFrame
        See `dtb.evaluate.living.table`.
    mine, without : str
        Predictors with and without a connectome.
    num_draws : int
    confidence : float
    """
    found, weights = [], Weights(num_draws)
    rows = table[(table["kind"] == "later") & (table["figure"] == FIGURE) & table["predictor"].isin([mine, without])]
    for task, some in rows.groupby("judged", sort=False):
        points: dict[int, dict[str, pd.Series]] = {}
        for number in sorted(some["num_given"].unique().tolist()):
            at = some[some["num_given"] == number]
            points[number] = {str(name): by_person(each)[LOSS] for name, each in at.groupby("predictor")}
        if any(set(at) != {mine, without} for at in points.values()):
            continue
        people = by_person(some[(some["predictor"] == mine) & (some["num_given"] == min(points))])
        weights_BS = weights.of(people)
        numbers = sorted(points)
        loss_2NS = np.array(
            [[points[number][name].reindex(people.index) for number in numbers] for name in (mine, without)], float
        )
        gains = tuple(
            difference(mean_of, np.zeros(len(people)), theirs_S, own_S, weights_BS, confidence)
            for own_S, theirs_S in zip(*loss_2NS, strict=True)
        )
        known_S = np.isfinite(loss_2NS).all(axis=(0, 1))
        loss_2NS, weights_BS = loss_2NS[..., known_S], weights_BS[:, known_S]
        value = float(equivalent(np.array(numbers), loss_2NS, np.ones((1, int(known_S.sum()))))[0])
        drawn_B = equivalent(np.array(numbers), loss_2NS, weights_BS)
        lower, upper = np.quantile(drawn_B, [(1 - confidence) / 2, (1 + confidence) / 2])
        trials = Estimate(value, float(lower), float(upper), int(known_S.sum()))
        losses = tuple((float(own), float(theirs)) for own, theirs in loss_2NS.mean(axis=2).T)
        found.append(Worth(str(task), trials, numbers[-1], tuple(numbers), losses, gains))
    return found


def equivalent(number_N: np.ndarray, loss_2NS: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
    """Return how many trials (B,) bring the second predictor's mean loss to what the first's is without any.

    Between two points the loss is taken to fall evenly, and where it rises from point to point it is taken to stay.

    Examples
    --------
    Without a connectome the loss falls from 4 to 2 over 10 trials; with one it is 3 from the beginning.

    >>> loss_2NS = np.array([[[3.0], [2.0]], [[4.0], [2.0]]])
    >>> equivalent(np.array([0, 10]), loss_2NS, np.ones((1, 1)))
    array([5.])
    """
    total_B = weights_BS.sum(axis=1)
    wanted_B = weights_BS @ loss_2NS[0, 0] / total_B
    curve_BN = np.minimum.accumulate(weights_BS @ loss_2NS[1].T / total_B[:, None], axis=1)
    # The first point at which the curve is low enough; the last one where none is.
    reached_BN = curve_BN <= wanted_B[:, None]
    after_B = np.where(reached_BN.any(axis=1), reached_BN.argmax(axis=1), len(number_N) - 1)
    before_B = np.maximum(after_B - 1, 0)
    rows = np.arange(len(wanted_B))
    fall_B = curve_BN[rows, before_B] - curve_BN[rows, after_B]
    share_B = np.clip((curve_BN[rows, before_B] - wanted_B) / np.where(fall_B > 0, fall_B, np.inf), 0.0, 1.0)
    share_B = np.where(reached_BN.any(axis=1), share_B, 1.0)
    return np.where(after_B == 0, 0.0, number_N[before_B] + share_B * (number_N[after_B] - number_N[before_B]))
