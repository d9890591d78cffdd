"""Which of a person's trials are given and which are predicted.

What is given always comes before what is judged, and what is judged is the same for every number of trials given, so that points of a
curve can be compared. Within a session the first runs of a task are given and the later ones judged; of a single run the first half of
its trials is given and the rest judged. With several sessions, the first is given and the second judged as well.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from dtb.evaluate.scores.observed import ObservedTrials
from dtb.people.records import SubjectRecord
from dtb.tasks.taskset import TaskSet

Kind = Literal["later", "other task", "next session"]

NUMBERS = (0, 5, 10, 20, 40)
HALF_A_RUN, A_RUN, ALL = "half a run", "a run", "all"
"""A curve has points at these numbers of own trials, and at as many as half a run has, a run, and all that may be given."""
SHARE_WITH_ENOUGH = 0.9
"""A point needs so many of the people to have as many trials; the others give all that they have."""
FEWEST_JUDGED = 5
"""A person with fewer judged trials of a task is not judged in it."""


class Question(NamedTuple):
    """One curve: from trials of which task trials of which task are predicted.

    Attributes
    ----------
    kind : {"later", "other task", "next session"}
    given, judged : int
        Indices of the tasks.
    """

    kind: Kind
    given: int
    judged: int


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """People's trials in the order of time, and where what may be given ends.

    Attributes
    ----------
    place_J : (J,) int64
        Place among the person's trials of the task, from 0; -1 for trials that are neither given nor judged.
    num_given_ST, num_judged_ST : (S, T) int64
        A person's trials of a task up to the first of these numbers may be given, those after it are judged.
    run_size_ST : (S, T) int64
        Trials in a person's first run of the task.
    num_runs_ST : (S, T) int64
        Whole runs that may be given.
    """

    place_J: np.ndarray
    num_given_ST: np.ndarray
    num_judged_ST: np.ndarray
    run_size_ST: np.ndarray
    num_runs_ST: np.ndarray

    def judged(self, trials: ObservedTrials, task: int) -> np.ndarray:
        """Return the mask (J,) of judged trials of a task."""
        here_J = (trials.task_J == task) & (self.num_judged_ST[trials.person_J, task] >= FEWEST_JUDGED)
        return here_J & (self.place_J >= self.num_given_ST[trials.person_J, task])

    def given(self, trials: ObservedTrials, task: int, count_S: np.ndarray) -> np.ndarray:
        """Return the mask (J,) of the first trials of a task, `count_S` of each person and no more than may be given."""
        most_J = np.minimum(count_S, self.num_given_ST[:, task])[trials.person_J]
        return (trials.task_J == task) & (self.place_J >= 0) & (self.place_J < most_J)

    def count(self, amount: str, task: int) -> np.ndarray:
        """Return how many trials (S,) of a task each person gives at a point of the curve; no more than there are to give."""
        most_S = self.num_given_ST[:, task]
        if amount == ALL:
            return most_S
        size_S = self.run_size_ST[:, task]
        wanted_S = (
            size_S // 2 if amount == HALF_A_RUN else size_S if amount == A_RUN else np.full_like(most_S, int(amount))
        )
        return np.minimum(wanted_S, most_S)

    def amounts(self, task: int, is_judged_S: np.ndarray) -> list[str]:
        """Return the points of a curve over trials of a task, the smallest first.

        Parameters
        ----------
        task : int
            The task whose trials are given.
        is_judged_S : (S,) bool
            Who is judged; others decide nothing.
        """
        most_S = self.num_given_ST[:, task]
        counts_S = is_judged_S & (most_S > 0)
        if not counts_S.any():
            return ["0"]
        found = [str(number) for number in NUMBERS if (most_S[counts_S] >= number).mean() >= SHARE_WITH_ENOUGH]
        num_runs = float(np.median(self.num_runs_ST[counts_S, task]))
        further = [HALF_A_RUN, *([A_RUN] if num_runs >= 1 else []), *([ALL] if num_runs >= 2 else [])]
        known = {int(number) for number in found}
        return [*found, *(name for name in further if self.typical(name, task, counts_S) not in known)]

    def typical(self, amount: str, task: int, counts_S: np.ndarray) -> int:
        """Return the median over some people of the trials they give."""
        return round(float(np.median(self.count(amount, task)[counts_S]))) if counts_S.any() else 0


def sessions_of(records: Iterable[SubjectRecord]) -> list[tuple[str, ...]]:
    """Return the session of each of people's runs, as text; empty where there is none."""
    return [tuple(run.session or "" for run in record.runs) for record in records]


def order_of(
    trials: ObservedTrials,
    sessions: Sequence[Sequence[str]],
    num_tasks: int,
    *,
    kind: Literal["later", "next session"] = "later",
) -> Order:
    """Return people's trials in the order of time.

    Parameters
    ----------
    trials : ObservedTrials
    sessions : sequence of sequence of str
        For each person the session of each run of the record.
    num_tasks : int
    kind : {"later", "next session"}
        Whether later trials of the first session are judged, or the second session.
    """
    num_people = len(sessions)
    place_J = np.full(len(trials), -1, np.int64)
    shape = (num_people, num_tasks)
    given_ST, judged_ST, size_ST, runs_ST = (np.zeros(shape, np.int64) for _ in range(4))
    by_group = np.lexsort((trials.trial_J, trials.run_J, trials.task_J, trials.person_J))
    group_J = trials.person_J[by_group] * num_tasks + trials.task_J[by_group]
    for rows in np.split(by_group, np.flatnonzero(np.diff(group_J)) + 1) if len(by_group) else []:
        person, task = int(trials.person_J[rows[0]]), int(trials.task_J[rows[0]])
        run_J = trials.run_J[rows]
        session_J = np.array([sessions[person][run] for run in run_J])
        names = np.unique(session_J)
        place = (person, task)
        if kind == "next session":
            if len(names) < 2:
                continue
            first, second = rows[session_J == names[0]], rows[session_J == names[1]]
            num_runs = len(np.unique(run_J[session_J == names[0]]))
        else:
            mine = rows[session_J == names[0]]
            runs = np.unique(trials.run_J[mine])
            num_runs = len(runs) // 2
            half = np.arange(len(mine)) < len(mine) // 2
            is_first = np.isin(trials.run_J[mine], runs[:num_runs]) if num_runs else half
            first, second = mine[is_first], mine[~is_first]
        place_J[first], place_J[second] = np.arange(len(first)), len(first) + np.arange(len(second))
        given_ST[place], judged_ST[place], runs_ST[place] = len(first), len(second), num_runs
        size_ST[place] = (trials.run_J[rows] == trials.run_J[first[0]]).sum() if len(first) else 0
    return Order(place_J, given_ST, judged_ST, size_ST, runs_ST)


def questions_of(later: Order, next_session: Order, taskset: TaskSet) -> list[Question]:
    """Return the curves that these people allow, the same task's first."""
    tasks = [task for task in range(len(taskset.specs)) if _enough(later, task)]
    found = [Question("later", task, task) for task in tasks]
    found += [Question("other task", one, other) for one in tasks for other in tasks if one != other]
    again = [task for task in range(len(taskset.specs)) if _enough(next_session, task)]
    return [*found, *(Question("next session", task, task) for task in again)]


def _enough(order: Order, task: int) -> bool:
    """Return whether some people have trials of a task both to give and to be judged by."""
    return bool(((order.num_given_ST[:, task] > 0) & (order.num_judged_ST[:, task] >= FEWEST_JUDGED)).sum() >= 3)
