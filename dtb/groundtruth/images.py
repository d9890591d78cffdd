"""Runs of a made-up cohort as images with confounds, as fMRIPrep writes them.

Each region is a cube of voxels. Around a region's signal a voxel has a brightness, slow drifts and noise of its own; two plates of voxels
outside the regions stand for white matter and CSF, and carry what moving does and no signal. The motion parameters have the framewise
displacement of the run.

Shape letters: `V` volume, `R` region, `M` voxel of the brain.
"""

from __future__ import annotations

import functools
from pathlib import Path

import nibabel
import numpy as np
from isal import igzip

from dtb.config import SynthConfig
from dtb.files import write_bytes, write_json
from dtb.groundtruth.fixed_point import fixed_point
from dtb.groundtruth.population import Population
from dtb.groundtruth.tree import SPACE, region_table, run_folder, timing_in_words, write_table

_SIDE = 2  # voxels along an edge of a region's cube
_VOXEL_MM = 4.0
_BRIGHTNESS, _SIGNAL, _NOISE, _DRIFT = 8000.0, 80.0, 0.5, 1.0  # the last two in units of the signal
_HIGH_PASS_HZ = 1 / 128  # fMRIPrep's
_HEAD_RADIUS_MM = 50.0  # for rotations, as in Power et al. (2012), 10.1016/j.neuroimage.2011.10.018
_PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_TISSUES = ("white_matter", "csf")
_NUM_CONFOUNDS = 46  # with the drifts of a run of ten minutes


@functools.cache
def label_image(num_regions: int) -> np.ndarray:
    """Return the atlas, (X, Y, Z) int16: regions from 1, -1 white matter, -2 CSF, 0 outside the brain."""
    along = int(np.ceil(num_regions ** (1 / 3) - 1e-9))
    side = along * _SIDE
    labels = np.zeros((side + 4, side + 2, side + 2), dtype=np.int16)
    for region in range(num_regions):
        x, y, z = (_SIDE * place + 1 for place in np.unravel_index(region, (along,) * 3))
        labels[x + 1 : x + 1 + _SIDE, y : y + _SIDE, z : z + _SIDE] = region + 1
    labels[1, 1:-1, 1:-1], labels[-2, 1:-1, 1:-1] = -1, -2
    return labels


def atlas_path(out: Path, synth: SynthConfig) -> Path:
    """Return the path of a cohort's atlas."""
    return out / "atlases" / f"atlas-Toy{synth.num_regions}_dseg.nii.gz"


def bytes_per_volume(num_regions: int) -> float:
    """Return an estimate of the disk space of a volume and its confounds."""
    return 2.0 * np.count_nonzero(label_image(num_regions)) + 10.0 * _NUM_CONFOUNDS


def write_atlas(out: Path, population: Population, synth: SynthConfig) -> None:
    """Write the atlas, and the table of its regions beside it."""
    path = atlas_path(out, synth)
    _write_image(path, label_image(synth.num_regions).clip(min=0))
    write_table(path.with_name(path.name.replace(".nii.gz", ".tsv")), region_table(population))


