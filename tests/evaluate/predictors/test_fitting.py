"""Baselines at their best: reaction times by location and scale, a bend in the latents, and a stack that learns from people left out."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.stats import norm

from dtb.evaluate.predictors import fitting
from dtb.evaluate.predictors import regressions as fits
from dtb.evaluate.predictors.baselines import of_regression
from dtb.evaluate.predictors.predictions import person_task_mean, summary_of_people
from dtb.evaluate.predictors.reaction_times import LogSpeeds, crps_of_sorted, log_location_scale, log_speeds
from dtb.evaluate.predictors.table import STACK, baselines, given_of, left_out_predictions
from dtb.evaluate.scores.metrics import crps_of_sample
from dtb.evaluate.scores.observed import ObservedTrials, collect
from dtb.shards.split import Span
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people


def gather(records):
    return collect(records, STROOP, Span(0.0, 1.0), np.arange(NUM_REGIONS), np.ones(NUM_REGIONS))


def timed(rt_SJ: np.ndarray) -> ObservedTrials:
    """Lay out reaction times of people in one task of one condition."""
    num_people, num_trials = rt_SJ.shape
    nothing_J, yes_JO = np.zeros(rt_SJ.size, np.int64), np.ones((rt_SJ.size, 2), bool)
    person_J, trial_J = np.repeat(np.arange(num_people), num_trials), np.tile(np.arange(num_trials), num_people)
    return ObservedTrials(person_J, nothing_J, nothing_J, trial_J, nothing_J, rt_SJ.ravel(), yes_JO, yes_JO, yes_JO)


def crps_of_lognormal(location, scale, rt):
    """Return the closed form (Baran & Lerch 2015, Q J R Meteorol Soc 141, 2289)."""
    z = (np.log(rt) - location) / scale
    tail = norm.cdf(z - scale) + norm.cdf(scale / np.sqrt(2)) - 1
    return rt * (2 * norm.cdf(z) - 1) - 2 * np.exp(location + scale**2 / 2) * tail


def test_trials_of_known_location_and_scale_score_as_lognormals_do_in_closed_form():
    rng = np.random.default_rng(0)
    location_S, scale_S = np.linspace(-0.5, 0.5, 20), np.linspace(0.1, 0.4, 20)
    draw_SJ = norm.ppf((np.arange(400) + 0.5) / 400)[rng.permuted(np.tile(np.arange(400), (20, 1)), axis=1)]
    training = timed(np.exp(location_S[:, None] + scale_S[:, None] * draw_SJ))
    speeds = log_speeds(training, 20, 1)
    np.testing.assert_allclose(speeds.location_ST[:, 0], location_S, atol=1e-9)
    np.testing.assert_allclose(np.exp(speeds.log_scale_ST[:, 0]), scale_S, rtol=0.01)
    truth = LogSpeeds(location_S[:, None], np.log(scale_S)[:, None])
    trials = timed(np.exp(location_S[:, None] + scale_S[:, None] * rng.normal(size=(20, 30))))
    mean_J, crps_J, quantiles_JQ = log_location_scale(training, truth, trials, truth)
    who_J = trials.person_J
    np.testing.assert_allclose(crps_J, crps_of_lognormal(location_S[who_J], scale_S[who_J], trials.rt_J), rtol=4e-3)
    np.testing.assert_allclose(mean_J, np.exp(location_S + scale_S**2 / 2)[who_J], rtol=4e-3)
    levels = (np.arange(10) + 0.5) / 10
    wanted_JQ = np.exp(location_S[who_J, None] + scale_S[who_J, None] * norm.ppf(levels))
    np.testing.assert_allclose(quantiles_JQ, wanted_JQ, rtol=6e-3)


def test_a_sample_of_each_trials_own_scores_as_one_for_all():
    rng = np.random.default_rng(1)
    member_JM, rt_J = np.sort(rng.normal(size=(5, 40)), axis=1), np.array([0.1, -1.0, 2.0, np.nan, 0.0])
    wanted_J = [crps_of_sample(member_JM[row], rt_J[row : row + 1])[0] for row in range(5)]
    np.testing.assert_allclose(crps_of_sorted(member_JM, rt_J), wanted_J)


def test_the_distribution_is_wide_where_the_regression_errs():
    """Location errs by .3 of people's .2: nine of ten presses have to lie within nine tenths of what is said."""
    rng = np.random.default_rng(2)
    location_S = rng.normal(0, 0.3, 4000)
    everybody = np.exp(location_S[:, None] + rng.normal(0, 0.2, (4000, 10)))
    nothing = LogSpeeds(np.zeros((2000, 1)), np.full((2000, 1), np.log(0.2)))
    trials = timed(everybody[2000:])
    *_, quantiles_JQ = log_location_scale(timed(everybody[:2000]), nothing, trials, nothing)
    covered = np.mean((trials.rt_J > quantiles_JQ[:, 0]) & (trials.rt_J < quantiles_JQ[:, -1]))
    assert covered == pytest.approx(0.9, abs=0.02)


