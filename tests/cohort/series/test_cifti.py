"""Voxels of a dense series get the label of their place in the head, and confounds go with names as fMRIPrep writes them."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, SeriesAxis

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series.cifti import other_maps, parcellate_dense
from dtb.cohort.series.read import read_region_names
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.people.records import matrix_from_edges
from tests.cohort.bids.test_layouts import TASKS, raw_tree

SHAPE = (9, 6, 5)
RAS = np.array([[2.0, 0, 0, -8], [0, 2.0, 0, -4], [0, 0, 2.0, -6], [0, 0, 0, 1]])
LEFT, RIGHT = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
LEFT[0:3, 1:4, 1:3], RIGHT[6:9, 1:4, 1:3] = True, True
SURFACE = BrainModelAxis.from_surface(np.arange(20), 30, "CortexLeft")


def turned(mask: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Store a mask, given in RAS, along other axes; return it with the affine that keeps its place."""
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(tuple(codes)))
    return orientations.apply_orientation(mask, turn), RAS @ orientations.inv_ornt_aff(turn, mask.shape)


def grayordinates(codes: str, shift: float = 0.0, size: float = 1.0) -> BrainModelAxis:
    models = SURFACE
    for name, mask in (("putamen_left", LEFT), ("putamen_right", RIGHT)):
        stored, affine = turned(mask, codes)
        affine = affine @ np.diag([size, size, size, 1])
        affine[0, 3] += shift
        models = models + BrainModelAxis.from_mask(stored, name=name, affine=affine)
    return models


def write_labels(path: Path, codes: str = "RAS", **grid) -> Path:
    models = grayordinates(codes, **grid)
    left, right = (np.asarray(models.name) == f"CIFTI_STRUCTURE_PUTAMEN_{side}" for side in ("LEFT", "RIGHT"))
    labels_G = np.select([left, right], [2, 3], default=1).astype(np.float32)
    names = {
        0: ("???", (0, 0, 0, 0)),
        **{i: (name, (1, 1, 1, 1)) for i, name in enumerate(("cortex", "left", "right"), 1)},
    }
    nibabel.Cifti2Image(labels_G[None], (LabelAxis(["atlas"], [names]), models)).to_filename(path)
    return path


def write_series(path: Path, codes: str, values_VR: np.ndarray, noise: float = 0.0) -> Path:
    """Write a series of cortex, left and right putamen; each grayordinate has its region's signal."""
    models = grayordinates(codes)
    side = np.select(
        [np.asarray(models.name) == f"CIFTI_STRUCTURE_PUTAMEN_{side}" for side in ("LEFT", "RIGHT")], [1, 2], default=0
    )
    values_VG = values_VR[:, side] + noise * np.random.default_rng(1).standard_normal((len(values_VR), len(models)))
    image = nibabel.Cifti2Image(values_VG.astype(np.float32), (SeriesAxis(0, 2.0, len(values_VR)), models))
    image.to_filename(path)
    return path


@pytest.mark.parametrize("series_codes", ["RAS", "LAS", "LPI", "PSR", "AIL"])
@pytest.mark.parametrize("label_codes", ["RAS", "LAS", "SPL"])
def test_left_stays_left_however_the_voxels_are_counted(tmp_path, series_codes, label_codes):
    values_VR = np.random.default_rng(0).standard_normal((30, 3))
    path = write_series(tmp_path / "run.dtseries.nii", series_codes, values_VR)
    atlas = write_labels(tmp_path / "atlas.dlabel.nii", label_codes)
    found = parcellate_dense(path, atlas, np.array([1, 2, 3]), max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.values_VR, values_VR, atol=1e-6)
    np.testing.assert_array_equal(found.coverage_R, 1)


@pytest.mark.parametrize("grid", [{"shift": 1.0}, {"size": 0.5}, {"size": 2.0}, {"size": 1.2}])
def test_voxels_of_another_grid_are_refused(tmp_path, grid):
    path = write_series(tmp_path / "run.dtseries.nii", "LAS", np.random.default_rng(0).standard_normal((30, 3)))
    atlas = write_labels(tmp_path / "atlas.dlabel.nii", "RAS", **grid)
    with pytest.raises(
        InputDataError, match=r"atlas\.dlabel\.nii and run\.dtseries\.nii hold voxels on different grids"
    ):
        parcellate_dense(path, atlas, np.array([1, 2, 3]), max_memory_gib=1, min_coverage=0.5)


