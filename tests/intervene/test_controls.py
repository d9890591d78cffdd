"""The directions that a search is compared with are what they are said to be."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cross_decomposition import PLSRegression

from dtb.intervene.controls import correlation_slope, pls_direction, smooth_gradient
from dtb.intervene.spaces import Start
from dtb.twin.edges import edges_of
from tests.intervene.test_search import EDGES, REGIONS, people


def test_the_direction_is_the_first_of_partial_least_squares() -> None:
    rng = np.random.default_rng(0)
    parameters_SP, indicator_S = rng.normal(size=(20, 7)) * np.arange(1, 8), rng.normal(size=20)
    direction_P, spread = pls_direction(parameters_SP, indicator_S)
    reference_P = PLSRegression(1, scale=False).fit(parameters_SP, indicator_S).x_weights_[:, 0]
    np.testing.assert_allclose(np.abs(direction_P), np.abs(reference_P), atol=1e-10)
    assert np.corrcoef(parameters_SP @ direction_P, indicator_S)[0, 1] > 0
    np.testing.assert_allclose(spread, (parameters_SP @ direction_P).std(ddof=1))


def test_a_linear_map_has_the_same_smooth_gradient_everywhere() -> None:
    start = Start.of(people() * 0.0, REGIONS, 0.1)
    mixing = torch.randn(EDGES, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction_P = torch.tensor([1.0, 0.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    scale_E = torch.ones(EDGES)
    found_SE = smooth_gradient(lambda given_SE: given_SE @ mixing, start, direction_P, scale_E, range(4), num_samples=3)
    # Independent regions: Fisher z and the correlation have slope 1 there.
    torch.testing.assert_close(found_SE, (mixing @ direction_P).expand(4, EDGES))


def test_weights_of_fisher_z_become_slopes_of_the_correlations() -> None:
    start = Start.of(people(), REGIONS, 0.1)
    weights_E = torch.randn(EDGES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected_SE = weights_E / (1 - edges_of(start.base_SRR) ** 2)
    torch.testing.assert_close(correlation_slope(start, weights_E), expected_SE)
