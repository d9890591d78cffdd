"""Whatever stands in a file of any shipped task, it is refused by name or every row is accounted for, and no number is silently wrong."""

import copy
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtb.errors import UserError
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task, shipped_tasks

NUM_ROWS = 8


def rows_of(task: str) -> list[dict[str, str]]:
    """Make eight good rows of a task, with two omissions where the task has them."""
    first = [i % 2 == 0 for i in range(NUM_ROWS)]
    silent = [i in {3, 6} for i in range(NUM_ROWS)]
    made = {
        "stroop": lambda i: {
            "onset": 4 * i + 2,
            "duration": 2.25,
            "trial_type": "con1" if first[i] else "inc2",
            "response_time": "n/a" if silent[i] else 0.5 + i / 50,
            "accuracy_binarized": float(not silent[i] and i != 5),
            "stimulus_text": "red",
            "stimulus_color": "red" if first[i] else "blue",
        },
        "hammer": lambda i: {
            "onset": 4 * i + 11,
            "duration": 1.9,
            "trial_type": "face" if i < 4 else "shape",
            "response_time": "n/a" if silent[i] else 0.7 + i / 50,
            "accuracy_binarized": float(not silent[i]),
            "cueStartTime": 8 if i == 0 else "n/a",
            "stimLeft": "circle.bmp",
            "stimTop": "circle.bmp" if first[i] else "oval-vertical.bmp",
            "stimRight": "oval-vertical.bmp",
        },
        "stopsignal": lambda i: {
            "onset": 4 * i + 1,
            "duration": 1.5,
            "trial_type": "STOP" if silent[i] else "GO",
            "ReactionTime": 0 if silent[i] else 0.45 + i / 50,
            "SubjectResponseButtonCode": 0 if silent[i] else (5 if first[i] else 28),
            "PresentedStimulusArrowDirection": "LEFT" if first[i] else "RIGHT",
            "StopSignalDelay": 0.25,
        },
        "taskswitch": lambda i: {
            "onset": 4 * i,
            "ProbeOnset": 4 * i + 1,
            "CSIDuration": 1,
            "ColorShapeProbe": "COLOR" if i < 4 else "S",
            "StimulusColor": "red" if first[i] else "green",
            "StimulusShape": "circle" if first[i] else "triangle",
            "ButtonPressCode": "n/a" if silent[i] else (5 if first[i] else 28),
            "ReactionTime": "n/a" if silent[i] else 0.8 + i / 50,
            "CorrectResp": int(not silent[i]),
            "Switching": "SWITCH" if i == 4 else "NOSWITCH",
        },
        "scap": lambda i: {
            "onset": 12 * i,
            "PresentationInterval": 2,
            "Delay": 3,
            "ResponseInterval": 3,
            "Load": (1, 3, 5, 7)[i % 4],
            "ExpectedResponse": 1 if first[i] else 2,
            "ButtonPressCode": "n/a" if silent[i] else (5 if first[i] else 28),
            "ReactionTime": "n/a" if silent[i] else 1 + i / 50,
        },
        "bart": lambda i: {
            "onset": 3 * i + 1,
            "reaction_time": 0.4 + i / 50,
            "trial_number": i // 4,
            "trial_type": "BALOON" if i < 4 else "CONTROL",
            "action": "CASHOUT" if i % 4 == 3 else "ACCEPT",
        },
        "nback": lambda i: {
            "onset": 3 * i + 10,
            "duration": 2,
            "trial_type": "0back" if i < 4 else "2back",
            "stim_type": ("target", "lure", "nontarget")[i % 3],
            "response": "n/a" if silent[i] else ("target" if first[i] else "nontarget"),
            "response_time": "n/a" if silent[i] else 0.8 + i / 50,
        },
        "emotion": lambda i: {
            "onset": 3 * i + 10,
            "duration": 2,
            "trial_type": "face" if i < 4 else "shape",
            "correct_response": "left" if first[i] else "right",
            "response": "n/a" if silent[i] else "left",
            "response_time": "n/a" if silent[i] else 0.8 + i / 50,
        },
    }[task]
    return [{name: str(value) for name, value in made(i).items()} for i in range(NUM_ROWS)]


