"""`dtb doctor`: is this machine, or a cluster, fit for a run, and if not, what to do about it.

`measure` looks at the machine and judges nothing; `judge` looks at what was measured and touches nothing. So every verdict can be
tested without a machine that deserves it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Literal

from rich.markup import escape
from rich.table import Table

from dtb.cluster import connected
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError
from dtb.terminal import out
from dtb.track import has_key

GIB = 2**30
MIN_PYTHON = (3, 11)
MIN_MEMORY_GIB = 4.0
MIN_SHARED_GIB = 1.0
MIN_DISK_GIB = 5.0
MIN_OPEN_FILES = 4096
PACKAGES = ("torch", "ray", "deepspeed", "webdataset", "nibabel", "nilearn", "pyarrow", "safetensors", "wandb")
Verdict = Literal["ok", "note", "problem"]


@dataclasses.dataclass(frozen=True)
class Machine:
    """What was measured; None where it cannot be known.

    Attributes
    ----------
    python : tuple of int
    packages : dict of str to str or None
        Installed version of each package that a run needs; None if it is absent.
    requirements : dict of str to str
        What this version of dtb asks for, for example ``">=2.60"``.
    num_cores : int
        Cores that this process may use.
    memory_gib, shared_gib, disk_gib, temporary_gib : float or None
        Memory that this process may use, and free space: of shared memory, of the working folder, of the temporary folder.
    open_files : int
        How many files and connections a process may have open.
    gpus : tuple of str
        Names of the GPUs that torch can use.
    has_nvidia_driver : bool
        Whether the machine has an NVIDIA driver, whatever torch can do.
    loopback : str or None
        Why a connection of this machine to itself fails; None if it works.
    has_wandb_key : bool
    has_ray_token : bool
        Whether a token for a cluster of others was given.
    """

    python: tuple[int, int, int]
    packages: dict[str, str | None]
    requirements: dict[str, str]
    num_cores: int
    memory_gib: float | None
    shared_gib: float | None
    disk_gib: float | None
    temporary_gib: float | None
    open_files: int
    gpus: tuple[str, ...]
    has_nvidia_driver: bool
    loopback: str | None
    has_wandb_key: bool
    has_ray_token: bool


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
    findings = judge(measure())
    if config.ray_address is not None:
        findings += judge_cluster(config)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    marks = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "problem": "[red]problem[/red]"}
    for finding in findings:
        table.add_row(marks[finding.verdict], finding.name, escape(finding.found), escape(finding.advice))
    out.print(table)
    problems = [finding.name for finding in findings if finding.verdict == "problem"]
    if problems:
        raise StageError(f"a run would fail here: {', '.join(problems)}. The table says what to do.")
    out.print("A run can start here.")


def measure() -> Machine:
    """Look at the machine that this process runs on."""
    import torch

    return Machine(
        python=sys.version_info[:3],
        packages={name: _version(name) for name in PACKAGES},
        requirements=_requirements(),
        num_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        shared_gib=_free_gib(Path("/dev/shm")),
        disk_gib=_free_gib(Path.cwd()),
        temporary_gib=_free_gib(Path(tempfile.gettempdir())),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        has_nvidia_driver=Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None,
        loopback=_loopback(),
        has_wandb_key=has_key(),
        has_ray_token=bool(os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"))
        or Path("~/.ray/auth_token").expanduser().is_file(),
    )


def judge(machine: Machine) -> list[Finding]:
    """Say of each thing that was measured whether it is fit for a run.

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
        Finding("Ray token", "ok", "found")
        if machine.has_ray_token
        else Finding(
            "Ray token",
            "ok",
            "none; a private cluster makes its own",
            "For --ray-address, set RAY_AUTH_TOKEN to the cluster's.",
        ),
        Finding("Weights & Biases", "ok", "has a key; runs are sent")
        if machine.has_wandb_key
        else Finding(
            "Weights & Biases",
            "ok",
            "no key; runs are kept offline",
            "`wandb login`, if you want them sent; `--track.wandb off` for none.",
        ),
    ]


def judge_cluster(config: ClusterConfig) -> list[Finding]:
    """Connect to a cluster and say what it has, and which of its nodes have other versions than this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        with connected(config):
            nodes = [node for node in ray.nodes() if node["Alive"]]
            resources = ray.cluster_resources()
            here = {"Python": platform.python_version(), **{name: _version(name) for name in ("dtb", *PACKAGES)}}
            on_each = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
            look = ray.remote(_versions_there)
            there = ray.get(
                [look.options(num_cpus=0, scheduling_strategy=node).remote(list(here)) for node in on_each], timeout=120
            )
    except ConfigurationError as error:
        return [Finding("Ray cluster", "problem", str(error))]
    except ray.exceptions.RayError as error:
        return [
            Finding("Ray cluster", "problem", str(error).splitlines()[0], "`ray status` on its head node says more.")
        ]
    found = f"{len(nodes)} node(s), {resources.get('CPU', 0):g} cores, {resources.get('GPU', 0):g} GPUs"
    findings = [Finding("Ray cluster", "ok", found)]
    for name, version in here.items():
        others = sorted({str(versions[name]) for versions in there if versions[name] != version})
        if others and version is not None:
            found = f"{', '.join(others)} there, {version} here"
            advice = "Install the same version on every node."
            findings.append(Finding(f"{name} on the cluster", "problem", found, advice))
    return findings


def _versions_there(names: list[str]) -> dict[str, str | None]:
    return {name: platform.python_version() if name == "Python" else _version(name) for name in names}


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


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> dict[str, str]:
    """Read what this dtb asks for; nothing where it runs from its source folder without having been installed."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("dtb") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {found.name: str(found.specifier) for found in map(Requirement, lines) if found.marker is None}


def _free_gib(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / GIB
    except OSError:
        return None


def _memory_gib() -> float | None:
    """Give the machine's memory, or the container's share of it."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return None
    for path in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            limits.append(int(text))
    return min(limits) / GIB


def _loopback() -> str | None:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        return str(error)
    return None
