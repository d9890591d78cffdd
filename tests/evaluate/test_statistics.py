"""Intervals over people: agreement with scipy, coverage, pairing."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from dtb.evaluate.statistics import correlation, difference, draw_weights, estimate, explained_variance, mean_of


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    observed_S = rng.normal(0.7, 0.1, 40)
    return observed_S, 0.5 * observed_S + rng.normal(0.3, 0.05, 40)


def test_statistics_of_all_people_are_scipys_and_sklearns(people):
    observed_S, predicted_S = people
    one = np.ones((1, 40))
    assert correlation(observed_S, predicted_S, one)[0] == pytest.approx(stats.pearsonr(observed_S, predicted_S)[0])
    assert explained_variance(observed_S, predicted_S, one)[0] == pytest.approx(r2_score(observed_S, predicted_S))
    assert mean_of(observed_S, predicted_S, one)[0] == pytest.approx(predicted_S.mean())


def test_every_draw_is_the_statistic_of_the_people_drawn(people):
    observed_S, predicted_S = people
    weights_BS = draw_weights(40, 20, seed=3)
    assert (weights_BS.sum(axis=1) == 40).all()
    for statistic, reference in [
        (correlation, lambda o, p: np.corrcoef(o, p)[0, 1]),
        (explained_variance, r2_score),
        (mean_of, lambda o, p: p.mean()),
    ]:
        drawn = [np.repeat(np.arange(40), row.astype(int)) for row in weights_BS]
        expected_B = [reference(observed_S[index], predicted_S[index]) for index in drawn]
        np.testing.assert_allclose(statistic(observed_S, predicted_S, weights_BS), expected_B, rtol=1e-9)


def test_people_without_a_value_do_not_count(people):
    observed_S, predicted_S = people
    with_gaps = np.append(predicted_S, [np.nan, 5.0]), np.append(observed_S, [1.0, np.nan])
    weights = np.ones((1, 42))
    assert correlation(with_gaps[1], with_gaps[0], weights)[0] == pytest.approx(stats.pearsonr(*people)[0])
    found = estimate(correlation, with_gaps[1], with_gaps[0], draw_weights(42, 200, 0), 0.95)
    assert found.num_people == 40


def test_the_interval_agrees_with_scipys_percentile_bootstrap(people):
    observed_S, predicted_S = people
    found = estimate(correlation, observed_S, predicted_S, draw_weights(40, 20_000, 0), 0.95)
    expected = stats.bootstrap(
        (observed_S, predicted_S),
        lambda x, y, axis: stats.pearsonr(x, y, axis=axis)[0],
        paired=True,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.lower, found.upper) == pytest.approx(tuple(expected), abs=0.02)


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    rng = np.random.default_rng(8)
    weights_BS = draw_weights(60, 500, 0)
    covered = 0
    for _ in range(300):
        values_S = rng.normal(1.0, 2.0, 60)
        found = estimate(mean_of, values_S, values_S, weights_BS, 0.9)
        covered += found.lower <= 1.0 <= found.upper
    # 300 draws of a binomial at 0.9 lie within 0.9 +- 0.06 but for one time in a thousand; percentiles are a little narrow at n = 60.
    assert covered / 300 == pytest.approx(0.9, abs=0.06)


def test_the_difference_is_paired(people):
    observed_S, predicted_S = people
    weights_BS = draw_weights(40, 500, 0)
    same = difference(correlation, observed_S, predicted_S, predicted_S, weights_BS, 0.95)
    assert (same.value, same.lower, same.upper) == (0, 0, 0)
    other_S = np.random.default_rng(1).normal(size=40)
    there = difference(correlation, observed_S, predicted_S, other_S, weights_BS, 0.95)
    back = difference(correlation, observed_S, other_S, predicted_S, weights_BS, 0.95)
    assert (there.value, there.lower, there.upper) == pytest.approx((-back.value, -back.upper, -back.lower))


def test_figures_that_do_not_exist_say_why():
    constant, varying = np.full(8, 0.5), np.arange(8.0)
    found = estimate(correlation, varying, constant, draw_weights(8, 100, 0), 0.95)
    assert np.isnan([found.value, found.lower, found.upper]).all()
    assert "variation" in found.note
    few = estimate(correlation, varying[:4], varying[:4] ** 2, draw_weights(4, 100, 0), 0.95)
    assert np.isfinite(few.value)
    assert np.isnan(few.lower)
    assert "4 people are too few" in few.note
    nobody = estimate(mean_of, np.full(8, np.nan), np.full(8, np.nan), draw_weights(8, 100, 0), 0.95)
    assert "no person" in nobody.note


def test_a_prediction_that_differs_in_rounding_alone_has_no_correlation(people):
    observed_S, _ = people
    nearly_S = 0.7 + 1e-16 * np.arange(40)
    assert np.isnan(correlation(observed_S, nearly_S, np.ones((1, 40)))[0])
    single_S = np.full(40, 0.7, np.float32) + np.float32(6e-8) * (np.arange(40) % 2)
    assert np.isnan(correlation(observed_S, single_S.astype(np.float64), np.ones((1, 40)))[0])
    assert np.isnan(explained_variance(nearly_S, observed_S, np.ones((1, 40)))[0])
