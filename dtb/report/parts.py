"""The parts of a page (sections, figures with captions, tables), and the format of numbers and counts.

All text is plain: the template escapes it and sets text between backticks as code. Only SVG is markup.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from dtb.report.collected import Collected, Evaluation, People
from dtb.report.style import QUIET, colours_by_domain, task_colour
from dtb.shards.manifest import Manifest

_NEGLIGIBLE = 1e-4


NOTHING = "–"
"""What stands for a number that is not known."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """A figure with its caption.

    Attributes
    ----------
    svg : Markup
    caption : str
    title : str
        Heading above the figure, where it has none of its own.
    new_row : bool
        Place it at the left, below the previous figures.
    below : bool
        Place it below the previous figure, in the same column.
    """

    svg: Markup
    caption: str
    title: str = ""
    new_row: bool = False
    below: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: `numeric` names the columns set flush right, and one that is folded opens on request.

    A cell of the column `verdict` is drawn as a badge.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    is_folded: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of the page, printed in this order: words, notices, tables, figures, folded tables, notes.

    Attributes
    ----------
    key : str
        Anchor.
    title : str
    words : sequence of str
        Paragraphs.
    missing : sequence of str
        Notices: what is missing here, and why.
    panels, tables : sequence
    notes : sequence of str
        How to read it.
    """

    key: str
    title: str
    words: Sequence[str] = ()
    missing: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()

    @property
    def cells(self) -> list[list[Panel]]:
        """Return the figures, grouped into the cells of the page's grid."""
        cells: list[list[Panel]] = []
        for panel in self.panels:
            if panel.below and cells:
                cells[-1].append(panel)
            else:
                cells.append([panel])
        return cells


MARKS = {"yes": "✓", "no": "✗", "undecided": "?", "": ""}
"""A sign for each answer, which tells them apart without colour."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A question that a reader has, its answer in a line, and the sections behind it.

    Attributes
    ----------
    key : str
        Anchor.
    title, answer : str
    verdict : {"yes", "no", "undecided", ""}
        Empty where there is none to give.
    sections : sequence of Section
    is_open : bool
        Whether the sections are shown before anybody asks.
    """

    key: str
    title: str
    answer: str
    verdict: str
    sections: Sequence[Section]
    is_open: bool = False

    @property
    def mark(self) -> str:
        """Return the sign of the answer."""
        return MARKS[self.verdict]


def task_colours(found: Collected) -> dict[str, str]:
    """Return each task's place-holder colour, in the order of the cohort's task set, or else of the alphabet."""
    if isinstance(found.people, People):
        domains = task_domains(found.people.manifest)
        return dict(zip(domains, colours_by_domain(list(domains.values())), strict=True))
    if isinstance(found.evaluation, Evaluation):
        names = sorted({str(row["task"]) for row in found.evaluation.figures["rows"]} - {"all"})
        return {name: task_colour(place) for place, name in enumerate(names)}
    return {}


def task_domains(manifest: Manifest) -> dict[str, str]:
    """Return the domain of each task of a cohort's task set, in its order."""
    return {str(spec["name"]): str(spec.get("domain", "")) for spec in manifest.description.taskset["specs"]}


def conditions_of(people: People, task: str) -> tuple[str, ...]:
    """Return a task's conditions, in the order of the trials' indices; none for a task that the cohort does not have."""
    for spec in people.manifest.description.taskset["specs"]:
        if str(spec["name"]) == task:
            return tuple(map(str, (spec.get("trials") or {}).get("conditions") or ()))
    return ()


def colour_of(task: str, tasks: Mapping[str, str]) -> str:
    """Return a task's place-holder colour; grey for anything that concerns no single task."""
    return tasks.get(task, QUIET)


def number(value: Any, digits: int = 3) -> str:
    """Return a number with a few significant digits; a dash if there is none.

    Examples
    --------
    >>> number(0.123456), number(-1.5), number(None), number(1234.5), number(-1e-5)
    ('0.123', '−1.5', '–', '1234', '≈ 0')
    """
    if value is None or not np.isfinite(value):
        return NOTHING
    if 0 < abs(value) < _NEGLIGIBLE:
        return "≈ 0"
    text = f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return text.replace("-", "−")


def count(value: int, one: str, many: str | None = None) -> str:
    """Return a number of things in words.

    Examples
    --------
    >>> count(1, "person", "people"), count(1200, "trial")
    ('1 person', '1,200 trials')
    """
    return f"{value:,} {one if value == 1 else many or one + 's'}"
