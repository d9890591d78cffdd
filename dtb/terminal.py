"""One style for what is said in the terminal: results on standard output, everything else on standard error.

Names of files, columns and reasons come from others. What is printed here cannot steer the terminal, and where it may be kept - in a
pipe, a job's log - it names no participant.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from dtb.passwords import without_passwords

# Control characters but newline and tab, what turns the direction of writing, and halves of characters, which no terminal can show.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_withheld: list[Callable[[str], str]] = []


def printable(text: str) -> str:
    """Return a text in which nothing steers a terminal: control characters are spelled out, and passwords in URLs are taken out.

    Examples
    --------
    >>> printable("a\\x1b[2Jb\\tc")
    'a\\\\x1b[2Jb\\tc'
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), without_passwords(text))


def withhold(replaced: Callable[[str], str]) -> None:
    """Pass what is printed from now on elsewhere than to a terminal through a function first, in place of an earlier one."""
    _withheld[:] = [replaced]


class _CleanConsole(Console):
    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        clean = [
            part if part.control else Segment(self._cleaned(part.text), part.style, part.control) for part in buffer
        ]
        return super()._render_buffer(clean)

    def _cleaned(self, text: str) -> str:
        for replaced in () if self.is_terminal else _withheld:
            text = replaced(text)
        return printable(text)


# Without markup: square brackets in a path or a reason are square brackets.
out = _CleanConsole(markup=False, highlight=False, soft_wrap=True)
err = _CleanConsole(stderr=True, markup=False, highlight=False, soft_wrap=True)


def headed(head: str, text: str, style: str = "red") -> Text:
    """Put a head in a style of its own before a text."""
    return Text.assemble((head, style), " ", text)


def in_a_line(error: Exception) -> str:
    """Return what kind of error it is, what it says, and where in the code it was raised, in one line."""
    said = next(iter(str(error).splitlines()), "")
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f", {Path(each.filename).name} line {each.lineno}" for each in frame)
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"


@contextlib.contextmanager
def or_warn(trouble: str) -> Iterator[None]:
    """Turn whatever the block raises into a warning. It is for pages and pictures, which are made when the results are there."""
    try:
        yield
    except Exception as error:  # noqa: BLE001, a page that cannot be drawn may cost no result
        err.print(f"Warning: {trouble} ({in_a_line(error)}). The results are whole.")


def table(title: str, *headings: str, justify: Literal["left", "right"] = "left") -> Table:
    """Begin a table of results: a title and headings, and no frame, so that it fits into 80 columns and a mail."""
    begun = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        begun.add_column(heading, justify=justify)
    return begun


def progress() -> Progress:
    """A progress display for anything that may take over five seconds; it vanishes when done and is silent without a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,  # it would leave an empty line
    )
