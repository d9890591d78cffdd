"""Everybody on Ray: one task a person, a bounded number of them unfinished, results as they come.

A person whose file crashes the worker, or takes for ever, costs that person only, and keeps nobody waiting.
"""

from __future__ import annotations

import faulthandler
import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from dtb.cluster import connected
from dtb.cohort.person import PersonJob, PersonRead, read_person, without_label
from dtb.config import ClusterConfig, IngestConfig
from dtb.tasks.taskset import TaskSet

_IN_FLIGHT_PER_CPU = 2
_TRIES = 2
_CRASH = "its process crashed"
_DEATHS = {
    "WorkerCrashedError": _CRASH,
    "OutOfMemoryError": "the machine's memory ran out, and its process was ended; fewer at once need less (cluster.num_cpus)",
    "NodeDiedError": "the machine that worked on it was lost",
    "ObjectLostError": "its result was lost with the machine that held it",
}
"""Ray's errors that say nothing of the work itself, which is tried again; none is a kind of another."""

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
) -> Iterator[tuple[PersonJob, PersonRead]]:
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
    PersonJob, PersonRead
        In the order in which they are finished.
    """
    work = functools.partial(_read_one, reader=reader)
    for job, read, death in as_finished(work, jobs, (regions, tasks.to_plain(), config), cluster):
        if read is None:
            limit = f"{config.subject_timeout_seconds:g} s (ingest.subject_timeout_seconds)"
            reason = f"reading crashed its process, or took longer than {limit}" if death == _CRASH else death
            yield job, PersonRead(job.pseudonym, None, f"{reason}, twice", (), kind=f"{reason}, twice")
        else:
            yield job, read


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


def _read_one(job: PersonJob, shared: tuple[Any, ...], reader: Reader) -> PersonRead:
    regions, tasks, config = shared
    # A watchdog that needs neither the interpreter nor the cluster: it ends this process even if a library's C code hangs.
    faulthandler.dump_traceback_later(config.subject_timeout_seconds, exit=True)
    try:
        return reader(job, regions, TaskSet.from_plain(tasks), config)
    except Exception as error:  # noqa: BLE001, one person's unforeseen failure becomes a row of the quarantine table
        reason = f"unforeseen {type(error).__name__}: {error}".splitlines()[0]
        return PersonRead(
            job.pseudonym, None, without_label(reason, job, config), (), kind=f"unforeseen {type(error).__name__}"
        )
    finally:
        faulthandler.cancel_dump_traceback_later()
