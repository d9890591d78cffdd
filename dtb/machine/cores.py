"""How many processor cores this process may use: of a shared machine, often fewer than it has."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS, groups: Path = Path("/proc/self/cgroup")) -> int:
    """Return the number of cores that affinity (taskset, Slurm) and a quota (containers, Kubernetes) leave, at least 1.

    Parameters
    ----------
    cgroups, groups : Path
        Where Linux mounts control groups, and where it says which this process is in.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_quotas_v2(cgroups, groups), *_quotas_v1(cgroups, groups)]
    return max(1, min([cores, *map(math.ceil, quotas)]))


def _quotas_v2(cgroups: Path, groups: Path) -> list[float]:
    """Return the quotas of this process's group and of those above it."""
    found = []
    for folder in _own_and_above(groups, ""):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            allowed, period = (cgroups / folder / "cpu.max").read_text(encoding="ascii").split()
            found.append(float(allowed) / float(period))  # "max" is no number
    return found


def _quotas_v1(cgroups: Path, groups: Path) -> list[float]:
    """Return the same of older control groups, where each kind of limit has a tree of its own."""
    found = []
    for folder in _own_and_above(groups, "cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            allowed, period = (
                float((cgroups / "cpu" / folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii"))
                for name in ("quota", "period")
            )
            if allowed > 0:
                found.append(allowed / period)
    return found


def _own_and_above(groups: Path, limit: str) -> list[Path]:
    """Return this process's group for a kind of limit, and those above it: in a container the root may be all that is seen of them."""
    own = Path()
    with contextlib.suppress(OSError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, limits, name = line.split(":", 2)
            if limit in limits.split(","):
                own = Path(name.lstrip("/"))
    return [own, *own.parents]
