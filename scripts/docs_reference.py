"""Makes the reference pages of the documentation from the code, so that they cannot say anything else than it.

mkdocs calls `on_files` when the site is built (`hooks` in mkdocs.yml); nothing that is made here is kept in the repository.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import typing
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

import dtb
from dtb import config as cfg
from dtb.cli.entry import exit_code
from dtb.cli.overview import overview
from dtb.cohort.layouts.table import LAYOUTS
from dtb.commands import COMMANDS
from dtb.commands.options import texts_under_fields
from dtb.config.kind_names import OneOf
from dtb.evaluate.predictors.retrained_kinds import RETRAINED
from dtb.evaluate.predictors.table import PREDICTORS
from dtb.intervene.arms import ARMS
from dtb.intervene.kinds import INDICATORS
from dtb.people.connectome_kinds import CONNECTOMES, ConnectomeKind
from dtb.people.covariates import COVARIATES


def configuration_page() -> str:
    """Return every section and option of the configuration: its name, type, default and what it means."""
    lines = [
        "# Configuration",
        "",
        "A YAML file holds any part of these settings; `dtb STAGE --print-config` prints all of them with their values. On the",
        "command line a setting is `--section.name`, and without the section where it is the stage's own. What is not allowed is",
        "refused by name.",
        "",
        "## At the top",
        "",
        *table(cfg.Config, [field for field in dataclasses.fields(cfg.Config) if not is_section(field)]),
    ]
    for field in filter(is_section, dataclasses.fields(cfg.Config)):
        kind = type(getattr(cfg.Config(), field.name))
        lines += ["", f"## {field.name}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
        lines += table(kind, list(dataclasses.fields(kind)))
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return what ``dtb --help`` and each command's ``--help-all`` print."""
    lines = ["# Commands", "", "```text", overview(), "```"]
    for name in COMMANDS:
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream), contextlib.suppress(SystemExit):
            exit_code([name, "--help-all"])
        lines += ["", f"## dtb {name}", "", "```text", stream.getvalue().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def kinds_page() -> str:
    """Return every table of kinds: indicators, connectomes, layouts, predictors, baselines that are trained anew, covariates."""
    lines = ["# Kinds", "", "What comes in kinds, from the tables in the code. [How to add one](../extending.md).", ""]
    lines += ["## Indicators", "", "What an intervention may aim at: `intervene.indicator`.", ""]
    lines += ["| name | what it is | unit | how it is computed |", "|---|---|---|---|"]
    lines += [f"| `{one.name}` | {one.words} | {one.unit} | {_cell(one.explanation)} |" for one in INDICATORS]
    lines += ["", "## Connectomes", "", "How a connectome is made: `ingest.connectome`.", ""]
    lines += ["| name | what it is | a correlation matrix |", "|---|---|---|"]
    lines += [f"| `{one.name}` | {_cell(one.words)} | {_of_connectome(one)} |" for one in CONNECTOMES]
    simple = {
        "Layouts": ("Which derivatives are read: `ingest.layout`.", LAYOUTS),
        "Predictors": ("What a twin is compared with.", PREDICTORS),
        "Arms": ("Of an in-silico trial; those that are directions are controls of every search.", ARMS),
        "Baselines that are trained anew": ("Networks that `evaluate.retrained` may name.", RETRAINED),
    }
    for heading, (sentence, kinds) in simple.items():
        lines += ["", f"## {heading}", "", sentence, "", "| name | what it is |", "|---|---|"]
        lines += [f"| `{one.name}` | {_cell(one.words)} |" for one in kinds]
    lines += ["", "## Covariates", "", "What is known of people besides.", ""]
    lines += [
        "| name | what it is | read from | taken out of figures | needed for a personal twin |",
        "|---|---|---|---|---|",
    ]
    for one in COVARIATES:
        columns = ", ".join(f"`{column}`" for column in one.columns)
        source = f"`participants.tsv`: {columns}" if columns else "the rest runs"
        lines.append(f"| `{one.name}` | {one.words} | {source} | {'yes' if one.is_removed else 'no'} | {one.needed} |")
    return "\n".join(lines) + "\n"


def _of_connectome(kind: ConnectomeKind) -> str:
    if kind.estimate is None:
        return "with `ingest.matrix_transform: fisher_z`"
    return "yes" if kind.is_correlation else "no"


def is_section(field: dataclasses.Field[Any]) -> bool:
    """Whether a field of `Config` is a section of its own."""
    return dataclasses.is_dataclass(getattr(cfg.Config(), field.name))


def table(kind: type, fields: list[dataclasses.Field[Any]]) -> list[str]:
    """Make the rows of one section's table."""
    explained = texts_under_fields(kind.__module__)
    values, types = cfg.to_plain(kind()), typing.get_type_hints(kind, include_extras=True)
    rows = ["| option | default | may be | what it is |", "|---|---|---|---|"]
    for field in fields:
        default = values[field.name]
        shown = "none" if default is None else "empty" if default in ([], "") else f"`{_yaml(default)}`"
        words = explained[kind.__name__, field.name]
        rows.append(f"| `{field.name}` | {shown} | {_cell(type_in_words(types[field.name]))} | {_cell(words)} |")
    return rows


def type_in_words(kind: Any) -> str:
    """Return what an option may be.

    Examples
    --------
    >>> type_in_words(cfg.OpenFraction), type_in_words(cfg.Count | None), type_in_words(tuple[str, ...])
    ('a number above 0, below 1', 'a whole number from 1, or none', 'a list, each a text')
    """
    plain = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
    if kind in plain:
        return plain[kind]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        named = next((part for part in parts[1:] if isinstance(part, OneOf)), None)
        if named is not None:
            return ", ".join(f"`{name}`" for name in named.choices)
        return f"{type_in_words(parts[0])} {', '.join(_bounds(parts[1:]))}"
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"a list, each {type_in_words(parts[0])}"
    if origin is dict:
        return f"a mapping from {type_in_words(parts[0])} to {type_in_words(parts[1])}"
    if isinstance(kind, UnionType) and type(None) not in parts:
        return " or ".join(type_in_words(part) for part in parts)
    if type(None) in parts:
        return ", ".join([*(type_in_words(part) for part in parts if part is not type(None)), "or none"])
    raise TypeError(f"no words for {kind}")


def _bounds(details: tuple[Any, ...]) -> list[str]:
    """Return, in words, between which numbers an option may lie, as pydantic's `Field` has it."""
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    bounds = [bound for detail in details for bound in getattr(detail, "metadata", ())]
    return [
        text.format(getattr(bound, name)) for name, text in words.items() for bound in bounds if hasattr(bound, name)
    ]


def _public_names(room: str) -> str:
    """Return the public names of a package, as code."""
    return ", ".join(f"`{name}`" for name in importlib.import_module(room).__all__ if not name.startswith("_"))


def python_pages() -> dict[str, str]:
    """Return a page for each room of the package, which mkdocstrings fills from the docstrings, and one that lists them."""
    package = Path(dtb.__file__).parent
    folders = [path.parent for path in sorted(package.rglob("__init__.py"))]
    rooms = {".".join(("dtb", *folder.relative_to(package).parts)): sorted(folder.glob("*.py")) for folder in folders}
    pages, overview_lines = (
        {},
        [
            "# Python",
            "",
            "What a package's `__all__` names is public: it is named on top of each page, and a change of it stands in the changelog. The",
            "rest is explained for whoever works on dtb itself.",
            "",
        ],
    )
    for room, files in rooms.items():
        modules = [path for path in files if not path.stem.startswith("__")]
        pages[f"reference/python/{room}.md"] = "\n\n".join(
            [f"# {room}", f"Public: {_public_names(room)}.", *(f"::: {room}.{path.stem}" for path in modules)]
        )
        overview_lines += ["", f"## [{room}]({room}.md)", "", "| module | what it is |", "|---|---|"]
        for path in modules:
            words = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
            anchor = f"{room}.md#{room}.{path.stem}"
            overview_lines.append(f"| [`{path.stem}`]({anchor}) | {_cell(' '.join(words.split()))} |")
    return {"reference/python/index.md": "\n".join(overview_lines) + "\n", **pages}


def made_pages() -> dict[str, str]:
    """Return every page that is made from the code, by its place among the others."""
    return {
        "reference/configuration.md": configuration_page(),
        "reference/commands.md": commands_page(),
        "reference/kinds.md": kinds_page(),
        **python_pages(),
    }


def on_files(files: Any, config: Any) -> Any:
    """Add the made pages to those in the folder (a hook of mkdocs)."""
    from mkdocs.structure.files import File

    for path, content in made_pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
