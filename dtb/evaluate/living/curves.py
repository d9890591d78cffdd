"""Curves: figures over people at each number of own trials, with intervals.

Shape letters: `S` subject, `B` bootstrap draw.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

from dtb.evaluate.living.table import QUESTION
from dtb.evaluate.scores.coverage import LEVELS
from dtb.evaluate.scores.statistics import (
    STREAM,
    Statistic,
    correlation,
    difference,
    draw_weights,
    estimate,
    explained_variance,
    mean_of,
)
from dtb.people.covariates import family_numbers

NUM_DRAWS = 1000
CONFIDENCE = 0.95
LOSSES = frozenset({"CRPS"})
"""Metrics that are better when lower."""


def metrics() -> dict[str, tuple[Statistic, Callable[[pd.DataFrame], pd.Series]]]:
    """Return by name the statistic over people, and what it takes beside the observed figure."""

    def covered(level: float) -> Callable[[pd.DataFrame], pd.Series]:
        reach = float(norm.ppf((1 + level) / 2))

        def within(rows: pd.DataFrame) -> pd.Series:
            gap = (rows["observed"] - rows["mean"]).abs()
            return (gap <= reach * np.sqrt(rows["variance"])).where(gap.notna()).astype(float)

        return within

    return {
        "r": (correlation, lambda rows: rows["mean"]),
        "R2": (explained_variance, lambda rows: rows["mean"]),
        "log score": (mean_of, lambda rows: rows["log_score"]),
        "CRPS": (mean_of, lambda rows: rows["crps"]),
        **{f"within {level:.0%}": (mean_of, covered(level)) for level in LEVELS},
    }


def curves(table: pd.DataFrame, num_draws: int = NUM_DRAWS, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return every figure of a living evaluation with its interval.

    Parameters
    ----------
    table : DataFrame
        From `dtb.evaluate.living.table.rows_of`; of one fold, or of several with a column ``fold``: then correlations are of what is
        left when each fold's mean is taken out.
    num_draws : int
        Bootstrap draws of people, relatives together.
    confidence : float

    Returns
    -------
    DataFrame
        One row for each question, amount, figure, metric and predictor: value, lower, upper, and number of people.
    """
    found, weights = [], Weights(num_draws)
    for key, rows in table.groupby([*QUESTION, "num_given", "figure", "predictor"], sort=False):
        people = by_person(rows)
        weights_BS = weights.of(people)
        for name, (statistic, score) in metrics().items():
            observed_S, score_S = values_of(people, name, score)
            if not np.isfinite(score_S).any() or (statistic is not mean_of and not np.isfinite(observed_S).any()):
                continue
            one = estimate(statistic, observed_S, score_S, weights_BS, confidence)
            found.append((*key, name, one.value, one.lower, one.upper, one.num_people))
    columns = [*QUESTION, "num_given", "figure", "predictor", "metric", "value", "lower", "upper", "num_people"]
    return pd.DataFrame(found, columns=columns)


def gains(table: pd.DataFrame, mine: str, num_draws: int = NUM_DRAWS, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return how much better one predictor is than each other, paired over people; more is better, whatever the metric.

    Parameters
    ----------
    table, num_draws, confidence
        See `curves`.
    mine : str
        The predictor.
    """
    found, weights = [], Weights(num_draws)
    for key, rows in table.groupby([*QUESTION, "num_given", "figure"], sort=False):
        by_predictor = {str(name): by_person(some) for name, some in rows.groupby("predictor")}
        if mine not in by_predictor:
            continue
        own = by_predictor.pop(mine)
        weights_BS = weights.of(own)
        for name, (statistic, score) in metrics().items():
            if name.startswith("within"):
                continue
            observed_S, own_S = values_of(own, name, score)
            for other, theirs in by_predictor.items():
                _, other_S = values_of(theirs.reindex(own.index), name, score)
                if not np.isfinite(own_S).any() or not np.isfinite(other_S).any():
                    continue
                gap = difference(statistic, observed_S, own_S, other_S, weights_BS, confidence)
                sign = -1.0 if name in LOSSES else 1.0
                low, high = sorted((sign * gap.lower, sign * gap.upper))
                found.append((*key, other, name, sign * gap.value, low, high, gap.num_people))
    columns = [*QUESTION, "num_given", "figure", "predictor", "metric", "gain", "lower", "upper", "num_people"]
    return pd.DataFrame(found, columns=columns)


def by_person(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one predictor by person, and by fold where there are several."""
    return rows.set_index([*(["fold"] if "fold" in rows else []), "pseudonym"])


def values_of(
    people: pd.DataFrame, metric: str, score: Callable[[pd.DataFrame], pd.Series]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a metric's statistic takes: the observed figure and the score, (S,) each."""
    observed, scored = people["observed"], score(people)
    if metric == "r" and "fold" in people.index.names:
        observed, scored = (each - each.groupby(level="fold").transform("mean") for each in (observed, scored))
    # A mean does not look at what was observed, which trials have none of.
    observed_S = np.zeros(len(people)) if metric not in {"r", "R2"} else observed.to_numpy(np.float64)
    return observed_S, scored.to_numpy(np.float64)


class Weights:
    """Bootstrap draws of people, relatives together; made once for the same people.

    Parameters
    ----------
    num_draws : int
    """

    def __init__(self, num_draws: int) -> None:
        self._num_draws = num_draws
        self._known: dict[tuple[str, ...], np.ndarray] = {}

    def of(self, people: pd.DataFrame) -> np.ndarray:
        """Return draws (B, S) of the rows' people.

        Raises
        ------
        ValueError
            A person is there twice.
        """
        names = tuple(people.index.get_level_values("pseudonym"))
        if names not in self._known:
            if len(set(names)) < len(names):
                raise ValueError("a person is in the table twice at one point of a curve; give each fold's people once")
            families = [None if pd.isna(each) else str(each) for each in people["family"]]
            family_S = family_numbers([{"family": family} for family in families])
            self._known[names] = draw_weights(len(people), self._num_draws, STREAM, family_S)
        return self._known[names]
