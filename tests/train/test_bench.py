"""The benchmark of training can be begun: what it makes is what the presets read."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.mark.parametrize("name", ["lowrank", "paper"])
def test_the_presets_can_be_trained_on_the_benchmarks_people(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.delitem(sys.modules, "train", raising=False)
    from ranks import make_job
    from stream import write_people
    from train import config_of

    write_people(tmp_path / "shards", 8, 24)
    job = make_job(config_of(name, 1), tmp_path / "shards", tmp_path / "out")
    assert len(job.plan.split.train) > 0
