"""Workers for the pool's tests; in a module of their own, so that actors can import them, and little else."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray

from dtb.fleet.actors.actor import Work


@dataclasses.dataclass
class Misbehaving:
    """Draws a number a person; misbehaves for people whose key says so.

    `raise…` raises, `report…` is reported as failed, `once…` kills its process the first time, `always…` every time.
    """

    scale: float
    notes: Path
    seconds: float = 0.0

    def work(self, keys: Sequence[str]) -> Work:
        rows, failures = [], {}
        (self.notes / f"node-{ray.get_runtime_context().get_node_id()}").touch()
        for key in keys:
            time.sleep(self.seconds)
            with (self.notes / f"{key}.log").open("a") as log:
                log.write(f"{os.getpid()}\n")
            if key.startswith("raise"):
                raise RuntimeError(f"{key} cannot be simulated")
            tries = len((self.notes / f"{key}.log").read_text().splitlines())
            if key.startswith("always") or (key.startswith("once") and tries == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if key.startswith("report"):
                failures[key] = "not finite"
                continue
            rows.append((key, self.scale * np.random.default_rng(list(key.encode())).normal()))
        table = pa.table({"pseudonym": [key for key, _ in rows], "value": [value for _, value in rows]})
        return Work({"values": table}, failures)


@dataclasses.dataclass
class Erasing(Misbehaving):
    """Works, and once removes what was written of those before, where somebody's key begins with `erase`."""

    def work(self, keys: Sequence[str]) -> Work:
        if any(key.startswith("erase") for key in keys) and not _was_made(self.notes / "erased"):
            for path in (self.notes.parent / "out" / "values").iterdir():
                path.unlink()
        return super().work(keys)


class Allocating:
    """Asks for a large block twice in a row, and says how many page faults the second one took."""

    def __init__(self, _shared: object) -> None: ...

    def work(self, keys: Sequence[str]) -> Work:
        np.ones(2**23)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(2**23)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        return Work({"values": pa.table({"pseudonym": list(keys), "value": [faults] * len(keys)})})


@dataclasses.dataclass
class Gated:
    """Works on nobody until there is a file."""

    gate: Path

    def work(self, keys: Sequence[str]) -> Work:
        while not self.gate.exists():
            time.sleep(0.05)
        return Work({"values": pa.table({"pseudonym": list(keys), "value": [0.0] * len(keys)})})


FULL = 4 * 2**30
_USED = Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")


class Hungry:
    """Works on a node whose control group's figures can be written, and has them say that memory is full for as long as it lives with `hungry`."""

    def __init__(self, _shared: object) -> None: ...

    def work(self, keys: Sequence[str]) -> Work:
        if "hungry" in keys:
            until_it_ended = f"(while kill -0 {os.getpid()}; do sleep 0.1; done 2>/dev/null; echo 0 >{_USED}) &"
            subprocess.run(["setsid", "sh", "-c", until_it_ended], check=True)
            _USED.write_text(f"{FULL}\n")
            time.sleep(120.0)
        return Work({"values": pa.table({"pseudonym": list(keys), "value": [0.0] * len(keys)})})


@dataclasses.dataclass
class Unbuildable:
    """A worker whose twin cannot be loaded."""

    def __post_init__(self) -> None:
        raise RuntimeError("no such twin")


@dataclasses.dataclass
class Poisoned:
    """Works, but for the first actor that is built (or all on the node named in `notes`), which raises for everybody, and fast.

    A second actor of that node starts `late` seconds later, and others three times as late: until then nobody shows that it is the node.
    """

    scale: float
    notes: Path
    by_node: bool = False
    late: float = 0.0

    def __post_init__(self) -> None:
        node = ray.get_runtime_context().get_node_id()
        first = self.notes / "first"
        if self.by_node:
            self.is_poisoned = node == (self.notes / "poisoned-node").read_text()
            time.sleep(self.late * (int(_was_made(first)) if self.is_poisoned else 3))
        else:
            self.is_poisoned = not first.exists()
            first.touch()

    def work(self, keys: Sequence[str]) -> Work:
        if self.is_poisoned:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        time.sleep(0.02)
        if "bad" in keys:
            raise ValueError("bad cannot be simulated")
        table = pa.table({"pseudonym": list(keys), "value": [self.scale] * len(keys)})
        return Work({"values": table})


def _was_made(path: Path) -> bool:
    """Make an empty file; return whether it was there."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return True
    return False
