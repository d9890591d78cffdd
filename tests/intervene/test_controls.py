"""The directions that a search is compared with are what they are said to be."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut

from dtb.intervene.controls import correlation_slope, pls_direction, ridge_weights, smooth_gradient
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


def test_ridge_weights_and_their_penalty_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(1)
    edges_SE = rng.normal(size=(15, 40))
    indicator_S = edges_SE[:, :3].sum(1) + rng.normal(size=15)
    centred_SE = edges_SE - edges_SE.mean(0)
    typical = np.linalg.eigvalsh(centred_SE @ centred_SE.T).clip(0).mean()
    reference = RidgeCV(np.logspace(-3, 3, 13) * typical, fit_intercept=False)
    reference.fit(centred_SE, indicator_S - indicator_S.mean())
    np.testing.assert_allclose(ridge_weights(edges_SE, indicator_S, np.arange(15)), reference.coef_, atol=1e-8)
    with_gap = np.append(indicator_S, np.nan)
    with_another_SE = np.vstack([edges_SE, edges_SE[:1]])
    np.testing.assert_allclose(ridge_weights(with_another_SE, with_gap, np.arange(16)), reference.coef_, atol=1e-8)


def test_the_penalty_is_judged_on_families_that_were_left_out() -> None:
    rng = np.random.default_rng(2)
    family_S = np.repeat(np.arange(12), 2)
    # Relatives' edges and behaviour are alike, and edges say nothing else: whoever leaves out one of a pair finds a lot.
    edges_SE = rng.normal(size=(12, 60))[family_S] + 0.1 * rng.normal(size=(24, 60))
    indicator_S = rng.normal(size=12)[family_S]
    alone_E, together_E = (ridge_weights(edges_SE, indicator_S, who_S) for who_S in (np.arange(24), family_S))
    assert np.linalg.norm(together_E) < np.linalg.norm(alone_E)
    centred_SE, target_S = edges_SE - edges_SE.mean(0), indicator_S - indicator_S.mean()
    typical = np.linalg.eigvalsh(centred_SE @ centred_SE.T).clip(0).mean()
    search = GridSearchCV(
        Ridge(fit_intercept=False), {"alpha": np.logspace(-3, 3, 13) * typical}, cv=LeaveOneGroupOut()
    )
    search.set_params(scoring=lambda fit, some_SE, did_S: -((fit.predict(some_SE) - did_S) ** 2).sum())
    search.fit(centred_SE, target_S, groups=family_S)
    np.testing.assert_allclose(together_E, search.best_estimator_.coef_, atol=1e-8)


def test_too_few_people_make_no_regression() -> None:
    assert ridge_weights(np.ones((2, 3)), np.array([1.0, 2.0]), np.arange(2)) is None
    assert ridge_weights(np.eye(4), np.ones(4), np.arange(4)) is None


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
