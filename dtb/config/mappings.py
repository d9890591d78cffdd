"""From YAML to configuration dataclasses and back, with errors that name the file, the key, the value and what is allowed.

A key may stand once in a file; an unknown key is refused with the nearest known one; `config_hash` names a configuration by its content.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from dtb.config.labels import LABELS_TOO
from dtb.errors import ConfigurationError

NOT_SHOWN = "secret"
"""Type of a validation error whose value must not be printed."""

_MOST_BYTES = 8 << 20
_MOST_VALUES = 100_000
_LONGEST_QUOTE = 80

T = TypeVar("T")


def from_mapping(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Build a configuration from nested mappings, strictly.

    Parameters
    ----------
    kind : type
        A configuration dataclass.
    values : mapping
        As read from YAML or JSON.
    source : str
        What to call the origin in messages, for example the file's path.

    Raises
    ------
    ConfigurationError
        A key is unknown (the nearest known one is named) or a value is not allowed.

    Examples
    --------
    >>> from dtb.config import SegmentConfig
    >>> from_mapping(SegmentConfig, {"segment_seconds": 30}, "here").segment_seconds
    30.0
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{source}: expected `key: value` lines, found {type(values).__name__}.")
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigurationError(explain(error, kind, source)) from None


def explain(error: ValidationError, kind: type, source: str, named: Callable[[str], str] = "`{}`".format) -> str:
    """Put a pydantic error into the words of `source`'s keys, one line a problem; `named` writes a key as its reader knows it.

    Parameters
    ----------
    error : ValidationError
    kind : type
        The dataclass that was to be made.
    source : str
        Where the values come from, for the reader: a file.
    named : callable
    """
    lines = []
    problems = error.errors()
    for problem in problems:
        loc = problem["loc"]
        place = named(".".join(str(part) for part in loc))
        if problem["type"] == "too_short" and any(
            loc == other["loc"][: len(loc)] for other in problems if other != problem
        ):
            continue  # pydantic does not count the items that were refused
        if problem["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
            lines.append(f"{source}: {place} is missing.")
        elif problem["type"] == "value_error":  # of several keys, which the text names
            lines.append(f"{source}: {f'{place}: ' if loc else ''}{problem['ctx']['error']}.")
        elif problem["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            known = _keys_at(kind, problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
            advice = (
                f"did you mean `{near[0]}`?"
                if near
                else f"known keys here: {', '.join(known)}."
                if known
                else "it is not allowed here."
            )
            lines.append(f"{source}: unknown key {place}; {advice}")
        else:
            found = "not a name" if problem["type"] == NOT_SHOWN else quoted(problem["input"])
            lines.append(f"{source}: {place} is {found}: {_lower_first(problem['msg'])}.")
    return "\n".join(lines)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _keys_at(kind: type, path: tuple[int | str, ...]) -> list[str]:
    """List the fields of the dataclass that lies at `path` within `kind`."""
    for part in path:
        if not dataclasses.is_dataclass(kind):
            return []
        inner = get_type_hints(kind).get(str(part))
        options = (inner, *get_args(inner))
        kind = next(
            (option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option)), object
        )
    if not dataclasses.is_dataclass(kind):
        return []
    return [field.name for field in dataclasses.fields(kind)]


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a mapping that has a key twice: YAML forbids it, and PyYAML would silently take the last.

    And what a few hundred bytes blow up: aliases of aliases, nesting without end, numbers and dates that are none.
    """

    def get_single_data(self) -> Any:
        root = self.get_single_node()
        if root is None:
            return None
        if _size_of(root, {}) > _MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"its aliases stand for more than {_MOST_VALUES:,} values", problem_mark=root.start_mark
            )
        return self.construct_document(root)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and abs(value) >= 2**64:
                raise ValueError("64 bits hold no such number")
            return value
        except ValueError as error:  # of Python's: a day that no month has, a number of thousands of digits
            text = quoted(getattr(node, "value", ""))
            raise yaml.MarkedYAMLError(problem=f"{text} is no value ({error})", problem_mark=node.start_mark) from None

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            first = lines.setdefault(str(key.value), key.start_mark.line)
            if first != key.start_mark.line:
                raise yaml.MarkedYAMLError(
                    problem=f"`{key.value}` is there already, in line {first + 1}; keep one of the two",
                    problem_mark=key.start_mark,
                )
        return node


def _size_of(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values that a node stands for, aliases written out; what holds itself has no end."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1
        inner = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else []
        each = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size_of(part, known) for part in each)
    return known[id(node)]


def quoted(value: Any) -> str:
    """Return a value in quotation marks, for a message: no more of it than a line can show.

    Parameters
    ----------
    value : object

    Examples
    --------
    >>> quoted("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 4]}...{text[-1]}"


def read_yaml(path: Path, expected: str) -> Any:
    """Read a YAML file in which each key stands once; `expected` says what it should be where it is no file.

    Parameters
    ----------
    path : Path
    expected : str

    Raises
    ------
    ConfigurationError
        The file is absent, cannot be read, or is not YAML.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigurationError(f"{path} has more than {_MOST_BYTES >> 20} MiB; {expected}.")
        return yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply; {expected}.") from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ConfigurationError(f"{path} is not a file; {expected}.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}, line {line}: not UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ConfigurationError(f"{path}{where}: not valid YAML: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def to_plain(config: Any, *, labels: bool = False) -> Any:
    """Return a configuration as mappings, lists, strings and numbers, ready for YAML or JSON.

    Parameters
    ----------
    config : dataclass
    labels : bool
        Whether participant labels are among them: for the user's own terminal, and nothing that is kept.
    """
    return TypeAdapter(type(config)).dump_python(config, mode="json", context={LABELS_TOO: True} if labels else None)


def to_yaml(config: Any, *, labels: bool = False) -> str:
    """Return a configuration as YAML text that `load_config` reads back.

    Parameters
    ----------
    config : dataclass
    labels : bool
        Whether participant labels are among them, as in `to_plain`.
    """
    return yaml.safe_dump(to_plain(config, labels=labels), sort_keys=False, allow_unicode=True)


def config_hash(config: Any) -> str:
    """Name a configuration by its content: SHA-256 of its canonical JSON, in hexadecimal.

    Parameters
    ----------
    config : dataclass
    """
    return plain_hash(to_plain(config))


def plain_hash(plain: Any) -> str:
    """Return the `config_hash` of a configuration that is given as `to_plain` returns it.

    Parameters
    ----------
    plain : mapping
    """
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
