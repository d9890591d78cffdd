"""What the figures amount to, in words: one sentence a task, and no more than the data support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dtb.evaluate.predictors.table import predictor_in_words
from dtb.evaluate.scores.figure import Figure
from dtb.shards.split import Split, held_out_in_words

FEWEST_FOR_A_CLAIM = 30
"""With fewer people a correlation's 95% interval is at least 0.7 wide around 0, so nothing is claimed between people."""
SEEDS_FOR_A_CLAIM = 5
"""Fewer trainings of the same fold may agree by chance."""

NAMED_METRICS = {"mean RT r": "mean reaction times", "RT CRPS": "reaction times", "choice log-loss": "choices"}

Decisions = Mapping[tuple[str, str], str]
"""By task and metric, the certificate's verdict on whether the best baseline is beaten."""


def headline_of(plain: Mapping[str, Any]) -> str | None:
    """Return what is to be said first, from the content of `figures.json` or `certificate.json`; None of a twin that fits.

    Examples
    --------
    >>> headline_of({"fit": {"fits": False, "sentence": "The twin does not fit."}}), headline_of({"claim": "of an older dtb"})
    ('The twin does not fit.', None)
    """
    fit = plain.get("fit") or {}
    return str(fit["sentence"]) if fit.get("fits") is False else None


def claim_in_words(split: Split, figures: list[Figure], decided: Decisions | None = None) -> str:
    """Return what the evaluation shows: the verdict in the first sentence, then one sentence for each figure that it rests on.

    For unseen people it is about mean reaction times; for other parts of what seen people did, where a claim between people would prove
    nothing about a connectome, about choices and reaction times of single trials.

    Parameters
    ----------
    split : Split
    figures : list of Figure
    decided : mapping, optional
        The certificate's verdicts, which correct for the number of its tests: what it does not call yes is not called so here.

    Returns
    -------
    str
    """
    num_people, decided = len(split.test), decided or {}
    few = f"{num_people} {'person supports' if num_people == 1 else 'people support'} no claim between people"
    if split.tests_seen_people:
        main = [figure for figure in figures if figure.metric in {"choice log-loss", "RT CRPS"}]
        where = f"in {held_out_in_words(split.kind, split.held_out)} of the {num_people} people that it was trained on"
        who = f"{where}, {_verdicts(main, decided)}"
        opening = f"{few}: {who}" if num_people < FEWEST_FOR_A_CLAIM else _capital(who)
        caution = "A code number could do as much for people seen in training; only unseen people can show what a connectome says"
    else:
        main = [figure for figure in figures if figure.metric == "mean RT r"]
        where = f" and a task that nobody was trained on, {split.held_out}" if split.kind == "tasks" else ""
        opening = f"In {num_people} people never seen in training{where}, {_verdicts(main, decided)}"
        caution = few if num_people < FEWEST_FOR_A_CLAIM else ""
    return ". ".join(filter(None, [opening, caution, *(_comparison(figure, decided) for figure in main)])) + "."


def _verdicts(figures: list[Figure], decided: Decisions) -> str:
    """Gather figures by what they say, for example "the twin beats the best baseline at RT CRPS (stroop)"."""
    by_verdict: dict[str, dict[str, list[str]]] = {}
    for figure in figures:
        by_verdict.setdefault(verdict(figure, decided), {}).setdefault(figure.metric, []).append(figure.task)
    parts = []
    for words, tasks_of in by_verdict.items():
        at = " and ".join(
            f"{NAMED_METRICS.get(metric, metric)} ({', '.join(tasks)})" for metric, tasks in tasks_of.items()
        )
        parts.append(f"{words} at {at}")
    return "; ".join(parts) if parts else "the twin predicts nothing that could be compared"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _comparison(figure: Figure, decided: Decisions) -> str:
    """Compare the twin with the best baseline."""
    own = f"{figure.task}, {figure.metric}: twin {_number(figure.twin.value)}{_interval(figure.twin.lower, figure.twin.upper)}"
    gap = figure.difference
    if figure.best_baseline is None or gap is None or not math.isfinite(gap.value):
        return f"{own}; no baseline has this figure"
    baseline = predictor_in_words(figure.best_baseline)
    baseline += ", as training people pick it" if figure.is_best_picked else ""
    against = (
        f"best baseline {_number(figure.baselines[figure.best_baseline])} ({baseline}); "
        f"difference {gap.value:+.3f}{_interval(gap.lower, gap.upper)}"
    )
    return f"{own}; {against}: {verdict(figure, decided)}"


def verdict(figure: Figure, decided: Decisions | None = None) -> str:
    """Return whether the twin beats the best baseline: by the certificate where it has tested that, else the interval must leave 0 out."""
    gap = figure.difference
    if gap is None or not math.isfinite(gap.value):
        return "there is no baseline to compare the twin with"
    if not math.isfinite(gap.lower):
        return "it cannot be said whether the twin beats the best baseline"
    sign = 1 if figure.higher_is_better else -1
    low, high = sorted((sign * gap.lower, sign * gap.upper))
    by_certificate = (decided or {}).get((figure.task, figure.metric))
    if by_certificate == "yes" or (by_certificate is None and low > 0):
        return "the twin beats the best baseline"
    if low > 0:
        return "it is not shown that the twin beats the best baseline"
    if high < 0:
        return "the twin is worse than the best baseline"
    return "the twin does not beat the best baseline"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "undefined"


def _interval(lower: float, upper: float) -> str:
    return f" [{lower:.3f}, {upper:.3f}]" if math.isfinite(lower) and math.isfinite(upper) else ""
