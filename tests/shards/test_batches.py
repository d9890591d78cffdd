"""Cutting runs into segments loses nothing and counts nothing twice, and padding changes nobody's numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from dtb.config import SegmentConfig, TwinConfig
from dtb.people.records import Run, SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Split
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials
from dtb.twin.model import Twin
from dtb.twin.readouts.interpolation import target_at_steps
from dtb.twin.readouts.press_loss import count_trials
from dtb.twin.sizes import TwinSizes
from tests.shards.people import make_person, make_trials

PEOPLE = tuple(f"p{number:04d}" for number in range(4))
WHOLE = Split("subjects", PEOPLE, PEOPLE, PEOPLE)
STEP = 0.1


def make_maker(segment=12.0, burn_in=3.0, split=WHOLE, bold_regions=(0, 2, 5)):
    taskset = TaskSet((load_task("hammer"),))
    segments = SegmentConfig(segment_seconds=segment, burn_in_seconds=burn_in)
    return BatchMaker(taskset, segments, STEP, bold_regions, split)


def people(*numbers, **kwargs):
    return [make_person(number, task="hammer", **kwargs) for number in numbers]


def exposure(record):
    seconds = 0.0
    for run in record.runs:
        end_J = np.where(run.trials.pressed_J, run.trials.rt_seconds_J, run.trials.window_seconds_J)
        seconds += end_J[run.trials.usable_J].sum()
    return seconds


@settings(max_examples=25, deadline=None)
@given(segment=st.floats(6, 40), burn_in=st.floats(0, 3), number=st.integers(0, 50))
def test_every_trial_and_volume_is_counted_once_whatever_the_segments(segment, burn_in, number):
    (record,) = people(number)
    batch = make_maker(segment, burn_in).batch([record])
    trials = [(int(run), int(trial)) for run, trial in zip(batch.trials.run_J, batch.trials.trial_J, strict=True)]
    wanted = [(run, trial) for run in range(len(record.runs)) for trial in range(record.runs[run].trials.num_trials)]
    assert sorted(trials) == wanted
    assert int(batch.bold_counted_SKV.sum()) == len(record.runs[0].bold_VR)
    usable = [run.trials.usable_J for run in record.runs]
    pressed = sum(int((run.trials.pressed_J & run.trials.usable_J).sum()) for run in record.runs)
    assert int(batch.press_SKTA.any(-1).sum()) == pressed
    assert sum(map(sum, usable)) == int(batch.trials.usable_J.sum())
    assert float(batch.at_risk_SKT.sum()) * STEP == pytest.approx(exposure(record), rel=1e-4)


def test_parts_of_a_temporal_split_divide_trials_and_volumes():
    (record,) = people(1)
    split = Split("temporal", PEOPLE, PEOPLE, PEOPLE, train_until=0.4, validation_until=0.5)
    maker = make_maker(split=split)
    parts = {part: maker.batch([record], part) for part in ("train", "validation", "test", "all")}
    for value in (lambda b: len(b.trials.trial_J), lambda b: int(b.bold_counted_SKV.sum())):
        assert sum(value(parts[part]) for part in ("train", "validation", "test")) == value(parts["all"])
    assert not parts["train"].trials.held_out_J.any()
    assert parts["test"].trials.held_out_J.all()
    assert parts["test"].trials.usable_J.any()


def test_first_segment_begins_with_the_burn_in_before_the_run():
    (record,) = people(2)
    batch = make_maker().batch([record])
    assert float(batch.start_seconds_SK[0, 0]) == -3.0
    first = batch.run_SK[0] == 0
    assert torch.all(torch.diff(batch.start_seconds_SK[0][first]) > 0)


def test_onsets_and_volume_times_say_where_in_the_run_they_lie():
    (record,) = people(3)
    batch = make_maker().batch([record])
    table = batch.trials
    starts = batch.start_seconds_SK[0][table.segment_J]
    onsets = starts + table.onset_steps_J * STEP
    wanted = [
        record.runs[run].trials.onset_seconds_J[trial] for run, trial in zip(table.run_J, table.trial_J, strict=True)
    ]
    np.testing.assert_allclose(onsets, wanted)
    counted = batch.bold_counted_SKV[0, 0]
    place = int(torch.nonzero(counted)[0])
    seconds = float(batch.start_seconds_SK[0, 0] + batch.volume_seconds_SKV[0, 0, place])
    np.testing.assert_array_equal(batch.bold_SKVR[0, 0, place], record.runs[0].bold_VR[round(seconds), [0, 2, 5]])


def test_padding_changes_nobodys_numbers():
    short, long = people(0, num_runs=1), people(1, num_runs=3)
    maker = make_maker()
    alone, together = maker.batch(short), maker.batch(short + long, num_subjects=4)
    segments, volumes = alone.task_SK.shape[1], alone.volume_seconds_SKV.shape[2]
    assert together.pseudonyms == ["p0000", "p0001", "", ""]
    assert together.weight_S.tolist() == [1, 1, 0, 0]
    assert torch.equal(together.stimulus_SKTI[0, :segments], alone.stimulus_SKTI[0])
    assert torch.equal(together.at_risk_SKT[0, :segments], alone.at_risk_SKT[0])
    assert torch.equal(together.bold_SKVR[0, :segments, :volumes].nan_to_num(-9), alone.bold_SKVR[0].nan_to_num(-9))
    assert (together.task_SK[0, segments:] == -1).all()
    assert not together.at_risk_SKT[2:].any()
    assert not together.bold_counted_SKV[2:].any()
    assert torch.isfinite(together.connectome_SE[2:]).all()


def test_seed_depends_on_person_seed_and_epoch_alone():
    maker = make_maker()
    one, other = maker.batch(people(0, 1), seed=3, epoch=5), maker.batch(people(1), seed=3, epoch=5)
    assert one.seed_S[1] == other.seed_S[0] != one.seed_S[0]
    assert maker.batch(people(1), seed=3, epoch=6).seed_S[0] != other.seed_S[0]


def test_batch_of_nobody_has_the_shape_of_others():
    batch = make_maker().batch([], num_subjects=2, num_edges=28)
    assert batch.connectome_SE.shape == (2, 28)
    assert batch.weight_S.sum() == 0
    assert len(batch.trials.trial_J) == 0


@pytest.mark.parametrize("seconds", [460.0, 100_000.0])
def test_a_segment_longer_than_every_run_is_laid_out_as_long_as_they_need(seconds):
    """A segment of a day means "the whole run", and may not ask for a day's memory."""
    records = people(0, 1)
    longest = max(run.duration_seconds for record in records for run in record.runs)
    batch = make_maker(seconds, 60.0).batch(records)
    assert batch.task_SK.shape[1] == len(records[0].runs)
    assert longest + 60.0 <= batch.at_risk_SKT.shape[2] * STEP < longest + 65.0
    np.testing.assert_allclose(
        batch.at_risk_SKT.sum(dim=(1, 2)) * STEP, [exposure(record) for record in records], rtol=1e-5
    )


