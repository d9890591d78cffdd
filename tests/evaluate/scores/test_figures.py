"""Rows of figures: perfect and empty predictors, what is said of absent figures, and the words of the claim."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from dtb.errors import InputDataError
from dtb.evaluate.certificate.wording import claim_in_words, verdict
from dtb.evaluate.predictors.predictions import (
    Prediction,
    Summary,
    TrialPrediction,
    no_maps,
    summaries_of_halves,
    summaries_of_runs,
    summary_of_people,
    summary_of_prediction,
)
from dtb.evaluate.predictors.table import baselines
from dtb.evaluate.scores.ceilings import ceiling_of_halves, true_ceilings
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import TWIN, Figure
from dtb.evaluate.scores.figures import all_figures, without_mean
from dtb.evaluate.scores.observed import collect
from dtb.evaluate.scores.quantiles import LEVELS, TRIAL_LEVELS, person_quantiles, quantile_errors
from dtb.evaluate.scores.statistics import Estimate, draw_weights
from dtb.shards.split import Span, Split
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people

REGIONS, SCALE = np.arange(NUM_REGIONS), np.ones(NUM_REGIONS)


def perfect(people) -> Prediction:
    trials = people.trials
    outcome_JO = trials.happened_JO / trials.happened_JO.sum(axis=1, keepdims=True)
    rt_J = trials.rt_J
    said = TrialPrediction(outcome_JO, rt_J, np.where(np.isfinite(rt_J), 0.0, np.nan), np.repeat(rt_J[:, None], 10, 1))
    return Prediction(summary_of_prediction(trials, said, len(people), STROOP, people.maps_STR), said)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    training, people = (
        collect(records, STROOP, Span(0, 1), REGIONS, SCALE) for records in (make_people(30), make_people(42)[30:])
    )
    target = summary_of_people(training, STROOP)
    return Evidence(
        STROOP,
        people,
        summary_of_people(people, STROOP),
        summaries_of_halves(people, STROOP),
        {TWIN: perfect(people), **baselines(training, target, people, STROOP, seen=False)},
        target.maps_STR.mean(axis=0),
        Summary(*(np.nanstd(getattr(target, f.name), axis=0, keepdims=True) for f in dataclasses.fields(Summary))),
        draw_weights(len(people), 300, 0),
        0.95,
    )


def by_metric(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.metric: figure for figure in figures}


def test_a_twin_that_is_the_person_gets_every_best_score(evidence):
    figures = by_metric(all_figures(evidence))
    best = {
        "mean RT r": 1,
        "mean RT R2": 1,
        "condition effect r": 1,
        "accuracy r": 1,
        "RT CRPS": 0,
        "BOLD map r": 1,
        "identification by BOLD map": 1,
        "identification by behaviour": 1,
    }
    for metric, value in best.items():
        assert figures[metric].twin.value == pytest.approx(value, abs=1e-6), metric
        assert figures[metric].twin.num_people == 12
    assert figures["BOLD map r without the group map"].twin.value > 0.85
    assert figures["own minus others, BOLD map"].twin.value > 0.5
    # An error known up to two colours, said to be one of the two, is log(1) of the set; everything else is certain.
    assert figures["choice log-loss"].twin.value == pytest.approx(0, abs=1e-6)
    assert verdict(figures["RT CRPS"]) == "the twin beats the best baseline"


def test_quantiles_of_reaction_times_are_the_persons_own(evidence):
    trials = evidence.people.trials
    said = evidence.predictions[TWIN].trials
    np.testing.assert_allclose(quantile_errors(trials, said, 12, 0), 0.0)
    late = dataclasses.replace(said, rt_quantiles_JQ=said.rt_quantiles_JQ + 0.25)
    np.testing.assert_allclose(quantile_errors(trials, late, 12, 0), 0.25)
    found_SQ = person_quantiles(trials, trials.rt_J[:, None], np.ones(len(trials)), 12, 0)
    mine_J = (trials.person_J == 3) & np.isfinite(trials.rt_J)
    np.testing.assert_array_equal(
        found_SQ[3], np.quantile(trials.rt_J[mine_J], [0.1, 0.3, 0.5, 0.7, 0.9], method="inverted_cdf")
    )
    assert np.isnan(person_quantiles(trials, trials.rt_J[:, None], np.zeros(len(trials)), 12, 0)).all()


def test_a_mixture_of_normals_has_the_quantiles_it_should():
    trials = collect(make_people(1), STROOP, Span(0, 1), REGIONS, SCALE).trials
    centre_J = np.where(np.arange(len(trials)) % 2, 1.0, 3.0)
    levels = norm.ppf(TRIAL_LEVELS)
    weight_J = np.where(centre_J == 1.0, 3.0, 1.0)
    (found_Q,) = person_quantiles(trials, centre_J[:, None] + 0.2 * levels, weight_J, 1, 0)
    mixed = lambda x: 0.75 * norm.cdf(x, 1, 0.2) + 0.25 * norm.cdf(x, 3, 0.2)
    expected_Q = [brentq(lambda x, level=level: mixed(x) - level, 0, 5) for level in LEVELS]
    np.testing.assert_allclose(found_Q, expected_Q, atol=0.06)


def test_agreement_stands_beside_that_of_independent_errors(evidence):
    agreement = by_metric(all_figures(evidence))["choice agreement"]
    observed = summary_of_people(evidence.people, STROOP).accuracy_ST[:, 0]
    assert agreement.baselines["independent_errors"] < agreement.twin.value == 1
    assert agreement.baselines["independent_errors"] > (observed**2).mean() - 1e-9


def test_a_twin_that_is_the_group_mean_beats_nothing_and_identifies_nobody(evidence):
    group = evidence.predictions["group_mean"]
    everything = dataclasses.replace(evidence, predictions={**evidence.predictions, TWIN: group})
    beside_regressions = by_metric(all_figures(everything))["RT CRPS"]
    assert beside_regressions.difference.value >= 0
    assert "beats the best" not in verdict(beside_regressions)
    blind = {name: evidence.predictions[name] for name in ("group_mean", "always_correct")}
    figures = by_metric(all_figures(dataclasses.replace(evidence, predictions={**blind, TWIN: group})))
    assert figures["RT CRPS"].best_baseline == "group_mean"
    assert figures["RT CRPS"].difference.value == 0
    assert verdict(figures["RT CRPS"]) == "the twin does not beat the best baseline"
    assert figures["identification by behaviour"].twin.value < 0.3
    # Its map is the same for everybody: nothing is left when the mean is removed, so there is no such figure.
    assert "BOLD map r without the group map" not in figures


def test_figures_that_nobody_can_have_are_left_out_and_the_rest_is_json(evidence):
    people = evidence.people
    blind = perfect(people)
    blind = dataclasses.replace(blind, summary=dataclasses.replace(blind.summary, maps_STR=no_maps(people)))
    figures = all_figures(dataclasses.replace(evidence, predictions={**evidence.predictions, TWIN: blind}))
    assert not any("BOLD" in figure.metric for figure in figures)
    plain = [figure.to_plain() for figure in figures]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert {"task", "metric", "unit", "twin", "lower", "upper", "baselines", "n", "note"} <= plain[0].keys()


def test_the_always_correct_agent_has_an_agreement_but_no_log_loss(evidence):
    figures = by_metric(all_figures(evidence))
    assert "always_correct" not in figures["choice log-loss"].baselines
    right = evidence.observed.accuracy_ST[:, 0].mean()
    chance = (~evidence.people.trials.happened_JO[:, -1]).mean() / 3
    chance += (evidence.people.trials.happened_JO.sum(axis=1) == 2).mean() / 3
    assert figures["accuracy above chance"].baselines["always_correct"] == pytest.approx(right - chance, abs=0.01)


def test_covariates_are_taken_out_of_what_is_predicted_not_of_the_prediction(evidence):
    """A prediction by covariates alone has nothing to say about what covariates do not predict."""
    only = dataclasses.replace(
        evidence, predictions={**evidence.predictions, TWIN: evidence.predictions["demographics_motion"]}
    )
    assert "mean RT r beyond covariates" not in by_metric(all_figures(only))
    assert by_metric(all_figures(evidence))["mean RT r beyond covariates"].twin.value > 0.8


def test_maps_that_are_equal_but_for_rounding_say_nothing_of_a_person():
    maps_SR = np.tile(np.linspace(1, 2, 9), (5, 1)) + 1e-7 * np.random.default_rng(0).normal(size=(5, 9))
    assert np.isnan(without_mean(maps_SR)).all()
    assert np.isfinite(without_mean(maps_SR + np.arange(5)[:, None] * np.ones(9))[0]).all()


def figure(metric: str, difference: float, lower: float, upper: float, *, higher_is_better: bool = True) -> Figure:
    gap = Estimate(difference, lower, upper, 40)
    return Figure("stroop", metric, "", higher_is_better, Estimate(0.5, 0.3, 0.7, 40), {"ridge": 0.4}, "ridge", gap, "")


def test_the_verdict_needs_an_interval_that_leaves_zero_out():
    assert verdict(figure("mean RT r", 0.1, 0.02, 0.2)) == "the twin beats the best baseline"
    assert verdict(figure("mean RT r", 0.1, -0.02, 0.2)) == "the twin does not beat the best baseline"
    assert verdict(figure("mean RT r", -0.1, -0.2, -0.05)) == "the twin is worse than the best baseline"
    assert verdict(figure("RT CRPS", -0.1, -0.2, -0.05, higher_is_better=False)) == "the twin beats the best baseline"
    assert (
        verdict(figure("mean RT r", 0.1, math.nan, math.nan))
        == "it cannot be said whether the twin beats the best baseline"
    )


def test_the_claim_calls_nothing_beaten_that_the_certificate_does_not():
    many = tuple(f"p{number}" for number in range(40))
    found = [figure("mean RT r", 0.3, 0.2, 0.4)]
    for decided, words in (
        ("yes", "the twin beats the best"),
        ("undecided", "it is not shown that the twin beats the best"),
    ):
        claim = claim_in_words(Split("subjects", ("a",), ("b",), many), found, {("stroop", "mean RT r"): decided})
        assert claim.count(f"{words} baseline") == 2


def test_eight_people_support_no_claim_between_people():
    eight = tuple(f"p{number}" for number in range(8))
    claim = claim_in_words(Split("temporal", eight, eight, eight, 0.4, 0.5), [figure("RT CRPS", 0.1, -0.1, 0.2)])
    assert claim.startswith(
        "8 people support no claim between people: in the later part of each run of the 8 people that it was trained on, "
        "the twin does not beat the best baseline at reaction times (stroop). "
    )


def test_the_claim_opens_with_the_verdict_and_goes_on_with_its_figures():
    many = tuple(f"p{number}" for number in range(40))
    found = [
        figure("mean RT r", 0.1, -0.02, 0.2),
        dataclasses.replace(figure("mean RT r", 0.3, 0.2, 0.4), task="hammer"),
    ]
    opening, *others = claim_in_words(Split("subjects", ("a",), ("b",), many), found).split(". ")
    assert opening == (
        "In 40 people never seen in training, the twin does not beat the best baseline at mean reaction times (stroop); "
        "the twin beats the best baseline at mean reaction times (hammer)"
    )
    assert "twin 0.500 [0.300, 0.700]" in others[0]
    assert "+0.100 [-0.020, 0.200]: the twin does not beat the best baseline" in others[0]
    few = claim_in_words(Split("subjects", ("a",), ("b",), many[:8]), found)
    assert "8 people support no claim between people." in few


def test_the_ceiling_is_the_correlation_with_the_truth_that_the_halves_share():
    rng = np.random.default_rng(0)
    truth_S = rng.normal(size=20_000)
    odd_S, even_S = (truth_S + rng.normal(0, 0.8, 20_000) for _ in range(2))
    expected = np.corrcoef(truth_S, (odd_S + even_S) / 2)[0, 1]
    assert ceiling_of_halves(odd_S, even_S) == pytest.approx(expected, abs=0.01)
    assert ceiling_of_halves(odd_S, -even_S) is None
    assert ceiling_of_halves(odd_S[:9], even_S[:9]) is None


def test_the_halves_hold_every_other_trial_of_each_condition():
    people = collect(make_people(3, with_bold=False), STROOP, Span(0, 1), np.zeros(0, int), np.zeros(0))
    odd, even = summaries_of_halves(people, STROOP)
    trials = people.trials
    mine_J = np.flatnonzero((trials.person_J == 1) & (trials.condition_J == 1))
    congruent_J = np.flatnonzero((trials.person_J == 1) & (trials.condition_J == 0))
    for half, begin in ((odd, 0), (even, 1)):
        effect = np.nanmean(trials.rt_J[mine_J[begin::2]]) - np.nanmean(trials.rt_J[congruent_J[begin::2]])
        assert half.condition_rt_ST[1, 0] == pytest.approx(effect)


def test_test_and_retest_are_the_first_run_and_the_others(evidence):
    records = []
    for record in make_people(12, with_bold=False):
        first = record.runs[0]
        slower = dataclasses.replace(first.trials, rt_seconds_J=first.trials.rt_seconds_J + 0.2)
        runs = (first, dataclasses.replace(first, trials=slower))
        records.append(dataclasses.replace(record, runs=runs if record.pseudonym != "p0003" else runs[:1]))
    people = collect(records, STROOP, Span(0, 1), np.zeros(0, int), np.zeros(0))
    first, others = (half.mean_rt_ST[:, 0] for half in summaries_of_runs(people, STROOP))
    assert np.isnan(others[3])
    np.testing.assert_allclose(np.delete(others - first, 3), 0.2)


def test_figures_say_their_share_of_the_true_ceiling(evidence, tmp_path):
    found = {"stroop": {"mean_rt": 0.9, "mean_rt_from_connectome": 0.5, "accuracy": None, "bold_series": 0.2}}
    (tmp_path / "ceilings.json").write_text(json.dumps(found))
    known = true_ceilings(tmp_path, seen=False)
    assert known == {("stroop", "mean RT r"): 0.5, ("stroop", "mean RT R2"): 0.25, ("stroop", "BOLD series r"): 0.2}
    assert true_ceilings(tmp_path, seen=True)["stroop", "mean RT r"] == 0.9
    figures = by_metric(all_figures(dataclasses.replace(evidence, true_ceilings=known)))
    plain = figures["mean RT r"].to_plain()
    assert (plain["ceiling"], plain["fraction_of_ceiling"]) == (0.5, 1.0)
    assert set(plain["ceilings"]) == {"truth", "halves"}
    assert figures["RT CRPS"].ceiling is None
    with pytest.raises(InputDataError, match=r"--truth the folder `truth`"):
        true_ceilings(tmp_path / "nowhere", seen=True)


def test_every_figure_is_in_the_documents_with_a_test_that_exists(evidence):
    """The table of docs/certificate.md: a figure that is added needs a row there, and a test against something else."""
    here = Path(__file__)
    page = (here.parents[3] / "docs" / "certificate.md").read_text(encoding="utf-8")
    table = page.split("### What each figure is checked against")[1].split("## ")[0]
    rows = {cells[1].strip(): cells[2] for line in table.splitlines() if len(cells := line.split("|")) > 3}
    tests = "".join(path.read_text(encoding="utf-8") for path in here.parents[2].rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", "".join(rows.values())):
        assert f"def {name}(" in tests, name
    facts_SC = np.full((len(evidence.people), 1), len(evidence.people) ** -0.5)
    rest = (evidence.observed, evidence.observed)
    everything = dataclasses.replace(evidence, covariates_SC=facts_SC, from_rest_runs=rest)
    assert "BOLD map partial r" in by_metric(all_figures(everything))
    for metric in by_metric(all_figures(everything)):
        general = re.sub("^(mean RT|condition effect|accuracy) (?=r beyond|partial|r from)", "... ", metric)
        assert "test_" in rows.get(metric, rows.get(general, "")), metric
