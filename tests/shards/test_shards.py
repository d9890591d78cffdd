"""Shards give back the people that were put in, byte for byte the same each time, and damage is found and named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import webdataset

from dtb.errors import DamagedOutputError, InputDataError
from dtb.shards.manifest import Manifest
from dtb.shards.read import open_cohort
from dtb.shards.sample import decode_sample, encode_sample
from dtb.shards.write import ShardWriter
from tests.shards.people import make_person, write_people


def assert_same(left, right) -> None:
    for field in dataclasses.fields(left):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif isinstance(a, tuple):
            assert len(a) == len(b)
            for one, other in zip(a, b, strict=True):
                assert_same(one, other)
        elif dataclasses.is_dataclass(a):
            assert_same(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("num_runs", [0, 1, 3])
def test_person_survives_the_round_trip(num_runs):
    person = make_person(3, num_runs)
    members = encode_sample(person)
    assert_same(person, decode_sample(members["json"], members["safetensors"]))


def test_rest_runs_kept_apart_survive_the_round_trip():
    runs = {f"task-rest_run-{number}": np.full(28, number, np.float32) for number in (2, 10, 1)}
    members = encode_sample(dataclasses.replace(make_person(3), rest_runs=runs))
    found = decode_sample(members["json"], members["safetensors"]).rest_runs
    assert list(found) == list(runs)
    for label, edges_E in runs.items():
        np.testing.assert_array_equal(found[label], edges_E)


def test_pseudonym_with_a_period_is_refused():
    with pytest.raises(ValueError, match="letters and digits"):
        encode_sample(dataclasses.replace(make_person(0), pseudonym="p.1"))


def test_cohort_gives_everybody_in_the_order_asked_for(tmp_path):
    write_people(tmp_path, 10)
    cohort = open_cohort(tmp_path)
    assert len(cohort) == 10
    wanted = ["p0007", "p0001", "p0009"]
    for pseudonym, record in zip(wanted, cohort.records(wanted), strict=True):
        assert_same(record, make_person(int(pseudonym[1:])))
    assert [record.pseudonym for record in cohort.records()] == [f"p{number:04d}" for number in range(10)]
    assert cohort.header("p0003")["covariates"]["age"] == 23.0
    assert cohort.manifest.counts["subjects"] == 10
    assert cohort.manifest.counts["absent_edges"] == 10


def test_same_people_give_the_same_bytes(tmp_path):
    one, two = write_people(tmp_path / "one", 6), write_people(tmp_path / "two", 6)
    assert one == two
    assert one.cohort_hash == two.cohort_hash == Manifest.load(tmp_path / "one").cohort_hash


def test_webdataset_reads_the_shards(tmp_path):
    write_people(tmp_path, 5)
    samples = list(webdataset.WebDataset(str(tmp_path / "shard-00000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"p{number:04d}" for number in range(4)]
    assert_same(decode_sample(samples[0]["json"], samples[0]["safetensors"]), make_person(0))


def test_unknown_person_is_named(tmp_path):
    write_people(tmp_path, 2)
    with pytest.raises(InputDataError, match="'nobody'"):
        open_cohort(tmp_path).record("nobody")


def truncate_at_member(path):
    # Where a member begins: every tar reader takes the rest for a whole tar.
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"p0002.json")])


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate_at_member, "cut short"),
        (flip_a_byte, "altered"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "longer"),
    ],
)
def test_damaged_shard_is_refused_by_name(tmp_path, damage, said):
    write_people(tmp_path, 6)
    damage(tmp_path / "shard-00000.tar")
    with pytest.raises(DamagedOutputError, match=rf"shard-00000\.tar is.*{said}|shard-00000\.tar was {said}"):
        open_cohort(tmp_path)


def test_shard_that_is_damaged_after_opening_is_named(tmp_path):
    write_people(tmp_path, 4)
    cohort = open_cohort(tmp_path)
    truncate_at_member(tmp_path / "shard-00000.tar")
    with pytest.raises(DamagedOutputError, match=r"shard-00000\.tar"):
        list(cohort.records())


def test_folder_without_manifest_is_refused(tmp_path):
    writer = ShardWriter(tmp_path, 2)
    for number in range(3):
        writer.add(make_person(number))
    with pytest.raises(DamagedOutputError, match=r"no manifest\.json.*--resume"):
        open_cohort(tmp_path)
    with pytest.raises(InputDataError, match="does not exist"):
        open_cohort(tmp_path / "absent")


def test_second_writer_leaves_no_shard_of_the_first(tmp_path):
    write_people(tmp_path, 12)
    write_people(tmp_path, 3)
    assert [path.name for path in sorted(tmp_path.glob("*.tar"))] == ["shard-00000.tar"]
    assert len(open_cohort(tmp_path)) == 3


def test_a_cohort_is_opened_by_a_path_in_words_too(tmp_path):
    write_people(tmp_path / "shards", 2)
    assert open_cohort(str(tmp_path / "shards")).pseudonyms == open_cohort(tmp_path / "shards").pseudonyms