def test_where_people_differ_in_evenness_a_regression_scores_better_than_the_group_shifted():
    def uneven(records):
        found = []
        for number, record in enumerate(records):
            rng = np.random.default_rng([number, 5])
            trait = record.connectome_E[:6].mean() / 0.3
            run = record.runs[0]
            rt_J = np.exp(0.1 * trait + np.exp(-2.0 + 0.7 * trait) * rng.standard_normal(run.trials.num_trials))
            rt_J = np.where(np.isfinite(run.trials.rt_seconds_J), rt_J, np.nan)
            trials = dataclasses.replace(run.trials, rt_seconds_J=rt_J)
            found.append(dataclasses.replace(record, runs=(dataclasses.replace(run, trials=trials),)))
        return found

    records = uneven(make_people(120, with_bold=False))
    training, people = gather(records[:80]), gather(records[80:])
    target = summary_of_people(training, STROOP)
    said = baselines(training, target, people, STROOP, seen=False)["ridge"]
    shifted = of_regression(training.trials, people.trials, target, said.summary)
    score = person_task_mean(people.trials, said.trials.crps_J, 40, 1).mean()
    assert score < 0.95 * person_task_mean(people.trials, shifted.crps_J, 40, 1).mean()


def test_a_bend_in_what_is_read_is_found_by_latents_and_by_no_line():
    rng = np.random.default_rng(3)
    features_SE = rng.normal(size=(400, 12))
    trait_S = features_SE[:, :4].sum(axis=1) / 2
    targets_SY = np.stack([trait_S, trait_S**2], axis=1) + 0.3 * rng.normal(size=(400, 2))
    fit, who_S = (features_SE[:300], features_SE[300:], targets_SY[:300]), np.arange(300)
    r = [
        np.corrcoef(way(*fit, who_S)[:, 1], trait_S[300:] ** 2)[0, 1] for way in (fits._latents_quadratic, fits._ridge)
    ]
    assert r[0] > 0.9
    assert abs(r[1]) < 0.3
    same = np.zeros((300, 1)) + 2.0
    np.testing.assert_allclose(fits._latents_quadratic(fit[0], fit[1], same, who_S), 2.0)


def test_the_stack_has_the_weights_that_fit_people_left_out_and_none_where_nothing_is_known():
    rng = np.random.default_rng(4)
    target_S1 = rng.normal(size=(60, 1)) + 3
    good, bad = target_S1 + rng.normal(size=(60, 1)), -target_S1 + rng.normal(size=(60, 1))
    fold_S = np.arange(60) % 5
    parts = {"good": fitting.Fitted(good[:7], good), "bad": fitting.Fitted(bad[:7], bad)}
    found = fitting.stacked(parts, target_S1, fold_S)
    weight = ((good - good.mean()) * (target_S1 - target_S1.mean())).sum() / ((good - good.mean()) ** 2).sum()
    np.testing.assert_allclose(found.said_QY, target_S1.mean() + weight * (good[:7] - good.mean()))
    others_S = fold_S != 2
    pair = [values[others_S, 0] - values[others_S, 0].mean() for values in (good, bad)]
    by_hand = nnls(np.stack(pair, axis=1), target_S1[others_S, 0] - target_S1[others_S].mean())[0]
    assert by_hand[1] == 0
    wanted = target_S1[others_S].mean() + by_hand[0] * (good[~others_S] - good[others_S].mean())
    np.testing.assert_allclose(found.left_out_SY[~others_S], wanted)
    nothing = fitting.stacked({"bad": parts["bad"]}, target_S1, fold_S)
    np.testing.assert_allclose(nothing.said_QY, target_S1.mean())


