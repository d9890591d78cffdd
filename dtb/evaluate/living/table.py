"""The table of a living evaluation: what was said of each person after so many own trials, what happened, and how it scores.

One row for each question, amount, predictor, person and figure. Folds are pooled by putting tables under each other.

Shape letters: see `dtb.evaluate.scores.observed`; `Y` figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr

from dtb.evaluate.living.baselines import Said
from dtb.evaluate.living.own_figures import FIGURES
from dtb.evaluate.living.questions import Question
from dtb.evaluate.predictors.predictions import person_task_mean
from dtb.evaluate.scores.metrics import choice_log_loss
from dtb.evaluate.scores.observed import People
from dtb.tasks.taskset import TaskSet

TRIAL_RTS, TRIAL_CHOICES = "reaction times of trials", "choices of trials"
QUESTION = ["kind", "given", "judged", "amount"]


def normal_log_score(observed: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the log density of what happened under a normal distribution; higher is better."""
    return np.asarray(-0.5 * np.log(2 * np.pi * variance) - 0.5 * (observed - mean) ** 2 / variance)


def normal_crps(observed: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of a normal distribution (Gneiting et al. 2005, Mon Weather Rev 133, 1098, eq. 5).

    Examples
    --------
    >>> round(float(normal_crps(np.zeros(1), np.zeros(1), np.ones(1))[0]), 4)
    0.2337
    """
    scale = np.sqrt(variance)
    z = (observed - mean) / scale
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(scale * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)))


def rows_of(
    question: Question,
    amount: str,
    num_given: int,
    predictor: str,
    said: Said,
    observed_SY: np.ndarray,
    judged_J: np.ndarray,
    people: People,
    taskset: TaskSet,
) -> pd.DataFrame:
    """Return the rows of one predictor at one point of a curve, of the people who are judged.

    Parameters
    ----------
    question : Question
    amount : str
    num_given : int
        Trials that people typically give there.
    predictor : str
    said : Said
    observed_SY : (S, Y)
        Figures of the judged trials.
    judged_J : (J,) bool
    people : People
    taskset : TaskSet
    """
    num_people, task = len(people), question.judged
    log_score_SY = normal_log_score(observed_SY, said.mean_QY, said.variance_QY)
    crps_SY = normal_crps(observed_SY, said.mean_QY, said.variance_QY)
    columns_SY = (observed_SY, said.mean_QY, said.variance_QY, crps_SY, log_score_SY)
    parts = [
        _part(people, figure, *(values_SY[:, place] for values_SY in columns_SY))
        for place, figure in enumerate(FIGURES)
    ]
    trials, nothing_S = people.trials, np.full(num_people, np.nan)

    def mean_of(values_J: np.ndarray) -> np.ndarray:
        values_J = np.where(judged_J, values_J, np.nan)
        return person_task_mean(trials, values_J, num_people, len(taskset.specs))[:, task]

    if said.crps_J is not None and said.log_score_J is not None:
        scores = mean_of(said.crps_J), mean_of(said.log_score_J)
        parts.append(_part(people, TRIAL_RTS, nothing_S, nothing_S, nothing_S, *scores))
    if said.outcome_JO is not None:
        log_score_S = mean_of(-choice_log_loss(said.outcome_JO, trials.happened_JO))
        parts.append(_part(people, TRIAL_CHOICES, nothing_S, nothing_S, nothing_S, nothing_S, log_score_S))
    names = [taskset.specs[place].name for place in (question.given, question.judged)]
    table = pd.concat(parts, ignore_index=True)
    first: dict[str, str | int] = {
        "kind": question.kind,
        "given": names[0],
        "judged": names[1],
        "amount": amount,
        "num_given": num_given,
        "predictor": predictor,
    }
    for place, (name, value) in enumerate(first.items()):
        table.insert(place, name, value)
    return table[np.isfinite(table["log_score"])].reset_index(drop=True)


def _part(people: People, figure: str, *columns: np.ndarray) -> pd.DataFrame:
    names = ("observed", "mean", "variance", "crps", "log_score")
    family: Sequence[object] = [who.get("family") for who in people.covariates]
    return pd.DataFrame(
        {
            "pseudonym": people.pseudonyms,
            "family": pd.array([None if each is None else str(each) for each in family], dtype="string"),
            "figure": figure,
            **dict(zip(names, columns, strict=True)),
        }
    )
