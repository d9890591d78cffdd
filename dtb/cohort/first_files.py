"""What the first few people's files say before anything is written: which regions there are, and whether the tasks' specifications fit.

Another process reads them (`dtb.cohort.bounded`) and imports this module, so nothing large is imported here: no torch, no Ray.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dtb.cohort.bids.files import PersonFiles, SeriesFile
from dtb.cohort.bounded import ReadingProcess
from dtb.cohort.connectomes.matrices import read_matrix_regions
from dtb.cohort.layouts.table import LAYOUTS
from dtb.cohort.series.read import read_region_names
from dtb.config import IngestConfig
from dtb.errors import InputDataError, TaskError
from dtb.people.connectome_kinds import CONNECTOMES
from dtb.tasks.read import read_trials
from dtb.tasks.taskset import TaskSet

_NUM_TRIED = 5
"""Series, and events files of each task, that are tried."""


def region_names(
    people: list[PersonFiles], derivatives: tuple[Path, ...], config: IngestConfig, reader: ReadingProcess
) -> tuple[str, ...]:
    """Return the names that most of the first few people's series have: one person's broken file must not stop everybody.

    There are none where nobody has a series or a matrix.

    Raises
    ------
    InputDataError
        None of these files can be read.
    """
    found: Counter[tuple[str, ...]] = Counter()
    refusals = []
    if CONNECTOMES[config.connectome].estimate is None:
        firsts: list[Any] = [person.matrices[0].path for person in people if person.matrices]
        read: Callable[[Any], tuple[str, ...]] = functools.partial(read_matrix_regions, config=config)
    else:
        firsts = [person.rest[0] for person in people if person.rest]
        read = functools.partial(read_region_names, derivatives=derivatives, config=config)
    if not firsts:
        return ()
    for names in reader.read(read, firsts[:_NUM_TRIED]):
        if isinstance(names, InputDataError):
            refusals.append(names)
        else:
            found[names] += 1
    if not found:
        raise refusals[0]
    return found.most_common(1)[0][0]


def require_same_regions(
    people: list[PersonFiles],
    regions: tuple[str, ...],
    derivatives: tuple[Path, ...],
    config: IngestConfig,
    reader: ReadingProcess,
) -> None:
    """Stop where matrices and series have different regions and only a table says so; series with names of their own are held against it.

    Raises
    ------
    InputDataError
        The table or atlas of the series names other regions than the matrices do.
    """
    if CONNECTOMES[config.connectome].estimate is not None or LAYOUTS[config.layout].names_regions:
        return
    series = task_series(people)
    read = functools.partial(read_region_names, derivatives=derivatives, config=config)
    names = next(reader.read(read, series[:1]), None)
    if isinstance(names, InputDataError):
        raise names
    if names is not None and names != regions:
        raise InputDataError(
            f"{series[0].path.name} and other series have other regions than the connectivity matrices, which have {len(regions)} "
            f"({regions[0]}, ...). Give series of the same parcellation, or no derivative tree that holds series."
        )


def task_series(people: list[PersonFiles]) -> list[SeriesFile]:
    """Return the series of everybody's task runs."""
    return [file.series for person in people for file in person.events if file.series is not None]


def require_readable(tasks: TaskSet, people: list[PersonFiles], reader: ReadingProcess) -> None:
    """Stop before anything is written where a task's specification does not fit this laboratory's files at all.

    Raises
    ------
    TaskError
        None of the first few events files of a task can be read.
    """
    for place, spec in enumerate(tasks.specs):
        own = [file.path for person in people for file in person.events if file.task_index == place][:_NUM_TRIED]
        refusals = []
        for refusal in reader.read(functools.partial(_try_events, tasks.to_plain(), place), own):
            if refusal is None:
                break
            refusals.append(refusal)
        if own and len(refusals) == len(own):
            raise TaskError(
                f"{refusals[0]} All {len(own)} files of {spec.name} that were tried are refused, so nothing was written."
            )


def _try_events(tasks: dict[str, Any], place: int, path: Path) -> None:
    """Read an events file through one of the tasks, or refuse it."""
    read_trials(TaskSet.from_plain(tasks).specs[place], path)
