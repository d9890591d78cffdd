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
    assert "7 kept" in said


@pytest.mark.parametrize(
    ("file", "lines", "said"),
    [
        (
            "shards/mix.py",
            "def late():\n    import dtb.fleet.ledger\n",
            "dtb.shards.mix imports dtb.fleet.ledger (line 2)",
        ),
        (
            "tasks/spec.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dtb.cohort import workers\n",
            "dtb.tasks.spec imports dtb.cohort.workers",
        ),
        ("new_room.py", "NUMBER = 1\n", "dtb.new_room has no row"),
        ("people/first.py", "import dtb.people.second\n", "dtb.people.first -> dtb.people.second -> dtb.people.first"),
        ("shards/spread.py", "def late():\n    import ray.data\n", "dtb.shards.spread -> ray"),
        ("fleet/quick.py", "import deepspeed\n", "dtb.fleet.quick -> deepspeed"),
        ("train/noted.py", "import wandb\n", "dtb.train.noted -> wandb"),
        ("memory.py", "import dtb.cluster\n", "dtb.memory imports dtb.cluster"),
    ],
    ids=["room-late", "room-types", "no-row", "circle", "ray", "deepspeed", "wandb", "ground"],
)
def test_an_import_that_a_contract_forbids_is_named(sources, tmp_path, file, lines, said):
    shutil.copytree(sources, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "dtb" / file
    path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + lines, encoding="utf-8")
    if file == "people/first.py":
        (path.parent / "second.py").write_text("def late():\n    import dtb.people.first\n", encoding="utf-8")
    assert said in lint(tmp_path)


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
