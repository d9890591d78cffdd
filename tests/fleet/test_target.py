"""The regression of behaviour that a search is compared with."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold

from dtb.fleet.target import behaviour_weights

RNG = np.random.default_rng(1)
EDGES_SE = RNG.normal(size=(24, 40))
INDICATOR_S = EDGES_SE[:, :3].sum(1) + RNG.normal(size=24)
PAIRS_S, ALONE_S = np.repeat(np.arange(12), 2), np.arange(24)


@pytest.mark.parametrize("family_S", [ALONE_S, PAIRS_S])
def test_weights_and_their_penalty_are_those_of_sklearn_with_families_left_out(family_S) -> None:
    away_SE = EDGES_SE - EDGES_SE.mean(0)
    penalties = np.logspace(-3, 3, 13) * (away_SE**2).sum(1).mean()
    squares = lambda fit, some_SE, did_S: -((fit.predict(some_SE) - did_S) ** 2).sum()
    each = GroupKFold(len(np.unique(family_S)))
    search = GridSearchCV(Ridge(), {"alpha": penalties}, scoring=squares, cv=each).fit(
        EDGES_SE, INDICATOR_S, groups=family_S
    )
    found_E = behaviour_weights(EDGES_SE, INDICATOR_S, family_S)
    np.testing.assert_allclose(found_E, search.best_estimator_.coef_, atol=1e-8)
    with_another_SE, with_gap_S = np.vstack([EDGES_SE, EDGES_SE[:1]]), np.append(INDICATOR_S, np.nan)
    np.testing.assert_allclose(behaviour_weights(with_another_SE, with_gap_S, np.append(family_S, 99)), found_E)


def test_relatives_who_are_alike_make_no_regression_of_what_edges_do_not_say() -> None:
    rng = np.random.default_rng(2)
    family_S = np.repeat(np.arange(40), 2)
    edges_SE = rng.normal(size=(40, 60))[family_S] + 0.1 * rng.normal(size=(80, 60))
    indicator_S = rng.normal(size=40)[family_S]
    together_E, as_strangers_E = (
        behaviour_weights(edges_SE, indicator_S, who_S) for who_S in (family_S, np.arange(80))
    )
    assert np.linalg.norm(together_E) < 0.1 * np.linalg.norm(as_strangers_E)


def test_too_few_people_make_no_regression() -> None:
    assert behaviour_weights(np.ones((2, 3)), np.array([1.0, 2.0]), np.arange(2)) is None
    assert behaviour_weights(np.eye(4), np.ones(4), np.arange(4)) is None
    assert behaviour_weights(np.ones((4, 3)), np.arange(4.0), np.arange(4)) is None
