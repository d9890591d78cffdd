"""`dtb doctor`: is this machine, or a cluster, fit for a run, and if not, what to do about it.

`judge` looks at what was measured on a machine and touches nothing. So every verdict can be tested without a machine that deserves it.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import platform
from collections.abc import Sequence
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from dtb.cluster.connection import connected, unreachable
from dtb.config import ClusterConfig
from dtb.doctor.measurements import PORTS, Machine, measure, version_of
from dtb.errors import ConfigurationError, StageError
from dtb.machine.gpu import FULL, fault_of
from dtb.terminal import out
from dtb.version import DISTRIBUTION, __version__

MIN_PYTHON = (3, 11)
MIN_MEMORY_GIB = 4.0
MIN_SHARED_GIB = 1.0
MIN_DISK_GIB = 5.0
MIN_OPEN_FILES = 4096
JOB_SERVER_PORT = 8265
_HERE_ALONE = ("disk, here", "ports", "Ray token", "Weights & Biases")
"""What says nothing about a cluster's node, where the working folder is Ray's and the cluster itself listens."""
_RESERVE_SECONDS = 40.0
"""How long it is waited for GPUs of a node that others may have."""
_GPU_ADVICE = {
    "problem": "Work that reserves it is refused: look at `nvidia-smi` and the driver there, and at the CUDA build of torch.",
    "note": "Another process has its memory: see `nvidia-smi`.",
}
Verdict = Literal["ok", "note", "problem"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, whether it is fit, and what to do if it is not."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def doctor(config: ClusterConfig) -> None:
    """Look at this machine, and at a cluster if an address is given, and print what was found.

    Raises
    ------
    StageError
        Something would make a run fail.
    """
    findings = judge(measure(multiply=True))
    if config.ray_address is not None:
        findings += judge_cluster(config)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    styles = {"ok": "green", "note": "yellow", "problem": "red"}
    for finding in findings:
        verdict = Text(finding.verdict, styles[finding.verdict])
        table.add_row(verdict, finding.name, finding.found, finding.advice)
    out.print(table)
    problems = [finding.name for finding in findings if finding.verdict == "problem"]
    if problems:
        raise StageError(f"a run would fail here: {', '.join(problems)}. The table says what to do.")
    out.print("A run can start here.")


def judge(machine: Machine) -> list[Finding]:
    """Return a finding for each thing that was measured: whether it is fit for a run.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    list of Finding
    """
    return [
        _judge_python(machine.python),
        *(_judge_package(name, machine) for name in machine.packages),
        _judge_compute(machine),
        Finding("recurrence", "ok", "compiled")
        if machine.has_compiled_scan
        else Finding(
            "recurrence",
            "note",
            "not compiled; PyTorch's operations are used instead, and are slower",
            "Install a C++ compiler, then dtb again.",
        ),
        Finding("Python's compiled files", "ok", "kept")
        if machine.has_compiled_files
        else Finding(
            "Python's compiled files",
            "note",
            "not kept: each process compiles PyTorch's thousands of files, which doubles the time until it begins",
            "Unset PYTHONDONTWRITEBYTECODE; where the environment is not yours to write, ask for `python -m compileall -q` on it.",
        ),
        _judge_operations(machine),
        _judge_space(
            "memory", machine.memory_gib, MIN_MEMORY_GIB, "problem", "Use a machine or a container with more memory."
        ),
        _judge_space(
            "shared memory",
            machine.shared_gib,
            MIN_SHARED_GIB,
            "note",
            "Ray keeps its objects in /dev/shm and falls back on the slower disk: start the container with --shm-size=4g.",
        ),
        _judge_space("disk, here", machine.disk_gib, MIN_DISK_GIB, "note", "Shards and checkpoints are written here."),
        _judge_space(
            "disk, temporary folder",
            machine.temporary_gib,
            MIN_DISK_GIB,
            "note",
            "Ray stops taking work when this disk is 95% full: set TMPDIR to a larger one.",
        ),
        Finding("open files", "ok", f"{machine.open_files}")
        if machine.open_files >= MIN_OPEN_FILES
        else Finding(
            "open files",
            "note",
            f"{machine.open_files}",
            f"Ray opens many connections: `ulimit -n {MIN_OPEN_FILES}` or more.",
        ),
        Finding("loopback", "ok", "answers")
        if machine.loopback is None
        else Finding(
            "loopback",
            "problem",
            machine.loopback,
            "A private Ray cluster talks to itself over 127.0.0.1: allow that in the firewall or container.",
        ),
        Finding("ports", "ok", f"{', '.join(map(str, PORTS))} are free")
        if not machine.ports_in_use
        else Finding(
            "ports",
            "ok",
            "in use: " + ", ".join(f"{port} ({PORTS[port]})" for port in machine.ports_in_use),
            "If a Ray cluster runs here, `--ray-address auto` uses it. `dtb view --port 0` takes a free port.",
        ),
        Finding("Ray token", "ok", "found")
        if machine.has_ray_token
        else Finding(
            "Ray token",
            "ok",
            "none; a private cluster makes its own",
            "For --ray-address, set RAY_AUTH_TOKEN to the cluster's.",
        ),
        Finding(
            "Weights & Biases",
            "ok",
            "not installed; runs are not recorded there",
            f"pip install '{DISTRIBUTION}[wandb]'",
        )
        if not machine.has_wandb
        else Finding("Weights & Biases", "ok", "has a key; runs are sent")
        if machine.has_wandb_key
        else Finding(
            "Weights & Biases",
            "ok",
            "no key; runs are kept offline",
            "`wandb login`, if you want them sent; `--track.wandb off` for none.",
        ),
    ]


def judge_cluster(config: ClusterConfig) -> list[Finding]:
    """Connect to a cluster, measure each of its nodes, and say what it has, which nodes are unfit, and which differ from this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        with connected(config):
            nodes = [node for node in ray.nodes() if node["Alive"]]
            resources = ray.cluster_resources()
            on_each = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
            look = ray.remote(measure)
            there = ray.get(
                [look.options(num_cpus=0, scheduling_strategy=node).remote() for node in on_each], timeout=120
            )
            faults = _multiply_on_each(nodes)
    except ConfigurationError as error:
        return [Finding("Ray cluster", "problem", str(error))]
    except ray.exceptions.RayError as error:
        return [
            Finding("Ray cluster", "problem", str(error).splitlines()[0], "`ray status` on its head node says more.")
        ]
    found = f"{len(nodes)} node(s), {resources.get('CPU', 0):g} cores, {resources.get('GPU', 0):g} GPUs"
    heads = [node["NodeManagerAddress"] for node in nodes if "node:__internal_head__" in node["Resources"]]
    return [
        Finding("Ray cluster", "ok", found),
        *map(_judge_job_server, heads),
        *_differences(there),
        *faults,
        *(
            finding
            for node, machine in zip(nodes, there, strict=True)
            for finding in _judge_node(node["NodeManagerAddress"], node["Resources"], machine)
        ),
    ]


