"""Networks trained anew: on permuted connectomes, with the connectome as a further input, or with codes."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from dtb.config import Config, EvaluateConfig
from dtb.errors import ConfigurationError
from dtb.evaluate.certificate.certify import certify
from dtb.evaluate.predictors.controls import write_control
from dtb.evaluate.predictors.retrained import require_possible, with_permuted
from dtb.evaluate.scores.tables import scores_table
from dtb.evaluate.stage import evaluate
from dtb.shards.read import open_cohort
from dtb.shards.split import Split
from dtb.train.trainer import train
from dtb.twin.export import read_twin
from tests.evaluate.scores.test_figures import all_figures, by_metric, evidence  # noqa: F401 - a fixture
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
    group, of_people = evidence.predictions["group_mean"], evidence.predictions["ridge"]
    of_people = dataclasses.replace(of_people, trials=None)
    beside = by_metric(with_permuted(found, evidence, [group, of_people, evidence.predictions["twin"]]))
    agreement = beside["choice agreement"]
    # The twin agrees always, and so does the third, which is the twin.
    assert len(agreement.permuted) == 2
    assert agreement.permuted_p == pytest.approx(2 / 3)
    assert agreement.permuted[0] == by_metric(found)["choice agreement"].baselines["group_mean"]
    loss = beside["RT CRPS"]
    assert loss.permuted_p == pytest.approx(2 / 3)
    assert "2 retrained on permuted connectomes: mean" in loss.to_plain()["note"]
    assert loss.to_plain()["permuted"] == list(loss.permuted)
    assert with_permuted(found, evidence, [])[0].permuted_p is None


def test_an_ensemble_is_compared_by_one_of_its_members_for_a_retrained_twin_has_no_others(evidence):  # noqa: F811
    group = evidence.predictions["group_mean"]
    found = by_metric(with_permuted(all_figures(evidence), evidence, [group], alone=group))["RT CRPS"]
    assert found.twin.value == 0
    assert found.permuted_p == 1
    assert f"for the first member alone, {found.baselines['group_mean']:.3f}" in found.to_plain()["note"]


def test_the_certificate_tests_against_permuted_trainings_and_says_how_many_would_do(evidence):  # noqa: F811
    rng = np.random.default_rng(0)
    group = evidence.predictions["group_mean"]
    worse = [
        dataclasses.replace(group, trials=dataclasses.replace(group.trials, crps_J=group.trials.crps_J + rng.uniform()))
        for _ in range(19)
    ]
    figures = with_permuted(all_figures(evidence), evidence, worse)
    found = certify(
        figures,
        are_seen=False,
        num_people=12,
        weights_BS=evidence.weights_BS,
        confidence=0.95,
        covariates=evidence.covariates,
        num_permutations=100,
    )
    against = {test.metric: test for test in found.tests if "19 twins trained on permuted connectomes" in test.against}
    assert against.keys() == {"RT CRPS", "choice log-loss"}
    test = against["RT CRPS"]
    assert (test.kind, test.p) == ("connectome", 1 / 20)
    crps = by_metric(figures)["RT CRPS"]
    assert test.gain.value == pytest.approx(np.mean(crps.permuted) - crps.twin.value)
    assert test.verdict == "undecided"
    assert f"{20 * len(found.tests)} trainings on permuted connectomes" in test.needs
    table = scores_table(figures, evidence.people.pseudonyms)
    rows = table[table["metric"] == "RT CRPS"]
    np.testing.assert_array_equal(rows["permuted_18"], crps.permuted_scores[18])
    np.testing.assert_array_equal(rows["alone"], crps.scores["twin"])


@pytest.mark.parametrize("kind", ["temporal", "runs"])
def test_permuted_trainings_say_nothing_of_the_people_they_trained_on(kind):
    task = SimpleNamespace(split=Split(kind, ("a",), (), ("a",)))
    with pytest.raises(ConfigurationError, match="would meet each of these as somebody else's"):
        require_possible(Config(evaluate=EvaluateConfig(num_permuted=19)), task)


@pytest.mark.cluster
@pytest.mark.on_request
def test_permuted_twins_are_trained_anew_and_kept(tmp_path):
    shards = write_cohort(tmp_path / "shards")
    config = small_config(max_epochs=1)
    train(config, shards, tmp_path / "trained", resume=False)
    asked = dataclasses.replace(
        config, evaluate=EvaluateConfig(num_bootstrap=100, num_permuted=2, retrained=("additive",))
    )
    evaluate(asked, shards, tmp_path / "trained", tmp_path / "out", resume=False)
    rows = json.loads((tmp_path / "out" / "figures.json").read_text())["rows"]
    assert read_twin(tmp_path / "out" / "retrained" / "additive" / "train" / "twin")[0].config.generation == "additive"
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
