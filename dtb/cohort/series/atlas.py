"""Atlases: which voxel belongs to which region.

Shape letters: `R` region, `M` voxel of the atlas.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from isal import igzip
from isal.igzip_lib import IsalError

from dtb.cohort.series.region_table import LARGEST_LABEL
from dtb.errors import InputDataError

_MOST_VOXELS = 2**28
_FROM_WHOLE = 0.05  # what scaled labels differ by
_BLOCK_VOXELS = 2**20
_LARGEST_OFFSET = 64 * 2**20  # of the data within a NIfTI file: header extensions are small
_LONGEST_HEADER = 540
_OFFSETS = (
    (348, 108, "f"),
    (540, 168, "q"),
)  # size of each NIfTI version's header, where it says where the data begin, and as what
BAD_BYTES: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, IsalError)  # type: ignore[assignment]
"""What reading a file raises, compressed or not, that was cut or altered."""
UNREADABLE: tuple[type[Exception], ...] = (
    *BAD_BYTES,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
    nibabel.spatialimages.HeaderTypeError,
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What nibabel raises when it is given something else than an image."""


def header_extensions(path: Path) -> list[tuple[int, bytes]]:
    """Return code and content of a NIfTI file's header extensions; none of a file that is something else.

    nibabel reads them whole, decompressed, before anything else, so this comes first.

    Raises
    ------
    InputDataError
        There is more of them than a header has: the data begin too far behind it.
    """
    with igzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        header = stream.read(_LONGEST_HEADER)
        for size, place, kind in _OFFSETS:
            for order in "<>":
                if len(header) < size or struct.unpack_from(f"{order}i", header)[0] != size:
                    continue
                (offset,) = struct.unpack_from(f"{order}{kind}", header, place)
                if not 0 <= offset <= _LARGEST_OFFSET:
                    raise InputDataError(
                        f"{path.name} begins its data at byte {offset:.20g}; expected at most {_LARGEST_OFFSET}."
                    )
                return _divided((header + stream.read(max(0, int(offset) - len(header))))[size + 4 :], order)
    return []


