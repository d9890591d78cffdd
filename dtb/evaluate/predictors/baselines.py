"""Baselines: predictors of trials without a model of behaviour.

- *always correct*: an agent that never errs.
- *group mean*: what training people did, on average, in the same condition.
- *of a regression*: the group mean, made as much slower and as much less often right as a regression says that the person is.
- *own earlier part*: what the same person did, in the same condition, in the part of the run that was trained on; it exists for
  people who were seen in training only.

Where there is a right answer, a trial's outcome is predicted through its class: right, wrong or no press. The probability of a wrong
press is divided evenly over the wrong alternatives, for a condition's mean cannot know which.

Shape letters: see `dtb.evaluate.scores.observed`; `C` class of outcomes, `Q` quantile.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.evaluate.predictors.predictions import Summary, TrialPrediction
from dtb.evaluate.scores.metrics import crps_of_sample
from dtb.evaluate.scores.observed import ObservedTrials
from dtb.evaluate.scores.quantiles import TRIAL_LEVELS

FURTHEST_ACCURACY = 0.995
"""A regression may say of people that they are right in more trials than there are: it is followed to this, or 1 minus this, no further."""
SHRINKAGE_TRIALS = 4.0
"""A cell's frequencies are pulled towards those of its task as if this many trials had been seen there."""


def always_correct(trials: ObservedTrials) -> TrialPrediction:
    """Return predictions that are always correct, without reaction times; none for trials without a correct response."""
    count_J = trials.correct_JO.sum(axis=1)
    outcome_JO = np.where(count_J[:, None] > 0, trials.correct_JO / np.maximum(count_J, 1)[:, None], np.nan)
    nothing = TrialPrediction.none_for(trials)
    return TrialPrediction(outcome_JO, nothing.mean_rt_J, nothing.crps_J, is_probabilistic=False)


def group_mean(training: ObservedTrials, trials: ObservedTrials) -> TrialPrediction:
    """Return predictions from training people's behaviour in the same task, condition and kind of trial.

    Parameters
    ----------
    training : ObservedTrials
        Trials of training people, and no others.
    trials : ObservedTrials
        Trials to predict; only what was shown is used, not what was done.
    """
    task_share_JC, _ = _by_cell(
        training, trials, [training.task_J, _kind(training)], [trials.task_J, _kind(trials)], None
    )
    # Of a task that nobody was trained on, all that is known is how often people are right in others.
    any_task_share_JC, _ = _by_cell(training, trials, [_kind(training)], [_kind(trials)], None)
    known_J = np.isin(trials.task_J, training.task_J)
    task_share_JC = np.where(known_J[:, None], task_share_JC, any_task_share_JC)
    keys = [[table.task_J, _kind(table), table.condition_J] for table in (training, trials)]
    _, outcome_JO = _by_cell(training, trials, keys[0], keys[1], task_share_JC)
    by_condition = [[table.task_J, table.condition_J] for table in (training, trials)]
    return TrialPrediction(outcome_JO, *_reaction_times(training, trials, *by_condition))


def of_regression(training: ObservedTrials, trials: ObservedTrials, target: Summary, said: Summary) -> TrialPrediction:
    """Return predictions of trials from a regression: training people's behaviour, shifted to each person's predicted speed and accuracy.

    Reaction times are the group's of the condition, shifted by how much slower than the mean of training people the person is said to be.
    The odds of being right are the group's, times the odds that are said of the person over those of training people.

    Parameters
    ----------
    training : ObservedTrials
        Trials of training people.
    trials : ObservedTrials
        Trials to predict.
    target, said : Summary
        What training people did, and what is said of the people of `trials`.
    """
    slower_ST = said.mean_rt_ST - _mean_of_known(target.mean_rt_ST)
    slower_J = slower_ST[trials.person_J, trials.task_J]
    group = group_mean(training, dataclasses.replace(trials, rt_J=trials.rt_J - slower_J))
    assert group.rt_quantiles_JQ is not None
    outcome_JO = with_accuracy(trials, group.outcome_JO, target.accuracy_ST, said.accuracy_ST)
    return TrialPrediction(
        outcome_JO, group.mean_rt_J + slower_J, group.crps_J, group.rt_quantiles_JQ + slower_J[:, None]
    )


