"""`dtb sweep`: which members it makes, which it stops early, and that what it leaves are trained folders."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
import ray

from dtb.cluster.connection import prepare_environment
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError
from dtb.shards.divide import make_split
from dtb.shards.read import open_cohort
from dtb.train.driver.room import resources_of_worker
from dtb.train.sweeps.sweep import Halving, _Losses, members_at_once, members_of, sweep
from dtb.train.trainer import train
from dtb.twin.export import read_twin
from tests.train.conftest import small_config
from tests.train.hooks import environment_of, half_a_second_longer
from tests.train.test_faults import training_workers


def test_members_are_all_combinations_and_differ_in_what_is_set_alone():
    config = small_config()
    members = list(members_of(config, (0, 1), (5, 6, 7), ("twin.rank=1,2", "train.learning_rate=1e-3,2e-3")))
    assert len({member.name for member in members}) == 2 * 3 * 2 * 2
    one = next(member for member in members if member.name == "fold1-seed7-rank_1-learning_rate_2e-3")
    assert one.rivals == (1, 7)
    assert one.config == dataclasses.replace(
        config,
        seed=7,
        split=dataclasses.replace(config.split, fold=1, seed=config.seed),
        twin=dataclasses.replace(config.twin, rank=1),
        train=dataclasses.replace(config.train, learning_rate=2e-3),
        track=dataclasses.replace(config.track, name=one.name, group=config.name),
    )
    (alone,) = members_of(config, (), (), ())
    assert alone.name == "fold0-seed0"


def test_seeds_of_a_fold_hold_out_the_same_people(shards):
    cohort = open_cohort(shards)
    splits = [
        make_split(cohort, member.config.split, member.config.seed)
        for member in members_of(small_config(), (0, 1), (3, 4), ())
    ]
    assert splits[0] == splits[1]
    assert splits[2] == splits[3] != splits[0]


def test_gpus_are_shared_by_members_and_not_by_ranks(shards, tmp_path):
    config = small_config(use_gpu=True, gpus_per_worker=0.25, cpus_per_worker=0.5)
    assert members_at_once(config, {"CPU": 16.0, "GPU": 1.0}) == 4
    assert members_at_once(config, {"CPU": 1.0, "GPU": 1.0}) == 2
    assert resources_of_worker(config) == {"CPU": 0.5, "GPU": 0.25}
    two = small_config(use_gpu=True, gpus_per_worker=0.25, num_workers=2)
    with pytest.raises(ConfigurationError, match="two ranks cannot share a GPU"):
        train(two, shards, tmp_path / "out", resume=False, dry_run=True)


@pytest.mark.parametrize(
    ("setting", "words"),
    [("rank=3", "expected section.option"), ("twin.rank", "expected"), ("twin.rnk=3", "rank"), ("twin.rank=0", "rank")],
)
def test_setting_that_cannot_be_is_refused(setting, words):
    with pytest.raises(ConfigurationError, match=words):
        list(members_of(small_config(), (), (), (setting,)))


def test_the_best_third_goes_on_at_each_rung():
    # Of 18 epochs, rungs lie at 2 and 6.
    halving = Halving(18)
    at_first = {
        name: halving.is_behind(name, [level] * 2) for name, level in zip("abcd", (2.0, 1.0, 3.0, 4.0), strict=True)
    }
    assert at_first == {"a": False, "b": False, "c": True, "d": True}
    assert not halving.is_behind("e", [9.0])  # it has not come to the first rung
    assert halving.is_behind("e", [9.0, 9.0])
    assert not halving.is_behind("b", [1.0] * 6)
    assert not halving.is_behind("a", [2.0] * 5)  # between rungs nobody is stopped
    assert halving.is_behind("a", [2.0] * 6)
    assert not Halving(18).is_behind("a", [1.0] * 17)  # without rivals there is nothing to be behind


def test_the_best_loss_so_far_counts_and_nobody_is_stopped_at_the_end():
    halving = Halving(18)
    assert not halving.is_behind("a", [1.0, 1.0])
    assert not halving.is_behind("b", [0.5, 3.0])
    short = Halving(1)
    assert not any(short.is_behind(name, [level]) for name, level in (("a", 1.0), ("b", 2.0)))


def test_rivals_that_were_trained_before_count_when_a_sweep_goes_on(tmp_path):
    members = [
        dataclasses.replace(member, max_epochs=18)
        for member in members_of(small_config(), (0, 1), (), ("twin.rank=1,2",))
    ]
    names = [member.name for member in members]

    def train_so_far(name, losses):
        (tmp_path / "members" / name).mkdir(parents=True, exist_ok=True)
        rows = [json.dumps({"epoch": epoch, "validation_loss": loss}) for epoch, loss in enumerate(losses, start=1)]
        (tmp_path / "members" / name / "metrics.jsonl").write_text("\n".join(rows) + "\n")

    train_so_far(names[0], [1.0] * 18)
    losses = _Losses(members, tmp_path)
    for name, loss in zip(names[1:], (2.0, 2.0, 3.0), strict=True):
        train_so_far(name, [loss, loss])
    assert [losses.is_behind(name) for name in names[1:]] == [True, False, True]  # the third is the first of its fold
    assert losses.stopped == {names[1]: 2, names[3]: 2}


def test_dry_run_names_the_members_and_writes_nothing(shards, tmp_path, capsys):
    sweep(small_config(), shards, tmp_path / "out", folds=(0,), seeds=(1, 2), settings=(), resume=False, dry_run=True)
    assert "Would train 2 members: fold0-seed1, fold0-seed2" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_sweep_on_a_busy_cluster_waits_aloud_and_not_for_ever(shards, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dtb.train.driver.waiting.SAY_EVERY_SECONDS", 2.0)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    config = dataclasses.replace(small_config(max_epochs=1), cluster=ClusterConfig(num_cpus=1, wait_seconds=8.0))

    @ray.remote(num_cpus=1)
    class Other:
        def ready(self):
            return True

    try:
        other = Other.remote()
        assert ray.get(other.ready.remote())
        with pytest.raises(StageError, match=r"no room for 1 worker\(s\) of 1 CPU each within 8 s .* --resume goes on"):
            sweep(config, shards, tmp_path / "out", folds=(), seeds=(1,), settings=(), resume=False)
        assert "Waiting for room for 1 worker(s) of 1 CPU each" in " ".join(capsys.readouterr().err.split())
    finally:
        ray.shutdown()  # as at the end of a command
    sweep(config, shards, tmp_path / "out", folds=(), seeds=(1,), settings=(), resume=True)
    assert pd.read_csv(tmp_path / "out" / "sweep.tsv", sep="\t")["state"].tolist() == ["trained"]


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.on_request
def test_sweep_trains_halves_of_a_core_side_by_side_stops_the_worse_and_goes_on(shards, tmp_path, capsys):
    """One core for two members of half a core each, and epochs of a second, so that there is time to stop one of them."""
    prepare_environment()
    out, members = tmp_path / "out", tmp_path / "out" / "members"
    config = small_config(max_epochs=8, cpus_per_worker=0.5, schedule="constant")
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env=environment_of(half_a_second_longer),
    )
    try:
        rates = ("train.learning_rate=2e-3,1e-9",)
        sweep(config, shards, out, folds=(), seeds=(1,), settings=rates, resume=False)
        table = pd.read_csv(out / "sweep.tsv", sep="\t").set_index("state")
        good, stopped = table.loc["trained"], table.loc["stopped"]
        assert good["epochs"] == 8
        assert stopped["epochs"] < 8
        assert stopped["loss"] > good["loss"]
        assert not training_workers()
        begun = max(path.stat().st_mtime for path in members.glob("*/split.json"))
        assert begun < (members / good["member"] / "twin").stat().st_mtime  # they were trained side by side
        kept = {path: path.stat().st_mtime_ns for path in members.glob("*/metrics.jsonl")}
        sweep(config, shards, out, folds=(), seeds=(1, 2), settings=("train.learning_rate=2e-3",), resume=True)
    finally:
        ray.shutdown()
    said = capsys.readouterr().err
    assert f"{good['member']}: trained after 8 epochs" in said
    assert f"{stopped['member']}: stopped after" in said
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    table = pd.read_csv(out / "sweep.tsv", sep="\t")
    assert table[["seed", "state", "epochs"]].to_numpy().tolist() == [[1, "trained", 8], [2, "trained", 8]]
    cards = [read_twin(members / name / "twin")[1] for name in table["member"]]
    assert [card.seed for card in cards] == [1, 2]
    assert cards[0].split_hash == cards[1].split_hash
