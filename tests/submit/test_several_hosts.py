"""The real submit path and the real Slurm script on several hosts of their own, made of namespaces or of loopback addresses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launch.several_hosts import why_no_namespaces
from tests.submit.clusters import REPOSITORY, plain_environment

pytestmark = pytest.mark.on_request

SMALL = """
name: several-hosts
synth: {num_subjects: 16, num_regions: 12, num_causal_edges: 4, rest_seconds: 130, tasks: [hammer]}
ingest: {tasks: [hammer]}
twin: {num_hidden: 8}
train: {num_workers: 2, max_epochs: 1, batch_size: 8}
fleet: {num_actors: 1, subjects_per_batch: 16}
simulate: {num_draws: 1}
intervene: {num_steps: 1}
evaluate: {num_bootstrap: 100}
report: {person_pages: 0}
cluster: {pools: true}
launch: {node_cpus: 1, node_memory_gib: 1}
track: {wandb: "off"}
"""


@pytest.fixture
def namespaces() -> None:
    """Skip where users may not make namespaces."""
    if reason := why_no_namespaces():
        pytest.skip(f"hosts cannot be namespaces here: {reason}")


def run_on_hosts(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "small.yaml").write_text(SMALL)
    command = [sys.executable, str(REPOSITORY / "launch" / "several_hosts.py"), *options]
    return subprocess.run(
        [*command, str(folder / "small.yaml"), str(folder / "run")],
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=560,
    )


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A folder in which a run ends at its first stage, with 2."""
    (tmp_path / "run" / "cohort").mkdir(parents=True)
    (tmp_path / "run" / "cohort" / "mine.txt").write_text("mine")
    return tmp_path


def test_a_run_is_submitted_to_three_hosts_and_two_of_them_train_it_together(namespaces: None, tmp_path: Path) -> None:
    done = run_on_hosts(tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert (tmp_path / "run.submitted" / "config.yaml").is_file()
    assert "is done." in done.stderr


def test_the_batch_script_starts_ray_on_both_hosts_of_its_allocation_and_trains_there(
    namespaces: None, tmp_path: Path
) -> None:
    """Pools are asked for, which an allocation does not have."""
    done = run_on_hosts(tmp_path, "--slurm")
    assert "Running command on head node" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]  # both have joined
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert {path.name for path in (tmp_path / "run.submitted").iterdir()} == {"config.yaml"}  # its token is gone


def test_without_namespaces_the_hosts_are_loopback_addresses(used: Path) -> None:
    done = run_on_hosts(used, "--loopback")
    assert "http://127.0.0.2:8265" in done.stderr, done.stderr[-2000:]
    assert f"{used / 'run'} is not empty" in done.stdout
    assert done.returncode == 2
