"""A person's posterior against a gridded reference in float64, and what must hold of it whatever the data."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from dtb.twin import Latents, OwnData, Twin, condition, prior_of, remaining, restricted
from dtb.twin.batch import Batch
from dtb.twin.posterior import _updated
from dtb.twin.readouts.press import PressDistribution, windows
from tests.twin.conftest import SIZES, in_float64, make_batch, make_config

PEOPLE, SEGMENTS = 3, 12


def make_twin(**changes: object) -> Twin:
    torch.manual_seed(0)
    twin = Twin(make_config(**{"latent_size": 2} | changes), SIZES).double().eval()
    assert twin.prior is not None
    twin.prior.set(
        covariance_ZZ=torch.tensor([[0.5, 0.2], [0.2, 0.8]], dtype=torch.float64),
        mean_Z=torch.tensor([0.3, -0.2], dtype=torch.float64),
        spread_ZZ=torch.tensor([[0.4, 0.1], [0.1, 0.3]], dtype=torch.float64),
        bold_variance_R=torch.linspace(1.0, 3.0, SIZES.num_bold_regions).double(),
        bold_evidence=torch.tensor(0.2, dtype=torch.float64),
    )
    return twin


@pytest.fixture
def people() -> Batch:
    return in_float64(make_batch(PEOPLE, SEGMENTS))


def log_joint(twin: Twin, batch: Batch, person: int, prior: Latents, latent_MZ: Tensor) -> Tensor:
    """Log of likelihood times prior density at many latents of one person, trial by trial and volume by volume."""
    one = batch[person]
    generated = twin.hypernetwork.decode(latent_MZ)
    many = one.repeat(len(latent_MZ))
    output = twin.perform(generated, many.stimulus_SKTI)
    trials = many.trials
    distribution = PressDistribution.of(*windows(twin.hazards(output), trials), trials, 0.1)
    trial_J = distribution.log_likelihood_J(trials.rt_seconds_J, trials.response_JA) * trials.usable_J
    press_M = torch.zeros(len(latent_MZ), dtype=torch.float64).index_add(0, trials.subject_J, trial_J)
    assert twin.prior is not None
    around = Normal(twin.bold(output, many.volume_seconds_SKV), twin.prior.bold_variance_R.sqrt())
    value = around.log_prob(many.bold_SKVR) * many.bold_counted_SKV[..., None]
    bold_M = twin.prior.bold_evidence * value.sum((1, 2, 3))
    density = MultivariateNormal(prior.mean_SZ[person], prior.covariance_SZZ[person])
    return (press_M + bold_M + density.log_prob(latent_MZ)).detach()


@pytest.mark.slow
def test_mode_covariance_and_evidence_are_those_of_a_grid(people: Batch) -> None:
    twin = make_twin()
    prior = prior_of(twin, people.connectome_SE)
    found = twin.condition(people.connectome_SE, people)
    assert found.converged_S.all()
    for person in range(PEOPLE):
        mean_Z, covariance_ZZ = found.mean_SZ[person], found.covariance_SZZ[person]
        scale_ZZ = torch.linalg.cholesky(covariance_ZZ)
        line = torch.linspace(-5, 5, 41, dtype=torch.float64)
        grid_MZ = mean_Z + torch.cartesian_prod(line, line) @ scale_ZZ.mT
        log_M = log_joint(twin, people, person, prior, grid_MZ)
        weight_M = torch.softmax(log_M, 0)
        middle_Z = weight_M @ grid_MZ
        reference_ZZ = (grid_MZ - middle_Z).mT @ (weight_M[:, None] * (grid_MZ - middle_Z))
        # It narrowed the prior a good deal.
        assert torch.linalg.det(covariance_ZZ) < 0.4 * torch.linalg.det(prior.covariance_SZZ[person])
        torch.testing.assert_close(
            covariance_ZZ, reference_ZZ, rtol=0.15, atol=0.15 * float(reference_ZZ.diagonal().min())
        )
        log_evidence = torch.logsumexp(log_M, 0) + 2 * (line[1] - line[0]).log() + torch.logdet(scale_ZZ)
        assert found.log_evidence_S[person].item() == pytest.approx(log_evidence.item(), abs=0.05)
        # Nowhere around is the density higher than at the mode.
        fine = torch.linspace(-0.01, 0.01, 21, dtype=torch.float64)
        near_MZ = mean_Z + torch.cartesian_prod(fine, fine) @ scale_ZZ.mT
        best_Z = near_MZ[log_joint(twin, people, person, prior, near_MZ).argmax()]
        torch.testing.assert_close(
            mean_Z, best_Z, rtol=0, atol=1e-3 * float(covariance_ZZ.diagonal().max().sqrt()) * 1.5
        )


def test_without_data_the_posterior_is_the_prior(people: Batch) -> None:
    twin = make_twin()
    nothing = restricted(people, OwnData(trials=0, bold_seconds=0.0))
    found, prior = twin.condition(people.connectome_SE, nothing), prior_of(twin, people.connectome_SE)
    assert torch.equal(found.mean_SZ, prior.mean_SZ)
    assert torch.equal(found.covariance_SZZ, prior.covariance_SZZ)
    assert found.log_evidence_S.tolist() == [0.0] * PEOPLE
    assert found.condition_number_S.tolist() == [1.0] * PEOPLE


def test_more_data_narrows(people: Batch) -> None:
    twin = make_twin()
    sizes = [
        torch.logdet(twin.condition(people.connectome_SE, restricted(people, own)).covariance_SZZ)
        for own in (
            OwnData(trials=0, bold_seconds=0.0),
            OwnData(trials=4, bold_seconds=0.0),
            OwnData(trials=12, bold_seconds=0.0),
            OwnData(trials=12, bold_seconds=20.0),
            OwnData(),
        )
    ]
    for wide_S, narrow_S in itertools.pairwise(sizes):
        assert (narrow_S < wide_S).all()


def test_two_updates_are_one(people: Batch) -> None:
    """Nearly: between them the posterior is taken for normal."""
    twin = make_twin()
    first, rest = (part(people, OwnData(trials=12, bold_seconds=30.0)) for part in (restricted, remaining))
    prior = prior_of(twin, people.connectome_SE)
    at_once = condition(twin, people, prior)
    half = condition(twin, first, prior)
    both = condition(twin, rest, half.latents)
    deviation_SZ = at_once.covariance_SZZ.diagonal(dim1=1, dim2=2).sqrt()
    assert ((both.mean_SZ - at_once.mean_SZ).abs() < 0.15 * deviation_SZ).all()
    torch.testing.assert_close(both.covariance_SZZ, at_once.covariance_SZZ, rtol=0.15, atol=0.01)
    torch.testing.assert_close(half.log_evidence_S + both.log_evidence_S, at_once.log_evidence_S, atol=0.1, rtol=0)


def test_nobody_depends_on_who_else_is_there(people: Batch) -> None:
    twin = make_twin()
    together = twin.condition(people.connectome_SE, people)
    order = [2, 0, 1]
    permuted = twin.condition(people.connectome_SE[order], people[order])
    torch.testing.assert_close(permuted.mean_SZ, together.mean_SZ[order])
    torch.testing.assert_close(permuted.covariance_SZZ, together.covariance_SZZ[order])
    # Where somebody has data of other segments alone, only those are performed.
    few = restricted(people, OwnData(trials=3))
    mixed = dataclasses.replace(
        people,
        at_risk_SKT=torch.cat([few.at_risk_SKT[:1], people.at_risk_SKT[1:]]),
        press_SKTA=torch.cat([few.press_SKTA[:1], people.press_SKTA[1:]]),
    )
    found = twin.condition(people.connectome_SE, mixed)
    torch.testing.assert_close(found.mean_SZ[1:], together.mean_SZ[1:])
    torch.testing.assert_close(found.mean_SZ[0], twin.condition(people.connectome_SE[:1], few[0]).mean_SZ[0])


def test_float32_finds_the_same(people: Batch) -> None:
    exact = make_twin().condition(people.connectome_SE, people)
    rough = make_twin().float().condition(people.connectome_SE.float(), make_batch(PEOPLE, SEGMENTS))
    assert rough.converged_S.all()
    assert rough.mean_SZ.dtype == torch.float64
    deviation_SZ = exact.covariance_SZZ.diagonal(dim1=1, dim2=2).sqrt()
    assert ((rough.mean_SZ - exact.mean_SZ).abs() < 5e-3 * deviation_SZ).all()
    torch.testing.assert_close(rough.covariance_SZZ, exact.covariance_SZZ, rtol=0.02, atol=1e-3)


def test_a_person_without_a_connectome_is_anyone_of_the_cohort(people: Batch) -> None:
    twin = make_twin()
    connectome_SE = people.connectome_SE.clone()
    connectome_SE[1] = torch.nan
    found = prior_of(twin, connectome_SE)
    assert twin.prior is not None
    torch.testing.assert_close(found.mean_SZ[1], twin.prior.mean_Z)
    torch.testing.assert_close(found.covariance_SZZ[1], twin.prior.covariance_ZZ + twin.prior.spread_ZZ)
    read_SZ = twin.generate(people.connectome_SE).latent_SZ
    assert read_SZ is not None
    torch.testing.assert_close(found.mean_SZ[[0, 2]], read_SZ[[0, 2]])
    torch.testing.assert_close(found.covariance_SZZ[2], twin.prior.covariance_ZZ)
    after = twin.condition(connectome_SE, people)
    assert torch.isfinite(after.mean_SZ).all()
    assert torch.linalg.det(after.covariance_SZZ[1]) < torch.linalg.det(found.covariance_SZZ[1])


def test_a_direction_without_variance_stays_as_it_is(people: Batch) -> None:
    twin = make_twin()
    assert twin.prior is not None
    twin.prior.set(covariance_ZZ=torch.tensor([[0.5, 0.0], [0.0, 0.0]], dtype=torch.float64))
    found, prior = twin.condition(people.connectome_SE, people), prior_of(twin, people.connectome_SE)
    torch.testing.assert_close(found.mean_SZ[:, 1], prior.mean_SZ[:, 1])
    assert (found.covariance_SZZ[:, 1].abs() < 1e-12).all()
    assert (found.covariance_SZZ[:, 0, 0] < 0.5).all()


def test_a_far_start_ends_at_the_same_mode(people: Batch) -> None:
    """From 3 standard deviations of the cohort away full steps go astray; none that makes things worse is taken."""
    twin = make_twin()
    wide = Latents(
        prior_of(twin, people.connectome_SE).mean_SZ + 3.0, 100 * torch.eye(2, dtype=torch.float64).repeat(PEOPLE, 1, 1)
    )
    found = condition(twin, people, wide)
    assert found.converged_S.all()
    for person in range(PEOPLE):
        both_MZ = torch.stack([found.mean_SZ[person], wide.mean_SZ[person]])
        at_mode, at_start = log_joint(twin, people, person, wide, both_MZ)
        assert at_mode > at_start


def test_presses_that_agree_with_several_alternatives_say_less(people: Batch) -> None:
    twin = make_twin()
    alone = restricted(people, OwnData(bold_seconds=0.0))
    either = dataclasses.replace(alone, press_SKTA=alone.press_SKTA.any(-1, keepdim=True).expand_as(alone.press_SKTA))
    which, whether = (twin.condition(people.connectome_SE, each) for each in (alone, either))
    assert (torch.logdet(whether.covariance_SZZ) > torch.logdet(which.covariance_SZZ)).all()


def test_evidence_that_weighs_half_is_that_of_half_the_trials(people: Batch) -> None:
    twin = make_twin()
    presses = restricted(people, OwnData(bold_seconds=0.0))
    prior = prior_of(twin, people.connectome_SE)
    names = ("stimulus_SKTI", "press_SKTA", "at_risk_SKT", "bold_SKVR", "bold_counted_SKV", "volume_seconds_SKV")
    twice = dataclasses.replace(presses, **{name: getattr(presses, name).repeat_interleave(2, 1) for name in names})
    once = condition(twin, presses, prior)
    halved = condition(twin, twice, prior, evidence_weight=0.5)
    torch.testing.assert_close(halved.mean_SZ, once.mean_SZ)
    torch.testing.assert_close(halved.covariance_SZZ, once.covariance_SZZ)


def test_draws_are_of_the_distribution_and_of_each_persons_own_seed() -> None:
    covariance_SZZ = torch.tensor([[[1.0, 0.5], [0.5, 2.0]], [[0.0, 0.0], [0.0, 0.1]]], dtype=torch.float64)
    latents = Latents(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), covariance_SZZ)
    drawn_SDZ = latents.draw(20000, torch.tensor([5, 6]))
    for person in range(2):
        torch.testing.assert_close(drawn_SDZ[person].double().mean(0), latents.mean_SZ[person], atol=0.03, rtol=0)
        torch.testing.assert_close(drawn_SDZ[person].double().T.cov(), covariance_SZZ[person], atol=0.05, rtol=0.05)
    assert drawn_SDZ.dtype == torch.float32
    assert torch.equal(latents.take(slice(1, 2)).draw(7, torch.tensor([6]))[0], drawn_SDZ[1, :7])
    later = latents.later(torch.eye(2))
    torch.testing.assert_close(later.covariance_SZZ[1], torch.tensor([[1.0, 0.0], [0.0, 1.1]], dtype=torch.float64))


def test_a_twin_without_person_effects_says_so(people: Batch) -> None:
    twin = Twin(make_config(person_effects=False), SIZES).double()
    assert twin.prior is None
    with pytest.raises(ValueError, match="has no person effects"):
        twin.condition(people.connectome_SE, people)
    prior = prior_of(make_twin(), people.connectome_SE[:2])
    with pytest.raises(ValueError, match="prior has 2 people and the batch 3"):
        condition(make_twin(), people, prior)


def test_a_step_to_where_the_gradient_is_immense_teaches_no_curvature():
    curvature_SZZ = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    step_SZ = torch.tensor([[1.0, 0.5, -0.5], [1.0, 0.5, -0.5]], dtype=torch.float64)
    change_SZ = torch.stack([1e20 * step_SZ[0] + torch.tensor([0.0, 1e19, 1e19]), 2.0 * step_SZ[1]])
    found_SZZ = _updated(curvature_SZZ, step_SZ, change_SZ)
    torch.linalg.inv(found_SZZ)
    torch.testing.assert_close(found_SZZ[0], curvature_SZZ[0])
    torch.testing.assert_close(found_SZZ[1] @ step_SZ[1], change_SZ[1])
