"""The files to read of each person, found by their names. No file is opened here, except events files that may be copies.

The raw tree says who there is and holds the events; any number of derivative trees hold the parcellated series.
"""

from __future__ import annotations

import dataclasses
import filecmp
import re
from collections.abc import Iterator
from pathlib import Path

from dtb import terminal
from dtb.cohort.bids.files import EventsFile, PersonFiles, SeriesFile, UnmetSeries
from dtb.cohort.bids.names import RUN_ENTITIES, BidsName, RunKey, combined_runs
from dtb.cohort.bids.selection import Selection, read_selection, require_known
from dtb.cohort.bids.series_files import series_by_run
from dtb.cohort.bids.tree import Tree, list_tree
from dtb.cohort.connectomes.matrices import PATTERNS, find_matrices
from dtb.cohort.layouts.table import LAYOUTS, is_series
from dtb.config import IngestConfig
from dtb.errors import AmbiguousFilesError, InputDataError
from dtb.people.connectome_kinds import CONNECTOMES
from dtb.tasks.taskset import TaskSet

_RELEASED = re.compile(r"\d{6,7}(_\d+_\d+)?")


def index_people(bids: Path, derivatives: tuple[Path, ...], config: IngestConfig, tasks: TaskSet) -> list[PersonFiles]:
    """Find everybody in the raw tree, or those of them whom the configuration names, ordered by label; without tasks also everybody in
    the derivative trees.

    Raises
    ------
    InputDataError
        A tree does not exist or holds nobody, a wanted participant, session or task is not there, most people have several files of one
        run to choose from, or nobody has a resting-state series.
    """
    for folder in (bids, *derivatives):
        if not folder.is_dir():
            raise InputDataError(
                f"{folder} is not a folder. Give the root of a BIDS tree (the folder that holds sub-*)."
            )
    if not derivatives and not config.keeps_people_without_connectome:
        raise InputDataError(
            "Connectomes need resting-state series, or matrices: give at least one derivative tree with --derivatives. For shards of "
            "behaviour alone set `ingest.without_connectome: keep`."
        )
    reads_matrices = CONNECTOMES[config.connectome].estimate is None
    selection = read_selection(config)
    raw = list_tree(bids, selection.participants)
    if not raw.labels and tasks.specs:
        raise InputDataError(f"{bids} holds no sub-* folder{_named_otherwise(bids)}. Give the root of a BIDS tree.")
    layout = LAYOUTS[config.layout]
    derived = [
        list_tree(root, selection.participants)
        if layout.list_tree is None
        else layout.list_tree(root, selection.among(raw.labels))
        for root in derivatives
    ]
    labels = raw.labels
    if tasks.specs:
        _warn_of_strangers(raw, derived)
    else:  # nobody needs events, which the raw tree holds
        labels = tuple(sorted({*raw.labels, *(label for tree in derived for label in tree.labels)}))
    require_known(selection.participants, labels, "ingest.participant_label", "sub-", f"no folder of {bids}")
    chosen = selection.among(labels)
    _require_labels((raw, *derived), selection, tasks, config.rest_task)
    no_rest = _no_rest(raw, derived, config)
    _require_one_atlas(derived, config, set(chosen))
    people: list[PersonFiles] = []
    sidecars: dict[Path, list[tuple[Path, BidsName]]] = {}
    ambiguous: list[AmbiguousFilesError] = []
    for label in chosen:
        try:
            person = _person(label, raw, derived, config, selection, tasks, sidecars, no_rest)
            if reads_matrices:
                matrices, combined = find_matrices(
                    derivatives, label, config, selection, {name.run_key for _, name in raw.files.get(label, [])}
                )
                person = dataclasses.replace(person, matrices=matrices, combined=(*person.combined, *combined))
        except AmbiguousFilesError as error:
            ambiguous.append(error)
            person = PersonFiles(label, (), (), str(error))
        people.append(person)
    if 2 * len(ambiguous) > len(people):
        raise InputDataError(f"{ambiguous[0]} So it is with {len(ambiguous)} of {len(people)} people.")
    _warn_of_empty(people, selection)
    if derivatives and reads_matrices and not any(person.matrices for person in people):
        patterns = PATTERNS if config.matrix_files is None else (config.matrix_files,)
        raise InputDataError(
            f"No connectivity matrix of any of {len(people)} people in {', '.join(map(str, derivatives))}: looked for "
            f"{', '.join(patterns)} in all folders of sub-*. Check --derivatives and ingest.matrix_files."
        )
    if derivatives and not reads_matrices and not any(person.rest for person in people):
        raise InputDataError(
            f"No resting-state series of any of {len(people)} people in {', '.join(map(str, derivatives))}: looked for "
            f"{layout.looked_for(config)} (in sub-*/func or sub-*/ses-*/func). Check --derivatives, ingest.layout, ingest.rest_task"
            f"{' and ' + str(config.bids_filter_file) if config.bids_filter_file else ''}."
            + next(
                (f" sub-{person.label}: {person.problem}." for person in people if person.problem),
                _what_is_there(derived, config),
            )
        )
    return people


