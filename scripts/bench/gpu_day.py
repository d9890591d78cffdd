"""What a GPU does with dtb, or, without one, what can be seen of that elsewhere: steps one after the other, and a report of all of them.

    bash scripts/gpu_day [OUT]                  makes the environment first
    python scripts/bench/gpu_day.py OUT         in this one

Each step is a command with a time that it may take; one that fails, or takes longer, does not keep the others from being done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from dtb.machine.gpu import has_nvidia_driver

ROOT = Path(__file__).parents[2]
DTB = (sys.executable, "-m", "dtb")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=0", "--durations-min=5")
GPU_TESTS = ("tests/twin/recurrence", "tests/machine/test_gpu.py")
_TAIL_LINES = 40
_TO_END_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Step:
    """One command.

    Attributes
    ----------
    name : str
    command : tuple of str
    minutes : float
        What it may take.
    environment : dict
        Variables beside this process's own.
    """

    name: str
    command: tuple[str, ...]
    minutes: float
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def steps_on_gpu(out: Path) -> list[Step]:
    """Return the steps on a GPU: 19 minutes at most."""
    run = out / "run"
    on_gpu = ("--fleet.gpus-per-actor=0.5", "--fleet.num-actors=1")
    return [
        Step("tests marked `gpu`, and the kernels", (*PYTEST, "-m", "gpu or not gpu", *GPU_TESTS), 4),
        Step("the recurrence", (sys.executable, "scripts/bench/scan.py", "--device", "cuda"), 5),
        Step(
            "training, simulation and search",
            (*DTB, "run", "configs/demo.yaml", str(run), "--train.use-gpu", "--train.num-workers=1", *on_gpu),
            8,
        ),
        Step("update", (*DTB, "update", str(run / "shards"), str(run / "train"), str(out / "update"), *on_gpu), 2),
    ]


def steps_without() -> list[Step]:
    """Return what can be done of it without a GPU."""
    kernels = "tests/twin/recurrence/test_persistent.py"
    any_speed = ("-m", "not gpu and not on_request")
    return [
        Step(
            "training, simulation, update and search on a device that stands in for a GPU",
            (*PYTEST, *any_speed, "tests/test_second_device.py", "tests/test_gpu_walk.py"),
            7,
        ),
        Step("kernels in Triton's interpreter", (*PYTEST, *any_speed, kernels), 5, {"TRITON_INTERPRET": "1"}),
        Step("kernels compiled for compute capability 9.0", (*PYTEST, "-m", "on_request", kernels), 3),
        Step(
            "recorded loops, with calls in place of recordings",
            (*PYTEST, *any_speed, "tests/twin/recurrence/test_capture.py"),
            2,
        ),
        Step("DeepSpeed's own check of settings", (*PYTEST, *any_speed, "tests/train/test_engine.py"), 2),
    ]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    import torch

    from dtb.version import versions_here

    found: dict[str, Any] = {
        "machine": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "gpu": None,
        **versions_here(),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "gpus": torch.cuda.device_count(),
            "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found


def done(step: Step) -> dict[str, Any]:
    """Do a step, and return its figures; what it prints is shown as it comes, and the end of it kept."""
    print(f"\n== {step.name}\n$ {' '.join(step.command)}", flush=True)
    began = time.monotonic()
    # A file, and no pipe: what a step leaves running may hold that open for ever.
    with tempfile.NamedTemporaryFile() as written, Path(written.name).open(encoding="utf-8", errors="replace") as read:
        child = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **step.environment},
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = _shown(child, read, began + 60 * step.minutes)
        if code is None:
            os.killpg(child.pid, signal.SIGTERM)
            if _shown(child, read, time.monotonic() + _TO_END_SECONDS) is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        read.seek(0)
        said = read.read()
    outcome = (
        "passed" if code == 0 else f"took longer than {step.minutes:g} min" if code is None else f"failed ({code})"
    )
    return {
        "name": step.name,
        "command": " ".join(Path(word).name if word == sys.executable else word for word in step.command),
        "outcome": outcome,
        "seconds": round(time.monotonic() - began, 1),
        "tail": said.splitlines()[-_TAIL_LINES:],
    }


def _shown(child: subprocess.Popen[bytes], written: TextIO, until: float) -> int | None:
    """Show what a command writes, as it comes, and return its exit code; None if it has not ended by then."""
    code = None
    while code is None and time.monotonic() < until:
        time.sleep(0.1)
        code = child.poll()
        print(written.read(), end="", flush=True)
    return code


def training_figures(run: Path) -> dict[str, float]:
    """Return what a training used of the device, from its epochs: the most memory, and the most operations a second beside its peak."""
    path = run / "train" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    if not rows:
        return {}
    fastest = max(rows, key=lambda row: row["flops_per_second"])
    return {
        "people_per_second": max(row["subjects_per_second"] for row in rows),
        "tflops": fastest["flops_per_second"] / 1e12,
        "share_of_peak": fastest["peak_flops_share"],
        "peak_gpu_memory_gib": max(row.get("peak_gpu_memory_gib", 0.0) for row in rows),
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the report."""
    lines = ["# GPU day" if found["machine"]["gpu"] else "# GPU day, without a GPU", ""]
    if not found["machine"]["gpu"]:
        lines += ["No GPU was found: no figure here is one of a GPU, and what passed may still fail on one.", ""]
    lines += [f"- {name}: {value}" for name, value in found["machine"].items() if value is not None]
    lines += ["", "| step | outcome | seconds |", "|---|---|---|"]
    lines += [f"| {step['name']} | {step['outcome']} | {step['seconds']:.0f} |" for step in found["steps"]]
    if training := found.get("training"):
        lines += ["", "| training | |", "|---|---|"]
        lines += [f"| {name.replace('_', ' ')} | {value:.3g} |" for name, value in training.items()]
    for step in found["steps"]:
        lines += ["", f"## {step['name']}", "", "```text", f"$ {step['command']}", *step["tail"], "```"]
    return "\n".join(lines) + "\n"


def main(out: Path) -> int:
    """Do all steps, write the report, and return the exit code."""
    if out.exists() and any(out.iterdir()):
        print(f"{out} is not empty: remove it, or give another folder.", file=sys.stderr)
        return 2
    here = machine()
    if here["gpu"] is None and has_nvidia_driver():
        print(
            f"This machine has NVIDIA's driver, but its GPU cannot be used by torch {here['torch']}: nothing would be seen of it. Make the "
            "environment with a build for CUDA, as DTB_TORCH=cu130 bash scripts/gpu_day does (remove .venv before), or see `dtb doctor`.",
            file=sys.stderr,
        )
        return 2
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    steps = steps_on_gpu(out) if here["gpu"] else steps_without()
    found: dict[str, Any] = {"machine": here, "steps": []}
    for step in steps:
        found["steps"].append(done(step))
        found["training"] = training_figures(out / "run")
        # After each, so that a machine that is taken away leaves what was seen.
        (out / "gpu_day.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (out / "gpu_day.md").write_text(as_markdown(found), encoding="utf-8")
    print(f"\nThe report is {out / 'gpu_day.md'}.")
    return int(any(step["outcome"] != "passed" for step in found["steps"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    sys.exit(main(parser.parse_args().out))
