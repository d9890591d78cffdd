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
    quotas = [quota for quota in (_quota_v2(cgroups, groups), _quota_v1(cgroups)) if quota is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _quota_v2(cgroups: Path, groups: Path) -> float | None:
    """Return the smallest quota of this process's group and of those above it."""
    found = []
    own = Path()
    with contextlib.suppress(OSError):
        for line in groups.read_text(encoding="ascii").splitlines():
            if line.startswith("0::"):
                own = Path(line[3:].lstrip("/"))
    for folder in (own, *own.parents):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            allowed, period = (cgroups / folder / "cpu.max").read_text(encoding="ascii").split()
            found.append(float(allowed) / float(period))  # "max" is no number
    return min(found, default=None)


def _quota_v1(cgroups: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        allowed, period = (
            float((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period")
        )
        if allowed > 0:
            return allowed / period
    return None
