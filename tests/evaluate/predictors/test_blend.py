"""The blend costs nothing where the twin knows nothing, takes all of one that knows everything, and is no rival of the twin."""

from __future__ import annotations

import numpy as np
import pytest

from dtb.evaluate.predictors.blend import BLENDED, FEWEST_PEOPLE, learn_blend
from dtb.evaluate.predictors.predictions import Summary
from dtb.evaluate.scores.figure import BLEND, TWIN, make_figure
from dtb.evaluate.scores.statistics import mean_of


def summary(values_ST: np.ndarray) -> Summary:
    return Summary(values_ST, values_ST, values_ST, np.zeros((len(values_ST), values_ST.shape[1], 3)))


@pytest.fixture
def truth():
    return np.random.default_rng(0).standard_normal((400, 2))


def noisy(truth_ST: np.ndarray, size: float, seed: int) -> np.ndarray:
    return truth_ST + size * np.random.default_rng(seed).standard_normal(truth_ST.shape)


def test_of_two_independent_predictors_the_better_has_the_larger_share(truth):
    found = learn_blend(summary(truth), summary(noisy(truth, 0.5, 1)), summary(noisy(truth, 1.0, 2)))
    # Errors of variances 1/4 and 1: the best weight of the second is 1/4 / (1/4 + 1).
    for name in BLENDED:
        np.testing.assert_allclose(found.share[name], 0.2, atol=0.05)


def test_a_twin_that_goes_the_wrong_way_has_no_share_and_one_that_knows_all_the_whole(truth):
    stack = noisy(truth, 0.5, 1)
    wrong = learn_blend(summary(truth), summary(stack), summary(2 * stack - truth))
    right = learn_blend(summary(truth), summary(stack), summary(truth))
    for name in BLENDED:
        np.testing.assert_array_equal(wrong.share[name], 0.0)
        np.testing.assert_array_equal(right.share[name], 1.0)
    unseen = summary(noisy(truth, 1.0, 3)), summary(noisy(truth, 1.0, 4))
    np.testing.assert_array_equal(wrong.of(*unseen).summary.mean_rt_ST, unseen[0].mean_rt_ST)
    np.testing.assert_allclose(right.of(*unseen).summary.mean_rt_ST, unseen[1].mean_rt_ST)
    assert np.isnan(right.of(*unseen).summary.maps_STR).all()


def test_with_too_few_validation_people_nothing_is_said(truth):
    did = truth.copy()
    did[FEWEST_PEOPLE - 1 :, 1] = np.nan
    found = learn_blend(summary(did), summary(noisy(truth, 0.5, 1)), summary(noisy(truth, 0.5, 2)))
    assert np.isfinite(found.share["mean_rt_ST"][0])
    assert np.isnan(found.share["mean_rt_ST"][1])
    said = found.of(summary(truth), summary(truth)).summary
    assert np.isnan(said.mean_rt_ST[:, 1]).all()
    assert found.to_plain(("one", "other"))["other"]["mean_rt"] is None


def test_a_blend_is_never_the_best_baseline_of_a_twin(truth):
    scores = {TWIN: truth[:, 0], BLEND: truth[:, 0] + 9.0, "ridge": truth[:, 0] - 1.0}
    figure = make_figure("t", "m", "u", mean_of, np.zeros(400), scores, np.ones((3, 400)), 0.95)
    assert figure.best_baseline == "ridge"
    assert figure.baselines[BLEND] == pytest.approx(figure.twin.value + 9.0)
