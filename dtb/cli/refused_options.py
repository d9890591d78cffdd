"""What the parser of the command line refuses, in our words: it tells us which option it was and why, as values and not as text.

tyro has no public interface for this. Its module `tyro._errors` has a hook, `on_parse_error`, which it calls experimental. Whoever uses it
should pin the version, it says: `pyproject.toml` does, and `tests/test_cli.py` fails if the hook changes.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from tyro import _errors

from dtb.commands.options import options_of
from dtb.errors import ConfigurationError

_NUM_NEAR = 3
_KINDS = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "PATH": "a path",
    "STR": "a text",
    "{True,False}": "True or False",
}


@contextlib.contextmanager
def refused_in_our_words(name: str, kind: type, arguments: Sequence[str]) -> Iterator[None]:
    """Raise what tyro refuses within the block as an error of ours, instead of printing it and ending the process.

    Parameters
    ----------
    name : str
        Name of the stage.
    kind : type
        The dataclass that is parsed.
    arguments : sequence of str
        What is parsed.

    Raises
    ------
    ConfigurationError
        An option is unknown, missing or malformed.
    ValidationError
        An option's value is not allowed.
    """

    def refuse(event: _errors.ParseErrorEvent) -> None:
        cause = sys.exception()
        while cause is not None:
            if isinstance(cause, ValidationError):
                raise cause
            cause = cause.__context__
        text = in_words(event, kind, arguments)
        if isinstance(event, _errors.MissingArgs):
            places = " ".join(option.metavar for option in options_of(kind) if option.is_place)
            text = f"{text}\nIn this order: dtb {name} {places}"
        if text is not None:
            raise ConfigurationError(f"{text}\n`dtb {name} --help` explains the options.")

    try:
        with _errors.on_parse_error(refuse):
            yield
    except (ConfigurationError, ValidationError) as error:
        raise error from None


def in_words(event: _errors.ParseErrorEvent, kind: type, arguments: Sequence[str]) -> str | None:
    """Return what is wrong with the command line in a few lines, or None for a mistake that only tyro can tell."""
    if isinstance(event, _errors.MissingArgs):
        return "\n".join(
            ["Missing from the command line:", *(_explained(each.arg) for each in event.missing_arguments)]
        )
    if isinstance(event, _errors.UnrecognizedArgs):
        return f"Unrecognized options: {', '.join(event.tokens)}" + _perhaps(event.tokens, kind)
    if isinstance(event, _errors.InvalidChoice):
        return f"{_name(event.argument)} is {event.value!r}; expected one of {', '.join(event.choices)}."
    if isinstance(event, _errors.BadValue) and event.offending_value is None:
        return f"{_name(event.argument)} lacks a value:\n{_explained(event.argument)}"
    if isinstance(event, _errors.InstantiationFailure) and event.argument is not None:
        given = _given(_name(event.argument), arguments)
        return (
            f"{_name(event.argument)} is {given}; expected {_expected(event.argument)}.\n{_explained(event.argument)}"
        )
    return None


def _perhaps(tokens: list[str], kind: type) -> str:
    """Return the options that are spelled like the unknown ones, or like their last part."""
    options = [option.name for option in options_of(kind) if not option.is_place]
    near: dict[str, None] = {}
    for token in tokens:
        if token.startswith("--"):
            spelled = token.partition("=")[0].replace("_", "-")
            near |= dict.fromkeys(difflib.get_close_matches(spelled, options, n=_NUM_NEAR, cutoff=0.8))
            near |= dict.fromkeys([each for each in options if each.rpartition(".")[2] == spelled.removeprefix("--")])
    return f"\nPerhaps you meant {' or '.join(near)}." if near else ""


def _given(name: str, arguments: Sequence[str]) -> str:
    """Return what follows an option on the command line, quoted."""
    after = itertools.dropwhile(lambda each: each.partition("=")[0].replace("_", "-") != name, arguments)
    option, *values = itertools.chain(after, [""])
    _, equals, value = option.partition("=")
    found = [value] if equals else itertools.takewhile(lambda each: not each.startswith("--"), values)
    return " ".join(repr(each) for each in found if each) or "no such value"


def _expected(argument: Any) -> str:
    """Return the kind of value that an option takes, in words."""
    kinds = re.split(r"\|(?![^{]*\})", str(argument.lowered.metavar or ""))
    return " or ".join(_KINDS.get(each, each.strip("{}").replace("|", ", ")) for each in kinds)


def _name(argument: Any) -> str:
    return str(argument.lowered.metavar if argument.is_positional() else argument.lowered.name_or_flags[0])


def _explained(argument: Any) -> str:
    """Return an option with the kind of value that it takes, and the text that stands under it in the code."""
    told = argument.field.helptext
    text = told() if callable(told) else told
    typed = _name(argument) if argument.is_positional() else f"{_name(argument)} {argument.lowered.metavar or ''}"
    return f"    {typed.rstrip()}\n        {' '.join((text or '').split())}".rstrip()
