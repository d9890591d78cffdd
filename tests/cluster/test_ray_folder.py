"""What a killed driver leaves of its private Ray is told of while it runs, removed when it has ended, and taken for nobody's own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dtb.cluster.ray_folder import ray_folder, see_to_orphans

DRIVER = """
import os, signal, subprocess, sys
from pathlib import Path
from dtb.cluster.ray_folder import ray_folder
with ray_folder(Path(sys.argv[1])) as folder:
    command = [sys.executable, "-c", "import time; time.sleep(100)", f"--temp-dir={folder}"]
    orphan = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    print(orphan.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked for where there is /proc")
def test_orphans_are_told_of_and_cleared_up_when_they_have_ended(tmp_path, capsys):
    done = subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -9
    (left,), orphan = tmp_path.iterdir(), int(done.stdout)
    with ray_folder(tmp_path) as own:
        assert own != left
        assert left.is_dir()
    said = capsys.readouterr().err
    assert "1 processes of an earlier Ray, whose command was killed, still run" in said
    assert "does not use them" in said
    os.kill(orphan, 9)
    until = time.monotonic() + 60  # its parent is gone, so that nobody here can wait for it
    while left.exists() and time.monotonic() < until:
        see_to_orphans(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_lives_or_is_no_folder_of_ours_is_left_alone(tmp_path, capsys):
    for name in ("dtb-ray-old", "other"):
        (tmp_path / name).mkdir()
    with ray_folder(tmp_path) as living:
        assert living.stat().st_mode & 0o777 == 0o700
        see_to_orphans(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"dtb-ray-old", "other", living.name}
    assert {path.name for path in tmp_path.iterdir()} == {"dtb-ray-old", "other"}
    assert not capsys.readouterr().err


def test_without_locks_a_folder_is_made_and_removed_and_it_is_said_what_is_lacking(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with ray_folder(tmp_path) as one, ray_folder(tmp_path) as other:
        assert one.is_dir()
        assert other.is_dir()
    assert not list(tmp_path.iterdir())
    said = capsys.readouterr().err
    assert said.count("Warning:") == 1
    assert f"{tmp_path} lies on a file system without locks (No locks available)" in said
