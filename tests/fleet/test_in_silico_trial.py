"""Every person goes through every arm at every dose, and arms differ in nothing but their change."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dtb.config import ClusterConfig, Config, FleetConfig, InterveneConfig, config_hash
from dtb.errors import ConfigurationError, OutputInUseError
from dtb.fleet.in_silico_trial import TrialWorker, require_arms
from dtb.fleet.in_silico_trial import trial as trial_stage
from dtb.fleet.named_target import make_search_target
from dtb.fleet.support import Support
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.twins import open_shared_twin
from dtb.intervene.protocol import Protocol
from tests.fleet.world import make_world

KEYS = ["p0000", "p0001", "p0002", "p0003", "p0004"]
PROTOCOL = Protocol(
    title="test",
    search=InterveneConfig(budget=0.2, num_steps=6, task="stroop", metric="euclidean"),
    arms=("personalised", "population", "random", "ridge", "paper", "sham"),
    doses=(0.5, 1.0),
    num_draws=100,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


def test_outcomes_are_complete_paired_and_sham_does_nothing(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)]
    search_target = make_search_target(PROTOCOL.search, shared_twins[0])
    surveyed = SurveyWorker(shared_twins, search_target, seed=0, sample=frozenset(KEYS)).work(KEYS)
    survey = search_target.survey([surveyed.tables["people"]], ())
    work = TrialWorker(shared_twins, search_target, seed=0, survey=survey, protocol=PROTOCOL).work(KEYS)
    table = work.tables["outcomes"].to_pandas()
    assert not work.failures
    # Two tasks: mean RT, condition RT, accuracy, and all BOLD contrasts summed up in one.
    assert len(table) == 5 * 6 * 2 * 2 * 4
    assert (table.groupby(["pseudonym", "task", "indicator"])["before"].nunique(dropna=True) <= 1).all()
    assert (table[table["arm"] == "sham"]["moved"].abs() < 1e-5).all()
    # Nobody is unseen here, so that nothing is known of the target: everybody goes through, and is marked.
    assert table["abstained"].all()
    assert set(work.notes) == set(KEYS)
    assert all(note.startswith("abstained: ") for note in work.notes.values())
    target = table[table["is_target"]]
    np.testing.assert_allclose(
        target["moved"],
        (target["before"] - target["after"]) / survey.goal.spread_M[search_target.target].item(),
        rtol=1e-6,
    )
    full = target[target["dose"] == 1.0].pivot(index="pseudonym", columns="arm", values="moved")
    assert (full["personalised"] > 0).all()
    assert (full["personalised"] >= full["random"]).all()


def test_regions_of_a_targeted_network_are_not_off_target(world: tuple[Path, Path]) -> None:
    search = dataclasses.replace(
        PROTOCOL.search, indicator="bold_contrast", task="hammer", network="other", direction="increase"
    )
    protocol = dataclasses.replace(PROTOCOL, search=search, arms=("personalised", "population"))
    shared_twins = [open_shared_twin(*world)]
    search_target = make_search_target(search, shared_twins[0])
    survey = search_target.survey(
        [SurveyWorker(shared_twins, search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()
    )
    table = TrialWorker(shared_twins, search_target, 0, survey, protocol).work(KEYS).tables["outcomes"].to_pandas()
    # All four regions of the task are the network's, so that no map of it is left; that of the other task is.
    assert set(table[table["indicator"] == "bold_map"]["task"]) == {"stroop"}


def test_an_ensemble_that_disagrees_is_marked_in_a_trial_too(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)] * 2
    search_target = make_search_target(PROTOCOL.search, shared_twins[0])
    survey = search_target.survey(
        [SurveyWorker(shared_twins, search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()
    )
    survey = dataclasses.replace(survey, support=Support(30, 0.6, 0.001))
    worker = TrialWorker(
        shared_twins, search_target, 0, survey, dataclasses.replace(PROTOCOL, arms=("personalised", "population"))
    )
    worker._runners[1].twin.hypernetwork.head.weight.mul_(-0.02)
    work = worker.work(KEYS[:2])
    table = work.tables["outcomes"].to_pandas()
    marked = set(table[table["abstained"]]["pseudonym"])
    assert marked == set(work.notes)
    assert marked


def test_an_arm_that_cannot_be_made_is_refused_before_anybody_is_searched(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)]
    search_target = make_search_target(PROTOCOL.search, shared_twins[0])
    survey = search_target.survey(
        [SurveyWorker(shared_twins, search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()
    )
    require_arms(PROTOCOL, survey)
    nobody = dataclasses.replace(survey, ridge_E=None)
    with pytest.raises(ConfigurationError, match="has the arm 'ridge'"):
        require_arms(PROTOCOL, nobody)
    require_arms(dataclasses.replace(PROTOCOL, arms=("personalised", "population")), nobody)


@pytest.mark.cluster
def test_a_trial_keeps_its_protocol_and_refuses_another(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(fleet=FleetConfig(num_actors=1, subjects_per_batch=5), cluster=ClusterConfig(num_cpus=2))
    trial_stage(config, PROTOCOL, *world, tmp_path / "out", resume=False)
    said = capsys.readouterr().out
    assert config_hash(PROTOCOL)[:12] in said
    assert said.split("\n", 1)[1].startswith("Do not rely on this trial, the search abstains for everybody: ")
    result = json.loads((tmp_path / "out" / "trial.json").read_text())
    assert result["protocol_hash"] == config_hash(PROTOCOL)
    assert result["protocol"]["title"] == "test"
    assert result["num_abstained"] == 5
    assert (tmp_path / "out" / "doses.tsv").read_text().startswith("arm\tdose\teffect")
    other = Protocol(title="another")
    with pytest.raises(OutputInUseError, match="was begun with other settings"):
        trial_stage(config, other, *world, tmp_path / "out", resume=True)