def with_accuracy(
    trials: ObservedTrials, outcome_JO: np.ndarray, target_ST: np.ndarray, said_ST: np.ndarray
) -> np.ndarray:
    """Return the group's probabilities of outcomes (J, O), with the accuracy that is said of each person.

    Parameters
    ----------
    trials : ObservedTrials
    outcome_JO : (J, O)
        The group's.
    target_ST, said_ST : (S, T)
        How often training people were right, and how often the people of `trials` are said to be.
    """
    better_ST = _log_odds(said_ST) - _log_odds(_mean_of_known(target_ST))
    better_J = better_ST[trials.person_J, trials.task_J]
    right_J = np.where(trials.correct_JO, outcome_JO, 0.0).sum(axis=1)
    wrong_J = 1.0 - right_J
    own_J = right_J / np.maximum(right_J + wrong_J * np.exp(-better_J), 1e-300)
    factor_JO = np.where(
        trials.correct_JO,
        (own_J / np.maximum(right_J, 1e-300))[:, None],
        ((1.0 - own_J) / np.maximum(wrong_J, 1e-300))[:, None],
    )
    return np.where(trials.scored_J[:, None], outcome_JO * factor_JO, outcome_JO)


def _mean_of_known(values_ST: np.ndarray) -> np.ndarray:
    """Return the mean (T,) over people; NaN for a task without data."""
    count_T = np.isfinite(values_ST).sum(axis=0)
    return np.where(count_T > 0, np.nansum(values_ST, axis=0) / np.maximum(count_T, 1), np.nan)


def _log_odds(share: np.ndarray) -> np.ndarray:
    within = np.clip(share, 1 - FURTHEST_ACCURACY, FURTHEST_ACCURACY)
    return np.asarray(np.log(within / (1 - within)))


def own_earlier(training: ObservedTrials, trials: ObservedTrials) -> TrialPrediction:
    """Return predictions from the same person's earlier data in the same task, condition and kind of trial.

    Parameters
    ----------
    training : ObservedTrials
        Earlier trials of the same people; `person_J` means the same person in both tables.
    trials : ObservedTrials
        Trials to predict.
    """
    keys = [[table.task_J, _kind(table), table.condition_J] for table in (training, trials)]
    group_share_JC, _ = _by_cell(training, trials, keys[0], keys[1], None)
    own = [[table.person_J, *key] for table, key in zip((training, trials), keys, strict=True)]
    _, outcome_JO = _by_cell(training, trials, own[0], own[1], group_share_JC)
    whose_J, training_whose_J, _ = _shared_cells([trials.person_J, trials.task_J], [training.person_J, training.task_J])
    seen_J = np.isin(whose_J, training_whose_J)
    by_condition = [[table.person_J, table.task_J, table.condition_J] for table in (training, trials)]
    reaction_times = _reaction_times(training, trials, *by_condition)
    return TrialPrediction(np.where(seen_J[:, None], outcome_JO, np.nan), *reaction_times)


def _kind(trials: ObservedTrials) -> np.ndarray:
    """Return for each trial whether a press is right (0), withholding is right (1), or nothing is (2)."""
    return np.where(~trials.scored_J, 2, np.where(trials.correct_JO[:, -1], 1, 0))


def _classes(trials: ObservedTrials) -> np.ndarray:
    """Return the sets of outcomes (J, C, O) that make up each class; they share no outcome.

    A trial with a right answer has the classes right, wrong press and no press; one without has a class for each outcome.
    """
    last_O = np.arange(trials.possible_JO.shape[1]) == trials.possible_JO.shape[1] - 1
    right_JO = trials.correct_JO
    wrong_JO = trials.possible_JO & ~right_JO & ~last_O & trials.scored_J[:, None]
    single_JO = trials.possible_JO & ~right_JO & (last_O | ~trials.scored_J[:, None])
    single_JOO = single_JO[:, :, None] & np.eye(len(last_O), dtype=bool)
    return np.concatenate([right_JO[:, None], wrong_JO[:, None], single_JOO], axis=1)


