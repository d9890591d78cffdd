"""Reading people on Ray, one task per person.

A person whose file crashes the worker, or takes for ever, costs that person only, and keeps nobody waiting.
"""

from __future__ import annotations

import faulthandler
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dtb.cluster.fan_out import CRASHED, as_finished
from dtb.cohort.bounded import bounded_memory, needs_too_much
from dtb.cohort.job import PersonJob, PersonRead
from dtb.cohort.person import read_person
from dtb.cohort.without_label import without_label
from dtb.config import ClusterConfig, IngestConfig
from dtb.tasks.taskset import TaskSet

Reader = Callable[[PersonJob, tuple[str, ...], TaskSet, IngestConfig], PersonRead]


def read_people(
    jobs: list[PersonJob],
    regions: tuple[str, ...],
    tasks: TaskSet,
    config: IngestConfig,
    cluster: ClusterConfig,
    out: Path,
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
    out : Path
        Output folder, which every process has to see, as it has to see the trees that are read.
    reader : callable
        Reads one person; everything it raises sets that person aside.

    Yields
    ------
    PersonJob, PersonRead
        In the order in which they are finished.
    """
    work = functools.partial(_read_one, reader=reader)
    for job, read, death in as_finished(work, jobs, (regions, tasks.to_plain(), config), cluster, out):
        if read is None:
            limit = f"{config.subject_timeout_seconds:g} s (ingest.subject_timeout_seconds)"
            reason = f"reading crashed its process, or took longer than {limit}" if death == CRASHED else death
            yield job, PersonRead(job.pseudonym, None, f"{reason}, twice", (), kind=f"{reason}, twice")
        else:
            yield job, read


def _read_one(job: PersonJob, shared: tuple[Any, ...], reader: Reader) -> PersonRead:
    regions, tasks, config = shared
    # A watchdog that needs neither the interpreter nor the cluster: it ends this process even if a library's C code hangs.
    faulthandler.dump_traceback_later(config.subject_timeout_seconds, exit=True)
    try:
        with bounded_memory(config.max_memory_gib):
            return reader(job, regions, TaskSet.from_plain(tasks), config)
    except MemoryError:
        reason = needs_too_much(config.max_memory_gib)
        return PersonRead(job.pseudonym, None, reason, (), kind=reason)
    except Exception as error:  # noqa: BLE001, one person's unforeseen failure becomes a row of the quarantine table
        reason = f"unforeseen {type(error).__name__}: {error}".splitlines()[0]
        return PersonRead(
            job.pseudonym, None, without_label(reason, job, config), (), kind=f"unforeseen {type(error).__name__}"
        )
    finally:
        faulthandler.cancel_dump_traceback_later()
