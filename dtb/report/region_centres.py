"""The positions of a cohort's regions in the brain, from the atlas or from a table of centres.

Shape letters: `R` region.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dtb.cohort.series.atlas import load_small_volume, whole_numbers
from dtb.cohort.series.region_table import load_region_table, table_beside
from dtb.errors import InputDataError

_TABLES = {".tsv": "\t", ".csv": ","}
_NAME_COLUMNS = ("name", "label", "roi name", "region")
_PLACE_COLUMNS = (("x", "y", "z"), ("r", "a", "s"))


def region_places(atlas: Path, regions: Sequence[str]) -> np.ndarray:
    """Return the centre of each region.

    Parameters
    ----------
    atlas : Path
        A labelled volume (NIfTI), its table of names beside it as `STEM.tsv` or `STEM.txt`; or a table (.tsv, .csv) of centres with a
        column `name` and columns `x`, `y`, `z`, or, as in the Schaefer atlases, `ROI Name` and `R`, `A`, `S`.
    regions : sequence of str
        Names, in the cohort's order. A volume without such a table, or with other names in it, must have as many regions, in this order.

    Returns
    -------
    (R, 3) float
        Millimetres to the right, to the front and upwards; NaN for a region that the atlas lacks.

    Raises
    ------
    InputDataError
        The file is neither, or of another parcellation.
    """
    if not atlas.is_file():
        raise InputDataError(
            f"report.atlas: {atlas} is not a file; give a labelled volume or a table of regions' centres."
        )
    if atlas.suffix in _TABLES:
        centres = _read_centres(atlas)
    elif atlas.name.endswith((".nii", ".nii.gz")) and not atlas.name.endswith((".dlabel.nii", ".dscalar.nii")):
        centres = _centres_of_volume(atlas)
    else:
        raise InputDataError(
            f"report.atlas: {atlas.name} says nothing of places in millimetres; give the atlas as a labelled volume (.nii.gz), or a table "
            "of its regions' centres (.tsv or .csv)."
        )
    if set(regions) & set(centres):
        return np.array([centres.get(name, (np.nan,) * 3) for name in regions], dtype=float)
    if len(centres) != len(regions):
        raise InputDataError(
            f"report.atlas: {atlas.name} has {len(centres)} regions, none of them named as one of the cohort's {len(regions)} "
            f"({regions[0]}, ...); give the atlas that the cohort was parcellated with."
        )
    return np.array(list(centres.values()), dtype=float)


def _centres_of_volume(atlas: Path) -> dict[str, tuple[float, ...]]:
    from nilearn.plotting import find_parcellation_cut_coords

    image = load_small_volume(atlas)
    image = type(image)(whole_numbers(np.asarray(image.dataobj)).astype(np.int32), image.affine)
    if not np.asarray(image.dataobj).any():
        raise InputDataError(f"report.atlas: {atlas.name} has no region.")
    places, numbers = find_parcellation_cut_coords(image, return_label_names=True)
    names: dict[int, str] = {}
    if (beside := table_beside(atlas)) is not None:
        table = load_region_table(beside)
        table.lacking({int(number) for number in numbers}, atlas.name)
        names = table.names
    return {
        names.get(int(number), str(int(number))): tuple(place) for number, place in zip(numbers, places, strict=True)
    }


def _read_centres(path: Path) -> dict[str, tuple[float, ...]]:
    try:
        table = pd.read_csv(path, sep=_TABLES[path.suffix])
    except (ValueError, OSError) as error:
        raise InputDataError(f"report.atlas: {path.name} is not a readable table: {error}") from None
    table.columns = [str(column).strip().lower() for column in table.columns]
    name = next((column for column in _NAME_COLUMNS if column in table), None)
    places = next((columns for columns in _PLACE_COLUMNS if set(columns) <= set(table)), None)
    if name is None or places is None:
        raise InputDataError(
            f"report.atlas: {path.name} has the columns {', '.join(table.columns)}; expected `name`, `x`, `y` and `z`, or `ROI Name`, `R`, "
            "`A` and `S`."
        )
    numbers = table[list(places)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    return dict(zip(table[name].astype(str), map(tuple, numbers), strict=True))