def text_of(rows: list[dict[str, str]]) -> str:
    return "\n".join(["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]) + "\n"


def by_line(found) -> dict[int, tuple]:
    """Return what was read of each usable row: onset, reaction time, response."""
    trials = found.trials
    return {
        int(line): (trials.onset_seconds_J[j], np.nan_to_num(trials.rt_seconds_J[j]), *trials.response_JA[j].tolist())
        for j, line in enumerate(found.line_J)
        if trials.usable_J[j]
    }


def account_for(found) -> None:
    trials = found.trials
    assert found.num_rows == trials.usable_J.sum() + len(found.unusable) + found.num_not_trials
    assert len({row.row for row in found.unusable}) == len(found.unusable)
    assert all(row.reason for row in found.unusable)
    for values in (trials.onset_seconds_J, trials.window_seconds_J, trials.pulse_value_Q, trials.pulse_onset_seconds_Q):
        assert np.isfinite(values).all()
    assert (trials.window_seconds_J[trials.usable_J] > 0).all()


@pytest.mark.parametrize("task", shipped_tasks())
def test_good_rows_are_all_used(task, tmp_path):
    path = tmp_path / "good.tsv"
    path.write_text(text_of(rows_of(task)))
    found = read_trials(load_task(task), path)
    account_for(found)
    assert found.unusable == []
    assert found.trials.num_trials == NUM_ROWS
    silent = 0 if task == "bart" else 2
    assert (~found.trials.pressed_J).sum() == silent


junk = st.one_of(
    st.sampled_from(["", "n/a", "NULL", "NaN", "inf", "-inf", "1e400", "0", "-0.3", "1_0", "٣", "0x10", "1,5", "TRUE"]),
    st.sampled_from([" 0.5", "0.5 ", "5 ", "5.0", "999999", "red", "LEFT", "#N/A", "None", "--", "0.5s", "1e-3", "+2"]),
    st.text(st.characters(blacklist_characters="\t\n\r\0", blacklist_categories=["Cs"]), max_size=5),
    st.floats(-5, 60).map(lambda value: f"{value:.3f}"),
)
TIMES = {"onset", "duration", "ProbeOnset", "PresentationInterval", "Delay", "ResponseInterval", "CSIDuration"}
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@pytest.mark.slow
@pytest.mark.parametrize("task", shipped_tasks())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bad_cells_cost_their_rows_and_no_others(task, tmp_path, data):
    spec, good = load_task(task), rows_of(task)
    bad = copy.deepcopy(good)
    columns = [*good[0], *[spec.trials.reaction_time.column] * 2]
    touched = data.draw(
        st.lists(st.tuples(st.integers(0, NUM_ROWS - 1), st.sampled_from(columns)), min_size=1, max_size=4)
    )
    for row, column in touched:
        bad[row][column] = data.draw(junk)
    paths = tmp_path / "good.tsv", tmp_path / "bad.tsv"
    for path, rows in zip(paths, (good, bad), strict=True):
        path.write_text(text_of(rows), encoding="utf-8")
    before = by_line(read_trials(spec, paths[0]))
    try:
        found = read_trials(spec, paths[1])
    except UserError as error:
        named = "bad.tsv" in str(error)
        assert named
        return
    account_for(found)
    after = by_line(found)
    changed = {row + 2 for row, _ in touched}
    for line, read in after.items():
        if line not in changed:
            assert read == before[line]
        onset, seconds, *pressed = read
        cell = bad[line - 2][spec.trials.reaction_time.column].strip()
        if any(pressed):  # by an arithmetic of its own: a press has the time that its cell says, and no other
            assert NUMBER.fullmatch(cell)
            assert seconds == float(cell) > 0
        assert onset == pytest.approx(sum(float(bad[line - 2][name]) for name in spec.trials.onset.columns))
    if not TIMES & {column for _, column in touched} and spec.trials.correct.mapping is None:
        assert set(before) - changed <= set(after)


@pytest.mark.parametrize("task", shipped_tasks())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_refused_by_name_or_accounted_for(task, tmp_path, data):
    content = bytearray(text_of(rows_of(task)).encode())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "bad.tsv"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        found = read_trials(load_task(task), path)
    except UserError as error:
        named = "bad.tsv" in str(error)
        assert named
        return
    account_for(found)


def test_a_row_whose_condition_cannot_be_read_is_not_used_as_one_without_a_condition(tmp_path):
    rows = rows_of("scap")
    rows[0]["onset"], rows[0]["Load"] = " 0.5", "5 "
    path = tmp_path / "bad.tsv"
    path.write_text(text_of(rows), encoding="utf-8")
    found = read_trials(load_task("scap"), path)
    account_for(found)
    assert 2 not in by_line(found)
