"""Runs that a pipeline put together count once: their parts are read, and the combination is named among what was left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dtb.cohort.bids.names import combined_runs
from tests.cohort.test_person import REPETITION_TIME, Person


class Combined(Person):
    """Somebody with two rest runs, and the two put together under a third name."""

    def __init__(self, root: Path, parts: tuple[str, str], whole: str) -> None:
        super().__init__(root)
        for path in self.func.glob("*task-rest_*"):
            path.unlink()
        self.parts = [self.series(parts[0], 120), self.series(parts[1], 200)]
        tables = [path.read_text().splitlines(keepends=True) for path in self.parts]
        self.whole = self.series(whole, 3)
        self.whole.write_text("".join([*tables[0], *tables[1][1:]]))


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (("rest_run-1", "rest_run-02"), "rest"),
        (("rest_dir-AP_run-1", "rest_dir-PA_run-2"), "rest"),
        (("rest_dir-AP_run-1", "rest_dir-AP_run-2"), "rest_dir-AP"),
        (("rest_dir-AP", "rest_dir-PA"), "rest"),
        (("rest_acq-mb_run-1", "rest_acq-mb_run-2"), "rest_acq-mb"),
        (("rest_run-1", "rest_run-2"), "rest_run-all"),
        (("rest_run-1", "rest_run-2"), "rest_run-1+2"),
    ],
)
def test_rest_counts_once(tmp_path, parts, whole):
    person = Combined(tmp_path, parts, whole)
    read = person.read(rest_runs="separate")
    assert read.record.covariates["rest_seconds"] == pytest.approx(320 * REPETITION_TIME)
    values = [np.loadtxt(path, skiprows=1) for path in person.parts]
    z_KE = np.array([np.arctanh(np.corrcoef(v_VR, rowvar=False)[np.triu_indices(3, 1)]) for v_VR in values])
    np.testing.assert_allclose(read.record.connectome_E, np.average(z_KE, axis=0, weights=[120, 200]), atol=1e-6)
    assert len(read.record.rest_runs) == 2
    (left_out,) = [each for each in read.left_out if each.run == person.whole.name.replace("sub-sue", "p")]
    assert "concatenated by the pipeline" in left_out.reason


def test_a_combination_whose_parts_are_not_there_is_read(tmp_path):
    person = Combined(tmp_path, ("rest_run-1", "rest_run-2"), "rest")
    for path in person.parts:
        path.unlink()
    read = person.read()
    assert read.record.covariates["rest_seconds"] == pytest.approx(320 * REPETITION_TIME)
    assert not read.left_out


def test_a_run_that_was_scanned_is_no_combination(tmp_path):
    person = Combined(tmp_path, ("rest_run-2", "rest_run-3"), "rest")
    (person.raw / "sub-sue_task-rest_bold.nii.gz").touch()
    read = person.read()
    assert read.record.covariates["rest_seconds"] == pytest.approx(640 * REPETITION_TIME)


def test_the_parts_and_the_combination_may_lie_in_two_trees(tmp_path):
    person = Combined(tmp_path, ("rest_run-1", "rest_run-2"), "rest")
    other = tmp_path / "concatenated" / "sub-sue" / "func"
    other.mkdir(parents=True)
    for path in person.func.glob("*task-rest_space*"):
        shutil.move(path, other / path.name)
    person.more = (tmp_path / "concatenated",)
    read = person.read()
    assert read.record.covariates["rest_seconds"] == pytest.approx(320 * REPETITION_TIME)


def test_a_second_run_alone_is_no_part_of_a_whole():
    first, second = (("task", "rest"),), (("task", "rest"), ("run", "2"))
    assert combined_runs([first, second]) == []
    assert combined_runs([first, second, (("task", "rest"), ("run", "3"))]) == [first]
    assert combined_runs([first, (("task", "rest"), ("run", "1"))]) == [first]