def test_labels_moved_by_whole_voxels_are_taken_where_they_are(tmp_path):
    values_VR = np.random.default_rng(0).standard_normal((30, 3))
    path = write_series(tmp_path / "run.dtseries.nii", "RAS", values_VR)
    atlas = write_labels(tmp_path / "atlas.dlabel.nii", "RAS", shift=2.0)  # one voxel to the right: two thirds meet
    found = parcellate_dense(path, atlas, np.array([1, 2, 3]), max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.coverage_R, [1, 2 / 3, 2 / 3])
    np.testing.assert_allclose(found.values_VR, values_VR, atol=1e-6)


@pytest.mark.parametrize("confounds", ["24p", "24p_gsr", "36p", "none"])
@pytest.mark.parametrize("name", ["space-fsLR_den-91k_bold", "space-fsLR_den-91k_desc-preproc_bold", "den-91k_bold"])
def test_confounds_are_taken_out_of_dense_series_named_as_fmriprep_names_them(tmp_path, name, confounds):
    """Two parcels share nothing but motion: with it, they correlate; without it, not."""
    num_volumes = 300
    rng = np.random.default_rng(0)
    motion_VM = rng.standard_normal((num_volumes, 6)).cumsum(axis=0) / 20
    global_V, tissue_VT = rng.standard_normal(num_volumes), rng.standard_normal((num_volumes, 2))
    values_VR = 100 + rng.standard_normal((num_volumes, 3)) + 30 * motion_VM[:, :1]
    columns = {f"{kind}_{axis}": motion_VM[:, place] for place, (kind, axis) in enumerate(
        (kind, axis) for kind in ("trans", "rot") for axis in "xyz"
    )} | {"global_signal": global_V, "white_matter": tissue_VT[:, 0], "csf": tissue_VT[:, 1]}  # fmt: skip
    for column, values_V in list(columns.items()):
        slope_V = np.diff(values_V, prepend=np.nan)
        columns |= {f"{column}_derivative1": slope_V, f"{column}_power2": values_V**2}
        columns[f"{column}_derivative1_power2"] = slope_V**2
    columns |= {
        "cosine00": np.cos(np.linspace(0, np.pi, num_volumes)),
        "framewise_displacement": np.full(num_volumes, 0.1),
    }
    bids, func = raw_tree(tmp_path, "01"), tmp_path / "fmriprep" / "sub-01" / "func"
    func.mkdir(parents=True)
    rows = np.array([list(map(repr, map(float, values))) for values in zip(*columns.values(), strict=True)])
    text = "\n".join(["\t".join(columns), *("\t".join(row).replace("nan", "n/a") for row in rows)]) + "\n"
    (func / "sub-01_task-rest_desc-confounds_timeseries.tsv").write_text(text)
    (func / "sub-01_task-rest_desc-confounds_timeseries.json").write_text("{}")
    path = write_series(func / f"sub-01_task-rest_{name}.dtseries.nii", "LAS", values_VR)
    path.with_name(path.name.replace(".dtseries.nii", ".json")).write_text(json.dumps({"RepetitionTime": 2.0}))
    atlas = write_labels(tmp_path / "atlas.dlabel.nii")
    config = IngestConfig(tasks=("stroop",), layout="fmriprep_cifti", atlas=atlas, confounds=confounds)
    (person,) = index_people(bids, (tmp_path / "fmriprep",), config, TASKS)
    regions = read_region_names(person.rest[0], (tmp_path / "fmriprep",), config)
    read = read_person(PersonJob(person, "p", no_covariates(), (tmp_path / "fmriprep",)), regions, TASKS, config)
    assert not read.reason
    assert read.record.covariates["motion"] == pytest.approx(0.1)
    correlations = np.tanh(matrix_from_edges(read.record.connectome_E))[np.triu_indices(3, 1)]
    assert (np.abs(correlations) < 0.2).all() if confounds != "none" else (correlations > 0.9).all()
    (func / "sub-01_task-rest_desc-confounds_timeseries.tsv").unlink()
    read = read_person(PersonJob(person, "p", no_covariates(), (tmp_path / "fmriprep",)), regions, TASKS, config)
    assert (confounds == "none") == ("there is no p_task-rest_desc-confounds_timeseries.tsv" not in read.reason)


def test_of_several_maps_the_first_is_read_and_named(tmp_path):
    atlas = write_labels(tmp_path / "atlas.dlabel.nii")
    assert other_maps(atlas) == []
    image = nibabel.load(atlas)
    labels, models = (image.header.get_axis(place) for place in range(2))
    both = LabelAxis(["parcels", "networks"], [labels.label[0], labels.label[0]])
    values = np.asarray(image.dataobj)
    header = nibabel.Cifti2Header.from_axes((both, models))
    nibabel.save(nibabel.Cifti2Image(np.concatenate([values, values[:, ::-1]]), header), atlas)
    (said,) = other_maps(atlas)
    assert said == "atlas.dlabel.nii has 2 maps; the first, parcels, is read, and not networks."
