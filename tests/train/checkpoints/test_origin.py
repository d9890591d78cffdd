"""A checkpoint is gone on with by whoever wrote it, and by nobody else: loading one may run what is in it."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch

from dtb.errors import ConfigurationError
from dtb.train.checkpoints.checkpoint import newest_complete, require_own_checkpoints
from dtb.train.checkpoints.origin import UnknownOriginError, require_own, signed, user_key
from dtb.train.checkpoints.weights_only import weights_only
from dtb.train.trainer import train
from tests.train.conftest import small_config


@pytest.fixture
def own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("DTB_KEY", str(tmp_path / "home" / "key"))
    return tmp_path / "home" / "key"


class Payload:
    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def foreign(out, key: bytes | None, ran):
    """Write what somebody else could hand over: a manifest that fits the files, and a payload in them."""
    from dtb.files import sha256_of

    folder = out / "checkpoints" / "epoch-00001-step-000000"
    folder.mkdir(parents=True)
    file = folder / "mp_rank_00_model_states.pt"
    torch.save({"module": Payload(ran)}, file)
    said = {
        "world_size": 1,
        "zero_stage": 0,
        "progress": {},
        "files": {file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}},
    }
    (folder / "manifest.json").write_text(json.dumps(said if key is None else signed(said, key)))
    return file


def test_a_key_is_made_once_for_its_user_alone(own_key):
    key = user_key()
    assert len(key) == 32
    assert own_key.stat().st_mode & 0o777 == 0o600
    assert user_key() == key
    assert [path.name for path in own_key.parent.iterdir()] == ["key"]
    own_key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        user_key()


def test_a_manifest_is_its_signers_and_unchanged():
    manifest = {"files": {"a": {"sha256": "0"}}, "world_size": 2}
    whole = signed(manifest, b"k" * 32)
    require_own(whole, b"k" * 32, "here")
    for other in (manifest, {**whole, "world_size": 3}, {**whole, "signature": 7}, signed(manifest, b"j" * 32)):
        with pytest.raises(UnknownOriginError, match="not written with your key"):
            require_own(other, b"k" * 32, "here")


@pytest.mark.parametrize("key", [None, b"other" * 8])
def test_a_foreign_folder_is_refused_before_anything_of_it_is_loaded(own_key, tmp_path, shards, key):
    out, ran = tmp_path / "out", tmp_path / "ran"
    foreign(out, key, ran)
    with pytest.raises(UnknownOriginError, match="copy that machine's key file"):
        newest_complete(out / "checkpoints")
    with pytest.raises(UnknownOriginError):
        require_own_checkpoints(out / "checkpoints", user_key())
    assert not ran.exists()


def test_files_under_ones_own_key_make_no_other_objects_than_deepspeeds(own_key, tmp_path):
    ran = tmp_path / "ran"
    file = foreign(tmp_path / "out", user_key(), ran)
    assert newest_complete(tmp_path / "out" / "checkpoints")[0] is not None
    with weights_only(), pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(file, weights_only=False)
    assert not ran.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_training_with_resume_refuses_a_foreign_folder(own_key, tmp_path, shards):
    from dtb.shards.read import open_cohort
    from dtb.stages import OutputFolder
    from dtb.train.plan import make_plan
    from dtb.train.trainer import _what_matters

    out, ran = tmp_path / "out", tmp_path / "ran"
    config = small_config()
    plan = make_plan(config, shards, out, open_cohort(shards))
    OutputFolder.claim(out, "train", _what_matters(plan.config), resume=False)
    foreign(out, None, ran)
    with pytest.raises(UnknownOriginError, match="not written with your key"):
        train(config, shards, out, resume=True)
    assert not ran.exists()
