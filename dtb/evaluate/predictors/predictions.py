"""Predictions of trials and of people, by a twin or a baseline.

A predictor of trials is summed up to people in the same way as the data are, over the same trials; a predictor of people
(a regression, say) fills the summary directly. What it does not predict is NaN.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtb.evaluate.scores.observed import ObservedTrials, People
from dtb.tasks.taskset import TaskSet


@dataclasses.dataclass(frozen=True, eq=False)
class TrialPrediction:
    """Prediction for each row of `ObservedTrials`.

    Attributes
    ----------
    outcome_JO : (J, O) float64
        Probability of each outcome.
    mean_rt_J : (J,) float64
        Expected reaction time given a press, seconds.
    crps_J : (J,) float64
        Score of the predicted reaction-time distribution at the observed time, seconds.
    rt_quantiles_JQ : (J, Q) float64 or None
        Quantiles of the reaction time given a press, at `dtb.evaluate.scores.quantiles.TRIAL_LEVELS`, seconds.
    is_probabilistic : bool
        False for a predictor that only says what is likeliest, whose log-loss means nothing.
    """

    outcome_JO: np.ndarray
    mean_rt_J: np.ndarray
    crps_J: np.ndarray
    rt_quantiles_JQ: np.ndarray | None = None
    is_probabilistic: bool = True

    @classmethod
    def none_for(cls, trials: ObservedTrials) -> TrialPrediction:
        """Return predictions that are all absent."""
        nothing_J = np.full(len(trials), np.nan)
        return cls(np.full(trials.happened_JO.shape, np.nan), nothing_J, nothing_J.copy())


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """Figures of each person and task, observed or predicted; NaN if absent.

    Attributes
    ----------
    mean_rt_ST : (S, T)
        Mean reaction time, seconds.
    condition_rt_ST : (S, T)
        The task's contrast of the conditions' mean reaction times, seconds.
    accuracy_ST : (S, T)
        Share of right outcomes among trials that have one.
    maps_STR : (S, T, R)
        Contrast maps.
    """

    mean_rt_ST: np.ndarray
    condition_rt_ST: np.ndarray
    accuracy_ST: np.ndarray
    maps_STR: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """All predictions of one predictor.

    Attributes
    ----------
    summary : Summary
    trials : TrialPrediction or None
        None for a predictor of people only.
    series_r_ST : (S, T) float64 or None
        Correlation over time of predicted and observed BOLD, mean over regions; None for a predictor without time series.
    """

    summary: Summary
    trials: TrialPrediction | None = None
    series_r_ST: np.ndarray | None = None


def joined(parts: Sequence[Prediction], row_S: np.ndarray, row_J: np.ndarray) -> Prediction:
    """Return the predictions of parts of the people joined, without time series.

    Parameters
    ----------
    parts : sequence of Prediction
        All with predictions of trials, or none.
    row_S, row_J : (S,) and (J,) int
        Where the people and trials of all parts, in their order, belong.
    """
    back_S, back_J = np.argsort(row_S), np.argsort(row_J)

    def put(values: Sequence[np.ndarray], back: np.ndarray) -> np.ndarray:
        return np.asarray(np.concatenate(values)[back])

    names = [field.name for field in dataclasses.fields(Summary)]
    summary = Summary(*(put([getattr(one.summary, name) for one in parts], back_S) for name in names))
    trials = [one.trials for one in parts if one.trials is not None]
    if not trials:
        return Prediction(summary)
    quantiles = [one.rt_quantiles_JQ for one in trials if one.rt_quantiles_JQ is not None]
    return Prediction(
        summary,
        TrialPrediction(
            put([one.outcome_JO for one in trials], back_J),
            put([one.mean_rt_J for one in trials], back_J),
            put([one.crps_J for one in trials], back_J),
            put(quantiles, back_J) if quantiles else None,
            is_probabilistic=trials[0].is_probabilistic,
        ),
    )


def summary_of_people(people: People, taskset: TaskSet) -> Summary:
    """Return the figures of people's observed behaviour."""
    trials = people.trials
    counts_J = np.ones(len(trials))
    return _summary(trials, trials.rt_J, counts_J, trials.was_correct_J, len(people), taskset, people.maps_STR)


def with_means_of_others(summary: Summary, task: int) -> Summary:
    """Return figures in which a task that nobody was trained on has each person's mean over the other tasks, as a target for regressions.

    Contrast maps stay as they are: those of different tasks compare different things.
    """
    changed = {"maps_STR": summary.maps_STR}
    for name in ("mean_rt_ST", "condition_rt_ST", "accuracy_ST"):
        values_ST = getattr(summary, name).copy()
        others_ST = np.delete(values_ST, task, axis=1)
        count_S = np.isfinite(others_ST).sum(axis=1)
        values_ST[:, task] = np.where(count_S > 0, np.nansum(others_ST, axis=1) / np.maximum(count_S, 1), np.nan)
        changed[name] = values_ST
    return Summary(**changed)


def every_other(trials: ObservedTrials) -> np.ndarray:
    """Return a mask (J,) of every other trial of each person, task and condition, which splits the trials into comparable halves."""
    order = np.lexsort((trials.trial_J, trials.run_J, trials.condition_J, trials.task_J, trials.person_J))
    key_JC = np.stack([trials.person_J, trials.task_J, trials.condition_J], axis=1)[order]
    begins_J = np.any(np.diff(key_JC, axis=0, prepend=-2) != 0, axis=1)
    first_of_group_J = np.maximum.accumulate(np.where(begins_J, np.arange(len(order)), 0))
    is_odd_J = np.empty(len(order), bool)
    is_odd_J[order] = (np.arange(len(order)) - first_of_group_J) % 2 == 0
    return is_odd_J


