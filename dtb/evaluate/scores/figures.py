"""All figures of an evaluation: the twin and each baseline by task and metric, with intervals over people.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dtb.evaluate.predictors.predictions import Prediction, Summary, TrialPrediction, person_task_mean
from dtb.evaluate.scores import metrics
from dtb.evaluate.scores.ceilings import FEWEST_FOR_A_CEILING, ceiling_of_maps
from dtb.evaluate.scores.covariates import GROUP_LEFT_IN, taken_out
from dtb.evaluate.scores.coverage import coverage_figures
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import TWIN, Figure
from dtb.evaluate.scores.people_figures import BEYOND, DEMOGRAPHICS, people_figures
from dtb.evaluate.scores.pressing_figures import pressing_figures
from dtb.evaluate.scores.quantiles import quantile_errors
from dtb.evaluate.scores.statistics import FEWEST_BEYOND, mean_of

INDEPENDENT = "independent_errors"


def all_figures(evidence: Evidence) -> list[Figure]:
    """Return every figure for which there are data, by task and then over all tasks."""
    found: list[Figure | None] = []
    for task in range(len(evidence.taskset.specs)):
        found += _trial_figures(evidence, task)
        found += people_figures(evidence, task)
        found += pressing_figures(evidence, task)
        found += coverage_figures(evidence, task)
        found += _map_figures(evidence, task)
    found += _identification_figures(evidence)
    return [figure for figure in found if figure is not None]


def _trial_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    spec, trials = evidence.taskset.specs[task], evidence.people.trials
    num_people, num_tasks = len(evidence.people), len(evidence.taskset.specs)
    nothing_S = np.zeros(num_people)
    group_J = trials.person_J * num_tasks + trials.task_J
    chance_J = metrics.chance_agreement(trials.happened_JO, trials.possible_JO.sum(axis=1) - 1, group_J)

    def by_person(values: Callable[[TrialPrediction], np.ndarray]) -> Callable[[Prediction], np.ndarray | None]:
        def score(prediction: Prediction) -> np.ndarray | None:
            if prediction.trials is None:
                return None
            return person_task_mean(trials, values(prediction.trials), num_people, num_tasks)[:, task]

        return score

    def figure(
        metric: str, unit: str, score: Callable[[Prediction], np.ndarray | None], **options: Any
    ) -> Figure | None:
        ceilings = {}
        if evidence.own_half is not None:
            reached_S = score(Prediction(evidence.observed, evidence.own_half))
            if reached_S is not None and np.isfinite(reached_S).any():
                ceilings["own_half"] = float(np.nanmean(reached_S))
        return evidence.figure(spec.name, metric, unit, mean_of, nothing_S, score, ceilings=ceilings, **options)

    def log_loss(prediction: TrialPrediction) -> np.ndarray:
        # An agent that is certain and errs has an infinite loss: it makes no claim about probabilities.
        if not prediction.is_probabilistic:
            return np.full(len(trials), np.nan)
        return metrics.choice_log_loss(prediction.outcome_JO, trials.happened_JO)

    def agreement(prediction: TrialPrediction) -> np.ndarray:
        return metrics.agreement(prediction.outcome_JO, trials.happened_JO)

    return [
        figure("choice log-loss", "nats a trial", by_person(log_loss), higher_is_better=False, with_matrix=True),
        figure(
            "choice agreement",
            "share of trials",
            by_person(agreement),
            further={INDEPENDENT: _independent_agreement(evidence, task)},
        ),
        figure("accuracy above chance", "share of trials", by_person(lambda said: agreement(said) - chance_J)),
        figure("RT CRPS", "seconds", by_person(lambda said: said.crps_J), higher_is_better=False, with_matrix=True),
        figure(
            "RT quantile error",
            "seconds",
            lambda p: None if p.trials is None else quantile_errors(trials, p.trials, num_people, task),
            higher_is_better=False,
            note="mean over the quantiles at .1, .3, .5, .7 and .9 of a person's reaction times",
        ),
    ]


def _independent_agreement(evidence: Evidence, task: int) -> np.ndarray:
    """Return for each person (S,) the expected agreement with a predictor as accurate as the twin whose errors are independent."""
    trials, said = evidence.people.trials, evidence.predictions[TWIN].trials
    found_S = np.full(len(evidence.people), np.nan)
    if said is None:
        return found_S
    likeliest_JO = metrics.likeliest(said.outcome_JO)
    known_J = np.isfinite(said.outcome_JO).all(axis=1) & trials.scored_J & (trials.task_J == task)
    for person in np.unique(trials.person_J[known_J]):
        mine_J = known_J & (trials.person_J == person)
        tables = (likeliest_JO, trials.happened_JO, trials.correct_JO, trials.possible_JO)
        found_S[person] = metrics.agreement_if_independent(*(table_JO[mine_J] for table_JO in tables))
    return found_S


def _map_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    spec, observed_SR = evidence.taskset.specs[task], evidence.observed.maps_STR[:, task]
    nothing_S, group_R = np.zeros(len(evidence.people)), evidence.group_maps_TR[task]
    first_SR, second_SR = (half.maps_STR[:, task] for half in evidence.halves)

    def reach(ceiling: float | None) -> dict[str, float]:
        return {} if ceiling is None else {"halves": ceiling}

    def nearness(own_SR: np.ndarray) -> np.ndarray:
        return metrics.similarity_by_correlation(own_SR, observed_SR - group_R)

    between_halves_SS = metrics.similarity_by_correlation(first_SR - group_R, second_SR - group_R)

    def own_part(prediction: Prediction) -> np.ndarray:
        maps_SR = prediction.summary.maps_STR[:, task]
        return without_mean(maps_SR)

    demographics = evidence.predictions.get(DEMOGRAPHICS)
    beyond = None
    if demographics is not None:
        said_SR = demographics.summary.maps_STR[:, task]
        rest_SR = observed_SR - said_SR
        beyond = evidence.figure(
            spec.name,
            "BOLD map r beyond covariates",
            "mean r over regions",
            mean_of,
            nothing_S,
            lambda p: None if p is demographics else metrics.row_correlations(own_part(p), rest_SR),
            note=BEYOND,
            ceilings=reach(ceiling_of_maps(first_SR - said_SR, second_SR - said_SR)),
        )
    return [
        beyond,
        _partial_map_figure(evidence, task, "BOLD map partial r", evidence.covariates_SC),
        _partial_map_figure(evidence, task, f"BOLD map partial r, {GROUP_LEFT_IN}", evidence.group_left_in_SC),
        evidence.figure(
            spec.name,
            "BOLD map r",
            "mean r over regions",
            mean_of,
            nothing_S,
            lambda p: metrics.row_correlations(p.summary.maps_STR[:, task], observed_SR),
            ceilings=reach(ceiling_of_maps(first_SR, second_SR)),
        ),
        evidence.figure(
            spec.name,
            "BOLD map r without the group map",
            "mean r over regions",
            mean_of,
            nothing_S,
            lambda p: metrics.row_correlations(own_part(p), observed_SR - group_R),
            note="the training group's map removed from the data, the predictions' own mean from the predictions",
            ceilings=reach(ceiling_of_maps(first_SR - group_R, second_SR - group_R)),
        ),
        evidence.figure(
            spec.name,
            "identification by BOLD map",
            "share of people",
            mean_of,
            nothing_S,
            lambda p: _if_any(own_part(p), lambda own_SR: metrics.identification(nearness(own_SR))),
            note=_chance_note(len(evidence.people)),
            ceilings=_between_halves(metrics.identification(between_halves_SS)),
        ),
        evidence.figure(
            spec.name,
            "own minus others, BOLD map",
            "difference of r",
            mean_of,
            nothing_S,
            lambda p: _if_any(own_part(p), lambda own_SR: metrics.own_minus_others(nearness(own_SR))),
            ceilings=_between_halves(metrics.own_minus_others(between_halves_SS)),
        ),
        evidence.figure(
            spec.name,
            "BOLD series r",
            "mean r over time",
            mean_of,
            nothing_S,
            lambda p: None if p.series_r_ST is None else p.series_r_ST[:, task],
        ),
    ]


def _partial_map_figure(evidence: Evidence, task: int, metric: str, basis_SC: np.ndarray | None) -> Figure | None:
    """Return the figure of maps with covariates regressed out of observed and predicted maps, region by region."""
    if basis_SC is None:
        return None
    observed_SR = evidence.observed.maps_STR[:, task]
    mine_SR, theirs_SR = evidence.predictions[TWIN].summary.maps_STR[:, task], None
    if evidence.strangers is not None:
        theirs_SR = evidence.strangers.mean_of(lambda each: each.summary.maps_STR[:, task])
    known_S = np.isfinite(observed_SR).any(axis=1) & np.isfinite(mine_SR).any(axis=1)
    num_people = int((known_S & np.isfinite(basis_SC).all(axis=1)).sum())
    if num_people < basis_SC.shape[1] + FEWEST_FOR_A_CEILING:
        return None
    rest_SR = without_covariates(np.where(known_S[:, None], observed_SR, np.nan), basis_SC)

    def nearness(maps_SR: np.ndarray) -> np.ndarray:
        own_SR = without_covariates(np.where(known_S[:, None], without_mean(maps_SR), np.nan), basis_SC)
        return metrics.row_correlations(own_SR, rest_SR)

    demographics = evidence.predictions.get(DEMOGRAPHICS)
    halves = [without_covariates(half.maps_STR[:, task], basis_SC) for half in evidence.halves]
    ceiling = ceiling_of_maps(*halves)
    return evidence.figure(
        evidence.taskset.specs[task].name,
        metric,
        "mean r over regions",
        mean_of,
        np.zeros(len(evidence.people)),
        lambda p: None if p is demographics else nearness(p.summary.maps_STR[:, task]),
        note=f"{taken_out(evidence.covariates, metric)} taken out of both over these people, region by region",
        ceilings={} if ceiling is None else {"halves": ceiling},
        added_S=None if theirs_SR is None else nearness(mine_SR - theirs_SR),
        leverage=basis_SC.shape[1] / num_people,
    )


def _identification_figures(evidence: Evidence) -> list[Figure | None]:
    """Return figures on whether a twin is nearest to its own person, over mean RT, condition effect and accuracy of all tasks."""
    observed_SF, scale_F = _behaviour(evidence.observed), _behaviour(evidence.training_scale)[0]
    usable_F = np.isfinite(scale_F) & (scale_F > 1e-9)
    nothing_S = np.zeros(len(evidence.people))

    def nearness(said: Summary, did_SF: np.ndarray) -> np.ndarray:
        return metrics.similarity_by_distance(_behaviour(said)[:, usable_F], did_SF[:, usable_F], scale_F[usable_F])

    def similarity(prediction: Prediction) -> np.ndarray:
        return nearness(prediction.summary, observed_SF)

    if not usable_F.any():
        return []
    between_halves_SS = nearness(evidence.halves[0], _behaviour(evidence.halves[1]))
    return [
        evidence.figure(
            "all",
            "identification by behaviour",
            "share of people",
            mean_of,
            nothing_S,
            lambda p: metrics.identification(similarity(p)),
            note=_chance_note(len(evidence.people)),
            ceilings=_between_halves(metrics.identification(between_halves_SS)),
        ),
        evidence.figure(
            "all",
            "own minus others, behaviour",
            "training SD",
            mean_of,
            nothing_S,
            lambda p: metrics.own_minus_others(similarity(p)),
            ceilings=_between_halves(metrics.own_minus_others(between_halves_SS)),
        ),
    ]


def _between_halves(values_S: np.ndarray) -> dict[str, float]:
    """Return how well one half of people's data identifies the other, which is no upper bound for a twin."""
    known_S = values_S[np.isfinite(values_S)]
    return {"between_halves": float(known_S.mean())} if len(known_S) >= FEWEST_FOR_A_CEILING else {}


