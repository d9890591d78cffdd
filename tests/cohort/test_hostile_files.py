"""Small files that ask for all memory or time: each costs the person whose it is, the next one is read, and little memory is taken."""

from __future__ import annotations

import functools
import gzip
import resource
import time
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from nibabel.cifti2 import BrainModelAxis, ParcelsAxis, SeriesAxis

from dtb.cohort import first_files
from dtb.cohort.bids.files import PersonFiles
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.bounded import ReadingProcess
from dtb.cohort.connectomes.matrices import MatrixFile, read_matrix_regions
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series.atlas import load_small_volume
from dtb.cohort.series.cifti import read_parcel_names
from dtb.cohort.series.volumes import read_header
from dtb.cohort.workers import _read_one
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.taskset import TaskSet

CONFIG = IngestConfig(
    connectome="precomputed", matrix_transform="none", tasks=(), max_memory_gib=0.3, subject_timeout_seconds=100
)
MATRIX = np.ones((3, 3)) - np.eye(3)
NAMES = "ABC"
LARGEST_FILE, MOST_MIB, MOST_SECONDS = 6 * 2**20, 900, 30


def mat_of(folder: Path, name: str, **variables: object) -> Path:
    path = folder / f"{name}_connectivity.mat"
    scipy.io.savemat(path, variables)
    return path


def labels_of(folder: Path, name: str, cell: np.ndarray, which: int) -> Path:
    """Write labels, and let their cell of one, or the one within it, say that it has 2**31 - 1."""
    path = mat_of(folder, name, atlas_region_labels=cell, atlas_connectivity=MATRIX)
    content = bytearray(path.read_bytes())
    sizes = np.array([1, 1], "<i4").tobytes()
    at = [place for place in range(0, len(content), 8) if content[place : place + 8] == sizes][which]
    content[at : at + 8] = np.array([2**31 - 1, 1], "<i4").tobytes()
    path.write_bytes(content)
    return path


def cell_of_cells(folder: Path) -> Path:
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = np.array([["x"]], dtype=object)
    return labels_of(folder, "nested", cell, 1)


def many_labels(folder: Path) -> Path:
    return labels_of(folder, "many", np.array([["x"]], dtype=object), 0)


def sparse(folder: Path) -> Path:
    return mat_of(folder, "sparse", connectivity=scipy.sparse.csc_matrix(([1.0], ([0], [0])), shape=(60_000, 60_000)))


def cells_of_7_3(folder: Path) -> Path:
    """Many cells that refer to one and the same name."""
    path = folder / "cells_connectivity.mat"
    with h5py.File(path, "w") as stream:
        stream["atlas_connectivity"] = MATRIX
        name = stream.create_dataset("#refs#/a", data=np.full(4000, ord("x"), np.uint16), compression="gzip")
        stream.create_dataset("atlas_region_labels", (300_000,), h5py.ref_dtype, compression="gzip")
        stream["atlas_region_labels"][...] = name.ref
    return path


def one_cell_lines(folder: Path) -> Path:
    path = folder / "lines_relmat.tsv"
    path.write_text("0\n" * 130_000)
    return path


def extension_bomb(folder: Path, kind: type = nibabel.Nifti1Image) -> Path:
    """A header extension of 1.5 GiB of nothing, compressed."""
    image = kind(np.zeros((2, 2, 2, 3), np.float32), np.eye(4))
    image.header["vox_offset"] = 544 + 1536 * 2**20
    content = image.header.binaryblock + b"\1\0\0\0" + np.array([1536 * 2**20, 6], "<i4").tobytes()
    path = folder / f"bomb{kind.__name__}.nii.gz"
    nothing = gzip.compress(bytes(64 * 2**20), 9)  # a gzip file may have many parts
    path.write_bytes(gzip.compress(content) + 24 * nothing)
    return path


def exponent(folder: Path) -> Path:
    names = ["r0" + 9 * "x", "r1"]
    models = [(name, BrainModelAxis.from_surface(np.arange(2), 50, "CortexLeft")) for name in names]
    path = folder / "run.ptseries.nii"
    axes = (SeriesAxis(0, 2.0, 5), ParcelsAxis.from_brain_models(models))
    nibabel.Cifti2Image(np.ones((5, 2)), axes).to_filename(path)
    content = path.read_bytes()  # as long afterwards as before, for its header says how long it is
    path.write_bytes(content.replace(b'SeriesExponent="0"', b'SeriesExponent="9999999999"').replace(9 * b"x", b""))
    return path


