"""The options of a command as values, read from its dataclass: name, kind of value, default, and the text under it in the code."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import types
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tyro.conf import OmitArgPrefixes, Positional, Suppress

from dtb.config.kind_names import OneOf

_OMITS_PREFIX, _POSITIONAL, _SUPPRESSED = (
    get_args(each)[1:] for each in (OmitArgPrefixes[int], Positional[int], Suppress[int])
)
_WORDS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH", bool: ""}


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, or one place.

    Attributes
    ----------
    name : str
        As it is typed: ``--num-workers``; a place is named in capitals.
    section : str
        Section of the configuration that it belongs to; empty for what the command itself takes.
    metavar : str
        Kind of value; empty for a switch.
    text : str
        What it is, in one paragraph.
    default : object
        `dataclasses.MISSING` if it must be given.
    is_place : bool
        Whether it is given without a name.
    """

    name: str
    section: str
    metavar: str
    text: str
    default: Any
    is_place: bool = False


def options_of(kind: type) -> list[Option]:
    """Return the options of a dataclass of the command line, in their order, without those that are hidden.

    Examples
    --------
    >>> from dtb.commands import COMMANDS
    >>> [option.name for option in options_of(COMMANDS["report"])][:4]
    ['--config', '--seed', '--resume', '--dry-run']
    """
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        marks = getattr(hint, "__metadata__", ())
        plain = get_args(hint)[0] if marks else hint
        if _SUPPRESSED[0] in marks:
            continue
        if isinstance(plain, type) and dataclasses.is_dataclass(plain):
            prefix = "" if _OMITS_PREFIX[0] in marks else f"{field.name}."
            inner_hints = get_type_hints(plain, include_extras=True)
            found += [
                _option(plain, inner, inner_hints[inner.name], prefix, field.name)
                for inner in dataclasses.fields(plain)
            ]
        else:
            found.append(_option(kind, field, hint, "", ""))
    return found


def own_words(command: Any, beside: Collection[str]) -> list[tuple[str, Any]]:
    """Return what was given to a command itself: values by the names of options, and places by theirs in capitals, in their order.

    Parameters
    ----------
    command : dataclass
        One of the command line, filled in.
    beside : collection of str
        Names of its fields that are not asked for.

    Examples
    --------
    >>> from dtb.cli.command_line import parse
    >>> sweep, _ = parse("sweep", ["/data/shards", "/data/swept", "--folds", "0", "1"])
    >>> [(name, str(value)) for name, value in own_words(sweep, ["train", "twin", "segments", "split", "cluster", "track"])]
    [('SHARDS', '/data/shards'), ('OUT', '/data/swept'), ('--folds', '(0, 1)')]
    """
    hints = get_type_hints(type(command), include_extras=True)
    found = []
    for field in dataclasses.fields(command):
        hint = hints[field.name]
        if field.name not in beside and _SUPPRESSED[0] not in getattr(hint, "__metadata__", ()):
            option, value = _option(type(command), field, hint, "", ""), getattr(command, field.name)
            if option.is_place or value != option.default:
                found.append((option.name, value))
    return found


def _option(owner: type, field: dataclasses.Field[Any], hint: Any, prefix: str, section: str) -> Option:
    given = next((mark.metavar for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "metavar", None)), None)
    is_place = _POSITIONAL[0] in getattr(hint, "__metadata__", ())
    name = field.name.replace("_", "-")
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    is_on = default is True  # a switch that is on can be switched off alone
    return Option(
        name=(given or name.upper()) if is_place else f"--{prefix}{'no-' if is_on else ''}{name}",
        section=section,
        metavar=given or _metavar(hint),
        text=f"{'Switches off: ' if is_on else ''}{_text(owner, field.name)}",
        default=default,
        is_place=is_place,
    )


def _metavar(hint: Any) -> str:
    """Return the kind of value, as in ``--help``.

    Examples
    --------
    >>> _metavar(int | None), _metavar(tuple[Path, ...]), _metavar(Literal["a", "b"]), _metavar(bool)
    ('INT', '[PATH ...]', '{a,b}', '')
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kinds = next((part for part in parts[1:] if isinstance(part, OneOf)), None)
        return kinds.metavar if kinds is not None else _metavar(parts[0])
    if origin in (Union, types.UnionType):
        return _metavar(next(part for part in parts if part is not type(None)))
    if origin is Literal:
        return "{" + ",".join(map(str, parts)) + "}"
    if origin is tuple:
        inner = _metavar(parts[0])
        return f"[{inner} ...]" if parts[-1] is ... else " ".join(_metavar(part) for part in parts)
    if origin is dict:
        return "[KEY VALUE ...]"
    return _WORDS.get(hint, "VALUE")


def _text(owner: type, name: str) -> str:
    for each in owner.__mro__:
        if (each.__name__, name) in (texts := texts_under_fields(each.__module__)):
            return texts[each.__name__, name]
    return ""


@functools.cache
def texts_under_fields(module: str) -> dict[tuple[str, str], str]:
    """Return the text under each field of each class of a module, by class and field: what explains an option."""
    if module == "builtins":
        return {}
    found = {}
    for node in ast.parse(inspect.getsource(importlib.import_module(module))).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, text in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[node.name, field.target.id] = " ".join(str(text.value.value).split())
    return found
