"""`dtb init`: five questions, or a look at the tree, and then a configuration, task files, and what is missing."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from dtb import terminal
from dtb.config import Config, load_config
from dtb.errors import ConfigurationError, OutputInUseError, StageError, UserError
from dtb.files import write_text
from dtb.init.configuration import (
    FEWEST_FOR_STRANGERS,
    Answers,
    name_of,
    remarks,
    to_yaml,
    values_of,
    what_is_missing,
)
from dtb.init.survey import Survey, find_derivatives, look_at
from dtb.init.tasks import TaskFile, task_files

CONFIG_FILE = "config.yaml"
HeldOut = Literal["people", "later"]


@dataclasses.dataclass(frozen=True)
class Given:
    """What the command line says; what it does not say is asked, or taken from the tree.

    Attributes
    ----------
    bids : Path or None
    derivatives : tuple of Path
    tasks : tuple of str
        BIDS labels of the tasks to use.
    rest_task : str or None
    held_out : {"people", "later"} or None
    """

    bids: Path | None
    derivatives: tuple[Path, ...]
    tasks: tuple[str, ...]
    rest_task: str | None
    held_out: HeldOut | None


def init(given: Given, out: Path | None, check: Callable[[Config], None], *, overwrite: bool = False) -> Path:
    """Write a configuration and task files for a data set.

    Parameters
    ----------
    given : Given
        Without a raw tree five questions are asked, if somebody can answer them.
    out : Path or None
        Folder to write; named after the data set if not given.
    check : callable
        Looks at the data as `dtb run --dry-run` does, and raises a `UserError` for what cannot be run.
    overwrite : bool
        Whether files that an earlier call wrote may be replaced.

    Returns
    -------
    Path
        The configuration.

    Raises
    ------
    ConfigurationError
        There is no raw tree, and nobody to ask.
    OutputInUseError
        Something is there already.
    StageError
        The files were written, and something is missing before they can be used.
    """
    ask = _ask if given.bids is None else _take
    if given.bids is None and not sys.stdin.isatty():
        raise ConfigurationError(
            "Nobody is there to ask. Give the raw BIDS tree: `dtb init BIDS`, with --derivatives and --tasks where needed."
        )
    bids = (given.bids or Path(ask("1/5  Where is the raw BIDS tree?", "."))).expanduser().absolute()
    derivatives = given.derivatives or find_derivatives(bids)
    if not given.derivatives:
        question = "2/5  Which derivative trees hold rest, and series of the tasks?"
        derivatives = tuple(Path(each) for each in shlex.split(ask(question, shlex.join(map(str, derivatives)))))
    survey = look_at(bids, [path.expanduser().absolute() for path in derivatives])
    files, left_out = task_files(survey.events)
    labels = given.tasks or tuple(ask("3/5  Which tasks?", " ".join(each.label for each in files)).split())
    files = _chosen(files, labels, left_out)
    rest = given.rest_task or ask("4/5  How do the labels of the rest runs begin?", survey.rest_label)
    few = "later" if survey.people < FEWEST_FOR_STRANGERS else "people"
    held_out = given.held_out or ask(
        "5/5  What is held out: other people, or the later part of each run? (people/later)", few
    )
    if held_out not in ("people", "later"):
        raise ConfigurationError(f"What is held out is {held_out!r}; expected people or later.")
    folder = (out or Path(name_of(bids))).absolute()
    name = name_of(folder)
    _write(folder, survey, files, Answers(name, _tasks_of(files, folder), rest, held_out), overwrite=overwrite)
    _say(survey, files, left_out)
    missing = what_is_missing(survey) + (
        [] if files else ["Tasks: no events file could be read by a task file; see above."]
    )
    if not missing:
        try:
            check(load_config(folder / CONFIG_FILE))
        except UserError as error:
            missing = [str(error)]
    terminal.out.print(f"Configuration: {folder / CONFIG_FILE}")
    if missing:
        raise StageError(
            "The files were written, but cannot be used yet. Missing:\n" + "\n".join(f"- {text}" for text in missing)
        )
    return folder / CONFIG_FILE


def _ask(question: str, proposed: str) -> str:
    """Ask in the terminal; an empty answer takes what is proposed."""
    terminal.err.print(f"{question} [{proposed}] ", end="")
    return sys.stdin.readline().strip() or proposed


def _take(_question: str, proposed: str) -> str:
    return proposed


def _chosen(files: Sequence[TaskFile], labels: Sequence[str], left_out: dict[str, str]) -> list[TaskFile]:
    """Return the task files of the chosen labels.

    Raises
    ------
    ConfigurationError
        A label has no events that can be read.
    """
    known = {each.label for each in files}
    wanted = [label.removeprefix("task-") for label in labels]
    for label in wanted:
        if label not in known:
            reason = (
                f": {left_out[label]}" if label in left_out else f". There are {', '.join(sorted(known)) or 'none'}."
            )
            raise ConfigurationError(f"--tasks: no events of task-{label} can be read{reason}")
    return [each for each in files if each.label in wanted]


def _tasks_of(files: Sequence[TaskFile], folder: Path) -> tuple[str, ...]:
    """Return what `ingest.tasks` names: each specification once, though several labels may share it."""
    named = (each.name if each.draft is None else str(folder / "tasks" / f"{each.name}.yaml") for each in files)
    return tuple(dict.fromkeys(named))


def _write(folder: Path, survey: Survey, files: Sequence[TaskFile], answers: Answers, *, overwrite: bool) -> None:
    drafts = {folder / "tasks" / f"{each.name}.yaml": each.draft for each in files if each.draft is not None}
    there = [path for path in (folder / CONFIG_FILE, *drafts) if path.exists()]
    if there and not overwrite:
        names = ", ".join(map(str, there))
        raise OutputInUseError(f"There already, and left as it is: {names}. Give another folder, or --overwrite.")
    for path, draft in drafts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, draft.to_yaml())
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG_FILE, to_yaml(values_of(survey, answers), what_is_missing(survey)))


def _say(survey: Survey, files: Sequence[TaskFile], left_out: dict[str, str]) -> None:
    terminal.out.print(f"{survey.bids}: {survey.people} people")
    for root in survey.derivatives:
        terminal.out.print(f"{root}: {'connectivity matrices' if survey.matrices else survey.layout}")
    if survey.series:
        terminal.out.print(
            f"Series: {', '.join(f'{label} of {count} people' for label, count in survey.series.items())}"
        )
    for each in files:
        if each.draft is None:
            terminal.out.print(f"Task {each.label}: read by {each.name}, which comes with dtb")
            continue
        asked = sum(question.is_open for question in each.draft.questions)
        terminal.out.print(
            f"Task {each.label}: drafted, tasks/{each.name}.yaml, with {asked} questions to answer in its first lines"
        )
    if any(each.draft is not None for each in files):
        terminal.out.print(
            "A run goes through with what was taken. What the drafts ask decides what its figures mean: answer them first, in those files."
        )
    for label, reason in left_out.items():
        terminal.err.print(f"Warning: task {label} is left out: {reason}")
    for sentence in remarks(survey):
        terminal.out.print(f"Note: {sentence}")
