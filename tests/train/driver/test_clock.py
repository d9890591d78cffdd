"""A clock that is set back while workers are started is told of, and ends a training that does not begin."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dtb.config import to_yaml
from dtb.errors import StageError
from dtb.train.driver import clock
from dtb.train.log import read_begun, tell_begun, tell_broken
from tests.train.conftest import small_config, write_cohort

HERE = Path(__file__).parent
STUCK = """
import signal, subprocess, sys, time
from pathlib import Path
from dtb.train.driver import clock
clock.START_SECONDS = clock.END_SECONDS = 0.2
real, began = time.time, time.monotonic()
time.time = lambda: real() - 3600 * (time.monotonic() - began > 0.3)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as where Ray waits, and Python gets no word in
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(child.pid, flush=True)
with clock.ended_if_clock_holds_it(Path(sys.argv[1])):
    time.sleep(300)
"""


@pytest.fixture
def set_back(monkeypatch):
    """Set this process's clock back by one hour."""
    real, back = time.time, [0.0]
    monkeypatch.setattr("dtb.train.driver.clock.time.time", lambda: real() - back[0])
    monkeypatch.setattr(clock, "_LOOK_SECONDS", 0.02)

    def set_it_back() -> None:
        time.sleep(0.1)
        back[0] += 3600.0

    return set_it_back


@pytest.mark.slow
def test_a_training_that_does_not_begin_after_the_clock_was_set_back_ends_in_one_sentence(
    tmp_path, monkeypatch, capsys, set_back
):
    monkeypatch.setattr(clock, "START_SECONDS", 0.2)
    with (
        pytest.raises(StageError, match=r"set back by 3600 s .* --resume"),
        clock.ended_if_clock_holds_it(tmp_path),
    ):
        set_back()
        time.sleep(60)
    assert capsys.readouterr().err.count("clock was set back by 3600 s") == 1


def test_a_training_that_begins_goes_on_whatever_the_clock_does(tmp_path, monkeypatch, capsys, set_back):
    monkeypatch.setattr(clock, "START_SECONDS", 0.2)
    tell_begun(tmp_path)  # by a command before this one
    with clock.ended_if_clock_holds_it(tmp_path):
        set_back()
        time.sleep(0.1)
        tell_begun(tmp_path)
        time.sleep(0.4)
        told = capsys.readouterr().err
        set_back()
        time.sleep(0.4)
    assert "set back" in told
    assert not capsys.readouterr().err


def test_ranks_that_broke_have_to_begin_again(tmp_path):
    tell_begun(tmp_path)
    first = read_begun(tmp_path)
    tell_broken(tmp_path, None)
    assert read_begun(tmp_path) is None
    tell_begun(tmp_path)
    assert read_begun(tmp_path) not in (None, first)


@pytest.mark.slow
def test_a_driver_that_cannot_be_interrupted_is_ended_with_all_that_it_started(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STUCK, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("set back by 3600 s") == 2  # the warning, and the last word
    assert "Traceback" not in done.stderr
    assert not psutil.pid_exists(int(done.stdout)) or psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """Compile what sets the clock of preloaded processes back."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("needs Linux and a C compiler to set the clock of single processes back")
    library = tmp_path_factory.mktemp("shim") / "clock_back.so"
    built = subprocess.run(
        [compiler, "-O2", "-fPIC", "-shared", "-o", library, HERE / "clock_back.c", "-ldl"],
        capture_output=True,
        check=False,
    )
    if built.returncode:
        pytest.skip("the C compiler does not make a library of glibc's waits here")
    return library


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.on_request
def test_a_training_whose_machine_sets_its_clock_back_trains_or_ends_in_one_sentence(tmp_path, shim):
    shards, out, config = write_cohort(tmp_path / "shards"), tmp_path / "out", tmp_path / "config.yaml"
    config.write_text(to_yaml(small_config(num_workers=2)))
    back = tmp_path / "back"
    back.write_bytes(struct.pack("d", 0.0))
    shorter = "import sys; from dtb.train.driver import clock; clock.START_SECONDS = 150.0; from dtb.cli.entry import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", shorter, "train", str(shards), str(out), "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LD_PRELOAD": str(shim), "CLOCK_BACK_FILE": str(back)},
    )
    until = time.monotonic() + 240
    while not (out / "config.yaml").exists():  # workers are started now
        assert running.poll() is None, running.stderr and running.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(2.0)
    with back.open("r+b") as stream:
        stream.write(struct.pack("d", 3600.0))
    children = psutil.Process(running.pid).children(recursive=True)
    _, said = running.communicate(timeout=400)
    assert "clock was set back by 3600 s" in said
    assert "Traceback" not in said
    assert running.returncode == (0 if (out / "twin").exists() else 1)
    _, alive = psutil.wait_procs(children, timeout=90)
    assert not alive
