"""What ``dtb STAGE --help`` prints: places and the options that are set most often, on one screen; with ``--help-all`` all of them."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, get_type_hints

from dtb import config as cfg
from dtb.commands.options import Option, options_of
from dtb.commands.stage import Stage

_NARROWEST, _WIDEST = 40, 120
_FIRST_COLUMN = 26
_MOST_LINES, _LOST_BY_WRAPPING = 2, 8  # of an option's text on the short page


def help_text(name: str, kind: type[Stage], *, everything: bool = False) -> str:
    """Return the help of a command, wrapped to the terminal.

    Parameters
    ----------
    name : str
        Name of the command.
    kind : type
        Its dataclass, whose `common` names the options that are set most often.
    everything : bool
        Whether to explain every option in full.
    """
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    options = options_of(kind)
    places = [option for option in options if option.is_place]
    others = [option for option in options if not option.is_place]
    summary, *paragraphs = (kind.__doc__ or "").strip().split("\n\n")
    examples = [text for text in paragraphs if text.lstrip().startswith("Example")]
    details = [text for text in paragraphs if text not in examples]
    typed = " ".join(place.metavar for place in places)
    lines = [*_filled(f"usage: dtb {name} {typed}{' [options]' if others else ''}", width), ""]
    for text in [summary, *(details if everything else details[:1])]:
        lines += [*_filled(text, width), ""]
    lines += [*_rows(places, width, everything=everything), *([""] if places else [])]
    common = others if everything else _common(kind, others)
    if everything:
        lines += _by_section(others, width)
    elif common:
        more = len(others) - len(common)
        lines.append(f"Options set most often (`dtb {name} --help-all` has {more} more):" if more else "Options:")
        lines += [*_rows(common, width, everything=False), ""]
    for text in examples:
        lines += _examples(text)
    return "\n".join(lines).rstrip()


def _common(kind: type[Stage], options: list[Option]) -> list[Option]:
    """Return the options that a command's `common` names, in that order; all of them if they are few."""
    by_name = {option.name: option for option in options}
    return [by_name[name] for name in kind.common] if kind.common else options


def _by_section(options: list[Option], width: int) -> Iterator[str]:
    sections = get_type_hints(cfg.Config)
    taken = {option.section for option in options}
    for section in (each for each in ("", *sections) if each in taken):
        lines = ["Options:"] if not section else _filled(f"{section}: {sections[section].__doc__}", width)
        yield from [*lines, *_rows([option for option in options if option.section == section], width, everything=True)]
        yield ""


def _rows(options: Iterable[Option], width: int, *, everything: bool) -> list[str]:
    """Return two columns: what is typed, and what it is."""
    lines = []
    for option in options:
        typed = option.name if option.is_place else f"{option.name} {option.metavar}".rstrip()
        shown = f" [{default}]" if (default := _default(option)) else ""
        room = _MOST_LINES * (width - _FIRST_COLUMN) - len(shown) - _LOST_BY_WRAPPING
        text = option.text if everything else _in_short(option.text, room)
        head = f"  {typed}"
        if len(head) > width:  # many choices
            head = f"  {option.name} NAME"
            text = f"{text} One of {option.metavar.strip('[{}] .').replace(',', ', ')}."
        below = _filled(text + shown, width - _FIRST_COLUMN)
        if len(head) <= _FIRST_COLUMN - 2 and below:
            head = head.ljust(_FIRST_COLUMN) + below.pop(0)
        lines += [head, *(" " * _FIRST_COLUMN + line for line in below)]
    return lines


def _in_short(text: str, most: int) -> str:
    """Return a text up to its first full stop, or less of it: up to a semicolon or, failing that, a word.

    Examples
    --------
    >>> _in_short("Ranks (e.g. 2); one a core. Or two.", 40), _in_short("Ranks (e.g. 2); one a core. Or two.", 20)
    ('Ranks (e.g. 2); one a core.', 'Ranks (e.g. 2) ...')
    """
    found = re.match(r".*?[^.][.:](?= [A-Z`]|$)", text)
    sentence = found[0][:-1] if found else text.removesuffix(".")
    if len(sentence) < most:
        return f"{sentence}."
    clause = sentence[:most].rpartition("; ")[0]
    return f"{clause} ..." if clause else textwrap.shorten(sentence, most, placeholder=" ...")


def _default(option: Option) -> str:
    """Return an option's default as it would be typed; nothing for a switch, and where there is none."""
    value: Any = option.default
    if (
        option.is_place
        or value is dataclasses.MISSING
        or value is None
        or isinstance(value, bool)
        or value in ((), "", {})
    ):
        return ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _filled(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def _examples(text: str) -> list[str]:
    """Return each example in a line of its own, so that it can be copied."""
    each = [" ".join(command.split()) for command in re.split(r"\s{2,}\|\s{2,}", text.partition(": ")[2])]
    return ["Example:" if len(each) == 1 else "Examples:", *(f"  {command}" for command in each)]
