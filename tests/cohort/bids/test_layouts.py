"""Every layout that laboratories have comes out as the same series: CIFTI, fMRIPrep volumes, the TCP's HDF5."""

import dataclasses
import os
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, ParcelsAxis, SeriesAxis

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.names import BidsName
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.ingest import ingest
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series.cifti import parcellate_dense, read_label_table, read_parcel_series
from dtb.cohort.series.read import read_region_names, read_series, require_atlas_space
from dtb.config import Config, IngestConfig
from dtb.errors import InputDataError
from dtb.people.records import matrix_from_edges
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

TASKS = TaskSet((load_task("stroop"),))
EVENTS = "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n1\t3\tcon1\t0.5\t1\tred\tred\n"


def raw_tree(root: Path, label: str, task: str = "stroop") -> Path:
    path = root / "bids" / f"sub-{label}" / "func" / f"sub-{label}_task-{task}_run-01_events.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(EVENTS)
    return root / "bids"


def surfaces(places) -> BrainModelAxis:
    left, right = (
        BrainModelAxis.from_surface(np.array(vertices), 50, "CortexLeft" if side == 0 else "CortexRight")
        for side, vertices in enumerate(places)
    )
    volume = BrainModelAxis.from_mask(np.ones((2, 2, 1), bool), name="thalamus_left", affine=np.eye(4))
    return left + right + volume


@pytest.fixture
def dense(tmp_path):
    """A dense series and a label file that hold different parts of the same surfaces."""
    rng = np.random.default_rng(0)
    models = surfaces((np.arange(0, 40), np.arange(10, 50)))
    values_VG = rng.standard_normal((9, len(models))).astype(np.float32)
    path = tmp_path / "run.dtseries.nii"
    nibabel.Cifti2Image(values_VG, (SeriesAxis(0, 0.8, 9), models)).to_filename(path)
    everything = surfaces((np.arange(50), np.arange(50)))
    labels = rng.integers(0, 4, len(everything)).astype(np.float32)
    names = {0: ("???", (0, 0, 0, 0)), **{i: (f"region{i}", (1, 1, 1, 1)) for i in (1, 2, 3)}}
    atlas = tmp_path / "atlas.dlabel.nii"
    nibabel.Cifti2Image(labels[None], (LabelAxis(["atlas"], [names]), everything)).to_filename(atlas)
    on_series = np.concatenate([labels[:50][:40], labels[50:100][10:50], labels[100:]])
    return path, atlas, values_VG, labels, on_series


def test_dense_series_are_averaged_over_the_labels_of_their_vertices(dense):
    path, atlas, values_VG, labels, on_series = dense
    assert read_label_table(atlas).names == {1: "region1", 2: "region2", 3: "region3"}
    found = parcellate_dense(path, atlas, np.array([3, 1, 2]), max_memory_gib=1, min_coverage=0.5)
    for column, number in enumerate((3, 1, 2)):
        np.testing.assert_allclose(
            found.values_VR[:, column], values_VG[:, on_series == number].mean(axis=1), atol=1e-6
        )
        assert found.coverage_R[column] == pytest.approx((on_series == number).sum() / (labels == number).sum())
    assert found.repetition_time == 0.8


def test_parcel_series_are_read_by_name(tmp_path):
    models = [
        (f"r{place}", BrainModelAxis.from_surface(np.arange(place, place + 2), 50, "CortexLeft")) for place in range(3)
    ]
    values_VR = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    path = tmp_path / "run.ptseries.nii"
    nibabel.Cifti2Image(values_VR, (SeriesAxis(0, 2.0, 5), ParcelsAxis.from_brain_models(models))).to_filename(path)
    found_VR, names, repetition_time = read_parcel_series(path, 1)
    np.testing.assert_array_equal(found_VR, values_VR)
    assert (names, repetition_time) == (("r0", "r1", "r2"), 2.0)
    with pytest.raises(InputDataError, match=r"not a dtseries\.nii"):
        parcellate_dense(path, path, np.array([1]), max_memory_gib=1, min_coverage=0.5)


@pytest.mark.parametrize("cut", [3, 400, 700, 2000, -1])
def test_a_cut_cifti_file_is_refused(dense, cut):
    path, atlas, *_ = dense
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputDataError, match=r"run\.dtseries\.nii"):
        parcellate_dense(path, atlas, np.array([1, 2]), max_memory_gib=1, min_coverage=0.5)


