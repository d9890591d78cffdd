"""Every figure of an evaluation: one row a task and metric, the twin beside each baseline, with intervals over people.

Shape letters: see `dtb.evaluate.observed`; `B` bootstrap draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dtb.evaluate import metrics
from dtb.evaluate.ceilings import ceiling_of_halves
from dtb.evaluate.observed import People
from dtb.evaluate.predictions import Prediction, Summary, TrialPrediction, person_task_mean
from dtb.evaluate.quantiles import quantile_errors
from dtb.evaluate.statistics import (
    Estimate,
    Statistic,
    correlation,
    difference,
    estimate,
    explained_variance,
    mean_of,
)
from dtb.tasks.taskset import TaskSet

TWIN = "twin"
INDEPENDENT = "independent_errors"
DEMOGRAPHICS = "demographics_motion"
BEYOND = "with what age, sex, site and motion do not predict, by a regression fitted to training people"


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """One metric of one task.

    Attributes
    ----------
    task : str
        ``"all"`` for a metric over all tasks.
    metric, unit : str
    higher_is_better : bool
    twin : Estimate
    baselines : dict of str to float
        Value of each baseline that has one.
    best_baseline : str or None
        The best of them on these very people, which favours the baselines.
    difference : Estimate or None
        Twin minus best baseline, on the people and draws of both.
    note : str
        Why a value or an interval is absent, or what to know when reading it.
    ceilings : dict of str to float
        What the best possible predictor would reach: by `truth`, of a ground-truth cohort; by `halves`, how well people's odd trials agree
        with their even ones; by `runs`, how well their first run agrees with the others.
    permuted : tuple of float
        What twins reach that were trained on permuted connectomes.
    permuted_p : float or None
        How rarely they would reach what the twin does.
    statistic : Statistic
    observed_S : (S,)
    scores : dict of str to (S,)
        What `statistic` was computed from, for the twin and each baseline.
    """

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    twin: Estimate
    baselines: dict[str, float]
    best_baseline: str | None
    difference: Estimate | None
    note: str
    ceilings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    statistic: Statistic = mean_of
    observed_S: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0), repr=False)
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    permuted: tuple[float, ...] = ()
    permuted_p: float | None = None

    @property
    def ceiling(self) -> float | None:
        """The best known of the ceilings."""
        return next((self.ceilings[name] for name in ("truth", "halves", "runs") if name in self.ceilings), None)

    def to_plain(self) -> dict[str, Any]:
        """Give the figure as JSON values: null for what is absent."""
        gap = self.difference
        return {
            "task": self.task,
            "metric": self.metric,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "twin": number_or_none(self.twin.value),
            "lower": number_or_none(self.twin.lower),
            "upper": number_or_none(self.twin.upper),
            "baselines": {name: number_or_none(value) for name, value in self.baselines.items()},
            "best_baseline": self.best_baseline,
            "difference": number_or_none(gap.value) if gap else None,
            "difference_lower": number_or_none(gap.lower) if gap else None,
            "difference_upper": number_or_none(gap.upper) if gap else None,
            "ceiling": self.ceiling,
            "ceilings": dict(self.ceilings),
            "fraction_of_ceiling": number_or_none(self.twin.value / self.ceiling) if self.ceiling else None,
            "permuted": list(self.permuted),
            "permuted_p": self.permuted_p,
            "n": self.twin.num_people,
            "note": self.note,
        }


def number_or_none(value: float) -> float | None:
    """Give a finite number, or None for one that JSON does not have."""
    return float(value) if math.isfinite(value) else None


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What the figures are made from.

    Attributes
    ----------
    taskset : TaskSet
    people : People
        Those whose held-out data are predicted.
    observed : Summary
        What they did.
    halves : (Summary, Summary)
        What they did in odd and in even trials.
    predictions : mapping of str to Prediction
        The twin's under ``"twin"``, and the baselines'.
    group_maps_TR : (T, R)
        Mean contrast maps of training people.
    training_scale : Summary
        Standard deviation over training people of each figure, by task, as arrays (1, T) and (1, T, R).
    weights_BS : (B, S)
        Bootstrap draws.
    confidence : float
    retest : (Summary, Summary) or None
        What they did in the first run of each task, and in the others.
    true_ceilings : mapping of (task, metric) to float
        See `dtb.evaluate.ceilings.true_ceilings`; empty where no truth is known.
    """

    taskset: TaskSet
    people: People
    observed: Summary
    halves: tuple[Summary, Summary]
    predictions: Mapping[str, Prediction]
    group_maps_TR: np.ndarray
    training_scale: Summary
    weights_BS: np.ndarray
    confidence: float
    retest: tuple[Summary, Summary] | None = None
    true_ceilings: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)

    def figure(
        self,
        task: str,
        metric: str,
        unit: str,
        statistic: Statistic,
        observed_S: np.ndarray,
        score: Callable[[Prediction], np.ndarray | None],
        *,
        higher_is_better: bool = True,
        note: str = "",
        ceilings: Mapping[str, float] | None = None,
        further: Mapping[str, np.ndarray] | None = None,
    ) -> Figure | None:
        """Make one figure; None where the twin predicts nothing of the kind for anybody.

        Parameters
        ----------
        task, metric, unit : str
        statistic : Statistic
        observed_S : (S,)
            First argument of the statistic; 0 for `mean_of`, which does not look at it.
        score : function
            Gives the statistic's second argument (S,) from a prediction, or None where the prediction has none.
        higher_is_better, note, ceilings
            See `Figure`.
        further : mapping of str to (S,), optional
            The score of what is compared with the twin in this figure alone.
        """
        scores = {name: score(prediction) for name, prediction in self.predictions.items()}
        return make_figure(
            task,
            metric,
            unit,
            statistic,
            observed_S,
            {name: score_S for name, score_S in scores.items() if score_S is not None} | dict(further or {}),
            self.weights_BS,
            self.confidence,
            higher_is_better=higher_is_better,
            note=note,
            ceilings=dict(ceilings or {}) | self._true_ceiling(task, metric),
        )

    def _true_ceiling(self, task: str, metric: str) -> dict[str, float]:
        return {"truth": self.true_ceilings[task, metric]} if (task, metric) in self.true_ceilings else {}


