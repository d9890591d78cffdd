"""The living part of `dtb evaluate`: the twin and the baselines after so many of people's own trials.

It is made for twins with person effects whose split tests people they have not seen.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from dtb import terminal
from dtb.evaluate.inputs import EvaluationInputs
from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.bold import MapQuestion, bold_curves, bold_table
from dtb.evaluate.living.curves import curves
from dtb.evaluate.living.evaluate import Living
from dtb.evaluate.living.questions import sessions_of
from dtb.evaluate.living.table import QUESTION
from dtb.evaluate.living.twin import LIVING_ALONE, TWINS, TwinPredictor
from dtb.evaluate.living.worth import Worth, worths_of
from dtb.evaluate.predictors.table import STACK, Given
from dtb.evaluate.scores.observed import People
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Part

LIVING_FILE, LIVING_PEOPLE_FILE = "living.parquet", "living_people.parquet"
BOLD_FILE, BOLD_PEOPLE_FILE = "living_bold.parquet", "living_bold_people.parquet"
MOST_PEOPLE = 200
"""Of more test people the curves are made of so many, the first by pseudonym, which is a matter of chance."""
MOST_FAMILIAR = 40
"""So many people that the twin was trained on tell the level of its figures, with the validation people."""


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
            f"Curves over own data are made of {len(people)} of the {len(given.people)} test people, so that they take no longer "
            "than the evaluation."
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
        np.isin(given.training.pseudonyms, task.split.validation),
        np.isin(given.training.pseudonyms, sorted(task.split.train)[:MOST_FAMILIAR]),
    )
    work = living.points() * (len(TWINS) * len(people) + len(living.validation))
    bar = progress.add_task("curves over own data", total=work + len(living.questions) * len(living.familiar))
    advance = partial(progress.advance, bar)

    def predictor(people: People, part: Part, *names: str) -> TwinPredictor:
        records = list(cohort.records(people.pseudonyms))
        return TwinPredictor(task.twin, maker, records, people, part, taskset, advance, names)

    twin, validation = predictor(people, "test", *TWINS), predictor(living.validation, "validation", LIVING)
    familiar = predictor(living.familiar, "train", LIVING)
    tables = list(living.tables(twin.say, validation.say, familiar.say))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def bold_minutes(task: EvaluationInputs, maker: BatchMaker, progress: Progress) -> pd.DataFrame:
    """Return what twin and baselines say of people's later maps after their first minutes of task BOLD; no rows where there is none.

    Parameters
    ----------
    task : EvaluationInputs
    maker : BatchMaker
    progress : Progress
    """
    if not len(task.bold_regions):
        return pd.DataFrame()
    records = list(task.cohort.records(sorted(task.split.test)[:MOST_PEOPLE]))
    question = MapQuestion(task.taskset, task.bold_regions, task.twin.bold_scale_R.numpy().astype(np.float64))
    points = sum(len(question.amounts(records, place)) for place in range(len(task.taskset.specs)))
    bar = progress.add_task("later maps from first minutes", total=points * len(TWINS) * len(records))
    training = task.cohort.records(task.training_people)
    return bold_table(task.twin, maker, question, training, records, partial(progress.advance, bar))


def bold_conclusions(table: pd.DataFrame, num_draws: int, confidence: float) -> dict[str, pd.DataFrame]:
    """Return the tables to write of what `bold_minutes` found, by file; none where it found nothing."""
    return {BOLD_FILE: bold_curves(table, num_draws, confidence), BOLD_PEOPLE_FILE: table} if len(table) else {}


def conclusions(living: pd.DataFrame, num_draws: int, confidence: float) -> tuple[list[Worth], dict[str, pd.DataFrame]]:
    """Return what the connectome is worth in each task, and the tables to write, by file.

    Parameters
    ----------
    living : DataFrame
        From `living_table`, or several of them pooled.
    num_draws : int
        Bootstrap draws of people.
    confidence : float
    """
    tables = {LIVING_FILE: curves(living, num_draws, confidence), LIVING_PEOPLE_FILE: living}
    return worths_of(living, LIVING, LIVING_ALONE, num_draws, confidence), tables


def pooled_bold(folders: Sequence[Path]) -> pd.DataFrame:
    """Return the tables of later maps of several evaluations as one, everybody once; without rows where one of them has none."""
    files = [folder / BOLD_PEOPLE_FILE for folder in folders]
    if not all(file.is_file() for file in files):
        return pd.DataFrame()
    whole = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    keys = ["task", "amount", "predictor", "pseudonym"]
    return whole.groupby(keys, sort=False, as_index=False).agg({"family": "first", "r": "mean", "gain": "mean"})


def pooled(folders: Sequence[Path]) -> pd.DataFrame:
    """Return the living tables of several evaluations as one; without rows where one of them has none.

    A person who was predicted by several trainings gets the mean over them of what was said, and of how it scored.
    """
    files = [folder / LIVING_PEOPLE_FILE for folder in folders]
    if not all(file.is_file() for file in files):
        return pd.DataFrame()
    whole = pd.concat([pd.read_parquet(file).assign(fold=fold) for fold, file in enumerate(files)], ignore_index=True)
    keys = [*QUESTION, "predictor", "figure", "pseudonym"]
    how = dict.fromkeys(("family", "num_given", "fold"), "first")
    how |= dict.fromkeys(("observed", "mean", "variance", "crps", "log_score"), "mean")
    found = whole.groupby(keys, sort=False, as_index=False, dropna=False).agg(how)
    # Where folds differ in what is typical of their people, one number stands for a point of the curve.
    found["num_given"] = found.groupby([*QUESTION])["num_given"].transform("median").round().astype(int)
    return found
