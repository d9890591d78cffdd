"""Networks trained anew: on permuted connectomes, with the connectome as a further input, or with codes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dtb.config import Config, EvaluateConfig
from dtb.errors import ConfigurationError
from dtb.evaluate.controls import write_control
from dtb.evaluate.retrained import with_permuted
from dtb.evaluate.stage import evaluate
from dtb.shards.read import open_cohort
from dtb.train.trainer import train
from dtb.twin.export import load_twin
from tests.evaluate.test_figures import all_figures, by_metric, evidence  # noqa: F401 - a fixture
from tests.train.conftest import small_config, write_cohort


def test_only_training_people_are_dealt_others_connectomes(tmp_path):
    shards = write_cohort(tmp_path / "shards")
    real = open_cohort(shards)
    among = real.pseudonyms[:5]
    write_control(Config(), shards, tmp_path / "control", "permuted", among=among, resume=False)
    control = open_cohort(tmp_path / "control")
    kept = {
        who: np.array_equal(real.record(who).connectome_E, control.record(who).connectome_E, equal_nan=True)
        for who in real.pseudonyms
    }
    assert kept == {who: who not in among for who in real.pseudonyms}


def test_a_figure_stands_beside_what_permuted_twins_reach(evidence):  # noqa: F811
    found = all_figures(evidence)
    ridge, group = (evidence.predictions[name] for name in ("group_mean", "ridge"))
    beside = by_metric(with_permuted(found, evidence, [ridge, group, evidence.predictions["twin"]]))
    agreement = beside["choice agreement"]
    # The twin agrees always, and so does the third, which is the twin.
    assert len(agreement.permuted) == 2
    assert agreement.permuted_p == pytest.approx(2 / 3)
    assert agreement.permuted[0] == by_metric(found)["choice agreement"].baselines["group_mean"]
    loss = beside["RT CRPS"]
    assert loss.permuted_p == pytest.approx(2 / 3)
    assert "2 retrained on permuted connectomes: mean" in loss.note
    assert loss.to_plain()["permuted"] == list(loss.permuted)
    assert with_permuted(found, evidence, [])[0].permuted_p is None


@pytest.mark.cluster
@pytest.mark.rehearsal
def test_permuted_twins_are_trained_anew_and_kept(tmp_path):
    shards = write_cohort(tmp_path / "shards")
    config = small_config(max_epochs=1)
    train(config, shards, tmp_path / "trained", resume=False)
    asked = dataclasses.replace(
        config, evaluate=EvaluateConfig(num_bootstrap=100, num_permuted=2, retrained=("additive",))
    )
    evaluate(asked, shards, tmp_path / "trained", tmp_path / "out", resume=False)
    rows = json.loads((tmp_path / "out" / "figures.json").read_text())["rows"]
    assert load_twin(tmp_path / "out" / "retrained" / "additive" / "train" / "twin")[0].config.generation == "additive"
    assert {row["metric"] for row in rows if "additive_input" in row["baselines"]} >= {"RT CRPS", "mean RT r"}
    crps = next(row for row in rows if row["metric"] == "RT CRPS")
    assert len(set(crps["permuted"])) == 2
    assert crps["twin"] not in crps["permuted"]
    assert crps["permuted_p"] in {1 / 3, 2 / 3, 1.0}
    assert sorted(path.name for path in (tmp_path / "out" / "permuted").iterdir()) == ["0", "1"]
    codes = dataclasses.replace(config, evaluate=EvaluateConfig(retrained=("codes",)))
    with pytest.raises(ConfigurationError, match="not seen, of whom no code says anything"):
        evaluate(codes, shards, tmp_path / "trained", tmp_path / "coded", resume=False)
    assert not list((tmp_path / "out" / "permuted").glob("*/shards"))
