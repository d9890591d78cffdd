"""The living evaluation of baselines: every question that a cohort allows, at every number of own trials.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from dtb.evaluate.living.baselines import Baselines, Group, Said, readings_of, regressions_of
from dtb.evaluate.living.blend import (
    LIVING,
    LIVING_BLEND,
    blended,
    change_of,
    level_of,
    moved,
    partner_of,
    share_of,
    widened,
)
from dtb.evaluate.living.questions import Order, Question, order_of, questions_of
from dtb.evaluate.living.table import rows_of
from dtb.evaluate.predictors.fitting import Fitted
from dtb.evaluate.scores.observed import People
from dtb.tasks.taskset import TaskSet

Sessions = Sequence[Sequence[str]]
Span = Literal["later", "next session"]
SayMore = Callable[[Question, str, Order], dict[str, Said]]
"""Returns what further predictors say after so many trials: the question, the amount, and the order of people's trials."""


class Living:
    """Training people, people to predict, and what is asked.

    Parameters
    ----------
    training, people : People
        All of their trials, not those of a part of their runs.
    training_sessions, sessions : sequence of sequence of str
        The session of each run of each person's record; see `dtb.evaluate.living.questions.sessions_of`.
    taskset : TaskSet
    stack : Fitted, optional
        What all regressions say together; None where nothing is known of a connectome.
    fold_S : (S,) int, optional
        Folds of training people behind the stack.
    validation_S : (S,) bool, optional
        Who of the training people took no part in the twin's training but to end it. They tell how wide the twin's intervals should be, and
        how much of it is blended with a baseline.
    familiar_S : (S,) bool, optional
        Who of the training people tell, with these, the level of the twin's figures.

    Attributes
    ----------
    questions : list of Question
    validation, familiar : People
        The people of `validation_S` and `familiar_S`.
    """

    def __init__(
        self,
        training: People,
        training_sessions: Sessions,
        people: People,
        sessions: Sessions,
        taskset: TaskSet,
        stack: Fitted | None = None,
        fold_S: np.ndarray | None = None,
        validation_S: np.ndarray | None = None,
        familiar_S: np.ndarray | None = None,
    ) -> None:
        self.taskset, self.people, num_tasks = taskset, people, len(taskset.specs)
        folds_S = np.zeros(len(training), np.int64) if fold_S is None else fold_S
        readings = readings_of(stack, folds_S, num_tasks)
        mine, theirs = readings if readings is not None else (None, None)
        spans: tuple[Span, ...] = ("later", "next session")
        self._training = {
            span: Group(training, order_of(training.trials, training_sessions, num_tasks, kind=span), mine)
            for span in spans
        }
        self._people = {
            span: Group(people, order_of(people.trials, sessions, num_tasks, kind=span), theirs) for span in spans
        }

        def chosen(chosen_S: np.ndarray | None) -> tuple[People, dict[Span, Group]]:
            if chosen_S is None or not chosen_S.any():
                return training.only(np.zeros(len(training), bool)), {}
            some = training.only(chosen_S)
            known = [training_sessions[row] for row in np.flatnonzero(chosen_S).tolist()]
            read = None if mine is None else mine[chosen_S]
            return some, {span: Group(some, order_of(some.trials, known, num_tasks, kind=span), read) for span in spans}

        self.validation, self._validation = chosen(validation_S)
        self.familiar, self._familiar = chosen(familiar_S)
        self.questions = questions_of(self._people["later"].order, self._people["next session"].order, taskset)

    def order(self, question: Question) -> Order:
        """Return the order of people's trials in which a question is asked."""
        return self._people[_span(question)].order

    def amounts(self, question: Question) -> list[str]:
        """Return the points of a question's curve."""
        return self.order(question).amounts(question.given, self._is_judged(question))

    def _is_judged(self, question: Question) -> np.ndarray:
        judged_J = self.order(question).judged(self.people.trials, question.judged)
        return np.asarray(np.bincount(self.people.trials.person_J[judged_J], minlength=len(self.people)) > 0)

    def points(self) -> int:
        """Return the number of points of all curves."""
        return sum(len(self.amounts(question)) for question in self.questions)

    def tables(
        self,
        say_more: SayMore | None = None,
        say_of_validation: SayMore | None = None,
        say_of_familiar: SayMore | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Yield the rows of each point of each curve.

        Parameters
        ----------
        say_more : function, optional
            Further predictors, such as a twin.
        say_of_validation : function, optional
            What the twin says of validation people; with it, the twin's figures are moved and their intervals widened, and twin and
            baseline are blended.
        say_of_familiar : function, optional
            What it says of familiar people.
        """
        regressions = {
            span: regressions_of(self._training[span], len(self.taskset.specs))
            for span in {_span(question) for question in self.questions}
        }
        for question in self.questions:
            span = _span(question)
            training, people = self._training[span], self._people[span]
            baselines = Baselines(question, training, people, self.taskset, regressions[span])
            validated = None
            if say_of_validation is not None and span in self._validation:
                group = self._validation[span]
                others = Baselines(question, training, group, self.taskset, regressions[span])
                familiar = None
                if say_of_familiar is not None and span in self._familiar:
                    familiar = self._familiar[span], say_of_familiar
                validated = _Validated(
                    question, self.amounts(question), group, self.taskset, others, say_of_validation, familiar
                )
            observed_SY = people.later(self.taskset, question.judged).value_SY
            judged_J = people.order.judged(self.people.trials, question.judged)
            for amount in self.amounts(question):
                said = baselines.say(amount)
                twins = say_more(question, amount, people.order) if say_more is not None else {}
                if validated is not None:
                    twins = {name: validated.calibrated(each) for name, each in twins.items()}
                    twins[LIVING_BLEND] = blended(partner_of(said), twins[LIVING], validated.share(amount))
                said |= twins
                typical = people.order.typical(amount, question.given, self._is_judged(question))
                yield pd.concat(
                    [
                        rows_of(question, amount, typical, name, each, observed_SY, judged_J, self.people, self.taskset)
                        for name, each in said.items()
                    ],
                    ignore_index=True,
                )


class _Validated:
    """What validation people, and familiar ones, tell of the twin in one question."""

    def __init__(
        self,
        question: Question,
        amounts: Sequence[str],
        group: Group,
        taskset: TaskSet,
        baselines: Baselines,
        say: SayMore,
        familiar: tuple[Group, SayMore] | None,
    ) -> None:
        self._baselines, self._did_VY = baselines, group.later(taskset, question.judged).value_SY
        said = {amount: say(question, amount, group.order)[LIVING] for amount in amounts}
        most = amounts[-1]
        errors = [self._did_VY - said[most].mean_QY]
        if familiar is not None:
            others, say_of_others = familiar
            theirs = say_of_others(question, most, others.order)[LIVING]
            errors.append(others.later(taskset, question.judged).value_SY - theirs.mean_QY)
        self._level_Y = level_of(np.concatenate(errors))
        self._change_Y = change_of(self._did_VY, [moved(each, self._level_Y) for each in said.values()])
        self._said = {amount: self.calibrated(each) for amount, each in said.items()}

    def calibrated(self, said: Said) -> Said:
        """Return the same with the level and the width that these people ask for."""
        return widened(moved(said, self._level_Y), self._change_Y)

    def share(self, amount: str) -> np.ndarray:
        """Return the twin's share (Y,) in the blend at one point of the curve."""
        return share_of(self._did_VY, partner_of(self._baselines.say(amount)), self._said[amount])


def _span(question: Question) -> Span:
    return "next session" if question.kind == "next session" else "later"
