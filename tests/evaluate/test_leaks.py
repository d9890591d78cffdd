"""Nothing that is fitted can see what the test part holds, however the cohort is divided."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from rich.progress import Progress

from dtb.config import Config, EvaluateConfig, SegmentConfig, SplitConfig, TwinConfig
from dtb.evaluate.gathering import gather
from dtb.evaluate.inputs import EvaluationInputs
from dtb.people.records import SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.divide import make_split
from dtb.shards.manifest import CohortDescription
from dtb.shards.read import Cohort, open_cohort
from dtb.shards.split import Split
from dtb.shards.write import ShardWriter
from dtb.tasks.taskset import TaskSet
from dtb.train.start.normalise import tangent_reference
from dtb.twin.export import TwinCard
from dtb.twin.model import Twin
from dtb.twin.sizes import TwinSizes
from tests.evaluate.people import NUM_REGIONS, STROOP, make_person, with_other_answers
from tests.train.scales import measure

STEP = 0.5
TASKS = TaskSet((*STROOP.specs, dataclasses.replace(STROOP.specs[0], name="second")))
SEGMENTS = SegmentConfig(segment_seconds=60, burn_in_seconds=12)
REGIONS = range(NUM_REGIONS)
KINDS = [
    SplitConfig(num_folds=3),
    SplitConfig(kind="sites", fold=1),
    SplitConfig(kind="temporal"),
    SplitConfig(kind="runs", held_out="stroopPA"),
    SplitConfig(kind="tasks", held_out="second", num_folds=3),
]


def person(number: int) -> SubjectRecord:
    """Make a person with two runs of one task and one of another, who lacks one of them now and then."""
    records = [make_person(number + 1000 * place) for place in range(3)]
    places = [("stroop", "stroopAP"), ("stroop", "stroopPA"), ("second", "second")]
    runs = [
        dataclasses.replace(record.runs[0], task=task, label=label)
        for record, (task, label) in zip(records, places, strict=True)
    ]
    runs = runs[: 1 + (number % 5 > 0)] + runs[2:]
    edges_E = np.tanh(records[0].connectome_E) / NUM_REGIONS
    return dataclasses.replace(records[0], connectome_E=edges_E, runs=tuple(runs))


def with_planted_answers(record: SubjectRecord, split: Split) -> SubjectRecord:
    """Return the person with everything changed that is not for training or validation to see."""
    other, runs = with_other_answers(record), []
    is_trained_on = record.pseudonym in {*split.train, *split.validation}
    spans = [split.spans(part, record.runs) for part in ("train", "validation")]
    for number, run in enumerate(record.runs):
        ends = [part[number].of(run.duration_seconds) for part in spans] if is_trained_on else []

        def seen(seconds: np.ndarray, ends=ends) -> np.ndarray:
            return np.any([(seconds >= begin) & (seconds < end) for begin, end in ends] or [seconds < -1], axis=0)

        seen_J, planted = seen(run.trials.onset_seconds_J), other.runs[number]
        trials = dataclasses.replace(
            run.trials,
            response_JA=np.where(seen_J[:, None], run.trials.response_JA, planted.trials.response_JA),
            rt_seconds_J=np.where(seen_J, run.trials.rt_seconds_J, planted.trials.rt_seconds_J),
        )
        seen_V = seen(np.arange(len(run.bold_VR)) * run.repetition_time)
        bold_VR = np.where(seen_V[:, None], run.bold_VR, planted.bold_VR)
        runs.append(dataclasses.replace(run, trials=trials, bold_VR=bold_VR))
    return dataclasses.replace(record, runs=tuple(runs))


def write(folder, records, taskset: TaskSet = TASKS) -> Cohort:
    writer = ShardWriter(folder, 8)
    for record in records:
        writer.add(record)
    names = tuple(f"region{number}" for number in REGIONS)
    writer.finish(CohortDescription(names, taskset.to_plain(), {"kind": "pearson", "scale": "fisher_z"}, "0" * 64))
    return open_cohort(folder)


def fitted(cohort: Cohort, split: Split) -> dict[str, np.ndarray]:
    """Return all that training reads and finds before its first step, as arrays by name."""
    train = list(cohort.records(split.train))
    reference_RR, _ = tangent_reference([person.connectome_E for person in train], NUM_REGIONS)
    scales = measure(train, split, 28, REGIONS, 4, reference_RR, taskset=TASKS, num_latents=3)
    assert scales.reader_EZ is not None
    found = {name: array for name, array in vars(scales).items() if isinstance(array, np.ndarray)}
    maker = BatchMaker(TASKS, SEGMENTS, STEP, list(REGIONS), split)
    for part in ("train", "validation"):
        batch = maker.batch(list(cohort.records(split.people(part))), part)
        assert batch.press_SKTA.any()
        for name in ("connectome_SE", "stimulus_SKTI", "press_SKTA", "at_risk_SKT", "counted_SKT"):
            found[f"{part} {name}"] = getattr(batch, name).numpy()
        found[f"{part} bold"] = torch.where(batch.bold_counted_SKV[..., None], batch.bold_SKVR, 0.0).numpy()
        found |= {f"{part} {name}": value.numpy() for name, value in vars(batch.trials).items()}
    return found


def predicted(cohort: Cohort, split: Split) -> dict[str, np.ndarray]:
    """Return what an untrained twin and every baseline say of the test part, as arrays by name."""
    config = TwinConfig(num_hidden=8, rank=2, encoder_widths=(6,), latent_size=3, step_seconds=STEP)
    torch.manual_seed(0)
    sizes = TwinSizes(NUM_REGIONS, TASKS.num_channels, TASKS.num_alternatives, NUM_REGIONS)
    twin, names = Twin(config, sizes).eval(), cohort.manifest.bold_regions
    plain, hashes = TASKS.to_plain(), (cohort.manifest.cohort_hash, split.split_hash)
    card = TwinCard(config, sizes, plain, names, names, {}, *hashes, seed=0, segments=SEGMENTS)
    task = EvaluationInputs(cohort, split, twin, card, TASKS)
    evidence = gather(task, Config(evaluate=EvaluateConfig(num_bootstrap=100)), Progress(disable=True))
    found = {}
    assert evidence.strangers is not None
    strangers = {"stranger_connectome": evidence.strangers.predictions[0]}
    for name, prediction in (evidence.predictions | strangers).items():
        found |= {f"{name} {key}": value for key, value in vars(prediction.summary).items()}
        if prediction.trials is not None:
            found[f"{name} outcome_JO"] = prediction.trials.outcome_JO
            found[f"{name} mean_rt_J"] = prediction.trials.mean_rt_J
    return found


@pytest.mark.slow
@pytest.mark.parametrize("config", KINDS, ids=lambda config: f"{config.kind}-{config.held_out}")
def test_planted_answers_move_nothing_that_is_fitted(config, tmp_path):
    records = [person(number) for number in range(48)]
    honest = write(tmp_path / "honest", records)
    split = make_split(honest, config, seed=0)
    planted = write(tmp_path / "planted", [with_planted_answers(record, split) for record in records])
    assert make_split(planted, config, seed=0) == split
    for look in (fitted, predicted):
        before, after = look(honest, split), look(planted, split)
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array, err_msg=name)
    names = {name.split()[0] for name in before}
    assert names >= {"twin", "stranger_connectome", "group_mean", "ridge", "kernel_ridge", "cpm", "demographics_motion"}
    assert ("own_earlier" in names) == split.tests_seen_people
    assert np.isfinite(before["ridge mean_rt_ST"]).any()
