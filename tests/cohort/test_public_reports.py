"""Trees as other pipelines and laboratories write them, after public reports: the right values, or a sentence that says what to do."""

import re

import pytest

from tests.cohort.test_person import ONSETS, Person


@pytest.fixture
def person(tmp_path) -> Person:
    return Person(tmp_path)


def test_a_run_without_a_usable_trial_is_left_out_with_the_commonest_reason(person):
    """EEGDash#257: decimal commas throughout."""
    path = person.events(ONSETS)
    path.write_text(path.read_text().replace("0.5", "0,5"))
    read = person.read()
    assert re.search(r"no usable trial: .* which is not a reaction time \(12 rows\)", read.reason)
    assert sum("decimal point, not a comma" in each.reason for each in read.left_out) == 12
