"""Hundreds of broken files of every kind: each is read as an independent reader reads it, or refused in a sentence that names it."""

import functools
import gzip
import json
import os
import resource
import warnings
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, ParcelsAxis, SeriesAxis

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.bids.names import BidsName
from dtb.cohort.series.atlas import VolumeAtlas
from dtb.cohort.series.cifti import parcellate_dense, read_label_table, read_parcel_series
from dtb.cohort.series.confounds import cleaned
from dtb.cohort.series.read import read_series
from dtb.cohort.series.region_table import read_region_table
from dtb.cohort.series.volumes import parcellate_volumes
from dtb.config import IngestConfig
from dtb.errors import UserError
from tests.damage import DAMAGES, Damage, cases, whole

SHAPE, AFFINE, NUM_VOLUMES = (4, 3, 3), np.diag([2.0, 2.0, 2.0, 1.0]), 6
NUMBERS = np.array([1, 2, 3])
REGIONS = ("a", "b", "c")


def series_file(path: Path, **beside: Path) -> SeriesFile:
    name = BidsName({"sub": "01", "task": "rest"}, "timeseries", path.suffix)
    return SeriesFile(path, name, **beside)


def spoil(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def or_refused(read, path: Path, damage: Damage, *others: str):
    """Return what is read; None if it is refused in a sentence that names the file, or one of the others that belong to it."""
    try:
        return read()
    except UserError as error:
        said = str(error)
    assert any(name in said for name in (path.name, *others)), said
    assert len(said) < 1000
    assert damage is not whole, said
    return None


def volume(values: np.ndarray, dtype: str = "float32") -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(values.astype(dtype), AFFINE)
    image.header.set_zooms((2, 2, 2, 0.8)[: values.ndim])
    image.header.set_xyzt_units("mm", "sec")
    return image


@pytest.fixture(scope="module")
def labelled() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.int16)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.random.default_rng(1).uniform(100, 200, (*SHAPE, NUM_VOLUMES))


@pytest.fixture
def atlas(tmp_path, labelled) -> VolumeAtlas:
    volume(labelled, "int16").to_filename(tmp_path / "atlas.nii")
    return VolumeAtlas(tmp_path / "atlas.nii", NUMBERS)


def plain_means(path: Path, labelled: np.ndarray) -> np.ndarray | None:
    """Average with nibabel and numpy alone; None where the file is not on the atlas's grid or nibabel does not read it."""
    try:
        image = nibabel.load(path)
        if image.shape[:3] != SHAPE or not np.allclose(image.affine, AFFINE, atol=1e-3):
            return None
        data = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    except Exception:  # noqa: BLE001, nibabel raises of everything
        return None
    alive = (data != 0).any(axis=3)
    sums = [data[(labelled == number) & alive].sum(axis=0) for number in NUMBERS]
    counts = [((labelled == number) & alive).sum() for number in NUMBERS]
    return np.stack(
        [each / count if count else each * np.nan for each, count in zip(sums, counts, strict=True)], axis=1
    )


@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
@cases(100)
@example(damage=whole)
@given(damage=DAMAGES)
def test_volumes(tmp_path, atlas, labelled, values, extension, dtype, damage):
    content = damage(volume(values, dtype).to_bytes())
    path = spoil(tmp_path, f"run.{extension}", gzip.compress(content, 1) if extension == "nii.gz" else content)
    found = or_refused(lambda: parcellate_volumes(path, atlas, max_memory_gib=0.1, min_coverage=0), path, damage)
    expected = plain_means(path, labelled)
    if found is not None and expected is not None:
        np.testing.assert_allclose(found.values_VR, expected, rtol=1e-5, atol=1e-9)


@cases(60)
@example(damage=whole)
@given(damage=DAMAGES)
def test_what_is_compressed_is_read_whole_or_not_at_all(tmp_path, atlas, values, damage):
    whole = gzip.compress(volume(values).to_bytes(), 1)
    path = spoil(tmp_path, "run.nii.gz", damage(whole))
    found = or_refused(lambda: parcellate_volumes(path, atlas, max_memory_gib=0.1, min_coverage=0), path, damage)
    if found is not None:
        spoil(tmp_path, "good.nii.gz", whole)
        good = parcellate_volumes(tmp_path / "good.nii.gz", atlas, max_memory_gib=0.1, min_coverage=0)
        np.testing.assert_array_equal(found.values_VR, good.values_VR)


