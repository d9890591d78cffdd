"""The certificate calls personal what is, refuses what is not, and is wrong as seldom as it says."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from dtb.evaluate.baselines import own_earlier
from dtb.evaluate.certificate import POWER, Certificate, _decided, _needed, certify
from dtb.evaluate.certificate import Test as Asked
from dtb.evaluate.certificate_page import reading_notes, to_html, to_markdown
from dtb.evaluate.evidence import Evidence
from dtb.evaluate.figure import TWIN, Figure
from dtb.evaluate.figures import all_figures
from dtb.evaluate.observed import collect
from dtb.evaluate.predictions import (
    Prediction,
    Summary,
    TrialPrediction,
    no_maps,
    summaries_of_halves,
    summary_of_people,
    summary_of_prediction,
)
from dtb.evaluate.stage import baselines
from dtb.evaluate.statistics import (
    Estimate,
    correlation,
    draw_weights,
    estimate,
    holm,
    mean_of,
    permutation_p,
    sign_flip_p,
)
from dtb.shards.split import Span
from tests.evaluate.people import STROOP, make_people

NOWHERE = np.zeros(0, np.int64)


WHOLE = Span(0.0, 1.0)


def gather(records, span=WHOLE):
    return collect(records, STROOP, span, NOWHERE, np.zeros(0))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    training, people = (gather(some) for some in np.split(np.array(make_people(80, with_bold=False)), [40]))
    target = summary_of_people(training, STROOP)
    predictions = baselines(training, target, people, STROOP, seen=False)
    # With no brain in it, the same twin given strangers' connectomes can be no better than the group mean.
    predictions["stranger_connectome"] = predictions["group_mean"]
    return Evidence(
        STROOP,
        people,
        summary_of_people(people, STROOP),
        summaries_of_halves(people, STROOP),
        predictions,
        np.zeros((1, 0)),
        Summary(*(np.nanstd(getattr(target, f.name), axis=0, keepdims=True) for f in dataclasses.fields(Summary))),
        draw_weights(len(people), 500, 0),
        0.95,
    )


def shifted_group(evidence: Evidence, shift_S: np.ndarray) -> Prediction:
    """Give everybody the group mean, made faster or slower by what is said of each person."""
    group = evidence.predictions["group_mean"].trials
    trials = evidence.people.trials
    shift_J = shift_S[trials.person_J]
    error_J = np.abs(group.mean_rt_J + shift_J - trials.rt_J) * 0.7
    said = TrialPrediction(group.outcome_JO, group.mean_rt_J + shift_J, error_J)
    return Prediction(summary_of_prediction(trials, said, len(evidence.people), STROOP, no_maps(evidence.people)), said)


def certified(evidence: Evidence, twin: Prediction, *, are_seen: bool = False) -> Certificate:
    figures = all_figures(dataclasses.replace(evidence, predictions={**evidence.predictions, TWIN: twin}))
    return certify(
        figures,
        are_seen=are_seen,
        num_people=len(evidence.people),
        weights_BS=evidence.weights_BS,
        confidence=0.95,
        seed=0,
        num_permutations=2000,
    )


def true_shift(evidence: Evidence) -> np.ndarray:
    observed_S = evidence.observed.mean_rt_ST[:, 0]
    return observed_S - observed_S.mean()


def test_a_twin_that_knows_unseen_people_is_personal(evidence):
    found = certified(evidence, shifted_group(evidence, true_shift(evidence)))
    assert found.verdict == "yes"
    assert "personal, for 40 people it had not seen" in found.sentence
    assert "differences in speed between people" in found.sentence


def test_a_twin_that_says_the_same_of_everybody_is_not(evidence):
    found = certified(evidence, evidence.predictions["group_mean"])
    assert found.verdict != "yes"
    assert all(test.verdict != "yes" for test in found.tests)
    assert "it does not show that its connectome is of use to it nor that what it says of a person" in found.sentence


def test_a_twin_that_knows_age_sex_site_and_motion_alone_is_not(evidence):
    said_S = evidence.predictions["demographics_motion"].summary.mean_rt_ST[:, 0]
    found = certified(evidence, shifted_group(evidence, said_S - said_S.mean()))
    assert found.verdict != "yes"


def test_seen_people_never_make_a_twin_personal_and_an_impostor_scores_high():
    """An impostor that knows a person by a code alone, and repeats what was seen earlier, reaches the r of twins that are published."""
    records = make_people(40, with_bold=False, trait_weight=0.15)
    early, late = gather(records, Span(0, 0.5)), gather(records, Span(0.5, 1))
    target = summary_of_people(early, STROOP)
    said = own_earlier(early.trials, late.trials)
    impostor = Prediction(summary_of_prediction(late.trials, said, 40, STROOP, no_maps(late)), said)
    base = baselines(early, target, late, STROOP, seen=True)
    weights_BS = draw_weights(40, 300, 0)
    scale = Summary(*(np.nanstd(getattr(target, f.name), axis=0, keepdims=True) for f in dataclasses.fields(Summary)))
    everything = Evidence(
        STROOP,
        late,
        summary_of_people(late, STROOP),
        summaries_of_halves(late, STROOP),
        {TWIN: impostor, "stranger_connectome": base["group_mean"], **base},
        np.zeros((1, 0)),
        scale,
        weights_BS,
        0.95,
    )
    figures = all_figures(everything)
    r = next(figure for figure in figures if figure.metric == "mean RT r")
    assert r.twin.value > 0.9
    found = certify(
        figures, are_seen=True, num_people=40, weights_BS=weights_BS, confidence=0.95, seed=0, num_permutations=500
    )
    assert found.verdict == "no"
    assert "may not be called personal" in found.sentence
    unseen = certify(
        figures, are_seen=False, num_people=40, weights_BS=weights_BS, confidence=0.95, seed=0, num_permutations=500
    )
    assert unseen.verdict == "yes", "the refusal must come from the split, for the figures alone would pass"


def test_too_few_people_decide_nothing(evidence):
    found = certify(
        all_figures(
            dataclasses.replace(
                evidence, predictions={**evidence.predictions, TWIN: shifted_group(evidence, true_shift(evidence))}
            )
        ),
        are_seen=False,
        num_people=8,
        weights_BS=evidence.weights_BS,
        confidence=0.95,
        seed=0,
        num_permutations=500,
    )
    assert found.verdict == "undecided"
    assert "8 people support no claim between people" in found.sentence
    assert any("1 seed; train with at least 5" in line for line in found.not_tested)


def chance_figure(rng: np.random.Generator, metric: str, unit: str, weights_BS: np.ndarray) -> Figure:
    num_people = weights_BS.shape[1]
    observed_S, mine_S, other_S = rng.normal(size=(3, num_people))
    statistic = correlation if unit == "r over people" else mean_of
    twin = estimate(statistic, observed_S, mine_S, weights_BS, 0.95)
    other = estimate(statistic, observed_S, other_S, weights_BS, 0.95).value
    scores = {TWIN: mine_S, "stranger_connectome": other_S}
    return Figure(
        "t",
        metric,
        unit,
        True,
        twin,
        {"stranger_connectome": other},
        None,
        None,
        "",
        {},
        statistic,
        observed_S,
        scores,
    )


def test_where_there_is_nothing_a_test_passes_as_seldom_as_the_confidence_says():
    rng = np.random.default_rng(0)
    weights_BS = draw_weights(40, 100, 0)
    kinds = [
        ("RT CRPS", "s"),
        ("choice log-loss", "nats"),
        ("mean RT r beyond covariates", "r over people"),
        ("condition effect r beyond covariates", "r over people"),
        ("own minus others, behaviour", "SD"),
    ]
    wrong = 0
    for seed in range(300):
        figures = [chance_figure(rng, *kind, weights_BS) for kind in kinds]
        found = certify(
            figures,
            are_seen=False,
            num_people=40,
            weights_BS=weights_BS,
            confidence=0.95,
            seed=seed,
            num_permutations=300,
        )
        wrong += any(test.verdict == "yes" for test in found.tests)
    # 0.05 of 300 is 15; a binomial exceeds 28 less than once in a thousand.
    assert wrong <= 28


def test_the_number_of_people_that_is_named_decides_as_often_as_the_power_says():
    """Gains of independent people, tested as on a page of 20 tests: the number named for a gain of half a standard deviation."""
    rng = np.random.default_rng(3)
    spread = 1 / np.sqrt(40) * stats.norm.isf(0.025) * np.sqrt(39 / 40)
    named = _needed(Estimate(0.5, 0.5 - spread, 0.5 + spread, 40), 0.95, 20)
    num_people = int(named.removeprefix("about ").split(" ")[0])
    gains_DS = rng.normal(0.5, 1, (4000, num_people))
    passed = stats.ttest_1samp(gains_DS, 0, axis=1, alternative="greater").pvalue < 0.05 / 20
    assert passed.mean() == pytest.approx(POWER, abs=0.04)
    assert _needed(Estimate(0.001, -1, 1.002, 40), 0.95, 20).startswith("more than 5,000 people")
    assert _needed(Estimate(0.3, np.nan, np.nan, 4), 0.95, 20).startswith("more people")


def test_no_gain_is_no_only_where_the_interval_leaves_none():
    """A point estimate below 0 whose interval allows a gain is no evidence that there is none."""
    open_gain = replaced_gain(Estimate(-0.02, -0.3, 0.26, 40))
    assert open_gain.verdict == "undecided"
    assert open_gain.needs.startswith("no gain is seen; 40 people would show one of about")
    assert replaced_gain(Estimate(-0.2, -0.3, -0.1, 40)).verdict == "no"


def replaced_gain(gain: Estimate) -> Asked:
    test = Asked("baseline", "better", "t", "RT CRPS", 0.2, "the group mean", 0.1, gain, 0.6, "sign flips over people")
    return _decided(test, 1.0, 0.95, 20)


def test_permutation_p_values_are_scipys():
    rng = np.random.default_rng(0)
    observed_S = rng.normal(size=25)
    predicted_S = 0.4 * observed_S + rng.normal(size=25)
    expected = stats.permutation_test(
        (observed_S, predicted_S),
        lambda x, y: stats.pearsonr(x, y)[0],
        permutation_type="pairings",
        alternative="greater",
        n_resamples=5000,
        rng=rng,
    ).pvalue
    assert permutation_p(observed_S, predicted_S, 20_000, 0) == pytest.approx(expected, abs=0.01)
    gain_S = rng.normal(0.2, 1, 30)
    expected = stats.permutation_test(
        (gain_S,), np.mean, permutation_type="samples", alternative="greater", n_resamples=5000, rng=rng
    ).pvalue
    assert sign_flip_p(gain_S, 20_000, 0) == pytest.approx(expected, abs=0.02)


def test_holms_correction_is_written_out():
    assert holm([0.01, 0.02, 0.5, float("nan")])[:3] == pytest.approx([0.03, 0.04, 0.5])
    assert np.isnan(holm([0.01, float("nan")])[1])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_pages_say_what_the_certificate_says(evidence):
    found = certified(evidence, shifted_group(evidence, true_shift(evidence)))
    notes = reading_notes(found, confidence=0.95, num_draws=500, num_permutations=2000)
    plain = json.loads(json.dumps(found.to_plain(), allow_nan=False))
    assert plain["verdict"] == "yes"
    for text in (to_markdown(found, notes), to_html(found, notes)):
        assert found.sentence in text
        assert text.count("beyond age, sex, site and motion") >= 2
        assert "no medical advice" in text
    assert to_markdown(found, notes).count("\n| ") == len(found.tests) + 1
    hostile = dataclasses.replace(found, sentence="<script>")
    assert "<script>" not in to_html(hostile, notes)
