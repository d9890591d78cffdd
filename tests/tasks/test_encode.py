"""Encoding keeps times exact: exposure, pulse areas and presses come out as they went in, wherever steps begin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtb.tasks.encode import encode_segment
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials

TASKS = TaskSet((load_task("stroop"), load_task("hammer")))


def make_trials(onset, window, rt, num_alternatives=3, pulses=((0, 0.0, 0.0, 0.0),)) -> Trials:
    onset, window, rt = (np.asarray(values, dtype=float) for values in (onset, window, rt))
    response = np.zeros((len(onset), num_alternatives), dtype=bool)
    response[np.isfinite(rt), 0] = True
    channel, begin, length, value = (np.asarray(column) for column in zip(*pulses, strict=True))
    yes = np.ones(len(onset), dtype=bool)
    return Trials(
        onset, window, rt, response, response, yes, yes, np.zeros(len(onset), np.int16),
        channel.astype(np.int16), begin.astype(float), length.astype(float), value.astype(np.float32),
    )  # fmt: skip


gaps = st.lists(st.tuples(st.floats(0.5, 4), st.floats(0.05, 0.99), st.booleans()), min_size=1, max_size=12)


@pytest.mark.slow
@given(gaps, st.floats(-5, 5), st.floats(0.02, 0.4))
def test_steps_at_risk_sum_to_the_exposure(rows, start, step):
    lengths = np.array([row[0] for row in rows])
    onset = 10 + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    rt = np.array([share * length if pressed else np.nan for length, share, pressed in rows])
    trials = make_trials(onset, lengths, rt)
    num_steps = int(np.ceil((onset[-1] + lengths[-1] - start) / step)) + 1
    _, press_TA, at_risk_T = encode_segment(trials, 0, TASKS, start, num_steps, step, -100, 1000)
    exposure = np.where(np.isfinite(rt), rt, lengths).sum()
    assert at_risk_T.astype(float).sum() * step == pytest.approx(exposure, rel=1e-5)
    assert at_risk_T.max() <= 1 + 1e-6
    assert press_TA.any(axis=1).sum() == len(
        {int(np.floor((o + r - start) / step)) for o, r in zip(onset, rt, strict=True) if np.isfinite(r)}
    )


@given(st.floats(-3, 3), st.floats(0.01, 0.5), st.floats(0, 5), st.floats(0.001, 5), st.floats(-2, 2))
def test_stimulus_keeps_the_area_of_a_pulse(start, step, begin, length, value):
    trials = make_trials([0.0], [1.0], [np.nan], pulses=((2, begin, length, value),))
    num_steps = max(1, int(np.ceil((begin + length - start) / step)) + 1)
    stimulus_TI, _, _ = encode_segment(trials, 0, TASKS, start, num_steps, step, 0, 1)
    seen_from = max(begin, start)
    area = np.float32(value) * max(0.0, begin + length - seen_from)
    assert stimulus_TI[:, 2].astype(float).sum() * step == pytest.approx(area, abs=1e-4)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 9), st.floats(0, 6), st.floats(-2, 2)), max_size=8))
def test_each_step_shows_the_sum_of_what_each_pulse_covers_of_it(pulses):
    pulses = ((0, 0.0, 0.0, 0.0), *pulses)
    step, num_steps, start = 0.3, 20, -0.7
    wanted_TI = np.zeros((num_steps, TASKS.num_channels))
    for channel, begin, length, value in pulses:
        for place in range(num_steps):
            edge = start + place * step
            covered = min(edge + step, begin + length) - max(edge, begin)
            wanted_TI[place, channel] += np.float32(value) * max(0.0, covered) / step
    stimulus_TI, _, _ = encode_segment(
        make_trials([0.0], [1.0], [np.nan], pulses=pulses), 0, TASKS, start, num_steps, step, 0, 1
    )
    np.testing.assert_allclose(stimulus_TI - TASKS.flags(0), wanted_TI, atol=1e-6)


def test_pieces_of_a_run_make_the_whole():
    rng = np.random.default_rng(0)
    onset = np.cumsum(rng.uniform(2, 4, 30))
    rt = np.where(rng.random(30) < 0.8, rng.uniform(0.3, 1.9, 30), np.nan)
    trials = make_trials(onset, np.full(30, 2.0), rt, pulses=tuple((i % 6, onset[i], 1.3, 1.0) for i in range(30)))
    whole = encode_segment(trials, 0, TASKS, 0.0, 1500, 0.08, 0, 1000)
    pieces = [encode_segment(trials, 0, TASKS, i * 20.0, 250, 0.08, 0, 1000) for i in range(6)]
    for place in range(3):
        joined = np.concatenate([piece[place] for piece in pieces])
        np.testing.assert_allclose(joined.astype(float), whole[place].astype(float), atol=1e-5)


def test_trials_outside_the_counted_span_show_stimuli_and_nothing_else():
    trials = make_trials(
        [1.0, 5.0, 9.0], [2, 2, 2], [0.5, 0.65, 0.7], pulses=((0, 1, 1, 1), (0, 5, 1, 1), (0, 9, 1, 1))
    )
    stimulus_TI, press_TA, at_risk_T = encode_segment(trials, 0, TASKS, 0.0, 120, 0.1, 5.0, 9.0)
    assert stimulus_TI[:, 0].sum() == pytest.approx(30)
    assert np.flatnonzero(press_TA.any(axis=1)).tolist() == [56]
    assert at_risk_T.sum() == pytest.approx(6.5)


def test_unusable_trials_carry_no_loss():
    trials = make_trials([1.0], [2.0], [0.5])
    trials.usable_J[:] = False
    _, press_TA, at_risk_T = encode_segment(trials, 0, TASKS, 0.0, 40, 0.1, 0, 10)
    assert not press_TA.any()
    assert at_risk_T.sum() == 0


def test_a_press_beyond_the_last_step_is_seen_as_unanswered_until_there():
    trials = make_trials([0.0], [4.0], [3.0])
    _, press_TA, at_risk_T = encode_segment(trials, 0, TASKS, 0.0, 20, 0.1, 0, 10)
    assert not press_TA.any()
    assert at_risk_T.sum() == pytest.approx(20)


def test_tasks_have_channels_and_a_flag_of_their_own():
    trials = make_trials([0.0], [1.0], [np.nan], 2, pulses=((0, 0.0, 1.0, 1.0),))
    stimulus_TI, press_TA, _ = encode_segment(trials, 1, TASKS, 0.0, 10, 0.1, 0, 1)
    assert np.flatnonzero(stimulus_TI[0]).tolist() == [6, 15]
    assert press_TA.shape == (10, 3)
    shared = TaskSet(TASKS.specs, "shared")
    assert np.flatnonzero(encode_segment(trials, 1, shared, 0.0, 10, 0.1, 0, 1)[0][0]).tolist() == [0, 8]
    assert shared.num_channels == 9


def test_a_task_set_survives_being_written_as_json():
    import json

    assert TaskSet.from_plain(json.loads(json.dumps(TASKS.to_plain()))) == TASKS
