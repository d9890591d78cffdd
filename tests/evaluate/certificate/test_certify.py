"""The certificate calls personal what is, refuses what is not, and is wrong as seldom as it says."""

import dataclasses
import html
import json

import numpy as np
import pytest
from scipy import stats

from dtb.evaluate.certificate.certificate import Certificate
from dtb.evaluate.certificate.certificate import CertificateTest as Asked
from dtb.evaluate.certificate.certify import certify
from dtb.evaluate.certificate.comparisons import POWER, decided, needed, p_of_no
from dtb.evaluate.certificate.page import reading_notes, to_html, to_markdown
from dtb.evaluate.certificate.provenance import about
from dtb.evaluate.certificate.rows import MOST_ROWS, first_rows
from dtb.evaluate.predictors.baselines import of_regression
from dtb.evaluate.predictors.controls import with_code
from dtb.evaluate.predictors.predictions import (
    Prediction,
    Summary,
    TrialPrediction,
    no_maps,
    summaries_of_halves,
    summary_of_people,
    summary_of_prediction,
)
from dtb.evaluate.predictors.table import baselines
from dtb.evaluate.scores.covariates import Covariates, basis_with_group, covariate_basis
from dtb.evaluate.scores.coverage import LEVELS, metric_of
from dtb.evaluate.scores.evidence import Evidence, Strangers
from dtb.evaluate.scores.figure import TWIN, Figure, make_figure, share_in_words
from dtb.evaluate.scores.figures import all_figures
from dtb.evaluate.scores.observed import collect
from dtb.evaluate.scores.permutations import freedman_lane_p, holm, sign_flip_p
from dtb.evaluate.scores.picked import with_picked
from dtb.evaluate.scores.statistics import Estimate, PartialCorrelation, draw_weights, estimate, mean_of
from dtb.shards.split import Span
from tests.evaluate.people import STROOP, make_people

NOWHERE = np.zeros(0, np.int64)
ALL = Covariates(("age", "sex", "site", "motion"), ())


WHOLE = Span(0.0, 1.0)


def gather(records, span=WHOLE):
    return collect(records, STROOP, span, NOWHERE, np.zeros(0))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    training, people = (gather(some) for some in np.split(np.array(make_people(80, with_bold=False)), [40]))
    target = summary_of_people(training, STROOP)
    predictions = baselines(training, target, people, STROOP, seen=False)
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
        covariates=ALL,
        covariates_SC=covariate_basis(people.covariates, ALL.known),
    )


def shifted_group(evidence: Evidence, shift_S: np.ndarray) -> Prediction:
    """Return, for everybody, the group mean, made faster or slower by what is said of each person."""
    group = evidence.predictions["group_mean"].trials
    trials = evidence.people.trials
    shift_J = shift_S[trials.person_J]
    error_J = np.abs(group.mean_rt_J + shift_J - trials.rt_J) * 0.7
    said = TrialPrediction(group.outcome_JO, group.mean_rt_J + shift_J, error_J)
    return Prediction(summary_of_prediction(trials, said, len(evidence.people), STROOP, no_maps(evidence.people)), said)


def dealt_once(stranger: Prediction) -> Strangers:
    """Return what is said from strangers' connectomes, in one deal: too few for a matrix, so that signs are flipped."""
    num_people = len(stranger.summary.mean_rt_ST)
    return Strangers(
        (stranger,), np.roll(np.arange(num_people), 7)[None], np.zeros(num_people, int), np.arange(num_people)
    )


def figures_of(evidence: Evidence, shift_S: np.ndarray, stranger_S: np.ndarray | None = None) -> list[Figure]:
    """Make the figures of a twin that says `shift_S` of people, and of strangers by default what it says of others."""
    twin, stranger = (
        shifted_group(evidence, some_S)
        for some_S in (shift_S, np.roll(shift_S, 7) if stranger_S is None else stranger_S)
    )
    predictions = {**evidence.predictions, TWIN: twin}
    return all_figures(dataclasses.replace(evidence, predictions=predictions, strangers=dealt_once(stranger)))