def test_person_without_bold_or_runs_is_laid_out():
    batch = make_maker().batch(people(0, num_volumes=0) + people(1, num_runs=0))
    assert not batch.bold_counted_SKV.any()
    assert (batch.task_SK[1] == -1).all()


def test_steps_are_counted_unless_an_uncounted_trial_could_have_been_answered_in_them():
    """What the paper's loss per step may take as "no press": the counted span, without windows whose answer is unknown."""
    (record,) = people(3)
    trials = record.runs[0].trials
    usable_J = trials.usable_J.copy()
    usable_J[1] = False
    run = dataclasses.replace(record.runs[0], trials=dataclasses.replace(trials, usable_J=usable_J))
    batch = make_maker(30.0, 5.0).batch([dataclasses.replace(record, runs=(run,))], "all")
    assert batch.counted_SKT.any()
    assert (batch.counted_SKT | (batch.at_risk_SKT == 0)).all()
    begin, end = trials.onset_seconds_J[1], trials.onset_seconds_J[1] + trials.window_seconds_J[1]
    for segment, start in enumerate(batch.start_seconds_SK[0].tolist()):
        begin_T = start + STEP * np.arange(batch.counted_SKT.shape[2])
        counted_T = batch.counted_SKT[0, segment].numpy() & ~(batch.at_risk_SKT[0, segment] > 0).numpy()
        assert not counted_T[begin_T < start + 5.0 - 1e-6].any()
        assert not counted_T[(begin_T + STEP > begin + 1e-6) & (begin_T < end - 1e-6)].any()


