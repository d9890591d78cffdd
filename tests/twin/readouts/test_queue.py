"""Overlapping windows: the closed forms are the simulation's, and a slow person's presses come after the next onset."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dtb.intervene.indicators import TaskOutline, press_distribution
from dtb.tasks.encode import encode_segment
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import TrialTensors
from dtb.twin.model import Twin
from dtb.twin.readouts.press import PressDistribution, first_press, windows
from dtb.twin.readouts.press_loss import press_nll
from dtb.twin.readouts.queue import queue_of, waiting_hazards
from tests.tasks.test_encode import TASKS, make_trials
from tests.twin.conftest import SIZES, make_batch, make_config

STEP = 0.1


def table(onset_steps: list[float], window_steps: float) -> TrialTensors:
    """Trials of one segment."""
    num, trials = len(onset_steps), make_batch().trials
    rows = {name: value[:1].repeat(num, *[1] * (value.ndim - 1)) for name, value in vars(trials).items()}
    rows |= {
        "onset_steps_J": torch.tensor(onset_steps, dtype=torch.float64),
        "window_steps_J": torch.full((num,), window_steps, dtype=torch.float64),
    }
    return TrialTensors(**rows)


def bumpy_hazards(num_steps: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.softplus(torch.randn(1, 1, num_steps, 2, generator=generator, dtype=torch.float64))


def of(hazard_SKTA: Tensor, trials: TrialTensors) -> PressDistribution:
    return PressDistribution.of(*windows(hazard_SKTA, trials), trials, STEP)


def test_windows_that_do_not_overlap_have_no_queue_and_keep_every_bit() -> None:
    trials = table([3.0, 18.0, 33.0], 15.0)
    assert queue_of(trials, STEP) is None
    hazard_SKTA = bumpy_hazards(60)
    given, plain = of(hazard_SKTA, trials), windows(hazard_SKTA, trials)
    assert torch.equal(given.hazard_JWA, plain[0])
    assert torch.equal(given.covered_JW, plain[1])
    assert queue_of(make_batch().trials, STEP) is None


def test_trials_of_other_people_and_segments_are_not_waited_for() -> None:
    trials = make_batch().trials  # two trials a segment, 10.25 and 40 steps after its beginning
    longer = dataclasses.replace(trials, window_steps_J=torch.full_like(trials.window_steps_J, 32.0))
    queue = queue_of(longer, STEP)
    assert queue is not None
    assert queue.previous_J.tolist() == [-1 if place % 2 == 0 else place - 1 for place in range(len(trials.subject_J))]
    assert queue.place_J.tolist() == [place % 2 for place in range(len(trials.subject_J))]


def test_a_trial_that_begins_with_the_press_before_waits_for_nobody() -> None:
    trials = table([0.0, 12.5, 20.5], 40.0)
    pressed = dataclasses.replace(trials, rt_seconds_J=torch.tensor([1.25, 0.8, torch.nan], dtype=torch.float64))
    assert queue_of(pressed, STEP) is None
    later = dataclasses.replace(trials, rt_seconds_J=torch.tensor([1.25, 0.9, torch.nan], dtype=torch.float64))
    queue = queue_of(later, STEP)
    assert queue is not None
    assert queue.previous_J.tolist() == [-1, -1, 1]


def test_at_a_constant_hazard_the_next_trial_waits_as_long_as_the_first_takes() -> None:
    rate, spacing, window = 0.9, 1.0, 1.5
    trials = table([0.0, spacing / STEP], window / STEP)
    second = of(torch.full((1, 1, 40, 1), rate, dtype=torch.float64), trials)
    # P(second pressed) by hand: the first is done by the second's onset, within the overlap at t, or at its window's end.
    overlap = window - spacing
    by_onset = 1 - math.exp(-rate * spacing)
    times = np.linspace(0, overlap, 200_001)
    density = rate * np.exp(-rate * (spacing + times))
    wanted = by_onset * (1 - math.exp(-rate * window))
    wanted += float(np.trapezoid(density * (1 - np.exp(-rate * (window - times))), times))
    wanted += math.exp(-rate * window) * (1 - math.exp(-rate * (window - overlap)))
    assert second.press_probability_J()[1].item() == pytest.approx(wanted, rel=2e-4)
    assert second.press_probability_J()[0].item() == pytest.approx(1 - math.exp(-rate * window), rel=1e-12)


def test_closed_forms_agree_with_draws_in_which_each_trial_waits_for_the_one_before() -> None:
    trials = table([2.3, 10.1, 19.7, 26.2], 16.4)
    distribution = of(bumpy_hazards(60), trials)
    num_draws = 200_000
    choice_DJ, rt_DJ = distribution.sample(torch.Generator().manual_seed(0), num_draws)
    onset_J = trials.onset_steps_J * STEP
    for trial in range(4):
        pressed_D = choice_DJ[:, trial] >= 0
        for alternative in range(2):
            share = (choice_DJ[:, trial] == alternative).double().mean().item()
            assert share == pytest.approx(distribution.choice_probability_JA()[trial, alternative].item(), abs=5e-3)
        times_D = rt_DJ[pressed_D, trial]
        assert times_D.mean().item() == pytest.approx(distribution.mean_rt_J()[trial].item(), abs=5e-3)
        for share in (0.1, 0.5, 0.9):
            below = (times_D <= distribution.rt_quantile_J(share)[trial]).double().mean().item()
            assert below == pytest.approx(share, abs=1e-2)
        assert times_D.max() <= 1.64
    # Nobody answers the second of two before the first, or while the first still waits.
    both_D = (choice_DJ[:, 0] >= 0) & (choice_DJ[:, 1] >= 0)
    assert (rt_DJ[both_D, 1] + onset_J[1] > rt_DJ[both_D, 0] + onset_J[0]).all()
    only_D = (choice_DJ[:, 0] < 0) & (choice_DJ[:, 1] >= 0)
    assert (rt_DJ[only_D, 1] + onset_J[1] >= onset_J[0] + 1.64 - 1e-9).all()
    assert (rt_DJ[:, 0] > (onset_J[1] - onset_J[0])).double().nansum() > 0.05 * num_draws


def test_some_persons_draws_are_the_same_by_themselves() -> None:
    trials = table([2.3, 10.1, 19.7, 26.2], 16.4)
    distribution = of(bumpy_hazards(60), trials)
    part = distribution.of_rows(torch.tensor([0, 1]))
    assert part.queued is not None
    assert part.queued[1].previous_J.tolist() == [-1, 0]
    torch.testing.assert_close(part.mean_rt_J(), distribution.mean_rt_J()[:2])


def test_gradients_through_the_queue_are_right() -> None:
    trials = table([2.3, 10.1, 19.7], 16.4)
    queue = queue_of(trials, STEP)
    assert queue is not None
    given_JWA, covered_JW = windows(bumpy_hazards(40), trials)

    def means(hazard_JWA: Tensor) -> Tensor:
        own_JWA = waiting_hazards(hazard_JWA, covered_JW, queue, STEP)
        return PressDistribution(own_JWA, covered_JW, STEP).mean_rt_J()

    assert torch.autograd.gradcheck(means, given_JWA.clone().requires_grad_())


@pytest.mark.parametrize("size", [1e-8, 1e3])
def test_extreme_hazards_stay_finite(size: float) -> None:
    trials = table([0.0, 5.0, 10.0, 15.0], 12.0)
    hazard_SKTA = torch.full((1, 1, 60, 2), size, requires_grad=True)
    distribution = of(hazard_SKTA, trials)
    figures = [distribution.mean_rt_J(), distribution.choice_probability_JA(), distribution.omission_probability_J()]
    assert all(figure.isfinite().all() for figure in figures)
    sum(figure.sum() for figure in figures).backward()  # type: ignore[union-attr]
    assert hazard_SKTA.grad is not None
    assert hazard_SKTA.grad.isfinite().all()


def test_the_papers_decoding_does_not_answer_two_trials_at_once() -> None:
    trials = table([0.0, 10.0], 15.0)
    output = torch.zeros(1, 1, 40, 1)
    output[0, 0, 12] = output[0, 0, 20] = 0.9  # one press in the overlap, one after it
    choice_J, rt_J = first_press(*windows(output, trials), STEP, queue_of(trials, STEP))
    assert choice_J.tolist() == [0, 0]
    assert rt_J.tolist() == pytest.approx([1.3, 1.1])


def test_a_slow_persons_hazard_is_recovered_from_presses_after_the_next_onset() -> None:
    """Presses drawn from hazards that rise 1.1 s after each onset, every 1 s: what is fitted to them is what drew them."""
    num_trials, window = 40, 1.8
    onset = 0.5 + 1.0 * np.arange(num_trials)
    trials = table((onset / STEP).tolist(), window / STEP)
    num_steps = int((onset[-1] + window) / STEP) + 2
    phase_T = (torch.arange(num_steps) + 5) % 10  # each phase of the second has a hazard of its own
    truth_P = torch.tensor([0.1, 3.0, 4.0, 2.0, 0.8, 0.3, 0.1, 0.1, 0.1, 0.1], dtype=torch.float64)
    distribution = of(truth_P[phase_T][None, None, :, None], trials)
    choice_DJ, rt_DJ = distribution.sample(torch.Generator().manual_seed(3), 400)
    assert ((rt_DJ > 1.0).double().sum() / (choice_DJ >= 0).double().sum()).item() > 0.05
    press, risk = [], []
    one = TaskSet(TASKS.specs[:1])
    for rt_J in rt_DJ.numpy():
        seen = make_trials(onset, np.full(num_trials, window), rt_J, num_alternatives=1)
        _, press_TA, at_risk_T = encode_segment(seen, 0, one, 0.0, num_steps, STEP, 0.0, 1e9)
        press.append(press_TA[:, :1])
        risk.append(at_risk_T)
    press_SKTA, risk_SKT = (
        torch.from_numpy(np.stack(press))[:, None],
        torch.from_numpy(np.stack(risk)).double()[:, None],
    )
    # With one hazard a phase, the maximum of the likelihood is presses over time at risk. Of two presses within one step, which nobody
    # makes but these hazards do, the second is taken for the next step.
    time_P = torch.zeros(10, dtype=torch.float64).index_add(0, phase_T, risk_SKT.sum((0, 1)) * STEP)
    count_P = torch.zeros(10, dtype=torch.float64).index_add(0, phase_T, press_SKTA.sum((0, 1, 3)).double())
    fitted_P = (count_P / time_P).requires_grad_()
    raw_T = torch.log(torch.expm1(fitted_P))[phase_T]
    press_nll(raw_T[None, None, :, None].expand(400, 1, -1, 1), press_SKTA, risk_SKT, STEP).sum().backward()
    assert fitted_P.grad is not None
    assert fitted_P.grad.abs().max() < 1e-6 * float(count_P.sum())
    assert torch.allclose(fitted_P.detach(), truth_P, rtol=0.16, atol=0.03)
    again = of(fitted_P.detach()[phase_T][None, None, :, None], trials)
    weight_J = again.press_probability_J()
    mean_rt = float((again.mean_rt_J() * weight_J).sum() / weight_J.sum())
    assert mean_rt == pytest.approx(float(rt_DJ.nanmean()), rel=0.015)


def test_a_twin_expects_on_overlapping_trials_what_it_does_on_them() -> None:
    twin = Twin(make_config(), SIZES).eval()
    batch = make_batch(num_subjects=2)
    trials = dataclasses.replace(
        batch.trials,
        onset_steps_J=torch.where(batch.trials.onset_steps_J < 20, 10.25, 21.5).double(),
        window_steps_J=torch.full_like(batch.trials.window_steps_J, 18.0),
    )
    batch = dataclasses.replace(batch, trials=trials)
    tasks = [TaskOutline("t", "cognitive", (), ("a", "b"))]
    with torch.no_grad():
        output = twin(batch.connectome_SE, batch.stimulus_SKTI)
        expected = press_distribution(twin, output, batch, tasks)
    done = twin.simulate(batch.connectome_SE, batch.stimulus_SKTI, trials, num_draws=40_000, seed=1)
    share_J = (done.choice_DJ >= 0).double().mean(0)
    torch.testing.assert_close(share_J, expected.press_probability_J().double(), rtol=0, atol=0.01)
    torch.testing.assert_close(done.rt_seconds_DJ.nanmean(0), expected.mean_rt_J(), rtol=0, atol=0.015)
    alone = PressDistribution(*windows(twin.hazards(output), trials), STEP)
    second_J = trials.onset_steps_J > 20
    assert (alone.press_probability_J() - expected.press_probability_J())[second_J].min() > 0.01
