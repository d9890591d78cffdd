"""Everybody on Ray: one task a person, a bounded number of them in flight, results in the order that was asked for.

The order decides the bytes of the shards, so it must not depend on who finishes first. A person whose file crashes the worker, or
takes for ever, costs that person only.
"""

from __future__ import annotations

import faulthandler
import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from dtb.cluster import connected
from dtb.cohort.person import PersonJob, PersonRead, read_person, without_label
from dtb.config import ClusterConfig, IngestConfig
from dtb.tasks.taskset import TaskSet

_IN_FLIGHT_PER_CPU = 2
_CRASH_RETRIES = 1

Item = TypeVar("Item")
Result = TypeVar("Result")
Reader = Callable[[PersonJob, tuple[str, ...], TaskSet, IngestConfig], PersonRead]


def read_people(
    jobs: list[PersonJob],
    regions: tuple[str, ...],
    tasks: TaskSet,
    config: IngestConfig,
    cluster: ClusterConfig,
    reader: Reader = read_person,
) -> Iterator[PersonRead]:
    """Read people on a Ray cluster.

    Parameters
    ----------
    jobs : list of PersonJob
    regions : tuple of str
    tasks : TaskSet
    config : IngestConfig
    cluster : ClusterConfig
    reader : callable
        Reads one person; everything it raises sets that person aside.

    Yields
    ------
    PersonRead
        One a job, in the order of `jobs`.
    """
    work = functools.partial(_read_one, reader=reader)
    for job, read in in_order(work, jobs, (regions, tasks.to_plain(), config), cluster):
        if read is None:
            limit = f"{config.subject_timeout_seconds:g} s (ingest.subject_timeout_seconds)"
            reason = f"reading crashed its process, or took longer than {limit}, twice"
            yield PersonRead(job.pseudonym, None, reason, ())
        else:
            yield read


def in_order(
    work: Callable[[Item, Any], Result], items: Sequence[Item], shared: Any, cluster: ClusterConfig
) -> Iterator[tuple[Item, Result | None]]:
    """Do `work(item, shared)` for each item on a Ray cluster, with a bounded number in flight.

    Parameters
    ----------
    work : callable
        It can be pickled.
    items : sequence
    shared : object
        What all need; it is sent to each node once.
    cluster : ClusterConfig

    Yields
    ------
    item, result
        In the order of `items`; the result is None if the process that worked on the item died, twice.
    """
    with connected(cluster):
        import ray

        stored = ray.put(shared)
        task = ray.remote(max_retries=_CRASH_RETRIES)(work.func if isinstance(work, functools.partial) else work)
        extra = work.keywords if isinstance(work, functools.partial) else {}
        window = max(2, _IN_FLIGHT_PER_CPU * int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(items)
        flying: deque[tuple[Item, Any]] = deque()
        while True:
            flying.extend((item, task.remote(item, stored, **extra)) for item in islice(waiting, window - len(flying)))
            if not flying:
                return
            item, result = flying.popleft()
            try:
                found = ray.get(result)
            except ray.exceptions.WorkerCrashedError:
                found = None
            yield item, found


def _read_one(job: PersonJob, shared: tuple[Any, ...], reader: Reader) -> PersonRead:
    regions, tasks, config = shared
    # A watchdog that needs neither the interpreter nor the cluster: it ends this process even if a library's C code hangs.
    faulthandler.dump_traceback_later(config.subject_timeout_seconds, exit=True)
    try:
        return reader(job, regions, TaskSet.from_plain(tasks), config)
    except Exception as error:  # noqa: BLE001, one person's unforeseen failure becomes a row of the quarantine table
        reason = f"unforeseen {type(error).__name__}: {error}".splitlines()[0]
        return PersonRead(job.pseudonym, None, without_label(reason, job), ())
    finally:
        faulthandler.cancel_dump_traceback_later()
