"""A draft of a task specification: what it holds, what to ask about it, and the YAML file that says both.

The file has the layout of those in `configs/tasks`. Its first lines are the questions, so that nobody takes a draft for a decision.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from dtb.tasks.draft.build import specification_of
from dtb.tasks.draft.found import look_at
from dtb.tasks.draft.questions import Question, questions_about
from dtb.tasks.spec import TaskSpec, task_from_mapping
from dtb.tasks.tables import Table

_WIDTH = 118
_BLOCKS = ("derive", "trials")
_HEAD = (
    "A draft, made by `dtb task draft` from what {files} say. It can be used as it is, but only who knows the task can answer what stands "
    'under "To decide". See docs/tasks.md, and look at what it makes of events files with `dtb task check`.'
)


@dataclasses.dataclass(frozen=True)
class Draft:
    """A draft.

    Attributes
    ----------
    values : dict
        The specification as nested mappings.
    questions : tuple of Question
        What is open first.
    num_files : int
        How many files it was made from.
    """

    values: dict[str, Any]
    questions: tuple[Question, ...]
    num_files: int

    @property
    def spec(self) -> TaskSpec:
        """The specification."""
        return task_from_mapping(self.values, f"the draft of {self.values['name']}")

    def to_yaml(self) -> str:
        """Return the text of the task's file, with the questions as comments."""
        files = f"{self.num_files} events file{'' if self.num_files == 1 else 's'}"
        lines = [*_comment(_HEAD.format(files=files))]
        for is_open, heading in ((True, "To decide:"), (False, "Taken from the files, and worth a look:")):
            asked = [question for question in self.questions if question.is_open is is_open]
            lines += ["#", f"# {heading}"] if asked else []
            for number, question in enumerate(asked, 1):
                lines += _comment(f"{question.key}: {question.text}", f"{number}. ")
        return "\n".join([*lines, *_body(self.values)]) + "\n"


def draft_of(tables: Sequence[Table], label: str, notes: Sequence[Question] = ()) -> Draft:
    """Draft a specification from the events of one task.

    Parameters
    ----------
    tables : sequence of Table
        Events files, of several people if possible: one person's errors and habits are not another's.
    label : str
        BIDS label of the task.
    notes : sequence of Question
        What is to be asked besides, for example about the clock of an exported file.

    Raises
    ------
    InputDataError
        The files have no column in common.
    TaskError
        No column looks like reaction times.
    """
    found = look_at(tables)
    values = specification_of(found, label)
    return Draft(values, (*notes, *questions_about(found, values)), len(tables))


def _comment(text: str, number: str = "") -> list[str]:
    indent = "#   " + " " * len(number)
    first = f"#   {number}" if number else "# "
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=indent if number else "# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _body(values: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if key in (*_BLOCKS, "stimuli"):
            lines += ["", f"{key}:"]
        if key in _BLOCKS:
            lines += _block(value, 1, deeper=("response", "correct", "conditions"))
        elif key == "stimuli":
            lines += [f"  - {_flow(stimulus)}" for stimulus in value]
        else:
            lines += ["", f"{key}: {_flow(value)}"] if key == "contrast" else [f"{key}: {_flow(value)}"]
    return lines


def _block(values: dict[str, Any], depth: int, deeper: tuple[str, ...] = ()) -> list[str]:
    lines = []
    for key, value in values.items():
        if key in deeper:
            lines += ["  " * depth + f"{key}:", *_block(value, depth + 1)]
        else:
            lines.append("  " * depth + f"{key}: {_flow(value)}")
    return lines


def _flow(value: Any) -> str:
    """Return a value in one line of YAML.

    Examples
    --------
    >>> _flow({"column": "key", "codes": {"1": "left", "n/a": None}})
    "{column: key, codes: {'1': left, n/a: null}}"
    """
    return (
        yaml.dump(value, Dumper=_Flow, default_flow_style=True, sort_keys=False, width=10**6)
        .strip()
        .removesuffix("\n...")
    )


class _Flow(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True
