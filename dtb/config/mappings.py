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

from dtb.errors import ConfigurationError

NOT_SHOWN = "secret"
"""Type of a validation error whose value must not be printed."""

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
            found = "not a name" if problem["type"] == NOT_SHOWN else repr(problem["input"])
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
    """Refuses a mapping that has a key twice: YAML forbids it, and PyYAML would silently take the last."""

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
        return yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
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


def to_plain(config: Any) -> Any:
    """Return a configuration as mappings, lists, strings and numbers, ready for YAML or JSON.

    Parameters
    ----------
    config : dataclass
    """
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def to_yaml(config: Any) -> str:
    """Return a configuration as YAML text that `load_config` reads back.

    Parameters
    ----------
    config : dataclass
    """
    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)


def config_hash(config: Any) -> str:
    """Name a configuration by its content: SHA-256 of its canonical JSON, in hexadecimal.

    Parameters
    ----------
    config : dataclass
    """
    canonical = json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
