"""`dtb shards verify` names everything that is wrong with a folder, and `info` counts what is there."""

import dataclasses
import json

import numpy as np
import pytest

from dtb.config import Config
from dtb.errors import DamagedOutputError
from dtb.files import sha256_of
from dtb.people.reliability import RELIABILITY_FILE, EdgeReliability
from dtb.shards.inspect import print_info, verify_shards
from dtb.shards.manifest import MANIFEST_FILE, SEALED
from dtb.shards.read import open_cohort
from dtb.stages import STAGE_FILE, OutputFolder
from tests.shards.people import write_people


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "shards")


def write_folder(path):
    """Write five people as a stage does."""
    stage = OutputFolder.claim(path, "ingest", Config(), resume=False)
    write_people(path, 5, subjects_per_shard=2)
    stage.finish({}, SEALED)
    return path


def regions_renamed(plain):
    plain["description"]["regions"][0] = "renamed"


def another_seal(folder):
    stage = json.loads((folder / STAGE_FILE).read_text())
    stage["sha256"] = {name: sha256_of(folder / name) for name in stage["sha256"]}
    (folder / STAGE_FILE).write_text(json.dumps(stage))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (regions_renamed, "manifest.json was altered"),
        (lambda plain: plain["counts"].update(trials=800), "manifest.json was altered"),
        (lambda plain: plain["counts"].update(subjects=800), "counts 800 people and names 5"),
    ],
)
def test_an_edited_manifest_is_found_and_not_opened(folder, edit, said):
    plain = json.loads((folder / MANIFEST_FILE).read_text())
    edit(plain)
    (folder / MANIFEST_FILE).write_text(json.dumps(plain))
    with pytest.raises(DamagedOutputError, match=said):
        verify_shards(folder)
    with pytest.raises(DamagedOutputError, match=r"manifest\.json"):
        open_cohort(folder, verify=False)


def test_counts_are_held_against_the_shards_even_if_the_seal_agrees(folder):
    plain = json.loads((folder / MANIFEST_FILE).read_text())
    plain["counts"]["usable_trials"] += 1
    (folder / MANIFEST_FILE).write_text(json.dumps(plain))
    another_seal(folder)
    with pytest.raises(DamagedOutputError, match=r"usable trials, the shards hold \d+"):
        verify_shards(folder)


def test_verify_misses_neither_the_seal_nor_altered_reliability(folder):
    (folder / RELIABILITY_FILE).write_bytes(b"x")
    with pytest.raises(DamagedOutputError, match="reliability.safetensors was added"):
        verify_shards(folder)
    (folder / RELIABILITY_FILE).unlink()
    (folder / STAGE_FILE).unlink()
    with pytest.raises(DamagedOutputError, match="stage.json is missing"):
        verify_shards(folder)


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