def summaries_of_halves(
    people: People, taskset: TaskSet, maps: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Summary, Summary]:
    """Return people's figures from every other trial of a condition, and from the rest.

    Parameters
    ----------
    people : People
    taskset : TaskSet
    maps : pair of (S, T, R), optional
        Contrast maps of two halves of the runs, from `dtb.evaluate.scores.observed.maps_of_halves`; none if not given.
    """
    return _halved(people, taskset, every_other(people.trials), maps or (no_maps(people), no_maps(people)))


def summaries_of_runs(people: People, taskset: TaskSet) -> tuple[Summary, Summary]:
    """Return people's figures from their first run of each task, and from the others (test and retest)."""
    trials = people.trials
    group_J = trials.person_J * len(taskset.specs) + trials.task_J
    first_run = np.full(int(group_J.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_run, group_J, trials.run_J)
    return _halved(people, taskset, trials.run_J == first_run[group_J], (no_maps(people), no_maps(people)))


def _halved(
    people: People, taskset: TaskSet, is_first_J: np.ndarray, maps: tuple[np.ndarray, np.ndarray]
) -> tuple[Summary, Summary]:
    trials = people.trials
    first, second = (
        _summary(
            trials,
            np.where(half_J, trials.rt_J, np.nan),
            np.ones(len(trials)),
            np.where(half_J, trials.was_correct_J, np.nan),
            len(people),
            taskset,
            maps_STR,
        )
        for half_J, maps_STR in zip((is_first_J, ~is_first_J), maps, strict=True)
    )
    return first, second


def summary_of_prediction(
    trials: ObservedTrials, prediction: TrialPrediction, num_people: int, taskset: TaskSet, maps_STR: np.ndarray
) -> Summary:
    """Return people's figures from predictions of their trials.

    A trial counts in the mean reaction time by the predicted probability of a press in it: which trials a person left out is no more to
    be looked at than when the person pressed.
    """
    known_J = np.isfinite(prediction.outcome_JO).all(axis=1)
    press_J = np.where(known_J, 1.0 - prediction.outcome_JO[:, -1], 1.0)
    correct_J = np.where(trials.correct_JO, prediction.outcome_JO, 0.0).sum(axis=1)
    correct_J = np.where(trials.scored_J & known_J, correct_J, np.nan)
    return _summary(trials, prediction.mean_rt_J, press_J, correct_J, num_people, taskset, maps_STR)


def no_maps(people: People) -> np.ndarray:
    """Return maps (S, T, R) of NaN, for a predictor without BOLD."""
    return np.full(people.maps_STR.shape, np.nan)


def mean_over_people(values_ST: np.ndarray) -> np.ndarray:
    """Return the mean (1, ...) of the values that are not NaN; NaN where there are none."""
    present_ST = np.isfinite(values_ST)
    count_1T = present_ST.sum(axis=0, keepdims=True)
    total_1T = np.where(present_ST, values_ST, 0.0).sum(axis=0, keepdims=True)
    return np.where(count_1T > 0, total_1T / np.maximum(count_1T, 1), np.nan)


def person_task_mean(trials: ObservedTrials, values_J: np.ndarray, num_people: int, num_tasks: int) -> np.ndarray:
    """Return each person's mean over the trials of each task (S, T), of the values that are not NaN."""
    return _person_task_mean(trials, values_J, np.ones(len(values_J)), num_people, num_tasks)


def _person_task_mean(
    trials: ObservedTrials, values_J: np.ndarray, weight_J: np.ndarray, num_people: int, num_tasks: int
) -> np.ndarray:
    group_J = trials.person_J * num_tasks + trials.task_J
    return _mean_by(group_J, values_J, weight_J, num_people * num_tasks).reshape(num_people, num_tasks)


def _summary(
    trials: ObservedTrials,
    rt_J: np.ndarray,
    press_J: np.ndarray,
    correct_J: np.ndarray,
    num_people: int,
    taskset: TaskSet,
    maps_STR: np.ndarray,
) -> Summary:
    num_tasks = len(taskset.specs)
    effect_ST = np.full((num_people, num_tasks), np.nan)
    for task, spec in enumerate(taskset.specs):
        weights = {spec.conditions.index(name): weight for name, weight in spec.contrast.items() if weight}
        if weights:
            effect_ST[:, task] = 0.0
        for condition, weight in weights.items():
            here_J = (trials.task_J == task) & (trials.condition_J == condition)
            effect_ST[:, task] += weight * _mean_by(
                trials.person_J, np.where(here_J, rt_J, np.nan), press_J, num_people
            )
    return Summary(
        _person_task_mean(trials, rt_J, press_J, num_people, num_tasks),
        effect_ST,
        person_task_mean(trials, correct_J, num_people, num_tasks),
        maps_STR,
    )


def _mean_by(group_J: np.ndarray, values_J: np.ndarray, weight_J: np.ndarray, num_groups: int) -> np.ndarray:
    """Return the weighted mean of the values of each group that are not NaN; NaN for a group without weight."""
    present_J = np.isfinite(values_J)
    group_J, values_J, weight_J = group_J[present_J], values_J[present_J], weight_J[present_J]
    total = np.bincount(group_J, weights=values_J * weight_J, minlength=num_groups)
    weight = np.bincount(group_J, weights=weight_J, minlength=num_groups)
    return np.where(weight > 1e-9, total / np.where(weight > 1e-9, weight, 1.0), np.nan)
