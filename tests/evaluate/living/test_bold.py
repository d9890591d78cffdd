"""Minutes of task BOLD: what is judged is never told, own maps are believed as far as they were worth, and twins learn from volumes."""

import dataclasses

import numpy as np
import pytest
import torch

from dtb.config import SegmentConfig, TwinConfig
from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.bold import GROUP_MAP, OWN_MAP, MapQuestion, _own_map, _performed, bold_curves, bold_table
from dtb.evaluate.living.twin import LIVING_ALONE
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Split
from dtb.twin.model import Twin
from dtb.twin.sizes import TwinSizes
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people

CONFIG = TwinConfig(num_hidden=8, rank=2, encoder_widths=(6,), latent_size=3)
PEOPLE = make_people(12)
QUESTION = MapQuestion(STROOP, np.arange(NUM_REGIONS), np.ones(NUM_REGIONS))


@pytest.fixture(scope="module")
def twin():
    torch.manual_seed(0)
    sizes = TwinSizes(NUM_REGIONS, STROOP.num_channels, STROOP.num_alternatives, NUM_REGIONS)
    return Twin(CONFIG, sizes).eval()


def maker(records):
    split = Split("subjects", (), (), tuple(record.pseudonym for record in records))
    segments = SegmentConfig(segment_seconds=60, burn_in_seconds=12)
    return BatchMaker(STROOP, segments, CONFIG.step_seconds, tuple(range(NUM_REGIONS)), split)


def with_other_bold(records, begin, end):
    def changed(run):
        bold_VR = run.bold_VR.copy()
        bold_VR[begin:end] *= -1
        return dataclasses.replace(run, bold_VR=bold_VR)

    return [dataclasses.replace(record, runs=tuple(map(changed, record.runs))) for record in records]


def said(twin, records, amount):
    maps = _performed(twin, maker(records), QUESTION, records, 0, amount, LIVING, lambda _: None)
    return np.concatenate(list(maps))


def test_a_prediction_rests_on_the_first_minutes_and_on_nothing_later(twin):
    some = PEOPLE[:3]  # 160 volumes of 0.8 s: a minute is the first 75, the second half begins at volume 80
    before_SR = said(twin, some, "1")
    np.testing.assert_array_equal(said(twin, with_other_bold(some, 80, 160), "1"), before_SR)
    assert np.abs(said(twin, with_other_bold(some, 20, 75), "1") - before_SR).max() > 1e-4
    np.testing.assert_array_equal(said(twin, with_other_bold(some, 0, 160), "0"), said(twin, some, "0"))


def test_every_point_has_every_predictor_and_the_group_map_gains_nothing_on_itself(twin):
    table = bold_table(twin, maker(PEOPLE[6:]), QUESTION, PEOPLE[:6], PEOPLE[6:])
    points = table.groupby("amount", sort=False)["predictor"].unique()
    assert points.index.tolist() == ["0", "1", "half a run"]
    for predictors in points:
        assert {*predictors} == {GROUP_MAP, OWN_MAP, LIVING, LIVING_ALONE}
    assert np.allclose(table.loc[table["predictor"] == GROUP_MAP, "gain"], 0.0)
    found = bold_curves(table, num_draws=50)
    mine = found[(found["predictor"] == LIVING) & (found["metric"] == "gain")]
    assert np.allclose(mine["twin_gain"], 0.0)
    against = found[(found["predictor"] == GROUP_MAP) & (found["metric"] == "gain")]
    assert np.allclose(against["twin_gain"], mine["value"])


def test_an_own_map_is_believed_as_far_as_training_peoples_were_worth():
    rng = np.random.default_rng(0)
    early_PR, group_R = rng.normal(size=(50, 30)), rng.normal(size=30)
    late_PR = group_R + 0.4 * early_PR
    expected = late_PR.mean(0) + 0.4 * (early_PR - early_PR.mean(0))
    np.testing.assert_allclose(_own_map(early_PR, late_PR, early_PR), expected)
    # Maps that go against their people's later ones are not believed at all.
    np.testing.assert_allclose(_own_map(-early_PR, late_PR, early_PR), np.broadcast_to(late_PR.mean(0), (50, 30)))
