"""Makes dtb/people/parcellations/ anew: names and centres of regions, and the regions of fsaverage5's vertices.

    python scripts/parcellations.py SUBCORTEX ATLASPACK HALFPIPE

SUBCORTEX is a clone of github.com/yetianmed/subcortex, which has the Schaefer parcellations with Tian's subcortex as volumes; ATLASPACK
one of github.com/PennLINC/AtlasPack, whose tables tell the 17 networks from the 7; HALFPIPE the atlas of HALFpipe
(`atlas-Schaefer2018Combined_dseg`, .nii.gz and .tsv), which has its regions under older names, and FreeSurfer's structures.

Shape letters: `V` vertex, `R` region.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from nilearn import datasets, surface
from scipy import sparse
from scipy.sparse.csgraph import connected_components

OUT = Path(__file__).resolve().parent.parent / "dtb" / "people" / "parcellations"
SCALES = (100, 200, 300, 400)
OLD = "Schaefer400 of 2018"  # the same parcellation under its first names, which HALFpipe has
NUM_SUBCORTICAL = 16  # Tian's scale I; its labels come first in the combined volumes
_VOLUMES = "Group-Parcellation/3T/Cortex-Subcortex/MNIvolumetric"
_ONLY = "Group-Parcellation/3T/Subcortex-Only"


def main(subcortex: Path, atlaspack: Path, halfpipe: Path) -> None:
    """Write both files."""
    rows, labels = [], {}
    for scale in SCALES:
        name = f"Schaefer2018_{scale}Parcels_7Networks_order_Tian_Subcortex_S1_MNI152NLin6Asym_2mm.nii.gz"
        image = nibabel.load(subcortex / _VOLUMES / name)
        numbers = np.asarray(image.dataobj).astype(np.int32)
        table = f"Schaefer/atlas-Schaefer2018v0143_desc-{scale}ParcelsAllNetworks_dseg.tsv"
        named = pd.read_csv(atlaspack / table, sep="\t")
        for seven, seventeen, place in zip(
            named["label_7network"],
            named["label_17network"],
            centres(numbers, image.affine, range(NUM_SUBCORTICAL + 1, NUM_SUBCORTICAL + scale + 1)),
            strict=True,
        ):
            rows.append((f"Schaefer{scale}", seven, seventeen, *place))
        cortex = np.where(numbers > NUM_SUBCORTICAL, numbers - NUM_SUBCORTICAL, 0)
        labels[f"Schaefer{scale}"] = np.concatenate(
            [labels_of(nibabel.Nifti1Image(cortex.astype(np.int32), image.affine), side) for side in ("left", "right")]
        )
    for scale in (1, 2):
        named = (subcortex / _ONLY / f"Tian_Subcortex_S{scale}_3T_label.txt").read_text(encoding="utf-8").split()
        places = np.loadtxt(subcortex / _ONLY / f"Tian_Subcortex_S{scale}_3T_COG.txt")
        rows += [(f"Tian{scale}", name, "", *place) for name, place in zip(named, places, strict=True)]
    image = nibabel.load(halfpipe)
    numbers = np.asarray(image.dataobj).astype(np.int32)
    table = pd.read_csv(halfpipe.with_name(halfpipe.name.replace(".nii.gz", ".tsv")), sep="\t", header=None)
    for prefix, parcellation in (("Schaefer2018_", OLD), ("FreeSurfer_", "FreeSurfer")):
        some = table[table[1].str.startswith(prefix)]
        places = centres(numbers, image.affine, some[0])
        rows += [
            (parcellation, name.removeprefix("Schaefer2018_"), "", *place)
            for name, place in zip(some[1], places, strict=True)
        ]
    cortex = nibabel.Nifti1Image(np.where(numbers <= 400, numbers, 0).astype(np.int32), image.affine)
    labels[OLD] = np.concatenate([labels_of(cortex, side) for side in ("left", "right")])
    columns = ["parcellation", "name", "name_17_networks", "x", "y", "z"]
    pd.DataFrame(rows, columns=columns).to_csv(OUT / "regions.tsv", sep="\t", index=False, float_format="%.0f")
    np.savez_compressed(OUT / "fsaverage5.npz", **{name: each.astype(np.uint16) for name, each in labels.items()})


def centres(numbers: np.ndarray, affine: np.ndarray, wanted: object) -> list[np.ndarray]:
    """Return the centre of gravity of each label, in millimetres."""
    return [nibabel.affines.apply_affine(affine, np.argwhere(numbers == one).mean(axis=0)) for one in wanted]  # type: ignore[attr-defined]


def labels_of(image: nibabel.Nifti1Image, side: str) -> np.ndarray:
    """Return the label of each vertex of a hemisphere, (V,); 0 on the medial wall, the largest hole that the volume leaves."""
    numbers = np.asarray(image.dataobj)
    present = [number for number in np.unique(numbers) if number]
    own = [
        number
        for number, centre in zip(present, centres(numbers, image.affine, present), strict=True)
        if (centre[0] < 0) == (side == "left")
    ]
    image = nibabel.Nifti1Image(
        np.where(np.isin(numbers, own), numbers, 0), image.affine
    )  # near the middle both sides are sampled
    mesh = datasets.fetch_surf_fsaverage("fsaverage5")
    found_V = surface.vol_to_surf(
        image, mesh[f"pial_{side}"], inner_mesh=mesh[f"white_{side}"], interpolation="nearest_most_frequent"
    )
    found_V = np.nan_to_num(found_V).astype(int)
    faces = surface.load_surf_mesh(mesh[f"pial_{side}"]).faces
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    joined = sparse.coo_matrix((np.ones(len(ends)), ends.T), shape=(len(found_V),) * 2).tocsr()
    joined = joined + joined.T
    hole_V = np.flatnonzero(found_V == 0)
    _, part = connected_components(joined[hole_V][:, hole_V])
    wall_V = np.zeros(len(found_V), dtype=bool)
    wall_V[hole_V[part == np.bincount(part).argmax()]] = True
    # What remains empty takes the label of most neighbours, from the rim inwards.
    while (empty_V := np.flatnonzero((found_V == 0) & ~wall_V)).size:
        filled_V = found_V.copy()
        for vertex in empty_V:
            beside = found_V[joined[vertex].indices]
            if (beside > 0).any():
                filled_V[vertex] = np.bincount(beside[beside > 0]).argmax()
        found_V = filled_V
    return found_V


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