def test_a_stack_of_two_halves_of_the_truth_is_better_than_either():
    """Speed depends on the connectome and on age: each regression knows one of them."""
    records = []
    for record in make_people(160, with_bold=False, trait_weight=0.1):
        age, run = record.covariates["age"], record.runs[0]
        trials = dataclasses.replace(run.trials, rt_seconds_J=run.trials.rt_seconds_J + 0.012 * (age - 34.5))
        records.append(dataclasses.replace(record, runs=(dataclasses.replace(run, trials=trials),)))
    training, people = gather(records[:100]), gather(records[100:])
    found = baselines(training, summary_of_people(training, STROOP), people, STROOP, seen=False)
    did_S = summary_of_people(people, STROOP).mean_rt_ST[:, 0]
    r = {name: np.corrcoef(one.summary.mean_rt_ST[:, 0], did_S)[0, 1] for name, one in found.items() if name in _NAMES}
    assert r[STACK] > 0.03 + max(value for name, value in r.items() if name != STACK)
    crps = {name: np.nanmean(found[name].trials.crps_J) for name in _NAMES}
    assert crps[STACK] == min(crps.values())


_NAMES = (*(one.name for one in fits.REGRESSIONS), STACK)


def test_nobody_is_predicted_from_own_answers():
    """The answers of one fold are changed altogether; no figure that is said of its people may move."""
    training = gather(make_people(40))
    target = summary_of_people(training, STROOP)
    honest = given_of(training, target, training.only(np.arange(40) < 3), STROOP, seen=False)
    rest_S = honest.fold_S == 1
    rt_J = np.where(rest_S[training.trials.person_J], 3.0 + np.arange(len(training.trials)) % 7, training.trials.rt_J)
    maps_STR = np.where(rest_S[:, None, None], 9.0, training.maps_STR)
    planted = dataclasses.replace(
        training, trials=dataclasses.replace(training.trials, rt_J=rt_J), maps_STR=maps_STR.astype(np.float32)
    )
    other = dataclasses.replace(honest, training=planted, target=summary_of_people(planted, STROOP))
    first, second = left_out_predictions(honest), left_out_predictions(other)
    assert first.keys() >= {"group_mean", "always_correct", *_NAMES}
    mine_J = rest_S[training.trials.person_J]
    for name in first:
        one, two = first[name], second[name]
        # The stack's weights, and how far a regression errs, are from fits that others of them were left out of.
        if name != STACK:
            np.testing.assert_array_equal(one.summary.mean_rt_ST[rest_S], two.summary.mean_rt_ST[rest_S])
            np.testing.assert_array_equal(one.summary.maps_STR[rest_S], two.summary.maps_STR[rest_S])
            np.testing.assert_array_equal(one.trials.outcome_JO[mine_J], two.trials.outcome_JO[mine_J])
        assert not np.array_equal(one.summary.mean_rt_ST, two.summary.mean_rt_ST) or name == "always_correct"


def test_relatives_share_a_fold():
    people = gather(make_people(60, with_bold=False))
    known = [{**each, "family": f"f{number // 3}"} for number, each in enumerate(people.covariates)]
    fold_S = fitting.inner_folds(dataclasses.replace(people, covariates=known))
    assert (fold_S.reshape(20, 3) == fold_S.reshape(20, 3)[:, :1]).all()
    assert np.bincount(fold_S).tolist() == [12] * 5
