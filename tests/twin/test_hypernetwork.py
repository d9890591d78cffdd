"""Generated parameters: what is personal, what is shared, and where they begin."""

from __future__ import annotations

import math

import pytest
import torch

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.hypernetwork import FASTEST_SECONDS, SLOWEST_SECONDS
from tests.twin.conftest import SIZES, make_config


def test_low_rank_change_has_the_rank_asked_for(batch: Batch) -> None:
    twin = Twin(make_config(rank=2), SIZES)
    recurrence = twin.generate(batch.connectome_SE).recurrence
    assert recurrence.shared_GN is not None
    change = recurrence.dense() - recurrence.shared_GN
    assert torch.linalg.matrix_rank(change, rtol=1e-4).tolist() == [2, 2, 2]


def test_the_same_connectome_makes_the_same_network_and_another_one_another(batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    connectome_SE = batch.connectome_SE.clone()
    connectome_SE[1] = connectome_SE[0]
    generated = twin.generate(connectome_SE)
    torch.testing.assert_close(generated.readout_SON[0], generated.readout_SON[1])
    assert (generated.readout_SON[0] - generated.readout_SON[2]).abs().max() > 1e-4


def test_the_latent_is_all_that_the_network_depends_on(batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    generated = twin.generate(batch.connectome_SE)
    assert generated.latent_SZ is not None
    again = twin.hypernetwork.decode(generated.latent_SZ)
    torch.testing.assert_close(generated.recurrence.dense(), again.recurrence.dense())
    one = twin.perform(generated, batch.stimulus_SKTI).press_SKTA
    torch.testing.assert_close(one, twin.perform(again, batch.stimulus_SKTI).press_SKTA)


def test_an_absent_edge_counts_as_the_average_one_and_gets_no_gradient(batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    mean_E = torch.linspace(-1, 1, SIZES.num_edges)
    twin.set_normalisation(mean_E, torch.full_like(mean_E, 0.5), torch.ones(SIZES.num_bold_regions))
    average_SE = batch.connectome_SE.clone()
    average_SE[:, 3] = mean_E[3]
    absent_SE = batch.connectome_SE.clone()
    absent_SE[:, 3] = torch.nan
    absent_SE.requires_grad_()
    latent_SZ = twin.generate(absent_SE).latent_SZ
    assert latent_SZ is not None
    assert torch.equal(latent_SZ, twin.generate(average_SE).latent_SZ)
    (gradient_SE,) = torch.autograd.grad(latent_SZ.sum(), absent_SE)
    assert torch.isfinite(gradient_SE).all()
    assert (gradient_SE[:, 3] == 0).all()
    assert (gradient_SE[:, 4] != 0).all()


@pytest.mark.parametrize("cell", ["elman", "leaky", "gated"])
def test_an_additive_twin_is_one_network_with_a_further_input_that_stays_the_same(cell: str, batch: Batch) -> None:
    """People's networks differ in nothing but the biases of their units, and these come from the connectome."""
    torch.manual_seed(0)
    twin = Twin(make_config(cell=cell, generation="additive"), SIZES)
    generated = twin.generate(batch.connectome_SE)
    assert (generated.bias_SG[0] != generated.bias_SG[1]).any()
    for name, own in generated._asdict().items():
        if isinstance(own, torch.Tensor) and name not in {"bias_SG", "latent_SZ"}:
            assert (own == own[:1]).all(), name
    first = generated._replace(bias_SG=generated.bias_SG[:1].expand_as(generated.bias_SG))
    own, shared = (twin.perform(each, batch.stimulus_SKTI).hidden_SKTN for each in (generated, first))
    assert not torch.allclose(own[1], shared[1])
    assert torch.equal(own[0], shared[0])
    loss = twin.perform(generated, batch.stimulus_SKTI).press_SKTA.sum()
    loss.backward()
    encoder = twin.hypernetwork.encoder.direct
    assert encoder is not None
    assert encoder.weight.grad is not None
    assert encoder.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("generation", ["full", "low_rank", "additive"])
@pytest.mark.parametrize("cell", ["elman", "leaky", "gated"])
def test_a_fresh_network_forgets_its_state(cell: str, generation: str, batch: Batch) -> None:
    torch.manual_seed(0)
    twin = Twin(make_config(cell=cell, generation=generation, num_hidden=64), SIZES)
    disturbed = batch.stimulus_SKTI.clone()
    disturbed[:, :, 0] += 1.0
    one, two = (twin(batch.connectome_SE, stimulus).hidden_SKTN for stimulus in (batch.stimulus_SKTI, disturbed))
    difference_T = (one - two).square().mean((0, 1, 3)).sqrt()
    assert difference_T[-1] < 0.5 * difference_T.max()


def test_leaky_time_constants_begin_spread_over_a_plausible_range(batch: Batch) -> None:
    rate_SN = Twin(make_config(num_hidden=32), SIZES).generate(batch.connectome_SE).rate_SN
    assert rate_SN is not None
    seconds = -0.1 / torch.log1p(-rate_SN.detach())
    assert seconds.min() > FASTEST_SECONDS / 2
    assert seconds.max() < SLOWEST_SECONDS * 2
    assert math.log(seconds.max() / seconds.min()) > 2


def test_reduced_precision_stays_in_the_hypernetwork(batch: Batch) -> None:
    torch.manual_seed(0)
    twin = Twin(make_config(), SIZES)
    exact = twin(batch.connectome_SE, batch.stimulus_SKTI).press_SKTA
    with torch.autocast("cpu", torch.bfloat16):
        rounded = twin(batch.connectome_SE, batch.stimulus_SKTI).press_SKTA
    reduced = twin.to(torch.bfloat16)(batch.connectome_SE, batch.stimulus_SKTI).press_SKTA
    for other in (rounded, reduced):
        assert other.dtype == torch.float32
        assert (exact - other).abs().max() < 0.02
