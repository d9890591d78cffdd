"""What runs within an actor: the worker, whose failures are caught and whose results are written.

A failure that the worker itself reports (`Work.failures`) is that person's. An exception may be the actor's fault as well as the
person's (a broken GPU, a node without the shards): it is returned, and the driver has the person tried on another actor.
"""

from __future__ import annotations

import collections
import dataclasses
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from dtb.cluster.connection import has_gpu
from dtb.cluster.shared_folder import SharedFolder
from dtb.errors import StageError
from dtb.fleet.actors.ledger import FAILED, OK, Ledger, status_table
from dtb.machine.gpu import fault_of, keep_to_share
from dtb.machine.memory import keep_freed_memory

StatusRow = tuple[str, str, str, float]


@dataclasses.dataclass(frozen=True)
class Work:
    """The results of one batch.

    Attributes
    ----------
    tables : mapping of str to Table
        Rows of the people who did not fail, by the ledger's table names.
    failures : mapping of str to str
        Why people failed, by key.
    notes : mapping of str to str
        Remarks on people who did not fail, by key.
    """

    tables: Mapping[str, pa.Table]
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Worker(Protocol):
    """What an actor runs: it does the work on a batch of people."""

    def work(self, keys: Sequence[str]) -> Work:
        """Return the results of some people; after an exception each person is tried alone."""


class Started(NamedTuple):
    """An actor's answer to its start.

    Attributes
    ----------
    node : str
        Ray's name of its node.
    host : str
    error : str
        Why it cannot work; empty if it can.
    """

    node: str
    host: str
    error: str


class Attempt(NamedTuple):
    """What came of a batch.

    Attributes
    ----------
    rows : list of StatusRow
        People who are done, or whose failure the worker reported.
    raised : dict of str to str
        The exception that each of the others raised when tried alone.
    """

    rows: list[StatusRow]
    raised: dict[str, str]


class Actor:
    """A worker within a Ray actor.

    Parameters
    ----------
    make_worker : callable
        Builds the worker from `shared`.
    shared : object
    ledger : Ledger
    folder : SharedFolder
        The ledger's folder as the driver marked it.
    name : str
        A name that no other actor of the pool has.
    """

    def __init__(
        self, make_worker: Callable[[Any], Worker], shared: Any, ledger: Ledger, folder: SharedFolder, name: str
    ) -> None:
        self._make_worker, self._shared = make_worker, shared
        self._ledger, self._folder, self._name = ledger, folder, name
        self._worker: Worker | None = None

    def start(self) -> Started:
        """Build the worker, and say where it is."""
        import ray

        if not has_gpu():
            # Each step of a search frees what the next one asks for; given back in between, it costs an actor page faults instead.
            keep_freed_memory()
        error = ""
        try:
            self._folder.require(self._name)
            if has_gpu():
                _take_gpu(ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0))
            self._worker = self._make_worker(self._shared)
            _keep_to_cores(ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0))
        except Exception as problem:  # noqa: BLE001  it may be this node's alone; the driver decides
            error = _reason(problem)
        return Started(ray.get_runtime_context().get_node_id(), socket.gethostname(), error)

    def do(self, batches: list[list[str]]) -> list[Attempt]:
        """Work on batches, one after another, and write the results of all who did not raise an exception."""
        return [self._do(keys) for keys in batches]

    def _do(self, keys: list[str]) -> Attempt:
        raised: dict[str, str] = {}
        together = self._together(keys) if len(keys) > 1 else None
        parts = [self._alone(key, raised) for key in keys] if together is None else [together]
        rows, tables = [], collections.defaultdict(list)
        for part_rows, part_tables in filter(None, parts):
            rows += part_rows
            for name, table in part_tables.items():
                if table.num_rows:
                    tables[name].append(table)
        if rows:
            merged = {name: pa.concat_tables(found).unify_dictionaries() for name, found in tables.items()}
            self._ledger.commit(keys, merged, status_table(rows))
        return Attempt(rows, raised)

    def _together(self, keys: list[str]) -> _Part | None:
        start = time.perf_counter()
        assert self._worker is not None
        try:
            work = self._worker.work(keys)
        except Exception:  # noqa: BLE001  whose failure it was is found by working on each person alone
            return None
        each = (time.perf_counter() - start) / len(keys)
        return [_row(key, work, each) for key in keys], work.tables

    def _alone(self, key: str, raised: dict[str, str]) -> _Part | None:
        start = time.perf_counter()
        assert self._worker is not None
        try:
            work = self._worker.work([key])
        except Exception as error:  # noqa: BLE001  one person's failure is never the stage's end
            raised[key] = _reason(error)
            return None
        return [_row(key, work, time.perf_counter() - start)], work.tables


_Part = tuple[list[StatusRow], Mapping[str, pa.Table]]


def _keep_to_cores(share: float) -> None:
    """Compute with as many threads as cores were reserved, whatever OMP_NUM_THREADS says: others would wait in loops."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, int(share)))


def _take_gpu(share: float) -> None:
    """Refuse a reserved GPU that cannot multiply, and keep to the share of it that was reserved."""
    import torch

    gpu = torch.device("cuda")
    if fault := fault_of(gpu):
        raise StageError(f"the GPU that was reserved cannot be used ({fault})")
    keep_to_share(gpu, share)


def _row(key: str, work: Work, seconds: float) -> StatusRow:
    if key in work.failures:
        return key, FAILED, work.failures[key], seconds
    return key, OK, work.notes.get(key, ""), seconds


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__