def test_fmriprep_volumes_become_a_person(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    labelled = rng.integers(0, 5, (6, 6, 6)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(labelled, affine), tmp_path / "atlas_dseg.nii.gz")
    (tmp_path / "atlas_dseg.tsv").write_text("index\tname\n1\ta\n2\tb\n3\tc\n4\td\n")
    func = tmp_path / "fmriprep" / "sub-01" / "ses-2" / "func"
    func.mkdir(parents=True)
    values = rng.uniform(1, 2, (6, 6, 6, 100)).astype(np.float32)
    for space in ("MNI152NLin2009cAsym", "T1w"):
        stem = f"sub-01_ses-2_task-rest_space-{space}"
        image = nibabel.Nifti1Image(values, affine)
        image.header.set_zooms((3, 3, 3, 2.0))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, func / f"{stem}_desc-preproc_bold.nii.gz")
        nibabel.save(nibabel.Nifti1Image(np.ones((6, 6, 6), np.uint8), affine), func / f"{stem}_desc-brain_mask.nii.gz")
    bids, root = raw_tree(tmp_path, "01"), (tmp_path / "fmriprep",)
    config = IngestConfig(
        layout="fmriprep",
        atlas=tmp_path / "atlas_dseg.nii.gz",
        confounds="none",
        space="MNI152NLin2009cAsym",
        min_rest_seconds=100,
    )
    with pytest.raises(InputDataError, match=r"several series of one run.*ingest\.space"):
        index_people(bids, root, IngestConfig(layout="fmriprep", atlas=config.atlas), TASKS)
    people = index_people(bids, root, config, TASKS)
    regions = read_region_names(people[0].rest[0], root, config)
    assert regions == ("a", "b", "c", "d")
    assert people[0].rest[0].mask.name.endswith("space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz")
    read = read_person(PersonJob(people[0], "p", no_covariates(), root), regions, TASKS, config)
    record = read.record
    assert read.coverage_R.tolist() == [1, 1, 1, 1]
    means = np.stack([values[labelled == label].mean(axis=0) for label in (1, 2, 3, 4)])
    expected = np.arctanh(np.corrcoef(means)[np.triu_indices(4, 1)])
    np.testing.assert_allclose(record.connectome_E, expected, atol=1e-5)
    assert record.covariates["rest_seconds"] == 200
    native = Config(ingest=dataclasses.replace(config, tasks=("stroop",), space=None))
    for path in func.glob("*MNI152*"):
        path.unlink()
    with pytest.raises(InputDataError, match="must be in the same space.*in T1w"):
        ingest(native, bids, root, tmp_path / "out", resume=False, dry_run=True)


@pytest.mark.parametrize(
    ("spaces", "atlas", "space", "fits"),
    [
        (("MNI152NLin6Asym",), "schaefer400.nii.gz", None, True),
        (("MNI152NLin6Asym",), "tpl-MNI152NLin6Asym_res-02_atlas-X_dseg.nii.gz", None, True),
        (("T1w",), "schaefer400_space-T1w.nii.gz", None, True),
        (("MyTemplate",), "schaefer400.nii.gz", "MyTemplate", True),
        (("MNI152NLin6Asym",), "tpl-MNI152NLin2009cAsym_dseg.nii.gz", None, False),
        (("MNI152NLin6Asym",), "tpl-MNI152NLin2009cAsym_dseg.nii.gz", "MNI152NLin6Asym", False),
        (("MNI152NLin6Asym", "MNI152NLin2009cAsym"), "schaefer400.nii.gz", None, False),
        (("T1w",), "schaefer400.nii.gz", None, False),
        ((None,), "schaefer400.nii.gz", None, False),
        ((None, "MNI152NLin6Asym"), "tpl-MNI152NLin6Asym_dseg.nii.gz", None, False),
    ],
)
def test_volumes_are_averaged_over_an_atlas_of_their_own_space_only(spaces, atlas, space, fits):
    files = []
    for place, name in enumerate(spaces):
        entities = {"sub": "1", "task": "rest", "run": str(place)} | ({} if name is None else {"space": name})
        path = Path("_".join(f"{key}-{value}" for key, value in entities.items()) + "_desc-preproc_bold.nii.gz")
        files.append(SeriesFile(path, BidsName(entities, "bold", ".nii.gz")))
    config = IngestConfig(layout="fmriprep", atlas=Path(atlas), space=space)
    if fits:
        require_atlas_space(files, config)
        return
    with pytest.raises(InputDataError, match=r"must be in the same space.*sub-1_task-rest_run-0.*ingest\.space"):
        require_atlas_space(files, config)


REAL = os.environ.get("DTB_REAL_DATA")