BY_STEP = TwinConfig(press="sigmoid", bold="direct", person_effects=False)


def run_of(trials: Trials, seconds: float, repetition_time: float = 0.8, num_regions: int = 3) -> Run:
    volumes = np.random.default_rng(0).normal(size=(int(seconds / repetition_time), num_regions)).astype(np.float32)
    return Run("hammer", "hammer", None, None, trials, len(volumes) * repetition_time, volumes, repetition_time)


def touching_trials(num_trials: int = 30) -> Trials:
    """Every window lasts until the next trial, and presses come late in it; one trial's answer is unknown."""
    rng = np.random.default_rng(0)
    few = make_trials(rng, num_trials)
    return dataclasses.replace(
        few,
        window_seconds_J=np.full(num_trials, 4.0),
        rt_seconds_J=np.where(few.pressed_J, rng.uniform(0.5, 3.9, num_trials), np.nan),
        usable_J=np.arange(num_trials) != 4,
    )


@pytest.mark.parametrize("segment", [7.0, 10.4, 20.96])
def test_for_a_loss_per_step_segments_count_to_their_end_and_each_press_is_in_the_step_it_was_made_in(segment):
    trials, step = touching_trials(), 0.08
    record = SubjectRecord("p", np.zeros(3, np.float32), {}, (run_of(trials, 124.0),))
    segments = SegmentConfig(segment_seconds=segment, burn_in_seconds=0.0)
    maker = BatchMaker(TaskSet((load_task("hammer"),)), segments, step, (0, 1), WHOLE, loss_of=BY_STEP)
    batch = maker.batch([record], "all")
    assert batch.run_SK.shape[1] == np.ceil(124.0 / segment)
    starts_K = batch.start_seconds_SK[0].numpy()
    np.testing.assert_allclose(starts_K, segment * np.arange(len(starts_K)))
    place = batch.press_SKTA[0].any(-1).nonzero().numpy()
    seconds_J = starts_K[place[:, 0]] + step * place[:, 1]
    used_J = trials.usable_J & trials.pressed_J
    press_J = (trials.onset_seconds_J + trials.rt_seconds_J)[used_J]
    assert len(place) == used_J.sum()
    # Steps need not divide a segment: a press in the rest of one is in its last step.
    assert (press_J - seconds_J >= -1e-6).all()
    assert (press_J - seconds_J < step + 0.5 * step).all()
    later = np.searchsorted(starts_K, trials.onset_seconds_J[used_J], side="right") - 1 != place[:, 0]
    assert later.any()  # presses of trials that began in the segment before
    begin_KT = starts_K[:, None] + step * np.arange(batch.counted_SKT.shape[2])
    onset = trials.onset_seconds_J[4]
    unknown_KT = (begin_KT + step > onset + 1e-6) & (begin_KT < onset + 4.0 - 1e-6)
    within_KT = begin_KT + step <= np.minimum(starts_K + segment, 124.0)[:, None] + 1e-6
    pressed_KT = batch.press_SKTA[0].any(-1).numpy()
    np.testing.assert_array_equal(batch.counted_SKT[0].numpy(), (within_KT & ~unknown_KT) | pressed_KT)
    np.testing.assert_array_equal(batch.bold_steps_SKT[0].numpy(), within_KT)
    exposed = exposure(record) - max(0.0, trials.onset_seconds_J[-1] + 4.0 - 124.0)
    lost = len(starts_K) * abs(segment - maker.num_steps * step)
    assert float(batch.at_risk_SKT.sum()) * step == pytest.approx(exposed, abs=lost + 1e-3)
    table = batch.trials
    assert sorted(table.trial_J.tolist()) == list(range(trials.num_trials))


