"""Power: nothing comes out of nothing, more is found with more, and the plan says what its rows say."""

import dataclasses
import json

import numpy as np
import pytest

from dtb.config import Config, PlanConfig, SynthConfig
from dtb.errors import ConfigurationError, OutputInUseError
from dtb.evaluate.planning.plan import in_words, plan
from dtb.evaluate.planning.power import Outcome, Setting, make_study, outcome, settings, strength_of
from dtb.evaluate.planning.verdict import Verdict, partial_r
from dtb.results.cohort import PlanResult

SMALL = SynthConfig(num_regions=12, num_causal_edges=6)


@pytest.mark.slow
def test_connectomes_are_nearer_the_truth_with_more_rest_and_behaviour_with_more_trials():
    config = PlanConfig(people=(60,), rest_minutes=(2.0, 40.0), trials=(10, 400))
    study, again = (make_study(config, SMALL, 3) for _ in range(2))
    np.testing.assert_array_equal(study.edges_SE[2.0], again.edges_SE[2.0])
    long = make_study(PlanConfig(people=(60,), rest_minutes=(200.0,), trials=(3000,)), SMALL, 3)

    def nearness(minutes: float) -> float:
        return float(np.corrcoef(study.edges_SE[minutes].ravel(), long.edges_SE[200.0].ravel())[0, 1])

    def agreement(trials: int) -> float:
        return float(
            np.corrcoef(
                *(of.columns_SY[:, 0] for of in (study.tasks["stroop"].only(60, trials), long.tasks["stroop"]))
            )[0, 1]
        )

    assert nearness(40.0) > nearness(2.0)
    assert agreement(400) > agreement(10)


def test_settings_vary_one_thing_at_a_time():
    chosen = settings(PlanConfig(people=(40, 20), rest_minutes=(5, 10, 20), trials=(40, 80, 160)))
    assert len(chosen) == len(set(chosen)) == 2 * (3 + 3 - 1)
    assert all(each.rest_minutes == 10 or each.trials == 80 for each in chosen)


def test_the_sentence_names_the_smallest_number_that_is_enough():
    config = PlanConfig(people=(20, 40), rest_minutes=(5.0,), trials=(40,), power=0.8)
    rows = [Outcome(Setting(people, 5.0, 40), power, 0, 1, 0.1, 0.3, 10) for people, power in ((20, 0.5), (40, 0.85))]
    assert "5 minutes of rest: 40 people" in in_words(rows, config)
    assert "more than 20" in in_words(rows[:1], config)
    assert "by all 10 tests of a certificate" in in_words(rows, config)


def test_power_is_the_share_that_is_called_personal_and_no_the_share_that_is_told_so():
    found = (
        [Verdict(True, False, 10, 0.4)] * 6 + [Verdict(False, True, 10, -0.2)] * 3 + [Verdict(False, False, 10, 0.1)]
    )
    summed = outcome(Setting(60, 5.0, 40), found)
    assert (summed.power, summed.no, summed.num_tests) == (0.6, 0.3, 10)
    assert summed.mean_r == pytest.approx(0.19)
    # Clopper and Pearson's interval of 6 of 10.
    assert (summed.lower, summed.upper) == pytest.approx((0.2624, 0.8784), abs=1e-4)


SIZED = PlanConfig(people=(40, 100), rest_minutes=(5.0, 20.0), trials=(40, 160), num_cohorts=10)


@pytest.mark.slow
def test_effects_of_a_given_size_give_studies_of_that_size():
    size = 0.4
    synth = dataclasses.replace(SMALL, trait_strength=strength_of(size, SIZED, SMALL, 0))
    found = []
    for seed in range(100, 112):
        study = make_study(SIZED, synth, seed)
        found.append(partial_r(study.edges_SE[20.0], study.tasks["stroop"], study.facts, "mean_rt"))
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


@pytest.mark.slow
def test_the_stage_writes_table_and_picture(tmp_path, capsys):
    config = Config(synth=SMALL, plan=PlanConfig(people=(20, 60), rest_minutes=(10.0,), trials=(40,), num_cohorts=10))
    plan(config, tmp_path / "out", resume=False, dry_run=True)
    assert not (tmp_path / "out").exists()
    plan(config, tmp_path / "out", resume=False)
    found = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [row["people"] for row in found["rows"]] == [20, 60]
    assert found["rows"][1]["power"] >= found["rows"][0]["power"]
    assert (tmp_path / "out" / "plan.png").read_bytes().startswith(b"\x89PNG")
    rests, _ = PlanResult(tmp_path / "out").plot().axes
    assert rests.lines[0].get_xdata().tolist() == [20, 60]
    assert rests.lines[0].get_ydata().tolist() == [row["power"] for row in found["rows"]]
    assert rests.lines[1].get_ydata()[0] == config.plan.power
    assert "as good as ridge regression needs" in capsys.readouterr().out
    assert {"power", "no", "num_tests"} <= found["rows"][0].keys()
    with pytest.raises(OutputInUseError):
        plan(config, tmp_path / "out", resume=False)
