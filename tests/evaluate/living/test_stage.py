"""Curves over own data as a part of `dtb evaluate` and `dtb pool`: of twins with person effects, of people never seen."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from dtb.config import TwinConfig
from dtb.errors import InputDataError
from dtb.evaluate.living.baselines import BASELINES
from dtb.evaluate.living.blend import LIVING, LIVING_BLEND
from dtb.evaluate.living.stage import pooled
from dtb.evaluate.living.twin import TWINS
from dtb.evaluate.stage import evaluate
from dtb.results.twin import EvaluateResult
from tests.evaluate.people import make_people
from tests.evaluate.test_stage import SMALL, TWIN_CONFIG, by_people, lay_out

LIVING_CONFIG = TwinConfig(num_hidden=8, rank=2, encoder_widths=(6,), latent_size=3)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder, records = tmp_path_factory.mktemp("living"), make_people(22, with_bold=False)
    evaluate(SMALL, *lay_out(folder, by_people(records, 12), records, LIVING_CONFIG), folder / "out", resume=False)
    return folder / "out"


def test_every_predictor_has_every_point_of_the_curve(evaluated):
    result = EvaluateResult(evaluated)
    points = result.living.groupby("amount", sort=False)["predictor"].unique()
    assert points.index.tolist() == ["0", "5", "10", "half a run"]
    for predictors in points:
        assert {*predictors} == {*BASELINES, *TWINS, LIVING_BLEND}
    assert {"r", "R2", "log score", "CRPS", "within 50%", "within 80%", "within 90%"} == {*result.living["metric"]}
    people = result.living_people
    assert people["pseudonym"].nunique() == 8
    # What happened is the same whoever predicts it, and after however many trials.
    same = people.dropna(subset=["observed"]).groupby(["figure", "pseudonym"])["observed"].nunique()
    assert (same == 1).all()
    assert (people["variance"].dropna() > 0).all()


def test_the_certificate_says_what_a_scan_is_worth(evaluated):
    (worth,) = json.loads((evaluated / "certificate.json").read_text())["worths"]
    assert [point["num_given"] for point in worth["points"]] == [0, 5, 10, 15]
    assert "own trials" in (evaluated / "certificate.md").read_text()


@pytest.mark.slow
def test_people_without_connectomes_have_curves_and_no_claim_about_connectomes(tmp_path):
    records = [
        dataclasses.replace(record, connectome_E=np.full_like(record.connectome_E, np.nan))
        for record in make_people(22, with_bold=False)
    ]
    evaluate(SMALL, *lay_out(tmp_path, by_people(records, 12), records, LIVING_CONFIG), tmp_path / "out", resume=False)
    found = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert {test["kind"] for test in found["tests"]} == {"baseline"}
    assert any("nobody of the people tested has one" in each for each in found["not_tested"])
    assert not found["worths"]
    assert {*EvaluateResult(tmp_path / "out").living["predictor"]} >= {
        LIVING,
        "group_mean",
        "own_mean",
        "trial_regression",
    }


def test_folds_are_pooled_and_seeds_averaged(evaluated, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    rows = pd.read_parquet(evaluated / "living_people.parquet")
    rows.assign(pseudonym=rows["pseudonym"] + "x").to_parquet(other / "living_people.parquet")
    both = pooled([evaluated, other])
    assert len(both) == 2 * len(rows)
    assert both["fold"].nunique() == 2
    twice = pooled([evaluated, evaluated])
    assert len(twice) == len(rows)
    mine = twice[(twice["predictor"] == LIVING) & (twice["figure"] == "mean RT")]
    assert sorted(mine["crps"]) == pytest.approx(
        sorted(rows[(rows["predictor"] == LIVING) & (rows["figure"] == "mean RT")]["crps"])
    )
    assert pooled([evaluated, tmp_path]).empty


@pytest.mark.slow
def test_a_twin_without_person_effects_has_no_curves_and_says_why(tmp_path):
    records = make_people(20, with_bold=False)
    evaluate(SMALL, *lay_out(tmp_path, by_people(records, 10), records, TWIN_CONFIG), tmp_path / "out", resume=False)
    with pytest.raises(InputDataError, match="person_effects: true"):
        _ = EvaluateResult(tmp_path / "out").living