def _judge_job_server(head: str) -> Finding:
    if unreachable(head, JOB_SERVER_PORT) is None:
        return Finding("Ray's job server", "ok", f"answers at {head}:{JOB_SERVER_PORT}")
    return Finding(
        "Ray's job server",
        "ok",
        f"cannot be reached at {head}:{JOB_SERVER_PORT} from here",
        f"Only `dtb submit` needs it: open a tunnel, `ssh -L {JOB_SERVER_PORT}:localhost:{JOB_SERVER_PORT} {head}`.",
    )


def _differences(there: list[Machine]) -> list[Finding]:
    """Find packages of which a node has another version than this machine."""
    own = {"Python": platform.python_version(), "dtb": __version__}
    here = own | {name: version_of(name) for name in there[0].packages}
    findings = []
    for name, version in here.items():
        others = sorted({str(_versions(machine)[name]) for machine in there if _versions(machine)[name] != version})
        if others and version is not None:
            found = f"{', '.join(others)} there, {version} here"
            findings.append(
                Finding(f"{name} on the cluster", "problem", found, "Install the same version on every node.")
            )
    return findings


def _versions(machine: Machine) -> dict[str, str | None]:
    return {"Python": ".".join(map(str, machine.python)), "dtb": machine.dtb, **machine.packages}


def _judge_node(address: str, resources: dict[str, Any], machine: Machine) -> list[Finding]:
    """Return what is unfit about one node of a cluster; what tasks see of its GPUs is for Ray to deal out, so that Ray is asked."""
    num_gpus = resources.get("GPU", 0)
    findings = [
        dataclasses.replace(finding, name=f"{finding.name}, node {address}")
        for finding in judge(dataclasses.replace(machine, has_nvidia_driver=False))
        if finding.verdict != "ok" and finding.name not in {*_HERE_ALONE, "Python", *machine.packages}
    ]
    if machine.has_nvidia_driver and not num_gpus:
        found = "an NVIDIA driver, but Ray offers no GPU"
        findings.append(
            Finding(
                f"GPUs, node {address}", "note", found, "Start Ray there with --num-gpus, if they are meant to be used."
            )
        )
    if num_gpus and (machine.packages.get("torch") or "").endswith("+cpu"):
        found = f"Ray offers {num_gpus:g}, but PyTorch there is a CPU build"
        findings.append(
            Finding(
                f"GPUs, node {address}", "problem", found, "Install a CUDA build: DTB_TORCH=cu130 bash scripts/demo."
            )
        )
    return findings


def _worst(faults: Sequence[str]) -> Verdict | None:
    """Return what faults of GPUs make of a machine: one whose memory others have is no broken one."""
    found = {fault for fault in faults if fault}
    return "problem" if found - {FULL} else "note" if found else None