def test_by_step_the_parts_of_a_run_divide_presses_and_steps_by_time():
    record = SubjectRecord("p0000", np.zeros(3, np.float32), {}, (run_of(touching_trials(), 124.0),))
    split = Split("temporal", PEOPLE, PEOPLE, PEOPLE, train_until=0.4, validation_until=0.5)
    segments = SegmentConfig(segment_seconds=10.4, burn_in_seconds=0.0)
    maker = BatchMaker(TaskSet((load_task("hammer"),)), segments, 0.08, (0, 1), split, loss_of=BY_STEP)
    parts = {part: maker.batch([record], part) for part in ("train", "validation", "test", "all")}
    for name in ("press_SKTA", "bold_steps_SKT"):
        counts = {part: int(getattr(batch, name).sum()) for part, batch in parts.items()}
        assert counts["train"] + counts["validation"] + counts["test"] == counts["all"]


def test_splines_within_segments_are_those_of_the_whole_run_and_look_at_no_other_part():
    record = SubjectRecord("p0000", np.zeros(3, np.float32), {}, (run_of(touching_trials(), 124.0),))
    run, step, regions = record.runs[0], 0.08, [0, 2]
    segments = SegmentConfig(segment_seconds=20.96, burn_in_seconds=0.0)
    temporal = Split("temporal", PEOPLE, PEOPLE, PEOPLE, train_until=0.4, validation_until=0.5)

    def target(split, record, part):
        maker = BatchMaker(TaskSet((load_task("hammer"),)), segments, step, regions, split, loss_of=BY_STEP)
        batch = maker.batch([record], part)
        layout = (batch.bold_counted_SKV, batch.volume_seconds_SKV, maker.num_steps, step)
        target_SKTR, known_SKTR = target_at_steps(batch.bold_SKVR.double(), *layout)
        known_SKTR &= batch.bold_steps_SKT[..., None]
        ends_KT = batch.start_seconds_SK[0][:, None] + step * torch.arange(1, maker.num_steps + 1)
        return target_SKTR[0].numpy(), known_SKTR[0].numpy(), ends_KT.numpy()

    target_KTR, known_KTR, ends_KT = target(WHOLE, record, "all")
    last = (len(run.bold_VR) - 1) * 0.8
    np.testing.assert_array_equal(known_KTR, np.broadcast_to((ends_KT <= last + 1e-6)[..., None], known_KTR.shape))
    whole = CubicSpline(np.arange(len(run.bold_VR)) * 0.8, run.bold_VR[:, regions].astype(float))(ends_KT)
    # What is left is the rounding of volume times to float32.
    np.testing.assert_allclose(target_KTR[known_KTR], whole[known_KTR], rtol=0, atol=1e-5)

    others = run.bold_VR.copy()
    others[int(0.4 * len(others)) + 1 :] += 7.0
    changed = dataclasses.replace(record, runs=(dataclasses.replace(run, bold_VR=others),))
    for one, two in zip(target(temporal, record, "train"), target(temporal, changed, "train"), strict=True):
        np.testing.assert_array_equal(one, two)


