"""Figures over people: correlations of predicted and observed behaviour, before and after covariates are regressed out.

Shape letters: see `dtb.evaluate.scores.observed`; `C` covariate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dtb.evaluate.predictors.predictions import Prediction
from dtb.evaluate.scores.ceilings import FEWEST_FOR_A_CEILING, ceiling_of_halves
from dtb.evaluate.scores.covariates import GROUP_LEFT_IN, taken_out
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import TWIN, Figure, make_figure
from dtb.evaluate.scores.statistics import PartialCorrelation, Statistic, correlation, explained_variance

DEMOGRAPHICS = "demographics_motion"
OF_PEOPLE = {"mean RT": "mean_rt_ST", "condition effect": "condition_rt_ST", "accuracy": "accuracy_ST"}
BEYOND = (
    "with what the baseline demographics_motion leaves over; it is linear and shrunken, and what it misses of age stays in: "
    "see the partial r"
)


def people_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    """Return the figures over people in one task: correlations, explained variance, and the same beyond covariates.

    Parameters
    ----------
    evidence : Evidence
    task : int
        Index into the task set.

    Returns
    -------
    list of Figure or None
        None for a figure that is not defined.
    """
    spec = evidence.taskset.specs[task]
    found: list[Figure | None] = []
    demographics = evidence.predictions.get(DEMOGRAPHICS)
    for name, attribute in OF_PEOPLE.items():
        observed_S = getattr(evidence.observed, attribute)[:, task]
        ceilings, note = _agreement_of_parts(evidence, attribute, task), ""
        if attribute == "condition_rt_ST":
            note = f"{_contrast_in_words(spec.contrast)}, of all presses, right or wrong"
        score = _of(attribute, task)
        found.append(
            evidence.figure(
                spec.name, f"{name} r", "r over people", correlation, observed_S, score, note=note, ceilings=ceilings
            )
        )
        if attribute == "mean_rt_ST":
            squares = {part: value**2 for part, value in ceilings.items()}
            found.append(
                evidence.figure(
                    spec.name, f"{name} R2", "R2 over people", explained_variance, observed_S, score, ceilings=squares
                )
            )
        if demographics is not None:
            found.append(_beyond_figure(evidence, task, name, attribute, demographics))
        bases = {"": evidence.covariates_SC, f", {GROUP_LEFT_IN}": evidence.group_left_in_SC}
        found += [
            _partial_figure(evidence, task, f"{name} partial r{words}", attribute, basis_SC)
            for words, basis_SC in bases.items()
        ]
        found += [_rest_figure(evidence, task, name, attribute)]
    return found


def _beyond_figure(evidence: Evidence, task: int, name: str, attribute: str, demographics: Prediction) -> Figure | None:
    """Return the figure beyond a regression on training people's covariates."""
    said_S = getattr(demographics.summary, attribute)[:, task]
    score = _of(attribute, task)
    return evidence.figure(
        evidence.taskset.specs[task].name,
        f"{name} r beyond covariates",
        "r over people",
        correlation,
        getattr(evidence.observed, attribute)[:, task] - said_S,
        lambda p: None if p is demographics else score(p),
        note=BEYOND,
        ceilings=_agreement_of_parts(evidence, attribute, task, said_S),
    )


def _of(attribute: str, task: int) -> Callable[[Prediction], np.ndarray | None]:
    return lambda prediction: np.asarray(getattr(prediction.summary, attribute))[:, task]


def _agreement_of_parts(
    evidence: Evidence,
    attribute: str,
    task: int,
    said_S: np.ndarray | float = 0.0,
    statistic: Statistic = correlation,
) -> dict[str, float]:
    """Return the ceilings of an r over people, by halves and by runs, of the residuals after `said_S`."""
    parts = {"halves": evidence.halves, "runs": evidence.retest}
    found = {}
    for name, pair in parts.items():
        if pair is not None:
            first_S, second_S = (getattr(one, attribute)[:, task] - said_S for one in pair)
            found[name] = ceiling_of_halves(first_S, second_S, statistic)
    return {name: value for name, value in found.items() if value is not None}


def _partial_figure(
    evidence: Evidence, task: int, metric: str, attribute: str, basis_SC: np.ndarray | None
) -> Figure | None:
    """Return the figure of the partial correlation: covariates are regressed out of observed and predicted values."""
    if basis_SC is None:
        return None
    statistic, observed_S = PartialCorrelation(basis_SC), getattr(evidence.observed, attribute)[:, task]
    score = _of(attribute, task)
    mine_S = score(evidence.predictions[TWIN])
    assert mine_S is not None
    if statistic.paired(observed_S, mine_S)[3].sum() < basis_SC.shape[1] + FEWEST_FOR_A_CEILING:
        return None
    demographics, theirs_S = evidence.predictions.get(DEMOGRAPHICS), None
    if evidence.strangers is not None:
        theirs_S = evidence.strangers.mean_of(lambda each: np.asarray(score(each)))
    return evidence.figure(
        evidence.taskset.specs[task].name,
        metric,
        "r over people",
        statistic,
        observed_S,
        lambda p: None if p is demographics else score(p),
        note=f"{taken_out(evidence.covariates, metric)} taken out of both, among these people",
        ceilings=_agreement_of_parts(evidence, attribute, task, statistic=statistic),
        added_S=None if theirs_S is None else mine_S - theirs_S,
    )


def _rest_figure(evidence: Evidence, task: int, name: str, attribute: str) -> Figure | None:
    """Return the figure on whether the twin predicts the same from another rest run."""
    if evidence.from_rest_runs is None:
        return None
    first_S, second_S = (getattr(part, attribute)[:, task] for part in evidence.from_rest_runs)
    return make_figure(
        evidence.taskset.specs[task].name,
        f"{name} r from rest run to rest run",
        "r over people",
        correlation,
        first_S,
        {TWIN: second_S},
        evidence.weights_BS,
        evidence.confidence,
        note="what the twin says from people's first rest run, against what it says from their second",
    )


def _contrast_in_words(contrast: Mapping[str, float]) -> str:
    return " ".join(f"{weight:+g} {condition}" for condition, weight in contrast.items() if weight)