def _faults_in_words(faults: Sequence[str]) -> str:
    counts = collections.Counter(fault for fault in faults if fault)
    return "; ".join(f"{count} of {len(faults)} cannot multiply: {fault}" for fault, count in counts.items())


def _multiply_on_each(nodes: list[dict[str, Any]]) -> list[Finding]:
    """Reserve the GPUs of every node, all or else one, and have them multiply: a node that has none free is at work."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(max_retries=0)(_faults_of_reserved)
    having = [node for node in nodes if node["Resources"].get("GPU", 0) >= 1]
    answers: dict[str, Sequence[str]] = {}
    for most in (math.inf, 1):
        asked = {}
        for node in having:
            if node["NodeID"] not in answers:
                on_it = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                wanted = min(int(node["Resources"]["GPU"]), most)
                asked[task.options(num_cpus=0, num_gpus=wanted, scheduling_strategy=on_it).remote()] = node["NodeID"]
        ready, waiting = ray.wait(list(asked), num_returns=len(asked), timeout=_RESERVE_SECONDS) if asked else ([], [])
        for reference in waiting:
            ray.cancel(reference, force=True)
        for reference in ready:
            try:
                answers[asked[reference]] = ray.get(reference)
            except ray.exceptions.RayError as error:
                answers[asked[reference]] = (str(error).splitlines()[0],)
    return [_judge_gpus(node, answers.get(node["NodeID"])) for node in having]


def _faults_of_reserved() -> tuple[str, ...]:
    """Have the GPUs that were reserved for this task multiply; others are not seen by it."""
    import ray
    import torch

    reserved = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return tuple(fault_of(torch.device("cuda", index)) for index in range(len(reserved)))


def _judge_gpus(node: dict[str, Any], faults: Sequence[str] | None) -> Finding:
    name = f"GPUs, node {node['NodeManagerAddress']}"
    if faults is None:
        return Finding(name, "ok", "all at work, so none was asked to multiply")
    if verdict := _worst(faults):
        return Finding(name, verdict, _faults_in_words(faults), _GPU_ADVICE[verdict])
    return Finding(name, "ok", f"{len(faults)} of {node['Resources']['GPU']:g} multiplied")


def _judge_operations(machine: Machine) -> Finding:
    name = "DeepSpeed operations"
    if machine.deepspeed_ops:
        return Finding(name, "ok", f"compiled: {', '.join(machine.deepspeed_ops)}")
    missing = [what for what, path in (("a C++ compiler", machine.compiler), ("ninja", machine.ninja)) if path is None]
    if not missing:
        return Finding(name, "ok", f"compiled when they are first needed, by {machine.compiler} and ninja")
    return Finding(
        name,
        "ok",
        f"none compiled, and none can be: {' and '.join(missing)} absent",
        "dtb needs none of them, unless train.deepspeed offloads the optimizer to DeepSpeed's own Adam (`torch_adam` false). Then install "
        "a compiler, and `pip install ninja`.",
    )


def _judge_python(python: tuple[int, int, int]) -> Finding:
    found = ".".join(map(str, python))
    if python[:2] >= MIN_PYTHON:
        return Finding("Python", "ok", found)
    return Finding("Python", "problem", found, f"Install Python {'.'.join(map(str, MIN_PYTHON))} or newer.")


def _judge_package(name: str, machine: Machine) -> Finding:
    from packaging.specifiers import SpecifierSet

    version, wanted = machine.packages[name], machine.requirements.get(name, "")
    if version is None:
        return Finding(name, "problem", "not installed", f'pip install "{name}{wanted}"')
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding(name, "problem", f"{version}; {wanted} is needed", f'pip install "{name}{wanted}"')
    return Finding(name, "ok", version)


def _judge_compute(machine: Machine) -> Finding:
    found = f"{machine.num_cores} core(s), " + (", ".join(machine.gpus) or "no GPU")
    if verdict := _worst(machine.gpu_faults):
        return Finding("compute", verdict, f"{found}; {_faults_in_words(machine.gpu_faults)}", _GPU_ADVICE[verdict])
    if machine.has_nvidia_driver and not machine.gpus:
        return Finding(
            "compute",
            "note",
            f"{found} that torch can use, though there is an NVIDIA driver",
            "Install a CUDA build of torch (DTB_TORCH=cu130 bash scripts/demo), or see whether CUDA_VISIBLE_DEVICES hides the GPU.",
        )
    return Finding("compute", "ok", found, "Train on it with --train.use-gpu." if machine.gpus else "")


def _judge_space(name: str, gib: float | None, least: float, verdict: Verdict, advice: str) -> Finding:
    if gib is None:
        return Finding(name, "ok", "cannot be known on this system")
    if gib >= least:
        return Finding(name, "ok", f"{gib:.1f} GiB")
    return Finding(name, verdict, f"{gib:.1f} GiB; {least:g} GiB or more are advised", advice)
