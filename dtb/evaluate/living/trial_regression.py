"""A hierarchical regression of trials: the logarithm of a reaction time from the person, the condition, and how long a task has gone on.

    log RT = x' b + practice + e,    b ~ N(B r, covariance),    e ~ scale times a distribution that all people share

``b`` holds a person's intercept, slopes of conditions and change from early to late trials in every task; ``r`` are readings of the
person's connectome, or 1 alone. All of it is learnt from training people by expectation and maximisation (Laird & Ware 1982, Biometrics
38, 963); what is said of a person after some trials is exact conditioning. The shared distribution of residuals is seen, not assumed.

Shape letters: see `dtb.evaluate.scores.observed`; `P` coefficient, `C` condition, `M` member of the shared distribution, `F` reading.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from dtb.evaluate.predictors.reaction_times import log_reaction_times
from dtb.evaluate.scores.observed import ObservedTrials

NUM_ROUNDS = 60
NUM_MEMBERS = 100
PRIOR_TRIALS = 10.0
"""A person's scale is drawn towards the group's as if so many trials of the group had been seen."""
PRIOR_PEOPLE = 2.0
"""So many people are imagined whose coefficients do not go together, and whose readings say nothing of them."""
PLACE_EDGES = np.array([5, 10, 20, 40, 80, 160, 320])
"""Practice is a step function of the place of a trial in its task, with steps here."""
TRIMMED = 0.005
"""Reaction times beyond these quantiles of training people are taken for the quantile, when somebody's coefficients are learnt."""


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The columns of the regression.

    Attributes
    ----------
    contrasts_TCP : (T, C, P) float64
        Row of a trial of each task and condition, the last condition being that of trials without one.
    late_TP : (T, P) float64
        What is added in late trials.
    """

    contrasts_TCP: np.ndarray
    late_TP: np.ndarray

    def rows(self, trials: ObservedTrials, late_J: np.ndarray) -> np.ndarray:
        """Return the trials' rows (J, P)."""
        rows_JP = self.contrasts_TCP[trials.task_J, trials.condition_J]
        return rows_JP + late_J[:, None] * self.late_TP[trials.task_J]


