"""What a cluster's processes do first in some tests, so that a training's passes wait, take longer or take more memory.

Most of these processes train nothing: this file imports nothing that they do without, and changes `dtb.twin.objective` once a process has
imported it.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_MODULE = "dtb.twin.objective"


class _Once(MetaPathFinder):
    """Has a function called with the objective's class once its module is imported."""

    def __init__(self, act: Callable[[type], None]) -> None:
        self._act = act

    def find_spec(self, fullname, path, target=None):
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self._act(module.Objective)

        spec.loader.exec_module = exec_module
        return spec


def before_each_pass(act: Callable[[Any], object]) -> None:
    """Have a function called with each batch before its pass, whose result is held for as long, in a process that imports the objective later."""

    def change(objective):
        forward = objective.forward

        def changed(self, batch):
            held = act(batch)
            found = forward(self, batch)
            del held
            return found

        objective.forward = changed

    sys.meta_path.insert(0, _Once(change))


def environment_of(hook: Callable[[], None]) -> dict[str, object]:
    """Return the runtime environment in which each process calls `hook` first."""
    return {"worker_process_setup_hook": hook, "env_vars": {"PYTHONPATH": str(_ROOT)}}


def half_a_second_longer() -> None:
    """Let each pass take half a second longer."""
    before_each_pass(lambda _: time.sleep(0.5))


def no_further_than(epochs: int, out: Path, gate: Path) -> Callable[[], None]:
    """Return a hook that lets passes wait after so many epochs until there is a file `gate`: nothing is over before it breaks."""

    def has_to_wait():
        path = out / "metrics.jsonl"
        return path.is_file() and path.read_bytes().count(b"\n") >= epochs and not gate.exists()

    def wait(_):
        while has_to_wait():
            time.sleep(0.02)

    return lambda: before_each_pass(wait)


def hungry(bytes_a_person: int, people: int | None = None) -> Callable[[], None]:
    """Return a hook that lets each pass take so much memory for each person, where there is some for no more than `people` of them.

    With None there is as much as the machine has, and it is held for a while, so that whoever watches the machine sees it.
    """

    def take(batch):
        import torch

        if people is None:
            taken = torch.ones(bytes_a_person * len(batch.pseudonyms), dtype=torch.uint8)
            time.sleep(3.0)
            return taken
        if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
            status = Path("/proc/self/status").read_text().splitlines()
            has = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
            resource.setrlimit(resource.RLIMIT_DATA, (has + people * bytes_a_person, resource.RLIM_INFINITY))
        return torch.empty(bytes_a_person * len(batch.pseudonyms), dtype=torch.uint8)

    return lambda: before_each_pass(take)
