"""`dtb sweep`: which members it makes, which it stops early, and that what it leaves are trained folders."""

from __future__ import annotations

import contextlib
import dataclasses

import pandas as pd
import pytest

from dtb.cluster import connected
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError
from dtb.train.sweep import is_behind, members_of, sweep
from dtb.twin.export import load_twin
from tests.train.conftest import small_config


def test_members_are_all_combinations_and_differ_in_what_is_set_alone():
    config = small_config()
    members = list(members_of(config, (0, 1), (5, 6, 7), ("twin.rank=1,2", "train.learning_rate=1e-3,2e-3")))
    assert len({member.name for member in members}) == 2 * 3 * 2 * 2
    one = next(member for member in members if member.name == "fold1-seed7-rank_1-learning_rate_2e-3")
    assert one.rivals == (1, 7)
    assert one.config == dataclasses.replace(
        config,
        seed=7,
        split=dataclasses.replace(config.split, fold=1),
        twin=dataclasses.replace(config.twin, rank=1),
        train=dataclasses.replace(config.train, learning_rate=2e-3),
    )
    (alone,) = members_of(config, (), (), ())
    assert alone.config == config


@pytest.mark.parametrize(
    ("setting", "words"),
    [("rank=3", "expected section.option"), ("twin.rank", "expected"), ("twin.rnk=3", "rank"), ("twin.rank=0", "rank")],
)
def test_setting_that_cannot_be_is_refused(setting, words):
    with pytest.raises(ConfigurationError, match=words):
        list(members_of(small_config(), (), (), (setting,)))


def test_the_best_third_goes_on_at_each_rung():
    # Of 18 epochs, rungs lie at 2 and 6.
    losses = {name: [level] * 2 for name, level in (("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0))}
    assert [name for name in losses if is_behind(losses, name, 18)] == ["c", "d"]
    assert not is_behind({**losses, "d": [4.0]}, "d", 18)  # it has not come to the first rung
    later = {"a": [1.0] * 6, "b": [2.0] * 5 + [0.5]}
    assert is_behind(later, "a", 18)
    assert not is_behind(later, "b", 18)
    assert not is_behind({"a": [1.0] * 7}, "a", 18)  # without rivals there is nothing to be behind


def test_dry_run_names_the_members_and_writes_nothing(shards, tmp_path, capsys):
    sweep(small_config(), shards, tmp_path / "out", folds=(0,), seeds=(1, 2), settings=(), resume=False, dry_run=True)
    assert "Would train 2 members: fold0-seed1, fold0-seed2" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
@pytest.mark.rehearsal
def test_sweep_trains_members_and_goes_on_where_it_stopped(shards, tmp_path):
    out = tmp_path / "out"
    good = "fold0-seed1-learning_rate_2e-3"
    with connected(ClusterConfig(num_cpus=2)):
        # The other rate cannot work: that member is stopped at the first rung, or fails on its own just before.
        with contextlib.suppress(StageError):
            rates = ("train.learning_rate=2e-3,1e30",)
            sweep(small_config(), shards, out, folds=(), seeds=(1,), settings=rates, resume=False)
        states = pd.read_csv(out / "sweep.tsv", sep="\t").set_index("member")["state"]
        assert states[good] == "trained"
        assert states["fold0-seed1-learning_rate_1e30"] in {"stopped", "unfinished"}
        metrics = out / "members" / good / "metrics.jsonl"
        before = metrics.stat().st_mtime_ns
        rates = ("train.learning_rate=2e-3",)
        sweep(small_config(), shards, out, folds=(), seeds=(1,), settings=rates, resume=True)
    assert metrics.stat().st_mtime_ns == before
    table = pd.read_csv(out / "sweep.tsv", sep="\t")
    assert table[["state", "epochs"]].to_numpy().tolist() == [["trained", 3]]
    assert load_twin(out / "members" / good / "twin")[1].seed == 1
