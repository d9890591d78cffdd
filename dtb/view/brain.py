"""The brain that the page turns: the mesh of the cortex with the region of each point, packed for a browser.

Shape letters: `V` vertex, `F` face, `R` region.
"""

from __future__ import annotations

import numpy as np

from dtb.people.cortex import mesh_of

_HUNDREDTHS = 100.0


def packed(region_V: np.ndarray) -> bytes:
    """Return the cortex of both hemispheres, little-endian.

    Two uint32, V and F; then V x 3 int16, places in hundredths of a millimetre in MNI space; V int16, each vertex's region, -1 for none;
    F x 3 uint16, the vertices of each triangle; V uint8, the depth of folds, 0 to 255.

    Parameters
    ----------
    region_V : (V,) int
        From `dtb.people.cortex.regions_of_vertices`.
    """
    meshes = [mesh_of(hemisphere) for hemisphere in ("left", "right")]
    place_V3 = np.concatenate([mesh.place_V3 for mesh in meshes])
    fold_V = np.concatenate([mesh.fold_V for mesh in meshes])
    faces_F3 = np.concatenate([meshes[0].faces_F3, meshes[1].faces_F3 + len(meshes[0].place_V3)])
    low, high = np.quantile(fold_V, [0.01, 0.99])
    parts = (
        np.array([len(place_V3), len(faces_F3)], dtype="<u4"),
        np.rint(_HUNDREDTHS * place_V3).astype("<i2"),
        region_V.astype("<i2"),
        faces_F3.astype("<u2"),
        np.rint(255 * np.clip((fold_V - low) / (high - low), 0, 1)).astype("u1"),
    )
    return b"".join(part.tobytes() for part in parts)


def places_of_all(
    num_regions: int, place_R3: np.ndarray | None, region_V: np.ndarray | None
) -> list[tuple[float, float, float] | None]:
    """Return where each region lies: its given centre, or else the middle of its part of the cortex; None where neither is known."""
    centre_R3 = np.full((num_regions, 3), np.nan) if place_R3 is None else place_R3.copy()
    if region_V is not None:
        place_V3 = np.concatenate([mesh_of(hemisphere).place_V3 for hemisphere in ("left", "right")])
        for region in np.flatnonzero(~np.isfinite(centre_R3).all(axis=1)):
            if (mine_V := region_V == region).any():
                centre_R3[region] = place_V3[mine_V].mean(axis=0)
    return [
        (round(float(x), 1), round(float(y), 1), round(float(z), 1)) if np.isfinite([x, y, z]).all() else None
        for x, y, z in centre_R3
    ]
