"""What the figures amount to, in words: one sentence a task, and no more than the data support."""

from __future__ import annotations

import math

from dtb.evaluate.figures import Figure
from dtb.shards.split import Split

FEWEST_FOR_A_CLAIM = 30
"""With fewer people a correlation's 95% interval is at least 0.7 wide around 0, so nothing is claimed between people."""

NAMES = {
    "always_correct": "an agent that is always correct",
    "group_mean": "the group mean",
    "own_earlier": "the person's own earlier part",
    "ridge": "ridge regression on the connectome",
    "kernel_ridge": "kernel ridge regression on the connectome",
    "demographics_motion": "demographics and motion",
    "mean_connectome": "the same twin given the mean connectome",
}


def claim_in_words(split: Split, figures: list[Figure]) -> str:
    """Say what the evaluation shows.

    Parameters
    ----------
    split : Split
    figures : list of Figure

    Returns
    -------
    str
    """
    if split.kind == "temporal":
        return _claim_for_seen_people(len(split.test), figures)
    return _claim_for_unseen_people(len(split.test), figures)


def _claim_for_seen_people(num_people: int, figures: list[Figure]) -> str:
    opening = f"The later part of the runs of {num_people} people whose earlier part trained the twin"
    if num_people < FEWEST_FOR_A_CLAIM:
        opening += f": {num_people} people support no claim between people"
    else:
        opening += ": people who were seen in training support no claim about new people"
    within = [figure for figure in figures if figure.metric in {"choice log-loss", "RT CRPS"}]
    return ". ".join([opening, *(_comparison(figure) for figure in within)]) + "."


def _claim_for_unseen_people(num_people: int, figures: list[Figure]) -> str:
    opening = f"{num_people} people whom neither the twin nor a baseline saw in training"
    if num_people < FEWEST_FOR_A_CLAIM:
        opening += f": {num_people} people are too few to establish a difference between people"
    main = [figure for figure in figures if figure.metric == "mean RT r"]
    return ". ".join([opening, *(_comparison(figure) for figure in main)]) + "."


def _comparison(figure: Figure) -> str:
    """Compare the twin with the best baseline.

    A difference counts if its interval leaves 0 out.
    """
    own = f"{figure.task}, {figure.metric}: twin {_number(figure.twin.value)}{_interval(figure.twin.lower, figure.twin.upper)}"
    gap = figure.difference
    if figure.best_baseline is None or gap is None or not math.isfinite(gap.value):
        return f"{own}; no baseline has this figure"
    baseline = NAMES.get(figure.best_baseline, figure.best_baseline)
    against = (
        f"best baseline {_number(figure.baselines[figure.best_baseline])} ({baseline}); "
        f"difference {gap.value:+.3f}{_interval(gap.lower, gap.upper)}"
    )
    return f"{own}; {against}: {verdict(figure)}"


def verdict(figure: Figure) -> str:
    """Say whether the twin beats the best baseline: its interval must leave 0 out."""
    gap = figure.difference
    if gap is None or not math.isfinite(gap.value):
        return "no baseline to compare with"
    if not math.isfinite(gap.lower):
        return "too few people to say"
    sign = 1 if figure.higher_is_better else -1
    low, high = sorted((sign * gap.lower, sign * gap.upper))
    if low > 0:
        return "the twin beats the best baseline"
    if high < 0:
        return "the twin is worse than the best baseline"
    return "the twin does not beat the best baseline"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "undefined"


def _interval(lower: float, upper: float) -> str:
    return f" [{lower:.3f}, {upper:.3f}]" if math.isfinite(lower) and math.isfinite(upper) else ""