def make_figure(
    task: str,
    metric: str,
    unit: str,
    statistic: Statistic,
    observed_S: np.ndarray,
    scores: Mapping[str, np.ndarray],
    weights_BS: np.ndarray,
    confidence: float,
    *,
    higher_is_better: bool = True,
    note: str = "",
    ceilings: Mapping[str, float] | None = None,
) -> Figure | None:
    """Make one figure from each predictor's scores (S,); None where the twin predicts nothing of the kind for anybody.

    Parameters are those of `Evidence.figure` and `Figure`.
    """
    known = {name: score_S for name, score_S in scores.items() if np.isfinite(score_S).any()}
    if TWIN not in known or not np.isfinite(observed_S).any():
        return None
    mine_S = known[TWIN]
    twin = estimate(statistic, observed_S, mine_S, weights_BS, confidence)
    one = np.ones((1, len(observed_S)))
    baselines = {name: float(statistic(observed_S, known[name], one)[0]) for name in known if name != TWIN}
    sign = 1 if higher_is_better else -1
    ranked = sorted(
        (name for name in baselines if math.isfinite(baselines[name])), key=lambda name: -sign * baselines[name]
    )
    best = ranked[0] if ranked else None
    gap = None if best is None else difference(statistic, observed_S, mine_S, known[best], weights_BS, confidence)
    notes = "; ".join(dict.fromkeys(part for part in (note, twin.note) if part))
    return Figure(
        task,
        metric,
        unit,
        higher_is_better,
        twin,
        baselines,
        best,
        gap,
        notes,
        ceilings or {},
        statistic,
        observed_S,
        known,
    )


def all_figures(evidence: Evidence) -> list[Figure]:
    """Make every figure for which there are data, task by task and then over all tasks."""
    found: list[Figure | None] = []
    for task in range(len(evidence.taskset.specs)):
        found += _trial_figures(evidence, task)
        found += _people_figures(evidence, task)
        found += _map_figures(evidence, task)
    found += _identification_figures(evidence)
    return [figure for figure in found if figure is not None]


