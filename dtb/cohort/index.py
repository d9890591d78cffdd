"""Who is in a BIDS tree, and which of their files are read: names only, no file is opened here.

The raw tree says who there is and holds the events; any number of derivative trees hold the parcellated series.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
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
    mask : Path or None
        Brain mask on the same grid.
    raw_sidecar : Path or None
        What the raw tree says of this run (`*_bold.json`, its own or its task's).
    """

    path: Path
    name: BidsName
    motion: Path | None = None
    outliers: Path | None = None
    mask: Path | None = None
    raw_sidecar: Path | None = None


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
            f"{_looked_for(config)} (in sub-*/func or sub-*/ses-*/func). Check --derivatives, ingest.layout and ingest.rest_task."
        )
    return people


def _person(bids: Path, derivatives: tuple[Path, ...], label: str, config: IngestConfig, tasks: TaskSet) -> PersonFiles:
    raw = [found for found in _files(bids, label) if _is_wanted(found[1], config)]
    sidecars = {name.run_key: path for path, name in raw if name.suffix == "bold" and name.extension == ".json"}
    series = _series(label, derivatives, bids, sidecars, config)
    rest = tuple(one for _, one in sorted(series.items()) if one.name.entities["task"].startswith(config.rest_task))
    events = []
    for path, name in raw:
        if name.suffix != "events" or name.extension != ".tsv" or "task" not in name.entities:
            continue
        matching = [place for place, spec in enumerate(tasks.specs) if _matches(name.entities["task"], spec.matches)]
        if len(matching) > 1:
            both = ", ".join(tasks.specs[place].name for place in matching)
            raise InputDataError(f"{path.name} is matched by several tasks: {both}. Narrow their `matches`.")
        if matching:
            events.append(EventsFile(path, name, matching[0], series.get(name.run_key)))
    return PersonFiles(label, rest, tuple(sorted(events, key=lambda one: one.name.run_key)))


RunKey = tuple[tuple[str, str], ...]


def _series(
    label: str, derivatives: tuple[Path, ...], bids: Path, sidecars: dict[RunKey, Path], config: IngestConfig
) -> dict[RunKey, SeriesFile]:
    """Give a person's series by run."""
    walk = _tcp_files if config.layout == "tcp" else _files
    derived = [found for root in derivatives for found in walk(root, label)]
    beside = {(name.suffix, name.run_key): path for path, name in derived if name.extension == ".tsv"}
    masks = {
        (name.run_key, name.entities.get("space"), name.entities.get("res")): path
        for path, name in derived
        if name.suffix == "mask" and name.entities.get("desc") == "brain" and name.extension.startswith(".nii")
    }
    found: dict[RunKey, SeriesFile] = {}
    for path, name in derived:
        if "task" not in name.entities or not _is_wanted(name, config) or not _is_series(name, config):
            continue
        key = name.run_key
        if key in found:
            raise InputDataError(
                f"sub-{label} has several series of one run: {found[key].path.name} and {path.name}. Choose with "
                "ingest.parcellation or ingest.space, or give one derivative tree."
            )
        task_sidecar = bids / f"task-{name.entities['task']}_bold.json"
        found[key] = SeriesFile(
            path,
            name,
            motion=beside.get(("motion", key)),
            outliers=beside.get(("outliers", key)),
            mask=masks.get((key, name.entities.get("space"), name.entities.get("res"))),
            raw_sidecar=sidecars.get(key, task_sidecar if task_sidecar.is_file() else None),
        )
    return found


def _is_wanted(name: BidsName, config: IngestConfig) -> bool:
    """Say whether a file belongs to a wanted session."""
    wanted = {session.removeprefix("ses-") for session in config.sessions}
    return not wanted or name.entities.get("ses") in wanted


def _is_series(name: BidsName, config: IngestConfig) -> bool:
    """Say whether a file is a series of the configured layout."""
    entities = name.entities
    if config.space not in {None, entities.get("space")}:
        return False
    if config.layout in {"fmriprep", "fmriprep_cifti"}:
        kinds = (".nii.gz", ".nii") if config.layout == "fmriprep" else (".dtseries.nii",)
        wanted = entities.get("desc") in {"preproc", "denoised"} or config.layout == "fmriprep_cifti"
        return name.suffix == "bold" and name.extension in kinds and wanted
    if config.layout == "tcp":
        return True
    parcellation = entities.get("seg", entities.get("atlas"))
    if name.suffix != "timeseries" or parcellation is None or config.parcellation not in {None, parcellation}:
        return False
    if config.layout == "halfpipe":
        return name.extension == ".tsv.gz" and entities.get("feature") == config.halfpipe_feature
    return name.extension == {"xcpd": ".tsv", "xcpd_cifti": ".ptseries.nii"}[config.layout]


_TCP_NAME = re.compile(r"task-(?P<task>[A-Za-z0-9]+)_run-(?P<run>[0-9]+)_bold_.*parcellated\.h5")


def _tcp_files(root: Path, label: str) -> Iterator[tuple[Path, BidsName]]:
    """Go through one person's HDF5 files. Folders are named NDAR_INV..., which BIDS labels write without the underscore."""
    for folder in (root / label.replace("NDARINV", "NDAR_INV"), root / label):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                match = _TCP_NAME.fullmatch(path.name)
                if match:
                    yield path, BidsName({"sub": label, "task": match["task"], "run": match["run"]}, "bold", ".h5")
            return


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
    rest, chosen, space = config.rest_task, config.parcellation or "*", f"_space-{config.space}" if config.space else ""
    return {
        "xcpd": f"*_task-{rest}*{space}*_seg-{chosen}_*timeseries.tsv (or atlas-{chosen})",
        "xcpd_cifti": f"*_task-{rest}*{space}*_seg-{chosen}_*timeseries.ptseries.nii (or atlas-{chosen})",
        "halfpipe": f"*_task-{rest}*_feature-{config.halfpipe_feature}_atlas-{chosen}_timeseries.tsv.gz",
        "fmriprep": f"*_task-{rest}*{space}*_desc-preproc_bold.nii.gz",
        "fmriprep_cifti": f"*_task-{rest}*{space}*_bold.dtseries.nii",
        "tcp": f"NDAR_INV*/task-{rest}*_run-*_bold_*parcellated.h5",
    }[config.layout]
