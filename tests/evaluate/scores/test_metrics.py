"""Scores of single trials and people: closed forms, independent implementations, symmetries."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from sklearn.metrics import accuracy_score, log_loss

from dtb.evaluate.scores.metrics import (
    agreement,
    agreement_if_independent,
    chance_agreement,
    choice_log_loss,
    crps_of_hazard,
    crps_of_sample,
    identification,
    own_minus_others,
    row_correlations,
    similarity_by_correlation,
    similarity_by_distance,
)


def test_log_loss_is_the_entropy_where_outcomes_follow_the_prediction():
    probability_O = np.array([0.5, 0.3, 0.2])
    happened = np.repeat(np.eye(3, dtype=bool), [50, 30, 20], axis=0)
    loss = choice_log_loss(np.tile(probability_O, (100, 1)), happened).mean()
    assert loss == pytest.approx(-(probability_O * np.log(probability_O)).sum())


def test_agreement_of_independent_errors_is_what_independent_errors_agree_in():
    rng = np.random.default_rng(0)
    num_trials, right_J = 60_000, rng.integers(3, size=60_000)

    def erring(share_right: float, share_omitted: float) -> np.ndarray:
        other_J = (right_J + rng.integers(1, 3, num_trials)) % 3
        press_J = np.where(rng.random(num_trials) < share_right, right_J, other_J)
        return np.eye(4, dtype=bool)[np.where(rng.random(num_trials) < share_omitted, 3, press_J)]

    said_JO, happened_JO = erring(0.8, 0.1), erring(0.6, 0.3)
    tables = (np.eye(4, dtype=bool)[right_J], np.ones((num_trials, 4), bool))
    expected = agreement_if_independent(said_JO, happened_JO, *tables)
    assert expected == pytest.approx((said_JO & happened_JO).any(axis=1).mean(), abs=0.01)
    p, q = 0.9 * 0.8, 0.7 * 0.6
    assert expected == pytest.approx(p * q + (0.9 - p) * (0.7 - q) / 2 + 0.1 * 0.3, abs=0.01)
    assert agreement_if_independent(happened_JO, happened_JO, *tables) < 0.5
    assert np.isnan(agreement_if_independent(*(table[:0] for table in (said_JO, happened_JO, *tables))))


def test_log_loss_of_a_press_known_up_to_two_alternatives_adds_their_probabilities():
    loss_J = choice_log_loss(np.array([[0.5, 0.3, 0.1, 0.1]]), np.array([[False, True, True, False]]))
    assert loss_J[0] == pytest.approx(-np.log(0.4))


def test_log_loss_of_a_certain_error_is_finite():
    loss_J = choice_log_loss(np.array([[1.0, 0.0]]), np.array([[False, True]]))
    assert loss_J[0] == pytest.approx(-np.log(1e-6))


def test_a_guess_agrees_as_often_as_chance():
    happened_JO = np.repeat(np.eye(4, dtype=bool), [40, 30, 20, 10], axis=0)
    guess_JO = np.tile([1 / 3, 1 / 3, 1 / 3, 0.0], (100, 1))
    assert agreement(guess_JO, happened_JO).mean() == pytest.approx(0.3)
    assert chance_agreement(happened_JO, np.full(100, 3), np.zeros(100, int)).mean() == pytest.approx(0.3)


def test_with_one_alternative_a_guess_presses_as_often_as_the_person_in_trials_drawn_at_random():
    rng = np.random.default_rng(0)
    pressed_J = np.concatenate([np.arange(100) < 90, np.arange(100) < 40])
    happened_JO, person_J = np.stack([pressed_J, ~pressed_J], axis=1), np.repeat([0, 1], 100)
    found_J = chance_agreement(happened_JO, np.ones(200, int), person_J)
    for person in (0, 1):
        own_J = pressed_J[person_J == person]
        guessed = np.mean([np.mean(rng.permutation(own_J) == own_J) for _ in range(4000)])
        assert found_J[person_J == person].mean() == pytest.approx(guessed, abs=2e-3)


def test_trials_without_a_prediction_are_not_scored():
    outcome_JO, happened_JO = np.full((1, 2), np.nan), np.array([[True, False]])
    assert np.isnan(choice_log_loss(outcome_JO, happened_JO)).all()
    assert np.isnan(agreement(outcome_JO, happened_JO)).all()


def test_crps_of_a_constant_hazard_is_the_exponential_distributions():
    rate, window, step = 3.0, 40.0, 0.08
    num_steps = int(window / step)
    rt_J = np.array([0.01, 0.4, 1.0, 5.0])
    crps_J = crps_of_hazard(np.full((4, num_steps), rate), np.full((4, num_steps), step), rt_J)
    closed_J = rt_J - 2 * (1 - np.exp(-rate * rt_J)) / rate + 1 / (2 * rate)
    np.testing.assert_allclose(crps_J, closed_J, rtol=1e-10)


def test_crps_agrees_with_numerical_integration_for_any_hazard_and_partial_steps():
    rng = np.random.default_rng(1)
    hazard_W = rng.gamma(1.0, 2.0, 12) * (rng.random(12) > 0.2)
    width_W = np.full(12, 0.1)
    width_W[0], width_W[-1] = 0.03, 0.07
    edges = np.concatenate([[0], np.cumsum(width_W)])
    spent = np.concatenate([[0], np.cumsum(hazard_W * width_W)])
    rt = 0.512

    def squared(t):
        below = (1 - np.exp(-np.interp(t, edges, spent))) / (1 - np.exp(-spent[-1]))
        return (below - (t >= rt)) ** 2

    expected = quad(squared, 0, edges[-1], points=[*edges[1:-1], rt], limit=200)[0]
    assert crps_of_hazard(hazard_W[None], width_W[None], np.array([rt]))[0] == pytest.approx(expected, rel=1e-7)


def test_crps_of_a_certain_prediction_is_the_absolute_error():
    hazard_W = np.zeros(1000)
    hazard_W[300] = 1e6
    crps_J = crps_of_hazard(np.tile(hazard_W, (2, 1)), np.full((2, 1000), 0.001), np.array([0.3, 0.75]))
    np.testing.assert_allclose(crps_J, [0.0, 0.45], atol=2e-6)


def test_crps_is_smallest_on_average_for_the_distribution_that_the_times_come_from():
    rng = np.random.default_rng(2)
    rt_J = rng.exponential(0.5, 4000)
    width_JW = np.full((4000, 200), 0.05)
    mean_crps = [crps_of_hazard(np.full((4000, 200), rate), width_JW, rt_J).mean() for rate in (1.0, 2.0, 4.0)]
    assert np.argmin(mean_crps) == 1


def test_crps_of_a_sample_agrees_with_its_definition():
    rng = np.random.default_rng(3)
    sample_M, rt_J = rng.gamma(4.0, 0.2, 31), np.array([0.1, 0.8, 2.5])
    direct_J = np.abs(sample_M[None] - rt_J[:, None]).mean(1) - np.abs(sample_M[:, None] - sample_M).mean() / 2
    np.testing.assert_allclose(crps_of_sample(sample_M, rt_J), direct_J, rtol=1e-12)
    np.testing.assert_allclose(crps_of_sample(sample_M[:1], rt_J), np.abs(rt_J - sample_M[0]))


def test_crps_is_missing_without_a_press_or_without_a_sample():
    assert np.isnan(crps_of_sample(np.array([0.5]), np.array([np.nan]))).all()
    assert np.isnan(crps_of_sample(np.array([]), np.array([0.5]))).all()
    assert np.isnan(crps_of_hazard(np.ones((1, 3)), np.ones((1, 3)), np.array([np.nan]))).all()


def test_row_correlations_are_numpys_over_the_shared_features():
    rng = np.random.default_rng(4)
    first, second = rng.standard_normal((3, 20)), rng.standard_normal((3, 20))
    first[0, :5], second[0, 3:7], second[2, 2:] = np.nan, np.nan, np.nan
    found_S = row_correlations(first, second)
    assert found_S[0] == pytest.approx(np.corrcoef(first[0, 7:], second[0, 7:])[0, 1])
    assert found_S[1] == pytest.approx(np.corrcoef(first[1], second[1])[0, 1])
    assert np.isnan(found_S[2])


def test_perfect_predictions_identify_everyone_and_equal_ones_as_often_as_chance():
    observed_SR = np.random.default_rng(5).standard_normal((10, 30))
    perfect = similarity_by_correlation(observed_SR, observed_SR)
    assert identification(perfect).mean() == 1
    assert (own_minus_others(perfect) > 0).all()
    equal = similarity_by_correlation(np.tile(observed_SR.mean(0), (10, 1)), observed_SR)
    assert identification(equal).mean() == pytest.approx(0.1)
    np.testing.assert_allclose(own_minus_others(equal), 0, atol=1e-12)


def test_identification_does_not_depend_on_the_order_of_people():
    rng = np.random.default_rng(6)
    predicted_SR, observed_SR = rng.standard_normal((8, 4)), rng.standard_normal((8, 4))
    order = rng.permutation(8)
    scale_R = np.ones(4)
    here = identification(similarity_by_distance(predicted_SR, observed_SR, scale_R))
    there = identification(similarity_by_distance(predicted_SR[order], observed_SR[order], scale_R))
    np.testing.assert_allclose(there, here[order])


def test_a_person_without_features_is_not_identified_and_wins_from_nobody():
    observed_SR = np.random.default_rng(7).standard_normal((4, 3))
    predicted_SR = observed_SR.copy()
    predicted_SR[2] = np.nan
    found_S = identification(similarity_by_distance(predicted_SR, observed_SR, np.ones(3)))
    np.testing.assert_array_equal(found_S, [1, 1, np.nan, 1])


def test_nearness_is_scipys_distance_and_own_minus_others_its_diagonal_against_its_columns():
    rng = np.random.default_rng(8)
    predicted_SR, observed_SR, scale_R = rng.normal(size=(6, 9)), rng.normal(size=(6, 9)), rng.uniform(0.5, 2, 9)
    near_SS = similarity_by_distance(predicted_SR, observed_SR, scale_R)
    np.testing.assert_allclose(near_SS, -cdist(predicted_SR / scale_R, observed_SR / scale_R) / 3)
    alike_SS = similarity_by_correlation(predicted_SR, observed_SR)
    np.testing.assert_allclose(alike_SS, 1 - cdist(predicted_SR, observed_SR, "correlation"))
    for found_SS in (near_SS, alike_SS):
        expected_S = [found_SS[one, one] - np.delete(found_SS[:, one], one).mean() for one in range(6)]
        np.testing.assert_allclose(own_minus_others(found_SS), expected_S)
        np.testing.assert_array_equal(identification(found_SS), found_SS.argmax(axis=0) == np.arange(6))


def test_agreement_is_sklearns_accuracy_and_log_loss_its_log_loss():
    rng = np.random.default_rng(9)
    outcome_JO, did_J = rng.dirichlet(np.ones(4), 50), rng.integers(4, size=50)
    happened_JO = np.eye(4, dtype=bool)[did_J]
    assert agreement(outcome_JO, happened_JO).mean() == accuracy_score(did_J, outcome_JO.argmax(axis=1))
    assert choice_log_loss(outcome_JO, happened_JO).mean() == pytest.approx(
        log_loss(did_J, outcome_JO, labels=range(4))
    )
