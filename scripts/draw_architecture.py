"""Draws docs/images/rooms.svg and fills the tables of docs/architecture.md, from the imports in the code and the contracts on them:

    python scripts/draw_architecture.py

What a room is for is the first sentence of its docstring, what it may import stands in pyproject.toml, what it imports is in its files.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.contracts import PACKAGE, RoomTable, links_of, room_of  # noqa: E402

PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "images" / "rooms.svg"
CELL, LEFT, TOP, EDGE = 26, 150, 130, 20
_STYLE = """
    .ground { fill: #ffffff; stroke: #b8c1cc; }
    .band { fill: #f1f4f7; }
    .own { fill: #dde3ea; }
    .row { fill: #0072b2; }
    .exception { fill: none; stroke: #b84a06; stroke-width: 2.2; }
    text { fill: #1b1f24; font-size: 14px; }
    .quiet { fill: #57616c; font-size: 13px; }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #11161c; stroke: #46525f; }
      .band { fill: #1a2129; }
      .own { fill: #34404c; }
      .row { fill: #56b4e9; }
      .exception { stroke: #f0873e; }
      text { fill: #e8ecf0; }
      .quiet { fill: #aab4bf; }
    }"""


def read_contracts() -> list[dict[str, Any]]:
    """Read the contracts as pyproject.toml states them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"]


def read_table() -> RoomTable:
    """Read the table of rooms."""
    return RoomTable.read(next(contract for contract in read_contracts() if contract["type"] == "rooms"))


def imports_between_rooms(table: RoomTable) -> dict[tuple[str, str], bool]:
    """Return each pair of rooms of which one imports the other, and whether the row of the importer allows it (else an exception does).

    The rooms that everybody may import are left out.
    """
    graph = grimp.build_graph(PACKAGE, include_external_packages=False, cache_dir=None)
    rows = RoomTable(table.ground, table.rows, ())
    found: dict[tuple[str, str], bool] = {}
    for importer, imported, _ in links_of(graph):
        pair = room_of(importer), room_of(imported)
        if pair[0] != pair[1] and not {*pair} & {*table.ground, ""}:
            found[pair] = found.get(pair, True) and rows.allows(importer, imported)
    return found


def from_below(rooms: list[str], imports: dict[tuple[str, str], bool]) -> list[str]:
    """Order rooms so that each stands after all that it imports.

    Examples
    --------
    >>> from_below(["a", "b", "c"], {("a", "b"): True, ("b", "c"): True})
    ['c', 'b', 'a']
    """
    ordered: list[str] = []
    while left := [room for room in rooms if room not in ordered]:
        ready = [room for room in left if not any(pair[0] == room and pair[1] in left for pair in imports)]
        if not ready:
            raise SystemExit(f"Rooms import each other in a circle: {', '.join(left)}. `lint-imports` says where.")
        ordered += ready
    return ordered


def purpose(room: str) -> str:
    """Return the first sentence of a room's docstring, its markup turned into Markdown's."""
    folder = ROOT / PACKAGE / room
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise SystemExit(
            f"{path.relative_to(ROOT)} has no docstring: its first sentence says on the page what the room is for."
        )
    sentence = re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0]
    return sentence.replace("``", "`").replace("|", "\\|")


def picture() -> str:
    """Return the matrix of rooms as SVG: a row a room, a mark in the column of each room that it imports."""
    table = read_table()
    imports = imports_between_rooms(table)
    rooms = from_below([rule.importer for rule in table.rows if rule.importer not in table.ground], imports)
    width, height = LEFT + CELL * len(rooms) + 2 * EDGE, TOP + CELL * len(rooms) + 74
    exceptions = sum(not allowed for allowed in imports.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title description" '
        "font-family=\"system-ui, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif\">",
        "  <!-- Made by scripts/draw_architecture.py from the code. -->",
        '  <title id="title">Which room imports which</title>',
        f'  <desc id="description">A square of {len(rooms)} rooms. All {len(imports)} marks lie left of the diagonal: each room '
        f"imports only rooms that stand above it. {exceptions} of them are exceptions.</desc>",
        f"  <style>{_STYLE}\n  </style>",
        f'  <rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="12"/>',
        f'  <text class="quiet" x="{EDGE}" y="{TOP - 12}">imports:</text>',
    ]
    for place, room in enumerate(rooms):
        x, y = LEFT + CELL * place, TOP + CELL * place
        if place % 2 == 0:
            lines.append(
                f'  <rect class="band" x="{EDGE - 8}" y="{y}" width="{width - 2 * EDGE + 16}" height="{CELL}"/>'
            )
        lines += [
            f'  <rect class="own" x="{x}" y="{y}" width="{CELL}" height="{CELL}"/>',
            f'  <text x="{EDGE}" y="{y + 18}">{room}</text>',
            f'  <text transform="translate({x + 18} {TOP - 8}) rotate(-60)">{room}</text>',
        ]
    for (importer, imported), allowed in sorted(imports.items()):
        x, y = LEFT + CELL * (rooms.index(imported) + 0.5), TOP + CELL * (rooms.index(importer) + 0.5)
        kind = 'class="row" r="6"' if allowed else 'class="exception" r="5"'
        lines.append(f'  <circle {kind} cx="{x:g}" cy="{y:g}"><title>{importer} imports {imported}</title></circle>')
    y = height - 44
    lines += [
        f'  <circle class="row" r="6" cx="{EDGE + 8}" cy="{y - 5}"/>',
        f'  <text class="quiet" x="{EDGE + 24}" y="{y}">its row of the table allows it</text>',
        f'  <circle class="exception" r="5" cx="{EDGE + 248}" cy="{y - 5}"/>',
        f'  <text class="quiet" x="{EDGE + 264}" y="{y}">an exception does, with its reason</text>',
        f'  <text class="quiet" x="{EDGE}" y="{y + 26}">Imported by all: {", ".join(table.ground)}.</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def rooms_table() -> str:
    """Return the table of rooms in Markdown."""
    table = read_table()
    rows = {rule.importer: rule for rule in table.rows}
    others = from_below([room for room in rows if room not in table.ground], imports_between_rooms(table))
    lines = ["| room | what it is for | may import |", "|---|---|---|"]
    for room in [*table.ground, *others]:
        allowed = "everything" if "*" in rows[room].allowed else ", ".join(f"`{name}`" for name in rows[room].allowed)
        folder = f"{room}/" if (ROOT / PACKAGE / room).is_dir() else f"{room}.py"
        rule = (allowed or "nothing") if room in table.ground else (allowed or "the ground only")
        lines.append(f"| `{folder}` | {purpose(room)} | {rule} |")
    return "\n".join(lines)


def exceptions_table() -> str:
    """Return the exceptions in Markdown."""
    lines = ["| this file or folder | may import | for |", "|---|---|---|"]
    for rule in read_table().exceptions:
        lines.append(f"| `{PACKAGE}.{rule.importer}` | `{PACKAGE}.{rule.allowed[0]}` | {rule.reason} |")
    return "\n".join(lines)


def contracts_list() -> str:
    """Return the names of all contracts, and who may import what is protected."""
    lines = []
    for contract in read_contracts():
        names = contract.get("allowed_importers", contract.get("source_modules", []))
        lines.append(f"- **{contract['name']}**" + (f": {', '.join(f'`{name}`' for name in names)}." if names else "."))
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with what lies between its markers made anew."""
    for name, made in (("rooms", rooms_table()), ("exceptions", exceptions_table()), ("contracts", contracts_list())):
        begin, end = f"<!-- {name}: made by scripts/draw_architecture.py -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise SystemExit(f"{PAGE.relative_to(ROOT)} needs one place between `{begin}` and `{end}`.")
        text = pattern.sub(lambda _, made=made, begin=begin, end=end: f"{begin}\n\n{made}\n\n{end}", text)
    return text


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")
