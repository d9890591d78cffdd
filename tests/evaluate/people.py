"""Made-up people for the tests of this folder: a trait on known edges sets how fast each of them is."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.people.records import Run, SubjectRecord
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials

STROOP = TaskSet((load_task("stroop"),))
NUM_REGIONS = 8


def make_trials(rng: np.random.Generator, mean_rt: float, num_trials: int = 30, error_rate: float = 0.1) -> Trials:
    onset_J = 2.0 + 4.0 * np.arange(num_trials)
    ink_J, condition_J = rng.integers(3, size=num_trials), np.arange(num_trials) % 2
    correct_JA = np.eye(3, dtype=bool)[ink_J]
    errs_J, omits_J = rng.random(num_trials) < error_rate, rng.random(num_trials) < 0.05
    response_JA = np.where(errs_J[:, None], ~correct_JA, correct_JA) & ~omits_J[:, None]
    rt_J = mean_rt + 0.1 * condition_J + rng.normal(0, 0.1, num_trials)
    return Trials(
        onset_seconds_J=onset_J,
        window_seconds_J=np.full(num_trials, 3.5),
        rt_seconds_J=np.where(omits_J, np.nan, rt_J),
        response_JA=response_JA,
        correct_JA=correct_JA,
        scored_J=np.ones(num_trials, bool),
        usable_J=np.ones(num_trials, bool),
        condition_J=condition_J.astype(np.int16),
        pulse_channel_Q=ink_J.astype(np.int16),
        pulse_onset_seconds_Q=onset_J,
        pulse_duration_seconds_Q=np.full(num_trials, 2.0),
        pulse_value_Q=np.ones(num_trials, np.float32),
    )


def make_person(number: int, *, with_bold: bool = True, trait_weight: float = 0.1) -> SubjectRecord:
    rng = np.random.default_rng(number)
    trait = rng.normal()
    edges_E = rng.normal(0, 0.2, NUM_REGIONS * (NUM_REGIONS - 1) // 2)
    edges_E[:6] += 0.3 * trait
    edges_E[7 + number % 3] = np.nan
    trials = make_trials(rng, 1.0 + trait_weight * trait)
    num_volumes = 160
    bold_VR = rng.normal(0, 1, (num_volumes, NUM_REGIONS)).astype(np.float32) if with_bold else None
    run = Run("stroop", "stroopAP", None, "1", trials, 128.0, bold_VR, 0.8 if with_bold else None)
    covariates: dict[str, float | str | None] = {
        "age": float(20 + number % 30),
        "sex": "FM"[number % 2],
        "site": "ab"[number % 2],
        "motion": None if number % 11 == 0 else 0.1,
    }
    return SubjectRecord(f"p{number:04d}", edges_E.astype(np.float32), covariates, (run,))


def make_people(num_people: int, **options) -> list[SubjectRecord]:
    return [make_person(number, **options) for number in range(num_people)]


def with_other_answers(record: SubjectRecord) -> SubjectRecord:
    """Return the same person seeing the same things, but doing otherwise: other presses, times and BOLD."""
    rng = np.random.default_rng(999)
    runs = []
    for run in record.runs:
        trials = run.trials
        shuffled_JA = trials.response_JA[rng.permutation(trials.num_trials)][:, rng.permutation(3)]
        other = dataclasses.replace(
            trials,
            response_JA=shuffled_JA,
            rt_seconds_J=np.where(shuffled_JA.any(1), rng.uniform(2, 3, trials.num_trials), np.nan),
        )
        bold_VR = None if run.bold_VR is None else rng.normal(5, 9, run.bold_VR.shape).astype(np.float32)
        runs.append(dataclasses.replace(run, trials=other, bold_VR=bold_VR))
    return dataclasses.replace(record, runs=tuple(runs))
