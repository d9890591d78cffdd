"""What a data set says of itself goes with the cohort, and what it does not say is not made up."""

import json

import pytest

from dtb.cohort.bids.source import DESCRIPTION_FILE, read_source
from dtb.shards.manifest import CohortDescription, Manifest


def test_name_license_and_doi_are_read_and_nothing_else(tmp_path):
    said = {
        "Name": " Some\ncohort ",
        "License": "CC0",
        "DatasetDOI": "doi:10.1/x",
        "Authors": ["A. Person"],
        "Funding": [],
    }
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(said))
    assert read_source(tmp_path) == {"Name": "Some cohort", "License": "CC0", "DatasetDOI": "doi:10.1/x"}


@pytest.mark.parametrize("text", [None, "[]", "{}", '{"Name": 3}', '{"Name": ""}'])
def test_a_tree_that_does_not_say_gives_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / DESCRIPTION_FILE).write_text(text)
    assert read_source(tmp_path) == {}


def test_a_damaged_description_is_told(tmp_path, capsys):
    (tmp_path / DESCRIPTION_FILE).write_text("{")
    assert read_source(tmp_path) == {}
    assert DESCRIPTION_FILE in capsys.readouterr().err


def test_the_manifest_keeps_it_and_cohorts_without_it_keep_their_hash(tmp_path):
    counts = dict.fromkeys(("subjects", "runs", "trials", "usable_trials", "volumes", "absent_edges"), 0)
    without = Manifest(CohortDescription(("a", "b"), {}, {}, "0" * 64), (), counts)
    assert "source" not in without.to_plain()["description"]
    named = CohortDescription(("a", "b"), {}, {}, "0" * 64, {"Name": "Some cohort"})
    manifest = Manifest(named, (), counts)
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert manifest.cohort_hash != without.cohort_hash
