"""The GPU day: every step is done whatever becomes of the others, and the report says what became of it."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import torch

from dtb.cli.command_line import parse
from dtb.config import ClusterConfig
from dtb.train.driver.room import require_machine
from scripts.bench import gpu_day
from scripts.bench.gpu_day import Step


def python(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", text


def test_a_step_that_fails_or_takes_too_long_keeps_none_from_being_done(tmp_path, monkeypatch):
    steps = [
        Step("fails", python("print('why'); raise SystemExit(3)"), 1),
        Step("hangs", python("import time; print('waiting', flush=True); time.sleep(100)"), 0.01),
        Step("passes", python("import os; print(os.environ['SAID'])"), 1, {"SAID": "hello"}),
    ]
    monkeypatch.setattr(gpu_day, "steps_without", lambda: steps)
    monkeypatch.setattr(gpu_day, "machine", lambda: {"gpu": None, "torch": "1.0"})
    assert gpu_day.main(tmp_path / "out") == 1
    found = json.loads((tmp_path / "out" / "gpu_day.json").read_text())
    assert [step["outcome"] for step in found["steps"]] == ["failed (3)", "took longer than 0.01 min", "passed"]
    assert [step["tail"] for step in found["steps"]] == [["why"], ["waiting"], ["hello"]]
    page = (tmp_path / "out" / "gpu_day.md").read_text()
    assert "No GPU was found" in page
    assert "- torch: 1.0" in page
    assert gpu_day.main(tmp_path / "out") == 2  # nothing is written over


def test_all_steps_together_take_at_most_twenty_minutes_and_their_commands_can_be_read(tmp_path):
    for steps in (gpu_day.steps_on_gpu(tmp_path), gpu_day.steps_without()):
        assert sum(step.minutes for step in steps) < 20
        for step in steps:
            if "dtb" in step.command:
                name, *rest = step.command[step.command.index("dtb") + 1 :]
                _, config = parse(name, rest)
                assert config.fleet.gpus_per_actor > 0
                assert config.train.use_gpu or name == "update"
            for word in step.command:
                if word.endswith((".py", ".yaml")) or word.startswith("tests/"):
                    assert (gpu_day.ROOT / word).exists()


def test_one_gpu_is_enough_for_every_step(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for step in gpu_day.steps_on_gpu(tmp_path):
        if "run" in step.command:
            _, config = parse("run", step.command[step.command.index("run") + 1 :])
            require_machine(dataclasses.replace(config, cluster=ClusterConfig(num_cpus=16)))


def test_every_file_with_a_test_that_needs_a_gpu_is_run_on_it():
    marked = [path for path in (gpu_day.ROOT / "tests").rglob("test_*.py") if "@pytest.mark.gpu\n" in path.read_text()]
    assert marked
    named = [gpu_day.ROOT / name for name in gpu_day.GPU_TESTS]
    assert [path for path in marked if not any(path.is_relative_to(one) for one in named)] == []


def test_a_gpu_that_torch_cannot_use_is_no_machine_without_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_day, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(gpu_day, "machine", lambda: {"gpu": None, "torch": "1.0+cpu"})
    assert gpu_day.main(tmp_path / "out") == 2
    assert "cannot be used by torch 1.0+cpu" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_a_step_leaves_running_holds_nothing_up(tmp_path, monkeypatch, capfd):
    child = f"import subprocess, sys; print('begun', flush=True); subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(20)'], start_new_session=True)"
    found = gpu_day.done(Step("leaves", python(child), 1))
    assert (found["outcome"], found["tail"]) == ("passed", ["begun"])
    assert found["seconds"] < 15
    assert "begun" in capfd.readouterr().out


def test_a_trainings_operations_stand_beside_the_devices_peak(tmp_path):
    assert gpu_day.training_figures(tmp_path) == {}
    (tmp_path / "train").mkdir()
    rows = [
        {"flops_per_second": 1e12, "peak_flops_share": 0.1, "subjects_per_second": 5.0, "peak_gpu_memory_gib": 3.0},
        {"flops_per_second": 2e12, "peak_flops_share": 0.2, "subjects_per_second": 4.0, "peak_gpu_memory_gib": 2.0},
    ]
    (tmp_path / "train" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = gpu_day.training_figures(tmp_path)
    assert found == {
        "people_per_second": 5.0,
        "tflops": pytest.approx(2.0),
        "share_of_peak": 0.2,
        "peak_gpu_memory_gib": 3.0,
    }
