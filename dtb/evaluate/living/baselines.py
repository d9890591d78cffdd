"""Baselines of a living twin: what own trials and the connectome say of people's later figures, without a model of the brain.

- *group mean*: nothing is known of the person.
- *own mean*: the same figure of the given trials, drawn towards the group as far as its noise asks (empirical Bayes).
- *connectome*: the stack of all regressions on the connectome, demographics and motion.
- *linear mix*: the best linear combination of these two.
- *multi-output Gaussian*: all figures of the given trials and all that the stack says, together.
- *trial regression*: a hierarchical regression of single trials, with and without the stack's readings.

Each says a mean and a variance of every figure. How much of a figure of few trials is to be believed is learnt from training people's own
first trials.

Shape letters: see `dtb.evaluate.scores.observed`; `Q` person to predict, `Y` figure, `F` dimension of a Gaussian.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from dtb.evaluate.living.gaussian import Gaussian, fitted
from dtb.evaluate.living.own_figures import FIGURES, OwnFigures, Spread, expected_noise, own_figures, spread_of
from dtb.evaluate.living.questions import Order, Question
from dtb.evaluate.living.trial_regression import Coefficients, TrialRegression
from dtb.evaluate.living.trial_regression import fitted as fitted_to_trials
from dtb.evaluate.living.trial_scores import figures_of, trial_scores
from dtb.evaluate.predictors.baselines import group_mean, with_accuracy
from dtb.evaluate.predictors.fitting import Fitted
from dtb.evaluate.predictors.predictions import mean_over_people
from dtb.evaluate.scores.observed import People
from dtb.tasks.taskset import TaskSet

GROUP, OWN, CONNECTOME, MIX, MANY = "group_mean", "own_mean", "connectome", "linear_mix", "multi_output"
TRIALS, TRIALS_CONNECTOME = "trial_regression", "trial_regression_connectome"
BASELINES = {
    GROUP: "the group mean",
    OWN: "the person's own mean, drawn towards the group",
    CONNECTOME: "the stack of all regressions on the connectome",
    MIX: "the best linear mix of own mean and connectome",
    MANY: "a Gaussian over all figures and all that the connectome says",
    TRIALS: "a hierarchical regression of trials",
    TRIALS_CONNECTOME: "a hierarchical regression of trials that reads the connectome",
}
"""By name, in words."""
WITH_CONNECTOME = (CONNECTOME, MIX, MANY, TRIALS_CONNECTOME)
NOISE_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
SMALLEST_READING = 1e-4
"""A reading whose variance over training people is a smaller part of its figure's is none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Some people and the order of their trials.

    Attributes
    ----------
    people : People
    order : Order
    readings_SYT : (S, Y, T) float64 or None
        What the stack says of each figure in each task, in the order of `FIGURES`; of training people by fits that had not seen them.
    """

    people: People
    order: Order
    readings_SYT: np.ndarray | None = None

    def first(self, taskset: TaskSet, task: int, amount: str, spread: Spread | None = None) -> OwnFigures:
        """Return figures of the first trials of a task."""
        given_J = self.order.given(self.people.trials, task, self.order.count(amount, task))
        return own_figures(self.people.trials, given_J, len(self.people), taskset, task, spread)

    def later(self, taskset: TaskSet, task: int, spread: Spread | None = None) -> OwnFigures:
        """Return figures of the judged trials of a task."""
        judged_J = self.order.judged(self.people.trials, task)
        return own_figures(self.people.trials, judged_J, len(self.people), taskset, task, spread)


@dataclasses.dataclass(frozen=True, eq=False)
class Said:
    """What a predictor says of judged trials.

    Attributes
    ----------
    mean_QY, variance_QY : (Q, Y) float64
        Of people's figures, the noise of so many judged trials included; NaN where nothing is said.
    crps_J, log_score_J : (J,) float64 or None
        Scores of reaction times of single trials.
    outcome_JO : (J, O) float64 or None
        Probabilities of outcomes of single trials.
    """

    mean_QY: np.ndarray
    variance_QY: np.ndarray
    crps_J: np.ndarray | None = None
    log_score_J: np.ndarray | None = None
    outcome_JO: np.ndarray | None = None


def readings_of(stack: Fitted | None, fold_S: np.ndarray, num_tasks: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what the stack says of training people and of those to predict, (S, Y, T) and (Q, Y, T).

    Training people's folds are brought to a common mean: what is left out of the mean over others' folds would go against it.
    """
    if stack is None:
        return None
    num = len(FIGURES) * num_tasks
    left_out_SY, said_QY = stack.left_out_SY[:, :num].copy(), stack.said_QY[:, :num]
    middle_Y = mean_over_people(left_out_SY)
    for fold in np.unique(fold_S):
        left_out_SY[fold_S == fold] += middle_Y - mean_over_people(left_out_SY[fold_S == fold])
    shape = (-1, len(FIGURES), num_tasks)
    return left_out_SY.reshape(shape), said_QY.reshape(shape)