def _what_is_there(derived: list[Tree], config: IngestConfig) -> str:
    """Return what derivative trees hold in place of the series that were looked for, as a sentence; empty if nothing is known to be."""
    for tree in derived:
        if not tree.labels:
            return f" {tree.root} holds no sub-* folder{_named_otherwise(tree.root)}."
    names = [name for tree in derived for files in tree.files.values() for _, name in files]
    tasks = {name.entities.get("task", "") for name in names if is_series(name, config)} - {""}
    if tasks:
        return f" The series there are of {', '.join(f'task-{task}' for task in sorted(tasks))}."
    others = [
        layout.name
        for layout in LAYOUTS
        if any(is_series(name, dataclasses.replace(config, layout=layout.name)) for name in names)
    ]
    if others:
        return f" There are series of the layout {' or '.join(others)}."
    images = {f"desc-{name.entities.get('desc', '')}" for name in names if name.suffix == "bold"} - {"desc-"}
    return f" There are images {', '.join(sorted(images))}." if images else ""


def _named_otherwise(root: Path) -> str:
    """Return what else its folders are called, where that is as in the releases of HCP and the UK Biobank, which are no BIDS trees."""
    found = sorted(path.name for path in root.iterdir() if _RELEASED.fullmatch(path.name) and path.is_dir())
    if not found:
        return ""
    return (
        f", but folders such as {found[0]}, as in the releases of HCP and the UK Biobank. Bring them into BIDS first (XCP-D converts both "
        "with `--input-type hcp` and `ukb`; for HCP's tasks there is `dtb task from-hcp`)"
    )


def _no_rest(raw: Tree, derived: list[Tree], config: IngestConfig) -> frozenset[str]:
    """Return tasks that are not rest although their names begin as its does (`restudy`), for they have events; and say so."""
    begun = re.compile(re.escape(config.rest_task) + "[a-z]")
    with_events = {
        name.entities.get("task", "") for files in raw.files.values() for _, name in files if name.suffix == "events"
    }
    found = frozenset(
        name.entities.get("task", "")
        for tree in derived
        for files in tree.files.values()
        for _, name in files
        if begun.match(name.entities.get("task", "")) and name.entities["task"] in with_events
    )
    if found:
        terminal.err.print(
            f"Warning: {', '.join(f'task-{task}' for task in sorted(found))} has events, and is not taken for rest. If it is, set "
            f"ingest.rest_task: {min(found)}."
        )
    return found


def _require_one_atlas(derived: list[Tree], config: IngestConfig, labels: set[str]) -> None:
    """Refuse series of several atlases that do not name their regions: of as many regions, they would be taken for each other.

    Raises
    ------
    InputDataError
        `ingest.parcellation` does not say which one is meant.
    """
    if LAYOUTS[config.layout].names_regions or config.parcellation is not None:
        return
    people: dict[str, set[str]] = {}
    for tree in derived:
        for label in labels & set(tree.files):
            for _, name in tree.files[label]:
                atlas = name.entities.get("seg", name.entities.get("atlas"))
                if atlas is not None and name.suffix == "timeseries" and is_series(name, config):
                    people.setdefault(atlas, set()).add(label)
    if len(people) > 1:
        listed = ", ".join(f"{atlas} of {len(whose)} people" for atlas, whose in sorted(people.items()))
        raise InputDataError(
            f"There are series of several atlases, which do not name their regions: {listed}. Choose one with ingest.parcellation."
        )


def _warn_of_strangers(raw: Tree, derived: list[Tree]) -> None:
    strangers = sorted({label for tree in derived for label in tree.labels} - set(raw.labels))
    if strangers:
        terminal.err.print(
            f"Warning: {len(strangers)} people are in a derivative tree but not in {raw.root}, and are not read (for example "
            f"sub-{strangers[0]})."
        )


def _require_labels(trees: tuple[Tree, ...], selection: Selection, tasks: TaskSet, rest_task: str) -> None:
    """Refuse sessions and tasks of which no selected person has a file."""
    whose = " of those participants" if selection.participants else ""
    names = [name for tree in trees for files in tree.files.values() for _, name in files]
    sessions = {name.entities["ses"] for name in names if "ses" in name.entities}
    require_known(selection.sessions, sessions, "ingest.session_label", "ses-", f"no file{whose}")
    labels = {name.entities["task"] for name in names if name.suffix == "events" and "task" in name.entities}
    known = {spec.name for spec in tasks.specs if any(spec.fits_label(label) for label in labels)} | labels
    wanted = {label for label in selection.tasks if not label.startswith(rest_task)}
    require_known(wanted, known, "ingest.task", "task-", f"no events file{whose}")


