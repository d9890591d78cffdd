"""What is possible: from halves of what people did, from their own trials, and from rest runs."""

import dataclasses

import numpy as np
import pytest

from dtb.evaluate.gathering import _from_rest_runs, predict_test_people
from dtb.evaluate.inputs import open_inputs
from dtb.evaluate.predictors.baselines import group_mean
from dtb.evaluate.predictors.predictions import every_other
from dtb.evaluate.scores.ceilings import ceiling_of_maps, edge_reliability, said_by_other_half
from dtb.evaluate.scores.figure import TWIN, make_figure
from dtb.evaluate.scores.figures import without_covariates
from dtb.evaluate.scores.observed import collect, maps_of_halves, observed_maps
from dtb.evaluate.scores.statistics import PartialCorrelation, draw_weights, mean_of, orthonormal
from dtb.shards.split import Span
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people
from tests.evaluate.test_stage import by_people, lay_out

REGIONS, SCALE = np.arange(NUM_REGIONS), np.ones(NUM_REGIONS)


def test_the_ceiling_of_maps_is_the_correlation_with_the_truth_that_the_halves_share():
    rng = np.random.default_rng(0)
    truth_SR = rng.normal(size=(12, 3000))
    first_SR, second_SR = (truth_SR + rng.normal(0, 1.5, truth_SR.shape) for _ in range(2))
    whole_SR = (first_SR + second_SR) / 2
    expected = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(truth_SR, whole_SR, strict=True)])
    assert ceiling_of_maps(first_SR, second_SR) == pytest.approx(expected, abs=0.01)
    assert ceiling_of_maps(first_SR, -second_SR) is None
    assert ceiling_of_maps(first_SR[:9], second_SR[:9]) is None


def test_maps_of_halves_are_those_of_the_halves_of_what_is_looked_at():
    records = make_people(3)
    whole = Span(0.5, 1.0)
    first_STR, second_STR = maps_of_halves(records, STROOP, lambda runs: [whole] * len(runs), REGIONS, SCALE)
    for row, record in enumerate(records):
        for found_STR, begin, end in ((first_STR, 0.5, 0.75), (second_STR, 0.75, 1.0)):
            expected_TR = observed_maps(record, STROOP, [Span(begin, end)], REGIONS, SCALE)
            np.testing.assert_array_equal(found_STR[row], expected_TR)
    assert np.isfinite(first_STR).all()


def test_a_trial_is_predicted_from_the_other_half_alone_and_better_than_by_the_group():
    trials, training = (
        collect(make_people(40, with_bold=False)[some], STROOP, Span(0, 1), np.zeros(0, int), np.zeros(0)).trials
        for some in (slice(20), slice(20, None))
    )
    said, half_J, group = said_by_other_half(training, trials), every_other(trials), group_mean(training, trials)
    assert np.nanmean(said.crps_J) < 0.9 * np.nanmean(group.crps_J)
    quicker = dataclasses.replace(trials, rt_J=np.where(half_J, trials.rt_J - 0.2, trials.rt_J))
    again = said_by_other_half(training, quicker)
    np.testing.assert_array_equal(again.mean_rt_J[half_J], said.mean_rt_J[half_J])
    # The other half is foretold as much faster as the person was in this one.
    np.testing.assert_allclose(again.mean_rt_J[~half_J], said.mean_rt_J[~half_J] - 0.2)
    shuffled = dataclasses.replace(
        trials, happened_JO=np.where(half_J[:, None], ~trials.happened_JO, trials.happened_JO)
    )
    kept_JO = said_by_other_half(training, shuffled).outcome_JO
    np.testing.assert_array_equal(kept_JO[half_J], said.outcome_JO[half_J])


def test_a_loss_is_a_share_of_the_way_from_the_group_mean_to_the_ceiling():
    people_S = np.ones(20)
    scores = {TWIN: 0.3 * people_S, "group_mean": 0.4 * people_S}
    made = make_figure(
        "t", "RT CRPS", "s", mean_of, 0 * people_S, scores, draw_weights(20, 100, 0), 0.95,
        higher_is_better=False, ceilings={"truth": 0.2},
    )  # fmt: skip
    assert made is not None
    assert made.fraction_of_ceiling == pytest.approx(0.5)
    # What half of a person's own trials say is no bound, and nothing is a share of it.
    assert dataclasses.replace(made, ceilings={"own_half": 0.2}).fraction_of_ceiling is None
    # A bound is an estimate: what exceeds it has reached it.
    assert dataclasses.replace(made, ceilings={"truth": 0.35}).fraction_of_ceiling == 1.0
    beyond = dataclasses.replace(made, ceilings={"own_half": 0.5})
    assert beyond.fraction_of_ceiling is None, "there is no way from the group mean to a ceiling behind it"


def test_partial_correlation_is_that_of_the_inverse_correlation_matrix():
    rng = np.random.default_rng(1)
    facts_SC = rng.normal(size=(60, 3))
    observed_S = facts_SC @ [1, 2, 0.5] + rng.normal(size=60)
    predicted_S = facts_SC @ [2, -1, 1] + 0.5 * observed_S + rng.normal(size=60)
    precision = np.linalg.inv(np.corrcoef(np.column_stack([observed_S, predicted_S, facts_SC]), rowvar=False))
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    statistic, one = PartialCorrelation(orthonormal(np.column_stack([np.ones(60), facts_SC]))), np.ones((1, 60))
    assert statistic(observed_S, predicted_S, one)[0] == pytest.approx(expected)
    few_S = np.where(np.arange(60) < 6, observed_S, np.nan)
    assert np.isnan(statistic(few_S, predicted_S, one)).all()
    maps_SR = np.stack([observed_S, few_S, predicted_S], axis=1)
    rest_SR = without_covariates(maps_SR, statistic.basis_SC)
    assert np.corrcoef(rest_SR[:, 0], rest_SR[:, 2])[0, 1] == pytest.approx(expected)
    assert np.isnan(rest_SR[:, 1]).all()


@pytest.mark.slow
def test_the_twin_is_asked_whether_it_says_the_same_from_another_rest_run(tmp_path):
    """Of people whose second run is another person's, the twin says what it says when it is told that person's connectome."""
    records = make_people(26)
    others = [records[-1], *records[:-1]]
    with_runs = [
        dataclasses.replace(mine, rest_runs={"run-1": mine.connectome_E, "run-2": other.connectome_E})
        for mine, other in zip(records, others, strict=True)
    ]
    with_runs[20] = dataclasses.replace(with_runs[20], rest_runs={})
    task = open_inputs(*lay_out(tmp_path, by_people(with_runs, 12), with_runs), ())
    people = collect(with_runs[14:], STROOP, Span(0, 1), REGIONS, SCALE)
    found = _from_rest_runs(task, people)
    assert found is not None
    first, second = (summary.mean_rt_ST[:, 0] for summary in found)
    assert np.isnan(first[6])
    assert np.isnan(second[6])
    told = {"own": people.edges_SE, "other": np.stack([other.connectome_E for other in others[14:]])}
    expected = predict_test_people(task, [task.twin], people, told)
    for name, found_S in (("own", first), ("other", second)):
        expected_S = expected[name].summary.mean_rt_ST[:, 0]
        np.testing.assert_array_equal(np.delete(found_S, 6), np.delete(expected_S, 6))
    assert (np.delete(first, 6) != np.delete(second, 6)).all()
    assert edge_reliability(tmp_path / "shards") is None