class Baselines:
    """All baselines of one question, fitted to training people.

    Parameters
    ----------
    question : Question
    training, people : Group
        Training people, and whom to predict.
    taskset : TaskSet
    regressions : mapping of str to TrialRegression
        From `regressions_of` the training people.
    """

    def __init__(
        self,
        question: Question,
        training: Group,
        people: Group,
        taskset: TaskSet,
        regressions: Mapping[str, TrialRegression],
    ) -> None:
        self._question, self._taskset = question, taskset
        self._training, self._people = training, people
        trials = training.people.trials
        everything_J = np.ones(len(trials), bool)
        self._spreads = {
            task: spread_of(trials, everything_J, len(training.people), task)
            for task in {question.given, question.judged}
        }
        self._early = self._of(training, "all")
        self._late = training.later(taskset, question.judged, self._spreads[question.judged])
        self._readings = self._usable_readings()
        self._gaussians = self._fit_gaussians()
        self._regressions = regressions

    def _of(self, group: Group, amount: str) -> OwnFigures:
        given = self._question.given
        return group.first(self._taskset, given, amount, self._spreads[given])

    def _usable_readings(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return readings (S, F) and (Q, F), first those of the judged task, NaN where they say nothing."""
        mine_SYT, theirs_QYT = self._training.readings_SYT, self._people.readings_SYT
        if mine_SYT is None or theirs_QYT is None:
            return None
        judged = self._question.judged
        tasks = [judged, *(task for task in range(mine_SYT.shape[2]) if task != judged)]
        mine_SF, theirs_QF = (
            np.concatenate([values[:, :, task] for task in tasks], axis=1) for values in (mine_SYT, theirs_QYT)
        )
        spread_F = np.nanvar(np.where(np.isfinite(mine_SF).any(axis=0), mine_SF, 0.0), axis=0)
        scale_F = np.tile(np.nanvar(self._late.value_SY, axis=0), len(tasks))
        is_known_F = (spread_F > SMALLEST_READING * np.nan_to_num(scale_F)) & np.isfinite(theirs_QF).any(axis=0)
        return np.where(is_known_F, mine_SF, np.nan), np.where(is_known_F, theirs_QF, np.nan)

    def _fit_gaussians(self) -> dict[str, list[Gaussian]]:
        """Return for each baseline one Gaussian a figure, or one for all; its dimensions are early, late, readings."""
        early, late, num = self._early, self._late, len(FIGURES)

        def of(columns: list[int], readings_SF: np.ndarray | None, shrinkage: float) -> Gaussian:
            parts = [(one.value_SY[:, columns], one.noise_SY[:, columns]) for one in (early, late)]
            if readings_SF is not None:
                parts.append((readings_SF, np.zeros_like(readings_SF)))
            seen_SF, noise_SF = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
            judged_S = np.isfinite(late.value_SY[:, columns]).any(axis=1)
            group_F = np.concatenate([columns, columns, num + np.arange(seen_SF.shape[1] - 2 * len(columns))])
            return fitted(seen_SF[judged_S], noise_SF[judged_S], shrinkage, group_F)

        readings = self._readings
        found = {OWN: [of([figure], None, 0.0) for figure in range(num)]}
        if readings is not None:
            found[MIX] = [of([figure], readings[0][:, [figure]], 0.0) for figure in range(num)]
        known = None if readings is None else readings[0]
        size = 2 * num + (0 if known is None else known.shape[1])
        found[MANY] = [of(list(range(num)), known, size / 2)]
        return found

    def say(self, amount: str) -> dict[str, Said]:
        """Return what every baseline says after so many trials.

        Parameters
        ----------
        amount : str
            One of `Order.amounts`.
        """
        question, people, num = self._question, self._people, len(FIGURES)
        given_J = people.order.given(people.people.trials, question.given, people.order.count(amount, question.given))
        judged_J = people.order.judged(people.people.trials, question.judged)
        coming_QY = expected_noise(
            people.people.trials,
            given_J,
            judged_J,
            len(people.people),
            self._taskset,
            question.given,
            question.judged,
            self._spreads[question.judged],
        )
        nothing, first = self._unseen(people), self._corrected(amount)
        found: dict[str, Said] = {}
        for name, gaussians in self._gaussians.items():
            known = None if self._readings is None or name == OWN else self._readings[1]
            found[name] = self._from(gaussians, first, known, coming_QY, amount)
            if name in {OWN, MIX}:
                alone = {OWN: GROUP, MIX: CONNECTOME}[name]
                found[alone] = self._from(gaussians, nothing, known, coming_QY, "0")
        for name, regression in self._regressions.items():
            factor = self._noise_factor(self._gaussians[OWN][0], [0], False, amount)
            found[name] = self._of_trials(name, regression, given_J, judged_J, factor)
        assert all(said.mean_QY.shape[1] == num for said in found.values())
        return {
            name: dataclasses.replace(found[name], outcome_JO=self._outcomes(found[name]))
            for name in BASELINES
            if name in found
        }

    def _unseen(self, group: Group) -> OwnFigures:
        nothing_SY = np.full((len(group.people), len(FIGURES)), np.nan)
        return OwnFigures(nothing_SY, nothing_SY)

    def _corrected(self, amount: str) -> OwnFigures:
        """Return the figures of people's first trials, as far as training people's first trials differed from all early ones."""
        mine, theirs = self._of(self._training, amount), self._of(self._people, amount)
        shift_Y = mean_over_people(mine.value_SY - self._early.value_SY)
        return OwnFigures(theirs.value_SY - np.nan_to_num(shift_Y), theirs.noise_SY)

    def _from(
        self,
        gaussians: Sequence[Gaussian],
        first: OwnFigures,
        readings_QF: np.ndarray | None,
        coming_QY: np.ndarray,
        amount: str,
    ) -> Said:
        mean_QY, variance_QY = np.full_like(coming_QY, np.nan), np.full_like(coming_QY, np.nan)
        num = len(FIGURES)
        for place, gaussian in enumerate(gaussians):
            columns = [place] if len(gaussians) == num else list(range(num))
            known_QF = readings_QF
            if known_QF is not None and len(columns) == 1:
                known_QF = known_QF[:, columns]
            factor = self._noise_factor(gaussian, columns, readings_QF is not None, amount)
            told = OwnFigures(first.value_SY[:, columns], factor * first.noise_SY[:, columns])
            late = slice(len(columns), 2 * len(columns))
            posterior_QF, left_QFF = _told(gaussian, told, known_QF)
            mean_QY[:, columns] = posterior_QF[:, late]
            variance_QY[:, columns] = np.diagonal(left_QFF, axis1=1, axis2=2)[:, late]
        return Said(mean_QY, variance_QY + coming_QY)

    def _noise_factor(self, gaussian: Gaussian, columns: list[int], with_readings: bool, amount: str) -> float:
        """Return how much noisier first trials are than independent ones: so that training people's later ones are likeliest."""
        mine = self._of(self._training, amount)
        if not all(np.isfinite(each.value_SY[:, columns]).any() for each in (mine, self._late)):
            return 1.0
        shift_Y = np.nan_to_num(mean_over_people(mine.value_SY - self._early.value_SY))
        readings_SF = self._readings[0] if with_readings and self._readings is not None else None
        if readings_SF is not None and len(columns) == 1:
            readings_SF = readings_SF[:, columns]
        late_SY, noise_SY = self._late.value_SY[:, columns], self._late.noise_SY[:, columns]
        late = slice(len(columns), 2 * len(columns))
        score = []
        for factor in NOISE_FACTORS:
            told = OwnFigures((mine.value_SY - shift_Y)[:, columns], factor * mine.noise_SY[:, columns])
            said_SF, left_SFF = _told(gaussian, told, readings_SF)
            variance_SY = np.diagonal(left_SFF, axis1=1, axis2=2)[:, late] + noise_SY
            score.append(np.nanmean(-0.5 * np.log(variance_SY) - 0.5 * (late_SY - said_SF[:, late]) ** 2 / variance_SY))
        return NOISE_FACTORS[int(np.argmax(score))]

    def _of_trials(
        self, name: str, regression: TrialRegression, given_J: np.ndarray, judged_J: np.ndarray, factor: float
    ) -> Said:
        people, judged = self._people, self._question.judged
        trials, place_J = people.people.trials, people.order.place_J
        coefficients = self._coefficients(name, regression, people, given_J, factor)
        said = figures_of(regression, coefficients, trials, place_J, judged_J, self._taskset, judged)
        scores = trial_scores(regression, coefficients, trials, place_J, judged_J)
        return Said(*said, scores.crps_J, scores.log_score_J)

    def _coefficients(
        self, name: str, regression: TrialRegression, group: Group, given_J: np.ndarray, factor: float
    ) -> Coefficients:
        theirs = group.readings_SYT if name == TRIALS_CONNECTOME else None
        readings_SF = _with_one(theirs, self._training.readings_SYT, len(group.people))
        early_J = np.zeros(len(group.people.trials))
        return regression.condition(group.people.trials, group.order.place_J, early_J, given_J, readings_SF, factor)

    def _outcomes(self, said: Said) -> np.ndarray | None:
        """Return probabilities of outcomes: the group's, with the accuracy that is said of each person."""
        judged, _people = self._question.judged, self._people.people
        accuracy, judged, group = FIGURES.index("accuracy"), self._question.judged, self._people
        if not np.isfinite(said.mean_QY[:, accuracy]).any():
            return None
        num_tasks = len(self._taskset.specs)
        target_ST, said_ST = (
            np.where(np.arange(num_tasks) == judged, values_SY[:, [accuracy]], np.nan)
            for values_SY in (self._late.value_SY, said.mean_QY)
        )
        judged_J, outcome_JO = self._group_outcomes
        found_JO = np.full(group.people.trials.happened_JO.shape, np.nan)
        found_JO[judged_J] = with_accuracy(group.people.trials.only(judged_J), outcome_JO, target_ST, said_ST)
        return found_JO

    @cached_property
    def _group_outcomes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which trials are judged (J,), and what training people say of their outcomes."""
        trials, training, judged = self._people.people.trials, self._training.people.trials, self._question.judged
        judged_J = self._people.order.judged(trials, judged)
        return judged_J, group_mean(training.only(training.task_J == judged), trials.only(judged_J)).outcome_JO


def _told(gaussian: Gaussian, told: OwnFigures, readings_SF: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Condition a Gaussian over early figures, late figures and readings on the first and, where given, the last."""
    nothing_SY = np.full_like(told.value_SY, np.nan)
    seen, noise = [told.value_SY, nothing_SY], [told.noise_SY, nothing_SY]
    if readings_SF is not None:
        seen.append(readings_SF)
        noise.append(np.zeros_like(readings_SF))
    return gaussian.condition(np.concatenate(seen, axis=1), np.concatenate(noise, axis=1))


def regressions_of(training: Group, num_tasks: int) -> dict[str, TrialRegression]:
    """Return the hierarchical regressions of trials of training people, by name: without and, where there are any, with readings."""
    trials, readings_SYT = training.people.trials, training.readings_SYT
    late_J = np.zeros(len(trials), bool)
    for task in range(num_tasks):
        late_J |= training.order.judged(trials, task)
    given = {TRIALS: None} if readings_SYT is None else {TRIALS: None, TRIALS_CONNECTOME: readings_SYT}
    return {
        name: fitted_to_trials(
            trials,
            training.order.place_J,
            late_J,
            _with_one(each, readings_SYT, len(training.people)),
            num_tasks,
        )
        for name, each in given.items()
    }


def _with_one(readings_SYT: np.ndarray | None, training_SYT: np.ndarray | None, num_people: int) -> np.ndarray:
    """Return a column of 1 and the readings in training people's standard deviations; 0, their mean, where nothing is known."""
    one_S1 = np.ones((num_people, 1))
    if readings_SYT is None or training_SYT is None:
        return one_S1
    values_SF, training_SF = (each.reshape(len(each), -1) for each in (readings_SYT, training_SYT))
    mean_F = np.nan_to_num(mean_over_people(training_SF))[0]
    scale_F = np.sqrt(np.nan_to_num(mean_over_people((training_SF - mean_F) ** 2)))[0]
    usable_F = scale_F > 1e-3 * np.abs(mean_F)
    standard_SF = np.where(usable_F, np.nan_to_num((values_SF - mean_F) / np.where(usable_F, scale_F, 1.0)), 0.0)
    return np.concatenate([one_S1, standard_SF], axis=1)
