"""Numbers that nobody can have are found behind right checksums, and cost the person who has them only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dtb.shards.possible import ImpossibleRecordError, impossible, sizes_of_tasks
from dtb.shards.read import open_cohort
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from tests.shards.people import DESCRIPTION, make_person, write_people

TASKSET = TaskSet((load_task("hammer"),)).to_plain()
CHANGES = {
    "pulse_channel": {"pulse_channel_Q": np.int16(30000)},
    "condition": {"condition_J": np.int16(30000)},
    "window_seconds": {"window_seconds_J": -2.0},
    "pulse_duration_seconds": {"pulse_duration_seconds_Q": 1e7},
    "onset_seconds": {"onset_seconds_J": -1e7},
}


def changed(person, **first):
    run = person.runs[0]
    arrays = {name: getattr(run.trials, name).copy() for name in first}
    for name, value in first.items():
        arrays[name][1] = value
    runs = (dataclasses.replace(run, trials=dataclasses.replace(run.trials, **arrays)), *person.runs[1:])
    return dataclasses.replace(person, runs=runs)


@pytest.mark.parametrize("name", CHANGES)
def test_a_number_out_of_range_is_named_with_its_row_and_its_person(tmp_path, name):
    def spoil(person):
        return changed(person, **CHANGES[name]) if person.pseudonym == "p0001" else person

    description = dataclasses.replace(DESCRIPTION, taskset=TASKSET)
    write_people(tmp_path, 3, task="hammer", spoil=spoil, description=description)
    cohort = open_cohort(tmp_path)
    with pytest.raises(ImpossibleRecordError, match=rf"p0001, run hammerAP: {name} has \S+ in row 2; "):
        cohort.record("p0001")
    assert [record.pseudonym for record in cohort.records(["p0000", "p0002"])] == ["p0000", "p0002"]


def test_a_run_of_ten_million_seconds_is_impossible_and_absent_numbers_are_not():
    person, tasks = make_person(1, task="hammer"), sizes_of_tasks(TASKSET)
    assert impossible(person, tasks) is None
    assert impossible(changed(person, onset_seconds_J=np.nan), tasks) is None
    long = dataclasses.replace(person, runs=(dataclasses.replace(person.runs[0], duration_seconds=1e7),))
    assert "duration_seconds has 1e+07" in str(impossible(long, tasks))
    other = dataclasses.replace(person, runs=(dataclasses.replace(person.runs[0], task="n-back"),))
    assert "no task 'n-back'" in str(impossible(other, tasks))
