"""Whoever stops a command, from the keyboard or through a scheduler, is told how to go on, and nothing of it runs on."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dtb.config import to_yaml
from dtb.train.checkpoints.checkpoint import newest_complete
from tests.train.conftest import small_config, write_cohort
from tests.train.ranks import read_rows

REPOSITORY = Path(__file__).parent.parent


def assert_interrupted(running: subprocess.Popen[str], number: signal.Signals, once: Path) -> str:
    """Send the signal as soon as a file is there, and see that the command ends as told, with all that it started."""
    began = time.monotonic()
    while not once.exists():
        assert running.poll() is None, running.stderr.read() if running.stderr else ""
        assert time.monotonic() - began < 240
        time.sleep(0.1)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "--resume" in told
    assert "Traceback" not in told
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    return told


@pytest.mark.cluster
@pytest.mark.own_ray
def test_an_interrupted_stage_says_how_to_go_on_and_goes_on(tmp_path: Path) -> None:
    small = {
        "synth.num-subjects": 12,
        "synth.num-regions": 12,
        "synth.num-causal-edges": 4,
        "synth.rest-seconds": 60,
        "ingest.min-rest-seconds": 30,
    }
    command = [sys.executable, "-m", "dtb", "run", str(REPOSITORY / "configs" / "demo.yaml"), str(tmp_path / "run")]
    command += [f"--{name}={value}" for name, value in small.items()]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert_interrupted(running, signal.SIGINT, tmp_path / "run" / "shards" / "config.yaml")
    assert subprocess.run([*command, "--resume", "--dry-run"], env=environment, check=False).returncode == 0


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_training_answers_ctrl_c_at_once_and_a_scheduler_with_a_checkpoint(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Ray Train has an answer to Ctrl-C of its own, which says nothing. No checkpoint would be due for a thousand epochs."""
    shards, out, config = write_cohort(tmp_path / "shards"), tmp_path / "out", tmp_path / "config.yaml"
    config.write_text(to_yaml(small_config(max_epochs=5000, patience_epochs=5000, checkpoint_every_epochs=1000)))
    running = subprocess.Popen(
        [sys.executable, "-m", "dtb", "train", str(shards), str(out), "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    told = assert_interrupted(running, number, out / "metrics.jsonl")
    checkpoint, _ = newest_complete(out / "checkpoints")
    if number is signal.SIGINT:
        assert checkpoint is None
        return
    assert checkpoint is not None
    assert f"{checkpoint.path.name} is saved" in told
    # Nothing that was finished is lost: the last epoch that was reported is in the checkpoint.
    assert checkpoint.progress.epoch == read_rows(out)[-1]["epoch"]
    assert checkpoint.best_weights()


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_sweep_answers_a_scheduler_with_a_checkpoint_of_who_trains_and_begins_nobody_else(tmp_path: Path) -> None:
    """Two members, and room for one of them. No checkpoint would be due for a thousand epochs."""
    shards, out, config = write_cohort(tmp_path / "shards"), tmp_path / "out", tmp_path / "config.yaml"
    long = small_config(max_epochs=5000, patience_epochs=5000, checkpoint_every_epochs=1000, cpus_per_worker=2.0)
    config.write_text(
        to_yaml(dataclasses.replace(long, cluster=dataclasses.replace(long.cluster, grace_seconds=100.0)))
    )
    command = [
        sys.executable,
        "-m",
        "dtb",
        "sweep",
        str(shards),
        str(out),
        "--config",
        str(config),
        "--seeds",
        "1",
        "2",
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    first, second = (out / "members" / f"fold0-seed{seed}" for seed in (1, 2))
    told = assert_interrupted(running, signal.SIGTERM, first / "metrics.jsonl")
    assert "members that were training have saved" in " ".join(told.split())
    checkpoint, _ = newest_complete(first / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.progress.epoch == read_rows(first)[-1]["epoch"]
    assert not (second / "metrics.jsonl").exists()
    assert subprocess.run([*command, "--resume", "--dry-run"], env=environment, check=False).returncode == 0
