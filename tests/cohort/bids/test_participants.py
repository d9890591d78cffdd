"""What `participants.tsv` says of people is taken as it stands or as unknown, and whatever is unknown is said with a count."""

import pytest

from dtb.cohort.bids.participants import no_covariates, read_covariates
from dtb.errors import InputDataError


def write(folder, *rows, header="participant_id\tage\tsex\tsite\tgroup"):
    (folder / "participants.tsv").write_text("\n".join([header, *rows]) + "\n")


def test_values_are_read_under_the_names_that_laboratories_use(tmp_path, capsys):
    write(tmp_path, "sub-01\t31.5\tF\t2\tpatient", "02\t0\tm\tA 1\tNone")
    assert read_covariates(tmp_path, ["01", "02"]) == {
        "01": {"age": 31.5, "sex": "F", "site": "2", "group": "patient", "family": None},
        "02": {"age": 0.0, "sex": "m", "site": "A 1", "group": "None", "family": None},
    }
    write(
        tmp_path, "sub-01\t40\tF\t35008\tCONTROL", header="participant_id\tAge\tgender\tScannerSerialNumber\tdiagnosis"
    )
    known = {"age": 40.0, "sex": "F", "site": "35008", "group": "CONTROL"}
    assert read_covariates(tmp_path, ["01"])["01"] == {**known, "family": None}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("column", ["family_id", "Family_ID", "rel_family_id", "Mother"])
def test_families_are_read_from_the_columns_of_known_cohorts_or_the_one_that_is_named(tmp_path, column):
    write(tmp_path, "01\t7\tF1", "02\t8\tF1", "03\t9\tn/a", header=f"participant_id\tage\t{column}")
    named = "mother" if column == "Mother" else ""
    found = read_covariates(tmp_path, ["01", "02", "03"], named)
    assert [found[who]["family"] for who in ("01", "02", "03")] == ["F1", "F1", None]
    with pytest.raises(InputDataError, match=r"family_column is 'twins', but .* has no such column"):
        read_covariates(tmp_path, ["01"], "twins")


@pytest.mark.parametrize("cell", ["n/a", "", " ", "NaN", "nan", "NA", "null", "-999", "-999.0", "999", "-9"])
def test_what_stands_for_unknown_is_unknown(tmp_path, capsys, cell):
    write(tmp_path, "\t".join(["sub-01", *[cell] * 4]))
    assert read_covariates(tmp_path, ["01"]) == {"01": no_covariates()}
    assert capsys.readouterr().err == ""


def test_ages_that_are_none_are_unknown_and_counted(tmp_path, capsys):
    rows = [f"sub-0{place}\t{age}\tF\ta\tb" for place, age in enumerate(["89+", "-1", "121", "120", "old"])]
    write(tmp_path, *rows)
    found = read_covariates(tmp_path, [f"0{place}" for place in range(5)])
    assert [person["age"] for person in found.values()] == [None, None, None, 120.0, None]
    assert [person["sex"] for person in found.values()] == ["F"] * 5
    said = " ".join(capsys.readouterr().err.split())
    assert "4 ages in participants.tsv are not numbers from 0 to 120 (for example '89+' in line 2)" in said


def test_a_participant_of_whom_the_table_says_two_things_is_refused_and_one_repeated_is_not(tmp_path):
    write(tmp_path, "sub-01\t30\tF\ta\tb", "sub-01\t30\tF\ta\tb")
    assert read_covariates(tmp_path, ["01"])["01"]["age"] == 30
    write(tmp_path, "sub-01\t30\tF\ta\tb", "sub-02\t30\tF\ta\tb", "sub-01\t31\tF\ta\tb")
    with pytest.raises(InputDataError, match=r"sub-01 occurs more than once.*line 4"):
        read_covariates(tmp_path, ["01"])


def test_a_table_without_participants_column_is_refused(tmp_path):
    write(tmp_path, "sub-01\t30", header="subject\tage")
    with pytest.raises(InputDataError, match=r"no column participant_id\. Found: subject, age"):
        read_covariates(tmp_path, ["01"])


def test_people_of_whom_nothing_is_known_are_counted(tmp_path, capsys):
    assert read_covariates(tmp_path, ["01"]) == {"01": no_covariates()}
    assert "nobody's age, sex, site and group are known" in " ".join(capsys.readouterr().err.split())
    write(tmp_path, "sub-1\t30\tF\ta\tb", "sub-10\t30\tF\ta\tb")
    found = read_covariates(tmp_path, ["001", "10"])
    assert [person["age"] for person in found.values()] == [None, 30.0]
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 2 people are not in participants.tsv (for example sub-001; the table has sub-1)" in said
