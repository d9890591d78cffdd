"""The press-time likelihood: closed forms, a million draws, finite differences, and hazards of any size."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from dtb.twin.readouts.press import PressDistribution, first_press, windows
from dtb.twin.readouts.press_loss import count_trials, log_softplus, press_nll
from tests.twin.conftest import make_batch

STEP = 0.08


def make_distribution(hazards: Tensor, covered: Tensor | None = None) -> PressDistribution:
    return PressDistribution(
        hazards, torch.ones(hazards.shape[:2], dtype=hazards.dtype) if covered is None else covered, STEP
    )


def bumpy(num_trials: int = 4, num_steps: int = 25) -> PressDistribution:
    """Hazards that rise and fall, with windows that begin and end within a step."""
    generator = torch.Generator().manual_seed(0)
    hazards = torch.rand(num_trials, num_steps, 3, generator=generator, dtype=torch.float64) * 2
    hazards = hazards * torch.linspace(0, 3, num_steps, dtype=torch.float64).sin().abs()[:, None]
    covered = torch.ones(num_trials, num_steps, dtype=torch.float64)
    covered[:, 0] = torch.linspace(0.1, 1, num_trials)
    covered[:, -2] = torch.linspace(1, 0.3, num_trials)
    covered[:, -1] = 0
    return make_distribution(hazards, covered)


def test_mean_of_an_ensemble_is_exact_in_every_step() -> None:
    one = bumpy()
    two = make_distribution(one.hazard_JWA.flip(2) * 3, one.covered_JW)
    both = PressDistribution.mean_of([one, two])
    for said in (PressDistribution.choice_probability_JA, PressDistribution.omission_probability_J):
        torch.testing.assert_close(said(both), (said(one) + said(two)) / 2, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(both._mass_JWA, (one._mass_JWA + two._mass_JWA) / 2, rtol=1e-10, atol=1e-12)
    presses = [member.press_probability_J() for member in (one, two)]
    mean_rt_J = (presses[0] * one.mean_rt_J() + presses[1] * two.mean_rt_J()) / (presses[0] + presses[1])
    torch.testing.assert_close(both.mean_rt_J(), mean_rt_J, rtol=0, atol=2e-3)
    again = PressDistribution.mean_of([two, two])
    torch.testing.assert_close(
        again.hazard_JWA, two.hazard_JWA * (two.covered_JW > 0)[..., None], rtol=1e-8, atol=1e-10
    )


def test_constant_hazard_is_the_exponential_distribution() -> None:
    rate, window = 2.0, 25 * STEP
    distribution = make_distribution(torch.tensor([1.5, 0.5], dtype=torch.float64).expand(1, 25, 2))
    omission = math.exp(-rate * window)
    assert distribution.omission_probability_J().item() == pytest.approx(omission, rel=1e-12)
    assert distribution.choice_probability_JA()[0].tolist() == pytest.approx(
        [0.75 * (1 - omission), 0.25 * (1 - omission)]
    )
    mean = 1 / rate - window * omission / (1 - omission)
    assert distribution.mean_rt_J().item() == pytest.approx(mean, rel=1e-12)
    assert distribution.mean_rt_of_choice_JA()[0].tolist() == pytest.approx([mean, mean])
    quantile = -math.log1p(-0.3 * (1 - omission)) / rate
    assert distribution.rt_quantile_J(0.3).item() == pytest.approx(quantile, rel=1e-12)
    density = distribution.density_JA(torch.tensor([0.5]))[0]
    assert density.tolist() == pytest.approx([1.5 * math.exp(-1.0), 0.5 * math.exp(-1.0)])


def test_densities_and_omission_integrate_to_one() -> None:
    distribution = bumpy()
    # The density is smooth within each step; Gauss-Legendre points there integrate it to machine precision.
    length_JW = distribution.covered_JW * STEP
    start_JW = length_JW.cumsum(-1) - length_JW
    points, weights = (torch.tensor(values, dtype=torch.float64) for values in _gauss_legendre())
    integral_JA = torch.zeros(4, 3, dtype=torch.float64)
    for step in range(length_JW.shape[1]):
        for point, weight in zip(points, weights, strict=True):
            density_JA = distribution.density_JA(start_JW[:, step] + point * length_JW[:, step])
            integral_JA += weight * length_JW[:, step, None] * density_JA
    torch.testing.assert_close(integral_JA, distribution.choice_probability_JA(), rtol=1e-10, atol=1e-12)
    whole = integral_JA.sum(-1) + distribution.omission_probability_J()
    torch.testing.assert_close(whole, torch.ones_like(whole), rtol=1e-10, atol=0)


def _gauss_legendre() -> tuple[list[float], list[float]]:
    import numpy as np

    points, weights = np.polynomial.legendre.leggauss(8)
    return ((points + 1) / 2).tolist(), (weights / 2).tolist()


def test_a_million_draws_agree_with_the_closed_forms() -> None:
    distribution = bumpy(num_trials=2)
    num_draws = 500_000
    choice, rt = distribution.sample(torch.Generator().manual_seed(1), num_draws)
    for trial in range(2):
        pressed = choice[:, trial] >= 0
        times = rt[pressed, trial]
        error = 4 / math.sqrt(num_draws)
        for alternative in range(3):
            share = (choice[:, trial] == alternative).double().mean().item()
            assert share == pytest.approx(
                distribution.choice_probability_JA()[trial, alternative].item(), abs=error / 2
            )
            mean = rt[choice[:, trial] == alternative, trial].mean().item()
            assert mean == pytest.approx(distribution.mean_rt_of_choice_JA()[trial, alternative].item(), abs=2 * error)
        assert times.mean().item() == pytest.approx(distribution.mean_rt_J()[trial].item(), abs=error)
        for share in (0.1, 0.5, 0.9):
            below = (times <= distribution.rt_quantile_J(share)[trial]).double().mean().item()
            assert below == pytest.approx(share, abs=error)
        omitted = (~pressed).double().mean().item()
        assert omitted == pytest.approx(distribution.omission_probability_J()[trial].item(), abs=error)
        assert torch.isnan(rt[~pressed, trial]).all()


def test_loss_is_minus_the_log_density_of_what_was_seen() -> None:
    batch = make_batch()
    raw = torch.randn(*batch.press_SKTA.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distribution = PressDistribution(*windows(torch.nn.functional.softplus(raw), batch.trials), 0.1)
    by_trial = distribution.log_likelihood_J(batch.trials.rt_seconds_J, batch.trials.response_JA)
    expected = torch.zeros(3, dtype=torch.float64).index_add(0, batch.trials.subject_J, -by_trial)
    loss = press_nll(raw, batch.press_SKTA, batch.at_risk_SKT.double(), 0.1)
    torch.testing.assert_close(loss.sum(1), expected, rtol=1e-5, atol=1e-5)


def test_an_ambiguous_press_has_the_summed_density_of_its_alternatives() -> None:
    raw = torch.tensor([[[[0.3, -0.2, 1.0]]]], dtype=torch.float64)
    either = torch.tensor([[[[True, True, False]]]])
    loss = press_nll(raw, either, torch.zeros(1, 1, 1), STEP)
    hazards = torch.nn.functional.softplus(raw).flatten()
    assert loss.item() == pytest.approx(-math.log(hazards[0] + hazards[1]), rel=1e-12)


def test_loss_gradient_agrees_with_finite_differences() -> None:
    batch = make_batch(2, 1)
    generator = torch.Generator().manual_seed(0)
    raw = (3 * torch.randn(*batch.press_SKTA.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    risk = batch.at_risk_SKT.double()
    assert torch.autograd.gradcheck(lambda values: press_nll(values, batch.press_SKTA, risk, 0.1), raw)


def test_gradients_of_the_closed_forms_agree_with_finite_differences() -> None:
    given = bumpy(num_trials=2, num_steps=6)
    hazards = (given.hazard_JWA + 0.05).requires_grad_()

    def closed_forms(values: Tensor) -> Tensor:
        distribution = PressDistribution(values, given.covered_JW, STEP)
        return torch.cat(
            [
                distribution.choice_probability_JA().flatten(),
                distribution.omission_probability_J(),
                distribution.mean_rt_J(),
                distribution.mean_rt_of_choice_JA().flatten(),
                distribution.rt_quantile_J(0.4),
                distribution.density_JA(torch.tensor([0.21, 0.3])).flatten(),
            ]
        )

    assert torch.autograd.gradcheck(closed_forms, hazards)


@pytest.mark.parametrize("hazard", [1e-12, 1e-6, 1.0, 1e3, 1e6])
def test_hazards_of_any_size_stay_finite_in_float32(hazard: float) -> None:
    raw = torch.full((1, 1, 10, 2), math.log(math.expm1(hazard)) if hazard < 500 else hazard).requires_grad_()
    pressed = torch.zeros(1, 1, 10, 2, dtype=torch.bool)
    pressed[0, 0, 5, 1] = True
    loss = press_nll(raw, pressed, torch.ones(1, 1, 10), STEP)
    loss.sum().backward()
    assert loss.item() == pytest.approx(-math.log(hazard) + 20 * hazard * STEP, rel=1e-4)
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert raw.grad[0, 0, 5, 1] != raw.grad[0, 0, 5, 0]
    hazards = torch.nn.functional.softplus(raw.detach()[0]).requires_grad_()
    distribution = make_distribution(hazards)
    figures = [distribution.mean_rt_J(), distribution.choice_probability_JA(), distribution.rt_quantile_J(0.5)]
    for figure in figures:
        assert torch.isfinite(figure).all()
        (gradient,) = torch.autograd.grad(figure.sum(), hazards, retain_graph=True)
        assert torch.isfinite(gradient).all()
    total = distribution.choice_probability_JA().sum() + distribution.omission_probability_J()
    assert total.item() == pytest.approx(1, abs=1e-5)
    if hazard == 1e-12:  # so rare that a press is as likely at any time of the window
        assert distribution.mean_rt_J().item() == pytest.approx(10 * STEP / 2, rel=1e-4)
    if hazard == 1e6:
        assert distribution.mean_rt_J().item() == pytest.approx(1 / (2 * hazard), rel=1e-3)


def test_log_softplus_keeps_value_and_slope_where_softplus_underflows() -> None:
    values = torch.tensor([-200.0, -100.0, -15.001, -14.999, 0.0, 50.0, 1e6], requires_grad=True)
    result = log_softplus(values)
    result.sum().backward()
    exact = torch.nn.functional.softplus(values.detach().double()).log()
    torch.testing.assert_close(result.detach().double(), exact, rtol=1e-5, atol=1e-6)
    assert values.grad is not None
    assert values.grad[:4].tolist() == pytest.approx([1.0] * 4, abs=1e-5)


def test_no_hazard_means_no_press() -> None:
    distribution = make_distribution(torch.zeros(3, 5, 2))
    assert distribution.choice_probability_JA().sum() == 0
    assert distribution.omission_probability_J().tolist() == [1, 1, 1]
    choice, rt = distribution.sample(torch.Generator().manual_seed(0), 10)
    assert (choice == -1).all()
    assert torch.isnan(rt).all()


def test_windows_cover_what_the_trial_covers() -> None:
    batch = make_batch()
    hazards, covered = windows(torch.ones(*batch.press_SKTA.shape), batch.trials)
    torch.testing.assert_close(covered.sum(-1), batch.trials.window_steps_J.float())
    assert covered[0, 0] == pytest.approx(0.75)
    assert hazards.shape == (len(batch.trials.subject_J), covered.shape[1], 2)


def test_trials_are_counted_that_are_usable_and_begin_within_the_segment() -> None:
    batch = make_batch()
    assert count_trials(batch.trials, batch.at_risk_SKT).tolist() == [[2, 2]] * 3
    assert count_trials(batch.trials, batch.at_risk_SKT[:, :, :40]).tolist() == [[1, 1]] * 3
    assert count_trials(batch.trials, batch.at_risk_SKT[:, :, :0]).tolist() == [[0, 0]] * 3
    usable_J = batch.trials.usable_J.clone()
    usable_J[[0, 1, 6]] = False
    some = dataclasses.replace(batch.trials, usable_J=usable_J)
    assert count_trials(some, batch.at_risk_SKT).tolist() == [[0, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_press_at_the_very_end_of_its_window_lies_in_it(dtype: torch.dtype) -> None:
    """The window covers steps wholly, in part, and some of its row not at all, as a shorter trial's does; sums over steps are rounded."""
    covered = torch.ones(3, 25, dtype=dtype)
    covered[0, :1], covered[0, 24:] = 0.3, 0.7
    covered[1, 20:] = 0.0
    hazards = torch.rand(3, 25, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    distribution = make_distribution(hazards, covered)
    end_J = torch.tensor([24.0, 20.0, 25.0], dtype=torch.float64) * STEP
    last_J = torch.tensor([24, 19, 24])
    expected_JA = hazards[torch.arange(3), last_J] * distribution.omission_probability_J()[:, None]
    torch.testing.assert_close(distribution.density_JA(end_J), expected_JA, rtol=1e-5, atol=0)
    response_JA = torch.tensor([[True, False]]).expand(3, 2)
    likelihood_J = distribution.log_likelihood_J(end_J, response_JA)
    torch.testing.assert_close(likelihood_J, expected_JA[:, 0].log(), rtol=1e-5, atol=1e-6)
    assert (distribution.density_JA(end_J + 1e-3) == 0).all()
    assert torch.isneginf(distribution.log_likelihood_J(end_J + 1e-3, response_JA)).all()


def test_the_papers_decoding_takes_the_first_step_over_one_half() -> None:
    probability = torch.zeros(2, 6, 3)
    probability[0, 2, 1], probability[0, 3, 0] = 0.6, 0.9
    covered = torch.ones(2, 6)
    covered[:, 0] = 0.5
    choice, rt = first_press(probability, covered, STEP)
    assert choice.tolist() == [1, -1]
    assert rt[0].item() == pytest.approx(2.5 * STEP)
    assert torch.isnan(rt[1])
