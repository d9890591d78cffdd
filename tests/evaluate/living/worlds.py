"""Made-up people of whom everything is known: figures that are Gaussian over people, trials that scatter about them."""

from __future__ import annotations

import numpy as np

from dtb.evaluate.predictors.fitting import Fitted
from dtb.evaluate.scores.observed import ObservedTrials, People
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

TASKS = TaskSet((load_task("stroop"), load_task("hammer")))
NUM_TASKS = len(TASKS.specs)
SPREAD_SECONDS, SCATTER_SECONDS = 0.15, 0.25
READING_RELIABILITY = 0.5


def world(
    num_people: int,
    seed: int,
    *,
    num_trials: int = 120,
    runs: int = 2,
    reading: float = READING_RELIABILITY,
    change: float = 0.0,
    scatter: float = SCATTER_SECONDS,
    sessions: int = 1,
) -> tuple[People, list[tuple[str, ...]], np.ndarray]:
    """Return people, the sessions of their runs, and readings (S, 3 T) whose r with the true mean reaction times is the root of `reading`."""
    rng = np.random.default_rng(seed)
    covariance = SPREAD_SECONDS**2 * np.array([[1.0, 0.5], [0.5, 1.0]])
    true_ST = rng.multivariate_normal([1.0, 1.2], covariance, num_people)
    effect_S = rng.normal(0.1, 0.04, num_people)
    right_S = np.clip(rng.normal(0.9, 0.05, num_people), 0.6, 0.99)
    shape = (num_people, NUM_TASKS, sessions * runs, num_trials // runs)
    person_J, task_J, run_J, trial_J = (index.ravel() for index in np.indices(shape))
    condition_J = trial_J % 2
    later_J = run_J >= shape[2] // 2
    change_ST = rng.normal(0, change, true_ST.shape)
    rt_J = true_ST[person_J, task_J] + later_J * change_ST[person_J, task_J]
    rt_J = rt_J + rng.normal(0, scatter, len(rt_J))
    # The contrast of both tasks is the second condition minus the first, or the other way round.
    for task, spec in enumerate(TASKS.specs):
        signs = np.array([np.sign(spec.contrast.get(name, 0.0)) for name in spec.conditions])
        rt_J += (task_J == task) * signs[condition_J] * effect_S[person_J] / 2
    omitted_J = rng.random(len(rt_J)) < 0.03
    num_outcomes = TASKS.num_alternatives + 1
    correct_JO = np.zeros((len(rt_J), num_outcomes), bool)
    correct_JO[:, 0] = True
    was_right_J = rng.random(len(rt_J)) < right_S[person_J]
    happened_JO = np.zeros_like(correct_JO)
    happened_JO[np.arange(len(rt_J)), np.where(omitted_J, num_outcomes - 1, np.where(was_right_J, 0, 1))] = True
    trials = ObservedTrials(
        person_J,
        task_J,
        run_J + task_J * shape[2],
        trial_J,
        condition_J,
        np.where(omitted_J, np.nan, np.maximum(rt_J, 0.05)),
        happened_JO,
        correct_JO,
        np.ones_like(correct_JO),
    )
    people = People(
        tuple(f"{seed}p{number}" for number in range(num_people)),
        np.zeros((num_people, 0), np.float32),
        [{"family": None} for _ in range(num_people)],
        trials,
        np.zeros((num_people, NUM_TASKS, 0), np.float32),
    )
    standard_ST = true_ST - np.array([1.0, 1.2])
    noise = SPREAD_SECONDS * np.sqrt(1 / reading - 1) if reading > 0 else 1.0
    # What is said is shrunk, as a regression's prediction is: its best slope is 1.
    heard_ST = np.array([1.0, 1.2]) + reading * (standard_ST * (reading > 0) + rng.normal(0, noise, true_ST.shape))
    readings_SY = np.concatenate([heard_ST, np.full((num_people, 2 * NUM_TASKS), 0.0)], axis=1)
    names = [tuple("12"[run % shape[2] // runs] for run in range(NUM_TASKS * shape[2]))] * num_people
    return people, names, readings_SY


def stack_of(training_SY: np.ndarray, people_SY: np.ndarray) -> Fitted:
    """Return readings as the stack of regressions gives them."""
    return Fitted(people_SY, training_SY)
