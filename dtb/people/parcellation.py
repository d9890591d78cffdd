"""Well-known parcellations: where their regions lie, found by the regions' names, and which regions a made-up cohort has.

The names and centres are those of Schaefer et al. (2018) [1]_, in their first version and in the present one, of Tian et al. (2020)
[2]_, and of FreeSurfer's structures. `scripts/parcellations.py` makes both files, whose licences stand beside them.

Shape letters: `R` region, `V` vertex.

References
----------
.. [1] Cereb Cortex 28, 3095, 10.1093/cercor/bhx179.
.. [2] Nat Neurosci 23, 1421, 10.1038/s41593-020-00711-6.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dtb.files import write_table
from dtb.people.networks import network_of
from dtb.tasks.tables import read_tsv

FOLDER = Path(__file__).parent / "parcellations"
REGIONS_FILE = "regions.tsv"
NUM_VERTICES = 10_242
"""Vertices of a hemisphere of fsaverage5; those of the left one come first."""
_CORTEX, _SUBCORTEX = ("Schaefer100", "Schaefer200", "Schaefer300", "Schaefer400"), "Tian1"
_PREFIXES = ("schaefer2018_", "7networks_")


def places_of(regions: Sequence[str]) -> np.ndarray | None:
    """Return the centres of regions that go by the names of a well-known parcellation.

    Parameters
    ----------
    regions : sequence of str
        Names, as XCP-D, HALFpipe or the parcellation itself have them.

    Returns
    -------
    (R, 3) float or None
        Millimetres in MNI space, NaN for a region of another name; None if fewer than half have such a name.

    Examples
    --------
    >>> places_of(["LH_Vis_1", "7Networks_RH_Default_pCunPCC_2", "AMY-lh"])
    array([[-26., -33., -17.],
           [  7., -53.,  30.],
           [-22.,  -4., -18.]])
    """
    keys, tables = [_key(name) for name in regions], _tables()
    known = {**tables["FreeSurfer"], **tables["Tian2"], **tables["Tian1"], **tables.get(_cortex_of(keys) or "", {})}
    place_R3 = np.array([known[key][2:] if key in known else [np.nan] * 3 for key in keys]).reshape(-1, 3)
    return place_R3 if 2 * np.isfinite(place_R3[:, 0]).sum() >= len(regions) > 0 else None


def places_in(parcellation: str) -> dict[str, tuple[float, ...]] | None:
    """Return the centres of a parcellation of the cortex by the regions' names, in its order; None for a name of none.

    Examples
    --------
    >>> list(places_in("Schaefer200").items())[0], places_in("AAL")
    (('7Networks_LH_Vis_1', (-24.0, -53.0, -9.0)), None)
    """
    table = _tables().get(parcellation, {}) if parcellation in _CORTEX else {}
    # A region stands in its table twice, under both its names.
    return {name: (x, y, z) for name, _, x, y, z in dict.fromkeys(table.values())} or None


def names_by_place(place_R3: np.ndarray | None) -> list[str] | None:
    """Return the regions' names in a parcellation of the cortex whose centres, in its order, are these; None if none has them.

    Examples
    --------
    >>> names_by_place(np.array(list(places_in("Schaefer100").values())))[0]
    '7Networks_LH_Vis_1'
    """
    if place_R3 is None or (known := places_in(f"Schaefer{len(place_R3)}")) is None:
        return None
    return list(known) if np.array_equal(list(known.values()), place_R3) else None


def no_places_in_words(regions: Sequence[str]) -> str:
    """Return in a sentence or two that it is not known where regions lie, and what `--atlas` takes to tell it."""
    first = f" ({regions[0]}, ...)" if regions else ""
    known = next((name for name in _CORTEX if name == f"Schaefer{len(regions)}"), None)
    ordered = f"; or {known}, if they are that atlas's {len(regions)} regions in the order of its 7 networks"
    return (
        f"It is not known where the regions lie{first}, so no brain is drawn. `--atlas` (`ingest.atlas` in a configuration) tells it: "
        f"their atlas as a labelled volume in MNI space, or a table of their centres (name, x, y, z in mm){ordered if known else ''}."
    )


def save_places(folder: Path, regions: Sequence[str], place_R3: np.ndarray | None) -> None:
    """Write the cohort's regions, their networks and centres as `regions.tsv` into a folder."""
    rows: list[tuple[str, ...]] = [("region", "network", "x", "y", "z")]
    for place, name in enumerate(regions):
        centre = [np.nan] * 3 if place_R3 is None else place_R3[place]
        rows.append((name, network_of(name), *("n/a" if np.isnan(value) else f"{value:.1f}" for value in centre)))
    write_table(folder / REGIONS_FILE, rows)


