"""The living part of `dtb evaluate`: the twin and the baselines after so many of people's own trials.

It is made for twins with person effects whose split tests people they have not seen.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from rich.progress import Progress

from dtb import terminal
from dtb.evaluate.inputs import EvaluationInputs
from dtb.evaluate.living.evaluate import Living
from dtb.evaluate.living.questions import sessions_of
from dtb.evaluate.living.twin import TWINS, TwinPredictor
from dtb.evaluate.predictors.table import STACK, Given
from dtb.shards.batches import BatchMaker

MOST_PEOPLE = 200
"""Of more test people the curves are made of so many, the first by pseudonym, which is a matter of chance."""


def has_curves(task: EvaluationInputs) -> bool:
    """Return whether curves over own data are made of a twin."""
    return task.twin.prior is not None and not task.split.tests_seen_people and task.split.kind != "tasks"


def living_table(task: EvaluationInputs, given: Given, maker: BatchMaker, progress: Progress) -> pd.DataFrame:
    """Return what twin and baselines say of people after so many of their own trials, one row a person, figure, point and predictor.

    Parameters
    ----------
    task : EvaluationInputs
    given : Given
        What baselines are fitted to, and whom they predict.
    maker : BatchMaker
    progress : Progress
    """
    cohort, taskset = task.cohort, task.taskset
    chosen_S = np.zeros(len(given.people), bool)
    chosen_S[np.argsort(given.people.pseudonyms, kind="stable")[:MOST_PEOPLE]] = True
    people = given.people.only(chosen_S)
    if len(people) < len(given.people):
        terminal.err.print(
            f"Curves over own data are made of {len(people)} of the {len(given.people)} people; the certificate says of how many each is."
        )
    records = list(cohort.records(people.pseudonyms))
    stack = given.regressions.get(STACK)
    if stack is not None:
        stack = type(stack)(stack.said_QY[chosen_S], stack.left_out_SY)
    living = Living(
        given.training,
        [tuple(run["session"] or "" for run in cohort.header(who)["runs"]) for who in given.training.pseudonyms],
        people,
        sessions_of(records),
        taskset,
        stack,
        given.fold_S,
    )
    bar = progress.add_task("curves over own data", total=living.points() * len(TWINS) * len(people))
    advance = partial(progress.advance, bar)
    twin = TwinPredictor(task.twin, maker, records, people, "test", taskset, advance)
    tables = list(living.tables(twin.say))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
