"""Small trees after public bug reports, which earlier versions read wrongly; each comes with a README that says what is right."""

import tarfile

import numpy as np
import pytest

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.job import PersonJob, PersonRead
from dtb.cohort.person import read_person
from dtb.cohort.series import timing
from dtb.cohort.series.read import read_region_names
from dtb.config import IngestConfig
from dtb.people.glm import run_contrast
from tests.cohort.bids.test_layouts import TASKS

TOY_ATLAS = "tpl-MNI152NLin2009cAsym_atlas-Toy_dseg.nii.gz"


@pytest.fixture
def case(real_data, tmp_path):
    """Read everybody of a case, by label; the test is skipped where the cases are absent."""

    def read(name: str, atlas: str | None = None, **options) -> dict[str, PersonRead]:
        archive = real_data.parent / "cases" / f"{name}.tar.gz"
        if not archive.is_file():
            pytest.skip(f"{archive} is not there")
        with tarfile.open(archive) as stream:
            stream.extractall(tmp_path, filter="data")
        root = tmp_path / name
        if atlas is not None:
            options["atlas"] = root / atlas
        config = IngestConfig(tasks=("stroop",), **options)
        trees = (root / "deriv",)
        people = index_people(root / "bids", trees, config, TASKS)
        regions = read_region_names(people[0].rest[0], trees, config)
        return {
            each.label: read_person(PersonJob(each, "p", no_covariates(), trees), regions, TASKS, config)
            for each in people
        }

    return read


def test_dense_series_with_confounds_are_read(case):
    found = case("cifti_confounds", "ras.dlabel.nii", layout="fmriprep_cifti")
    assert len(found) == 2
    assert all(read.record is not None for read in found.values())


def test_rest_that_was_put_together_counts_once(case):
    read = case("combine_runs")["P02comb"]
    assert read.record.covariates["rest_seconds"] == 640
    assert {each.run.split("_space")[0] for each in read.left_out} == {"p_task-rest", "p_task-stroop"}


def test_series_in_a_folder_of_their_task_are_read(case):
    found = case("halfpipe_real", layout="halfpipe", halfpipe_feature="corrMatrix1")
    assert len(found) == 2
    assert all(read.record is not None for read in found.values())


def test_the_contrast_is_right_where_slice_timing_was_corrected(case):
    found = case("starttime", TOY_ATLAS, layout="fmriprep", confounds="none")
    for label, first_seconds in (("S1none", 0.0), ("S2start", 1.0)):
        (run,) = found[label].record.runs
        assert run.first_volume_seconds == first_seconds
        usable_V = np.isfinite(run.bold_VR[:, 7])
        spec = TASKS.specs[0]
        weights_V = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), usable_V)
        assert weights_V @ run.bold_VR[:, 7] == pytest.approx(9.98, abs=0.05)


def test_the_sidecar_is_taken_against_the_header(case):
    found = case("tr_header", TOY_ATLAS, layout="fmriprep")
    seconds = {label: read.record.covariates["rest_seconds"] for label, read in found.items()}
    assert len(set(seconds.values())) == 1
    for label in ("F02tr1", "F04ms2s"):
        assert {text for _, text in found[label].notices} >= {timing.HEADER_DIFFERS}
