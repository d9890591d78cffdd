"""A clean wheel has everything that a run needs: a made-up cohort goes from start to page where nothing of the repository is in reach.

By default the environment borrows the packages that this one has. With `DTB_WHEEL_EMPTY=1` it is truly empty, and all are installed in it.
"""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from dtb.version import DISTRIBUTION, __version__

ROOT = Path(__file__).parent.parent
EMPTY = os.environ.get("DTB_WHEEL_EMPTY") == "1"
NOT_SHIPPED = (".py", ".pyc", ".so", ".cpp", ".h")
COHORT = """
name: twelve
synth: {num_subjects: 12, num_regions: 12, num_causal_edges: 4, rest_seconds: 130, tasks: [hammer]}
ingest: {tasks: [hammer]}
twin: {num_hidden: 8}
train: {max_epochs: 2, batch_size: 4}
evaluate: {num_bootstrap: 100}
simulate: {num_draws: 2}
intervene: {num_steps: 2}
fleet: {num_actors: 1}
report: {person_pages: 1}
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel made from a copy of the sources, in which nothing was compiled before."""
    copy = tmp_path_factory.mktemp("sources") / "repository"
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("dtb", "configs"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    out = copy.parent / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(copy)]
    if not EMPTY:
        pytest.importorskip("setuptools", "77", reason="setuptools 77 or newer is not installed here")
        command.insert(4, "--no-build-isolation")
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The folder of a virtual environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", *([] if EMPTY else ["--without-pip"]), str(folder)], check=True)
    python = folder / "bin" / "python"
    if EMPTY:
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        torch = next(line for line in pins if line.startswith("torch==")) + ("+cpu" if sys.platform == "linux" else "")
        alone = [*pip, "--no-deps", torch]
        if subprocess.run(alone, check=False).returncode:
            subprocess.run([*alone, "--index-url", "https://download.pytorch.org/whl/cpu"], check=True)
        for name, builds in (("build", ["--only-binary=:all:"]), ("run", ["--no-build-isolation"])):
            locked = str(ROOT / "locked" / f"{name}.txt")
            subprocess.run([*pip, "--require-hashes", *builds, "--requirement", locked], check=True)
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    else:
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
        subprocess.run(pip, check=True)
        (site,) = (folder / "lib").glob("python*/site-packages")
        # A folder that is named so is searched after the environment's own, and its own .pth files (an editable dtb's) are not read.
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run_in(environment, folder, *command):
    """Run a command with the environment's programs, in a folder where the repository is out of reach."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DTB_REAL_DATA"}}
    variables = {**kept, "PATH": f"{environment / 'bin'}:{kept['PATH']}", "OMP_NUM_THREADS": "1"}
    program = environment / "bin" / command[0]
    return subprocess.run(
        [str(program), *command[1:]],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=560,
    )


def test_the_wheel_has_every_file_that_the_package_reads_and_no_other_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        about = email.message_from_bytes(archive.read(metadata))
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dtb").rglob("*") if path.is_file()}
    there |= {f"dtb/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*") if path.is_file()}
    wanted = {name for name in there if not name.endswith(NOT_SHIPPED)} | {
        name for name in there if name.endswith(".py")
    }
    assert wanted <= names
    assert any(name.startswith("dtb/twin/recurrence/_scan") and name.endswith(".so") for name in names)
    assert {name.split("/")[0] for name in names} == {"dtb", metadata.split("/")[0]}
    assert (about["Name"], about["Version"]) == (DISTRIBUTION, __version__)
    assert about["License-Expression"] == "Apache-2.0"


def test_the_environment_has_the_wheels_code_and_its_compiled_recurrence(environment, tmp_path):
    code = "import dtb; from dtb.twin.recurrence.compiled import level; print(dtb.__file__, level())"
    done = run_in(environment, tmp_path, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    place, level = done.stdout.split()
    assert Path(place).is_relative_to(environment)
    assert int(level) >= 0


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_made_up_cohort_of_twelve_goes_from_start_to_page(environment, tmp_path):
    (tmp_path / "twelve.yaml").write_text(COHORT, encoding="utf-8")
    done = run_in(environment, tmp_path, "dtb", "run", "twelve.yaml", "run")
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in ("cohort", "shards", "train", "evaluate", "simulate", "intervene", "report"):
        said = json.loads((tmp_path / "run" / stage / "stage.json").read_text(encoding="utf-8"))
        assert said["complete"], stage
        assert "commit" not in said["versions"]
    assert "Research use only" in (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert run_in(environment, tmp_path, "dtb", "--version").stdout.splitlines()[0] == f"dtb {__version__}"
