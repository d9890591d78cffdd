"""Affinity and quotas bound the number of cores, whichever is less."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtb.machine.cores import usable_cores


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 16), ("250000 100000", 3), ("50000 100000", 1)])
def test_a_quota_is_rounded_up(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "cpu.max", quota)
    assert usable_cores(tmp_path, tmp_path / "none") == cores


@pytest.mark.usefixtures("sixteen")
def test_the_quota_of_any_group_above_counts(tmp_path: Path) -> None:
    groups = write(tmp_path / "cgroup", "0::/pods/one/box\n")
    write(tmp_path / "pods" / "cpu.max", "200000 100000")
    write(tmp_path / "pods" / "one" / "box" / "cpu.max", "800000 100000")
    assert usable_cores(tmp_path, groups) == 2


@pytest.mark.usefixtures("sixteen")
def test_older_control_groups_count_too(tmp_path: Path) -> None:
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "400000")
    write(tmp_path / "cpu" / "cpu.cfs_period_us", "100000")
    assert usable_cores(tmp_path, tmp_path / "none") == 4
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "-1")
    assert usable_cores(tmp_path, tmp_path / "none") == 16


@pytest.mark.usefixtures("sixteen")
def test_the_quota_of_any_older_group_above_counts(tmp_path: Path) -> None:
    groups = write(tmp_path / "cgroup", "8:pids:/elsewhere\n4:cpu,cpuacct:/pods/box\n0::/\n")
    for name, quota in (("", "-1"), ("pods", "200000"), ("pods/box", "800000"), ("elsewhere", "100000")):
        write(tmp_path / "cpu" / name / "cpu.cfs_quota_us", quota)
        write(tmp_path / "cpu" / name / "cpu.cfs_period_us", "100000")
    assert usable_cores(tmp_path, groups) == 2


def test_a_process_in_an_older_group_with_a_quota_of_a_core_uses_one() -> None:
    """The quota is that of the group above the process's own."""
    above = Path("/sys/fs/cgroup/cpu") / f"dtb-test-{os.getpid()}"
    own = above / "own"
    try:
        own.mkdir(parents=True)
        (above / "cpu.cfs_quota_us").write_text("100000")
        (above / "cpu.cfs_period_us").write_text("100000")
        program = (
            f"from pathlib import Path; Path({str(own / 'cgroup.procs')!r}).write_text('0'); "
            "from dtb.machine.cores import usable_cores; print(usable_cores())"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "1"
    except OSError as error:
        pytest.skip(f"needs control groups of version 1 that it may make ({error})")
    finally:
        for group in (own, above):
            with contextlib.suppress(OSError):
                group.rmdir()


def test_affinity_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores(tmp_path, tmp_path / "none") == 1
    finally:
        os.sched_setaffinity(0, before)