@pytest.mark.parametrize("compressed", [False, True])
@cases(60)
@example(damage=whole)
@given(damage=DAMAGES)
def test_atlases_and_masks(tmp_path, labelled, values, compressed, damage):
    volume(values).to_filename(tmp_path / "run.nii")
    volume(labelled, "int16").to_filename(tmp_path / "good.nii")
    content = volume(labelled, "int16").to_bytes()
    content = gzip.compress(damage(content), 1) if compressed else damage(content)
    path = spoil(tmp_path, "broken.nii.gz" if compressed else "broken.nii", content)
    limits = {"max_memory_gib": 0.1, "min_coverage": 0.0}
    run = tmp_path / "run.nii"
    or_refused(lambda: parcellate_volumes(run, VolumeAtlas(path, NUMBERS), **limits), path, damage)
    found = or_refused(
        lambda: parcellate_volumes(run, VolumeAtlas(tmp_path / "good.nii", NUMBERS), mask=path, **limits), path, damage
    )
    if found is not None:
        inside = np.asarray(nibabel.load(path).dataobj) > 0
        for place, number in enumerate(NUMBERS):
            kept = inside.reshape(SHAPE) & (labelled == number)
            expected = values.astype(np.float32)[kept].mean(axis=0) if kept.any() else np.full(NUM_VOLUMES, np.nan)
            np.testing.assert_allclose(found.values_VR[:, place], expected, rtol=1e-5)


def models() -> BrainModelAxis:
    left = BrainModelAxis.from_surface(np.arange(20), 30, "CortexLeft")
    return left + BrainModelAxis.from_mask(np.ones((2, 2, 1), bool), name="thalamus_left", affine=np.eye(4))


@functools.cache
def cifti(kind: str) -> bytes:
    rng = np.random.default_rng(0)
    if kind == "dlabel":
        names = {0: ("???", (0, 0, 0, 0)), **{number: (name, (1, 1, 1, 1)) for number, name in enumerate(REGIONS, 1)}}
        axes, data = (LabelAxis(["x"], [names]), models()), rng.integers(0, 4, (1, len(models())))
    elif kind == "dtseries":
        axes = SeriesAxis(0, 0.8, NUM_VOLUMES), models()
        data = rng.uniform(1, 2, (NUM_VOLUMES, len(models())))
    else:
        parcels = [(name, BrainModelAxis.from_surface([at], 30, "CortexLeft")) for at, name in enumerate(REGIONS)]
        axes = SeriesAxis(0, 0.8, NUM_VOLUMES), ParcelsAxis.from_brain_models(parcels)
        data = rng.uniform(1, 2, (NUM_VOLUMES, 3))
    return nibabel.Cifti2Image(data.astype(np.float32), axes).to_bytes()


@pytest.mark.parametrize("kind", ["ptseries", "dtseries", "dlabel"])
@cases(70)
@example(damage=whole)
@given(damage=DAMAGES)
def test_cifti(tmp_path, kind, damage):
    path = spoil(tmp_path, f"broken.{kind}.nii", damage(cifti(kind)))
    good = {each: spoil(tmp_path, f"good.{each}.nii", cifti(each)) for each in ("dtseries", "dlabel") if each != kind}
    if kind == "ptseries":
        found = or_refused(lambda: read_parcel_series(path, 0.1), path, damage)
        if found is not None:
            np.testing.assert_array_equal(found[0], nibabel.load(path).get_fdata())
            assert found[0].shape[1] == len(found[1])
        return
    run, atlas = (path, good["dlabel"]) if kind == "dtseries" else (good["dtseries"], path)
    if kind == "dlabel":
        or_refused(lambda: read_label_table(path), path, damage)
    found = or_refused(lambda: parcellate_dense(run, atlas, NUMBERS, max_memory_gib=0.1, min_coverage=0), path, damage)
    if found is not None:
        assert found.values_VR.shape[1] == 3


def read_by_layout(path: Path, layout: str, labels: Path | None = None, **beside: Path):
    config = IngestConfig(layout=layout, region_labels=labels, repetition_time=0.8, max_memory_gib=0.1)
    return read_series(series_file(path, **beside), REGIONS, config)