def write_tcp_file(root: Path, label: str, task: str, run: int, values_RV: np.ndarray) -> None:
    folder = root / label.replace("NDARINV", "NDAR_INV")
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"task-{task}_run-{run:02d}_bold_Atlas_hp2000_clean_GSR_parcellated.h5", "w") as stream:
        stream["dataset"] = values_RV


def test_the_tcp_layout_is_read_and_wrong_shapes_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    label = "NDARINVAG388HJL"
    bids = raw_tree(tmp_path, label, "stroopAP")
    (bids / "task-restAP_bold.json").write_text('{"RepetitionTime": 0.8}')
    (bids / "task-stroopAP_bold.json").write_text('{"RepetitionTime": 0.8}')
    (tmp_path / "labels.tsv").write_text("index0\tlabel\tnetwork\n0\tx\tn\n1\ty\tn\n2\tz\tn\n")
    root = tmp_path / "fMRI_timeseries_clean_denoised_GSR_parcellated"
    rest_RV, task_RV = rng.standard_normal((3, 488)), rng.standard_normal((3, 510))
    write_tcp_file(root, label, "restAP", 1, rest_RV)
    write_tcp_file(root, label, "stroopAP", 1, task_RV)
    config = IngestConfig(tasks=("stroop",), layout="tcp", region_labels=tmp_path / "labels.tsv")
    people = index_people(bids, (root,), config, TASKS)
    regions = read_region_names(people[0].rest[0], (root,), config)
    record = read_person(PersonJob(people[0], "p", no_covariates(), (root,)), regions, TASKS, config).record
    np.testing.assert_allclose(
        np.tanh(matrix_from_edges(record.connectome_E)), np.corrcoef(rest_RV) - np.eye(3), atol=1e-6
    )
    assert record.runs[0].bold_VR.shape == (510, 3)
    assert record.runs[0].duration_seconds == pytest.approx(408)
    write_tcp_file(root, label, "restAP", 1, rest_RV.T)
    with pytest.raises(InputDataError, match=r"488 rows.*has 3"):
        read_series(people[0].rest[0], regions, config, (root,))


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="DTB_REAL_DATA does not point to the real data")
def test_all_tcp_people_are_found_in_the_published_layout(tmp_path):
    """Everybody's events are real; the series are random numbers in files of the published names and shapes."""
    bids, root = Path(REAL, "tcp"), tmp_path / "fMRI_timeseries_clean_denoised_GSR_parcellated"
    labels = sorted(folder.name[4:] for folder in bids.glob("sub-*"))
    assert len(labels) == 180
    rng = np.random.default_rng(0)
    lengths = {"restAP": 488, "restPA": 488, "stroopAP": 510, "stroopPA": 510, "hammerAP": 493}
    series = {task: rng.standard_normal((434, length)) for task, length in lengths.items()}
    for task, values_RV in series.items():
        write_tcp_file(tmp_path, "one", task, 1, values_RV)
    for label in labels:
        folder = root / label.replace("NDARINV", "NDAR_INV")
        folder.mkdir(parents=True)
        events = (bids / f"sub-{label}" / "func").glob("*_events.tsv")
        for task in ("restAP", "restPA", *(path.name.split("task-")[1].split("_")[0] for path in events)):
            name = f"task-{task}_run-01_bold_Atlas_hp2000_clean_GSR_parcellated.h5"
            (folder / name).hardlink_to(tmp_path / "one" / name)
    tasks = TaskSet((load_task("stroop"), load_task("hammer")))
    config = IngestConfig(
        layout="tcp", repetition_time=0.8, region_labels=bids / "atlas_labels" / "tcp_434_regions_unordered.tsv"
    )
    people = index_people(bids, (root,), config, tasks)
    assert len(people) == 180
    assert sum(len(person.events) for person in people) == 354 + 174
    assert all(events.series is not None for person in people for events in person.events)
    regions = read_region_names(people[0].rest[0], (root,), config)
    assert len(regions) == 434
    num_read = 0
    for person in people:
        assert [file.name.entities["task"] for file in person.rest] == ["restAP", "restPA"]
        for file in (*person.rest, *(events.series for events in person.events)):
            found = read_series(file, regions, config, (root,))
            np.testing.assert_array_equal(found.values_VR.T, series[file.name.entities["task"]])
            num_read += 1
    assert num_read == 2 * 180 + 354 + 174
    read = read_person(PersonJob(people[0], "p", no_covariates(), (root,)), regions, tasks, config)
    assert read.record.covariates["rest_seconds"] == pytest.approx(2 * 488 * 0.8)
    assert not [each for each in read.left_out if each.line is None]
    assert pd.isna(read.record.connectome_E).sum() == 0
    assert {len(run.bold_VR) for run in read.record.runs} <= {510, 493}