read_regions = functools.partial(read_matrix_regions, config=CONFIG)
read_volumes = functools.partial(read_header, max_memory_gib=CONFIG.max_memory_gib)
HOSTILE = {
    "MATLAB, a cell of cells": (cell_of_cells, read_regions, "not a readable MATLAB file"),
    "MATLAB, a cell of many names": (many_labels, read_regions, "has the shape"),
    "MATLAB, sparse": (sparse, read_regions, r"has the shape .*max_memory_gib"),
    "MATLAB 7.3, cells": (cells_of_7_3, read_regions, "has the shape"),
    "relmat of lines of one cell": (one_cell_lines, read_regions, "line 1 has 1 values; expected 130000"),
    "NIfTI extension": (extension_bomb, read_volumes, "begins its data at byte"),
    "NIfTI-2 extension": (functools.partial(extension_bomb, kind=nibabel.Nifti2Image), read_volumes, "begins its data"),
    "atlas with an extension": (extension_bomb, load_small_volume, "begins its data at byte"),
    "CIFTI with an extension": (extension_bomb, read_parcel_names, "begins its data at byte"),
    "CIFTI SeriesExponent": (exponent, read_parcel_names, "SeriesExponent '9999999999'; expected -99 to 99"),
}


def taken_mib(_: Path) -> float:
    """Return the most memory that the process and its children have taken."""
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


@pytest.fixture(scope="module")
def reader():
    limits = {"seconds": MOST_SECONDS, "max_memory_gib": CONFIG.max_memory_gib}
    with ReadingProcess(**limits, imports=first_files.__name__) as process:
        yield process


@pytest.fixture(scope="module")
def taken_before(reader, tmp_path_factory):
    """What a process that has read nothing counts: the memory of the one that started it, too, which other tests may have filled."""
    path = tmp_path_factory.mktemp("nothing") / "nothing"
    path.touch()
    return next(reader.read(taken_mib, [path]))


@pytest.mark.parametrize("which", HOSTILE)
def test_it_is_refused_before_the_memory_is_taken_and_the_next_file_is_read(tmp_path, reader, taken_before, which):
    make, read, words = HOSTILE[which]
    path = make(tmp_path)
    assert path.stat().st_size < LARGEST_FILE
    (found,) = reader.read(read, [path])
    assert isinstance(found, InputDataError), found
    assert path.name in str(found)
    with pytest.raises(InputDataError, match=words):
        raise found
    assert len(str(found)) < 400
    good = mat_of(tmp_path, "good", atlas_region_labels=np.array(list(NAMES), dtype=object), atlas_connectivity=MATRIX)
    names, taken = (next(reader.read(each, [good])) for each in (read_regions, taken_mib))
    assert names == tuple(NAMES)
    assert taken < max(MOST_MIB, taken_before + 1024 * CONFIG.max_memory_gib)


@pytest.mark.parametrize("which", [which for which in HOSTILE if HOSTILE[which][1] is read_regions])
def test_the_person_is_set_aside_and_the_others_are_read(tmp_path, which):
    make, _, words = HOSTILE[which]
    good = mat_of(tmp_path, "good", atlas_region_labels=np.array(list(NAMES), dtype=object), atlas_connectivity=MATRIX)
    shared = tuple(NAMES), TaskSet(()).to_plain(), CONFIG
    begun = time.monotonic()
    reads = [
        _read_one(
            PersonJob(PersonFiles(label, (), (), matrices=(MatrixFile(path, ""),)), label, no_covariates()),
            shared,
            read_person,
        )
        for label, path in (("p1", make(tmp_path)), ("p2", good))
    ]
    assert time.monotonic() - begun < MOST_SECONDS
    assert reads[0].record is None
    with pytest.raises(ValueError, match=words):
        raise ValueError(" ".join([reads[0].reason, *(each.reason for each in reads[0].left_out)]))
    assert reads[1].record is not None