@pytest.mark.slow
@cases(150)
@given(damage=DAMAGES, compression=st.sampled_from([None, "gzip"]))
def test_hdf5(tmp_path, damage, compression):
    table = np.random.default_rng(0).standard_normal((3, 40))
    with h5py.File(tmp_path / "good.h5", "w") as stream:
        stream.create_dataset("dataset", data=table, compression=compression, fletcher32=compression is not None)
    path = spoil(tmp_path, "broken.h5", damage((tmp_path / "good.h5").read_bytes()))
    found = or_refused(lambda: read_by_layout(path, "tcp"), path, damage)
    if found is not None:
        with h5py.File(path) as stream:
            np.testing.assert_array_equal(found.values_VR, np.asarray(stream["dataset"], float).T)


def table_text(num_volumes: int = 12) -> tuple[np.ndarray, bytes]:
    numbers = np.random.default_rng(0).standard_normal((num_volumes, 3))
    return numbers, pd.DataFrame(numbers).to_csv(sep="\t", header=False, index=False, float_format="%.4f").encode()


def plain_numbers(lines: bytes) -> list[list[float]]:
    return [
        [float("nan") if cell.strip() in {"", "n/a", "nan", "NaN"} else float(cell) for cell in line.split("\t")]
        for line in lines.decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["xcpd", "halfpipe"])
@cases(200)
@example(damage=whole)
@given(damage=DAMAGES)
def test_tables_of_numbers(tmp_path, layout, damage):
    text = table_text()[1]
    if layout == "xcpd":
        path = spoil(tmp_path, "run.tsv", damage("\t".join(REGIONS).encode() + b"\n" + text))
        lines = path.read_bytes().partition(b"\n")[2]
    else:
        spoil(tmp_path, "labels.tsv", b"1\ta\n2\tb\n3\tc\n")
        lines = damage(text)
        path = spoil(tmp_path, "run.tsv.gz", gzip.compress(lines))
    found = or_refused(lambda: read_by_layout(path, layout), path, damage)
    if found is not None:
        assert path.read_bytes().endswith(b"\n") or layout == "halfpipe"
        assert not np.isinf(found.values_VR).any()
        columns = list(range(3))
        if layout == "xcpd":  # columns may have changed places
            names = path.read_bytes().partition(b"\n")[0].decode("utf-8-sig").strip("\r").split("\t")
            columns = [REGIONS.index(name.strip()) for name in names]
        np.testing.assert_allclose(found.values_VR[:, columns], plain_numbers(lines), rtol=1e-15)


@cases(100)
@example(damage=whole)
@given(damage=DAMAGES)
def test_a_compressed_table_is_read_whole_or_not_at_all(tmp_path, damage):
    numbers, text = table_text()
    path = spoil(tmp_path, "run.tsv.gz", damage(gzip.compress(text)))
    found = or_refused(lambda: read_by_layout(path, "halfpipe"), path, damage)
    if found is not None:  # a file of two compressed parts is both, one after the other
        times = len(found.values_VR) // len(numbers)
        np.testing.assert_allclose(found.values_VR, np.tile(numbers, (times, 1)), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["outliers", "motion", "sidecar"])
@cases(100)
@example(damage=whole)
@given(damage=DAMAGES)
def test_what_lies_beside_a_series(tmp_path, which, damage):
    numbers, text = table_text()
    marks = np.zeros(14, int)
    marks[[2, 7]] = 1
    beside = {
        "outliers": ("framewise_displacement\n" + "\n".join(map(str, marks)) + "\n").encode(),
        "motion": ("framewise_displacement\nn/a\n" + "\n".join(["0.25"] * 13) + "\n").encode(),
        "sidecar": json.dumps({"RepetitionTime": 0.8, "FDMean": 0.2}).encode(),
    }
    names = {"outliers": "run_outliers.tsv", "motion": "run_motion.tsv", "sidecar": "run.json"}
    path = spoil(tmp_path, "run.tsv", "\t".join(REGIONS).encode() + b"\n" + text)
    written = {
        each: spoil(tmp_path, names[each], damage(content) if each == which else content)
        for each, content in beside.items()
    }
    read = lambda: read_by_layout(path, "xcpd", outliers=written["outliers"], motion=written["motion"])
    found = or_refused(read, tmp_path / "run", damage)  # whichever of the run's files disagrees with the others
    if found is None:
        return
    assert 0 < found.repetition_time < 100
    assert found.motion is None or 0 <= found.motion < np.inf
    kept = found.values_VR[found.kept_V]
    np.testing.assert_allclose(kept, numbers[: len(kept)], atol=1e-4)


