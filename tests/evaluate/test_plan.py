"""Power: nothing comes out of nothing, more is found with more, and the plan says what its rows say."""

import json

import numpy as np
import pytest
from scipy import stats

from dtb.config import Config, PlanConfig, SynthConfig
from dtb.errors import OutputInUseError
from dtb.evaluate.plan import in_words, plan
from dtb.evaluate.power import Outcome, Setting, came_out, make_study, outcome, predicted_r, settings

SMALL = SynthConfig(num_regions=12, num_causal_edges=6)


def test_what_has_no_effect_comes_out_at_the_level_of_significance():
    rng = np.random.default_rng(0)
    hits = sum(came_out(predicted_r(rng.normal(size=(40, 30)), rng.normal(size=40)), 40, 0.05) for _ in range(200))
    # A binomial at 0.05 exceeds 20 of 200 once in a thousand.
    assert hits <= 20


def test_r_of_an_exact_law_is_one_and_people_without_behaviour_do_not_count():
    rng = np.random.default_rng(0)
    edges_SE = rng.normal(size=(200, 5))
    target_S = edges_SE @ np.arange(5.0)
    target_S[3] = np.nan
    assert predicted_r(edges_SE, target_S) > 0.999


def test_the_level_of_significance_is_students():
    r = 0.3
    p = stats.t.sf(r * np.sqrt(44 / (1 - r**2)), 44)
    assert came_out(r, 50, p + 1e-6)
    assert not came_out(r, 50, p - 1e-6)


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
    assert outcome(Setting(60, 5.0, 40), [0.9] * 9 + [-0.5], 0.05).power == 0.9


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
