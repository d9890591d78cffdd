"""Reasons name nobody: neither by label nor by a folder, and no number in them is taken for a label."""

from pathlib import Path

import pytest

from dtb.cohort.bids.files import EventsFile, PersonFiles, SeriesFile
from dtb.cohort.bids.names import BidsName
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.connectomes.matrices import MatrixFile
from dtb.cohort.job import PersonJob
from dtb.cohort.without_label import without_label
from dtb.config import IngestConfig

HOME = Path("/data/Lab of John Smith, (old) & new")
NO_NAME = BidsName({}, "", "")


def said(label: str, text: str) -> str:
    raw, derived = HOME / "bids" / f"sub-{label}" / "func", HOME / "xcp d" / f"sub-{label}" / "func"
    files = PersonFiles(
        label,
        rest=(SeriesFile(derived / f"sub-{label}_task-rest_run-01_timeseries.tsv", NO_NAME),),
        events=(EventsFile(raw / f"sub-{label}_task-stroop_run-01_events.tsv", NO_NAME, 0, None),),
        matrices=(MatrixFile(derived / f"{label}.connectivity.mat", ""),),
    )
    config = IngestConfig(atlas=HOME / "atlas of Ann" / "toy_dseg.nii.gz")
    return without_label(text, PersonJob(files, "PSEUDO", no_covariates(), (HOME / "xcp d",)), config)


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("01", f"{HOME}/bids/sub-01/func/sub-01_task-stroop_run-01_events.tsv, line 01", "PSEUDO_task-stroop_run-01_events.tsv, line 01"),
        ("01", f"[Errno 13] denied: '{HOME}/xcp d/sub-01/func/other.json'", "[Errno 13] denied: 'other.json'"),
        ("01", f"[Errno 13] denied: '{HOME}/xcp d/sub-01'", "[Errno 13] denied: 'PSEUDO'"),
        ("01", f"{HOME}/atlas of Ann/toy_dseg.tsv", "toy_dseg.tsv"),
        ("01", "/tmp/joe/half.tsv and 3 mm/s and/or sub-012", "half.tsv and 3 mm/s and/or sub-012"),
        ("5", "0.5; 5 of 9 of sub-5, 5.0 s", "0.5; 5 of 9 of PSEUDO, 5.0 s"),
        ("5", "5.connectivity.mat has 5 rows", "PSEUDO.connectivity.mat has 5 rows"),
        ("A01", "A01.connectivity.mat, A01_x and (A01) of sub-A01; ses-A01, XA01", "PSEUDO.connectivity.mat, PSEUDO_x and (PSEUDO) of PSEUDO; ses-A01, XA01"),
    ],
)  # fmt: skip
def test_labels_and_folders_are_left_out_and_nothing_else(label, text, expected):
    assert said(label, text) == expected
