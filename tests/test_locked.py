"""What is installed is what was seen: every package has its version and its hashes, from one index, and no command goes round them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock_packages import EXTRAS, divided, entries

ROOT = Path(__file__).parent.parent
LOCKED = {path.stem: entries(path.read_text(encoding="utf-8")) for path in (ROOT / "locked").glob("*.txt")}
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines} - {PROJECT["name"]}


def test_pytorch_for_processors_has_a_hash_for_each_python_and_architecture():
    (entry,) = LOCKED["torch-cpu"].values()
    version, *hashes = entry.rstrip().split("\n")
    assert version.startswith(f"torch=={PINS['torch']}+cpu ")
    assert (
        len(set(re.findall(r"sha256:([0-9a-f]{64})", entry)))
        == len(hashes)
        == 2 * len(["3.11", "3.12", "3.13", "3.14"])
    )


@pytest.mark.parametrize("name", ["build", "run", "torch", "extras", "dev"])
def test_a_locked_package_has_hashes_and_the_version_of_the_constraints(name):
    assert LOCKED[name]
    for package, entry in LOCKED[name].items():
        lines = entry.rstrip().split("\n")
        version = re.match(rf"{package}==([^\s;]+)", lines[0])[1]
        assert PINS.get(package, version) == version, package
        assert lines[1:], package
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines[1:]), package


def test_all_that_is_needed_is_locked_and_in_the_file_that_says_so():
    torch, run = set(LOCKED["torch"]), set(LOCKED["run"])
    assert names(PROJECT["dependencies"]) <= run | torch
    further = names([line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]])
    assert further <= run | set(LOCKED["extras"])
    assert names(PROJECT["optional-dependencies"]["dev"]) <= run | set(LOCKED["extras"]) | set(LOCKED["dev"])
    assert not {"wandb", "fastapi", "uvicorn", "starlette", "plotly"} & run
    assert not {"torch"} & run


def test_each_direct_dependency_is_justified_in_a_line():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    direct = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra])]
    for wanted in direct:
        found = [line for line in lines if f'"{wanted}"' in line]
        assert any(PROJECT["name"] in line or re.search(r" # .*\w{3}", line) for line in found), wanted


def test_packages_are_divided_by_who_needs_them():
    parts = divided(
        dict.fromkeys(["a", "b", "c", "torch", "triton", "nvidia-x", "wheel"], ""), {"a", "torch"}, {"a", "b"}
    )
    assert parts["run"] == ["a"]
    assert parts["torch"] == ["nvidia-x", "torch", "triton"]
    assert parts["extras"] == ["b"]
    assert parts["dev"] == ["c", "triton"]


@pytest.mark.parametrize("path", ["docker/Dockerfile", "scripts/environment.sh", "tests/test_wheel.py"])
def test_no_command_installs_without_hashes_or_asks_two_indices(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert "--extra-index-url" not in text
    assert "PIP_EXTRA_INDEX_URL" not in text
    one_index = [line for line in text.splitlines() if "--index-url" in line]
    assert all("torch" in line or "one[@]" in line or "alone" in line for line in one_index)
    installs = re.findall(r"pip(?:\"|)?,? (?:install|wheel)[^\n]*(?:\\\n[^\n]*)*", text)
    for command in installs:
        guarded = re.search(
            r"require-hashes|no-deps|PIP_REQUIRE_HASHES", text if path.startswith("docker") else command
        )
        assert guarded or "-qq" not in command, command


def test_digests_of_the_base_images_are_written_into_the_dockerfile(tmp_path):
    for name in ("Dockerfile", "pin"):
        (tmp_path / name).write_text((ROOT / "docker" / name).read_text(encoding="utf-8"), encoding="utf-8")
    said = tmp_path / "bin" / "docker"
    said.parent.mkdir()
    said.write_text(
        '#!/bin/sh\nfor last in "$@"; do :; done\ncase $last in *-cpu) echo sha256:1;; *-cu130) echo sha256:2;; esac\n'
    )
    said.chmod(0o755)
    subprocess.run(
        ["bash", str(tmp_path / "pin")], check=True, env={"PATH": f"{said.parent}:/usr/bin:/bin"}, capture_output=True
    )
    text = (tmp_path / "Dockerfile").read_text(encoding="utf-8")
    assert "\nARG BUILD_DIGEST=@sha256:2\nARG DIGEST=@sha256:1\n" in text
    assert text.count("${BUILD_DIGEST}") == text.count("cu130${BUILD_DIGEST} AS build") == 1
    assert "-cpu${DIGEST}" in text


@pytest.mark.parametrize(
    ("has_audit", "said"), [(False, "pip-audit is not installed"), (True, "does not answer from here")]
)
def test_weaknesses_that_cannot_be_asked_for_are_one_sentence(tmp_path, has_audit, said):
    if has_audit:
        (tmp_path / "pip-audit").write_text("#!/bin/sh\necho it was asked\n", encoding="utf-8")
        (tmp_path / "pip-audit").chmod(0o755)
    for tool in ("dirname", "python3"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    nowhere = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [shutil.which("bash"), str(ROOT / "scripts" / "known_weaknesses")]
    done = subprocess.run(
        command, env={"PATH": str(tmp_path), **nowhere}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
