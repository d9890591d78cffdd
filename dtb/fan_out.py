"""One Ray task an item, a bounded number of them unfinished, results as they come.

An item whose work crashes its process, or the machine under it, costs that item only, and keeps nobody waiting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from dtb.cluster import connected
from dtb.config import ClusterConfig

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
    work: Callable[[Item, Any], Result], items: Iterable[Item], shared: Any, cluster: ClusterConfig
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

    Yields
    ------
    item, result, death
        In the order in which they are finished. If it was cut off twice, the result is None, and `death` says by what.
    """
    with connected(cluster):
        import ray

        deaths = {getattr(ray.exceptions, name): words for name, words in _DEATHS.items()}
        stored = ray.put(shared)
        # Ray would try again for ever where memory runs out: tries are counted here.
        task = ray.remote(max_retries=0)(work.func if isinstance(work, functools.partial) else work)
        extra = work.keywords if isinstance(work, functools.partial) else {}
        window = max(2, _IN_FLIGHT_PER_CPU * int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(items)
        flying: dict[Any, tuple[Item, int]] = {}
        while True:
            for item in islice(waiting, window - len(flying)):
                flying[task.remote(item, stored, **extra)] = item, 1
            if not flying:
                return
            (reference,), _ = ray.wait(list(flying), num_returns=1)
            item, tries = flying.pop(reference)
            found, death = None, ""
            try:
                found = ray.get(reference)
            except tuple(deaths) as error:
                if tries < _TRIES:
                    flying[task.remote(item, stored, **extra)] = item, tries + 1
                    continue
                death = next(words for kind, words in deaths.items() if isinstance(error, kind))
            del reference  # the cluster keeps a result for as long as something refers to it
            yield item, found, death
