"""A person whose data hold an infinity is set aside with a reason, and the others are trained on as if that person were not there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dtb.errors import StageError
from dtb.train.quarantine import quarantine, read_quarantine, refuse_if_too_many, unfit
from tests.shards.people import make_person


def with_run(person, **changes):
    run = dataclasses.replace(person.runs[0], **changes)
    return dataclasses.replace(person, runs=(run, *person.runs[1:]))


def with_trials(person, **changes):
    return with_run(person, trials=dataclasses.replace(person.runs[0].trials, **changes))


def spoilt(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def test_missing_data_are_no_fault():
    person = make_person(1)
    person = with_run(person, bold_VR=spoilt(person.runs[0].bold_VR, (0, 0), np.nan))
    assert unfit(person) is None
    assert unfit(make_person(2, num_runs=0)) is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: dataclasses.replace(p, connectome_E=spoilt(p.connectome_E, 3, np.inf)), "infinite edge"),
        (lambda p: dataclasses.replace(p, connectome_E=np.full_like(p.connectome_E, np.nan)), "no edge"),
        (lambda p: with_run(p, bold_VR=spoilt(p.runs[0].bold_VR, (2, 2), np.inf)), "run tAP: the BOLD"),
        (
            lambda p: with_trials(
                p, rt_seconds_J=np.full(6, np.nan), response_JA=np.ones((6, 2), bool), usable_J=np.ones(6, bool)
            ),
            "reaction time of a press",
        ),
        (lambda p: with_trials(p, pulse_value_Q=spoilt(p.runs[0].trials.pulse_value_Q, 0, np.nan)), "a stimulus"),
    ],
)
def test_fault_is_found_and_said(spoil, said):
    assert said in unfit(spoil(make_person(1)))


def test_table_gathers_people_and_survives_reading(tmp_path):
    quarantine(tmp_path, {"p1": "one reason"})
    assert quarantine(tmp_path, {"p0": "another"}) == {"p0": "another", "p1": "one reason"}
    assert read_quarantine(tmp_path) == {"p0": "another", "p1": "one reason"}


def test_too_many_stop_the_run(tmp_path):
    refuse_if_too_many(tmp_path, {"p1": "r"}, 10, 0.1)
    with pytest.raises(StageError, match=r"2 of 10.*max_quarantined_fraction 0\.1"):
        refuse_if_too_many(tmp_path, {"p1": "r", "p2": "r"}, 10, 0.1)