def certified(
    evidence: Evidence, shift_S: np.ndarray, stranger_S: np.ndarray | None = None, *, num_seeds: int = 5
) -> Certificate:
    return certify(
        figures_of(evidence, shift_S, stranger_S),
        are_seen=False,
        covariates=evidence.covariates,
        num_seeds=num_seeds,
        num_people=len(evidence.people),
        weights_BS=evidence.weights_BS,
        confidence=0.95,
        num_permutations=2000,
    )


def true_shift(evidence: Evidence) -> np.ndarray:
    observed_S = evidence.observed.mean_rt_ST[:, 0]
    return observed_S - observed_S.mean()


def test_a_twin_that_knows_unseen_people_is_personal(evidence):
    found = certified(evidence, true_shift(evidence))
    assert found.verdict == "yes"
    assert "personal, for 40 people it had not seen" in found.sentence
    assert "differences in speed between people" in found.sentence
    # Four of the 40 have no known motion, so that covariates cannot be taken out of theirs.
    assert "(stroop: 36 people)" in found.sentence


def test_a_regression_in_the_twins_place_beats_no_baseline(evidence):
    """Of a regression, trials are predicted too, as fast and as evenly as it says. A twin that is one never beats itself."""
    for name in ("ridge", "kernel_ridge", "cpm", "latents_quadratic", "demographics_motion", "stack"):
        stranger = evidence.predictions["group_mean"]
        predictions = {**evidence.predictions, TWIN: evidence.predictions[name]}
        figures = all_figures(dataclasses.replace(evidence, predictions=predictions, strangers=dealt_once(stranger)))
        crps = next(figure for figure in figures if figure.metric == "RT CRPS")
        assert crps.baselines[name] == pytest.approx(crps.twin.value)
        found = certify(
            figures,
            are_seen=False,
            covariates=evidence.covariates,
            num_people=40,
            weights_BS=evidence.weights_BS,
            confidence=0.95,
            num_permutations=2000,
        )
        assert all(test.verdict != "yes" for test in found.tests if test.kind == "baseline"), name
        assert "It beats every baseline" not in found.sentence


def test_what_fewer_trainings_than_five_show_is_provisional(evidence):
    for num_seeds, words in ((1, "As far as one training shows, this twin is"), (4, "As far as 4 trainings show")):
        found = certified(evidence, true_shift(evidence), num_seeds=num_seeds)
        assert found.verdict == found.to_plain()["verdict"] == "provisional"
        assert found.sentence.startswith(words)
        assert "personal, for 40 people it had not seen" in found.sentence
        assert "a claim needs 5 seeds (dtb train --seed 0 to 4" in found.sentence
        assert '<p class="badge provisional">' in to_html(found, [])


def test_what_stimuli_say_of_a_person_is_not_the_connectomes(evidence):
    """Where a staircase shows how slow a person is, a stranger's connectome says it as well."""
    rng = np.random.default_rng(0)
    shift_S = true_shift(evidence)
    for noise in (0.0, 0.01):
        found = certified(evidence, shift_S, shift_S + noise * rng.normal(size=len(shift_S)))
        partial = next(test for test in found.tests if test.metric == "mean RT partial r")
        assert partial.twin > 0.8
        assert partial.verdict != "yes"
        assert found.verdict in {"no", "undecided"}


