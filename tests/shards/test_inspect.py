"""`dtb shards verify` names everything that is wrong with a folder, and `info` counts what is there."""

import dataclasses

import numpy as np
import pytest

from dtb.cohort.reliability import EdgeReliability
from dtb.errors import DamagedOutputError
from dtb.shards.inspect import print_info, verify_shards
from tests.shards.people import write_people


@pytest.fixture
def folder(tmp_path):
    write_people(tmp_path / "shards", 5, subjects_per_shard=2)
    return tmp_path / "shards"


def test_a_whole_folder_passes_and_is_described(folder, capsys):
    verify_shards(folder)
    print_info(folder)
    shown = capsys.readouterr().out
    assert "all 3 shards are whole" in shown
    assert "5 people in 3 shards" in shown
    assert "5 of 5" in shown


def test_everything_that_is_wrong_is_named_at_once(folder):
    first, second, third = sorted(folder.glob("shard-*.tar"))
    content = bytearray(first.read_bytes())
    content[1000] ^= 1
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:-512])
    third.unlink()
    (folder / "shard-00009.tar").write_bytes(b"")
    with pytest.raises(DamagedOutputError) as raised:
        verify_shards(folder)
    lines = str(raised.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == [first.name, second.name, third.name, "shard-00009.tar"]
    for line, word in zip(lines, ("altered", "bytes", "missing", "not in the manifest"), strict=True):
        assert word in line


def test_rest_runs_that_are_kept_apart_and_edge_reliability_are_told(tmp_path, capsys):
    gathered = EdgeReliability()

    def with_runs(person):
        rng = np.random.default_rng(int(person.pseudonym[1:]))
        runs_KE = (rng.normal(size=28) + rng.normal(0, 0.5, (3, 28))).astype(np.float32)
        gathered.add(runs_KE[:2])
        return dataclasses.replace(person, rest_runs={f"run-{number}": run_E for number, run_E in enumerate(runs_KE)})

    write_people(tmp_path / "shards", 40, spoil=with_runs)
    gathered.save(tmp_path / "shards")
    print_info(tmp_path / "shards")
    shown = " ".join(capsys.readouterr().out.split())
    assert "rest runs kept apart: 40 people with 3" in shown
    assert "edge reliability over rest runs (40 people): ICC 0.8" in shown
    assert float(shown.partition("test-retest SD ")[2].split()[0]) == pytest.approx(0.5, abs=0.03)