def _trial_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    spec, trials = evidence.taskset.specs[task], evidence.people.trials
    num_people, num_tasks = len(evidence.people), len(evidence.taskset.specs)
    nothing_S = np.zeros(num_people)
    chance_J = metrics.chance_agreement(trials.happened_JO, trials.possible_JO.sum(axis=1) - 1)

    def by_person(values: Callable[[TrialPrediction], np.ndarray]) -> Callable[[Prediction], np.ndarray | None]:
        def score(prediction: Prediction) -> np.ndarray | None:
            if prediction.trials is None:
                return None
            return person_task_mean(trials, values(prediction.trials), num_people, num_tasks)[:, task]

        return score

    def log_loss(prediction: TrialPrediction) -> np.ndarray:
        # An agent that is certain and errs has an infinite loss: it makes no claim about probabilities.
        if not prediction.is_probabilistic:
            return np.full(len(trials), np.nan)
        return metrics.choice_log_loss(prediction.outcome_JO, trials.happened_JO)

    def above_chance(prediction: TrialPrediction) -> np.ndarray:
        return metrics.agreement(prediction.outcome_JO, trials.happened_JO) - chance_J

    return [
        evidence.figure(
            spec.name,
            "choice log-loss",
            "nats a trial",
            mean_of,
            nothing_S,
            by_person(log_loss),
            higher_is_better=False,
        ),
        evidence.figure(
            spec.name,
            "choice agreement",
            "share of trials",
            mean_of,
            nothing_S,
            by_person(lambda prediction: metrics.agreement(prediction.outcome_JO, trials.happened_JO)),
            further={INDEPENDENT: _independent_agreement(evidence, task)},
        ),
        evidence.figure(
            spec.name, "accuracy above chance", "share of trials", mean_of, nothing_S, by_person(above_chance)
        ),
        evidence.figure(
            spec.name,
            "RT CRPS",
            "seconds",
            mean_of,
            nothing_S,
            by_person(lambda prediction: prediction.crps_J),
            higher_is_better=False,
        ),
        evidence.figure(
            spec.name,
            "RT quantile error",
            "seconds",
            mean_of,
            nothing_S,
            lambda p: None if p.trials is None else quantile_errors(trials, p.trials, num_people, task),
            higher_is_better=False,
            note="mean over the quantiles at .1, .3, .5, .7 and .9 of a person's reaction times",
        ),
    ]


def _independent_agreement(evidence: Evidence, task: int) -> np.ndarray:
    """Give, for each person (S,), the agreement to expect of somebody as often right as the twin, whose errors are independent."""
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


def _people_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    spec, observed = evidence.taskset.specs[task], evidence.observed
    rt_S, effect_S = observed.mean_rt_ST[:, task], observed.condition_rt_ST[:, task]
    accuracy_S = observed.accuracy_ST[:, task]
    pairs = {"halves": evidence.halves, "runs": evidence.retest}

    def reach(figure: str) -> dict[str, float]:
        found = {
            name: ceiling_of_halves(*(getattr(part, figure)[:, task] for part in pair))
            for name, pair in pairs.items()
            if pair is not None
        }
        return {name: value for name, value in found.items() if value is not None}

    found = [
        evidence.figure(
            spec.name,
            "mean RT r",
            "r over people",
            correlation,
            rt_S,
            lambda p: p.summary.mean_rt_ST[:, task],
            ceilings=reach("mean_rt_ST"),
        ),
        evidence.figure(
            spec.name, "mean RT R2", "R2 over people", explained_variance, rt_S, lambda p: p.summary.mean_rt_ST[:, task]
        ),
        evidence.figure(
            spec.name,
            "condition effect r",
            "r over people",
            correlation,
            effect_S,
            lambda p: p.summary.condition_rt_ST[:, task],
            note=_contrast_in_words(spec.contrast),
            ceilings=reach("condition_rt_ST"),
        ),
        evidence.figure(
            spec.name,
            "accuracy r",
            "r over people",
            correlation,
            accuracy_S,
            lambda p: p.summary.accuracy_ST[:, task],
            ceilings=reach("accuracy_ST"),
        ),
    ]
    demographics = evidence.predictions.get(DEMOGRAPHICS)
    if demographics is None:
        return found
    for name, attribute in (("mean RT", "mean_rt_ST"), ("condition effect", "condition_rt_ST")):
        said_S = getattr(demographics.summary, attribute)[:, task]
        found.append(
            evidence.figure(
                spec.name,
                f"{name} r beyond covariates",
                "r over people",
                correlation,
                getattr(observed, attribute)[:, task] - said_S,
                _beyond(demographics, attribute, task),
                note=BEYOND,
            )
        )
    return found


def _beyond(demographics: Prediction, attribute: str, task: int) -> Callable[[Prediction], np.ndarray | None]:
    def score(prediction: Prediction) -> np.ndarray | None:
        if prediction is demographics:
            return None
        return np.asarray(getattr(prediction.summary, attribute))[:, task]

    return score


