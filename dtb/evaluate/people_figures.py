"""Figures over people: is the slow person predicted to be slow, before and after age, sex, site and motion are taken out?

Shape letters: see `dtb.evaluate.observed`; `C` covariate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dtb.evaluate.ceilings import FEWEST_FOR_A_CEILING, ceiling_of_halves
from dtb.evaluate.evidence import Evidence
from dtb.evaluate.figure import TWIN, Figure, make_figure
from dtb.evaluate.predictions import Prediction
from dtb.evaluate.statistics import correlation, explained_variance

DEMOGRAPHICS = "demographics_motion"
OF_PEOPLE = {"mean RT": "mean_rt_ST", "condition effect": "condition_rt_ST", "accuracy": "accuracy_ST"}
BEYOND = "with what age, sex, site and motion do not predict, by a regression fitted to training people"


def people_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    spec = evidence.taskset.specs[task]
    found: list[Figure | None] = []
    demographics = evidence.predictions.get(DEMOGRAPHICS)
    for name, attribute in OF_PEOPLE.items():
        observed_S = getattr(evidence.observed, attribute)[:, task]
        ceilings, note = _agreement_of_parts(evidence, attribute, task), ""
        if attribute == "condition_rt_ST":
            note = _contrast_in_words(spec.contrast)
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
        found += [_partial_figure(evidence, task, name, attribute), _rest_figure(evidence, task, name, attribute)]
    return found


def _beyond_figure(evidence: Evidence, task: int, name: str, attribute: str, demographics: Prediction) -> Figure | None:
    """Ask for what age, sex, site and motion leave open, by what a regression on training people says from them."""
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
    evidence: Evidence, attribute: str, task: int, said_S: np.ndarray | float = 0.0
) -> dict[str, float]:
    """Give the ceilings of an r over people, by halves and by runs, of what is left when `said_S` is taken out."""
    parts = {"halves": evidence.halves, "runs": evidence.retest}
    found = {
        name: ceiling_of_halves(*(getattr(one, attribute)[:, task] - said_S for one in pair))
        for name, pair in parts.items()
        if pair is not None
    }
    return {name: value for name, value in found.items() if value is not None}


def _partial_figure(evidence: Evidence, task: int, name: str, attribute: str) -> Figure | None:
    """Make the partial correlation: age, sex, site and motion are taken out of the observed and of the predicted figure."""
    if evidence.covariates_SC is None:
        return None
    facts_SC, observed_S = evidence.covariates_SC, getattr(evidence.observed, attribute)[:, task]
    demographics = evidence.predictions.get(DEMOGRAPHICS)

    def score(prediction: Prediction) -> np.ndarray | None:
        if prediction is demographics:
            return None
        said_S = np.asarray(getattr(prediction.summary, attribute))[:, task]
        return without_covariates(np.where(np.isfinite(observed_S), said_S, np.nan), facts_SC)

    mine_S = getattr(evidence.predictions[TWIN].summary, attribute)[:, task]
    rest_S = without_covariates(np.where(np.isfinite(mine_S), observed_S, np.nan), facts_SC)
    return evidence.figure(
        evidence.taskset.specs[task].name,
        f"{name} partial r",
        "r over people",
        correlation,
        rest_S,
        score,
        note="age, sex, site and motion regressed out of both, among these people",
    )


def _rest_figure(evidence: Evidence, task: int, name: str, attribute: str) -> Figure | None:
    """Ask whether the twin says the same of a person from another rest run."""
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


def without_covariates(values_S: np.ndarray, facts_SC: np.ndarray) -> np.ndarray:
    """Take out of one value a person what ordinary least squares on the facts explains of it; NaN where too few people have one."""
    known_S = np.isfinite(values_S)
    design_SC = np.column_stack([np.ones(len(values_S)), facts_SC])
    rest_S = np.full(len(values_S), np.nan)
    if known_S.sum() >= design_SC.shape[1] + FEWEST_FOR_A_CEILING:
        weights_C = np.linalg.lstsq(design_SC[known_S], values_S[known_S])[0]
        rest_S[known_S] = values_S[known_S] - design_SC[known_S] @ weights_C
    return rest_S


def _contrast_in_words(contrast: Mapping[str, float]) -> str:
    return " ".join(f"{weight:+g} {condition}" for condition, weight in contrast.items() if weight)
