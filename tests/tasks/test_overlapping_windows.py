"""Where response windows overlap, a press has its trial, and no moment is at risk twice."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtb.tasks.encode import encode_segment
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.twin.readouts.press_loss import press_nll
from tests.expand import expanded
from tests.tasks.test_encode import TASKS, make_trials

STEP = 0.1


def encode(trials, num_steps=60, start=0.0, counted=(0.0, 100.0), **options):
    return encode_segment(trials, 0, TASKS, start, num_steps, STEP, *counted, **options)


def test_a_press_after_the_next_onset_is_its_own_trials_and_the_next_waits_for_it():
    trials = make_trials([0.0, 1.0, 2.0], [1.5] * 3, [1.25, 0.75, np.nan])
    from_J, to_J = trials.at_risk_seconds()
    np.testing.assert_allclose(from_J, [0, 1.25, 2.0])
    np.testing.assert_allclose(to_J, [1.25, 1.75, 3.5])
    _, press_TA, at_risk_T = encode(trials)
    assert np.flatnonzero(press_TA[:, 0]).tolist() == [12, 17]
    np.testing.assert_allclose(at_risk_T[:20], [1.0] * 17 + [0.5, 0.0, 0.0], atol=1e-6)
    assert at_risk_T.sum() * STEP == pytest.approx(1.75 + 1.5)


def test_an_unanswered_trial_waits_until_the_next_begins_and_then_the_next_does():
    from_J, to_J = make_trials([0.0, 1.0], [1.5, 1.5], [np.nan, 0.2]).at_risk_seconds()
    assert (from_J.tolist(), to_J.tolist()) == ([0, 1], [1, 1.2])


def test_the_likelihood_is_that_of_presses_at_a_hazard_that_counts_once():
    rate, trials = 0.8, make_trials([0.0, 1.0, 2.0], [1.5] * 3, [1.25, 0.75, np.nan], num_alternatives=1)
    _, press_TA, at_risk_T = encode(trials)
    raw = torch.full((1, 1, 60, 1), np.log(np.expm1(rate)), dtype=torch.float64, requires_grad=True)
    press, at_risk = (torch.from_numpy(array)[None, None] for array in (press_TA[:, :1], at_risk_T.astype(float)))
    loss = press_nll(raw, press, at_risk, STEP)
    # Two presses, and 1.75 s and 1.5 s in which one was possible.
    assert loss.item() == pytest.approx(-2 * np.log(rate) + rate * 3.25, rel=1e-6)
    assert torch.autograd.gradcheck(lambda values: press_nll(values, press, at_risk, STEP), raw)


rows = st.lists(st.tuples(st.floats(0.4, 2), st.floats(0.05, 2.5), st.booleans()), min_size=1, max_size=12)


@given(rows, st.floats(0.3, 3))
def test_no_moment_is_at_risk_twice_and_each_press_is_kept(spaced, window):
    onset = np.concatenate([[0], np.cumsum([gap for gap, _, _ in spaced])[:-1]])
    rt = np.array([min(seconds, window) if pressed else np.nan for _, seconds, pressed in spaced])
    trials = make_trials(onset, np.full(len(onset), window), rt)
    from_J, to_J = trials.at_risk_seconds()
    own = [(begin, end) for begin, end in zip(from_J, to_J, strict=True) if end > begin + 1e-9]
    assert all(first[1] <= second[0] + 1e-6 for first, second in itertools.pairwise(own))
    num_steps = int(np.ceil((onset[-1] + window) / STEP)) + 2
    for by_step in (False, True):
        _, press_TA, at_risk_T = encode(trials, num_steps, by_step=by_step)
        assert at_risk_T.max() <= 1 + 1e-5
        assert at_risk_T.astype(float).sum() * STEP == pytest.approx(sum(e - b for b, e in own), abs=1e-4)
        steps = set(np.floor((onset + rt)[np.isfinite(rt)] / STEP).astype(int))
        assert len(steps) <= press_TA.any(1).sum() <= np.isfinite(rt).sum()


def test_two_presses_within_one_step_count_as_two():
    trials = make_trials([0.0, 1.0], [1.5, 1.5], [1.31, 0.36])
    assert np.flatnonzero(encode(trials)[1][:, 0]).tolist() == [13, 14]


def test_segments_count_each_moment_of_overlapping_trials_once():
    trials = make_trials(np.arange(20.0), [1.5] * 20, np.where(np.arange(20) % 2, 1.3, 0.4))
    whole = encode(trials, num_steps=230)[2]
    first = encode(trials, num_steps=230, counted=(0.0, 10.0))[2]
    second = encode(trials, num_steps=230, counted=(10.0, 100.0))[2]
    np.testing.assert_allclose(first + second, whole, atol=1e-6)


@pytest.mark.slow
def test_every_press_of_a_continuous_task_is_kept_those_after_the_next_onset_too(real_data):
    spec = load_task(real_data / "tasks" / "gradcpt_face.yaml")
    late = kept = 0
    for path in sorted(expanded(real_data, "song").glob("bids/sub-*/func/*gradCPTface*_events.tsv")):
        table = pd.read_csv(path, sep="\t")
        pressed = (table.resp_1st == 1) & (table.rt_1st > 0) & (table.rt_1st <= 1.5)
        trials = read_trials(spec, path).trials
        assert trials.pressed_J.sum() == pressed.sum()
        assert np.nanmedian(trials.rt_seconds_J) == pytest.approx(table.rt_1st[pressed].median())
        late += int((table.rt_1st[pressed] > -table.onset.diff(-1)[pressed]).sum())
        kept += int((trials.rt_seconds_J[:-1] > np.diff(trials.onset_seconds_J)).sum())
    assert kept == late == 422


def test_one_press_that_stands_in_the_rows_of_two_trials_is_the_first_ones(tmp_path):
    path = tmp_path / "sub-1_task-stroop_events.tsv"
    header = "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n"
    rows = [(1.0, 1.4), (2.0, 0.4), (3.0, 0.6), (4.0, 0.5)]
    path.write_text(header + "".join(f"{onset}\t2\tcon1\t{rt}\t1\tred\tred\n" for onset, rt in rows))
    read = read_trials(load_task("stroop"), path)
    assert read.trials.usable_J.tolist() == [True, False, True, True]
    np.testing.assert_allclose(read.trials.rt_seconds_J, [1.4, np.nan, 0.6, 0.5])
    (lost,) = read.unusable
    assert lost.row == 3
    assert lost.reason == "the press at 2.4 s stands in the row of an earlier trial too"