@dataclasses.dataclass(frozen=True, eq=False)
class Coefficients:
    """What is said of people's coefficients and scales.

    Attributes
    ----------
    mean_SP, covariance_SPP : (S, P) and (S, P, P) float64
    scale_S : (S,) float64
        Standard deviation of the logarithm of a reaction time about what the coefficients say.
    """

    mean_SP: np.ndarray
    covariance_SPP: np.ndarray
    scale_S: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class TrialRegression:
    """A fitted regression; see `fitted`.

    Attributes
    ----------
    columns : Columns
    practice_TB : (T, B)
        By task and step of `PLACE_EDGES`.
    bounds_T2 : (T, 2)
        Logarithms of the reaction times beyond which they are trimmed.
    weight_FP : (F, P)
        From readings, of which the first is 1, to coefficients.
    covariance_PP : (P, P)
    variance : float
        The group's variance of residuals.
    member_TM : (T, M)
        The shared distribution of residuals over their scale, sorted, by task.
    """

    columns: Columns
    practice_TB: np.ndarray
    bounds_T2: np.ndarray
    weight_FP: np.ndarray
    covariance_PP: np.ndarray
    variance: float
    member_TM: np.ndarray

    def practice(self, trials: ObservedTrials, place_J: np.ndarray) -> np.ndarray:
        """Return what practice adds to each trial (J,)."""
        return np.asarray(self.practice_TB[trials.task_J, np.searchsorted(PLACE_EDGES, place_J, side="right")])

    def condition(
        self,
        trials: ObservedTrials,
        place_J: np.ndarray,
        late_J: np.ndarray,
        given_J: np.ndarray,
        readings_SF: np.ndarray,
        noise_factor: float = 1.0,
    ) -> Coefficients:
        """Return people's coefficients after the given trials.

        Parameters
        ----------
        trials : ObservedTrials
        place_J, late_J : (J,)
            Place of each trial in its task, and whether it is a late one.
        given_J : (J,) bool
        readings_SF : (S, F)
            The first column is 1.
        noise_factor : float
            How much noisier than independent trials these are: so much less is each believed.
        """
        prior_SP = readings_SF @ self.weight_FP
        sums = _sums(*self._given(trials, place_J, late_J, given_J), len(prior_SP))
        scale2_S = np.full(len(prior_SP), self.variance)
        for _ in range(2):
            mean_SP, covariance_SPP = _posterior(self.covariance_PP, prior_SP, sums, noise_factor * scale2_S)
            scale2_S = _scales(sums, mean_SP, covariance_SPP, self.variance)
        mean_SP, covariance_SPP = _posterior(self.covariance_PP, prior_SP, sums, noise_factor * scale2_S)
        return Coefficients(mean_SP, covariance_SPP, np.sqrt(scale2_S))

    def _given(
        self, trials: ObservedTrials, place_J: np.ndarray, late_J: np.ndarray, given_J: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        log_J = log_reaction_times(trials)
        used_J = given_J & np.isfinite(log_J)
        low_J, high_J = self.bounds_T2[trials.task_J].T
        rest_J = np.clip(log_J, low_J, high_J) - self.practice(trials, place_J)
        return self.columns.rows(trials, late_J)[used_J], rest_J[used_J], trials.person_J[used_J]


def columns_of(num_tasks: int, conditions_T: list[np.ndarray]) -> Columns:
    """Return columns: in each task an intercept, orthonormal contrasts of its conditions, and the change from early to late.

    Parameters
    ----------
    num_tasks : int
    conditions_T : list of int arrays
        Conditions that occur in each task; -1 for trials without one.
    """
    largest = max([0, *(int(conditions.max(initial=0)) for conditions in conditions_T)])
    size = sum(1 + max(len(conditions), 1) for conditions in conditions_T)
    contrasts_TCP, late_TP = np.zeros((num_tasks, largest + 2, size)), np.zeros((num_tasks, size))
    column = 0
    for task, conditions in enumerate(conditions_T):
        number = max(len(conditions), 1)
        contrasts_TCP[task, :, column] = 1.0
        # What is orthogonal to the mean, from the singular vectors of the centring matrix.
        basis = np.linalg.svd(np.eye(number) - 1 / number)[0][:, : number - 1] * np.sqrt(number)
        contrasts_TCP[task, conditions, column + 1 : column + number] = basis[: len(conditions)]
        late_TP[task, column + number] = 1.0
        column += number + 1
    return Columns(contrasts_TCP, late_TP)


def fitted(
    trials: ObservedTrials,
    place_J: np.ndarray,
    late_J: np.ndarray,
    readings_SF: np.ndarray,
    num_tasks: int,
) -> TrialRegression:
    """Return the regression that is learnt from training people.

    Parameters
    ----------
    trials : ObservedTrials
        Training people's.
    place_J : (J,) int
        Place of each trial among the person's of the task; -1 for trials that are left out.
    late_J : (J,) bool
        Late trials: those that would be judged.
    readings_SF : (S, F)
        Readings of training people by fits that had not seen them; the first column is 1.
    num_tasks : int
    """
    used_J = (place_J >= 0) & np.isfinite(log_reaction_times(trials))
    trials, place_J, late_J = trials.only(used_J), place_J[used_J], late_J[used_J]
    conditions_T = [np.unique(trials.condition_J[trials.task_J == task]) for task in range(num_tasks)]
    log_J, who_J, task_J = log_reaction_times(trials), trials.person_J, trials.task_J
    bounds_T2 = np.array(
        [
            np.quantile(log_J[task_J == task], [TRIMMED, 1 - TRIMMED]) if (task_J == task).any() else [-9.0, 9.0]
            for task in range(num_tasks)
        ]
    )
    log_J = np.clip(log_J, *bounds_T2[task_J].T)
    columns = columns_of(num_tasks, conditions_T)
    practice_TB = _practice(log_J, trials, place_J, num_tasks, len(readings_SF))
    rest_J = log_J - practice_TB[task_J, np.searchsorted(PLACE_EDGES, place_J, side="right")]
    rows_JP, num_people = columns.rows(trials, late_J), len(readings_SF)
    weight_FP, covariance_PP, variance, mean_SP, scale2_S = _learnt(
        _sums(rows_JP, rest_J, who_J, num_people), readings_SF
    )
    standard_J = (rest_J - (rows_JP * mean_SP[who_J]).sum(axis=1)) / np.sqrt(scale2_S[who_J])
    levels_M = (np.arange(NUM_MEMBERS) + 0.5) / NUM_MEMBERS
    normal_M = np.quantile(standard_J, levels_M)
    member_TM = np.stack(
        [
            np.quantile(standard_J[task_J == task], levels_M) if (task_J == task).sum() >= NUM_MEMBERS else normal_M
            for task in range(num_tasks)
        ]
    )
    return TrialRegression(columns, practice_TB, bounds_T2, weight_FP, covariance_PP, variance, member_TM)


class _Sums(NamedTuple):
    """Sums over people's trials: all that coefficients and variances follow from.

    Attributes
    ----------
    gram_SPP, cross_SP, square_S
        Of products of rows, of rows with the logarithm of the reaction time, and of its square.
    count_S : (S,)
    """

    gram_SPP: np.ndarray
    cross_SP: np.ndarray
    square_S: np.ndarray
    count_S: np.ndarray


def _sums(rows_JP: np.ndarray, rest_J: np.ndarray, who_J: np.ndarray, num_people: int) -> _Sums:
    num_columns = rows_JP.shape[1]
    gram_SPP, cross_SP = np.zeros((num_people, num_columns, num_columns)), np.zeros((num_people, num_columns))
    order_J = np.argsort(who_J, kind="stable")
    begin_S = np.searchsorted(who_J[order_J], np.arange(num_people + 1))
    for person in range(num_people):
        mine = order_J[begin_S[person] : begin_S[person + 1]]
        gram_SPP[person] = rows_JP[mine].T @ rows_JP[mine]
        cross_SP[person] = rows_JP[mine].T @ rest_J[mine]
    square_S = np.bincount(who_J, weights=rest_J**2, minlength=num_people)
    return _Sums(gram_SPP, cross_SP, square_S, np.bincount(who_J, minlength=num_people))


def _learnt(sums: _Sums, readings_SF: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray, np.ndarray]:
    """Return weights, covariance and variance by expectation and maximisation, and people's coefficients and variances at the end."""
    num_people, num_columns = sums.cross_SP.shape
    num_readings = readings_SF.shape[1]
    common_P = np.linalg.solve(sums.gram_SPP.sum(axis=0) + 1e-6 * np.eye(num_columns), sums.cross_SP.sum(axis=0))
    weight_FP = np.zeros((num_readings, num_columns))
    weight_FP[0] = common_P
    same_SP, certain_SPP = np.broadcast_to(common_P, sums.cross_SP.shape), np.zeros_like(sums.gram_SPP)
    variance = float(_left(sums, same_SP, certain_SPP).sum() / max(sums.count_S.sum(), 1)) / 2
    covariance_PP, scale2_S = np.eye(num_columns) * variance, np.full(num_people, variance)
    penalty_F = np.array([1e-9, *np.full(num_readings - 1, PRIOR_PEOPLE)])
    mean_SP = same_SP
    for _ in range(NUM_ROUNDS):
        mean_SP, left_SPP = _posterior(covariance_PP, readings_SF @ weight_FP, sums, scale2_S)
        weight_FP = np.linalg.solve(readings_SF.T @ readings_SF + np.diag(penalty_F), readings_SF.T @ mean_SP)
        apart_SP = mean_SP - readings_SF @ weight_FP
        moment_PP = apart_SP.T @ apart_SP + left_SPP.sum(axis=0)
        imagined_PP = PRIOR_PEOPLE * np.diag(np.diag(moment_PP)) / num_people
        covariance_PP = (moment_PP + imagined_PP) / (num_people + PRIOR_PEOPLE)
        variance = float(_left(sums, mean_SP, left_SPP).sum() / max(sums.count_S.sum(), 1))
        scale2_S = _scales(sums, mean_SP, left_SPP, variance)
    return weight_FP, covariance_PP, variance, mean_SP, scale2_S


def _posterior(
    covariance_PP: np.ndarray, prior_SP: np.ndarray, sums: _Sums, scale2_S: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of people's coefficients: ``(covariance^-1 + X'X / s^2)^-1``, without an inverse of the covariance."""
    precision_SPP = sums.gram_SPP / scale2_S[:, None, None]
    inner_SPP = np.eye(len(covariance_PP)) + covariance_PP @ precision_SPP
    left_SPP = np.linalg.solve(inner_SPP, np.broadcast_to(covariance_PP, inner_SPP.shape))
    left_SPP = (left_SPP + left_SPP.transpose(0, 2, 1)) / 2
    pull_SP = sums.cross_SP / scale2_S[:, None] - (precision_SPP @ prior_SP[:, :, None])[:, :, 0]
    return prior_SP + (left_SPP @ pull_SP[:, :, None])[:, :, 0], left_SPP


def _left(sums: _Sums, mean_SP: np.ndarray, left_SPP: np.ndarray) -> np.ndarray:
    """Return the expected sum of people's squared residuals (S,)."""
    explained_S = 2 * (sums.cross_SP * mean_SP).sum(axis=1)
    moment_SPP = left_SPP + mean_SP[:, :, None] * mean_SP[:, None, :]
    return np.maximum(sums.square_S - explained_S + (sums.gram_SPP * moment_SPP).sum(axis=(1, 2)), 0.0)


def _scales(sums: _Sums, mean_SP: np.ndarray, left_SPP: np.ndarray, variance: float) -> np.ndarray:
    """Return people's variances of residuals (S,), drawn towards the group's."""
    return (_left(sums, mean_SP, left_SPP) + PRIOR_TRIALS * variance) / (sums.count_S + PRIOR_TRIALS)


def _practice(
    log_J: np.ndarray, trials: ObservedTrials, place_J: np.ndarray, num_tasks: int, num_people: int
) -> np.ndarray:
    """Return the mean (T, B) over training trials of the logarithm minus the person's own mean, by place in the task."""
    group_J = trials.person_J * num_tasks + trials.task_J
    count = np.bincount(group_J, minlength=num_people * num_tasks)
    mean = np.bincount(group_J, weights=log_J, minlength=num_people * num_tasks) / np.maximum(count, 1)
    step_J = np.searchsorted(PLACE_EDGES, place_J, side="right")
    found_TB, count_TB = np.zeros((num_tasks, len(PLACE_EDGES) + 1)), np.zeros((num_tasks, len(PLACE_EDGES) + 1))
    np.add.at(found_TB, (trials.task_J, step_J), log_J - mean[group_J])
    np.add.at(count_TB, (trials.task_J, step_J), 1.0)
    return np.asarray(found_TB / np.maximum(count_TB, 1))