@cases(150)
@given(damage=DAMAGES, form=st.sampled_from(["1\ta\n2\tb\n3\tc\n", "a\nb\nc\n", "index\tname\n1\ta\n2\tb\n3\tc\n"]))
def test_tables_of_regions(tmp_path, damage, form):
    path = spoil(tmp_path, "labels.tsv", damage(form.encode()))
    found = or_refused(lambda: read_region_table(path), path, damage)
    if found is not None:
        assert len(set(found.values())) == len(found) >= 2
        assert list(found) == sorted(found)
        assert all(name and name == name.strip() for name in found.values())


@pytest.mark.parametrize("which", ["tsv", "json"])
@cases(60)
@example(damage=whole)
@given(damage=DAMAGES)
def test_confounds(tmp_path, which, damage):
    rng = np.random.default_rng(0)
    names = [f"{kind}_{axis}{more}" for kind in ("trans", "rot") for axis in "xyz"
             for more in ("", "_derivative1", "_power2", "_derivative1_power2")]  # fmt: skip
    table = pd.DataFrame(rng.standard_normal((60, 24)), columns=names).assign(cosine00=rng.standard_normal(60))
    stem = "sub-1_task-rest_desc-confounds_timeseries"
    content = {"tsv": table.to_csv(sep="\t", index=False).encode(), "json": b'{"a": {"Method": "x"}}'}
    for kind, text in content.items():
        spoil(tmp_path, f"{stem}.{kind}", damage(text) if kind == which else text)
    image = spoil(tmp_path, "sub-1_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz", b"")
    values_VR = rng.standard_normal((60, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = or_refused(
            lambda: cleaned(values_VR, image, 0.8, IngestConfig(confounds="24p")), image, damage, f"{stem}.{which}"
        )
    if found is not None:
        assert found.shape == values_VR.shape
        assert not np.isinf(found).any()


def many_volumes(path: Path) -> Path:
    header = nibabel.Nifti2Header()
    header.set_data_dtype(np.uint8)
    header["dim"][:5] = [4, *SHAPE, 10**12]
    header["pixdim"][1:5] = [2, 2, 2, 1]
    header["vox_offset"], header["magic"] = 544, b"n+2\0\r\n\x1a\n"
    header.set_sform(AFFINE, 1)
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)) if path.suffix == ".gz" else header.binaryblock)
    return path


def large_table(path: Path) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(8):
            stream.write(b"0\t0\t0\n" * 2**20)
    return path


def large_dataset(path: Path) -> Path:
    with h5py.File(path, "w") as stream:
        stream.create_dataset("dataset", (3, 10**9), chunks=(3, 1000), dtype="f8")
    return path


def large_cifti(path: Path) -> Path:
    """A file that has 40 million volumes, none of which takes room on the disk."""
    num_volumes = 40_000_000
    content = cifti("ptseries").replace(b'NumberOfSeriesPoints="6"', f'NumberOfSeriesPoints="{num_volumes}"'.encode())
    longer = len(content) - len(cifti("ptseries"))
    header = nibabel.Nifti2Header(content[:540])
    header["dim"][5], header["vox_offset"] = num_volumes, header["vox_offset"] + longer
    size = int.from_bytes(content[544:548], "little") + longer
    path.write_bytes(header.binaryblock + content[540:544] + size.to_bytes(4, "little") + content[548:])
    os.truncate(path, int(header["vox_offset"]) + 4 * 3 * num_volumes)
    return path


@pytest.mark.parametrize(
    ("name", "make", "read"),
    [
        ("run.nii", many_volumes, None),
        ("run.nii.gz", many_volumes, None),
        ("run.tsv.gz", large_table, "halfpipe"),
        ("run.h5", large_dataset, "tcp"),
        ("run.ptseries.nii", large_cifti, "xcpd_cifti"),
    ],
)
def test_what_asks_for_too_much_memory_is_refused_before_it_is_taken(tmp_path, atlas, name, make, read):
    path = make(tmp_path / name)
    labels = spoil(tmp_path, "labels.tsv", b"1\ta\n2\tb\n3\tc\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"max_memory_gib|header promises"):
        if read is None:
            parcellate_volumes(path, atlas, max_memory_gib=0.05, min_coverage=0)
        else:
            config = IngestConfig(layout=read, region_labels=labels, max_memory_gib=0.05)
            read_series(series_file(path), REGIONS, config)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000
