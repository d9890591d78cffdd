"""Tables of region names, and the check that a table and an image are of the same atlas.

A table that counts from 0, or a list of names beside an image whose labels have gaps, would give every region its neighbour's name, and
nothing later could tell. So both sides are held against each other: what one lacks is named, and names that may have moved are refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from dtb.errors import InputDataError
from dtb.tasks.tables import read_tsv

LARGEST_LABEL = 2**31
_MOST_DIGITS = 12
_NUM_NAMED = 6
_INDEX_NAMES = ("index", "index0")
_LABEL_NAMES = ("name", "label")
_NO_REGION = frozenset({"???", "background"})
_NO_REGION_AT_0 = _NO_REGION | {
    "unknown",
    "unlabeled",
    "unlabelled",
    "unassigned",
    "none",
    "outside",
    "clear label",
    "clear_label",
}
_NUMBERED = re.compile(r"\s*(\d+)[\s,;]+(\S.*?)\s*")
# FreeSurfer's tables of colours have them behind the name, FSLeyes' and ITK-SNAP's before it.
_COLOURS_BEHIND = re.compile(r"(.*?\S)(?:[\s,;]+[\d.]+){3,}")
_COLOURS_BEFORE = re.compile(r"(?:[\d.]+[\s,;]+){3,}(.*)")
_XML = "<"
_FORMS = (
    "expected columns `index` and `name`, lines of `index<TAB>name`, a table of colours (`index name R G B A`), or one name a line, the "
    "first for label 1."
)


@dataclasses.dataclass(frozen=True)
class RegionTable:
    """A table that names regions.

    Attributes
    ----------
    path : Path
    names : dict of int to str
        Regions by the number that they have in an image, in order.
    background : frozenset of int
        Numbers that the table calls no region.
    says_numbers : bool
        Whether the numbers stand in the table; else they are the lines'.
    """

    path: Path
    names: dict[int, str]
    background: frozenset[int] = frozenset()
    says_numbers: bool = True

    def lacking(self, labels: Collection[int], image: str) -> list[str]:
        """Return sentences on regions that the image or the table lacks.

        Parameters
        ----------
        labels : collection of int
            Numbers that the image has, with or without the 0 of its background.
        image : str

        Returns
        -------
        list of str
            A sentence for each side that lacks something. Regions without a label will be absent in everybody.

        Raises
        ------
        InputDataError
            Names may stand at the wrong labels: the table names the background, both sides lack something, or a list without numbers has
            not a name for each of the labels 1, 2, ...
        """
        nameless = sorted(set(labels) - set(self.names) - self.background - {0})
        without_label = sorted(set(self.names) - set(labels) - {0})
        found = []
        if nameless:
            found.append(f"{image} has {_listed('label', nameless)} without a name in {self.path.name}.")
        if without_label:
            named = [f"{self.names[number]} ({number})" for number in without_label]
            found.append(f"{self.path.name} names {_listed('region', named)} without a label in {image}.")
        if 0 in self.names:
            raise InputDataError(
                f"{self.path.name} names the region {self.names[0]!r} at 0, which in an image is the background. {' '.join(found)} If the "
                "table counts from 0, add 1 to each index; else call that line `Background`, or leave it out."
            )
        if nameless and without_label:
            raise InputDataError(
                f"{' '.join(found)} They do not belong together, or the table counts in another way than the image, and every name would "
                "stand at a wrong label: correct the table's indices."
            )
        if found and not self.says_numbers:
            raise InputDataError(
                f"{' '.join(found)} A list of names without numbers is for an image with the labels 1, 2, ... without a gap: write "
                "`index<TAB>name` lines."
            )
        return found


def _listed(what: str, values: Sequence[object]) -> str:
    more = f" and {len(values) - _NUM_NAMED} more" if len(values) > _NUM_NAMED else ""
    plural = f"the {len(values)} {what}s" if len(values) > 1 else f"the {what}"
    return f"{plural} {', '.join(map(str, values[:_NUM_NAMED]))}{more}"


def read_region_table(path: Path) -> dict[int, str]:
    """Read the regions of a table by their numbers; see `load_region_table`."""
    return load_region_table(path).names


def load_region_table(path: Path) -> RegionTable:
    """Read a table that names regions: columns `index` and `name` (or `label`), `index<TAB>name` lines, colours, or one name a line.

    Raises
    ------
    InputDataError
        The table is none of these, or names a region twice.
    """
    numbered, says_numbers = _rows(path)
    background = {number for number, name in numbered if name.lower() in (_NO_REGION if number else _NO_REGION_AT_0)}
    names = {number: name for number, name in numbered if number not in background}
    largest = max(number for number, _ in numbered)
    if largest >= LARGEST_LABEL:
        raise InputDataError(f"{path} numbers a region {largest}; expected less than {LARGEST_LABEL}.")
    for kind, values in (("number", [number for number, _ in numbered]), ("region", list(names.values()))):
        twice = next((value for value, count in Counter(values).items() if count > 1), None)
        if twice is not None:
            raise InputDataError(f"{path}: the {kind} {twice!r} occurs twice.")
    if len(names) < 2:
        raise InputDataError(f"{path}: fewer than two regions.")
    return RegionTable(path, dict(sorted(names.items())), frozenset(background), says_numbers)


def table_beside(atlas: Path) -> Path | None:
    """Return the table that lies beside an atlas and has its name."""
    stem = atlas.name.split(".")[0]
    return next((path for kind in ("tsv", "txt") if (path := atlas.with_name(f"{stem}.{kind}")).is_file()), None)


def _rows(path: Path) -> tuple[list[tuple[int, str]], bool]:
    """Return number and name of each row, and whether the numbers stand in the table."""
    if not path.is_file():
        raise InputDataError(f"{path} is not a file; expected a table of region names.")
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputDataError(f"{path} is not text; expected a table of region names.") from None
    except OSError as error:
        raise InputDataError(f"{path} cannot be read ({error.strerror}); expected a table of region names.") from None
    if lines and lines[0].lstrip().startswith(_XML):
        raise InputDataError(f"{path} is XML, in which atlases count in different ways; {_FORMS}")
    header = [cell.strip().lower() for cell in lines[0].split("\t")] if lines else []
    index_name = next((name for name in _INDEX_NAMES if name in header), None)
    label_name = next((name for name in _LABEL_NAMES if name in header), None)
    says_numbers = True
    if index_name and label_name:
        columns = {name.lower(): cells for name, cells in read_tsv(path).columns.items()}
        rows = list(zip(columns[index_name], columns[label_name], strict=True))
    else:
        lines = [line for line in lines if not line.lstrip().startswith("#")]
        if any("\t" in line for line in lines):
            cells = [line.split("\t") for line in lines]
            if any(len(row) < 2 for row in cells):
                raise InputDataError(f"{path}: {_FORMS}")
            rows = [(row[0], _without_colours("\t".join(row[1:]))) for row in cells]
        elif lines and all(_NUMBERED.fullmatch(line) for line in lines):
            rows = [(found[1], _without_colours(found[2])) for line in lines if (found := _NUMBERED.fullmatch(line))]
        else:
            lines = lines[1:] if lines and header[0] in _LABEL_NAMES else lines
            rows, says_numbers = [(str(place + 1), line) for place, line in enumerate(lines)], False
    if not rows or any(not number.strip().isdecimal() or not name.strip() for number, name in rows):
        raise InputDataError(f"{path}: {_FORMS}")
    return [(int(number.strip()[:_MOST_DIGITS]), name.strip()) for number, name in rows], says_numbers


def _without_colours(text: str) -> str:
    """Return the name of a row that may have colours before or behind it, or other columns behind a tab."""
    if found := _COLOURS_BEFORE.fullmatch(text):
        return found[1].strip().strip('"')
    if found := _COLOURS_BEHIND.fullmatch(text):
        return found[1].strip()
    return text.split("\t", maxsplit=1)[0].strip()
