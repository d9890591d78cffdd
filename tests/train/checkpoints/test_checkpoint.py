"""A checkpoint counts only if it is what its manifest says; the newest such one is found, and old ones go."""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtb.train.checkpoints.checkpoint import MANIFEST_FILE, _forget_old, newest_complete
from dtb.twin.export import read_twin
from tests.train.conftest import small_config
from tests.train.ranks import read_rows, train_on_ranks
from tests.train.test_disk_full import may_mount
from tests.train.test_trainer import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    train_on_ranks(small_config(max_epochs=4, checkpoints_kept=3), shards, out, 1)
    return out


@pytest.fixture
def copied(trained, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    return out


def test_last_three_are_kept_with_the_best_weights_and_the_newest_is_found(trained):
    found, passed_over = newest_complete(trained / "checkpoints")
    assert found is not None
    assert (found.progress.epoch, passed_over) == (4, [])
    kept = sorted(path.name for path in (trained / "checkpoints").glob("epoch-*"))
    assert kept == [f"epoch-{epoch:05d}-step-000000" for epoch in (2, 3, 4)]
    twin, _ = read_twin(trained / "twin")
    best = {name: tensor for name, tensor in found.best_weights().items() if name.startswith("twin.")}
    assert best
    assert all(tensor.equal(twin.state_dict()[name.removeprefix("twin.")]) for name, tensor in best.items())


def cut_short(path):
    file = next(path.glob("*model_states.pt"))
    file.write_bytes(file.read_bytes()[:-100])


def lose_manifest(path):
    (path / MANIFEST_FILE).unlink()


def lose_a_file(path):
    next(path.glob("*optim_states.pt")).unlink()


@pytest.mark.parametrize("damage", [cut_short, lose_manifest, lose_a_file])
def test_damaged_one_is_passed_over_for_the_one_before(copied, damage):
    damage(copied / "checkpoints" / "epoch-00004-step-000000")
    found, passed_over = newest_complete(copied / "checkpoints")
    assert found is not None
    assert found.progress.epoch == 3
    assert len(passed_over) == 1
    assert "epoch-00004" in passed_over[0]


def test_going_on_from_a_checkpoint_gives_the_same_losses_and_twin(copied, trained, shards):
    for name in ("epoch-00004-step-000000",):
        shutil.rmtree(copied / "checkpoints" / name)
    shutil.rmtree(copied / "twin")
    cut = copied / "checkpoints" / "epoch-00003-step-000001"
    cut.mkdir()
    (cut / "mp_rank_00_model_states.pt").write_bytes(b"cut short")
    rows = train_on_ranks(small_config(max_epochs=4), shards, copied, 1)
    for row, undisturbed in zip(rows, read_rows(trained), strict=True):
        for name in ("epoch", "train_loss", "validation_loss", "grad_norm"):
            assert row[name] == undisturbed[name]
    assert not cut.exists()
    (one, _), (other, _) = read_twin(copied / "twin"), read_twin(trained / "twin")
    for name, tensor in one.state_dict().items():
        assert tensor.equal(other.state_dict()[name]), name


def test_damaged_one_does_not_outlive_those_that_come_after_it(copied, trained, shards):
    """With one checkpoint kept, the damaged one would be the newest for long, and each later one removed as older."""
    cut_short(copied / "checkpoints" / "epoch-00004-step-000000")
    for epoch in (2, 3):
        shutil.rmtree(copied / "checkpoints" / f"epoch-{epoch:05d}-step-000000")
    config = small_config(max_epochs=4, checkpoints_kept=1)
    train_on_ranks(config, shards, copied, 1, stop_after=2)
    found, _ = newest_complete(copied / "checkpoints")
    assert found is not None
    assert found.progress.epoch == 2
    for row, undisturbed in zip(train_on_ranks(config, shards, copied, 1), read_rows(trained), strict=True):
        assert row["train_loss"] == undisturbed["train_loss"]
    assert [path.name for path in (copied / "checkpoints").glob("epoch-*")] == ["epoch-00004-step-000000"]


def test_the_learning_rate_falls_along_the_cosine(trained):
    highest = small_config().train.learning_rate
    # The few training people make one batch an epoch.
    wanted = [highest * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert [row["lr"] for row in read_rows(trained)] == pytest.approx(wanted)


def test_best_weights_hold_no_file_of_their_checkpoint(trained):
    found, _ = newest_complete(trained / "checkpoints")
    weights = found.best_weights()
    assert weights
    assert str(found.path) not in Path("/proc/self/maps").read_text()


# A file that something is mounted on cannot be removed either: Errno 16, as of one that NFS keeps.
BUSY = """
import subprocess, sys
from pathlib import Path
from types import SimpleNamespace
from dtb.train.checkpoints import checkpoint
from dtb.train.driver.progress import Progress

folder = Path(sys.argv[1])
path, kept = folder / "epoch-00001-step-000000", folder / "epoch-00001-step-000000" / ".nfs0001"
path.mkdir()
kept.write_bytes(b"of before")
subprocess.run(["mount", "--bind", kept, kept], check=True)
(path / "mp_rank_00_model_states.pt").write_bytes(b"of before")
checkpoint._remove(path)
assert [file.name for file in path.iterdir()] == [".nfs0001"]
(path / "mp_rank_00_model_states.pt").write_bytes(b"weights")
engine = SimpleNamespace(world_size=1, zero_optimization=lambda: False, zero_optimization_stage=lambda: 0)
checkpoint._write_manifest(path, Progress(epoch=1), engine, b"key", checkpoint._entries(path, 0))
subprocess.run(["umount", kept], check=True)
kept.unlink()
found, passed_over = checkpoint.newest_complete(folder, b"key")
assert found is not None and found.path == path, passed_over
"""


def test_what_nfs_keeps_in_the_folder_of_a_checkpoint_is_none_of_its_files(tmp_path):
    """It was open when a folder of the same name was removed, and goes when it is closed."""
    if not may_mount():
        pytest.skip("needs a mount in a mount namespace of its own, which root may make")
    command = ["unshare", "--mount", sys.executable, "-c", BUSY, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_nfs_keeps_of_a_removed_checkpoint_ends_no_training_and_goes_with_the_next(tmp_path, monkeypatch):
    """A file that somebody has open gets another name, and neither it nor its folder can be removed as long as it is."""
    old, new = (tmp_path / f"epoch-0000{epoch}-step-000000" for epoch in (1, 2))
    for path in (old, new):
        path.mkdir()
        (path / MANIFEST_FILE).touch()
    (old / ".nfs0001").touch()
    (old / "mp_rank_00_model_states.pt").touch()
    unlink, is_open = os.unlink, [True]

    def refusing(path, **place):
        if is_open[0] and str(path).rpartition("/")[2].startswith(".nfs"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        unlink(path, **place)

    monkeypatch.setattr(os, "unlink", refusing)
    _forget_old(tmp_path, kept=1)
    assert [path.name for path in old.iterdir()] == [".nfs0001"]
    is_open[0] = False
    _forget_old(tmp_path, kept=1)
    assert list(tmp_path.iterdir()) == [new]
