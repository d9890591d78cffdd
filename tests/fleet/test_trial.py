"""Every person goes through every arm at every dose, and arms differ in nothing but their change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dtb.config import ClusterConfig, Config, FleetConfig, InterveneConfig, config_hash
from dtb.errors import OutputInUseError
from dtb.fleet.aim import make_aim
from dtb.fleet.searchers import Surveyor
from dtb.fleet.trial import TrialWorker
from dtb.fleet.trial import trial as trial_stage
from dtb.fleet.twins import open_troupe
from dtb.intervene.trial import Protocol
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
    troupes = [open_troupe(*world)]
    aim = make_aim(PROTOCOL.search, troupes[0])
    surveyed = Surveyor(troupes, aim, seed=0, sample=frozenset(KEYS)).work(KEYS)
    survey = aim.survey(surveyed.tables["people"], ())
    work = TrialWorker(troupes, aim, seed=0, survey=survey, protocol=PROTOCOL).work(KEYS)
    table = work.tables["outcomes"].to_pandas()
    assert not work.failures
    # Two tasks: mean RT, condition RT, accuracy, and all BOLD contrasts summed up in one.
    assert len(table) == 5 * 6 * 2 * 2 * 4
    assert (table.groupby(["pseudonym", "task", "indicator"])["before"].nunique(dropna=True) <= 1).all()
    assert (table[table["arm"] == "sham"]["moved"].abs() < 1e-5).all()
    target = table[table["is_target"]]
    np.testing.assert_allclose(
        target["moved"], (target["before"] - target["after"]) / survey.goal.spread_M[aim.target].item(), rtol=1e-6
    )
    full = target[target["dose"] == 1.0].pivot(index="pseudonym", columns="arm", values="moved")
    assert (full["personalised"] > 0).all()
    assert (full["personalised"] >= full["random"]).all()


@pytest.mark.cluster
def test_a_trial_keeps_its_protocol_and_refuses_another(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(fleet=FleetConfig(num_actors=1, subjects_per_batch=5), cluster=ClusterConfig(num_cpus=2))
    trial_stage(config, PROTOCOL, *world, tmp_path / "out", resume=False)
    assert config_hash(PROTOCOL)[:12] in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "trial.json").read_text())
    assert result["protocol_hash"] == config_hash(PROTOCOL)
    assert result["protocol"]["title"] == "test"
    assert (tmp_path / "out" / "doses.tsv").read_text().startswith("arm\tdose\teffect")
    other = Protocol(title="another")
    with pytest.raises(OutputInUseError, match="was begun by"):
        trial_stage(config, other, *world, tmp_path / "out", resume=True)
