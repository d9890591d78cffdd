"""What laboratories do to events has a rule each, which a specification states: the table in docs/tasks.md, row by row."""

import copy
from pathlib import Path

import numpy as np
import pytest

from dtb.tasks.read import read_trials
from dtb.tasks.spec import task_from_mapping
from tests.tasks.test_read import SPEC

ROWS = {"onset": "1", "delay": "500", "kind": "GO", "arrow": "L", "key": "1", "rt": "400", "right": "1"}


def read(folder: Path, spec: dict, *rows: dict):
    path = folder / "sub-1_task-flanker_events.tsv"
    full = [{**ROWS, "onset": str(4 * place + 1), **row} for place, row in enumerate(rows)]
    lines = ["\t".join(full[0]), *("\t".join(row.values()) for row in full)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_trials(task_from_mapping(spec, "here"), path)


def changed(**trials):
    spec = copy.deepcopy(SPEC)
    spec["trials"] |= trials
    return spec


def reaction_time(**rule):
    return changed(reaction_time={"column": "rt", "unit": "ms", "omitted": ["n/a"], **rule})


@pytest.mark.parametrize("cell", ["0", "0.0", "-40", "-0.5"])
def test_a_time_that_is_not_positive_is_dropped_or_taken_for_an_omission(tmp_path, cell):
    dropped = read(tmp_path, reaction_time(), {"rt": cell})
    assert len(dropped.unusable) == 1
    assert "a reaction time is positive" in dropped.unusable[0].reason
    omitted = read(tmp_path, reaction_time(invalid="omit"), {"rt": cell})
    assert omitted.unusable == []
    assert not omitted.trials.pressed_J.any()


def test_zero_means_no_press_where_the_specification_says_so(tmp_path):
    found = read(tmp_path, reaction_time(omitted=["n/a", 0]), {"rt": "0", "key": "n/a"}, {"rt": "0.00", "key": "n/a"})
    assert found.unusable == []
    assert not found.trials.pressed_J.any()


@pytest.mark.parametrize("word", ["NULL", "NaN", "None", "-"])
def test_a_word_for_nothing_is_text_until_it_is_listed(tmp_path, word):
    plain = read(tmp_path, reaction_time(), {"rt": word, "key": "n/a"})
    assert f"{word!r}, which is neither a number nor listed under `omitted`" in plain.unusable[0].reason
    listed = read(tmp_path, reaction_time(omitted=["n/a", word]), {"rt": word, "key": "n/a"})
    assert listed.unusable == []
    no_trial = read(tmp_path, SPEC, {"kind": word, "rt": "n/a"}, {})
    assert (no_trial.num_not_trials, no_trial.trials.num_trials) == (1, 1)


def test_units_are_each_columns_own(tmp_path):
    found = read(tmp_path, SPEC, {})
    assert found.trials.onset_seconds_J.tolist() == [1.5]  # onset in s, delay in ms
    assert found.trials.rt_seconds_J.tolist() == [0.4]
    in_seconds = read(tmp_path, reaction_time(unit="s"), {"rt": "0.4"})
    assert in_seconds.trials.rt_seconds_J.tolist() == [0.4]


def test_the_time_counts_from_the_probe_where_the_onset_says_so(tmp_path):
    from_cue = read(tmp_path, changed(onset={"columns": {"onset": "s"}}), {})
    from_probe = read(tmp_path, SPEC, {})
    fixed = read(tmp_path, changed(onset={"columns": {"onset": "s"}, "seconds": 0.25}), {})
    pressed_at = [
        each.trials.onset_seconds_J[0] + each.trials.rt_seconds_J[0] for each in (from_cue, from_probe, fixed)
    ]
    np.testing.assert_allclose(pressed_at, [1.4, 1.9, 1.65])


def test_spaces_around_cells_matter_unless_they_are_to_be_stripped(tmp_path):
    row = {"arrow": "L ", "key": " 1"}
    assert len(read(tmp_path, SPEC, row).unusable) == 1
    found = read(tmp_path, {**SPEC, "strip_spaces": True}, row)
    assert found.unusable == []
    assert found.trials.response_JA.tolist() == [[True, False]]


@pytest.mark.parametrize(("correct", "error", "right"), [([1], [0], [True, False]), ([0], [1], [False, True])])
def test_accuracy_may_be_written_either_way_round(tmp_path, correct, error, right):
    accuracy = {"column": "right", "correct": correct, "error": error}
    found = read(tmp_path, changed(response={"from_accuracy": accuracy}), {"right": "1"}, {"right": "0"})
    assert (found.trials.response_JA == found.trials.correct_JA).all(axis=1).tolist() == right


@pytest.mark.parametrize("left_key", ["1", "2"])
def test_a_counterbalanced_mapping_is_learnt_from_presses_and_their_accuracy(tmp_path, left_key):
    """With the buttons the other way round for half the people, the same file text means the opposite answer."""
    mapping = {"by": ["arrow"], "accuracy": {"column": "right", "correct": [1], "error": [0]}, "min_agreement": 0.9}
    rows = [{"arrow": "L", "key": left_key, "right": "1"} for _ in range(9)]
    rows += [{"arrow": "L", "key": "12".replace(left_key, ""), "right": "0"}]
    found = read(tmp_path, changed(correct={"mapping": mapping}), *rows)
    assert found.trials.correct_JA.tolist() == [[left_key == "1", left_key == "2"]] * 10
    assert found.notes == []
    rows[0]["right"] = rows[1]["right"] = "0"
    unclear = read(tmp_path, changed(correct={"mapping": mapping}), *rows)
    assert not unclear.trials.scored_J.any()
    assert "unclear: 10 presses, at best 8 agree" in unclear.notes[0]


def test_repeated_rows_are_one_trial_and_no_brighter_for_that(tmp_path):
    found = read(tmp_path, SPEC, {"onset": "5"}, {"onset": "5"}, {"onset": "9"})
    assert [row.row for row in found.unusable] == [2]
    assert "another trial has the same onset" in found.unusable[0].reason
    assert found.trials.pulse_onset_seconds_Q.tolist() == [5, 9]
    assert found.trials.pulse_value_Q.tolist() == [1, 1]