def _by_cell(
    training: ObservedTrials,
    trials: ObservedTrials,
    training_keys: list[np.ndarray],
    keys: list[np.ndarray],
    prior_JC: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions from the class frequencies of each trial's cell, shrunk towards `prior_JC` (uniform if None).

    Returns
    -------
    share_JC : (J, C) float64
        Probability of each class for every trial to be predicted.
    outcome_JO : (J, O) float64
    """
    cell_J, training_cell_J, num_cells = _shared_cells(keys, training_keys)
    seen_JC = (_classes(training) & training.happened_JO[:, None]).any(axis=2)
    count_GC = np.zeros((num_cells, seen_JC.shape[1]))
    np.add.at(count_GC, training_cell_J, seen_JC / np.maximum(seen_JC.sum(axis=1, keepdims=True), 1))
    sets_JCO = _classes(trials)
    exists_JC = sets_JCO.any(axis=2)
    prior_JC = exists_JC / exists_JC.sum(axis=1, keepdims=True) if prior_JC is None else prior_JC
    share_JC = (count_GC[cell_J] + SHRINKAGE_TRIALS * prior_JC) * exists_JC
    share_JC = share_JC / share_JC.sum(axis=1, keepdims=True)
    size_JC = np.maximum(sets_JCO.sum(axis=2), 1)
    return share_JC, ((share_JC / size_JC)[:, :, None] * sets_JCO).sum(axis=1)


def _reaction_times(
    training: ObservedTrials, trials: ObservedTrials, training_keys: list[np.ndarray], keys: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions from the reaction times of each trial's cell or, if there are none, of the cell without the condition.

    Returns
    -------
    mean_rt_J, crps_J, rt_quantiles_JQ
        See `TrialPrediction`.
    """
    mean_J, crps_J = np.full(len(trials), np.nan), np.full(len(trials), np.nan)
    quantiles_JQ = np.full((len(trials), len(TRIAL_LEVELS)), np.nan)
    for depth in (len(keys), len(keys) - 1):
        cell_J, training_cell_J, _ = _shared_cells(keys[:depth], training_keys[:depth])
        pressed_J = np.isfinite(training.rt_J)
        order_J = np.argsort(training_cell_J[pressed_J], kind="stable")
        sorted_cell_J, sorted_rt_J = training_cell_J[pressed_J][order_J], training.rt_J[pressed_J][order_J]
        for cell in np.unique(cell_J[np.isnan(mean_J)]):
            begin, end = np.searchsorted(sorted_cell_J, [cell, cell + 1])
            if begin < end:
                here_J = (cell_J == cell) & np.isnan(mean_J)
                mean_J[here_J] = sorted_rt_J[begin:end].mean()
                crps_J[here_J] = crps_of_sample(sorted_rt_J[begin:end], trials.rt_J[here_J])
                quantiles_JQ[here_J] = np.quantile(sorted_rt_J[begin:end], TRIAL_LEVELS)
    return mean_J, crps_J, quantiles_JQ


def _shared_cells(keys: list[np.ndarray], training_keys: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Number the combinations of keys, the same in both tables."""
    cell_J, num_cells = np.zeros(len(keys[0]) + len(training_keys[0]), np.int64), 1
    for pair in zip(keys, training_keys, strict=True):
        # Combinations are numbered anew after each key, so that numbers stay small.
        values, number_J = np.unique(np.concatenate(pair), return_inverse=True)
        found, cell_J = np.unique(cell_J * max(len(values), 1) + number_J, return_inverse=True)
        num_cells = len(found)
    return cell_J[: len(keys[0])], cell_J[len(keys[0]) :], num_cells
