"""The best baseline is the one that training people pick, whatever those who test did."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dtb.evaluate.pool import pooled_figures
from dtb.evaluate.predictors.predictions import Summary, summary_of_people
from dtb.evaluate.predictors.table import PICKED_IN_FOLDS, given_of, left_out_predictions
from dtb.evaluate.scores.figure import TWIN, make_figure
from dtb.evaluate.scores.observed import collect
from dtb.evaluate.scores.picked import picks_of, with_picked
from dtb.evaluate.scores.statistics import draw_weights, mean_of
from dtb.shards.split import Span
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people


@pytest.fixture(scope="module")
def picks():
    regions, scale = np.arange(NUM_REGIONS), np.ones(NUM_REGIONS)
    training = collect(make_people(60), STROOP, Span(0.0, 1.0), regions, scale)
    target = summary_of_people(training, STROOP)
    given = given_of(training, target, training.only(np.arange(60) < 2), STROOP, seen=False)
    left_out = left_out_predictions(given)
    spread = Summary(*(np.nanstd(getattr(target, f.name), axis=0, keepdims=True) for f in dataclasses.fields(Summary)))
    return picks_of(training, left_out, given.fold_S, STROOP, spread), left_out, given, training


def test_the_pick_is_the_one_with_the_least_loss_in_people_left_out(picks):
    found, left_out, _, training = picks
    person_J = training.trials.person_J
    loss = {}
    for name, one in left_out.items():
        crps_J = one.trials.crps_J
        known_J = np.isfinite(crps_J)
        if known_J.any():
            sums = np.bincount(person_J[known_J], crps_J[known_J], 60) / np.bincount(person_J[known_J], minlength=60)
            loss[name] = sums.mean()
    assert found["stroop", "RT CRPS"] == min(loss, key=lambda name: loss[name])
    assert loss[found["stroop", "RT CRPS"]] < loss["group_mean"]


def test_the_pick_of_an_r_is_by_what_is_left_of_the_folds_means_and_spreads(picks):
    found, left_out, given, training = picks
    did_S = summary_of_people(training, STROOP).mean_rt_ST[:, 0]
    r = {}
    for name, one in left_out.items():
        said_S = one.summary.mean_rt_ST[:, 0]
        if name in {"group_mean", "always_correct"} or not np.isfinite(said_S).all():
            continue
        rest = [
            values_S - np.array([values_S[given.fold_S == fold].mean() for fold in given.fold_S])
            for values_S in (did_S, said_S)
        ]
        spread_S = np.array([said_S[given.fold_S == fold].std() for fold in given.fold_S])
        r[name] = np.corrcoef(rest[0], rest[1] / spread_S)[0, 1]
    assert found["stroop", "mean RT r"] == max(r, key=lambda name: r[name])


def test_noise_in_all_regions_is_predicted_best_by_the_group_map_or_the_stack_of_nothing(picks):
    """The map of made-up people is noise: what regressions make of it beyond the group's own is worse than the group map."""
    found, left_out, *_ = picks
    assert "group_mean" in left_out
    assert np.isfinite(left_out["group_mean"].summary.maps_STR).all()
    assert ("stroop", "BOLD map r") in found


def figure_of(scores):
    num = len(scores[TWIN])
    weights_BS = draw_weights(num, 200, 0)
    options = {"higher_is_better": False}
    return make_figure("t", "RT CRPS", "s", mean_of, np.zeros(num), scores, weights_BS, 0.95, **options), weights_BS


def test_a_baseline_that_is_lucky_in_those_who_test_is_not_the_one_compared():
    rng = np.random.default_rng(0)
    scores = {
        TWIN: rng.uniform(0.10, 0.12, 40),
        "ridge": rng.uniform(0.12, 0.14, 40),
        "cpm": rng.uniform(0.09, 0.1, 40),
    }
    figure, weights_BS = figure_of(scores)
    assert figure.best_baseline == "cpm"
    (found,) = with_picked([figure], {("t", "RT CRPS"): "ridge"}, weights_BS, 0.95)
    assert found.best_baseline == "ridge"
    assert found.is_best_picked
    assert found.difference.value == pytest.approx((scores[TWIN] - scores["ridge"]).mean())
    (same,) = with_picked([figure], {("t", "RT CRPS"): "gone"}, weights_BS, 0.95)
    assert same is figure
    assert not same.is_best_picked


def test_pooled_folds_are_compared_with_what_each_picked():
    rng = np.random.default_rng(1)
    fold_S = np.repeat([0, 1], 20)
    ridge_S, cpm_S, mine_S = rng.uniform(0.1, 0.2, (3, 40))
    people = tuple(f"p{number:02d}" for number in range(40))
    scores = pd.DataFrame(
        {
            "task": "t",
            "metric": "RT CRPS",
            "unit": "seconds",
            "higher_is_better": False,
            "statistic": "mean",
            "note": "",
            "pseudonym": people,
            "observed": 0.0,
            "score_twin": mine_S,
            "score_ridge": ridge_S,
            "score_cpm": cpm_S,
            "added": np.nan,
            "alone": np.nan,
            "leverage": 0.0,
            "picked": np.where(fold_S == 0, "ridge", "cpm"),
            "fold": fold_S,
            "seed": 0,
        }
    )
    (found,) = pooled_figures(scores, people, draw_weights(40, 100, 0), 0.95, {})
    wanted_S = np.where(fold_S == 0, ridge_S, cpm_S)
    assert found.best_baseline == PICKED_IN_FOLDS
    assert found.baselines[PICKED_IN_FOLDS] == pytest.approx(wanted_S.mean())
    assert found.difference.value == pytest.approx((mine_S - wanted_S).mean())
    (alike,) = pooled_figures(scores.assign(picked="cpm"), people, draw_weights(40, 100, 0), 0.95, {})
    assert alike.best_baseline == "cpm"
    assert alike.difference.value == pytest.approx((mine_S - cpm_S).mean())
