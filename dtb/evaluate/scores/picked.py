"""The baseline that a twin is compared with: the best on training people, in cross-validation.

Of several baselines that are equally good, the best on the very people who test is good by luck as well, so a twin would have to beat more
than any of them. Where the pick cannot be made on training people, the best on those who test stands in its place, and is said to.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from dtb.evaluate.predictors.predictions import (
    Prediction,
    Summary,
    mean_over_people,
    summaries_of_halves,
    summary_of_people,
)
from dtb.evaluate.scores.covariates import covariate_basis, known_covariates
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import TWIN, Figure
from dtb.evaluate.scores.figures import all_figures
from dtb.evaluate.scores.folds import standardised_in_folds, without_fold_means
from dtb.evaluate.scores.observed import People
from dtb.evaluate.scores.statistics import difference, estimate
from dtb.tasks.taskset import TaskSet

STAND_INS = ("stack", "group_mean")
"""Whose scores stand where a twin's would in the figures of training people: of it, nothing is looked at."""


def picks_of(
    training: People, left_out: Mapping[str, Prediction], fold_S: np.ndarray, taskset: TaskSet, scale: Summary
) -> dict[tuple[str, str], str]:
    """Return the name of the best baseline of each task and metric, on training people.

    Parameters
    ----------
    training : People
    left_out : mapping of str to Prediction
        What baselines say of each of them without having seen them.
    fold_S : (S,) int
        Folds of training people.
    taskset : TaskSet
    scale : Summary
        Standard deviation of each figure over training people, as in `Evidence`.
    """
    stand_in = next((left_out[name] for name in STAND_INS if name in left_out), None)
    if stand_in is None:
        return {}
    covariates = known_covariates(training.covariates, training.covariates)
    evidence = Evidence(
        taskset,
        training,
        summary_of_people(training, taskset),
        summaries_of_halves(training, taskset),
        {TWIN: stand_in, **left_out},
        mean_over_people(training.maps_STR)[0],
        scale,
        np.ones((1, len(training))),
        0.95,
        covariates=covariates,
        covariates_SC=covariate_basis(training.covariates, covariates.known) if covariates.known else None,
    )
    found = {(figure.task, figure.metric): _best(figure, fold_S) for figure in all_figures(evidence)}
    return {place: name for place, name in found.items() if name is not None}


def _best(figure: Figure, fold_S: np.ndarray) -> str | None:
    """Rank baselines; correlations are of what is left when each fold's mean and spread are taken out, as where folds are pooled.

    A mean over the people in other folds is low where the fold's own is high: a baseline without any difference between people would seem
    to go against what they did.
    """
    one, is_r = np.ones((1, len(fold_S))), figure.unit == "r over people"

    def value(score_S: np.ndarray) -> float:
        observed_S, said_S = figure.observed_S, score_S
        if is_r:
            observed_S = without_fold_means(observed_S[:, None], fold_S)[:, 0]
            said_S = standardised_in_folds(said_S[:, None], fold_S)[:, 0]
        return float(figure.statistic(observed_S, said_S, one)[0])

    values = {name: value(score_S) for name, score_S in figure.scores.items() if name != TWIN}
    sign = 1.0 if figure.higher_is_better else -1.0
    known = {name: sign * found for name, found in values.items() if math.isfinite(found)}
    return max(known, key=lambda name: known[name]) if known else None


def with_picked(
    figures: Sequence[Figure], picks: Mapping[tuple[str, str], str], weights_BS: np.ndarray, confidence: float
) -> list[Figure]:
    """Compare the twin with the picked baseline in each figure that has one."""
    return [
        with_best(figure, picks[figure.task, figure.metric], weights_BS, confidence)
        if picks.get((figure.task, figure.metric)) in figure.scores
        else figure
        for figure in figures
    ]


def with_best(figure: Figure, name: str, weights_BS: np.ndarray, confidence: float) -> Figure:
    """Compare the twin with one baseline of a figure, as the one that was picked on training people."""
    scores = (figure.observed_S, figure.scores[TWIN], figure.scores[name])
    gap = difference(figure.statistic, *scores, weights_BS, confidence)
    own = estimate(figure.statistic, figure.observed_S, figure.scores[name], weights_BS, confidence)
    return dataclasses.replace(figure, best_baseline=name, difference=gap, best=own, is_best_picked=True)
