"""Power: nothing comes out of nothing, more is found with more, and the plan says what its rows say."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from dtb.config import Config, PlanConfig, SynthConfig
from dtb.errors import ConfigurationError, OutputInUseError
from dtb.evaluate.planning.plan import in_words, plan
from dtb.evaluate.planning.power import (
    NUM_TESTS,
    Outcome,
    Setting,
    make_study,
    outcome,
    predicted_r,
    settings,
    strength_of,
)
from tests.evaluate.certificate.test_certify import certified, evidence, true_shift  # noqa: F401 - a fixture

SMALL = SynthConfig(num_regions=12, num_causal_edges=6)


def facts_of(rng: np.random.Generator, num: int) -> list[dict]:
    return [
        {
            "age": rng.uniform(18, 65),
            "sex": "FM"[number % 2],
            "site": "ab"[number // 2 % 2],
            "motion": rng.gamma(4, 0.03),
        }
        for number in range(num)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("law", [lambda age_z: 0.0, lambda age_z: age_z, lambda age_z: age_z + age_z**2])
def test_what_has_no_effect_but_that_of_age_comes_out_at_the_level_of_significance(law):
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(100):
        facts = facts_of(rng, 60)
        age_z_S = np.array([(who["age"] - 41.5) / 13.6 for who in facts])
        edges_SE = rng.normal(size=(60, 30))
        edges_SE[:, :6] += age_z_S[:, None]
        p_values.append(predicted_r(edges_SE, 2 * law(age_z_S) + rng.normal(size=60), facts)[1])
    # A binomial at 0.05 exceeds 13 of 100 once in two thousand.
    assert (np.array(p_values) < 0.05).sum() <= 13


def test_r_of_an_exact_law_is_one_and_people_without_behaviour_do_not_count():
    rng = np.random.default_rng(0)
    edges_SE = rng.normal(size=(200, 5))
    target_S = edges_SE @ np.arange(5.0)
    target_S[3] = np.nan
    assert predicted_r(edges_SE, target_S, facts_of(rng, 200))[0] > 0.999


def test_the_level_of_significance_is_students_and_its_part_the_certificates():
    rng = np.random.default_rng(1)
    edges_SE, facts = rng.normal(size=(80, 5)), facts_of(rng, 80)
    r, p = predicted_r(edges_SE, edges_SE[:, 0] + 2 * rng.normal(size=80), facts)
    # Taken out are three columns of age, three of motion, one each of sex and site, and the means of five folds.
    assert p == pytest.approx(stats.t.sf(r * np.sqrt(66 / (1 - r**2)), 66))
    assert outcome(Setting(80, 5.0, 40), [(r, p)], 10 * p + 1e-6).power == 1
    assert outcome(Setting(80, 5.0, 40), [(r, p)], 10 * p - 1e-6).power == 0


def test_a_certificate_of_one_task_has_as_many_tests_as_the_plan_reckons_with(evidence):  # noqa: F811
    assert len(certified(evidence, true_shift(evidence)).tests) == NUM_TESTS


def test_connectomes_are_nearer_the_truth_with_more_rest_and_behaviour_with_more_trials():
    config = PlanConfig(people=(60,), rest_minutes=(2.0, 40.0), trials=(10, 400))
    study, again = (make_study(config, SMALL, 3) for _ in range(2))
    np.testing.assert_array_equal(study.edges_SE[2.0], again.edges_SE[2.0])
    long = make_study(PlanConfig(people=(60,), rest_minutes=(200.0,), trials=(3000,)), SMALL, 3)

    def nearness(minutes: float) -> float:
        return float(np.corrcoef(study.edges_SE[minutes].ravel(), long.edges_SE[200.0].ravel())[0, 1])

    def agreement(trials: int) -> float:
        return float(np.corrcoef(study.target_S[trials], long.target_S[3000])[0, 1])

    assert nearness(40.0) > nearness(2.0)
    assert agreement(400) > agreement(10)


def test_settings_vary_one_thing_at_a_time():
    chosen = settings(PlanConfig(people=(40, 20), rest_minutes=(5, 10, 20), trials=(40, 80, 160)))
    assert len(chosen) == len(set(chosen)) == 2 * (3 + 3 - 1)
    assert all(each.rest_minutes == 10 or each.trials == 80 for each in chosen)


def test_the_sentence_names_the_smallest_number_that_is_enough():
    config = PlanConfig(people=(20, 40), rest_minutes=(5.0,), trials=(40,), power=0.8)
    rows = [Outcome(Setting(people, 5.0, 40), power, 0, 1, 0.3) for people, power in ((20, 0.5), (40, 0.85))]
    assert "5 minutes of rest: 40 people" in in_words(rows, config)
    assert "more than 20" in in_words(rows[:1], config)
    # The power is that of one test, and not of the verdict.
    assert in_words(rows, config).endswith("has to beat strangers' connectomes as well, which takes more people.")
    assert outcome(Setting(60, 5.0, 40), [(0.9, 1e-9)] * 9 + [(-0.5, 0.9)], 0.05).power == 0.9


SIZED = PlanConfig(people=(40, 100), rest_minutes=(5.0, 20.0), trials=(40, 160), num_cohorts=10)


@pytest.mark.slow
def test_effects_of_a_given_size_give_studies_of_that_size():
    size = 0.4
    synth = dataclasses.replace(SMALL, trait_strength=strength_of(size, SIZED, SMALL, 0))
    found = []
    for seed in range(100, 112):
        study = make_study(SIZED, synth, seed)
        found.append(predicted_r(study.edges_SE[20.0], study.target_S[160], study.facts)[0])
    # Twelve studies of 100 people: four standard errors of the mean are about 0.1.
    assert np.mean(found) == pytest.approx(size, abs=0.1)


@pytest.mark.slow
def test_a_size_that_nothing_reaches_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"plan.size is 0.99.*100 people with 20 minutes of rest and 160 trials"
    ):
        strength_of(0.99, SIZED, SMALL, 0)


@pytest.mark.slow
def test_a_claim_of_a_given_size_is_planned_for(tmp_path):
    config = Config(synth=SMALL, plan=dataclasses.replace(SIZED, size=0.5))
    plan(config, tmp_path / "out", resume=False)
    found = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert found["size"] == 0.5
    assert "the partial r of 0.5 that was asked for" in found["sentence"]
    assert 0 < found["trait_strength"] < 2


def test_the_stage_writes_table_and_picture(tmp_path, capsys):
    config = Config(synth=SMALL, plan=PlanConfig(people=(20, 60), rest_minutes=(10.0,), trials=(40,), num_cohorts=10))
    plan(config, tmp_path / "out", resume=False, dry_run=True)
    assert not (tmp_path / "out").exists()
    plan(config, tmp_path / "out", resume=False)
    found = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [row["people"] for row in found["rows"]] == [20, 60]
    assert found["rows"][1]["power"] >= found["rows"][0]["power"]
    assert (tmp_path / "out" / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert "a regression needs" in capsys.readouterr().out
    with pytest.raises(OutputInUseError):
        plan(config, tmp_path / "out", resume=False)
