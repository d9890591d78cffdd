"""Waiting for room on a cluster that others use: said every half minute, until a limit that the configuration names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dtb.config import ClusterConfig
from dtb.terminal import err

SAY_EVERY_SECONDS = 30.0


def has_come(answer: Any, cluster: ClusterConfig, in_words: Callable[[float], str]) -> bool:
    """Wait for the answer of a task that has to find room first.

    Parameters
    ----------
    answer : ray.ObjectRef
    cluster : ClusterConfig
        `wait_seconds` is the limit.
    in_words : callable
        Returns what is waited for, given for how many seconds it was.

    Returns
    -------
    bool
        False where the limit came first.
    """
    import ray

    began = said = time.monotonic()
    while not ray.wait([answer], timeout=1.0)[0]:
        now = time.monotonic()
        if now - began > cluster.wait_seconds:
            return False
        if now - said > SAY_EVERY_SECONDS:
            said = now
            err.print(in_words(now - began))
    return True


def offered() -> str:
    """Return in words what all nodes of the cluster have, free or not."""
    import ray

    have = ray.cluster_resources()
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    return f"{have.get('CPU', 0.0):g} CPU(s) and {have.get('GPU', 0.0):g} GPU(s) on {nodes} node(s)"