def _warn_of_empty(people: list[PersonFiles], selection: Selection) -> None:
    """Return which of the people asked for by label have nothing to read."""
    for person in people:
        if selection.participants and not (person.rest or person.matrices or person.events or person.problem):
            terminal.err.print(
                f"Warning: sub-{person.label} was asked for, but has no resting-state series, no matrix and no events that are read."
            )


def _person(
    label: str,
    raw: Tree,
    derived: list[Tree],
    config: IngestConfig,
    selection: Selection,
    tasks: TaskSet,
    sidecars: dict[Path, list[tuple[Path, BidsName]]],
    no_rest: frozenset[str],
) -> PersonFiles:
    problem = next((tree.refused[label] for tree in (raw, *derived) if label in tree.refused), "")
    if problem:
        return PersonFiles(label, (), (), problem)
    # Images last, which have the last word: their names may have an echo, and then so has their sidecar's.
    files = sorted(raw.files.get(label, []), key=lambda file: file[1].suffix == "bold")
    runs = {name.run_key: (path, name) for path, name in files}
    series = series_by_run(label, raw.root, runs, derived, config, selection, sidecars)
    combined = {key: series.pop(key) for key in combined_runs(series, scanned=runs)}
    rest = tuple(
        one
        for _, one in sorted(series.items())
        if (task := one.name.entities["task"]).startswith(config.rest_task) and task not in no_rest
    )
    events: dict[tuple[RunKey, int], EventsFile] = {}
    for path, name in raw.files.get(label, []):
        task = name.entities.get("task", "")
        if name.suffix != "events" or name.extension != ".tsv" or not task or not selection.wants(name):
            continue
        matching = [place for place, spec in enumerate(tasks.specs) if spec.fits_label(task)]
        if len(matching) > 1 and not all(tasks.specs[place].trials.where for place in matching):
            both = ", ".join(tasks.specs[place].name for place in matching)
            raise InputDataError(
                f"{path.name} is matched by several tasks: {both}. Narrow their `matches`; or, where the file holds trials of each, say by "
                "`trials.where` of each specification which rows are its own."
            )
        key = name.run_key
        for place in matching:
            if not selection.wants_task(task, tasks.specs[place]):
                continue
            if (key, place) in events and _is_copy(path, name, events[key, place]):
                continue
            if (key, place) in events:
                problem = f"several events files of one run, {events[key, place].path.name} and {path.name}"
                return PersonFiles(label, (), (), problem)
            events[key, place] = EventsFile(path, name, place, series.get(key))
    return PersonFiles(
        label,
        rest,
        tuple(events[key] for key in sorted(events)),
        combined=tuple(file.path for file in combined.values()),
        unmet=tuple(_unmet(series, list(events.values()), tasks, selection, config.rest_task)),
    )


def _unmet(
    series: dict[RunKey, SeriesFile], events: list[EventsFile], tasks: TaskSet, selection: Selection, rest_task: str
) -> Iterator[UnmetSeries]:
    """Yield the series of wanted tasks without an events file, each with the events file whose name differs least."""
    met = {file.name.run_key for file in events}
    for key, one in sorted(series.items()):
        task = one.name.entities["task"]
        fitting = {
            place
            for place, spec in enumerate(tasks.specs)
            if spec.fits_label(task) and selection.wants_task(task, spec)
        }
        if key in met or not fitting or task.startswith(rest_task):
            continue
        apart = {file.path: _differences(key, file.name.run_key) for file in events if file.task_index in fitting}
        nearest = min(apart, key=lambda path: (len(apart[path]), path.name), default=None)
        yield UnmetSeries(one.path, nearest, apart[nearest] if nearest is not None else ())


def _differences(one: RunKey, other: RunKey) -> tuple[tuple[str, str, str], ...]:
    mine, theirs = dict(one), dict(other)
    both = ((key, mine.get(key, ""), theirs.get(key, "")) for key in RUN_ENTITIES)
    return tuple((key, here, there) for key, here, there in both if here != there)


def _is_copy(path: Path, name: BidsName, other: EventsFile) -> bool:
    """Return whether events are the same as others of another echo, or of the phase: converters write them beside each image of a run."""
    own, others = (
        {key: value for key, value in each.entities.items() if key not in {"echo", "part"}}
        for each in (name, other.name)
    )
    try:
        return own == others and filecmp.cmp(path, other.path, shallow=False)
    except OSError:
        return False