def _divided(content: bytes, order: str) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 8 <= len(content):
        size, code = struct.unpack_from(f"{order}2i", content, at)
        if size < 8:
            break
        found.append((code, content[at + 8 : at + size]))
        at += size
    return found


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Return labels rounded to int64; what is not a number, or too large for a label, becomes 0, the background.

    Raises
    ------
    InputDataError
        Numbers lie between labels: the image of that name was resampled by interpolation, which makes others where two meet.
    """
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            (between,) = np.nonzero(np.abs(values - np.rint(values)).ravel() > _FROM_WHOLE)
        if len(between):
            raise InputDataError(
                f"{name} has {values.ravel()[between[0]]:g}, which is no label, and {len(between)} such numbers. Labels are whole numbers: "
                "resample them by the nearest neighbour, not by interpolation."
            )
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.abs(values) < LARGEST_LABEL, np.rint(values), 0).astype(np.int64))


def labels_of_volume(path: Path) -> set[int]:
    """Return the labels that an atlas has, without the background."""
    values = np.asarray(load_small_volume(path).dataobj)
    return set(np.unique(whole_numbers(np.unique(values), path.name)).tolist()) - {0}


Grid = tuple[tuple[int, int, int], np.ndarray]
"""Shape, and affine."""


NO_PLACE = (
    "does not say where its voxels are (its header has neither qform nor sform), so it cannot be matched with other images. Write it with "
    "its affine."
)


def has_place(image: Any) -> bool:
    """Return whether an image says where its voxels are; a NIfTI header may have neither qform nor sform."""
    header = image.header
    return not isinstance(image, nibabel.Nifti1Pair) or bool(header["qform_code"] > 0 or header["sform_code"] > 0)


def load_small_volume(path: Path, grid: Grid | None = None) -> Any:
    """Load an atlas or a mask, with its numbers in memory.

    Parameters
    ----------
    path : Path
    grid : (shape, affine) or None
        What the image must have; nothing is loaded of one that has another, however large it says it is.

    Returns
    -------
    nibabel image
        Three dimensions of numbers, and an affine that can be inverted.

    Raises
    ------
    InputDataError
        The file is damaged, or something else, larger than such images are, or on another grid.
    """
    try:
        header_extensions(path)
        image: Any = nibabel.load(path)
        if not has_place(image):
            raise InputDataError(f"{path.name} {NO_PLACE}")
        # A fourth dimension of one, as FSL writes it, is none.
        shape = tuple(image.shape[:3] if image.shape[3:] == (1,) else image.shape)
        affine = np.asarray(image.affine, dtype=float)
        if len(shape) != 3 or image.get_data_dtype().kind not in "iufb":
            raise InputDataError(
                f"{path.name} has shape {shape} and type {image.get_data_dtype()}; expected numbers in three dimensions."
            )
        if min(shape) < 1 or math.prod(shape) > _MOST_VOXELS:
            raise InputDataError(f"{path.name} has shape {shape}; an atlas or mask has 1 to {_MOST_VOXELS} voxels.")
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
            raise InputDataError(f"{path.name} has an affine that places its voxels nowhere: {affine.tolist()}.")
        if grid is not None and (shape != grid[0] or not np.allclose(affine, grid[1], atol=1e-3)):
            raise InputDataError(f"{path.name} is on another grid than its run.")
        return type(image)(np.asarray(image.dataobj).reshape(shape), image.affine)
    except UNREADABLE as error:
        if isinstance(error, InputDataError):
            raise
        raise InputDataError(f"{path.name} is not a readable image: {first_line(error)}") from None


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

    def on_grid(self, shape: tuple[int, int, int], affine: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the atlas on the grid of the image of that name.

        Returns
        -------
        region_M : (M,) int32
            Region of each voxel, counted from 0, in the order in which NIfTI files hold them (first dimension fastest); -1 for none.
        size_R : (R,) float
            Voxels that each region would have if the image contained all of it.

        Raises
        ------
        InputDataError
            The atlas is no labelled volume, or does not meet the image.
        """
        image = load_small_volume(self.path)
        region_M, share_R = self._regions(image), np.ones(self.num_regions)
        if image.shape != shape or not np.allclose(image.affine, affine, atol=1e-3):
            from nilearn.image import resample_img

            share_R = self._share_within(region_M, image, shape, affine)
            try:
                image = resample_img(
                    image, affine, shape, interpolation="nearest", force_resample=True, copy_header=True
                )
            except ValueError as error:
                raise InputDataError(
                    f"{self.path.name} and {name} do not overlap: {str(error).splitlines()[0]}"
                ) from None
            region_M = self._regions(image)
        in_image_R = self.count(region_M)
        if not in_image_R.any():
            raise InputDataError(f"{self.path.name} has none of its regions within {name}: are they in the same space?")
        return region_M, np.divide(in_image_R, share_R, out=np.zeros(self.num_regions), where=share_R > 0)

    def count(self, region_M: np.ndarray) -> np.ndarray:
        """Return the number of voxels of each region, (R,) int."""
        return np.bincount(region_M[region_M >= 0], minlength=self.num_regions)

    def _regions(self, image: Any) -> np.ndarray:
        """Return the region of each voxel, (M,) int32, a block at a time: what is needed in between is as large as several images."""
        order = np.argsort(self.labels)
        known = self.labels[order]
        values_M = np.asarray(image.dataobj).reshape(-1, order="F")
        region_M = np.empty(len(values_M), dtype=np.int32)
        for start in range(0, len(values_M), _BLOCK_VOXELS):
            rounded = whole_numbers(values_M[start : start + _BLOCK_VOXELS], self.path.name)
            at = np.minimum(np.searchsorted(known, rounded), len(known) - 1)
            region_M[start : start + _BLOCK_VOXELS] = np.where(known[at] == rounded, order[at], -1)
        return region_M

    def _share_within(
        self, region_M: np.ndarray, image: Any, shape: tuple[int, int, int], affine: np.ndarray
    ) -> np.ndarray:
        """Return the share of each region's voxels, (R,), whose centre lies within a grid of that shape and place."""
        place_M = np.flatnonzero(region_M >= 0)
        to_grid = np.linalg.inv(affine) @ image.affine
        at_3M = to_grid[:3, :3] @ np.stack(np.unravel_index(place_M, image.shape, order="F")) + to_grid[:3, 3:]
        inside_M = ((at_3M > -0.5) & (at_3M < np.array(shape)[:, None] - 0.5)).all(axis=0)
        return self.count(region_M[place_M[inside_M]]) / np.maximum(self.count(region_M), 1)
