"""The contracts on imports that import-linter cannot state itself: the table of rooms, and no circle of files.

`lint-imports` reads both from pyproject.toml (`[tool.importlinter]`). Every import counts: at the top of a file, within a function, and for
types alone. `scripts/draw_architecture.py` makes the page and the picture of the architecture from the same table.

A *room* is a folder of ``dtb/``, or a file beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from importlinter import Contract, ContractCheck, fields, output

PACKAGE = "dtb"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What one room, or one file or folder within it, may import.

    Attributes
    ----------
    importer : str
        Without the package's name: ``fleet``, or ``evaluate.planning``.
    allowed : tuple of str
        Likewise; ``*`` allows everything.
    reason : str
        Why there is an exception; empty for a room's own row.
    """

    importer: str
    allowed: tuple[str, ...]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class RoomTable:
    """The table of rooms.

    Attributes
    ----------
    ground : tuple of str
        Rooms that every other room may import; what they import of each other stands in their own rows.
    rows : tuple of Rule
    exceptions : tuple of Rule
    """

    ground: tuple[str, ...]
    rows: tuple[Rule, ...]
    exceptions: tuple[Rule, ...]

    @classmethod
    def read(cls, settings: dict[str, Any]) -> RoomTable:
        """Read the table from its contract's settings, as pyproject.toml has them.

        Examples
        --------
        >>> table = RoomTable.read({"ground": ["errors"], "rows": ["errors:", "a: b"], "exceptions": ["a.c -> d.e: why"]})
        >>> table.rows[1], table.exceptions[0]
        (Rule(importer='a', allowed=('b',), reason=''), Rule(importer='a.c', allowed=('d.e',), reason='why'))
        """
        rows = []
        for line in settings["rows"]:
            importer, _, allowed = line.partition(":")
            rows.append(Rule(importer.strip(), tuple(name.strip() for name in allowed.split(",") if name.strip())))
        exceptions = []
        for line in settings["exceptions"]:
            link, _, reason = line.partition(":")
            importer, _, imported = link.partition("->")
            exceptions.append(Rule(importer.strip(), (imported.strip(),), reason.strip()))
        return cls(tuple(settings["ground"]), tuple(rows), tuple(exceptions))

    def allows(self, importer: str, imported: str) -> bool:
        """Whether a module may import another; both without the package's name.

        Examples
        --------
        >>> table = RoomTable(("errors",), (Rule("errors", ()), Rule("a", ("b",)), Rule("b", ())), (Rule("b.c", ("a.d",), "why"),))
        >>> table.allows("a.x", "b.y"), table.allows("b.y", "a.x"), table.allows("b.y", "errors"), table.allows("errors", "b")
        (True, False, True, False)
        >>> table.allows("b.c", "a.d"), table.allows("b.c", "a.e")
        (True, False)
        """
        room, other = room_of(importer), room_of(imported)
        if room == "":
            return True  # `import dtb` offers names from everywhere
        if room == other or (other in self.ground and room not in self.ground):
            return True
        rules = [*self.rows, *self.exceptions]
        return any(
            covers(rule.importer, importer) and any(name == "*" or covers(name, imported) for name in rule.allowed)
            for rule in rules
        )


def room_of(module: str) -> str:
    """Return the room of a module, which is named without the package; the package's own `__init__` is the room ``""``."""
    return module.partition(".")[0]


def covers(name: str, module: str) -> bool:
    """Whether `name` is the module or a folder above it."""
    return module == name or module.startswith(f"{name}.")


class Rooms(Contract):
    """A room imports only what its row of the table, or an exception with its reason, allows."""

    ground = fields.ListField(subfield=fields.StringField())
    rows = fields.ListField(subfield=fields.StringField())
    exceptions = fields.ListField(subfield=fields.StringField())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Compare all imports with the table, and the table with the rooms that there are."""
        del verbose
        table = RoomTable.read({name: getattr(self, name) for name in ("ground", "rows", "exceptions")})
        links = list(links_of(graph))
        wrong = [
            f"{PACKAGE}.{importer} imports {PACKAGE}.{imported} (line {line})"
            for importer, imported, line in links
            if not table.allows(importer, imported)
        ]
        there = {room_of(short(module)) for module in graph.modules if covers(PACKAGE, module)} - {""}
        rows = {rule.importer for rule in table.rows}
        wrong += [f"{PACKAGE}.{room} has no row: add one to `rows`" for room in sorted(there - rows)]
        wrong += [f"the row of {room} speaks of no room: remove it" for room in sorted(rows - there)]
        for rule in table.exceptions:
            name = rule.allowed[0]
            if not any(covers(rule.importer, importer) and covers(name, imported) for importer, imported, _ in links):
                wrong.append(f"the exception {rule.importer} -> {name} is not used any more: remove it")
            if not rule.reason:
                wrong.append(f"the exception {rule.importer} -> {name} gives no reason: write it after a colon")
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print what is wrong, a line each."""
        for line in check.metadata["wrong"]:
            output.print_error(f"- {line}", bold=False)
        output.print("The table stands in pyproject.toml; docs/architecture.md says what the rooms are for.")


class NoFileCircles(Contract):
    """No file imports itself by way of others."""

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Look for a circle."""
        del verbose
        modules = sorted(module for module in graph.modules if covers(PACKAGE, module))
        imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in modules}
        found = circle(imports)
        return ContractCheck(kept=not found, metadata={"circle": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one circle."""
        output.print_error(f"- {' -> '.join(check.metadata['circle'])}", bold=False)
        output.print("Move what both need into a file below them, or pass it as an argument.")


def circle(imports: dict[str, set[str]]) -> Sequence[str]:
    """Return one circle of imports, its first file at both ends; nothing if there is none.

    Examples
    --------
    >>> circle({"a": {"b"}, "b": {"c"}, "c": set()})
    []
    >>> circle({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()})
    ['b', 'c', 'b']
    """
    left = {module: imported & imports.keys() for module, imported in imports.items()}
    while ends := {module for module, imported in left.items() if not imported}:
        left = {module: imported - ends for module, imported in left.items() if module not in ends}
    if not left:
        return []
    # Whatever is left imports something that is left: walking on comes back to where it was.
    walked = [min(left)]
    while (onward := min(left[walked[-1]])) not in walked:
        walked.append(onward)
    return [*walked[walked.index(onward) :], onward]


def links_of(graph: Any) -> Iterator[tuple[str, str, int]]:
    """Go through all imports within the package: importer, imported (without the package's name) and line."""
    for importer in sorted(module for module in graph.modules if covers(PACKAGE, module)):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            if covers(PACKAGE, imported):
                details = graph.get_import_details(importer=importer, imported=imported)
                yield short(importer), short(imported), min(detail["line_number"] for detail in details)


def short(module: str) -> str:
    """Return a module's name without the package's."""
    return module.removeprefix(PACKAGE).removeprefix(".")
