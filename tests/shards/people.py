"""Small people made of chance, for the tests of this folder and of training."""

from __future__ import annotations

import numpy as np

from dtb.people.records import Run, SubjectRecord
from dtb.shards.manifest import CohortDescription, Manifest
from dtb.shards.write import ShardWriter
from dtb.tasks.trials import Trials

DESCRIPTION = CohortDescription(
    regions=tuple(f"region{number}" for number in range(8)),
    taskset={},
    connectome={"made of": "chance"},
    config_hash="0" * 64,
)


def make_trials(rng: np.random.Generator, num_trials: int = 6, num_alternatives: int = 2) -> Trials:
    onset_J = 1.0 + 4.0 * np.arange(num_trials)
    rt_J = rng.uniform(0.3, 1.5, num_trials)
    response_JA = np.eye(num_alternatives, dtype=bool)[rng.integers(num_alternatives, size=num_trials)]
    if num_trials:
        rt_J[0], response_JA[0] = np.nan, False
    return Trials(
        onset_seconds_J=onset_J,
        window_seconds_J=np.full(num_trials, 2.0),
        rt_seconds_J=rt_J,
        response_JA=response_JA,
        correct_JA=np.eye(num_alternatives, dtype=bool)[rng.integers(num_alternatives, size=num_trials)],
        scored_J=np.ones(num_trials, bool),
        usable_J=rng.random(num_trials) < 0.9,
        condition_J=rng.integers(-1, 2, num_trials).astype(np.int16),
        pulse_channel_Q=rng.integers(0, 2, num_trials).astype(np.int16),
        pulse_onset_seconds_Q=onset_J,
        pulse_duration_seconds_Q=np.full(num_trials, 1.0),
        pulse_value_Q=rng.random(num_trials).astype(np.float32),
    )


def make_person(
    number: int, num_runs: int = 2, num_regions: int = 8, task: str = "t", num_volumes: int = 30
) -> SubjectRecord:
    rng = np.random.default_rng(number)
    connectome_E = rng.normal(size=num_regions * (num_regions - 1) // 2).astype(np.float32)
    connectome_E[rng.integers(len(connectome_E))] = np.nan
    runs = []
    for run in range(num_runs):
        has_bold = run == 0 and num_volumes > 0
        bold_VR = rng.normal(size=(num_volumes, num_regions)).astype(np.float32) if has_bold else None
        entities = (task, f"{task}AP", None, str(run + 1))
        mean_R = np.linspace(number, 9.0, num_regions, dtype=np.float32)
        bold = (bold_VR, 1.0, mean_R) if has_bold else (None, None)
        runs.append(Run(*entities, make_trials(rng), 30.0, *bold))
    covariates: dict[str, float | str | None] = {"age": 20.0 + number, "site": f"s{number % 2}", "sex": None}
    return SubjectRecord(f"p{number:04d}", connectome_E, covariates, tuple(runs))


def write_people(
    folder, num_people: int, subjects_per_shard: int = 4, spoil=lambda person: person, **kwargs
) -> Manifest:
    description = kwargs.pop("description", DESCRIPTION)
    writer = ShardWriter(folder, subjects_per_shard)
    for number in range(num_people):
        writer.add(spoil(make_person(number, **kwargs)))
    return writer.finish(description)
