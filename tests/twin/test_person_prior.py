"""The distribution of effects is found again from people that were drawn from one, and observations are worth what they are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.person_prior import Told, Worth, drift_share, fit_covariance, squared_errors
from dtb.twin.readouts.press import PressDistribution, windows
from tests.twin.conftest import SIZES, in_float64, make_batch, make_config

COVARIANCE_ZZ = torch.tensor([[0.6, 0.2], [0.2, 0.3]], dtype=torch.float64)


def told_of(covariance_ZZ: Tensor, num_people: int = 600) -> Told:
    """People with data of very different amounts, some with none in a direction."""
    generator = torch.Generator().manual_seed(0)
    read_SZ = torch.randn(num_people, 2, generator=generator, dtype=torch.float64)
    values_SZZ = torch.randn(num_people, 2, 2, generator=generator, dtype=torch.float64)
    precision_SZZ = 4 * values_SZZ @ values_SZZ.mT
    precision_SZZ[::5] = torch.diag(torch.tensor([3.0, 0.0])).double()
    root_ZZ = torch.linalg.cholesky(covariance_ZZ + 1e-12 * torch.eye(2))
    latent_SZ = read_SZ + torch.randn(num_people, 2, generator=generator, dtype=torch.float64) @ root_ZZ.mT
    noise_SZ = torch.randn(num_people, 2, generator=generator, dtype=torch.float64)
    values_SZ, vectors_SZZ = torch.linalg.eigh(precision_SZZ)
    half_SZZ = vectors_SZZ * values_SZ.clamp_min(0.0).sqrt()[:, None]
    shift_SZ = ((precision_SZZ @ latent_SZ[..., None]) + half_SZZ @ noise_SZ[..., None])[..., 0]
    return Told(read_SZ, precision_SZZ, shift_SZ)


def test_the_covariance_of_effects_is_found_again() -> None:
    found_ZZ = fit_covariance(told_of(COVARIANCE_ZZ), torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(found_ZZ, COVARIANCE_ZZ, rtol=0.15, atol=0.05)
    nothing_ZZ = fit_covariance(told_of(torch.zeros(2, 2, dtype=torch.float64)), torch.eye(2, dtype=torch.float64))
    assert nothing_ZZ.diagonal().max() < 0.03


def make_twin() -> Twin:
    torch.manual_seed(0)
    return Twin(make_config(latent_size=2), SIZES).double().eval()


def performed(twin: Twin, latent_SZ: Tensor, num_segments: int) -> Batch:
    """People who do what the twin does, with BOLD of independent errors of variance 1."""
    people = len(latent_SZ)
    batch = in_float64(make_batch(people, num_segments))
    output = twin.perform(twin.hypernetwork.decode(latent_SZ), batch.stimulus_SKTI)
    trials = batch.trials
    distribution = PressDistribution.of(*windows(twin.hazards(output), trials), trials, 0.1)
    generator = torch.Generator().manual_seed(1)
    choice_J, rt_J = (drawn[0].detach() for drawn in distribution.sample(generator))
    press_SKTA, at_risk_SKT = torch.zeros_like(batch.press_SKTA), torch.zeros_like(batch.at_risk_SKT)
    for place in range(len(choice_J)):
        where, begin = (trials.subject_J[place], trials.segment_J[place]), float(trials.onset_steps_J[place])
        end = begin + float(rt_J[place] / 0.1 if choice_J[place] >= 0 else trials.window_steps_J[place])
        step_T = torch.arange(at_risk_SKT.shape[2])
        at_risk_SKT[where] += (torch.clamp(step_T + 1, max=end) - torch.clamp(step_T, min=begin)).clamp_min(0.0)
        if choice_J[place] >= 0:
            press_SKTA[where][int(end), choice_J[place]] = True
    bold_SKVR = twin.bold(output, batch.volume_seconds_SKV).detach()
    bold_SKVR = bold_SKVR + torch.randn(bold_SKVR.shape, generator=generator, dtype=torch.float64)
    return dataclasses.replace(batch, press_SKTA=press_SKTA, at_risk_SKT=at_risk_SKT, bold_SKVR=bold_SKVR)


@pytest.fixture(scope="module")
def latent_SZ() -> Tensor:
    return 0.5 * torch.randn(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_independent_observations_are_worth_one_each_and_repeated_ones_less(latent_SZ: Tensor) -> None:
    twin = make_twin()
    batch = performed(twin, latent_SZ, 12)
    press, bold = Worth.of(twin, batch, latent_SZ, torch.eye(2, dtype=torch.float64)).evidence
    assert press > 0.75
    assert bold > 0.75
    # Each volume five times, as if a scanner had repeated it, and each press read twice.
    repeated = dataclasses.replace(
        batch,
        bold_SKVR=batch.bold_SKVR.repeat_interleave(5, 2),
        bold_counted_SKV=batch.bold_counted_SKV.repeat_interleave(5, 2),
        volume_seconds_SKV=batch.volume_seconds_SKV.repeat_interleave(5, 2),
    )
    worth = Worth.of(twin, repeated, latent_SZ, torch.eye(2, dtype=torch.float64))
    assert worth.evidence[1].item() == pytest.approx(0.2 * bold.item(), rel=0.1)
    both = Worth.joined([worth, worth])
    torch.testing.assert_close(both.evidence, worth.evidence)


def test_errors_of_bold_are_those_that_were_added(latent_SZ: Tensor) -> None:
    twin = make_twin()
    squares_R, count_R = squared_errors(twin, performed(twin, latent_SZ, 12), latent_SZ)
    assert count_R.tolist() == [20 * 12 * 6] * 6
    torch.testing.assert_close(squares_R / count_R, torch.ones(6, dtype=torch.float64), rtol=0.1, atol=0)


def test_what_people_tell_depends_little_on_the_covariance_it_was_found_under(latent_SZ: Tensor) -> None:
    """So one look at each person is enough, and the covariance follows in closed form."""
    twin = make_twin()
    batch, read_SZ = performed(twin, latent_SZ, 12), torch.zeros_like(latent_SZ)
    wide, narrow = (Told.of(twin, batch, read_SZ, size * torch.eye(2, dtype=torch.float64)) for size in (0.5, 0.15))
    found = [fit_covariance(told, 0.3 * torch.eye(2, dtype=torch.float64)) for told in (wide, narrow)]
    torch.testing.assert_close(found[0], found[1], rtol=0.3, atol=0.05)
    assert 0.08 < found[0].diagonal().mean() < 0.6


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_drift_between_sessions_is_found_again(share: float) -> None:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    root_ZZ = torch.linalg.cholesky(COVARIANCE_ZZ)
    people = []
    for _ in range(60):
        change_CZ = normal(3, 2) @ root_ZZ.mT
        change_CZ[1:] *= share**0.5
        latent_CZ = change_CZ.cumsum(0)
        precision_CZZ = 6.0 * torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
        people.append(
            Told(torch.zeros(3, 2, dtype=torch.float64), precision_CZZ, 6.0 * latent_CZ + 6.0**0.5 * normal(3, 2))
        )
    found = drift_share(people, COVARIANCE_ZZ)
    assert found == pytest.approx(share, abs=0.05 if share == 0 else 0.15)
