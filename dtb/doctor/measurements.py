"""What `dtb doctor` looks at on a machine: measured here, judged by nobody."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import importlib.util
import os
import resource
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from dtb.cluster.connection import unreachable
from dtb.machine.cores import usable_cores
from dtb.machine.gpu import fault_of, has_nvidia_driver
from dtb.track import has_key, is_installed
from dtb.version import DISTRIBUTION, __version__

GIB = 2**30
PACKAGES = ("torch", "ray", "deepspeed", "webdataset", "nibabel", "nilearn", "pyarrow", "safetensors")
PORTS = {6379: "ray start --head", 8265: "Ray's job server", 8765: "dtb view"}
"""Ports that something of a run listens at unless told otherwise, and what."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What was measured; None where it cannot be known.

    Attributes
    ----------
    python : tuple of int
    dtb : str
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
    gpu_faults : tuple of str
        What is wrong with each, see `dtb.machine.gpu.fault_of`; empty where none was asked to multiply.
    has_nvidia_driver : bool
        Whether the machine has an NVIDIA driver, whatever torch can do.
    has_compiled_scan : bool
        Whether the recurrence was compiled when dtb was installed.
    has_compiled_files : bool
        Whether PyTorch's Python files are kept as bytecode, in place of being compiled by each process that imports them.
    deepspeed_ops : tuple of str
        Names of DeepSpeed's operations that were compiled when it was installed.
    compiler, ninja : str or None
        Paths of what compiles DeepSpeed's other operations when they are first needed.
    loopback : str or None
        Why a connection of this machine to itself fails; None if it works.
    ports_in_use : tuple of int
        Those of `PORTS` at which something listens on this machine.
    has_wandb, has_wandb_key : bool
    has_ray_token : bool
        Whether a token for a cluster of others was given.
    """

    python: tuple[int, int, int]
    dtb: str
    packages: dict[str, str | None]
    requirements: dict[str, str]
    num_cores: int
    memory_gib: float | None
    shared_gib: float | None
    disk_gib: float | None
    temporary_gib: float | None
    open_files: int
    gpus: tuple[str, ...]
    gpu_faults: tuple[str, ...]
    has_nvidia_driver: bool
    has_compiled_scan: bool
    has_compiled_files: bool
    deepspeed_ops: tuple[str, ...]
    compiler: str | None
    ninja: str | None
    loopback: str | None
    ports_in_use: tuple[int, ...]
    has_wandb: bool
    has_wandb_key: bool
    has_ray_token: bool


def measure(*, multiply: bool = False) -> Machine:
    """Look at the machine that this process runs on.

    Parameters
    ----------
    multiply : bool
        Ask each GPU for a product of matrices: of those that a scheduler deals out, only by a process that reserved them.
    """
    import torch

    return Machine(
        python=sys.version_info[:3],
        dtb=__version__,
        packages={name: version_of(name) for name in PACKAGES},
        requirements=_requirements(),
        num_cores=usable_cores(),
        memory_gib=_memory_gib(),
        shared_gib=_free_gib(Path("/dev/shm")),
        disk_gib=_free_gib(Path.cwd()),
        temporary_gib=_free_gib(Path(tempfile.gettempdir())),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        gpu_faults=tuple(
            fault_of(torch.device("cuda", index)) for index in range(torch.cuda.device_count()) if multiply
        ),
        has_nvidia_driver=has_nvidia_driver(),
        has_compiled_scan=importlib.util.find_spec("dtb.twin.recurrence._scan") is not None,
        has_compiled_files=Path(importlib.util.cache_from_source(torch.__file__)).is_file(),
        deepspeed_ops=_deepspeed_ops(),
        compiler=shutil.which(os.environ.get("CXX", "c++")),
        ninja=shutil.which("ninja"),
        loopback=_loopback(),
        ports_in_use=tuple(port for port in PORTS if unreachable("127.0.0.1", port) is None),
        has_wandb=is_installed(),
        has_wandb_key=has_key(),
        has_ray_token=bool(os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"))
        or Path("~/.ray/auth_token").expanduser().is_file(),
    )


def version_of(name: str) -> str | None:
    """Return a package's installed version; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> dict[str, str]:
    """Read what this dtb asks for; nothing where it runs from its source folder without having been installed."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {found.name: str(found.specifier) for found in map(Requirement, lines) if found.marker is None}


def _free_gib(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / GIB
    except OSError:
        return None


def _memory_gib() -> float | None:
    """Return the machine's memory, or the container's share of it."""
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


def _deepspeed_ops() -> tuple[str, ...]:
    """Read which operations DeepSpeed says it was installed with, without the seconds that importing it takes."""
    found = importlib.util.find_spec("deepspeed")
    path = Path(found.origin or "").parent / "git_version_info_installed.py" if found else Path()
    if not path.is_file():
        return ()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "installed_ops"
        ):
            return tuple(name for name, is_there in ast.literal_eval(node.value).items() if is_there)
    return ()
