"""The recipes in `launch/`: what they hand to kubectl, sbatch and the job server is what `dtb submit` makes of their settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.submit.kuberay import check

ROOT = Path(__file__).parents[2]


def run(name: str, tmp_path: Path, *arguments: str, edit: dict[str, str] | None = None) -> tuple[str, str]:
    """Return what a recipe printed, and what it handed to the tool that it calls; `edit` changes settings as a user would."""
    tools, taken = tmp_path / "bin", tmp_path / "taken"
    tools.mkdir()
    for tool in ("kubectl", "sbatch"):
        (tools / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >{taken}\ncat >>{taken}\n')
        (tools / tool).chmod(0o755)
    text = (ROOT / "launch" / name).read_text()
    for old, new in (edit or {}).items():
        assert f"\n{old}" in text, old
        text = text.replace(f"\n{old}", f"\n{new}", 1)
    mine = tmp_path / "mine.sh"
    mine.write_text(text)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "USER": "me", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", str(mine), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, taken.read_text() if taken.exists() else ""


def test_the_kubernetes_recipe_applies_a_job_that_kuberay_accepts_with_its_settings(tmp_path):
    edits = {"node_gpus=0": "node_gpus=4", "secrets=()": "secrets=(WANDB_API_KEY)", "workers=2": "workers=8"}
    _, taken = run("on_kubernetes.sh", tmp_path, edit=edits)
    command, manifest = taken.split("\n", 1)
    assert command == "kubectl apply -f -"
    files, job = yaml.safe_load_all(manifest)
    settings = yaml.safe_load(files["data"]["config.yaml"])
    assert (settings["train"]["num_workers"], settings["train"]["min_workers"]) == (8, 1)
    assert settings["train"]["use_gpu"] is True
    assert settings["launch"]["secrets"] == ["WANDB_API_KEY"]
    check(job)


def test_the_slurm_recipe_hands_its_batch_script_to_sbatch(tmp_path):
    _, taken = run("on_slurm.sh", tmp_path, edit={"partition= ": "partition=gpu ", "hours=24": "hours=2"})
    command, script = taken.split("\n", 1)
    assert command.strip() == "sbatch"
    assert "#SBATCH --partition=gpu" in script
    assert "#SBATCH --time=120" in script
    assert "/scratch/me/venv" in script
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["on_kubernetes.sh", "on_slurm.sh"])
def test_a_dry_run_prints_the_same_and_sends_nothing(name, tmp_path):
    printed, taken = run(name, tmp_path, "--dry-run")
    assert "dtb run" in printed
    assert taken == ""


def test_the_recipe_for_a_running_cluster_lists_what_would_travel(tmp_path):
    printed, _ = run("on_ray_cluster.sh", tmp_path, "--dry-run")
    assert "config.yaml" in printed


def test_every_recipe_is_in_the_readme():
    page = (ROOT / "launch" / "README.md").read_text()
    for path in (ROOT / "launch").iterdir():
        if path.suffix in {".sh", ".py"} and path.name != "__init__.py":
            assert f"]({path.name})" in page
