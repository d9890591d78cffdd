"""What the encoder reads of a connectome."""

from __future__ import annotations

import pytest
import torch

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.components import principal_components
from tests.twin.conftest import SIZES, make_config


def test_scores_are_uncorrelated_in_falling_order_and_the_first_has_unit_variance() -> None:
    edges = torch.randn(30, 80, generator=torch.Generator().manual_seed(0)) * torch.linspace(3, 0.1, 80)
    edges = edges - edges.mean(0)
    scores = edges @ principal_components(edges, 10)
    covariance = scores.T @ scores / 30
    variance = covariance.diagonal()
    assert variance[0].item() == pytest.approx(1, abs=1e-4)
    assert (variance.diff() < 0).all()
    assert (covariance - torch.diag(variance)).abs().max() < 1e-4
    exact = torch.linalg.svdvals(edges)[:10].square()
    torch.testing.assert_close(variance, exact / exact[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("num_people", [0, 1, 3])
def test_fewer_people_than_components_leave_the_rest_at_nought(num_people: int) -> None:
    components = principal_components(torch.randn(num_people, 20), 8)
    assert components.shape == (20, 8)
    assert torch.isfinite(components).all()
    assert (components[:, num_people:] == 0).all()


def test_the_encoder_reads_the_components_alone(batch: Batch) -> None:
    twin = Twin(make_config(connectome_components=2), SIZES)
    zeros, ones = torch.zeros(SIZES.num_edges), torch.ones(SIZES.num_edges)
    components = torch.zeros(SIZES.num_edges, 2)
    components[0, 0] = components[5, 1] = 1.0
    twin.set_normalisation(zeros, ones, torch.ones(SIZES.num_bold_regions), components)
    read, unread = batch.connectome_SE.clone(), batch.connectome_SE.clone()
    read[:, 5] += 1.0
    unread[:, 6] += 1.0
    base, changed, same = (twin.generate(edges).latent_SZ for edges in (batch.connectome_SE, read, unread))
    assert base is not None
    assert changed is not None
    assert torch.equal(base, same)  # type: ignore[arg-type]
    assert (base - changed).abs().max() > 1e-4


def test_components_that_do_not_fit_are_refused() -> None:
    zeros, ones = torch.zeros(SIZES.num_edges), torch.ones(SIZES.num_edges)
    for number in (0, 3):
        twin = Twin(make_config(connectome_components=number), SIZES)
        with pytest.raises(ValueError, match="components_EC has shape"):
            twin.set_normalisation(zeros, ones, torch.ones(SIZES.num_bold_regions), torch.zeros(SIZES.num_edges, 2))