def without_mean(maps_SR: np.ndarray) -> np.ndarray:
    """Return maps minus the mean over people; NaN for a map that is then only rounding error."""
    present_SR = np.isfinite(maps_SR)
    mean_R = np.where(present_SR, maps_SR, 0.0).sum(axis=0) / np.maximum(present_SR.sum(axis=0), 1)
    own_SR = maps_SR - mean_R
    size_S1 = np.sqrt(np.where(present_SR, maps_SR, 0.0) ** 2).max(axis=1, keepdims=True, initial=0.0)
    is_rounding_S = (np.abs(np.where(present_SR, own_SR, 0.0)) <= 1e-5 * size_S1).all(axis=1)
    return np.where(is_rounding_S[:, None], np.nan, own_SR)


def without_covariates(maps_SR: np.ndarray, basis_SC: np.ndarray) -> np.ndarray:
    """Return maps with covariates regressed out of each region over people; NaN for people with an unknown covariate."""
    rest_SR = np.full(maps_SR.shape, np.nan)
    present_RS = (np.isfinite(maps_SR) & np.isfinite(basis_SC).all(axis=1)[:, None]).T
    # Regions that the same people have are fitted together.
    patterns, pattern_R = np.unique(present_RS, axis=0, return_inverse=True)
    for number, who_S in enumerate(patterns):
        if who_S.sum() < basis_SC.shape[1] + FEWEST_BEYOND:
            continue
        cells = np.ix_(who_S, pattern_R.reshape(-1) == number)
        rest_SR[cells] = maps_SR[cells] - basis_SC[who_S] @ np.linalg.lstsq(basis_SC[who_S], maps_SR[cells])[0]
    return rest_SR


def _behaviour(summary: Summary) -> np.ndarray:
    return np.concatenate([summary.mean_rt_ST, summary.condition_rt_ST, summary.accuracy_ST], axis=1)


def _if_any(values_SR: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    return score(values_SR) if np.isfinite(values_SR).any() else None


def _chance_note(num_people: int) -> str:
    return f"chance is 1 in {num_people}"
