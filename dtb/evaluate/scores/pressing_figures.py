"""Figures over people of tasks in which no press is right in some trials: omissions, commissions and d'.

Shape letters: see `dtb.evaluate.scores.observed`.
"""

from __future__ import annotations

import functools

import numpy as np

from dtb.evaluate.predictors.predictions import Prediction, every_other
from dtb.evaluate.scores.ceilings import ceiling_of_halves
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import Figure
from dtb.evaluate.scores.observed import ObservedTrials
from dtb.evaluate.scores.statistics import correlation
from dtb.tasks.detection import d_prime

NOTES = {
    "omissions": "share without a press of the trials in which one is right",
    "commissions": "share with a press of the trials in which none is right",
    "d'": "of pressing, with the log-linear correction; of a predictor, from the presses that it expects",
}


def pressing_figures(evidence: Evidence, task: int) -> list[Figure | None]:
    """Return figures on omissions, commissions and d'; none for a task that requires a press in every trial."""
    trials, num_people = evidence.people.trials, len(evidence.people)
    if not (trials.correct_JO[:, -1] & (trials.task_J == task)).any():
        return []
    pressed_J = np.where(trials.happened_JO[:, -1], 0.0, 1.0)
    half_J = every_other(trials)
    observed, *halves = (
        pressing(trials, np.where(kept_J, pressed_J, np.nan), num_people, task)
        for kept_J in (np.ones(len(trials), bool), half_J, ~half_J)
    )

    def score(name: str, prediction: Prediction) -> np.ndarray | None:
        if prediction.trials is None:
            return None
        return pressing(trials, 1.0 - prediction.trials.outcome_JO[:, -1], num_people, task)[name]

    found = []
    for name, note in NOTES.items():
        ceiling = ceiling_of_halves(halves[0][name], halves[1][name])
        found.append(
            evidence.figure(
                evidence.taskset.specs[task].name,
                f"{name} r",
                "r over people",
                correlation,
                observed[name],
                functools.partial(score, name),
                note=note,
                ceilings={} if ceiling is None else {"halves": ceiling},
            )
        )
    return found


def pressing(trials: ObservedTrials, press_J: np.ndarray, num_people: int, task: int) -> dict[str, np.ndarray]:
    """Return people's rates of omissions and commissions, and d', in a task.

    Parameters
    ----------
    trials : ObservedTrials
    press_J : (J,) float
        Whether there is a press, or its probability; NaN where nothing is known.
    num_people, task : int

    Returns
    -------
    dict of str to (S,)
        Of each name in `NOTES`; NaN for people without such trials.
    """
    known_J = np.isfinite(press_J) & trials.scored_J & (trials.task_J == task)
    withhold_J = trials.correct_JO[:, -1]

    def counts(mine_J: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        people = trials.person_J[known_J & mine_J]
        presses_S = np.bincount(people, press_J[known_J & mine_J], minlength=num_people)
        return presses_S, np.bincount(people, minlength=num_people)

    hits_S, go_S = counts(~withhold_J)
    alarms_S, nogo_S = counts(withhold_J)
    return {
        "omissions": np.where(go_S > 0, 1 - hits_S / np.maximum(go_S, 1), np.nan),
        "commissions": np.where(nogo_S > 0, alarms_S / np.maximum(nogo_S, 1), np.nan),
        "d'": d_prime(hits_S, go_S, alarms_S, nogo_S),
    }
