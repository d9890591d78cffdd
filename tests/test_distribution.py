"""The package's name on an index is not the name that is imported, and nobody is told to install the other project of that name."""

import re
import tomllib
from pathlib import Path

import pytest

from dtb import __version__
from dtb.doctor import measurements
from dtb.version import DISTRIBUTION

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXTS = (
    "*.md",
    "docs/**/*.md",
    "dtb/**/*.py",
    "dtb/**/*.html",
    "scripts/**/*",
    "launch/**/*",
    "docker/*",
    ".github/**/*",
)


def test_the_index_knows_the_package_under_its_own_name_and_the_shell_under_the_short_one():
    assert PROJECT["name"] == DISTRIBUTION != "dtb"
    assert PROJECT["scripts"] == {"dtb": "dtb.cli:main"}
    wanted = [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]
    assert not [line for line in wanted if re.match(r"dtb\b", line)]
    assert f"{DISTRIBUTION}[docs,serve,wandb]" in wanted


def test_nobody_is_told_to_install_the_other_project():
    seen = 0
    for path in (path for pattern in TEXTS for path in ROOT.glob(pattern) if path.is_file() and path.suffix != ".pyc"):
        text = path.read_text(encoding="utf-8")
        told = re.findall(r"pip3? (?:install|wheel|download)[^\n]*?[\s'\"]dtb(?![\w./])[^\n]*", text)
        assert not told, f"{path.relative_to(ROOT)}: {told}"
        seen += "pip install" in text
    assert seen >= 4


def test_requirements_are_read_under_the_distribution_name(monkeypatch):
    known = {DISTRIBUTION: ["ray[train]>=2.60", "mypy; extra == 'dev'"]}
    monkeypatch.setattr(measurements.importlib.metadata, "requires", known.__getitem__)
    assert measurements._requirements() == {"ray": ">=2.60"}


def test_the_installed_package_says_the_version_that_is_imported():
    version = measurements.version_of(DISTRIBUTION)
    if version is None:
        pytest.skip(f"{DISTRIBUTION} is not installed: dtb runs from its source folder")
    assert version == __version__ == measurements.measure().dtb
