"""Training people's own effects: what they cost, what is drawn, and the bound that a person's data enter whole."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.objective import Objective
from dtb.twin.person_effects import Beginning, PersonEffects
from tests.twin.conftest import SIZES, make_config

OBSERVATIONS = 20.0
ALL = torch.ones(3, dtype=torch.bool)


def make_effects(latent_size: int = 4, seed: int = 0) -> PersonEffects:
    """Effects of `p0`, `p1` and of somebody who is in no batch, at values as after some training."""
    generator = torch.Generator().manual_seed(seed)
    beginning = Beginning.of_nothing(("p1", "other", "p0"), latent_size)
    effects = PersonEffects(beginning, OBSERVATIONS)
    with torch.no_grad():
        for parameter in effects.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return effects


def test_divergence_is_that_of_the_two_distributions() -> None:
    effects = make_effects().train()
    row_S = effects.rows_of(["p0", "p1", "nobody"])
    assert row_S.tolist() == [2, 0, -1]
    _, divergence_S = effects(row_S, torch.arange(3), ALL)
    people = MultivariateNormal(torch.zeros(4), effects.covariance_ZZ())
    for place, row in enumerate((2, 0)):
        own = MultivariateNormal(effects.centred_PZ()[row], torch.diag(effects.log_scale_PZ[row].exp() ** 2))
        assert divergence_S[place].item() == pytest.approx(kl_divergence(own, people).item(), rel=1e-4)
    assert divergence_S[2] == 0
    # Where nothing is read, people differ by what would have been read, too.
    effects.spread_ZZ.copy_(0.5 * torch.eye(4) + 0.1)
    _, without_S = effects(row_S, torch.arange(3), torch.tensor([True, False, True]))
    wider = MultivariateNormal(torch.zeros(4), effects.covariance_ZZ() + effects.spread_ZZ)
    own = MultivariateNormal(effects.centred_PZ()[0], torch.diag(effects.log_scale_PZ[0].exp() ** 2))
    assert without_S[0] == divergence_S[0]
    assert without_S[1].item() == pytest.approx(kl_divergence(own, wider).item(), rel=1e-4)


def test_draws_follow_each_persons_seed_in_training_and_are_means_otherwise() -> None:
    effects = make_effects().train()
    row_S = effects.rows_of(["p0", "p1", "nobody"])
    first_SZ, _ = effects(row_S, torch.tensor([5, 6, 7]), ALL)
    again_SZ, _ = effects(row_S.flip(0), torch.tensor([7, 6, 5]), ALL)
    assert torch.equal(first_SZ, again_SZ.flip(0))
    assert (first_SZ[2] == 0).all()
    many_SZ, _ = effects(row_S[:1].repeat(4000), torch.arange(4000), ALL[:1].repeat(4000))
    scale_Z = effects.log_scale_PZ[2].exp()
    assert ((many_SZ.mean(0) - effects.centred_PZ()[2]).abs() < 0.1 * scale_Z).all()
    torch.testing.assert_close(many_SZ.std(0), scale_Z, rtol=0.1, atol=0)
    calm_SZ, _ = effects.eval()(row_S, torch.tensor([5, 6, 7]), ALL)
    assert torch.equal(calm_SZ[:2], effects.centred_PZ()[[2, 0]])


def test_a_person_counts_whole_against_the_divergence(batch: Batch) -> None:
    """People of the table by the bound over the trials of a mean person, others as ever."""
    torch.manual_seed(0)
    twin = Twin(make_config(), SIZES)
    effects = make_effects()
    objective = Objective(twin, 2.0, 0.5, effects=effects).train()
    losses = objective(batch)
    row_S = effects.rows_of(batch.pseudonyms)
    assert row_S.tolist() == [2, 0, -1]
    effect_SZ, divergence_S = effects(row_S, batch.seed_S, ALL)
    latent_SZ = twin.generate(batch.connectome_SE).latent_SZ + effect_SZ
    output = twin.perform(twin.hypernetwork.decode(latent_SZ), batch.stimulus_SKTI)
    plain = Objective(_AsItIs(twin, output), 1.0, 1.0)(batch)  # type: ignore[arg-type]
    trials_S = 4.0
    bound_S = 2.0 * plain.press_S * trials_S / OBSERVATIONS + divergence_S / OBSERVATIONS + 0.5 * plain.bold_S
    other_S = 2.0 * plain.press_S + 0.5 * plain.bold_S
    expected = (batch.weight_S * torch.where(row_S >= 0, bound_S, other_S)).sum()
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.press_S, plain.press_S)
    torch.testing.assert_close(losses.divergence_S, divergence_S)
    losses.total.backward()
    assert all(parameter.grad is not None for parameter in effects.parameters())
    # What all have in common is no effect.
    assert effects.mean_PZ.grad is not None
    torch.testing.assert_close(effects.mean_PZ.grad.sum(0), torch.zeros(4))
    torch.testing.assert_close(effects.centred_PZ().mean(0), torch.zeros(4))


class _AsItIs(torch.nn.Module):
    """A twin whose performance is given."""

    def __init__(self, twin: Twin, output: object) -> None:
        super().__init__()
        self.config, self.bold_scale_R, self.bold = twin.config, twin.bold_scale_R, twin.bold
        self.generate = twin.generate
        self.perform = lambda *_, **__: output


def test_what_is_read_by_others_stands_in_for_the_regression(batch: Batch) -> None:
    """Of those for whom it is known; for the others, what the twin reads itself."""
    torch.manual_seed(0)
    twin = Twin(make_config(), SIZES)
    twin.set_normalisation(torch.zeros(15), torch.ones(15), torch.ones(6), torch.randn(15, 5), torch.randn(15, 4))
    usual_SZ = twin.generate(batch.connectome_SE).latent_SZ
    given_SZ = torch.full((3, 4), torch.nan)
    given_SZ[1] = torch.arange(4.0)
    found_SZ = twin.generate(batch.connectome_SE, given_SZ=given_SZ, effect_SZ=torch.ones(3, 4)).latent_SZ
    assert usual_SZ is not None
    assert found_SZ is not None
    torch.testing.assert_close(found_SZ[[0, 2]], usual_SZ[[0, 2]] + 1.0)
    torch.testing.assert_close(found_SZ[1], torch.arange(4.0) + 1.0)
    effects = PersonEffects(
        dataclasses.replace(Beginning.of_nothing(batch.pseudonyms, 4), read_PZ=given_SZ), OBSERVATIONS
    )
    objective = Objective(twin, 1.0, 1.0, effects=effects).eval()
    with torch.no_grad():
        twice = [
            objective(batch).press_S,
            objective(dataclasses.replace(batch, connectome_SE=-batch.connectome_SE)).press_S,
        ]
    assert (twice[0] == twice[1]).tolist() == [False, True, False]


def test_what_peoples_own_figures_say_is_not_learnt_and_everything_else_is() -> None:
    generator = torch.Generator().manual_seed(0)
    read_PZ, own_PZ = (torch.randn(40, 4, generator=generator) for _ in range(2))
    people = [f"p{number}" for number in range(40)]
    beginning = Beginning.of_scores(people, people, read_PZ, own_PZ, torch.full((40, 4), 0.5))
    effects = PersonEffects(beginning, OBSERVATIONS)
    assert {name for name, _ in effects.named_parameters()} == {"log_size_Z", "below_ZZ"}
    # Drawn towards what is read, as far as the errors of the scores ask for: never further than the scores, never to the other side.
    share_PZ = effects.mean_PZ / (own_PZ - read_PZ)
    assert ((share_PZ > 0) & (share_PZ < 1)).all()
    effects.train()
    _, divergence_S = effects(effects.rows_of(people), torch.arange(40), torch.ones(40, dtype=torch.bool))
    divergence_S.sum().backward()
    assert effects.log_size_Z.grad is not None
    assert effects.log_size_Z.grad.abs().min() > 0
    learnt = {name for name, _ in PersonEffects(dataclasses.replace(beginning, is_known=False), 1.0).named_parameters()}
    assert learnt == {"mean_PZ", "log_scale_PZ", "log_size_Z", "below_ZZ"}
