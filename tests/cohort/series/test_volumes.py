"""Bundle means equal the plain average, whatever the grid, type, scaling or compression; broken images end in a sentence."""

import gzip
import resource
import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtb.cohort.series import volumes
from dtb.cohort.series.atlas import VolumeAtlas
from dtb.cohort.series.confounds import cleaned
from dtb.cohort.series.read import Series
from dtb.cohort.series.region_table import read_region_table
from dtb.cohort.series.volumes import parcellate_volumes, read_header
from dtb.config import IngestConfig
from dtb.errors import InputDataError, UserError

SHAPE = (7, 6, 5)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
LABELS = np.array([3, 10, 4, 99])


@pytest.fixture
def atlas(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.choice([0, 3, 4, 10, 7], size=SHAPE).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), tmp_path / "atlas.nii.gz")
    return VolumeAtlas(tmp_path / "atlas.nii.gz", LABELS), image


def make_run(path, values):
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_zooms((2, 2, 2, 0.8))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


def plain_means(values, labelled):
    columns = [
        values[labelled == label].mean(axis=0) if (labelled == label).any() else values[0, 0, 0] * np.nan
        for label in LABELS
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("dtype", ["int16", ">i2", "float32", "float64", "uint8"])
@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
def test_means_equal_numpys(tmp_path, atlas, dtype, extension, monkeypatch):
    monkeypatch.setattr(volumes, "_BLOCK_BYTES", 3 * 7 * 6 * 5 * 2)
    values = np.random.default_rng(1).uniform(1, 200, (*SHAPE, 11)).astype(dtype)
    path = make_run(tmp_path / f"run.{extension}", values)
    found = parcellate_volumes(path, atlas[0], max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.values_VR, plain_means(values.astype(float), atlas[1]), rtol=1e-6)
    assert found.coverage_R.tolist() == [1, 1, 1, 0]
    assert found.repetition_time == pytest.approx(0.8)


@pytest.mark.parametrize(("unit", "seconds"), [("sec", 1.0), ("msec", 0.001), ("unknown", None), ("hz", None)])
def test_a_header_without_a_unit_of_time_says_no_repetition_time(tmp_path, unit, seconds):
    image = nibabel.Nifti1Image(np.ones((*SHAPE, 2), np.int16), AFFINE)
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, tmp_path / "run.nii")
    assert read_header(tmp_path / "run.nii", 1).repetition_time == (None if seconds is None else pytest.approx(seconds))


