"""Shards and manifests broken in hundreds of ways: each person is read as they were written, or refused in a sentence."""

import functools
import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given

from dtb.config import Config
from dtb.errors import DamagedOutputError, UserError
from dtb.shards.inspect import verify_shards
from dtb.shards.manifest import MANIFEST_FILE, SEALED, Manifest
from dtb.shards.read import open_cohort
from dtb.shards.sample import encode_sample
from dtb.stages import STAGE_FILE, OutputFolder
from tests.damage import DAMAGES, cases, whole
from tests.shards.people import make_person, write_people
from tests.shards.test_shards import assert_same


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "shards").mkdir()
    restore(tmp_path / "shards", 2)
    return tmp_path / "shards"


@functools.cache
def shard_of(num_people: int) -> dict[str, bytes]:
    """Return the files of a folder of shards with so many people."""
    with tempfile.TemporaryDirectory() as name:
        stage = OutputFolder.claim(Path(name), "ingest", Config(), resume=False)
        write_people(Path(name), num_people)
        stage.finish({}, SEALED)
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}


def restore(folder: Path, num_people: int) -> None:
    """Write a whole folder of shards again, without waiting for the disk."""
    for name, content in shard_of(num_people).items():
        (folder / name).write_bytes(content)


def put(folder: Path, content: bytes) -> None:
    """Put another shard in the place of the one that is there, with a manifest that believes it."""
    shard, manifest = folder / "shard-00000.tar", json.loads((folder / MANIFEST_FILE).read_text())
    shard.write_bytes(content)
    manifest["shards"][0] |= {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    (folder / STAGE_FILE).unlink()  # it would tell on the manifest


def packed(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def read_all(folder: Path) -> list | None:
    """Read everybody; None if somebody is refused in a sentence."""
    try:
        return list(open_cohort(folder).records())
    except UserError as error:
        said = str(error)
    assert folder.name in said
    assert len(said) < 2000
    return None


@pytest.mark.slow
@example(damage=whole)
@cases(150)
@given(damage=DAMAGES)
def test_an_altered_shard_is_found_by_its_checksum_and_by_verify(tmp_path, damage):
    restore(tmp_path, 2)
    shard = tmp_path / "shard-00000.tar"
    content = shard.read_bytes()
    shard.write_bytes(damage(content))
    if shard.read_bytes() == content:
        verify_shards(tmp_path)
        assert len(read_all(tmp_path)) == 2
        return
    with pytest.raises(DamagedOutputError, match=r"shard-00000\.tar"):
        verify_shards(tmp_path)
    assert read_all(tmp_path) is None


@pytest.mark.slow
@example(damage=whole)
@cases(200)
@given(damage=DAMAGES)
def test_a_tar_whose_manifest_was_altered_too_still_ends_in_people_or_a_sentence(tmp_path, damage):
    restore(tmp_path, 2)
    put(tmp_path, damage((tmp_path / "shard-00000.tar").read_bytes()))
    found = read_all(tmp_path)
    assert found is None or [record.pseudonym for record in found] == ["p0000", "p0001"]
    assert found is not None or damage is not whole


@pytest.mark.slow
@pytest.mark.parametrize("which", ["json", "safetensors"])
@example(damage=whole)
@cases(150)
@given(damage=DAMAGES)
def test_a_member_that_is_not_a_persons_is_refused(tmp_path, which, damage):
    restore(tmp_path, 1)
    person = make_person(0)
    members = encode_sample(person)
    members[which] = damage(members[which])
    put(tmp_path, packed(*((f"p0000.{kind}", content) for kind, content in members.items())))
    found = read_all(tmp_path)
    if damage is whole:
        assert_same(found[0], person)
    if found is not None:
        for run, other in zip(found[0].runs, person.runs, strict=True):
            assert run.trials.num_trials == other.trials.num_trials
            assert np.isfinite(run.duration_seconds)


def members_of(number: int) -> list[tuple[str, bytes]]:
    return [(f"p{number:04d}.{kind}", content) for kind, content in encode_sample(make_person(number)).items()]


def changed_arrays(**changes: np.ndarray) -> list[tuple[str, bytes]]:
    (name, header), (other, content) = members_of(0)
    return [(name, header), (other, safetensors.numpy.save(safetensors.numpy.load(content) | changes))]


@pytest.mark.parametrize(
    "members",
    [
        members_of(0)[:1] + members_of(0),  # a key twice
        [("../p0000.json", b"{}"), *members_of(0)[1:]],
        [("/etc/p0000.json", b"{}"), *members_of(0)[1:]],
        members_of(0)[::-1],
        members_of(0)[:1],
        [(name.replace("p0001", "p0000"), content) for name, content in members_of(1)],  # somebody else's
        changed_arrays(connectome_E=np.zeros(27, np.float32)),
        changed_arrays(connectome_E=np.zeros((28, 1), np.float32)),
        changed_arrays(connectome_E=np.full(28, np.inf, np.float32)),
        changed_arrays(connectome_E=np.zeros(28, np.int64)),
        changed_arrays(**{"run0.bold_VR": np.zeros((30, 7), np.float32)}),
        changed_arrays(**{"run0.rt_seconds_J": np.zeros(5)}),
        changed_arrays(**{"run1.usable_J": np.zeros(6)}),
        changed_arrays(**{"run7.usable_J": np.zeros(6, bool)}),
    ],
    ids=lambda members: "",
)
def test_tars_that_somebody_made_are_refused_unless_only_the_order_differs(folder, members):
    restore(folder, 1)
    put(folder, packed(*members))
    found = read_all(folder)
    if members == members_of(0)[::-1]:
        assert_same(found[0], make_person(0))
    else:
        assert found is None
    assert [path.name for path in folder.parent.iterdir()] == ["shards"]


@pytest.mark.slow
@example(damage=whole)
@cases(250)
@given(damage=DAMAGES)
def test_a_broken_manifest_is_refused_or_says_the_same(tmp_path, damage):
    restore(tmp_path, 2)
    path = tmp_path / MANIFEST_FILE
    path.write_bytes(damage(path.read_bytes()))
    try:
        found = Manifest.load(tmp_path)
    except UserError as error:
        assert MANIFEST_FILE in str(error)  # noqa: PT017
        assert damage is not whole
        return
    assert set(found.counts) >= {"subjects", "volumes"}
    assert [shard.name for shard in found.shards] == ["shard-00000.tar"]


@pytest.mark.parametrize("name", ["../shard-00000.tar", "/etc/passwd", "shard-00000.tar/../../x", "pipe:cat", ""])
def test_a_manifest_that_points_elsewhere_is_refused(folder, name):
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["shards"][0]["name"] = name
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedOutputError, match="not a name of a shard"):
        open_cohort(folder)
