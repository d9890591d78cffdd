"""The surface of the cortex: its mesh, and the region that each of its points belongs to.

nilearn's package brings the mesh, FreeSurfer's fsaverage5, so that nothing of it has to be fetched.

Shape letters: `V` vertex, `F` face, `R` region.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dtb.people.parcellation import NUM_VERTICES, names_by_place, vertices_of

_INFLATED = 0.35
_FARTHEST_MM = 30.0


class Mesh(NamedTuple):
    """The surface of one hemisphere.

    Attributes
    ----------
    place_V3 : (V, 3) float
        Millimetres in MNI space.
    seen_V3 : (V, 3) float
        The same, some of the way to the inflated surface, so that folds hide less.
    faces_F3 : (F, 3) int
        Vertices of each triangle.
    fold_V : (V,) float
        Depth of the folds.
    """

    place_V3: np.ndarray
    seen_V3: np.ndarray
    faces_F3: np.ndarray
    fold_V: np.ndarray


@functools.cache
def mesh_of(hemisphere: str) -> Mesh:
    """Return the surface of the ``"left"`` or the ``"right"`` hemisphere."""
    from nilearn.datasets import fetch_surf_fsaverage
    from nilearn.surface import load_surf_data, load_surf_mesh

    files = fetch_surf_fsaverage("fsaverage5")
    folded = load_surf_mesh(files[f"pial_{hemisphere}"])
    place_V3 = np.asarray(folded.coordinates, dtype=float)
    inflated_V3 = np.asarray(load_surf_mesh(files[f"infl_{hemisphere}"]).coordinates, dtype=float)
    middle_3 = place_V3.mean(axis=0)
    inflated_V3 = (inflated_V3 - inflated_V3.mean(axis=0)) * (place_V3.std(axis=0) / inflated_V3.std(axis=0)) + middle_3
    seen_V3 = (1 - _INFLATED) * place_V3 + _INFLATED * inflated_V3
    return Mesh(place_V3, seen_V3, np.asarray(folded.faces), np.asarray(load_surf_data(files[f"sulc_{hemisphere}"])))


def regions_of_vertices(regions: Sequence[str], place_R3: np.ndarray | None) -> np.ndarray | None:
    """Return the region of each vertex of both hemispheres, those of the left one first.

    The borders are the parcellation's own where it is known; else each point of the cortex belongs to the nearest region of its
    hemisphere.

    Parameters
    ----------
    regions : sequence of str
    place_R3 : (R, 3) float or None
        Millimetres in MNI space; NaN where unknown.

    Returns
    -------
    (2 V,) int or None
        -1 where there is no region; None where it is not known where the regions lie.
    """
    region_V = vertices_of(names_by_place(place_R3) or regions)
    return region_V if region_V is not None or place_R3 is None else _nearest(place_R3)


def _nearest(place_R3: np.ndarray) -> np.ndarray | None:
    """Return the nearest region of each vertex; -1 where none is near, None where none is of the cortex."""
    from scipy.spatial import cKDTree

    region_V = np.full(2 * NUM_VERTICES, -1)
    known = np.flatnonzero(np.isfinite(place_R3).all(axis=1))
    for start, hemisphere, sign in ((0, "left", -1), (NUM_VERTICES, "right", 1)):
        own = known[place_R3[known, 0] * sign >= 0]
        if len(own):
            distance, nearest = cKDTree(place_R3[own]).query(mesh_of(hemisphere).place_V3)
            region_V[start : start + NUM_VERTICES] = np.where(distance < _FARTHEST_MM, own[nearest], -1)
    return region_V if (region_V >= 0).any() else None
