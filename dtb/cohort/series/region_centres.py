"""The positions of a cohort's regions in the brain, from the atlas or from a table of centres.

Shape letters: `R` region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel
import numpy as np

from dtb.cohort.series.atlas import load_small_volume, whole_numbers
from dtb.cohort.series.region_table import load_region_table, table_beside
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.people.parcellation import places_in, places_of

_TABLES = {".tsv": "\t", ".csv": ","}
_NAME_COLUMNS = ("name", "label", "roi name", "region")
_PLACE_COLUMNS = (("x", "y", "z"), ("r", "a", "s"))


def region_places(atlas: Path, regions: Sequence[str], table: Path | None = None) -> np.ndarray:
    """Return the centre of each region.

    Parameters
    ----------
    atlas : Path
        A labelled volume (NIfTI), its table of names beside it as `STEM.tsv` or `STEM.txt`; or a table (.tsv, .csv) of centres with a
        column `name` and columns `x`, `y`, `z`, or, as in the Schaefer atlases, `ROI Name` and `R`, `A`, `S`; or no file, but the name of
        a parcellation that comes with dtb, `Schaefer100` to `Schaefer400`, in the order of its 7 networks.
    regions : sequence of str
        Names, in the cohort's order. A volume without such a table, or with other names in it, must have as many regions, in this order.
    table : Path, optional
        Names the regions of a volume, in place of the one beside it.

    Returns
    -------
    (R, 3) float
        Millimetres to the right, to the front and upwards; NaN for a region that the atlas lacks.

    Raises
    ------
    InputDataError
        The file is neither, or of another parcellation.
    """
    shipped = None if atlas.is_file() else places_in(atlas.name)
    if not atlas.is_file() and shipped is None:
        raise InputDataError(
            f"atlas: {atlas} is not a file; give a labelled volume, a table of regions' centres, or Schaefer100, 200, 300 or 400."
        )
    if shipped is not None:
        centres = shipped
    elif atlas.suffix in _TABLES:
        centres = _read_centres(atlas)
    elif atlas.name.endswith((".nii", ".nii.gz")) and not atlas.name.endswith((".dlabel.nii", ".dscalar.nii")):
        centres = _centres_of_volume(atlas, table)
    else:
        raise InputDataError(
            f"atlas: {atlas.name} says nothing of places in millimetres; give the atlas as a labelled volume (.nii.gz), or a table "
            "of its regions' centres (.tsv or .csv)."
        )
    if set(regions) & set(centres):
        return np.array([centres.get(name, (np.nan,) * 3) for name in regions], dtype=float)
    if len(centres) != len(regions):
        raise InputDataError(
            f"atlas: {atlas.name} has {len(centres)} regions, none of them named as one of the cohort's {len(regions)} "
            f"({regions[0]}, ...); give the atlas that the cohort was parcellated with."
        )
    return np.array(list(centres.values()), dtype=float)


def find_places(regions: Sequence[str], derivatives: Sequence[Path], config: IngestConfig) -> np.ndarray | None:
    """Return the centre of each region, from the atlas that was read, one in the derivative trees, or the regions' names.

    Parameters
    ----------
    regions : sequence of str
    derivatives : sequence of Path
        Trees, in whose `atlases` folder XCP-D puts the atlases that it used.
    config : IngestConfig

    Returns
    -------
    (R, 3) float or None
        As `region_places` has them; None if nothing tells.
    """
    known_R3 = places_of(regions)
    if not regions:
        return None
    if known_R3 is not None and np.isfinite(known_R3).all():
        return known_R3
    for atlas, table in _atlases(derivatives, config):
        try:
            names = set(load_region_table(table).names.values()) if table is not None else set()
            if atlas == config.atlas or set(regions) <= names:
                return region_places(atlas, regions, table)
        except (InputDataError, OSError):  # an atlas that says nothing of places, or that nobody asked for
            continue
    return known_R3


def _atlases(derivatives: Sequence[Path], config: IngestConfig) -> Iterator[tuple[Path, Path | None]]:
    """Yield volumes and tables with centres that may hold the cohort's regions, each with the table that names its regions."""
    if config.atlas is not None:
        yield config.atlas, config.region_labels or table_beside(config.atlas)
    for table in sorted(path for root in derivatives for path in root.glob("atlases/**/*_dseg.tsv")):
        yield table, table
        # XCP-D's table has no space and no resolution in its name, and so goes with all volumes of its atlas.
        stem = table.name.removesuffix("_dseg.tsv")
        yield from ((volume, table) for volume in sorted(table.parent.glob(f"{stem}*_dseg.nii.gz")))


def _centres_of_volume(atlas: Path, table_path: Path | None) -> dict[str, tuple[float, ...]]:
    from scipy.ndimage import center_of_mass

    image = load_small_volume(atlas)
    values = whole_numbers(np.asarray(image.dataobj), atlas.name)
    numbers = [number for number in np.unique(values) if number > 0]
    if not numbers:
        raise InputDataError(f"atlas: {atlas.name} has no region.")
    middles = center_of_mass(values > 0, values, numbers)
    places = nibabel.affines.apply_affine(image.affine, np.array(middles))
    names: dict[int, str] = {}
    if (beside := table_path or table_beside(atlas)) is not None:
        table = load_region_table(beside)
        table.lacking({int(number) for number in numbers}, atlas.name)
        names = table.names
    return {
        names.get(int(number), str(int(number))): tuple(place) for number, place in zip(numbers, places, strict=True)
    }


def _read_centres(path: Path) -> dict[str, tuple[float, ...]]:
    import pandas as pd  # takes a third of the time of an ingest's dry run

    try:
        table = pd.read_csv(path, sep=_TABLES[path.suffix])
    except (ValueError, OSError) as error:
        raise InputDataError(f"atlas: {path.name} is not a readable table: {error}") from None
    table.columns = [str(column).strip().lower() for column in table.columns]
    name = next((column for column in _NAME_COLUMNS if column in table), None)
    places = next((columns for columns in _PLACE_COLUMNS if set(columns) <= set(table)), None)
    if name is None or places is None:
        raise InputDataError(
            f"atlas: {path.name} has the columns {', '.join(table.columns)}; expected `name`, `x`, `y` and `z`, or `ROI Name`, `R`, "
            "`A` and `S`."
        )
    numbers = table[list(places)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    return dict(zip(table[name].astype(str), map(tuple, numbers), strict=True))