def write_volumes(
    out: Path,
    label: str,
    name: str,
    series_VR: np.ndarray,
    artefact_V: np.ndarray,
    displacement_V: np.ndarray,
    synth: SynthConfig,
    rng: np.random.Generator,
) -> None:
    """Write a run's image, brain mask and confounds.

    Parameters
    ----------
    out, label, name : Path, str, str
        Cohort, person, and the run's name up to the entity `run`.
    series_VR : (V, R) float
        Signal of each region, what moving does to it included.
    artefact_V : (V,) float
        What moving does, alone.
    displacement_V : (V,) float
        Framewise displacement in millimetres.
    synth : SynthConfig
    rng : numpy Generator
        Of the voxels' noise.
    """
    folder = run_folder(out, "fmriprep", label)
    labels = label_image(synth.num_regions)
    in_brain = labels != 0
    label_M = labels[in_brain]
    num_volumes = len(series_VR)
    drift_VD = _drifts(num_volumes, synth.repetition_time)
    tissue_VM = np.where(label_M > 0, series_VR[:, np.maximum(label_M, 1) - 1], artefact_V[:, None])
    tissue_VM += _NOISE * rng.standard_normal(tissue_VM.shape, dtype=np.float32)
    tissue_VM += _DRIFT * drift_VD @ rng.standard_normal((drift_VD.shape[1], len(label_M)))
    values_VM = _BRIGHTNESS * rng.uniform(0.8, 1.2, len(label_M)) + _SIGNAL * tissue_VM
    image = np.zeros((*labels.shape, num_volumes), dtype=np.int16)
    image[in_brain] = np.rint(values_VM).T
    stem = f"{name}_space-{SPACE}"
    _write_image(folder / f"{stem}_desc-preproc_bold.nii.gz", image, synth.repetition_time)
    write_json(folder / f"{stem}_desc-preproc_bold.json", timing_in_words(synth), sync=False)
    _write_image(folder / f"{stem}_desc-brain_mask.nii.gz", in_brain.astype(np.uint8))
    tissues = {"global_signal": values_VM.mean(axis=1)}
    tissues |= {tissue: values_VM[:, label_M == -1 - place].mean(axis=1) for place, tissue in enumerate(_TISSUES)}
    _write_confounds(folder / f"{name}_desc-confounds_timeseries", tissues, displacement_V, drift_VD, rng)


def _write_confounds(
    stem: Path,
    tissues: dict[str, np.ndarray],
    displacement_V: np.ndarray,
    drift_VD: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Write fMRIPrep's table: each signal with its derivative and their squares, drifts, and the displacement."""
    share_V6 = rng.dirichlet(np.ones(6), len(displacement_V)) * rng.choice([-1.0, 1.0], (len(displacement_V), 6))
    moved_V6 = np.cumsum(displacement_V[:, None] * share_V6, axis=0)
    moved_V6[:, 3:] /= _HEAD_RADIUS_MM
    columns: dict[str, np.ndarray] = {}
    for signal, values_V in {**tissues, **dict(zip(_PARAMETERS, moved_V6.T, strict=True))}.items():
        slope_V = np.diff(values_V, prepend=values_V[0])
        columns |= {
            signal: values_V,
            f"{signal}_derivative1": slope_V,
            f"{signal}_power2": values_V**2,
            f"{signal}_derivative1_power2": slope_V**2,
        }
    columns |= {f"cosine{place:02d}": values_V for place, values_V in enumerate(drift_VD.T)}
    columns["framewise_displacement"] = displacement_V
    text = fixed_point(np.stack(list(columns.values()), axis=1), 6).split(b"\n")
    first = [
        b"n/a" if "derivative1" in name or name == "framewise_displacement" else cell
        for name, cell in zip(columns, text[0].split(b"\t"), strict=True)
    ]
    lines = ["\t".join(columns).encode(), b"\t".join(first), *text[1:]]
    write_bytes(stem.with_name(f"{stem.name}.tsv"), b"\n".join(lines), sync=False)
    write_json(stem.with_name(f"{stem.name}.json"), {}, sync=False)


@functools.cache
def _drifts(num_volumes: int, repetition_time: float) -> np.ndarray:
    """Return fMRIPrep's discrete cosines, (V, D), without the constant."""
    from nilearn.glm.first_level import make_first_level_design_matrix

    times_V = np.arange(num_volumes) * repetition_time
    design = make_first_level_design_matrix(times_V, drift_model="cosine", high_pass=_HIGH_PASS_HZ)
    return np.asarray(design.drop(columns="constant"))


def _write_image(path: Path, values: np.ndarray, repetition_time: float | None = None) -> None:
    affine = np.diag([_VOXEL_MM, _VOXEL_MM, _VOXEL_MM, 1.0])
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    if repetition_time is not None:
        image.header.set_zooms((_VOXEL_MM,) * 3 + (repetition_time,))
    write_bytes(path, igzip.compress(image.to_bytes(), 1, mtime=0), sync=False)
