"""All that the events files of a task say of it: what each column is taken for.

Shape letters: `W` row of the pooled files, `J` press.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtb.tasks.draft.answers import Answers, could_be_shown, find_answers, leaks, outcomes, withheld
from dtb.tasks.draft.columns import Pool, pool_tables
from dtb.tasks.draft.presses import (
    Accuracy,
    Responses,
    Times,
    Where,
    find_accuracy,
    find_responses,
    find_times,
    find_trials,
    without_other_keys,
)
from dtb.tasks.plain_text import ABSENT
from dtb.tasks.tables import Table


@dataclasses.dataclass(frozen=True)
class Found:
    """What columns are taken for.

    Attributes
    ----------
    pool : Pool
    times : Times
    where : dict
        Rows that are trials, as `trials.where` has it.
    trial_W : (W,) bool
        The same.
    responses : Responses or None
    accuracy : Accuracy or None
    answers : Answers
    shown : tuple of str
        Columns that may say what a person saw.
    told : dict of str to dict
        Columns whose values tell what a person did, with the value that each should have instead.
    """

    pool: Pool
    times: Times
    where: Where
    trial_W: np.ndarray
    responses: Responses | None
    accuracy: Accuracy | None
    answers: Answers
    shown: tuple[str, ...]
    told: dict[str, dict[str, str]]

    def numbers(self, name: str) -> np.ndarray:
        """(W,) float: a column's numbers; NaN where there is no such column."""
        return self.pool.numbers(name) if name in self.pool.columns else np.full(self.pool.num_rows, np.nan)

    @property
    def rt_J(self) -> np.ndarray:
        """(J,) float: reaction times of the trials with a press, in seconds."""
        return self.times.seconds_W[self.trial_W & self.times.pressed_W]

    @property
    def durations(self) -> np.ndarray:
        """Durations of trials above 0, in seconds."""
        duration = self.numbers("duration")[self.trial_W]
        return duration[np.isfinite(duration) & (duration > 0)]

    @property
    def spacing_seconds(self) -> float | None:
        """Median time from one trial to the next; None where it is not known."""
        onset_W = self.numbers("onset")
        files = [self.trial_W & (self.pool.file_W == file) for file in np.unique(self.pool.file_W)]
        between = np.concatenate([np.diff(onset_W[own_W]) for own_W in files])
        between = between[between > 0]  # not NaN either
        return float(np.median(between)) if len(between) else None


def kind_of(name: str) -> str:
    """Return the name of the column that is made of one that tells what a person did."""
    return f"{name}_kind"


def look_at(tables: Sequence[Table]) -> Found:
    """Return what the columns of one task's events files are taken for.

    Raises
    ------
    InputDataError
        The files have no column in common.
    TaskError
        No column looks like reaction times.
    """
    pool = pool_tables(tables)
    times = find_times(pool)
    where, trial_W = find_trials(pool, times)
    responses = find_responses(pool, times, trial_W)
    accuracy = find_accuracy(pool, times, responses, trial_W)
    if responses is not None and accuracy is not None:
        responses = without_other_keys(pool, trial_W, responses, accuracy)
    shown = could_be_shown(pool, trial_W, times, responses, accuracy)
    told = outcomes(pool, times, trial_W, shown)
    columns = dict(pool.columns)
    for name, values in told.items():
        columns[kind_of(name)] = np.array([values.get(cell, ABSENT) for cell in pool.columns[name]], dtype=object)
    pool = dataclasses.replace(pool, columns=columns)
    shown = [kind_of(name) if name in told else name for name in shown]
    withhold = withheld(pool, times, trial_W, accuracy, shown)
    leaking = leaks(pool, times, trial_W, shown, withhold)
    shown = [name for name in shown if name not in leaking]
    answers = find_answers(pool, times, trial_W, responses, accuracy, withhold, shown)
    return Found(pool, times, where, trial_W, responses, accuracy, answers, tuple(shown), told)
