"""One private Ray of two cores for each process of the tests: starting one takes as long as most of what is tested on it.

Those that tests start for themselves have no process that a private one does without, either.

It is there from the first test with the marker `cluster` until a test of another kind of file, or one marked `own_ray`, which starts a Ray
of its own or wants none. Stages that a test calls find it and use it, whatever `cluster.num_cpus` says.
"""

from __future__ import annotations

import contextlib
import functools

import pytest

from dtb.cluster.connection import connected, without_idle_processes
from dtb.config import ClusterConfig

_running, _light = contextlib.ExitStack(), contextlib.ExitStack()
_files: set[object] = set()
"""Files with tests that use it: tests of others among them leave it running."""


def learn_files(items: list[pytest.Item]) -> None:
    """Learn which files hold tests that use it."""
    _files.update(item.path for item in items if _uses(item))


def prepare_for(item: pytest.Item) -> None:
    """Start it for a test that uses it; stop it before one that must not meet it."""
    if any(map(item.get_closest_marker, ("cluster", "own_ray"))):
        _start_no_idle_processes()
    if item.get_closest_marker("own_ray") or item.path not in _files:
        stop()
    elif _uses(item):
        # Where it runs already, this connects nothing anew.
        _running.enter_context(connected(ClusterConfig(num_cpus=2)))


@functools.cache
def _start_no_idle_processes() -> None:
    _light.enter_context(without_idle_processes())


def stop() -> None:
    """Stop it where it runs."""
    _running.close()


def _uses(item: pytest.Item) -> bool:
    return item.get_closest_marker("cluster") is not None and item.get_closest_marker("own_ray") is None