def test_scaled_integers_and_voxels_without_signal(tmp_path, atlas):
    values = np.random.default_rng(1).integers(-300, 300, (*SHAPE, 6)).astype(np.int16)
    labelled = atlas[1]
    third = np.flatnonzero(labelled.ravel() == 10)
    dead = np.zeros(labelled.size, dtype=bool)
    dead[third[: len(third) // 3]] = True
    scaled = 0.5 * values + 1000.0
    image = nibabel.Nifti1Image(np.where(dead.reshape(SHAPE)[..., None], np.int16(-2000), values), AFFINE)
    image.header.set_slope_inter(0.5, 1000.0)
    nibabel.save(image, tmp_path / "run.nii")
    assert np.asarray(nibabel.load(tmp_path / "run.nii").dataobj).ravel()[0] in {0.0, scaled.ravel()[0]}
    found = parcellate_volumes(tmp_path / "run.nii", atlas[0], max_memory_gib=1, min_coverage=0.5)
    alive = np.where(dead.reshape(SHAPE), 0, labelled)
    np.testing.assert_allclose(found.values_VR, plain_means(scaled, alive), rtol=1e-6)
    assert found.coverage_R[1] == pytest.approx(1 - (len(third) // 3) / len(third))
    strict = parcellate_volumes(tmp_path / "run.nii", atlas[0], max_memory_gib=1, min_coverage=0.9)
    assert np.isnan(strict.values_VR[:, 1]).all()
    assert np.isfinite(strict.values_VR[:, 0]).all()


def test_a_brain_mask_and_not_a_number_lower_coverage(tmp_path, atlas):
    values = np.random.default_rng(1).uniform(1, 2, (*SHAPE, 4)).astype(np.float32)
    inside = np.random.default_rng(2).random(SHAPE) < 0.8
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    hole = np.random.default_rng(3).random(SHAPE) < 0.1
    values[hole] = np.nan
    path = make_run(tmp_path / "run.nii", values)
    found = parcellate_volumes(path, atlas[0], max_memory_gib=1, min_coverage=0.1, mask=tmp_path / "mask.nii.gz")
    kept = np.where(inside & ~hole, atlas[1], 0)
    np.testing.assert_allclose(found.values_VR, plain_means(values, kept), rtol=1e-5)
    expected = [(kept == label).sum() / max(1, (atlas[1] == label).sum()) for label in LABELS]
    np.testing.assert_allclose(found.coverage_R, expected)


def test_an_atlas_on_another_grid_is_brought_to_the_runs(tmp_path):
    fine = np.zeros((14, 12, 10), dtype=np.int16)
    fine[:6], fine[8:] = 3, 10
    shifted = np.diag([1.0, 1.0, 1.0, 1.0])
    shifted[:3, 3] = -0.5
    nibabel.save(nibabel.Nifti1Image(fine, shifted), tmp_path / "fine.nii")
    values = np.random.default_rng(0).uniform(1, 2, (*SHAPE, 3))
    path = make_run(tmp_path / "run.nii", values)
    found = parcellate_volumes(path, VolumeAtlas(tmp_path / "fine.nii", LABELS), max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.values_VR[:, 0], values[:3].mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.values_VR[:, 1], values[4:].mean(axis=(0, 1, 2)), rtol=1e-6)


def test_labels_that_were_interpolated_are_refused(tmp_path):
    """Between the regions 3 and 40, 21.5 was taken for 22."""
    path = make_run(tmp_path / "run.nii", np.ones((*SHAPE, 2), np.float32))
    labelled = np.zeros(SHAPE, np.float32)
    labelled.flat[:9] = [1, 1, 1, 2, 2, 2, 1.01, 1.99, 0]
    smooth = tmp_path / "smooth.nii"
    limits = {"max_memory_gib": 1.0, "min_coverage": 0.5}
    nibabel.save(nibabel.Nifti1Image(labelled, AFFINE), smooth)
    assert (parcellate_volumes(path, VolumeAtlas(smooth, np.array([1, 2])), **limits).coverage_R == 1).all()
    labelled.flat[9] = 1.5
    nibabel.save(nibabel.Nifti1Image(labelled, AFFINE), smooth)
    with pytest.raises(
        InputDataError, match="smooth.nii has 1.5, which is no label, and 1 such numbers.*nearest neighbour"
    ):
        parcellate_volumes(path, VolumeAtlas(smooth, np.array([1, 2])), **limits)


@pytest.mark.parametrize("voxel_mm", [2.0, 1.0])
def test_what_lies_beyond_the_image_is_not_covered(tmp_path, voxel_mm):
    """A slab holds the first region in full, a tenth of the second and nothing of the third."""
    per_mm = round(2 / voxel_mm)
    labelled = np.zeros((4 * per_mm, 4 * per_mm, 30 * per_mm), dtype=np.int16)
    labelled[..., : 10 * per_mm], labelled[..., 10 * per_mm : 20 * per_mm], labelled[..., 20 * per_mm :] = 3, 10, 4
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = (voxel_mm - 2) / 2  # the corners of the two grids are the same
    nibabel.save(nibabel.Nifti1Image(labelled, affine), tmp_path / "whole.nii")
    values = np.random.default_rng(0).uniform(1, 2, (4, 4, 11, 5))
    values[0, :, :, :] = 0.0
    path = make_run(tmp_path / "slab.nii", values)
    found = parcellate_volumes(path, VolumeAtlas(tmp_path / "whole.nii", LABELS), max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.coverage_R, [0.75, 0.075, 0.0, 0.0])
    assert np.isfinite(found.values_VR).all(axis=0).tolist() == [True, False, False, False]


@pytest.mark.parametrize("cut", [-1, -500, 400, 360, 100, 10])
@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
def test_a_cut_image_is_refused(tmp_path, atlas, cut, extension):
    path = make_run(tmp_path / f"run.{extension}", np.random.default_rng(0).uniform(1, 2, (*SHAPE, 5)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputDataError, match=r"run\.nii"):
        parcellate_volumes(path, atlas[0], max_memory_gib=1, min_coverage=0.5)


def test_a_header_that_asks_for_the_moon_is_refused_before_anything_is_allocated(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header["dim"][:5] = [4, 30000, 30000, 30000, 100]
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path = tmp_path / "moon.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputDataError, match=r"30000.*ingest\.max_memory_gib"):
        read_header(path, 1.5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


MEASURE = """
import os, resource, sys
from pathlib import Path
import nilearn.image, numpy, scipy.ndimage
from dtb.cohort.series.atlas import VolumeAtlas
from dtb.cohort.series.volumes import parcellate_volumes
from dtb.errors import InputDataError
run, atlas, mask = map(Path, sys.argv[1:4])
for limit, masked in ((0.25, False), (0.15, False), (0.09, False), (0.25, True)):
    if os.fork() == 0:  # a child's peak begins where the parent is, not where another has been
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        limits = {"max_memory_gib": limit, "min_coverage": 0}
        try:
            parcellate_volumes(run, VolumeAtlas(atlas, numpy.array([1, 2])), mask=mask if masked else None, **limits)
            said = "read"
        except InputDataError as error:
            said = str(error)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20 / limit, said, flush=True)
        os._exit(0)
    os.wait()
"""


def ones(path, shape, dtype):
    """A compressed image of ones, of 300 mm along each side."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(np.diag([300 / shape[0]] * 3 + [1.0]), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = np.ones(int(np.prod(shape)), dtype=header.get_data_dtype()).tobytes()
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4 + content, 1))
    return path


@pytest.mark.slow
def test_a_process_stays_within_its_memory_whatever_the_headers_say(tmp_path):
    """150 voxels along each side, all of them in a region of an atlas on another grid; a mask on a third grid asks for 0.2 GiB."""
    run = ones(tmp_path / "run.nii.gz", (150, 150, 150, 2), np.uint8)
    atlas = ones(tmp_path / "atlas.nii.gz", (75, 75, 75), np.uint8)
    mask = ones(tmp_path / "mask.nii.gz", (300, 300, 300), np.float64)
    call = [sys.executable, "-c", MEASURE, run, atlas, mask]
    lines = subprocess.run(call, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()
    peaks, said = zip(*(line.split(" ", 1) for line in lines), strict=True)
    assert [float(peak) < 1 for peak in peaks] == [True] * 4
    assert said[0] == "read"
    assert "more than ingest.max_memory_gib 0.15" in said[1]
    assert "more than ingest.max_memory_gib 0.09" in said[2]
    assert said[3] == "mask.nii.gz is on another grid than its run."


def test_data_that_begin_beyond_reason_are_refused(tmp_path, atlas):
    path = make_run(tmp_path / "far.nii.gz", np.ones((*SHAPE, 2), dtype=np.int16))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[108:112] = np.float32(1e12).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputDataError, match=r"far\.nii\.gz begins its data at byte"):
        parcellate_volumes(path, atlas[0], max_memory_gib=1, min_coverage=0.5)


def test_a_failure_of_the_reading_thread_reaches_the_caller(tmp_path, atlas, monkeypatch):
    path = make_run(tmp_path / "run.nii", np.ones((*SHAPE, 2), dtype=np.int16))

    def fail(stream, num_bytes):
        raise MemoryError("planted")

    monkeypatch.setattr(volumes, "_skip", fail)
    with pytest.raises(MemoryError, match="planted"):
        parcellate_volumes(path, atlas[0], max_memory_gib=1, min_coverage=0.5)


@pytest.mark.slow
@pytest.mark.timeout(300)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_whatever_the_header_says_the_image_is_read_or_refused_in_a_sentence(tmp_path, atlas, changes, compressed):
    path = make_run(tmp_path / "good.nii", np.ones((*SHAPE, 2), dtype=np.int16))
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place] = value
    bad = tmp_path / ("bad.nii.gz" if compressed else "bad.nii")
    bad.write_bytes(gzip.compress(bytes(content), 1) if compressed else bytes(content))
    try:
        found = parcellate_volumes(bad, atlas[0], max_memory_gib=0.2, min_coverage=0.5)
    except UserError as error:
        found = None
        message = str(error)
    else:
        message = "bad.nii"
    assert "bad.nii" in message or "atlas" in message
    if found is None:
        return
    assert found.values_VR.shape[1] == len(LABELS)


def test_region_tables_in_three_forms(tmp_path):
    forms = ["1\ta\n2\tb\n", "index\tname\n1\ta\n2\tb\n", "a\nb\n", "index0\tlabel\tnetwork\n1\ta\tx\n2\tb\tx\n"]
    for place, text in enumerate(forms):
        path = tmp_path / f"{place}.tsv"
        path.write_text(text)
        assert read_region_table(path) == {1: "a", 2: "b"}
    path.write_text("1\ta\n2\ta\n")
    with pytest.raises(InputDataError, match="'a' occurs twice"):
        read_region_table(path)


def confounds_table(rng, num):
    """24 motion parameters as fMRIPrep names them, the global signal and a drift."""
    names = [
        f"{kind}_{axis}{more}"
        for kind in ("trans", "rot")
        for axis in "xyz"
        for more in ("", "_derivative1", "_power2", "_derivative1_power2")
    ]
    table = pd.DataFrame(rng.standard_normal((num, len(names))), columns=names)
    table["global_signal"], table["cosine00"] = rng.standard_normal(num), np.cos(np.pi * np.arange(num) / num)
    table["framewise_displacement"], table["non_steady_state_outlier00"] = 0.1, np.eye(num)[0]
    return table, names


def write_confounds(folder, table, extension="nii.gz"):
    """Write a table beside an image, and give the image."""
    stem = "sub-1_task-rest_desc-confounds_timeseries"
    table.to_csv(folder / f"{stem}.tsv", sep="\t", index=False, na_rep="n/a")
    (folder / f"{stem}.json").write_text("{}")
    image = folder / f"sub-1_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.{extension}"
    image.touch()
    return image


@pytest.mark.parametrize("extension", ["nii.gz", "nii"])
def test_confounds_leave_a_series_that_is_orthogonal_to_them(tmp_path, extension):
    rng = np.random.default_rng(0)
    num = 200
    table, names = confounds_table(rng, num)
    image = write_confounds(tmp_path, table, extension)
    signal_VR = rng.standard_normal((num, 3))
    dirty_VR = (
        signal_VR
        + 5 * table[["trans_x", "global_signal"]].to_numpy() @ rng.standard_normal((2, 3))
        + np.linspace(0, 9, num)[:, None]
    )
    dirty_VR[:, 1] = np.nan
    found_VR = cleaned(dirty_VR, image, 2.0, IngestConfig(confounds="24p_gsr"))
    assert np.isnan(found_VR[0]).all()
    assert np.isnan(found_VR[:, 1]).all()
    nuisance = np.column_stack([table[[*names, "global_signal", "cosine00"]], np.arange(num), np.ones(num)])[1:]
    residual = signal_VR[1:, 0] - nuisance @ np.linalg.lstsq(nuisance, signal_VR[1:, 0], rcond=None)[0]
    np.testing.assert_allclose(found_VR[1:, 0], residual, atol=1e-6)
    with pytest.raises(InputDataError, match=r"Confounds of sub-1.*`36p`"):
        cleaned(dirty_VR, image, 2.0, IngestConfig(confounds="36p"))


def test_what_rounding_leaves_of_a_constant_or_of_a_drift_is_no_signal(tmp_path):
    rng = np.random.default_rng(0)
    num = 200
    image = write_confounds(tmp_path, confounds_table(rng, num)[0])
    values_VR = 1e4 / 3 + rng.standard_normal((num, 5))
    values_VR[:, 1], values_VR[:, 2], values_VR[:, 3] = 1e4 / 3, 1e4 / 3 + 0.1 * np.arange(num), 0.0
    found_VR = cleaned(values_VR, image, 2.0, IngestConfig(confounds="24p"))
    assert np.isfinite(found_VR[1:]).all(axis=0).tolist() == [True, False, False, False, True]
    noise_V, signal_VR = rng.standard_normal(num), rng.standard_normal((num, 4))
    rounded_VR = np.column_stack([values_VR, 7.0 + 1e-15 * noise_V, 1e-12 * noise_V, signal_VR])
    assert Series(rounded_VR, 2.0, None).present_R.tolist() == [
        True,
        False,
        True,
        False,
        True,
        False,
        False,
        *[True] * 4,
    ]
    assert Series(1e-9 * rng.standard_normal((num, 3)), 2.0, None).present_R.all()  # whatever the unit


def test_a_run_that_its_confounds_fill_is_refused_with_the_numbers(tmp_path):
    rng = np.random.default_rng(0)
    values_VR = rng.standard_normal((38, 3))
    for num, left in ((37, 9), (38, 10)):
        image = write_confounds(
            tmp_path, confounds_table(rng, num)[0]
        )  # 24 + 1, the mean, the drift; the first is left out
        if left < 10:
            with pytest.raises(
                InputDataError, match=r"36 volumes.*27 regressors.*9 degrees of freedom.*ingest\.confounds"
            ):
                cleaned(values_VR[:num], image, 2.0, IngestConfig(confounds="24p"))
        else:
            assert np.isfinite(cleaned(values_VR, image, 2.0, IngestConfig(confounds="24p"))[1:]).all()


def test_a_low_pass_that_lets_everything_through_is_refused(tmp_path):
    image = write_confounds(tmp_path, confounds_table(np.random.default_rng(0), 100)[0])
    values_VR = np.random.default_rng(0).standard_normal((100, 2))
    with pytest.raises(InputDataError, match=r"low_pass_hz 0\.25 would remove nothing.*above 0\.25 Hz"):
        cleaned(values_VR, image, 2.0, IngestConfig(low_pass_hz=0.25))
    assert np.isfinite(cleaned(values_VR, image, 2.0, IngestConfig(low_pass_hz=0.2))[1:]).all()


@pytest.mark.parametrize("which", ["atlas", "run"])
def test_an_image_that_does_not_say_where_its_voxels_are_is_refused(tmp_path, which):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (5, 5, 5)).astype(np.int16)
    images = {
        "atlas": nibabel.Nifti1Image(labels, np.eye(4)),
        "run": nibabel.Nifti1Image(rng.random((5, 5, 5, 9)), np.eye(4)),
    }
    images[which].set_sform(None, 0)
    images[which].set_qform(None, 0)
    for name, image in images.items():
        nibabel.save(image, tmp_path / f"{name}.nii.gz")
    atlas = VolumeAtlas(tmp_path / "atlas.nii.gz", np.array([1, 2]))
    with pytest.raises(InputDataError, match=rf"{which}\.nii\.gz does not say where its voxels are"):
        parcellate_volumes(tmp_path / "run.nii.gz", atlas, max_memory_gib=1, min_coverage=0.5)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR"])
def test_regions_keep_their_sides_however_image_and_atlas_count_their_voxels(tmp_path, codes):
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 6, 5), np.int16)
    labels[:3], labels[5:] = 1, 2
    values_VR = 10 + rng.random((9, 2))
    image = np.zeros((8, 6, 5, 9), np.float32)
    image[:3], image[5:] = values_VR[:, 0], values_VR[:, 1]
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(tuple(codes))
    )
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "atlas.nii.gz")
    nibabel.save(nibabel.Nifti1Image(image, affine).as_reoriented(turn), tmp_path / "run.nii.gz")
    atlas = VolumeAtlas(tmp_path / "atlas.nii.gz", np.array([1, 2]))
    found = parcellate_volumes(tmp_path / "run.nii.gz", atlas, max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.values_VR, values_VR, atol=1e-5)


def test_a_fourth_dimension_of_one_is_none(tmp_path, atlas):
    values = np.random.default_rng(1).uniform(1, 200, (*SHAPE, 11))
    path = make_run(tmp_path / "run.nii.gz", values)
    nibabel.save(nibabel.Nifti1Image(atlas[1][..., None], AFFINE), tmp_path / "four.nii.gz")
    found = parcellate_volumes(path, VolumeAtlas(tmp_path / "four.nii.gz", LABELS), max_memory_gib=1, min_coverage=0.5)
    np.testing.assert_allclose(found.values_VR, plain_means(values, atlas[1]), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"low_pass_hz": 0.2}])
def test_volumes_before_the_steady_state_are_missing_without_confounds_too(tmp_path, options):
    rng = np.random.default_rng(0)
    table, _ = confounds_table(rng, 60)
    for place in range(2):
        table[f"non_steady_state_outlier{place:02d}"] = (np.arange(60) == place).astype(int)
    image = write_confounds(tmp_path, table)
    values_VR = rng.standard_normal((60, 3))
    found_VR = cleaned(values_VR, image, 2.0, IngestConfig(confounds="none", **options))
    assert np.isnan(found_VR[:2]).all()
    assert np.isfinite(found_VR[2:]).all()
    if not options:
        np.testing.assert_array_equal(found_VR[2:], values_VR[2:])
