"""Tables of participants as public data sets have them: known, or said of whom not, or refused with what is wrong."""

import re

import pytest

from dtb.cohort.bids.participants import read_covariates
from dtb.errors import InputDataError

KNOWN = {"01": (20.0, "F"), "02": (30.0, "M")}


@pytest.mark.parametrize(
    ("text", "expected", "warned"),
    [
        (b"\xef\xbb\xbfparticipant_id\tage\tsex\nsub-01\t20\tF\nsub-02\t30\tM\n", KNOWN, ""),  # EEGDash#264
        (b"participant_id\tage\tsex\n01\t20\tF\n02\t30\tM\n", KNOWN, ""),  # datalad#2056, bids-examples#266
        (
            b"participant_id\tage\tsex\nsub-01\t20\tF\n\t\t\nsub-02\t30\tM\n\t\t\n",
            KNOWN,
            "",
        ),  # a spreadsheet's empty rows
        (
            b"participant_id\tage\tsex\nsub-1\t20\tF\nsub-2\t30\tM\n",  # bids-validator#1674, PyNIDM#441
            {"01": (None, None), "02": (None, None)},
            "2 of 2 people are not in participants.tsv .*the table has sub-1",
        ),
        (
            b"participant_id\tage\tsex\nsub-01\t18-38\tF\nsub-02\t30\tM\n",  # mne-bids-pipeline#600
            {"01": (None, "F"), "02": (30.0, "M")},
            "1 ages .* not numbers .*'18-38' in line 2",
        ),
    ],
)
def test_participants_are_known_or_it_is_said_of_whom_not(tmp_path, text, expected, warned, capsys):
    (tmp_path / "participants.tsv").write_bytes(text)
    found = read_covariates(tmp_path, ["01", "02"])
    assert {label: (each["age"], each["sex"]) for label, each in found.items()} == expected
    assert bool(warned) == bool(re.search(warned or "Warning", " ".join(capsys.readouterr().err.split())))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "participant_id\tparticipant_id\tage\nsub-01\tCQ2\t20\n",
            "'participant_id' more than once",
        ),  # mne-bids-pipeline#600
        (
            "participant_id\tsession\tage\nc1NT\t1\t3\nc1NT\t2\t6\n",
            r"sub-c1NT occurs more than once.*sessions\.tsv",
        ),  # pybids#474
        ("eid\tage\n1000083\t60\n", "no column participant_id. Found: eid, age"),  # UK Biobank's own tables
    ],
)
def test_a_table_of_participants_that_cannot_be_told_is_refused(tmp_path, text, reason):
    (tmp_path / "participants.tsv").write_text(text)
    with pytest.raises(InputDataError, match=reason):
        read_covariates(tmp_path, ["01"])


def test_participants_that_were_not_fetched_are_not_taken_for_none(tmp_path):
    """datalad#3513."""
    (tmp_path / "participants.tsv").symlink_to(".git/annex/objects/gone")
    with pytest.raises(InputDataError, match="participants.tsv is a link to a file that is not there"):
        read_covariates(tmp_path, ["01"])
