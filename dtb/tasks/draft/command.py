"""`dtb task draft`: a first task file from events files, or from what a presentation program wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dtb import terminal
from dtb.errors import InputDataError, OutputInUseError
from dtb.files import write_text
from dtb.tasks.check import print_reading
from dtb.tasks.draft.draft import Draft, draft_of
from dtb.tasks.draft.questions import Question
from dtb.tasks.exports.export import Exported
from dtb.tasks.exports.table import read_events
from dtb.tasks.onsets import onset_is_seen, warning
from dtb.tasks.read import read_trials
from dtb.tasks.tables import Table

_LABEL = re.compile(r"_task-([A-Za-z0-9+]+)_")


def draft_task(events: Sequence[Path], out: Path) -> None:
    """Write a draft of a task's specification, and print what it makes of the files and what is to be decided.

    Parameters
    ----------
    events : sequence of Path
        Files of one task: `events.tsv`, or what PsychoPy, E-Prime or jsPsych wrote.
    out : Path
        Folder for ``NAME.yaml`` and, of exported files, ``NAME_events/*_events.tsv``.

    Raises
    ------
    OutputInUseError
        Something of that name is there already.
    InputDataError, TaskError
        A file cannot be read, the files are of several tasks, or no column looks like reaction times.
    """
    read = [read_events(path) for path in events]
    label = label_of(events, read)
    draft = draft_of([each.table for each in read], label, notes_on(read))
    path = out / f"{draft.values['name']}.yaml"
    converted = out / f"{draft.values['name']}_events"
    is_exported = any(each.clock for each in read)
    for place in (path, *([converted] if is_exported else [])):
        if place.exists():
            raise OutputInUseError(
                f"{place} is there already, and was left as it is. Give another folder with --out, or remove it."
            )
    out.mkdir(parents=True, exist_ok=True)
    files = list(events)
    if is_exported:
        converted.mkdir()
        files = [write_events(each.table, converted) for each in read]
    draft = with_visible_onsets(draft, files)
    write_text(path, draft.to_yaml())
    print_reading(draft.spec, [(file, read_trials(draft.spec, file)) for file in files])
    if is_exported:
        terminal.out.print(f"Events: {len(files)} files in {converted}")
    for is_open, heading in (
        (True, "To decide, and written into the file:"),
        (False, "Taken from the files, and worth a look:"),
    ):
        terminal.out.print(heading, style="bold")
        for question in draft.questions:
            if question.is_open is is_open:
                terminal.out.print(f"  {question.key}: {question.text}")
    terminal.out.print(f"Task: {path}")


def label_of(events: Sequence[Path], read: Sequence[Exported]) -> str:
    """Return the task's BIDS label: as file names have it, or else made of what the experiment or the file is called.

    Raises
    ------
    InputDataError
        The names have several labels.
    """
    labels = {found[1] for path in events if (found := _LABEL.search(path.name))}
    if len(labels) > 1:
        raise InputDataError(f"The files are of several tasks: {', '.join(sorted(labels))}. Draft one at a time.")
    named = (
        labels.pop()
        if labels
        else next((each.label for each in read if each.label), "") or re.sub(r"\d+", "", events[0].stem)
    )
    return re.sub(r"[^A-Za-z0-9]", "", named) or "task"


def notes_on(read: Sequence[Exported]) -> list[Question]:
    """Return what is to be asked of files that programs exported."""
    clocks = {each.clock for each in read if each.clock}
    return [
        Question(
            "onset",
            f"Onsets count from {clock}. With task BOLD they must count from the first volume: subtract the trigger's time in each file.",
        )
        for clock in sorted(clocks)
    ]


def write_events(table: Table, folder: Path) -> Path:
    """Write a table as `*_events.tsv`, and return its path."""
    path = folder / f"{table.path.name.split('.')[0].removesuffix('_events')}_events.tsv"
    lines = ["\t".join(table.columns), *("\t".join(cells) for cells in zip(*table.columns.values(), strict=True))]
    write_text(path, "\n".join(lines) + "\n")
    return path


def with_visible_onsets(draft: Draft, files: Sequence[Path]) -> Draft:
    """Return the draft with a channel that marks onsets, where stimuli alone do not show when trials begin."""
    trials = [read_trials(draft.spec, path).trials for path in files]
    unseen = sum(int((~onset_is_seen(each)).sum()) for each in trials)
    if not warning(draft.spec, unseen, sum(each.num_trials for each in trials)):
        return draft
    where = {"where": draft.values["trials"]["where"]} if "where" in draft.values["trials"] else {}
    mark = {"channels": ["onset"], **where, "duration": {"seconds": 0.2}, "constant": 1}
    text = "Trials begin while stimuli stay as they are, so that a channel marks the onsets. Or shorten the stimuli's durations."
    question = Question("stimuli", text, is_open=False)
    values = {**draft.values, "stimuli": [*draft.values["stimuli"], mark]}
    return Draft(values, (*draft.questions, question), draft.num_files)
