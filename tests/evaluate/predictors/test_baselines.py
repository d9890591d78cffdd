"""Baselines say what they should, and cannot see what they should not."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer, StandardScaler

from dtb.evaluate.predictors import fitting
from dtb.evaluate.predictors import regressions as fits
from dtb.evaluate.predictors.baselines import always_correct, group_mean, of_regression, own_earlier
from dtb.evaluate.predictors.leave_out import balanced_folds
from dtb.evaluate.predictors.predictions import summary_of_people, summary_of_prediction
from dtb.evaluate.predictors.table import baselines
from dtb.evaluate.scores.observed import collect
from dtb.shards.split import Span
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people, with_other_answers

REGIONS = np.arange(NUM_REGIONS)
SCALE = np.ones(NUM_REGIONS)


WHOLE = Span(0.0, 1.0)


def gather(records, span=WHOLE):
    return collect(records, STROOP, span, REGIONS, SCALE)


@pytest.fixture(scope="module")
def training():
    return gather(make_people(40))


@pytest.fixture(scope="module")
def unseen():
    return gather(make_people(52)[40:])


def test_the_always_correct_agent_agrees_as_often_as_people_are_right(unseen):
    predicted = always_correct(unseen.trials)
    agreed_J = (predicted.outcome_JO == 1) & unseen.trials.happened_JO
    assert agreed_J.any(axis=1).mean() == unseen.trials.was_correct_J.mean()


def test_outcome_probabilities_sum_to_one_over_what_the_task_has(training, unseen):
    for predicted in (group_mean(training.trials, unseen.trials), own_earlier(unseen.trials, unseen.trials)):
        np.testing.assert_allclose(predicted.outcome_JO.sum(axis=1), 1)
        assert (predicted.outcome_JO > 0).all()


def test_the_group_mean_is_the_mean_of_training_people_in_the_condition(training, unseen):
    predicted = group_mean(training.trials, unseen.trials)
    for condition in (0, 1):
        wanted = np.nanmean(training.trials.rt_J[training.trials.condition_J == condition])
        here_J = unseen.trials.condition_J == condition
        np.testing.assert_allclose(predicted.mean_rt_J[here_J], wanted)
        right = training.trials.was_correct_J[training.trials.condition_J == condition].mean()
        said_J = np.where(unseen.trials.correct_JO, predicted.outcome_JO, 0).sum(1)[here_J]
        np.testing.assert_allclose(said_J, right, atol=4 / 500)


def test_own_earlier_part_is_the_persons_own():
    records = make_people(5)
    early, late = gather(records, Span(0.0, 0.5)), gather(records, Span(0.5, 1.0))
    assert early.trials.trial_J.max() < late.trials.trial_J.min()
    predicted = own_earlier(early.trials, late.trials)
    for person in range(5):
        mine_J = (early.trials.person_J == person) & (early.trials.condition_J == 1)
        theirs_J = (late.trials.person_J == person) & (late.trials.condition_J == 1)
        np.testing.assert_allclose(predicted.mean_rt_J[theirs_J], np.nanmean(early.trials.rt_J[mine_J]))


def test_of_a_regression_people_are_the_group_made_slower_and_less_often_right(training, unseen):
    target, trials = summary_of_people(training, STROOP), unseen.trials
    group = group_mean(training.trials, trials)
    mean_rt, accuracy = target.mean_rt_ST.mean(), target.accuracy_ST.mean()

    def said(slower_S, accuracy_S):
        summary = dataclasses.replace(
            summary_of_people(unseen, STROOP),
            mean_rt_ST=mean_rt + np.asarray(slower_S)[:, None],
            accuracy_ST=np.asarray(accuracy_S)[:, None],
        )
        return of_regression(training.trials, trials, target, summary)

    def right(prediction):
        return np.where(trials.correct_JO, prediction.outcome_JO, 0).sum(axis=1)

    same = said(np.zeros(12), np.full(12, accuracy))
    for name in ("outcome_JO", "mean_rt_J", "crps_J", "rt_quantiles_JQ"):
        np.testing.assert_allclose(getattr(same, name), getattr(group, name))
    slower_S = np.linspace(-0.1, 0.1, 12)
    slower = said(slower_S, np.linspace(0.5, 1.2, 12))
    np.testing.assert_allclose(slower.mean_rt_J - group.mean_rt_J, slower_S[trials.person_J])
    later_JQ = slower.rt_quantiles_JQ - group.rt_quantiles_JQ
    np.testing.assert_allclose(later_JQ, np.repeat(slower_S[trials.person_J][:, None], later_JQ.shape[1], axis=1))
    np.testing.assert_allclose(slower.outcome_JO.sum(axis=1), 1)
    odds_J = right(slower) / (1 - right(slower)) / (right(group) / (1 - right(group)))
    first_J = trials.person_J == 0
    np.testing.assert_allclose(odds_J[first_J], (1 - accuracy) / accuracy)
    assert right(slower)[trials.person_J == 11].min() > right(group).max()
    assert (right(slower) < 1).all()
    unknown = said(np.full(12, np.nan), np.full(12, np.nan))
    assert np.isnan(unknown.crps_J).all()
    assert np.isnan(unknown.outcome_JO).all()


def test_nothing_is_predicted_for_people_who_were_not_seen_earlier(training):
    early = gather(make_people(2))
    predicted = own_earlier(early.trials, training.trials)
    stranger_J = training.trials.person_J >= 2
    assert np.isnan(predicted.outcome_JO[stranger_J]).all()
    assert np.isnan(predicted.mean_rt_J[stranger_J]).all()
    assert np.isfinite(predicted.mean_rt_J[~stranger_J]).all()


def test_summaries_of_a_prediction_of_the_data_are_those_of_the_data(unseen):
    observed = summary_of_people(unseen, STROOP)
    trials = unseen.trials
    exact = always_correct(trials)
    exact.outcome_JO[:] = trials.happened_JO / trials.happened_JO.sum(axis=1, keepdims=True)
    exact.mean_rt_J[:] = trials.rt_J
    predicted = summary_of_prediction(trials, exact, len(unseen), STROOP, unseen.maps_STR)
    np.testing.assert_array_equal(predicted.mean_rt_ST, observed.mean_rt_ST)
    np.testing.assert_array_equal(predicted.condition_rt_ST, observed.condition_rt_ST)
    np.testing.assert_allclose(predicted.accuracy_ST, observed.accuracy_ST)
    effect = [
        np.nanmean(trials.rt_J[(trials.person_J == s) & (trials.condition_J == 1)])
        - np.nanmean(trials.rt_J[(trials.person_J == s) & (trials.condition_J == 0)])
        for s in range(len(unseen))
    ]
    np.testing.assert_allclose(observed.condition_rt_ST[:, 0], effect)


def test_no_baseline_for_unseen_people_changes_with_what_they_did(training):
    """The answer is planted: unseen people do something else altogether, and no prediction may move."""
    records = make_people(52)[40:]
    target = summary_of_people(training, STROOP)
    honest = baselines(training, target, gather(records), STROOP, seen=False)
    planted = baselines(
        training, target, gather([with_other_answers(record) for record in records]), STROOP, seen=False
    )
    assert honest.keys() >= {"always_correct", "group_mean", "ridge", "kernel_ridge", "cpm", "demographics_motion"}
    for name, prediction in honest.items():
        if prediction.trials is not None:
            np.testing.assert_array_equal(prediction.trials.outcome_JO, planted[name].trials.outcome_JO)
            np.testing.assert_array_equal(prediction.trials.mean_rt_J, planted[name].trials.mean_rt_J)
        np.testing.assert_array_equal(prediction.summary.mean_rt_ST, planted[name].summary.mean_rt_ST)
        np.testing.assert_array_equal(prediction.summary.condition_rt_ST, planted[name].summary.condition_rt_ST)
        np.testing.assert_array_equal(prediction.summary.accuracy_ST, planted[name].summary.accuracy_ST)
        np.testing.assert_array_equal(prediction.summary.maps_STR, planted[name].summary.maps_STR)


def test_a_persons_regression_does_not_depend_on_who_else_is_predicted(training, unseen):
    target = summary_of_people(training, STROOP)
    alone = gather(make_people(41)[40:])
    together = fitting.regressions(training, target, unseen)
    by_itself = fitting.regressions(training, target, alone)
    for name, prediction in by_itself.items():
        np.testing.assert_allclose(prediction.summary.mean_rt_ST[0], together[name].summary.mean_rt_ST[0], rtol=1e-9)


def test_ridge_is_sklearns_on_edges_that_nobody_lacks(training, unseen):
    complete_E = np.isfinite(training.edges_SE).all(0) & np.isfinite(unseen.edges_SE).all(0)
    scaler = StandardScaler().fit(training.edges_SE[:, complete_E].astype(float))
    mine = fits.scaled_edges(training.edges_SE[:, complete_E], unseen.edges_SE[:, complete_E])
    np.testing.assert_allclose(mine[0], scaler.transform(training.edges_SE[:, complete_E].astype(float)), atol=1e-4)
    target_S = summary_of_people(training, STROOP).mean_rt_ST
    expected = RidgeCV(fits.PENALTIES).fit(mine[0], target_S[:, 0]).predict(mine[1])
    np.testing.assert_allclose(fits._ridge(*mine, target_S, np.arange(len(target_S)))[:, 0], expected, rtol=1e-6)


def test_ridge_is_sklearns_with_more_edges_than_people_too():
    rng = np.random.default_rng(0)
    features_SE, features_QE = rng.normal(size=(20, 300)), rng.normal(size=(6, 300))
    targets_SY = features_SE[:, :2] + rng.normal(size=(20, 2)) + 5
    expected = RidgeCV(fits.PENALTIES, alpha_per_target=True).fit(features_SE, targets_SY).predict(features_QE)
    np.testing.assert_allclose(fits._ridge(features_SE, features_QE, targets_SY, np.arange(20)), expected, rtol=1e-6)


def test_ridge_finds_the_trait_and_kernel_ridge_too():
    training, people = (gather(some) for some in np.split(np.array(make_people(100, with_bold=False)), [40]))
    observed_S = summary_of_people(people, STROOP).mean_rt_ST[:, 0]
    found = fitting.regressions(training, summary_of_people(training, STROOP), people)
    for name in ("ridge", "kernel_ridge", "cpm"):
        assert np.corrcoef(found[name].summary.mean_rt_ST[:, 0], observed_S)[0, 1] > 0.7
    assert abs(np.corrcoef(found["demographics_motion"].summary.mean_rt_ST[:, 0], observed_S)[0, 1]) < 0.4


def test_kernel_ridge_is_sklearns_at_the_penalty_it_chose(monkeypatch):
    rng = np.random.default_rng(0)
    features_SE, features_QE = rng.normal(size=(30, 5)), rng.normal(size=(4, 5))
    targets_SY = rng.normal(size=(30, 2)) + 3
    monkeypatch.setattr(fits, "KERNEL_PENALTIES", np.array([0.5]))
    monkeypatch.setattr(fits, "KERNEL_WIDTHS", np.array([1.0]))
    squared = ((features_SE[:, None] - features_SE) ** 2).sum(-1)
    gamma = 1 / np.median(squared[~np.eye(30, dtype=bool)])
    centred = KernelCenterer().fit(rbf_kernel(features_SE, gamma=gamma))
    kernels = [centred.transform(rbf_kernel(some, features_SE, gamma=gamma)) for some in (features_SE, features_QE)]
    expected = KernelRidge(alpha=0.5, kernel="precomputed").fit(kernels[0], targets_SY - targets_SY.mean(0))
    np.testing.assert_allclose(
        fits._kernel_ridge(features_SE, features_QE, targets_SY, np.arange(30)),
        expected.predict(kernels[1]) + targets_SY.mean(0),
    )


def test_targets_that_some_lack_are_fitted_to_those_who_have_them(training, unseen):
    target = summary_of_people(training, STROOP)
    gaps = target.mean_rt_ST.copy()
    gaps[:15] = np.nan
    fitted = fitting.fill(lambda who_S, y_SY: np.full((12, y_SY.shape[1]), y_SY.mean()), gaps, 12)
    np.testing.assert_allclose(fitted, target.mean_rt_ST[15:].mean())
    gaps[:35] = np.nan
    assert np.isnan(fitting.fill(lambda who_S, y_SY: np.zeros((12, 1)), gaps, 12)).all()


def test_few_training_people_make_no_regression(unseen):
    few = gather(make_people(fitting.FEWEST_TO_FIT - 1))
    assert fitting.regressions(few, summary_of_people(few, STROOP), unseen) == {}


def test_connectome_based_predictive_modelling_is_as_published_edge_by_edge(monkeypatch):
    monkeypatch.setattr(fits, "CPM_P", (0.01,))
    rng = np.random.default_rng(0)
    features_SE, features_QE = rng.normal(size=(40, 60)), rng.normal(size=(5, 60))
    target_S = features_SE[:, 0] - features_SE[:, 1] + rng.normal(size=40)
    signs = np.zeros(60)
    for edge in range(60):
        r, p = pearsonr(features_SE[:, edge], target_S)
        signs[edge] = np.sign(r) if p < 0.01 else 0
    assert signs[0] == 1
    assert signs[1] == -1
    slope, intercept = np.polyfit(features_SE @ signs, target_S, 1)
    found = fits._cpm(features_SE, features_QE, np.stack([target_S, np.tile([1.0, -1.0], 20)], axis=1), np.arange(40))
    np.testing.assert_allclose(found[:, 0], slope * (features_QE @ signs) + intercept)
    none = fits._cpm(features_SE[:, 5:8] * 0, features_QE[:, 5:8], target_S[:, None], np.arange(40))
    np.testing.assert_allclose(none, target_S.mean())


def test_edges_are_taken_at_the_p_that_predicts_training_people_best(monkeypatch):
    rng = np.random.default_rng(0)
    features_SE, features_QE = rng.normal(size=(60, 80)), rng.normal(size=(7, 80))
    few_S, many_S = features_SE[:, 0] * 2 + rng.normal(size=60), features_SE[:, :40].sum(1) + rng.normal(size=60)
    targets_SY = np.stack([few_S, many_S], axis=1)
    who_S = np.arange(60)
    found = fits._cpm(features_SE, features_QE, targets_SY, who_S)
    errors, alone = [], []
    for p in fits.CPM_P:
        monkeypatch.setattr(fits, "CPM_P", (p,))
        held_out_SY = np.empty_like(targets_SY)
        fold_S = balanced_folds(who_S)
        for fold in range(5):
            rest, fit = fold_S == fold, fold_S != fold
            held_out_SY[rest] = fits._cpm(features_SE[fit], features_SE[rest], targets_SY[fit], who_S[fit])
        errors.append(((held_out_SY - targets_SY) ** 2).sum(axis=0))
        alone.append(fits._cpm(features_SE, features_QE, targets_SY, who_S))
    best_Y = np.argmin(errors, axis=0)
    assert best_Y[0] < best_Y[1]
    for column, best in enumerate(best_Y):
        np.testing.assert_allclose(found[:, column], alone[best][:, column])
