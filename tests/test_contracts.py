"""What the contracts on imports refuse: each is broken here in a copy of the package, in the ways in which an import can hide."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> str:
    """Return what is said of the package in a folder."""
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "300"}
    ran = subprocess.run([LINT, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of all that is checked."""
    copy = tmp_path_factory.mktemp("sources")
    shutil.copytree(ROOT / "dtb", copy / "dtb", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (copy / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "contracts.py", copy / "scripts")
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_the_package_keeps_every_contract(sources):
    said = lint(sources)
    assert "0 broken" in said, said
    assert "8 kept" in said


HIDDEN = [
    (
        "shards/mix.py",
        "def late():\n    import dtb.fleet.actors.ledger\n",
        "dtb.shards.mix imports dtb.fleet.actors.ledger (line 2)",
    ),
    (
        "people/typed.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dtb.cohort import workers\n",
        "dtb.people.typed imports dtb.cohort.workers (line 3)",
    ),
    ("new_room.py", "NUMBER = 1\n", "dtb.new_room has no row"),
    ("machine/memory.py", "import dtb.cluster.connection\n", "dtb.machine.memory imports dtb.cluster.connection"),
    ("shards/spread.py", "def late():\n    import ray.data\n", "dtb.shards.spread -> ray (l.2)"),
    ("fleet/quick.py", "import deepspeed\n", "dtb.fleet.quick -> deepspeed (l.1)"),
    ("train/noted.py", "import wandb\n", "dtb.train.noted -> wandb (l.1)"),
    ("tasks/first.py", "import dtb.machine.memory\n", "dtb.tasks is not allowed to import ray"),
]


@pytest.fixture(scope="module")
def said_of_hidden(sources, tmp_path_factory):
    """What is said where all of these stand in the package at once."""
    folder = tmp_path_factory.mktemp("hidden")
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    for file, lines, _ in HIDDEN:
        with (folder / "dtb" / file).open("a", encoding="utf-8") as stream:
            stream.write(lines)
    return lint(folder)


@pytest.mark.parametrize("said", [said for _, _, said in HIDDEN])
def test_an_import_that_a_contract_forbids_is_named(said_of_hidden, said):
    assert said in said_of_hidden


def test_a_circle_of_files_is_named_from_end_to_end(sources, tmp_path):
    shutil.copytree(sources, tmp_path, dirs_exist_ok=True)
    people = tmp_path / "dtb" / "people"
    (people / "first.py").write_text("import dtb.people.second\n", encoding="utf-8")
    (people / "second.py").write_text("def late():\n    import dtb.people.first\n", encoding="utf-8")
    assert "dtb.people.first -> dtb.people.second -> dtb.people.first" in lint(tmp_path)


def test_an_exception_that_nobody_uses_is_named(sources, tmp_path):
    shutil.copytree(sources, tmp_path, dirs_exist_ok=True)
    settings = tmp_path / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(
        text.replace("exceptions = [\n", 'exceptions = [\n    "people.records -> twin",\n'), encoding="utf-8"
    )
    said = lint(tmp_path)
    assert "the exception people.records -> twin is not used any more" in said
    assert "the exception people.records -> twin gives no reason" in said
