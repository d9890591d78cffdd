"""Atlases: which voxel or grayordinate belongs to which region, and what the regions are called.

Shape letters: `R` region, `M` voxel of the atlas.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dtb.errors import InputDataError
from dtb.tasks.tables import read_tsv

_INDEX_NAMES = ("index", "index0")
_LABEL_NAMES = ("name", "label")


def read_region_table(path: Path) -> dict[int, str]:
    """Read the table that names regions: `index<TAB>name` lines, or columns `index` and `name` (or `label`), or one name a line.

    Raises
    ------
    InputDataError
        The table is none of these, or names a region twice.
    """
    if not path.is_file():
        raise InputDataError(f"{path} is not a file; expected a table of region names.")
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputDataError(f"{path} is not text; expected a table of region names.") from None
    rows = [line.split("\t") for line in lines]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    index_name = next((name for name in _INDEX_NAMES if name in header), None)
    label_name = next((name for name in _LABEL_NAMES if name in header), None)
    if index_name and label_name:
        columns = {name.lower(): cells for name, cells in read_tsv(path).columns.items()}
        rows = [list(pair) for pair in zip(columns[index_name], columns[label_name], strict=True)]
    elif all(len(row) == 1 for row in rows):
        rows = [[str(place + 1), row[0]] for place, row in enumerate(rows)]
    if not rows or any(len(row) < 2 or not row[0].strip().isdecimal() for row in rows):
        raise InputDataError(f"{path}: expected lines of `index<TAB>name`, or columns `index` and `name`.")
    found = {int(row[0]): row[1].strip() for row in rows if row[1].strip() not in {"???", "Background", "background"}}
    names = list(found.values())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(found) < 2:
        raise InputDataError(
            f"{path}: " + (f"the region {twice[0]!r} occurs twice." if twice else "fewer than two regions.")
        )
    return dict(sorted(found.items()))


@dataclasses.dataclass(frozen=True, eq=False)
class VolumeAtlas:
    """A labelled volume.

    Attributes
    ----------
    path : Path
    labels : (R,) int
        Number of each region in the image, in the order of the cohort's regions.
    """

    path: Path
    labels: np.ndarray

    @property
    def num_regions(self) -> int:
        """R; a region that the image lacks is absent everywhere."""
        return len(self.labels)

    def on_grid(self, shape: tuple[int, int, int], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the atlas on an image's grid.

        Returns
        -------
        place_M : (M,) int
            Voxels of the atlas in the order in which NIfTI files hold them (first dimension fastest).
        region_M : (M,) int
            Region of each, counted from 0.

        Raises
        ------
        InputDataError
            The atlas is no labelled volume, or does not meet the image.
        """
        try:
            image: Any = nibabel.load(self.path)
        except (nibabel.filebasedimages.ImageFileError, OSError) as error:
            raise InputDataError(f"{self.path} is not a readable atlas: {error}") from None
        if len(image.shape) != 3:
            raise InputDataError(f"{self.path} has shape {image.shape}; an atlas has three dimensions.")
        if image.shape != shape or not np.allclose(image.affine, affine, atol=1e-3):
            from nilearn.image import resample_img

            try:
                image = resample_img(
                    image, affine, shape, interpolation="nearest", force_resample=True, copy_header=True
                )
            except ValueError as error:
                raise InputDataError(
                    f"{self.path.name} and the image do not meet: {str(error).splitlines()[0]}"
                ) from None
        numbers = np.asarray(image.dataobj).reshape(-1, order="F")
        rounded = np.rint(numbers).astype(np.int64)
        order = np.argsort(self.labels)
        at = np.searchsorted(self.labels[order], rounded)
        is_region = (at < len(order)) & (self.labels[order][np.minimum(at, len(order) - 1)] == rounded)
        place_M = np.flatnonzero(is_region)
        if not len(place_M):
            raise InputDataError(
                f"{self.path.name} has none of its regions within the image: are they in the same space?"
            )
        return place_M, order[at[place_M]]
