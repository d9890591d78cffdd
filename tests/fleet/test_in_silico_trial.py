"""Every person goes through every arm at every dose, and arms differ in nothing but their change."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dtb.config import ClusterConfig, Config, FleetConfig, InterveneConfig, config_hash
from dtb.errors import ConfigurationError, OutputInUseError
from dtb.fleet.in_silico_trial import require_arms
from dtb.fleet.in_silico_trial import trial as trial_stage
from dtb.fleet.named_target import make_search_target
from dtb.fleet.support import Support
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.trial_worker import TrialWorker
from dtb.fleet.twins import open_shared_twin
from dtb.intervene.arms import ARMS
from dtb.intervene.protocol import Protocol
from dtb.intervene.search import simulate_all
from tests.fleet.world import make_world

KEYS = ["p0000", "p0001", "p0002", "p0003", "p0004"]
PROTOCOL = Protocol(
    title="test",
    search=InterveneConfig(budget=0.2, num_steps=6, task="stroop", metric="euclidean", members=(Path("trained-1"),)),
    unsearched=(Path("trained-2"), Path("trained-3")),
    arms=("personalised", "population", "population_matched", "random", "ridge", "paper", "sham"),
    doses=(0.5, 1.0),
    num_draws=100,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


def test_outcomes_are_complete_paired_and_sham_does_nothing(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)] * 4
    search_target = make_search_target(PROTOCOL.search, shared_twins[0])
    surveyed = SurveyWorker(shared_twins[:2], search_target, seed=0, sample=frozenset(KEYS)).work(KEYS)
    survey = search_target.survey([surveyed.tables["people"]], ())
    work = TrialWorker(shared_twins, search_target, seed=0, survey=survey, protocol=PROTOCOL).work(KEYS)
    table = work.tables["outcomes"].to_pandas()
    assert not work.failures
    # Two tasks: mean RT, condition RT, accuracy, and all BOLD contrasts summed up in one.
    assert len(table) == 5 * 7 * 2 * 2 * 4
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
    shared_twins = [open_shared_twin(*world)] * 4
    search_target = make_search_target(search, shared_twins[0])
    survey = search_target.survey(
        [SurveyWorker(shared_twins[:2], search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()
    )
    table = TrialWorker(shared_twins, search_target, 0, survey, protocol).work(KEYS).tables["outcomes"].to_pandas()
    # All four regions of the task are the network's, so that no map of it is left; that of the other task is.
    assert set(table[table["indicator"] == "bold_map"]["task"]) == {"stroop"}


def test_an_ensemble_that_disagrees_is_marked_in_a_trial_too(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)] * 4
    search_target = make_search_target(PROTOCOL.search, shared_twins[0])
    survey = search_target.survey(
        [SurveyWorker(shared_twins[:2], search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()
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
    shared_twins = [open_shared_twin(*world)] * 4
    search_target = make_search_target(PROTOCOL.search, shared_twins[0])
    survey = search_target.survey(
        [SurveyWorker(shared_twins[:2], search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()
    )
    require_arms(PROTOCOL, survey)
    nobody = dataclasses.replace(survey, ridge_E=None)
    with pytest.raises(ConfigurationError, match="has the arm 'ridge'"):
        require_arms(PROTOCOL, nobody)
    require_arms(dataclasses.replace(PROTOCOL, arms=("personalised", "population")), nobody)


def result_sentence(folder: Path) -> str:
    sentence: str = json.loads((folder / "trial.json").read_text())["benefit"]["sentence"]
    assert sentence.startswith("Personalising ")
    return sentence


def test_effects_are_those_of_members_that_were_not_searched(world: tuple[Path, Path]) -> None:
    """The members that were not searched know no connectome: whatever is found for the others moves nothing in them."""
    shared_twins = [open_shared_twin(*world)] * 4
    target = make_search_target(PROTOCOL.search, shared_twins[0])
    survey = target.survey([SurveyWorker(shared_twins[:2], target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ())
    worker = TrialWorker(shared_twins, target, 0, survey, PROTOCOL)
    for runner in worker._judges._runners:
        runner.twin.hypernetwork.head.weight.mul_(0.0)
    table = worker.work(KEYS).tables["outcomes"].to_pandas()
    own = table[table["is_target"] & (table["arm"] == "personalised") & (table["dose"] == 1.0)]
    assert (own["moved_searched"] > 0.01).all()
    np.testing.assert_allclose(own["moved"], 0.0, atol=1e-6)
    assert (own["member_moved"].map(len) == 2).all()


def test_the_population_stands_beside_at_equal_off_target_effect(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)] * 4
    target = make_search_target(PROTOCOL.search, shared_twins[0])
    survey = target.survey([SurveyWorker(shared_twins[:2], target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ())
    worker = TrialWorker(shared_twins, target, 0, survey, PROTOCOL)
    prepared = worker.prepare(KEYS)
    found = worker._search(KEYS, prepared, {})
    (direction_SE,) = worker._directions(KEYS, prepared.start, [ARMS["population"]]).values()
    change_SE = worker._matched(prepared, found, direction_SE)
    (after_SM,) = simulate_all(prepared.performances, prepared.start, [change_SE]).mean(0)
    mine_S, theirs_S = (survey.goal.off_target(values, found.before_SM) for values in (found.after_SM, after_SM))
    longest_S = 2**0.5 * change_SE.norm(dim=1) > 0.98 * 4 * found.norm_S
    close_S = (theirs_S / mine_S - 1).abs() < 0.1
    assert (close_S | (longest_S & (theirs_S < mine_S))).all()
    assert close_S.any()
    # At equal norm it is another effect.
    same_SE = prepared.start.along(direction_SE, found.norm_S)
    (same_SM,) = simulate_all(prepared.performances, prepared.start, [same_SE]).mean(0)
    assert ((survey.goal.off_target(same_SM, found.before_SM) / mine_S - 1).abs() > 0.1).any()


def test_two_scans_of_a_person_say_how_far_an_effect_is_that_scans(world: tuple[Path, Path]) -> None:
    shared_twins = [open_shared_twin(*world)] * 4
    target = make_search_target(PROTOCOL.search, shared_twins[0])
    worker = TrialWorker(
        shared_twins,
        target,
        0,
        target.survey([SurveyWorker(shared_twins[:2], target, 0, frozenset(KEYS)).work(KEYS).tables["people"]], ()),
        PROTOCOL,
    )
    judged = worker._judges.prepare(KEYS)
    change_SE = worker._search(KEYS, worker.prepare(KEYS), {}).change_SE
    assert np.isnan(worker._scans_apart(judged, [change_SE])).all()
    edges_E, other_E = judged.records[0].connectome_E, judged.records[2].connectome_E
    twice = dataclasses.replace(judged.records[0], rest_runs={"first": edges_E, "second": other_E})
    same = dataclasses.replace(judged.records[2], rest_runs={"first": other_E, "second": other_E})
    records = [twice, judged.records[1], same, *judged.records[3:]]
    apart_S = worker._scans_apart(dataclasses.replace(judged, records=records), [change_SE])[0]
    assert abs(apart_S[0]) > 1e-3
    assert apart_S[2] == 0.0
    assert np.isnan(apart_S[[1, 3, 4]]).all()


@pytest.mark.cluster
def test_a_trial_keeps_its_protocol_and_refuses_another(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(fleet=FleetConfig(num_actors=1, subjects_per_batch=5), cluster=ClusterConfig(num_cpus=2))
    others = [shutil.copytree(world[1], tmp_path / f"trained-{number}") for number in (1, 2, 3)]
    search = dataclasses.replace(PROTOCOL.search, members=tuple(others[:1]))
    protocol = dataclasses.replace(PROTOCOL, search=search, unsearched=tuple(others[1:]))
    trial_stage(config, protocol, *world, tmp_path / "out", resume=False)
    said = capsys.readouterr().out
    assert config_hash(protocol)[:12] in said
    assert result_sentence(tmp_path / "out") in " ".join(said.split())
    assert said.split("\n", 1)[1].startswith("Do not rely on this trial, the search abstains for everybody: ")
    result = json.loads((tmp_path / "out" / "trial.json").read_text())
    assert result["protocol_hash"] == config_hash(protocol)
    assert result["protocol"]["title"] == "test"
    assert result["num_abstained"] == 5
    assert (tmp_path / "out" / "doses.tsv").read_text().startswith("arm\tdose\teffect")
    other = dataclasses.replace(protocol, title="another")
    with pytest.raises(OutputInUseError, match="was begun with other settings"):
        trial_stage(config, other, *world, tmp_path / "out", resume=True)
