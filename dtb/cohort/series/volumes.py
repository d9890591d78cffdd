"""Parcel means of a 4D image, streamed: memory does not grow with the length of the run, and headers are checked first.

Decompression runs in a thread of its own beside the sums. Only the voxels of the atlas are touched: they are gathered in the order of
their parcels, whose sums are then sums of neighbours.

Shape letters: `V` volume, `R` region, `M` voxel of the atlas.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from isal import igzip

from dtb.cohort.series.atlas import (
    BAD_BYTES,
    NO_PLACE,
    UNREADABLE,
    VolumeAtlas,
    first_line,
    has_place,
    header_extensions,
    load_small_volume,
)
from dtb.errors import InputDataError

_BLOCK_BYTES = 32 * 2**20
_BLOCKS_AHEAD = 2
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_BYTES_PER_VOXEL = 24  # of the atlas on the image's grid, resampled, and of the mask
_BYTES_PER_LABELLED = 32  # of the voxels that have a region, which are put in order
_LARGEST_DEFLATION = 1032  # bytes that one byte of a gzip file can become


@dataclasses.dataclass(frozen=True, eq=False)
class Parcellated:
    """Parcel means of a run.

    Attributes
    ----------
    values_VR : (V, R) float64
        NaN throughout for a parcel that is covered too little.
    coverage_R : (R,) float64
        Share of each parcel's voxels that have a signal; voxels beyond the image have none.
    repetition_time : float or None
        Seconds, as the header has it.
    """

    values_VR: np.ndarray
    coverage_R: np.ndarray
    repetition_time: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class VolumeHeader:
    """What is needed to stream a 4D NIfTI file.

    Attributes
    ----------
    shape : tuple of int
        Three dimensions of space.
    num_volumes : int
    dtype : numpy.dtype
    offset : int
        Bytes before the data.
    slope, intercept : float
        What turns stored numbers into values.
    affine : (4, 4) float
    repetition_time : float or None
        Seconds; None if the header has no unit of time.
    has_place : bool
        Whether the header says where the voxels are.
    """

    shape: tuple[int, int, int]
    num_volumes: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray
    repetition_time: float | None
    has_place: bool

    @property
    def num_voxels(self) -> int:
        """Voxels of one volume."""
        return int(np.prod(self.shape, dtype=object))


def read_header(path: Path, max_memory_gib: float) -> VolumeHeader:
    """Read the header of a 4D image, and refuse it if it makes no sense.

    Raises
    ------
    InputDataError
        The file is no NIfTI image of numbers in four dimensions, is shorter than it says, or one volume of it would need more than
        `max_memory_gib`; nothing of that size has been allocated then.
    """
    try:
        header_extensions(path)
        image: Any = nibabel.load(path)
        header = image.header
        shape = tuple(int(size) for size in header.get_data_shape())
        dtype = np.dtype(header.get_data_dtype()).newbyteorder(header.endianness)
        # Without a unit the number is as often a left-over 1 as seconds.
        seconds = float(header.get_zooms()[-1]) * _SECONDS.get(header.get_xyzt_units()[1], 0.0)
        affine = np.asarray(image.affine, dtype=float)
    except InputDataError:
        raise
    except UNREADABLE as error:
        raise InputDataError(f"{path.name} is not a readable NIfTI image: {first_line(error)}") from None
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti2Image) or len(shape) != 4 or dtype.kind not in "iuf":
        raise InputDataError(f"{path.name} has shape {shape} and type {dtype}; expected numbers in four dimensions.")
    stored: Any = image.dataobj  # once loaded, the header itself has neither offset nor scaling any more
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise InputDataError(f"{path.name} has an affine that places its voxels nowhere: {affine.tolist()}.")
    if min(shape) < 1:
        raise InputDataError(f"{path.name} has shape {shape}; expected at least one voxel and volume.")
    found = VolumeHeader(
        shape=(shape[0], shape[1], shape[2]),
        num_volumes=shape[3],
        dtype=dtype,
        offset=int(stored.offset),
        slope=float(stored.slope),
        intercept=float(stored.inter),
        affine=affine,
        repetition_time=seconds if seconds > 0 else None,
        has_place=has_place(image),
    )
    _require_memory(path, found, 0, max_memory_gib)
    expected = found.offset + found.num_voxels * found.num_volumes * dtype.itemsize
    if path.stat().st_size * (_LARGEST_DEFLATION if path.suffix == ".gz" else 1) < expected:
        raise InputDataError(
            f"{path.name} has {path.stat().st_size} bytes; its header promises {expected}. It was cut."
        )
    return found


def parcellate_volumes(
    path: Path, atlas: VolumeAtlas, *, max_memory_gib: float, min_coverage: float, mask: Path | None = None
) -> Parcellated:
    """Return the means of a 4D image over the parcels of an atlas.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``.
    atlas : VolumeAtlas
        It is brought to the image's grid if it has another.
    max_memory_gib : float
        Refuse images that need more.
    min_coverage : float
        Parcels with a smaller share of covered voxels are absent.
    mask : Path or None
        Brain mask on the same grid: voxels outside count as not covered. Voxels that are 0 or not finite throughout never are.

    Raises
    ------
    InputDataError
        The image is damaged, or too large; or the mask is on another grid.
    """
    header = read_header(path, max_memory_gib)
    if not header.has_place:
        raise InputDataError(f"{path.name} {NO_PLACE}")
    if 3 * 8 * header.num_volumes * atlas.num_regions > max_memory_gib * 2**30:
        raise InputDataError(
            f"{path.name} has {header.num_volumes} volumes: their means need more than ingest.max_memory_gib {max_memory_gib:g}."
        )
    region_M, size_R = atlas.on_grid(header.shape, header.affine, path.name)
    if mask is not None:
        region_M[~_read_mask(mask, header)] = -1
    counted_R = atlas.count(region_M)
    _require_memory(path, header, int(counted_R.sum()) * _BYTES_PER_LABELLED, max_memory_gib)
    gathered_M = _by_region(region_M)
    found_labels = np.flatnonzero(counted_R)
    first = (np.cumsum(counted_R) - counted_R)[found_labels]
    sums_VR = np.zeros((header.num_volumes, atlas.num_regions))
    alive_M = np.zeros(len(gathered_M), dtype=bool)
    dead_value = -header.intercept / header.slope
    volume = 0
    for block_BV in _blocks(path, header):
        for stored in block_BV:
            values_M = stored[gathered_M]
            if values_M.dtype.kind == "f":
                values_M = np.where(np.isfinite(values_M), values_M, dead_value)
            alive_M |= values_M != dead_value
            if len(found_labels):
                sums_VR[volume, found_labels] = np.add.reduceat(values_M, first, dtype=np.float64)
            volume += 1
    alive_R = atlas.count(region_M[gathered_M[alive_M]])
    coverage_R = np.divide(alive_R, size_R, out=np.zeros(atlas.num_regions), where=size_R > 0)
    # Voxels without a signal hold the stored number that means 0: they add nothing to the sums once that is taken off.
    sums_VR -= dead_value * (counted_R - alive_R)
    values_VR = np.full_like(sums_VR, np.nan)
    enough_R = (coverage_R >= min_coverage) & (alive_R > 0)
    values_VR[:, enough_R] = header.slope * sums_VR[:, enough_R] / alive_R[enough_R] + header.intercept
    return Parcellated(values_VR, coverage_R, header.repetition_time)


def _require_memory(path: Path, header: VolumeHeader, more: int, max_memory_gib: float) -> None:
    """Refuse an image whose blocks and whose atlas, together with `more` bytes, need too much."""
    needed = _block_bytes(header) * (_BLOCKS_AHEAD + 2) + header.num_voxels * _BYTES_PER_VOXEL + more
    if needed > max_memory_gib * 2**30:
        raise InputDataError(
            f"{path.name} has the shape {(*header.shape, header.num_volumes)}: reading it needs {needed / 2**30:.3g} GiB, more than "
            f"ingest.max_memory_gib {max_memory_gib:g}. If the header is right, raise the limit."
        )


def _by_region(region_M: np.ndarray) -> np.ndarray:
    """Return the places of the voxels that have a region, region after region."""
    place_M = np.flatnonzero(region_M >= 0)
    return np.asarray(place_M[np.argsort(region_M[place_M], kind="stable")])


def _block_bytes(header: VolumeHeader) -> int:
    one = header.num_voxels * header.dtype.itemsize
    return one * max(1, min(header.num_volumes, _BLOCK_BYTES // max(1, one)))


def _blocks(path: Path, header: VolumeHeader) -> Iterator[np.ndarray]:
    """Yield an image in blocks of (volumes, voxels), read by a thread that stays a little ahead."""
    ahead: queue.Queue[np.ndarray | Exception | None] = queue.Queue(_BLOCKS_AHEAD)
    stopped = threading.Event()

    def put(item: np.ndarray | Exception | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ahead.put(item, timeout=0.1)
                return

    def read() -> None:
        try:
            with _opened(path) as stream:
                _skip(stream, header.offset)
                left = header.num_volumes
                per_block = _block_bytes(header) // (header.num_voxels * header.dtype.itemsize)
                while left and not stopped.is_set():
                    block = np.empty((min(left, per_block), header.num_voxels), dtype=header.dtype)
                    _fill(stream, block.data.cast("B"))
                    put(block)
                    left -= len(block)
            put(None)
        except Exception as error:  # noqa: BLE001, raised again where the blocks are awaited: a dead thread must not leave them waiting
            put(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BAD_BYTES):
                raise InputDataError(f"{path.name} is damaged or cut: {item}") from None
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _opened(path: Path) -> BinaryIO:
    return igzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb", buffering=0)


def _skip(stream: BinaryIO, num_bytes: int) -> None:
    _fill(stream, memoryview(bytearray(num_bytes)))


def _fill(stream: Any, target: memoryview) -> None:
    done = 0
    while done < len(target):
        count = stream.readinto(target[done:])
        if not count:
            raise EOFError(f"{len(target) - done} bytes are missing")
        done += count


def _read_mask(path: Path, header: VolumeHeader) -> np.ndarray:
    image = load_small_volume(path, (header.shape, header.affine))
    return np.asarray(np.asarray(image.dataobj).reshape(-1, order="F") > 0)
