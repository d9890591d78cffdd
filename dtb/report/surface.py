"""The cortex as it is seen from several sides: the outline of each region in the picture, and the light on the surface.

A page has the light of each side once; every map of regions then is a set of outlines that are filled.

Shape letters: `V` vertex, `F` face, `R` region, `Y` row and `X` column of a picture.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from scipy.ndimage import gaussian_filter

from dtb.people.cortex import Mesh, mesh_of, regions_of_vertices
from dtb.people.parcellation import NUM_VERTICES

OUTSIDE, MEDIAL, GLASS = ("left", "right"), ("left-middle", "right-middle"), ("right-glass", "above")
"""Views: of each hemisphere from outside and from the middle, and of both from the right and from above."""
_AXES = {
    "left": (("left",), (0, -1, 0), (0, 0, 1), (-1, 0, 0)),
    "right": (("right",), (0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "left-middle": (("left",), (0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "right-middle": (("right",), (0, -1, 0), (0, 0, 1), (-1, 0, 0)),
    "right-glass": (("left", "right"), (0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "above": (("left", "right"), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
"""Hemispheres, and the directions that lie to the right, upwards and towards whoever looks."""
_SCALE = 2.4  # pixels a millimetre
_SMOOTH, _CORNER, _SMALLEST = 1.8, 0.45, 7.0  # pixels: of outlines, what may be left out of them, and specks
_LIGHT = (0.12, 0.62, 0.78)  # to the right, upwards and towards whoever looks
_GREYS, _DARKEST = 24, 0.7


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """The brain from one side.

    Attributes
    ----------
    name : str
    vertex_YX : (Y, X) int
        Vertex of both hemispheres that is seen at a pixel; -1 beside the brain.
    light : str
        PNG in base64: black where it is dark, as transparent as it is light.
    outline : str
        Path of what is seen.
    low_2 : (2,) float
        Millimetres to the right and upwards of the picture's lower left corner.
    """

    name: str
    vertex_YX: np.ndarray
    light: str
    outline: str
    low_2: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.vertex_YX.shape[1], self.vertex_YX.shape[0]

    def places(self, place_R3: np.ndarray) -> np.ndarray:
        """Return where places in millimetres are seen, (R, 2) pixels from the left and from above."""
        _, across, up, _ = _AXES[self.name]
        seen_R2 = (np.stack([place_R3 @ np.array(across), place_R3 @ np.array(up)], axis=1) - self.low_2) * _SCALE
        return np.asarray(np.stack([seen_R2[:, 0], self.size[1] - seen_R2[:, 1]], axis=1))


def outlines(regions: Sequence[str], place_R3: np.ndarray | None) -> dict[str, dict[int, str]] | None:
    """Return, for each view of a hemisphere, the path of each region that is seen there.

    The borders are the parcellation's own where it is known; else each point of the cortex belongs to the nearest region of its
    hemisphere.

    Parameters
    ----------
    regions : sequence of str
    place_R3 : (R, 3) float or None
        Millimetres in MNI space; NaN where unknown.

    Returns
    -------
    dict of str to dict of int to str, or None
        By view; None where it is not known where the regions lie.
    """
    region_V = regions_of_vertices(regions, place_R3)
    return None if region_V is None else {name: dict(_paths(view(name), region_V)) for name in (*OUTSIDE, *MEDIAL)}


@functools.cache
def view(name: str) -> View:
    """Return the brain from the side of this name."""
    hemispheres, *axes = _AXES[name]
    across, up, toward = (np.array(axis, dtype=float) for axis in axes)
    meshes = [mesh_of(hemisphere) for hemisphere in hemispheres]
    starts = np.cumsum([0, *(len(mesh.seen_V3) for mesh in meshes)])
    seen_V3 = np.concatenate([mesh.seen_V3 for mesh in meshes])
    faces_F3 = np.concatenate([mesh.faces_F3 + start for mesh, start in zip(meshes, starts, strict=False)])
    fold_V = np.concatenate([mesh.fold_V for mesh in meshes])
    normal_V3 = np.concatenate([_normals(mesh) for mesh in meshes])
    corner_F32 = np.stack([seen_V3 @ across, seen_V3 @ up], axis=1)[faces_F3]
    front_F = np.flatnonzero((normal_V3 @ toward)[faces_F3].mean(axis=1) > -0.05)
    order_F = front_F[np.argsort((seen_V3 @ toward)[faces_F3[front_F]].mean(axis=1))]
    low_2, drawn_YX = _drawn(corner_F32[order_F])
    face_YX = np.where(drawn_YX >= 0, order_F[drawn_YX], -1)
    light = np.array(_LIGHT) / np.linalg.norm(_LIGHT)
    bright_V = 0.30 + 0.55 * np.clip(normal_V3 @ (light @ np.stack([across, up, toward])), 0, 1)
    bright_V = (bright_V + 0.2 * np.clip(normal_V3 @ toward, 0, 1)) * (1 - 0.16 * np.clip(1.2 * fold_V, -0.5, 1))
    first = 0 if hemispheres[0] == "left" else NUM_VERTICES
    inside_YX = face_YX >= 0
    vertex_YX = np.where(inside_YX, faces_F3[face_YX, 0] + first, -1)
    bright_YX = np.where(inside_YX, bright_V[faces_F3].mean(axis=1)[face_YX], 0.0)
    return View(name, vertex_YX, _light(bright_YX, inside_YX), _path(inside_YX), low_2)


def _normals(mesh: Mesh) -> np.ndarray:
    """Return the direction in which the surface looks at each vertex, (V, 3)."""
    seen_V3, faces_F3 = mesh.seen_V3, mesh.faces_F3
    one, two, three = (seen_V3[faces_F3[:, corner]] for corner in range(3))
    normal_F3, normal_V3 = np.cross(two - one, three - one), np.zeros_like(seen_V3)
    for corner in range(3):
        np.add.at(normal_V3, faces_F3[:, corner], normal_F3)
    normal_V3 /= np.linalg.norm(normal_V3, axis=1, keepdims=True) + 1e-9
    is_outward = (normal_V3 * (seen_V3 - seen_V3.mean(axis=0))).sum() > 0  # the order of corners may turn them inwards
    return normal_V3 if is_outward else -normal_V3


def _drawn(corner_F32: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw triangles in order, the later over the earlier; return the lower left corner, and which is seen at each pixel; -1 for none."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    low, high = corner_F32.min(axis=(0, 1)) - 1, corner_F32.max(axis=(0, 1)) + 1
    width, height = (np.ceil((high - low) * _SCALE)).astype(int)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=(0, 0, 0))
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(low[0], low[0] + width / _SCALE), ylim=(low[1], low[1] + height / _SCALE))
    number_F = np.arange(1, len(corner_F32) + 1)
    colour_F3 = np.stack([number_F >> 16 & 255, number_F >> 8 & 255, number_F & 255], axis=1) / 255.0
    axes.add_collection(
        PolyCollection(
            cast(Any, corner_F32), facecolors=colour_F3, edgecolors=colour_F3, linewidths=0.3, antialiaseds=False
        )
    )
    canvas.draw()
    seen = np.asarray(canvas.buffer_rgba()).astype(int)
    return low, (seen[..., 0] << 16 | seen[..., 1] << 8 | seen[..., 2]) - 1


def _light(bright_YX: np.ndarray, inside_YX: np.ndarray) -> str:
    from PIL import Image

    share_YX = gaussian_filter(inside_YX.astype(float), 1.2)
    smooth_YX = gaussian_filter(bright_YX, 1.2) / np.maximum(share_YX, 1e-6)
    dark_YX = np.clip(0.95 - smooth_YX, 0, _DARKEST) * inside_YX
    level_YX = np.rint(dark_YX / _DARKEST * (_GREYS - 1)).astype(np.uint8)
    image = Image.fromarray(level_YX, mode="P")
    image.putpalette([0, 0, 0] * _GREYS)
    stream = io.BytesIO()
    image.save(
        stream,
        "png",
        transparency=bytes(round(255 * _DARKEST * level / (_GREYS - 1)) for level in range(_GREYS)),
        optimize=True,
    )
    return base64.b64encode(stream.getvalue()).decode()


def _paths(seen: View, region_V: np.ndarray) -> Iterator[tuple[int, str]]:
    region_YX = np.where(seen.vertex_YX >= 0, region_V[seen.vertex_YX], -1)
    for region in np.unique(region_YX[region_YX >= 0]):
        if path := _path(region_YX == region):
            yield int(region), path


def _path(inside_YX: np.ndarray) -> str:
    """Return the outline of pixels as an SVG path, smoothed, in whole tenths of pixels."""
    from contourpy import contour_generator

    rows, columns = np.flatnonzero(inside_YX.any(axis=1)), np.flatnonzero(inside_YX.any(axis=0))
    top, left = max(rows[0] - 6, 0), max(columns[0] - 6, 0)
    part_YX = np.pad(inside_YX[top : rows[-1] + 7, left : columns[-1] + 7].astype(float), 6)
    smooth_YX = gaussian_filter(part_YX, _SMOOTH)
    found = []
    lines: Any = contour_generator(z=smooth_YX).lines(0.5)
    for line in lines:
        points = _simplified(line + np.array([left - 5.5, top - 5.5]))
        if len(points) > 3 and np.ptp(points, axis=0).min() > _SMALLEST:
            found.append("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points[:-1]) + "Z")
    return "".join(found)


def _simplified(points: np.ndarray) -> np.ndarray:
    """Leave out points of a closed line that lie next to what joins the others (Douglas and Peucker 1973)."""
    middle = len(points) // 2
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, middle, -1]] = True
    todo = [(0, middle), (middle, len(points) - 1)]
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        way = points[last] - points[first]
        between = points[first + 1 : last] - points[first]
        length = float(np.hypot(*way))
        off = np.abs(between[:, 0] * way[1] - between[:, 1] * way[0]) / length if length > 0 else np.hypot(*between.T)
        farthest = int(off.argmax())
        if off[farthest] > _CORNER:
            keep[first + 1 + farthest] = True
            todo += [(first, first + 1 + farthest), (first + 1 + farthest, last)]
    return points[keep]
