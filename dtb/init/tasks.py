"""Task files for the events of a data set: those that come with dtb where they read the events, and drafts otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from dtb.errors import UserError
from dtb.tasks.draft.command import with_visible_onsets
from dtb.tasks.draft.draft import Draft, draft_of
from dtb.tasks.read import read_trials
from dtb.tasks.spec import TaskSpec, load_task, shipped_tasks
from dtb.tasks.tables import Table, read_tsv

_SAMPLED_FILES = 12
_MOST_UNUSABLE = 0.2


@dataclasses.dataclass(frozen=True)
class TaskFile:
    """How the events of one BIDS task label are read.

    Attributes
    ----------
    label : str
    name : str
        Of the specification.
    draft : Draft or None
        None for one that comes with dtb.
    """

    label: str
    name: str
    draft: Draft | None


def task_files(events: dict[str, list[Path]]) -> tuple[list[TaskFile], dict[str, str]]:
    """Return how the events of each label are read, and why some are not."""
    found: list[TaskFile] = []
    left_out = {}
    for label, paths in sorted(events.items()):
        tables, refusal = _readable(sorted(paths))
        sample = list(tables)
        if not sample:
            left_out[label] = refusal
            continue
        shipped = next(
            (spec for spec in map(load_task, shipped_tasks()) if spec.fits_label(label) and _reads(spec, sample)), None
        )
        if shipped is not None:
            found.append(TaskFile(label, shipped.name, None))
            continue
        try:
            draft = with_visible_onsets(draft_of(list(tables.values()), label), sample)
            if not _reads(draft.spec, sample):
                left_out[label] = "fewer than four of five rows could be used by a drafted task file"
                continue
            found.append(TaskFile(label, draft.values["name"], draft))
        except UserError as error:
            left_out[label] = str(error)
    return found, left_out


def _readable(paths: list[Path]) -> tuple[dict[Path, Table], str]:
    """Return some of the files that are tables, and why the first other one is none: one person's broken file does not end a task."""
    tables: dict[Path, Table] = {}
    refusal = ""
    evenly = _spread(paths)
    for path in (*evenly, *(path for path in paths if path not in evenly)):
        if len(tables) == len(evenly):
            break
        try:
            tables[path] = read_tsv(path)
        except UserError as error:
            refusal = refusal or str(error)
    return dict(sorted(tables.items())), refusal


def _spread(paths: list[Path]) -> list[Path]:
    """Return some files, evenly spread over all of them."""
    step = max(1, len(paths) // _SAMPLED_FILES)
    return paths[::step][:_SAMPLED_FILES]


def _reads(spec: TaskSpec, paths: Iterable[Path]) -> bool:
    """Whether a specification can use most rows of most files."""
    good = []
    for path in paths:
        try:
            read = read_trials(spec, path)
        except UserError:
            good.append(False)
        else:
            usable = int(read.trials.usable_J.sum())
            good.append(usable > 0 and len(read.unusable) <= _MOST_UNUSABLE * (usable + len(read.unusable)))
    return sum(good) > len(good) / 2
