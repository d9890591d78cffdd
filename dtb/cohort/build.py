"""Reading everybody on Ray: one task a person, a bounded number of them in flight, results in the order that was asked for.

The order decides the bytes of the shards, so it must not depend on who finishes first. A person whose file crashes the worker, or
takes for ever, costs that person only.
"""

from __future__ import annotations

import faulthandler
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from dtb.cluster import connected
from dtb.cohort.person import PersonJob, PersonRead, read_person, without_label
from dtb.config import ClusterConfig, IngestConfig
from dtb.tasks.taskset import TaskSet

_IN_FLIGHT_PER_CPU = 2
_CRASH_RETRIES = 1

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
    with connected(cluster):
        import ray

        shared = ray.put((regions, tasks.to_plain(), config))
        task = ray.remote(max_retries=_CRASH_RETRIES)(_read_one)
        window = max(2, _IN_FLIGHT_PER_CPU * int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(jobs)
        flying: deque[tuple[PersonJob, Any]] = deque()
        while True:
            while len(flying) < window and (job := next(waiting, None)) is not None:
                flying.append((job, task.remote(job, shared, reader)))
            if not flying:
                return
            job, result = flying.popleft()
            try:
                yield ray.get(result)
            except ray.exceptions.WorkerCrashedError:
                limit = f"{config.subject_timeout_seconds:g} s (ingest.subject_timeout_seconds)"
                yield PersonRead(
                    job.pseudonym, None, f"reading crashed its process, or took longer than {limit}, twice", ()
                )


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
