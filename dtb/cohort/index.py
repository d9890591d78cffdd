"""Who is in a BIDS tree, and which of their files are read: names only, no file is opened here.

The raw tree says who there is and holds the events; any number of derivative trees hold the parcellated series.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from dtb.cohort.names import BidsName, parse_name
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.taskset import TaskSet


@dataclasses.dataclass(frozen=True)
class SeriesFile:
    """A parcellated series and what lies beside it.

    Attributes
    ----------
    path : Path
    name : BidsName
    motion : Path or None
        Table with a column `framewise_displacement`.
    outliers : Path or None
        Table that marks the volumes which were censored.
    """

    path: Path
    name: BidsName
    motion: Path | None
    outliers: Path | None


@dataclasses.dataclass(frozen=True)
class EventsFile:
    """Events of one task run, and the parcellated series of the same run where there is one."""

    path: Path
    name: BidsName
    task_index: int
    series: SeriesFile | None


@dataclasses.dataclass(frozen=True)
class PersonFiles:
    """One person's files.

    Attributes
    ----------
    label : str
        Participant label without ``sub-``.
    rest : tuple of SeriesFile
    events : tuple of EventsFile
    """

    label: str
    rest: tuple[SeriesFile, ...]
    events: tuple[EventsFile, ...]


def index_people(bids: Path, derivatives: tuple[Path, ...], config: IngestConfig, tasks: TaskSet) -> list[PersonFiles]:
    """Find everybody in the raw tree, or those of them whom the configuration names, ordered by label.

    Raises
    ------
    InputDataError
        A tree does not exist or holds nobody, a wanted participant is not there, a run has several series to choose from, or nobody
        has a resting-state series.
    """
    for folder in (bids, *derivatives):
        if not folder.is_dir():
            raise InputDataError(
                f"{folder} is not a folder. Give the root of a BIDS tree (the folder that holds sub-*)."
            )
    if not derivatives:
        raise InputDataError(
            "Connectomes need resting-state series: give at least one derivative tree with --derivatives."
        )
    labels = _labels(bids)
    if not labels:
        raise InputDataError(f"{bids} holds no sub-* folder. Give the root of a BIDS tree.")
    wanted = {label.removeprefix("sub-") for label in config.participants}
    unknown = sorted(wanted - set(labels))
    if unknown:
        raise InputDataError(
            f"ingest.participants: {bids} has no folder for {', '.join(f'sub-{label}' for label in unknown)}."
        )
    people = [_person(bids, derivatives, label, config, tasks) for label in labels if not wanted or label in wanted]
    if not any(person.rest for person in people):
        raise InputDataError(
            f"No resting-state series of any of {len(people)} people in {', '.join(map(str, derivatives))}: looked for "
            f"{_looked_for(config)} in sub-*/func and sub-*/ses-*/func. Check --derivatives, ingest.layout and ingest.rest_task."
        )
    return people


def _person(bids: Path, derivatives: tuple[Path, ...], label: str, config: IngestConfig, tasks: TaskSet) -> PersonFiles:
    derived = [found for root in derivatives for found in _files(root, label)]
    series = _series(label, derived, config)
    rest = tuple(one for key, one in sorted(series.items()) if one.name.entities["task"].startswith(config.rest_task))
    events = []
    for path, name in _files(bids, label):
        if name.suffix != "events" or name.extension != ".tsv" or "task" not in name.entities:
            continue
        matching = [place for place, spec in enumerate(tasks.specs) if _matches(name.entities["task"], spec.matches)]
        if len(matching) > 1:
            both = ", ".join(tasks.specs[place].name for place in matching)
            raise InputDataError(f"{path.name} is matched by several tasks: {both}. Narrow their `matches`.")
        if matching:
            events.append(EventsFile(path, name, matching[0], series.get(name.run_key)))
    return PersonFiles(label, rest, tuple(sorted(events, key=lambda one: one.name.run_key)))


def _series(
    label: str, derived: list[tuple[Path, BidsName]], config: IngestConfig
) -> dict[tuple[tuple[str, str], ...], SeriesFile]:
    """Give a person's series by run."""
    beside = {(name.suffix, name.run_key): path for path, name in derived if name.extension == ".tsv"}
    found: dict[tuple[tuple[str, str], ...], SeriesFile] = {}
    for path, name in derived:
        parcellation = name.entities.get("seg", name.entities.get("atlas"))
        if name.suffix != "timeseries" or "task" not in name.entities or parcellation is None:
            continue
        if config.layout == "xcpd" and name.extension != ".tsv":
            continue
        if config.layout == "halfpipe" and (
            name.extension != ".tsv.gz" or name.entities.get("feature") != config.halfpipe_feature
        ):
            continue
        if config.parcellation not in {None, parcellation}:
            continue
        key = name.run_key
        if key in found:
            raise InputDataError(
                f"sub-{label} has several series of one run: {found[key].path.name} and {path.name}. Choose with ingest.parcellation, "
                "or give one derivative tree."
            )
        found[key] = SeriesFile(path, name, beside.get(("motion", key)), beside.get(("outliers", key)))
    return found


def _labels(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(entry.name[4:] for entry in entries if entry.name.startswith("sub-") and entry.is_dir())


def _files(root: Path, label: str) -> Iterator[tuple[Path, BidsName]]:
    """Go through the files in `func` folders of one person, sessions included, in order of their names."""
    person = root / f"sub-{label}"
    if not person.is_dir():
        return
    sessions = sorted(entry for entry in person.iterdir() if entry.name.startswith("ses-") and entry.is_dir())
    for folder in (person / "func", *(session / "func" for session in sessions)):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                name = parse_name(path.name)
                if name is not None and name.entities["sub"] == label:
                    yield path, name


def _matches(label: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(label, pattern) for pattern in patterns)


def _looked_for(config: IngestConfig) -> str:
    if config.layout == "halfpipe":
        return f"*_task-{config.rest_task}*_feature-{config.halfpipe_feature}_atlas-*_timeseries.tsv.gz"
    chosen = config.parcellation or "*"
    return f"*_task-{config.rest_task}*_seg-{chosen}_*timeseries.tsv (or atlas-{chosen})"