@pytest.mark.parametrize(
    ("known", "lacking", "words"),
    [
        (("sex",), ("age", "motion"), "age and motion"),
        (("age", "sex", "motion"), ("site",), "site"),
    ],
)
def test_only_covariates_that_are_known_are_named_and_without_them_nothing_is_a_persons_own(
    evidence, known, lacking, words
):
    covariates = Covariates(known, lacking)
    basis_SC = covariate_basis(evidence.people.covariates, known)
    found = certified(
        dataclasses.replace(evidence, covariates=covariates, covariates_SC=basis_SC), true_shift(evidence)
    )
    assert found.verdict == "undecided"
    partial = next(test for test in found.tests if test.metric == "mean RT partial r")
    assert partial.verdict == "undecided"
    assert partial.needs == f"needs {words} of at least 90% of the people"
    assert f"beyond {covariates.in_words}, better than" in partial.claim
    assert f"Undecided: needs {words}" in found.sentence
    page = to_markdown(found, reading_notes(found, confidence=0.95, num_draws=500, num_permutations=2000))
    assert "age, sex, site and motion" not in page
    assert any(line.startswith(f"beyond {words}: needs") for line in found.not_tested)


def test_both_conditions_have_to_hold_in_one_task_and_in_enough_people():
    rng = np.random.default_rng(0)
    num_people = 60
    weights_BS = draw_weights(num_people, 1000, 0)
    partial = PartialCorrelation(np.full((num_people, 1), num_people**-0.5))
    loss_S, trait_S = rng.normal(1, 0.2, num_people), rng.normal(size=num_people)

    def of_use(task: str, gain: float) -> Figure:
        scores = {TWIN: loss_S - gain + 0.05 * rng.normal(size=num_people), "stranger_connectome": loss_S}
        return make_figure(
            task,
            "RT CRPS",
            "seconds",
            mean_of,
            np.zeros(num_people),
            scores,
            weights_BS,
            0.95,
            higher_is_better=False,
        )

    def of_person(task: str, noise: float, known: int = num_people) -> Figure:
        scores = {
            TWIN: trait_S + noise * rng.normal(size=num_people),
            "stranger_connectome": rng.normal(size=num_people),
        }
        observed_S = np.where(np.arange(num_people) < known, trait_S, np.nan)
        added_S = scores[TWIN] - scores["stranger_connectome"]
        return make_figure(
            task,
            "mean RT partial r",
            "r over people",
            partial,
            observed_S,
            scores,
            weights_BS,
            0.95,
            added_S=added_S,
        )

    def found(*figures: Figure) -> Certificate:
        return certify(
            figures,
            are_seen=False,
            num_people=num_people,
            weights_BS=weights_BS,
            confidence=0.95,
            covariates=ALL,
            num_seeds=5,
        )

    together = found(of_use("hammer", 0.1), of_person("hammer", 0.3))
    assert together.verdict == "yes"
    assert "(hammer: 60 people)" in together.sentence
    apart = found(of_use("hammer", 0.1), of_person("hammer", 1e6), of_use("stroop", 0.0), of_person("stroop", 0.3))
    assert apart.verdict == "undecided"
    assert "both in one task: its connectome is of use to it in hammer, and what it says" in apart.sentence
    rare = found(of_use("hammer", 0.1), of_person("hammer", 0.01, known=29))
    (person,) = [test for test in rare.tests if test.kind == "person"]
    assert (rare.verdict, person.verdict) == ("undecided", "undecided")
    assert person.needs == "at least 30 people: 29 support no claim"
    assert person.gain.num_people == 29
    ruled_out = found(of_use("hammer", -0.1), of_person("hammer", 0.3))
    assert ruled_out.verdict == "no"


def test_what_is_not_defined_is_undecided_and_what_is_identical_is_no(evidence):
    nothing = replaced_gain(Estimate(np.nan, np.nan, np.nan, 1, "not defined: no variation over people, or too few"))
    assert nothing.verdict == "undecided"
    assert nothing.needs == "not defined because of this: no variation over people, or too few"
    far = dataclasses.replace(open_test(Estimate(0.5, 0.1, 0.9, 40)), alone=Estimate(0.05, -0.3, 0.4, 40))
    assert decided(far, 1.0, 1.0, 0.95, 20, ALL).needs == needed(far.alone, 0.95, 20)
    below = dataclasses.replace(far, alone=Estimate(-0.2, -0.3, -0.1, 40))
    assert decided(below, 1.0, p_of_no(below, 0.95), 0.95, 20, ALL).verdict == "no"
    same = replaced_gain(Estimate(-1e-17, -3e-17, 2e-17, 40))
    assert (same.verdict, same.needs) == ("no", "the two are identical")
    assert "-0.000" not in to_markdown(Certificate("no", "", (same,), ()), [])