def load_places(folder: Path, regions: Sequence[str]) -> np.ndarray | None:
    """Read the centres (R, 3) of regions from a folder's `regions.tsv`, or else tell them by the regions' names; None if unknown."""
    path = folder / REGIONS_FILE
    if path.is_file():
        rows = read_tsv(path).columns
        if {"region", "x", "y", "z"} <= set(rows) and rows["region"] == list(regions):
            place_R3 = np.array([[np.nan if cell == "n/a" else float(cell) for cell in rows[axis]] for axis in "xyz"]).T
            return place_R3 if np.isfinite(place_R3).any() else None
    return places_of(regions)


def vertices_of(regions: Sequence[str]) -> np.ndarray | None:
    """Return the region of each vertex of fsaverage5's two hemispheres, by the regions' names.

    Returns
    -------
    (2 V,) int or None
        Places in `regions`, -1 on the medial wall and where a region is not among them; None if no region's borders are known.
    """
    keys = [_key(name) for name in regions]
    parcellation = _cortex_of(keys)
    if parcellation is None:
        return None
    numbers = {key: row[1] for key, row in _tables()[parcellation].items()}
    of_label = np.full(max(numbers.values()) + 1, -1)
    for place, key in enumerate(keys):
        if key in numbers:
            of_label[numbers[key]] = place
    with np.load(FOLDER / "fsaverage5.npz") as stored:
        return np.asarray(of_label[stored[parcellation].astype(np.int64)])


def some_regions(number: int) -> tuple[list[str], np.ndarray]:
    """Return the names and centres (R, 3) of so many regions, spread evenly over all networks of cortex and subcortex.

    Up to 116 are of the parcellation of 100 regions of the cortex, and of finer ones up to 416; beyond, regions come again, with a letter
    behind the name.

    Examples
    --------
    >>> names, place_R3 = some_regions(116)
    >>> names[0], names[-1], place_R3.shape
    ('7Networks_LH_Vis_1', 'CAU-lh', (116, 3))
    """
    # A region of the cortex stands in its table twice, under both its names.
    scales = [list(dict.fromkeys((*_tables()[cortex].values(), *_tables()[_SUBCORTEX].values()))) for cortex in _CORTEX]
    rows = next((rows for rows in scales if len(rows) >= number), scales[-1])
    if number > len(rows):
        again = [(f"{row[0]}_{chr(ord('a') + turn)}", *row[1:]) for turn in range(1, 26) for row in rows[:-16]]
        rows = [*rows, *again][:number]
        return [row[0] for row in rows], np.array([row[2:] for row in rows])
    _, network_R = np.unique([network_of(row[0]) for row in rows], return_inverse=True)
    chosen: list[int] = []
    for network, wanted in enumerate(_shares(np.bincount(network_R), number)):
        mine = np.flatnonzero(network_R == network)
        chosen += mine[np.linspace(0, len(mine) - 1, wanted).round().astype(int)].tolist()
    kept = [rows[place] for place in sorted(chosen)]
    return [row[0] for row in kept], np.array([row[2:] for row in kept])


def _shares(counts_N: np.ndarray, number: int) -> np.ndarray:
    """Divide a number in proportion, each at least 1 as long as there are enough, none more than its count."""
    shares_N = np.minimum(np.maximum(counts_N * number // counts_N.sum(), int(number >= len(counts_N))), counts_N)
    while shares_N.sum() != number:
        short_N = counts_N * number / counts_N.sum() - shares_N
        if shares_N.sum() < number:
            shares_N[np.argmax(np.where(shares_N < counts_N, short_N, -np.inf))] += 1
        else:
            shares_N[np.argmin(np.where(shares_N > 1, short_N, np.inf))] -= 1
    return shares_N


Row = tuple[str, int, float, float, float]


@functools.cache
def _tables() -> dict[str, dict[str, Row]]:
    """Return the regions of each parcellation by what `_key` makes of their names: name, number, and centre."""
    tables: dict[str, dict[str, Row]] = {}
    counts: Counter[str] = Counter()
    with (FOLDER / "regions.tsv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            table = tables.setdefault(row["parcellation"], {})
            counts[row["parcellation"]] += 1
            found = (row["name"], counts[row["parcellation"]], float(row["x"]), float(row["y"]), float(row["z"]))
            table[_key(row["name"])] = found
            if row["name_17_networks"]:
                table[_key(row["name_17_networks"])] = found
    return tables


def _key(name: str) -> str:
    key = name.lower()
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _cortex_of(keys: Sequence[str]) -> str | None:
    """Return the parcellation of the cortex that has most of the names, the coarsest of several; None if none has any."""
    found = {
        name: sum(key in table for key in keys) for name, table in _tables().items() if name.startswith("Schaefer")
    }
    best = max(found, key=found.__getitem__)
    return best if found[best] else None