def test_bold_of_a_training_part_counts_from_its_own_mean_whatever_comes_after_it():
    """Ingest takes away the mean of a whole run, the part that tests included."""
    run = run_of(touching_trials(), 124.0)
    split = Split("temporal", PEOPLE, PEOPLE, PEOPLE, train_until=0.4, validation_until=0.5)
    raw_VR = run.bold_VR.astype(np.float64) + 300.0
    held_out_V = np.arange(len(raw_VR)) * 0.8 >= 0.4 * 124.0
    batches = []
    for drift in (0.0, 50.0):
        values_VR = raw_VR + drift * held_out_V[:, None]
        mean_R = values_VR.mean(axis=0)
        stored = dataclasses.replace(run, bold_VR=(values_VR - mean_R).astype(np.float32), bold_mean_R=mean_R)
        batches.append(
            {
                part: make_maker(60.0, 0.0, split, (0, 2)).batch(
                    [SubjectRecord("p0000", np.zeros(3, np.float32), {}, (stored,))], part
                )
                for part in ("train", "test")
            }
        )
    train, other = (batch["train"] for batch in batches)
    counted = train.bold_counted_SKV
    torch.testing.assert_close(train.bold_SKVR[counted], other.bold_SKVR[counted], rtol=0, atol=1e-4)
    torch.testing.assert_close(train.bold_SKVR[counted].mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    test, other = (batch["test"].bold_SKVR[batch["test"].bold_counted_SKV] for batch in batches)
    torch.testing.assert_close(test + 50.0, other, rtol=0, atol=1e-4)


def bold_in(twin: Twin, record: SubjectRecord, segments: SegmentConfig) -> np.ndarray:
    """What the twin's BOLD is at each volume of the record's run, cut into such segments."""
    maker = BatchMaker(TaskSet((load_task("hammer"),)), segments, twin.config.step_seconds, range(8), WHOLE)
    batch = maker.batch([record], "all")
    with torch.no_grad():
        bold_KVR = twin.bold(twin(batch.connectome_SE, batch.stimulus_SKTI), batch.volume_seconds_SKV)[0]
    return bold_KVR[batch.bold_counted_SKV[0]].numpy()


@pytest.mark.slow
@pytest.mark.parametrize(("hrf", "most"), [("glover", 0.06), ("spm", 0.1)])
def test_segments_of_the_default_burn_in_give_the_bold_of_the_whole_run(hrf, most):
    """Twins with random weights, blocks of 20 s; where a run has gone on for long. In standard deviations of each region's BOLD."""
    begin_Q = np.arange(0.0, 400.0, 20.0)
    channels = (np.arange(20) % 2).astype(np.int16)
    trials = dataclasses.replace(
        make_trials(np.random.default_rng(0), 0),
        pulse_channel_Q=channels,
        pulse_onset_seconds_Q=begin_Q,
        pulse_duration_seconds_Q=np.full(20, 20.0),
        pulse_value_Q=np.ones(20, np.float32),
    )
    edges_E = np.random.default_rng(0).normal(size=28).astype(np.float32)
    record = SubjectRecord("p", edges_E, {}, (run_of(trials, 400.0, num_regions=8),))
    differences = []
    for seed in range(5):
        torch.manual_seed(seed)
        sizes = TwinSizes(8, TaskSet((load_task("hammer"),)).num_channels, 2, 8)
        twin = Twin(TwinConfig(connectome_components=0, hrf=hrf), sizes).eval()
        whole_VR = bold_in(twin, record, SegmentConfig(segment_seconds=460.0, burn_in_seconds=60.0))[50:]
        apart_VR = bold_in(twin, record, SegmentConfig())[50:]
        differences.append((np.sqrt(((apart_VR - whole_VR) ** 2).mean(0)) / whole_VR.std(0)).mean())
    assert np.mean(differences) < most  # with 12 s, .30 and .18


@pytest.mark.slow
def test_trials_are_counted_exactly_on_the_papers_cohort(real_data):
    """Windows touch in Stroop: an omission lasts until the next trial begins."""
    spec, paths = load_task("stroop"), sorted((real_data / "tcp").glob("sub-*/func/*_task-stroop*_events.tsv"))
    assert len(paths) == 354
    maker = BatchMaker(TaskSet((spec,)), SegmentConfig(), 0.08, (), WHOLE)
    wanted, found = [], []
    for path in paths:
        trials = read_trials(spec, path).trials
        run = Run("stroop", "stroop", None, None, trials, trials.end_seconds, None, None)
        batch = maker.batch([SubjectRecord("p", np.zeros(1, np.float32), {}, (run,))])
        wanted.append(int(trials.usable_J.sum()))
        found.append(int(count_trials(batch.trials, batch.at_risk_SKT).sum()))
    assert found == wanted
    assert sum(wanted) == 27_612