def _map_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    spec, observed_SR = evidence.taskset.specs[task], evidence.observed.maps_STR[:, task]
    nothing_S, group_R = np.zeros(len(evidence.people)), evidence.group_maps_TR[task]

    def own_part(prediction: Prediction) -> np.ndarray:
        maps_SR = prediction.summary.maps_STR[:, task]
        return without_mean(maps_SR)

    demographics = evidence.predictions.get(DEMOGRAPHICS)
    beyond = None
    if demographics is not None:
        rest_SR = observed_SR - demographics.summary.maps_STR[:, task]
        beyond = evidence.figure(
            spec.name,
            "BOLD map r beyond covariates",
            "mean r over regions",
            mean_of,
            nothing_S,
            lambda p: None if p is demographics else metrics.row_correlations(own_part(p), rest_SR),
            note=BEYOND,
        )
    return [
        beyond,
        evidence.figure(
            spec.name,
            "BOLD map r",
            "mean r over regions",
            mean_of,
            nothing_S,
            lambda p: metrics.row_correlations(p.summary.maps_STR[:, task], observed_SR),
        ),
        evidence.figure(
            spec.name,
            "BOLD map r without the group map",
            "mean r over regions",
            mean_of,
            nothing_S,
            lambda p: metrics.row_correlations(own_part(p), observed_SR - group_R),
            note="the training group's map removed from the data, the predictions' own mean from the predictions",
        ),
        evidence.figure(
            spec.name,
            "identification by BOLD map",
            "share of people",
            mean_of,
            nothing_S,
            lambda p: _if_any(
                own_part(p),
                lambda own_SR: metrics.identification(metrics.similarity_by_correlation(own_SR, observed_SR - group_R)),
            ),
            note=_chance_note(len(evidence.people)),
        ),
        evidence.figure(
            spec.name,
            "own minus others, BOLD map",
            "difference of r",
            mean_of,
            nothing_S,
            lambda p: _if_any(
                own_part(p),
                lambda own_SR: metrics.own_minus_others(
                    metrics.similarity_by_correlation(own_SR, observed_SR - group_R)
                ),
            ),
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


def _identification_figures(evidence: Evidence) -> list[Figure | None]:
    """Ask whether what a twin does is nearest to its own person, over mean RT, condition effect and accuracy of all tasks."""
    observed_SF, scale_F = _behaviour(evidence.observed), _behaviour(evidence.training_scale)[0]
    usable_F = np.isfinite(scale_F) & (scale_F > 1e-9)
    nothing_S = np.zeros(len(evidence.people))

    def similarity(prediction: Prediction) -> np.ndarray:
        predicted_SF = _behaviour(prediction.summary)[:, usable_F]
        return metrics.similarity_by_distance(predicted_SF, observed_SF[:, usable_F], scale_F[usable_F])

    if not usable_F.any():
        return []
    return [
        evidence.figure(
            "all",
            "identification by behaviour",
            "share of people",
            mean_of,
            nothing_S,
            lambda p: metrics.identification(similarity(p)),
            note=_chance_note(len(evidence.people)),
        ),
        evidence.figure(
            "all",
            "own minus others, behaviour",
            "training SD",
            mean_of,
            nothing_S,
            lambda p: metrics.own_minus_others(similarity(p)),
        ),
    ]


def without_mean(maps_SR: np.ndarray) -> np.ndarray:
    """Remove the mean over people from maps; NaN for a map that then is nothing but rounding, for it says nothing of the person."""
    present_SR = np.isfinite(maps_SR)
    mean_R = np.where(present_SR, maps_SR, 0.0).sum(axis=0) / np.maximum(present_SR.sum(axis=0), 1)
    own_SR = maps_SR - mean_R
    size_S1 = np.sqrt(np.where(present_SR, maps_SR, 0.0) ** 2).max(axis=1, keepdims=True, initial=0.0)
    is_rounding_S = (np.abs(np.where(present_SR, own_SR, 0.0)) <= 1e-5 * size_S1).all(axis=1)
    return np.where(is_rounding_S[:, None], np.nan, own_SR)


def _behaviour(summary: Summary) -> np.ndarray:
    return np.concatenate([summary.mean_rt_ST, summary.condition_rt_ST, summary.accuracy_ST], axis=1)


def _if_any(values_SR: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    return score(values_SR) if np.isfinite(values_SR).any() else None


def _chance_note(num_people: int) -> str:
    return f"chance is 1 in {num_people}"


def _contrast_in_words(contrast: Mapping[str, float]) -> str:
    return " ".join(f"{weight:+g} {condition}" for condition, weight in contrast.items() if weight)
