"""CIFTI-2: series that are parcellated already, and dense ones through a label file of the same surfaces.

Shape letters: `V` volume, `R` region, `G` grayordinate.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.parsers import expat

import nibabel
import numpy as np

from dtb.cohort.series.atlas import UNREADABLE, first_line, header_extensions, whole_numbers
from dtb.cohort.series.region_table import RegionTable
from dtb.cohort.series.volumes import Parcellated
from dtb.config import quoted
from dtb.errors import InputDataError

_CIFTI = 32  # code of CIFTI's header extension
_BLOCK_BYTES = 32 * 2**20
_ROUNDING_VOXELS = 0.02  # of a voxel: what affines in single precision differ by
_SMALLEST_VOXEL = 1e-6  # cubic millimetres


def read_parcel_names(path: Path) -> tuple[str, ...]:
    """Return the names of the parcels of a ``ptseries.nii``."""
    return tuple(str(name) for name in _axes(path, "ptseries")[1].name)


def read_parcel_series(path: Path, max_memory_gib: float) -> tuple[np.ndarray, tuple[str, ...], float | None]:
    """Read a ``ptseries.nii``.

    Returns
    -------
    values_VR : (V, R) float64
    names : tuple of str
    repetition_time : float or None
        Seconds.
    """
    series, parcels = _axes(path, "ptseries")
    image = _checked(path, (len(series), len(parcels)), 2 * 8 * len(series) * len(parcels), max_memory_gib)
    return _read(path, image.dataobj, slice(None)), tuple(str(name) for name in parcels.name), _step(series)


def read_label_table(path: Path) -> RegionTable:
    """Return the regions of a ``dlabel.nii`` by their numbers, without the background."""
    labels = {int(key): str(name) for key, (name, _) in sorted(_axes(path, "dlabel")[0].label[0].items())}
    background = frozenset(key for key, name in labels.items() if key <= 0 or name == "???")
    return RegionTable(path, {key: name for key, name in labels.items() if key not in background}, background)


def other_maps(path: Path) -> list[str]:
    """Return which map of a ``dlabel.nii`` is read, if it has several, as networks and parcels of one atlas."""
    names = [str(name) for name in _axes(path, "dlabel")[0].name]
    if len(names) < 2:
        return []
    return [f"{path.name} has {len(names)} maps; the first, {names[0]}, is read, and not {', '.join(names[1:])}."]


def labels_of_surface(path: Path, max_memory_gib: float) -> set[int]:
    """Return the labels that the grayordinates of a ``dlabel.nii`` have, without the background."""
    names, models = _axes(path, "dlabel")
    image = _checked(path, (len(names), len(models)), 4 * 8 * len(models), max_memory_gib)
    return set(np.unique(whole_numbers(_read(path, image.dataobj, slice(0, 1))[0], path.name)).tolist()) - {0}


def parcellate_dense(
    path: Path, atlas: Path, labels: np.ndarray, *, max_memory_gib: float, min_coverage: float
) -> Parcellated:
    """Return the means of a ``dtseries.nii`` over the regions of a ``dlabel.nii``, a block of volumes at a time.

    Vertices are matched by surface and number, voxels by where they are in millimetres: the two files may hold different parts of a
    surface, and count their voxels from different corners.

    Parameters
    ----------
    path, atlas : Path
    labels : (R,) int
        Number of each region in the label file.
    max_memory_gib, min_coverage : float
        As in `dtb.cohort.series.volumes.parcellate_volumes`.

    Raises
    ------
    InputDataError
        A file is no CIFTI-2 file of its kind, is too large, or the two have no structure in common, surfaces of different numbers of
        vertices, or voxels on different grids.
    """
    series, models = _axes(path, "dtseries")
    needed = 2 * max(8 * len(models), _BLOCK_BYTES) + 3 * 8 * len(series) * len(labels)
    image = _checked(path, (len(series), len(models)), needed, max_memory_gib)
    number_G, sizes = _labels_on(atlas, models, path, max_memory_gib)
    order = np.argsort(labels)
    at = np.minimum(np.searchsorted(labels[order], number_G), len(labels) - 1)
    is_region_G = labels[order][at] == number_G
    region_G = order[at][is_region_G]
    by_region = np.argsort(region_G, kind="stable")
    gathered_G = np.flatnonzero(is_region_G)[by_region]
    found, first = np.unique(region_G[by_region], return_index=True)
    if not len(found):
        raise InputDataError(f"{atlas.name} and {path.name} have no vertex or voxel in common.")
    sums_VR = np.zeros((len(series), len(labels)))
    alive_G = np.zeros(len(gathered_G), dtype=bool)
    per_block = max(1, _BLOCK_BYTES // (len(models) * 8))
    for start in range(0, len(series), per_block):
        block_VG = np.nan_to_num(
            _read(path, image.dataobj, slice(start, start + per_block))[:, gathered_G], posinf=0, neginf=0
        )
        alive_G |= (block_VG != 0).any(axis=0)
        sums_VR[start : start + per_block, found] = np.add.reduceat(block_VG, first, axis=1, dtype=np.float64)
    alive_R = np.bincount(region_G[by_region][alive_G], minlength=len(labels))
    size_R = np.array([sizes.get(int(number), 0) for number in labels])
    coverage_R = np.divide(alive_R, size_R, out=np.zeros(len(labels)), where=size_R > 0)
    enough_R = (coverage_R >= min_coverage) & (alive_R > 0)
    values_VR = np.full_like(sums_VR, np.nan)
    values_VR[:, enough_R] = sums_VR[:, enough_R] / alive_R[enough_R]
    return Parcellated(values_VR, coverage_R, _step(series))


def _labels_on(atlas: Path, models: Any, path: Path, max_memory_gib: float) -> tuple[np.ndarray, dict[int, int]]:
    """Return the label of each grayordinate of a series, and how many grayordinates each label has in the atlas."""
    names, atlas_models = _axes(atlas, "dlabel")
    num_vertices = sum(atlas_models.nvertices.values())
    image = _checked(atlas, (len(names), len(atlas_models)), 8 * (4 * len(atlas_models) + num_vertices), max_memory_gib)
    values = whole_numbers(_read(atlas, image.dataobj, slice(0, 1))[0], atlas.name)
    surfaces: dict[str, np.ndarray] = {}
    for name, where, model in atlas_models.iter_structures():
        if name in atlas_models.nvertices:
            surfaces[name] = np.zeros(atlas_models.nvertices[name], dtype=np.int64)
            surfaces[name][model.vertex] = values[where]
    found_G = np.zeros(len(models), dtype=np.int64)
    in_volume_G = models.vertex < 0
    if in_volume_G.any() and (atlas_models.vertex < 0).any():
        found_G[in_volume_G] = _labels_of_voxels(atlas_models, values, models, f"{atlas.name} and {path.name}")
    for name, where, model in models.iter_structures():
        if name in models.nvertices and name in surfaces:
            if models.nvertices[name] != len(surfaces[name]):
                raise InputDataError(
                    f"{atlas.name} has {len(surfaces[name])} vertices in {name}, the series {models.nvertices[name]}: they are not "
                    "of the same surface."
                )
            found_G[where] = surfaces[name][model.vertex]
    numbers, counts = np.unique(values, return_counts=True)
    return found_G, dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _labels_of_voxels(atlas_models: Any, values_G: np.ndarray, models: Any, names: str) -> np.ndarray:
    """Return the label of each voxel of a series, (voxels,) int64, found by its place in millimetres; 0 where the label file has none.

    Raises
    ------
    InputDataError
        The voxels of the two are not the same little boxes.
    """
    of_atlas_G = atlas_models.vertex < 0
    shape, affine = atlas_models.volume_shape, np.asarray(atlas_models.affine, dtype=float)
    own_affine = np.asarray(models.affine, dtype=float)
    for each in (affine, own_affine):
        if not np.isfinite(each).all() or abs(np.linalg.det(each[:3, :3])) < _SMALLEST_VOXEL:
            raise InputDataError(f"{names}: an affine places voxels nowhere: {each.tolist()}.")
    at_G3 = np.asarray(models.voxel)[models.vertex < 0]
    to_atlas = np.linalg.inv(affine) @ own_affine
    exact_G3 = at_G3 @ to_atlas[:3, :3].T + to_atlas[:3, 3]
    place_G3 = np.rint(exact_G3).astype(np.int64)
    # Same boxes: each axis of one is an axis of the other, in either direction, and centres meet.
    axes_33 = np.abs(to_atlas[:3, :3])
    same_boxes = np.allclose(axes_33, np.rint(axes_33), atol=_ROUNDING_VOXELS) and axes_33.max() < 1.5
    if not same_boxes or np.abs(exact_G3 - place_G3).max(initial=0.0) > _ROUNDING_VOXELS:
        sizes = " and ".join(
            " x ".join(f"{size:.3g}" for size in np.sqrt((each[:3, :3] ** 2).sum(axis=0)))
            for each in (affine, own_affine)
        )
        raise InputDataError(
            f"{names} hold voxels on different grids ({sizes} mm, or of other places): which voxel has which label cannot be told. Give "
            "labels on the grid of the series (wb_command -cifti-resample)."
        )
    labels_IJK = np.zeros(shape, dtype=np.int64)
    labels_IJK[tuple(np.asarray(atlas_models.voxel)[of_atlas_G].T)] = values_G[of_atlas_G]
    inside_G = ((place_G3 >= 0) & (place_G3 < np.array(shape))).all(axis=1)
    found_G = np.zeros(len(place_G3), dtype=np.int64)
    found_G[inside_G] = labels_IJK[tuple(place_G3[inside_G].T)]
    return found_G


def _axes(path: Path, kind: str) -> tuple[Any, Any]:
    """Return the two axes of a CIFTI-2 file, which must be of the kind."""
    axes = nibabel.cifti2.cifti2_axes
    expected = {
        "ptseries": (axes.SeriesAxis, axes.ParcelsAxis),
        "dtseries": (axes.SeriesAxis, axes.BrainModelAxis),
        "dlabel": (axes.LabelAxis, axes.BrainModelAxis),
    }[kind]
    try:
        _require_small_exponent(path)
        image: Any = nibabel.load(path)
        found = tuple(image.header.get_axis(place) for place in range(2))
    except InputDataError:
        raise
    except Exception as error:  # noqa: BLE001, nibabel's CIFTI reader raises of everything, down to the XML parser's own
        raise InputDataError(f"{path.name} is not a readable CIFTI-2 file: {str(error).splitlines()[:1]}") from None
    if not all(isinstance(one, other) for one, other in zip(found, expected, strict=True)):
        raise InputDataError(f"{path.name} is a CIFTI-2 file, but not a {kind}.nii.")
    return found[0], found[1]


def _require_small_exponent(path: Path) -> None:
    """Refuse a file whose series has a power of ten that nibabel would compute to its last digit.

    Raises
    ------
    InputDataError
        `SeriesExponent` is beyond all units of time.
    """

    def look(_: str, attributes: dict[str, str]) -> None:
        said = attributes.get("SeriesExponent", "0")
        if not re.fullmatch(r"\s*[-+]?0*\d{1,2}\s*", said):
            raise InputDataError(f"{path.name} has the SeriesExponent {quoted(said)}; expected -99 to 99.")

    for code, content in header_extensions(path):
        if code == _CIFTI:
            parser = expat.ParserCreate()
            parser.StartElementHandler = look
            parser.Parse(content.rstrip(b"\0"), True)


def _checked(path: Path, shape: tuple[int, int], needed: int, max_memory_gib: float) -> Any:
    """Return the image if its data have the shape that its axes promise, are all there, and do not need too much memory."""
    image: Any = nibabel.load(path)
    if tuple(image.shape) != shape or min(shape) < 1 or image.get_data_dtype().kind not in "iuf":
        raise InputDataError(
            f"{path.name} holds {tuple(image.shape)} of type {image.get_data_dtype()}; its axes promise {shape} numbers."
        )
    if needed > max_memory_gib * 2**30:
        raise InputDataError(
            f"{path.name} has the shape {shape}, too much for ingest.max_memory_gib {max_memory_gib:g}."
        )
    stored = image.dataobj
    expected = stored.offset + shape[0] * shape[1] * stored.dtype.itemsize
    if path.stat().st_size < expected:
        raise InputDataError(
            f"{path.name} has {path.stat().st_size} bytes; its header promises {expected}. It was cut."
        )
    return image


def _read(path: Path, stored: Any, rows: slice) -> np.ndarray:
    """Read rows of an image's data as float64."""
    try:
        return np.asarray(stored[rows], dtype=np.float64)
    except UNREADABLE as error:
        raise InputDataError(f"{path.name} is damaged: {first_line(error)}") from None


def _step(series: Any) -> float | None:
    return float(series.step) if series.unit == "SECOND" and series.step > 0 else None
