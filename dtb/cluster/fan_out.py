"""One Ray task an item, a bounded number of them unfinished, results as they come.

An item whose work crashes its process, or the machine under it, costs that item only, and keeps nobody waiting; one that memory ran out
for is tried again with nobody beside it. Where work is written into a folder, each process first proves that it sees the driver's.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dtb.cluster.connection import connected
from dtb.cluster.shared_folder import SharedFolder, marked
from dtb.cluster.waiting import has_come, offered
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError

__all__ = ["CRASHED", "as_finished"]

_IN_FLIGHT_PER_CPU = 2
_TRIES = 2
CRASHED = "its process crashed"
"""What cut an item off whose own process ended: the work itself did it, or a watchdog in it."""
_DEATHS = {
    "WorkerCrashedError": CRASHED,
    "OutOfMemoryError": "the machine's memory ran out, and its process was ended; fewer at once need less (cluster.num_cpus)",
    "NodeDiedError": "the machine that worked on it was lost",
    "ObjectLostError": "its result was lost with the machine that held it",
}
"""Ray's errors that say nothing of the work itself, which is tried again; none is a kind of another."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def as_finished(
    work: Callable[[Item, Any], Result],
    items: Iterable[Item],
    shared: Any,
    cluster: ClusterConfig,
    folder: Path | None = None,
) -> Iterator[tuple[Item, Result | None, str]]:
    """Do `work(item, shared)` for each item on a Ray cluster, with a bounded number begun and not yet yielded.

    Parameters
    ----------
    work : callable
        It can be pickled.
    items : iterable
    shared : object
        What all need; it is sent to each node once.
    cluster : ClusterConfig
    folder : Path, optional
        The output folder, which every process has to see before it works.

    Yields
    ------
    item, result, death
        In the order in which they are finished. If it was cut off twice, the result is None, and `death` says by what.

    Raises
    ------
    ConfigurationError
        A process does not see the folder, or what it writes there does not appear here.
    StageError
        Others had all cores for `cluster.wait_seconds`.
    """
    with connected(cluster), contextlib.nullcontext() if folder is None else marked(folder) as mark:
        import ray

        deaths = {getattr(ray.exceptions, name): words for name, words in _DEATHS.items()}
        _wait_for_a_core(cluster)
        stored = ray.put(shared)
        # Ray would try again for ever where memory runs out: tries are counted here.
        task: Any = ray.remote(max_retries=0)(_in_folder)
        given = ray.put((work, mark))
        seen: set[str] = set()
        window = max(2, _IN_FLIGHT_PER_CPU * int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(items)
        flying: dict[Any, tuple[Item, int]] = {}
        hungry: list[Item] = []
        while True:
            if not hungry:
                for item in islice(waiting, window - len(flying)):
                    flying[task.remote(item, stored, given)] = item, 1
            elif not flying:
                item = hungry.pop()
                flying[task.remote(item, stored, given)] = item, _TRIES
            if not flying:
                return
            (reference,), _ = ray.wait(list(flying), num_returns=1)
            item, tries = flying.pop(reference)
            found, death = None, ""
            try:
                process, found = ray.get(reference)
                if mark is not None and process not in seen:
                    seen.add(process)
                    mark.require_seen(process, process.rpartition("-")[0])
            except ray.exceptions.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, ConfigurationError) else error) from None
            except tuple(deaths) as error:
                if tries < _TRIES and isinstance(error, ray.exceptions.OutOfMemoryError):
                    hungry.append(item)
                    continue
                if tries < _TRIES:
                    flying[task.remote(item, stored, given)] = item, tries + 1
                    continue
                death = next(words for kind, words in deaths.items() if isinstance(error, kind))
            del reference  # the cluster keeps a result for as long as something refers to it
            yield item, found, death


def _wait_for_a_core(cluster: ClusterConfig) -> None:
    """Wait until a task finds room, aloud."""
    import ray

    wanted = "Waiting for a core" if cluster.ray_address is None else f"Waiting for a core of {cluster.ray_address}"
    limit = f"{cluster.wait_seconds:g} s"
    answer = ray.remote(max_retries=0)(_nothing).remote()
    if not has_come(
        answer,
        cluster,
        lambda waited: (
            f"{wanted} for {waited:.0f} s: others have all of {offered()}. It is waited {limit} in all (cluster.wait_seconds)."
        ),
    ):
        ray.cancel(answer)
        raise StageError(
            f"No core came free within {limit} (cluster.wait_seconds): others have all of {offered()}. Wait until they have ended; "
            "--resume goes on."
        )


def _nothing() -> None: ...


_proved: set[str] = set()
"""In a worker's process: the words of folders that it has seen."""


def _in_folder(
    item: Item, shared: Any, given: tuple[Callable[[Item, Any], Result], SharedFolder | None]
) -> tuple[str, Result]:
    """Return the name of this process, and what the work makes of an item, once the folder was found to be the driver's."""
    work, folder = given
    process = f"{socket.gethostname()}-{os.getpid()}"
    if folder is not None and folder.word not in _proved:
        folder.require(process)
        _proved.add(folder.word)
    return process, work(item, shared)