def test_every_baseline_that_was_computed_is_on_the_page(evidence):
    found = certified(evidence, true_shift(evidence))
    agreement = next(test for test in found.tests if test.metric == "choice agreement")
    assert agreement.kind == "baseline"
    (reached,) = [each for each in found.figures if each.metric == "choice agreement"]
    assert {"always_correct", "independent_errors", "group_mean"} <= reached.values.keys()
    partial = next(test for test in found.tests if test.metric == "mean RT partial r")
    assert "regression" in partial.best or "predictive modelling" in partial.best
    markdown, html = to_markdown(found, []), to_html(found, [])
    assert f"{partial.best}: {partial.best_value:.3f}" in markdown
    assert f"<dt>best baseline</dt><dd>{partial.best}: {partial.best_value:.3f}</dd>" in html
    for page in (markdown, html):
        assert f"{reached.values['always_correct']:.3f}" in page
        assert "independent errors" in page


def test_the_page_says_what_is_certified_and_shows_no_persons_own_facts(evidence, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    described = {"kind": "subjects", "held_out": "", "fold": 2, "num_folds": 5, "seed": 3}
    described |= {"cohort_hash": "c" * 64, "split_hash": "d" * 64, "stimuli_depend_on_responses": ["stopsignal"]}
    found = dataclasses.replace(
        certified(evidence, true_shift(evidence)), about=about(described, evidence.people.covariates)
    )
    notes = reading_notes(found, confidence=0.95, num_draws=500, num_permutations=2000)
    assert json.loads(json.dumps(found.to_plain(), allow_nan=False))["about"]["split_hashes"] == ["d" * 64]
    for page in (to_markdown(found, notes), to_html(found, notes)):
        for words in (
            "c" * 64,
            "d" * 64,
            "fold 2 (of 0 to 4)",
            "1 (seed 3)",
            "2023-11-14, by dtb",
            "sex: F 20, M 20",
            "In stopsignal, what is shown depends on what the person did before",
        ):
            assert words in page
    few = about(described, [{"site": "rare", "sex": "F", "age": 33.3}] * 4)["people"]
    assert few == {"number": 4, "sex": {"smaller or unknown": 4}, "site": {"smaller or unknown": 4}}


def test_fewer_people_are_named_with_more_trials_where_these_are_unreliable():
    gain = Estimate(0.2, 0.2 - 0.3, 0.2 + 0.3, 40)
    alone, cheaper = (needed(gain, 0.95, 10, reliability, "trials") for reliability in (0.98, 0.2))
    assert alone == needed(gain, 0.95, 10)
    assert cheaper.startswith(f"{alone}, or ")
    assert cheaper.endswith(" with twice the trials")


def test_a_share_of_what_is_possible_is_none_where_nothing_is_known_to_bound():
    figure = make_figure(
        "t",
        "identification by behaviour",
        "share of people",
        mean_of,
        np.zeros(40),
        {TWIN: np.full(40, 0.5)},
        draw_weights(40, 10, 0),
        0.95,
        ceilings={"between_halves": 0.1},
    )
    assert figure.ceiling is figure.fraction_of_ceiling is None
    assert share_in_words(-7.53, is_loss=True) == "below the group mean"
    assert share_in_words(-0.1, is_loss=False) == "below 0"


def test_a_twin_that_says_the_same_of_everybody_is_not(evidence):
    found = certified(evidence, np.zeros(40))
    assert found.verdict != "yes"
    assert all(test.verdict != "yes" for test in found.tests)
    assert "it does not show that its connectome is of use to it nor that what it says of a person" in found.sentence


def test_a_twin_that_knows_age_sex_site_and_motion_alone_is_not(evidence):
    said_S = evidence.predictions["demographics_motion"].summary.mean_rt_ST[:, 0]
    found = certified(evidence, said_S - said_S.mean())
    assert found.verdict != "yes"


def test_seen_people_never_make_a_twin_personal_and_an_impostor_scores_high():
    """An impostor that is told codes alone, to which it fitted what these people did earlier, reaches the r of twins that are published."""
    records = make_people(40, with_bold=False, trait_weight=0.15)
    early, late = gather(records, Span(0, 0.5)), gather(records, Span(0.5, 1))
    target = summary_of_people(early, STROOP)
    codes_SE = np.stack([with_code(record, 190, 0).connectome_E for record in records]).astype(np.float64)
    figures_SF = np.concatenate([target.mean_rt_ST, target.accuracy_ST], axis=1)
    weights_EF = np.linalg.pinv(codes_SE) @ figures_SF

    def told(codes_SE: np.ndarray) -> Prediction:
        rt_S1, accuracy_S1 = np.split(codes_SE @ weights_EF, 2, axis=1)
        # Half of the trials say little of accuracy: drawn towards the mean, as a twin must that is to fit the other half.
        accuracy_S1 = accuracy_S1.mean() + 0.3 * (accuracy_S1 - accuracy_S1.mean())
        summary = dataclasses.replace(target, mean_rt_ST=rt_S1, accuracy_ST=accuracy_S1)
        said = of_regression(early.trials, late.trials, target, summary)
        return Prediction(summary_of_prediction(late.trials, said, 40, STROOP, no_maps(late)), said)

    impostor, another = told(codes_SE), told(np.roll(codes_SE, 7, axis=0))
    base = baselines(early, target, late, STROOP, seen=True)
    weights_BS = draw_weights(40, 300, 0)
    scale = Summary(*(np.nanstd(getattr(target, f.name), axis=0, keepdims=True) for f in dataclasses.fields(Summary)))
    everything = Evidence(
        STROOP,
        late,
        summary_of_people(late, STROOP),
        summaries_of_halves(late, STROOP),
        {TWIN: impostor, **base},
        np.zeros((1, 0)),
        scale,
        weights_BS,
        0.95,
        covariates=ALL,
        covariates_SC=covariate_basis(late.covariates, ALL.known),
        strangers=dealt_once(another),
    )
    figures = all_figures(everything)
    r = next(figure for figure in figures if figure.metric == "mean RT r")
    assert r.twin.value > 0.9
    settings = {"num_people": 40, "weights_BS": weights_BS, "confidence": 0.95, "num_permutations": 500}
    found = certify(figures, are_seen=True, covariates=ALL, num_seeds=5, **settings)
    assert found.verdict == "no"
    assert "may not be called personal" in found.sentence
    unseen = certify(figures, are_seen=False, covariates=ALL, num_seeds=5, **settings)
    assert unseen.verdict == "yes", "the refusal must come from the split, for the figures alone would pass"


def test_too_few_people_decide_nothing(evidence):
    found = certify(
        figures_of(evidence, true_shift(evidence)),
        are_seen=False,
        covariates=ALL,
        num_people=8,
        weights_BS=evidence.weights_BS,
        confidence=0.95,
        num_permutations=500,
    )
    assert found.verdict == "undecided"
    assert "8 people support no claim between people" in found.sentence
    assert any("1 seed; train with at least 5" in line for line in found.not_tested)


def chance_figure(rng: np.random.Generator, metric: str, unit: str, weights_BS: np.ndarray) -> Figure:
    num_people = weights_BS.shape[1]
    observed_S, mine_S, other_S = rng.normal(size=(3, num_people))
    partial = PartialCorrelation(np.full((num_people, 1), num_people**-0.5))
    statistic = partial if unit == "r over people" else mean_of
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


@pytest.mark.slow
def test_where_there_is_nothing_a_test_passes_as_seldom_as_the_confidence_says():
    rng = np.random.default_rng(0)
    weights_BS = draw_weights(40, 100, 0)
    kinds = [
        ("RT CRPS", "s"),
        ("choice log-loss", "nats"),
        ("mean RT partial r", "r over people"),
        ("condition effect partial r", "r over people"),
        ("own minus others, behaviour", "SD"),
    ]
    wrong = 0
    for _ in range(300):
        figures = [chance_figure(rng, *kind, weights_BS) for kind in kinds]
        found = certify(
            figures,
            are_seen=False,
            num_people=40,
            weights_BS=weights_BS,
            confidence=0.95,
            covariates=ALL,
            num_permutations=300,
        )
        wrong += any(test.verdict == "yes" for test in found.tests)
    # 0.05 of 300 is 15; a binomial exceeds 28 less than once in a thousand.
    assert wrong <= 28


def test_the_number_of_people_that_is_named_decides_as_often_as_the_power_says():
    """Gains of independent people, tested as on a page of 20 tests: the number named for a gain of half a standard deviation."""
    rng = np.random.default_rng(3)
    spread = 1 / np.sqrt(40) * stats.norm.isf(0.025) * np.sqrt(39 / 40)
    named = needed(Estimate(0.5, 0.5 - spread, 0.5 + spread, 40), 0.95, 20)
    num_people = int(named.removeprefix("about ").split(" ")[0])
    gains_DS = rng.normal(0.5, 1, (4000, num_people))
    passed = stats.ttest_1samp(gains_DS, 0, axis=1, alternative="greater").pvalue < 0.05 / 20
    assert passed.mean() == pytest.approx(POWER, abs=0.04)
    assert needed(Estimate(0.001, -1, 1.002, 40), 0.95, 20).startswith("more than 5,000 people")
    assert needed(Estimate(0.3, np.nan, np.nan, 4), 0.95, 20).startswith("more people")


def test_no_gain_is_no_only_where_the_interval_leaves_none():
    """A point estimate below 0 whose interval allows a gain is no evidence that there is none."""
    open_gain = replaced_gain(Estimate(-0.02, -0.3, 0.26, 40))
    assert open_gain.verdict == "undecided"
    assert open_gain.needs.startswith("no gain is seen; 40 people would show one of about")
    assert replaced_gain(Estimate(-0.2, -0.3, -0.1, 40)).verdict == "no"


def replaced_gain(gain: Estimate) -> Asked:
    return decided(open_test(gain), 1.0, p_of_no(open_test(gain), 0.95), 0.95, 20, ALL)


def open_test(gain: Estimate) -> Asked:
    return Asked("baseline", "better", "t", "RT CRPS", 0.2, "the group mean", 0.1, gain, 0.6, "sign flips over people")


@pytest.mark.slow
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
    # With nothing to take out but the mean, dealing residuals is dealing people.
    mean_alone = PartialCorrelation(np.full((25, 1), 0.2))
    assert freedman_lane_p(mean_alone, observed_S, predicted_S, 20_000, 0) == pytest.approx(expected, abs=0.01)
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
    found = certified(evidence, true_shift(evidence))
    notes = reading_notes(found, confidence=0.95, num_draws=500, num_permutations=2000)
    plain = json.loads(json.dumps(found.to_plain(), allow_nan=False))
    assert plain["verdict"] == "yes"
    for text in (to_markdown(found, notes), to_html(found, notes)):
        assert found.sentence in html.unescape(text)
        assert text.count("beyond age, sex, site and motion") >= 2
        assert "no medical advice" in text
    page = to_markdown(dataclasses.replace(found, figures=()), notes)
    short, behind = page.split("<details>")
    assert behind.count("\n| ") == len(found.tests) + 1
    # The page itself is one sentence and at most seven rows.
    rows = [line for line in short.splitlines() if line.startswith("| ")][1:]
    assert 0 < len(rows) <= MOST_ROWS == 7
    assert short.splitlines()[2] == f"**Yes.** {found.sentence}"
    speed = next(row for row in rows if "who is slow, beyond covariates" in row).split(" | ")
    test = next(test for test in found.tests if test.metric == "mean RT partial r")
    assert (speed[0], speed[2], speed[3]) == ("| ✓ yes", "stroop", f"{test.twin:.3f}")
    assert speed[5] == f"{test.ceiling:.3f}"
    assert f"[+{test.gain.lower:.3f}, +{test.gain.upper:.3f}]" in speed[6]
    again = [dataclasses.replace(each, task=f"t{task}", verdict="no") for task in range(9) for each in found.tests]
    assert len(first_rows([*found.tests, *again])) == len(rows)
    assert "yes in 1 of 10 tasks" in first_rows([*found.tests, *again])[0][1][2]
    assert to_html(found, notes).index("who is slow, beyond covariates") < to_html(found, notes).index("<details")
    hostile = dataclasses.replace(found, sentence="<script>")
    assert "<script>" not in to_html(hostile, notes)


def test_coverage_of_bands_is_a_row_and_says_no_where_they_hold_too_few_people(evidence):
    def with_bands(*shares):
        held = [
            make_figure(
                "stroop",
                metric_of(level),
                "share of people",
                mean_of,
                np.zeros(40),
                {TWIN: (np.arange(40) < round(40 * share)).astype(float)},
                evidence.weights_BS,
                0.95,
            )
            for level, share in zip(LEVELS, shares, strict=True)
        ]
        return certify(
            [*figures_of(evidence, true_shift(evidence), None), *held],
            are_seen=False,
            num_people=40,
            weights_BS=evidence.weights_BS,
            confidence=0.95,
            covariates=ALL,
            num_permutations=300,
        )

    good, narrow = with_bands(0.5, 0.825, 0.9), with_bands(0.5, 0.6, 0.65)
    (verdict, cells), (no, other) = (first_rows(found.tests, found.coverage)[-1] for found in (good, narrow))
    assert (verdict, no) == ("yes", "no")
    assert cells[:4] == ("✓ yes", "unseen people within the bands of 50%, 80% and 90%", "stroop", "50%, 82%, 90%")
    # Clopper and Pearson's interval of 26 of 40.
    assert other[-1] == "65% [48%, 79%] within 90%"
    assert [each["share"] for each in json.loads(json.dumps(narrow.to_plain()))["coverage"]] == [0.5, 0.6, 0.65]
    many = [
        dataclasses.replace(test, metric=metric)
        for test in good.tests
        for metric in ("BOLD map partial r", test.metric)
    ]
    assert len(first_rows(many, good.coverage)) == MOST_ROWS
    assert first_rows(many, good.coverage)[-1][1][1].startswith("unseen people within")
    assert "unseen people within the bands" in to_html(good, [])


def test_what_is_beaten_is_said_to_be_picked_on_training_people_where_it_is(evidence):
    figures = figures_of(evidence, true_shift(evidence), None)
    picked = with_picked(
        figures, {("stroop", "mean RT r"): "group_mean", ("stroop", "RT CRPS"): "ridge"}, evidence.weights_BS, 0.95
    )
    tests = certify(
        picked, are_seen=False, num_people=40, weights_BS=evidence.weights_BS, confidence=0.95, covariates=ALL
    ).tests
    claims = {test.metric: (test.claim, test.is_best_picked) for test in tests if test.kind == "baseline"}
    assert claims["RT CRPS"] == (
        "reaction times are predicted better than by the baseline that predicts training people best",
        True,
    )
    assert claims["choice log-loss"] == ("choices are predicted better than by any baseline", False)


def test_a_twin_that_tells_patients_from_others_knows_no_person(evidence):
    """Patients are slower, and the twin says so of them all: with the group left in it seems to know people, and does not without."""
    rng, names = np.random.default_rng(0), ("age", "sex", "group")
    patient_S = np.arange(len(evidence.people)) // 2 % 2
    facts = [
        {**who, "group": ["control", "patient"][is_one]}
        for who, is_one in zip(evidence.people.covariates, patient_S, strict=True)
    ]
    people = dataclasses.replace(evidence.people, covariates=facts)
    slower_S = 0.5 * patient_S - 0.25
    observed = dataclasses.replace(evidence.observed, mean_rt_ST=evidence.observed.mean_rt_ST + slower_S[:, None])
    of_patients = dataclasses.replace(
        evidence,
        people=people,
        observed=observed,
        covariates=Covariates(names, ()),
        covariates_SC=covariate_basis(facts, names),
        group_left_in_SC=basis_with_group(facts, names),
    )
    figures = figures_of(of_patients, slower_S + 0.01 * rng.normal(size=len(patient_S)))
    value = {figure.metric: figure.twin.value for figure in figures}
    assert value["mean RT partial r, with group left in"] > 0.7
    assert abs(value["mean RT partial r"]) < 0.35
    found = certified(of_patients, slower_S + 0.01 * rng.normal(size=len(patient_S)))
    assert found.verdict != "yes"
    test = next(test for test in found.tests if test.metric == "mean RT partial r")
    assert "beyond age, sex and group" in test.claim
    assert not any("left in" in test.metric for test in found.tests)


def means_figure(metric: str, gain_S: np.ndarray, weights_BS: np.ndarray) -> Figure:
    scores = {TWIN: -gain_S, "stranger_connectome": np.zeros_like(gain_S)}
    return make_figure("t", metric, "s", mean_of, 0 * gain_S, scores, weights_BS, 0.95, higher_is_better=False)


def certified_means(gains: list[np.ndarray]) -> Certificate:
    weights_BS = draw_weights(len(gains[0]), 300, 0)
    figures = [
        dataclasses.replace(means_figure("RT CRPS", gain_S, weights_BS), task=f"t{place}")
        for place, gain_S in enumerate(gains)
    ]
    return certify(
        figures,
        are_seen=False,
        num_people=len(gains[0]),
        weights_BS=weights_BS,
        confidence=0.95,
        covariates=ALL,
        num_permutations=300,
    )


@pytest.mark.slow
def test_no_is_corrected_for_the_number_of_tests_as_yes_is():
    """Of many tests of nothing, one in forty was answered by no for chance alone, and of twenty some for certain."""
    rng, uncorrected, wrong = np.random.default_rng(0), 0, 0
    for _ in range(100):
        found = certified_means(list(rng.normal(size=(10, 40))))
        wrong += any(test.verdict == "no" for test in found.tests)
        uncorrected += any(test.gain.upper <= 0 for test in found.tests)
    # 0.025 of 100 is 2.5; a binomial exceeds 8 less than once in a thousand.
    assert wrong <= 8 < uncorrected
    clear = certified_means([rng.normal(-1, 1, 40)])
    assert {test.verdict for test in clear.tests} == {"no"}


def test_what_is_identical_for_all_takes_no_place_among_the_tests():
    gain_S = np.random.default_rng(0).normal(0.4, 1, 60)
    alone = certified_means([gain_S])
    beside = certified_means([gain_S, *[np.zeros(60)] * 9])
    assert 0 < alone.tests[0].p_corrected < 0.05
    assert beside.tests[0].p_corrected == alone.tests[0].p_corrected
    identical = [test for test in beside.tests if test.task != "t0"]
    assert {(test.verdict, test.needs) for test in identical} == {("no", "the two are identical")}
