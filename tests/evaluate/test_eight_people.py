"""Eight real people (OpenNeuro ds000030): the certificate says what they can show, which is little, and what they cannot."""

import dataclasses
import json
from pathlib import Path

import pytest

from dtb.cohort.ingest import ingest
from dtb.config import ClusterConfig, Config, load_config
from dtb.evaluate.stage import evaluate
from dtb.train.trainer import train

pytestmark = pytest.mark.cluster
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def shards(real_data, tmp_path_factory):
    folder, root = tmp_path_factory.mktemp("cnp"), real_data / "cnp"
    ingest(short(), root, tuple(sorted((root / "derivatives").iterdir())), folder / "shards", resume=False)
    return folder / "shards"


def short(**split: object) -> Config:
    config = load_config(CONFIGS / "cohorts" / "cnp.yaml")
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, max_epochs=3, num_workers=1),
        split=dataclasses.replace(config.split, **split),
        evaluate=dataclasses.replace(config.evaluate, num_bootstrap=200),
        cluster=ClusterConfig(num_cpus=2),
    )


def certified(config: Config, shards: Path, folder: Path) -> dict:
    train(config, shards, folder / "train", resume=False)
    evaluate(config, shards, folder / "train", folder / "evaluate", resume=False)
    return json.loads((folder / "evaluate" / "certificate.json").read_text())


def test_seen_in_training_they_cannot_show_a_personal_twin(shards, tmp_path):
    found = certified(short(), shards, tmp_path)
    assert found["verdict"] == "no"
    assert "the 8 people were seen in training" in found["sentence"]
    assert "8 people support no claim between people (at least 30 unseen people are asked for)" in found["sentence"]
    # Whatever the figures of eight, none is a yes; and what would decide an open one is said.
    assert {test["verdict"] for test in found["tests"]} <= {"no", "undecided"}
    assert all(test["needs"] for test in found["tests"] if test["verdict"] == "undecided")
    assert any("BOLD" in each for each in found["not_tested"])


@pytest.mark.on_request
def test_held_out_they_are_too_few_for_any_claim(shards, tmp_path):
    found = certified(short(kind="subjects", num_folds=4), shards, tmp_path)
    assert found["verdict"] == "undecided"
    assert "2 people support no claim between people" in found["sentence"]
    assert not any(test["verdict"] == "yes" for test in found["tests"])
