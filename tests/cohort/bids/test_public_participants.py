"""Tables of participants as public data sets have them: known, or said of whom not, or refused with what is wrong."""

import json
import re
from pathlib import Path

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


def warnings(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def values(folder, text: str, name: str) -> list:
    (folder / "participants.tsv").write_text(text)
    return [each[name] for each in read_covariates(folder, ["01", "02", "03"]).values()]


@pytest.mark.parametrize(
    ("name", "cells", "expected", "said"),
    [
        ("sex", ("M", "m ", "F"), ["M", "M", "F"], "values of sex .* taken for one: 'M' and 'm'"),
        ("sex", ("m", "male", "female"), ["m", "m", "female"], "'m' and 'male'"),
        ("sex", ("weiblich", "W", "männlich"), ["weiblich", "weiblich", "männlich"], "'weiblich' and 'W'"),
        (
            "group",
            ("Control", "control\u00a0", "Patient"),
            ["Control", "Control", "Patient"],
            "'Control' and 'control'",
        ),
        ("site", ("1", "1.0", "01"), ["1", "1", "01"], "'1' and '1.0'"),
        ("family_id", ("12", "12.0", "F12"), ["12", "12", "F12"], "values of family .* '12' and '12.0'"),
        ("sex", ("M", "F", "n/a"), ["M", "F", None], ""),
    ],
)
def test_spellings_of_one_value_are_one_value(tmp_path, capsys, name, cells, expected, said):
    """`M` and `male` were two sexes to be taken out of figures, and twins of families `12` and `12.0` were no relatives."""
    rows = "".join(f"sub-0{place + 1}\t{cell}\n" for place, cell in enumerate(cells))
    found = values(tmp_path, f"participant_id\t{name}\n{rows}", "family" if name == "family_id" else name)
    assert found == expected
    assert bool(said) == bool(re.search(said or "Warning", warnings(capsys)))


AGES = "participant_id\tage\nsub-01\t107\nsub-02\t118\nsub-03\t131\n"


def test_ages_have_the_unit_that_their_sidecar_says(tmp_path, capsys):
    """ABCD has months: whoever was below ten was taken for 107 years old, the others for unknown."""
    assert values(tmp_path, AGES, "age") == [107, 118, None]
    (tmp_path / "participants.json").write_text(json.dumps({"age": {"Description": "at the scan", "Units": "Months"}}))
    assert values(tmp_path, AGES, "age") == pytest.approx([107 / 12, 118 / 12, 131 / 12])
    (tmp_path / "participants.json").write_text(json.dumps({"age": {"Units": "years"}}))
    assert values(tmp_path, AGES, "age") == [107, 118, None]
    (tmp_path / "participants.json").write_text("{")
    assert values(tmp_path, AGES, "age") == [107, 118, None]
    assert "participants.json cannot be read" in warnings(capsys)


def test_a_column_under_another_name_is_named(tmp_path, capsys):
    """`age_years` was passed over without a word, and so nobody's age was known."""
    assert values(tmp_path, "participant_id\tage_years\tsex\nsub-01\t20\tF\n", "age") == [None] * 3
    assert "no column age, and nobody's age is known. If age_years holds it, call the column age, in years" in warnings(
        capsys
    )
    values(tmp_path, "participant_id\tpage\tessex\nsub-01\t20\tF\n", "age")
    assert "no column" not in warnings(capsys)


def test_people_under_another_prefix_are_named(tmp_path, capsys):
    assert values(tmp_path, "participant_id\tage\nSUB-1\t20\nsub_02\t21\n", "age") == [None] * 3
    assert "; the table has SUB-1)" in warnings(capsys)


def test_participants_that_may_not_be_read_are_refused(tmp_path, monkeypatch):
    """They ended in a traceback; tests run as root too, who may read everything."""

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "participants.tsv").write_text(AGES)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputDataError, match=r"participants.tsv cannot be read \(Permission denied\)"):
        read_covariates(tmp_path, ["01"])
