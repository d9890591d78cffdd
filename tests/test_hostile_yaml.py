"""A few hundred bytes of YAML or JSON cost a sentence: no gigabytes, no traceback, no page of quotation."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from dtb.cli.entry import exit_code
from dtb.cohort.bids.source import read_source
from dtb.config import load_config, read_yaml
from dtb.errors import ConfigurationError
from dtb.files import write_json, write_text
from dtb.watch import Look

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
TEXTS = {
    "aliases of aliases": BOMB,
    "an alias of itself": "name: &a [*a]\n",
    "nesting": "name: " + "[" * 50_000,
    "a number of 5,000 digits": "seed: " + "9" * 5000,
    "a number of 5,000 hexadecimal digits": "seed: 0x" + "f" * 5000,
    "a day that no month has": "name: 2026-02-31",
    "a long word": "seed: " + "word" * 5000,
    "nine megabytes": "# " + "x" * (9 << 20),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", TEXTS)
def test_a_hostile_configuration_ends_in_a_short_sentence(tmp_path: Path, capsys, which: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(TEXTS[which])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigurationError) as found:
        load_config(path)
    assert len(str(found.value)) < 500
    assert exit_code(["run", str(path), str(tmp_path / "out"), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert len(said) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


def test_aliases_that_help_a_reader_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: &one {x: 1}\ntwo: {<<: *one, y: 2}\nthree: [*one, *one]\n")
    assert read_yaml(tmp_path / "a.yaml", "") == {"one": {"x": 1}, "two": {"x": 1, "y": 2}, "three": [{"x": 1}] * 2}


def test_a_foreign_folder_is_watched_without_unfolding_its_settings(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(BOMB)
    (tmp_path / "stage.json").write_text('{"stage": "train", "complete": false, "config_hash": "", "summary": {}}')
    with pytest.raises(ConfigurationError, match="stand for more than"):
        Look.at(tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"Name": "\\ud800\\u001b[2J"}', '{"Name": "' + "x" * 10**6 + '"}', "9" * 5000]
)
def test_a_description_costs_no_ingest(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset_description.json").write_text(text)
    source = read_source(tmp_path)
    assert len(str(source)) < 1200
    assert "\x1b" not in str(source)
    write_json(tmp_path / "manifest.json", source)


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    write_text(tmp_path / "a.tsv", "sub-\udcff")
    assert (tmp_path / "a.tsv").read_bytes() == b"sub-\\udcff"
