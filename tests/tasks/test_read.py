"""Reading events: every row is a usable trial, not meant to be one, or listed with its reason, whatever the file."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtb.errors import InputDataError, TaskError, UserError
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task, task_from_mapping

SPEC = {
    "name": "flanker",
    "domain": "cognitive",
    "matches": ["flanker"],
    "alternatives": ["left", "right"],
    "trials": {
        "where": {"kind": ["GO"]},
        "onset": {"columns": {"onset": "s", "delay": "ms"}},
        "window": {"seconds": 1.5},
        "reaction_time": {"column": "rt", "unit": "ms", "omitted": ["n/a", 0]},
        "response": {"from_codes": {"column": "key", "codes": {"1": "left", "2": "right", "n/a": None}}},
        "correct": {"column": "arrow", "values": {"L": "left", "R": "right"}},
        "conditions": {"easy": {"arrow": ["L"]}},
    },
    "stimuli": [{"channels": ["l", "r"], "column": "arrow", "one_hot": ["L", "R"], "duration": {"seconds": 1}}],
}
HEADER = "onset\tdelay\tkind\tarrow\tkey\trt\n"


def read(tmp_path: Path, rows: str, **changes):
    path = tmp_path / "sub-1_task-flanker_events.tsv"
    path.write_text(HEADER + rows, encoding="utf-8")
    spec = task_from_mapping({**SPEC, "trials": {**SPEC["trials"], **changes}}, "here")
    return read_trials(spec, path)


def test_units_probe_onsets_omissions_and_conditions(tmp_path):
    read_here = read(
        tmp_path, "1\t500\tGO\tL\t1.0\t400\n5\t0\tGO\tR\tn/a\tn/a\n9\t0\tGO\tR\t1\t700\n12\t0\tNULL\tL\tn/a\t0\n"
    )
    trials = read_here.trials
    assert trials.onset_seconds_J.tolist() == [1.5, 5, 9]
    np.testing.assert_allclose(trials.rt_seconds_J, [0.4, np.nan, 0.7])
    assert trials.response_JA.tolist() == [[True, False], [False, False], [True, False]]
    assert trials.correct_JA.tolist() == [[True, False], [False, True], [False, True]]
    assert trials.condition_J.tolist() == [0, -1, -1]
    assert trials.pulse_onset_seconds_Q.tolist() == [1, 5, 9, 12]
    assert (read_here.num_rows, read_here.num_not_trials, read_here.unusable) == (4, 1, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("n/a\t0\tGO\tL\t1\t400", "onset: column 'onset' has 'n/a'"),
        ("1\tNaN\tGO\tL\t1\t400", "column 'delay' has 'NaN'"),
        ("1\t0\tGO\tL\t1\t-20", "a reaction time is positive"),
        ("1\t0\tGO\tL\t1\t1600", "the response window is 1.5 s"),
        ("1\t0\tGO\tL\t1\tfast", "neither a number nor listed under `omitted`"),
        ("1\t0\tGO\tL\t1\tn/a", "there is no reaction time"),
        ("1\t0\tGO\tL\tn/a\t300", "has no press"),
        ("1\t0\tGO\tL\t7\t300", "'7', which is not among the response codes"),
        ("1\t0\tGO\tX\t1\t300", "no alternative is correct"),
    ],
)
def test_each_kind_of_bad_row_is_reported_with_its_line_and_the_rest_is_used(tmp_path, row, reason):
    found = read(tmp_path, f"20\t0\tGO\tR\t2\t500\n{row}\n")
    assert [bad.row for bad in found.unusable] == [3]
    assert reason in found.unusable[0].reason
    assert found.trials.usable_J.sum() == 1
    assert not found.trials.response_JA[~found.trials.usable_J].any()


@pytest.mark.parametrize(("kind", "milliseconds"), [("invalid", -20), ("late", 1600)])
def test_the_rule_for_impossible_reaction_times_is_the_specifications(tmp_path, kind, milliseconds):
    rows = f"1\t0\tGO\tL\t1\t{milliseconds}\n"
    reaction_time = SPEC["trials"]["reaction_time"]
    found = read(tmp_path, rows, reaction_time={**reaction_time, kind: "omit"})
    assert found.trials.usable_J.all()
    assert not found.trials.pressed_J.any()
    with pytest.raises(TaskError, match=rf"line 2.*reaction_time.{kind}: omit"):
        read(tmp_path, rows, reaction_time={**reaction_time, kind: "error"})


def test_windows_reach_beyond_the_next_onset_unless_the_specification_says_not(tmp_path):
    rows = "2\t0\tGO\tL\t1\t300\n1\t0\tGO\tR\t2\t1200\n"
    found = read(tmp_path, rows)
    assert found.trials.onset_seconds_J.tolist() == [1, 2]
    assert found.trials.window_seconds_J.tolist() == [1.5, 1.5]
    assert found.trials.rt_seconds_J.tolist() == [1.2, 0.3]
    assert found.line_J.tolist() == [3, 2]
    cut = read(tmp_path, rows, until_next_onset=True)
    assert cut.trials.window_seconds_J.tolist() == [1, 1.5]
    assert [(bad.row, "the response window is 1 s" in bad.reason) for bad in cut.unusable] == [(3, True)]


def test_a_window_that_reaches_beyond_the_next_onset_by_rounding_only_ends_there(tmp_path):
    found = read(tmp_path, "1\t0\tGO\tL\tn/a\tn/a\n2.4999999\t0\tGO\tL\tn/a\tn/a\n")
    assert found.trials.window_seconds_J.tolist() == [2.4999999 - 1, 1.5]


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    path = tmp_path / "e.tsv"
    path.write_text("onset\tkind\n1\tGO\n")
    with pytest.raises(TaskError, match=r"no column 'delay'.*Found: onset, kind"):
        read_trials(task_from_mapping(SPEC, "here"), path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"onset duration\n1 2\n",
        b"onset,duration\n1,2\n",
        b"\n\n",
        b"\xff\xfe\x00",
        b"a\ta\n1\t2\n",
        HEADER.encode() + b"1\t0\tGO\n",
        HEADER.encode() + b"\0",
    ],
)
def test_a_broken_table_is_refused_in_words(tmp_path, content):
    path = tmp_path / "e.tsv"
    path.write_bytes(content)
    with pytest.raises(InputDataError, match=r"e\.tsv"):
        read_trials(task_from_mapping(SPEC, "here"), path)


cell = st.one_of(
    st.sampled_from(["1", "0", "n/a", "", "NULL", "NaN", "-3", "1e400", "GO", "L", "R", "2", " 2", "inf", "1_0", "٣"]),
    st.text(st.characters(blacklist_characters="\t\n\r", blacklist_categories=["Cs"]), max_size=6),
    st.floats(allow_nan=True).map(str),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(cell, min_size=5, max_size=7), max_size=8))
def test_whatever_the_cells_rows_are_accounted_for_or_the_file_is_refused(tmp_path, rows):
    path = tmp_path / "e.tsv"
    path.write_text(HEADER + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    try:
        found = read_trials(task_from_mapping(SPEC, "here"), path)
    except UserError as error:
        refused_by_name = "e.tsv" in str(error)
        assert refused_by_name
        return
    trials = found.trials
    assert found.num_rows == trials.usable_J.sum() + len(found.unusable) + found.num_not_trials
    assert np.isfinite(trials.onset_seconds_J).all()
    assert np.isfinite(trials.pulse_value_Q).all()
    pressed = trials.pressed_J
    assert (trials.rt_seconds_J[pressed] > 0).all()
    assert (trials.rt_seconds_J[pressed] <= trials.window_seconds_J[pressed]).all()
    assert np.isnan(trials.rt_seconds_J[~pressed]).all()


def test_an_error_of_three_alternatives_agrees_with_both_others(tmp_path):
    path = tmp_path / "e.tsv"
    path.write_text(
        "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n"
        "1\t3\tcon1\t0.5\t1.0\tgreen \tgreen\n4\t3\tinc1\t0.7\t0.0\tred\tblue\n8\t3\tinc1\tn/a\t0.0\tred\tblue\n"
    )
    trials = read_trials(load_task("stroop"), path).trials
    assert trials.response_JA.tolist() == [[False, True, False], [True, True, False], [False] * 3]
    assert trials.usable_J.all()


def test_a_counterbalanced_mapping_is_learnt_from_accuracy_even_of_someone_who_errs_mostly(tmp_path):
    header = "onset\tCSIDuration\tProbeOnset\tColorShapeProbe\tStimulusColor\tStimulusShape\tButtonPressCode\tReactionTime\tCorrectResp\tSwitching\n"
    # Under this person's mapping red is left; they press right for it nearly always and are marked wrong.
    rows = (
        "".join(
            f"{4 * i}\t1\t{4 * i + 1}\tCOLOR\tred\tcircle\t{28 if i % 5 else 5}\t0.6\t{0 if i % 5 else 1}\tSWITCH\n"
            for i in range(10)
        )
        + "40\t1\t41\tS\tgreen\tcircle\tn/a\tn/a\t0\tNOSWITCH\n"
    )
    path = tmp_path / "e.tsv"
    path.write_text(header + rows)
    found = read_trials(load_task("taskswitch"), path)
    assert found.trials.correct_JA[:10].tolist() == [[True, False]] * 10
    assert not found.trials.scored_J[10]
    assert "shape, circle is unclear" in found.notes[0]
    # Who is unsure of one rule was told the other all the same: every trial stays, and only what is unclear is not shown.
    assert found.unusable == []
    assert found.trials.usable_J.all()
    shown = {load_task("taskswitch").channels[channel] for channel in found.trials.pulse_channel_Q}
    assert shown == {"cue_color", "cue_shape", "color_left"}
    path.write_text(header + rows.replace("circle", "n/a", 1))
    assert [row.row for row in read_trials(load_task("taskswitch"), path).unusable] == [2]


def test_values_drawn_from_a_range_are_the_same_each_time_and_within_it(tmp_path):
    path = tmp_path / "e.tsv"
    path.write_text(
        "onset\ttrial_type\tresponse_time\taccuracy_binarized\tcueStartTime\tstimLeft\tstimTop\tstimRight\n"
        "11\tface\t0.5\t1\t8\ta.jpg\ta.jpg\tb.jpg\n14\tface\t0.5\t1\tn/a\ta.jpg\tb.jpg\tb.jpg\n"
    )
    first, second = (read_trials(load_task("hammer"), path).trials for _ in range(2))
    np.testing.assert_array_equal(first.pulse_value_Q, second.pulse_value_Q)
    faces = first.pulse_value_Q[first.pulse_channel_Q >= 2]
    assert ((faces <= 0.1) | (faces >= 0.9)).all()
    assert len(np.unique(faces)) == 12
    assert (first.pulse_channel_Q == 0).sum() == 1


REAL = os.environ.get("DTB_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="DTB_REAL_DATA does not point to the real data")
@pytest.mark.parametrize("task", ["stroop", "hammer"])
def test_tcp_counts_equal_an_independent_count(task):
    spec, paths = load_task(task), sorted(Path(REAL, "tcp").glob(f"sub-*/func/*_task-{task}*_events.tsv"))
    assert len(paths) == {"stroop": 354, "hammer": 174}[task]
    found = [read_trials(spec, path) for path in paths]
    table = pd.concat([pd.read_csv(path, sep="\t").assign(path=path.name) for path in paths])
    same_onset = table.onset.eq(table.groupby("path").onset.shift(-1))
    unusable = (table.response_time <= 0) | same_onset
    usable = table[~unusable]
    assert sum(each.num_rows for each in found) == len(table)
    assert sum(len(each.unusable) for each in found) == unusable.sum()
    assert sum(each.trials.usable_J.sum() for each in found) == len(usable)
    omissions = sum((each.trials.usable_J & ~each.trials.pressed_J).sum() for each in found)
    assert omissions == usable.response_time.isna().sum()
    right = sum((each.trials.response_JA & each.trials.correct_JA).any(axis=1).sum() for each in found)
    assert right == (usable.accuracy_binarized == 1).sum()
    seconds = sum(np.nansum(each.trials.rt_seconds_J) for each in found)
    assert seconds == pytest.approx(usable.response_time.sum())


@pytest.mark.skipif(not REAL, reason="DTB_REAL_DATA does not point to the real data")
@pytest.mark.parametrize("task", ["stopsignal", "scap", "taskswitch", "bart"])
def test_cnp_counts_equal_an_independent_count(task):
    spec, paths = load_task(task), sorted(Path(REAL, "cnp").glob(f"sub-*/func/*_task-{task}_events.tsv"))
    assert len(paths) == 8
    found = [read_trials(spec, path) for path in paths]
    table = pd.concat(
        [pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["n/a"]).assign(path=path.name) for path in paths]
    )
    if task == "stopsignal":
        table = table[table.trial_type != "NULL"].rename(columns={"SubjectResponseButtonCode": "ButtonPressCode"})
        table["ButtonPressCode"] = table.ButtonPressCode.replace(0, np.nan)
    if task == "bart":
        table = table[table.action != "EXPLODE"].rename(
            columns={"button_pressed": "ButtonPressCode", "reaction_time": "ReactionTime"}
        )
        same_onset = table.onset.eq(table.groupby("path").onset.shift(-1))
        table = table[~(table.ReactionTime <= 0) & table.onset.notna() & ~same_onset]
        assert sum(each.num_rows for each in found) == sum(len(path.read_text().splitlines()) - 1 for path in paths)
    known = table.ButtonPressCode.isna() | table.ButtonPressCode.isin([5, 28])
    usable = table[known]
    if task != "bart":
        assert sum(each.trials.num_trials for each in found) == len(table)
    assert sum(each.trials.usable_J.sum() for each in found) == len(usable)
    pressed = sum(each.trials.response_JA.sum(axis=0) for each in found)
    assert pressed.tolist() == [(usable.ButtonPressCode == 5).sum(), (usable.ButtonPressCode == 28).sum()]
    pressed_rt = usable.ReactionTime[usable.ButtonPressCode.notna()]
    assert sum(np.nansum(each.trials.rt_seconds_J) for each in found) == pytest.approx(pressed_rt.sum())


def cnp_says(table: pd.DataFrame, rule: str, column: str) -> pd.Series:
    """Say, by pandas, for which rows of which person it can be learnt what the feature in `column` asks for under `rule`."""
    asked = table[table.ColorShapeProbe.isin({"color": ["COLOR", "C"], "shape": ["SHAPE", "S", "FORMA", "F"]}[rule])]
    asked = asked[asked.ButtonPressCode.isin([5, 28])]
    left = (asked.ButtonPressCode == 5) == (asked.CorrectResp == 1)
    share = left.groupby([asked.path, asked[column]]).mean()
    learnt = share[(share >= 0.9) | (share <= 0.1)].index
    return pd.Series(pd.MultiIndex.from_arrays([table.path, table[column]]).isin(learnt), index=table.index)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="DTB_REAL_DATA does not point to the real data")
@pytest.mark.parametrize("task", ["stopsignal", "scap", "taskswitch", "bart"])
def test_counts_of_all_cnp_participants_equal_an_independent_count(task, tmp_path):
    with tarfile.open(Path(REAL, "cnp", "ds000030_cnp_all_subjects_events.tar.gz")) as archive:
        members = [member for member in archive.getmembers() if f"_task-{task}_" in member.name]
        archive.extractall(tmp_path, members, filter="data")
    spec, paths = load_task(task), sorted(tmp_path.rglob("*_events.tsv"))
    assert len(paths) == {"stopsignal": 266, "scap": 268, "taskswitch": 266, "bart": 263}[task]
    found = [read_trials(spec, path) for path in paths]
    table = pd.concat(
        [
            pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["n/a"]).assign(path=str(path))
            for path in paths
        ],
        ignore_index=True,
    )
    if task == "stopsignal":
        table = table.rename(columns={"SubjectResponseButtonCode": "ButtonPressCode"})
        trials = table[table.trial_type != "NULL"]
        silent, bad = (
            trials.ButtonPressCode == 0,
            ~trials.ButtonPressCode.isin([0, 5, 28]) | (trials.ReactionTime > 1.5),
        )
    elif task == "bart":
        trials = table[table.action != "EXPLODE"]
        again = trials.onset.eq(trials.groupby("path").onset.shift(-1))
        following = trials[trials.onset.notna()].groupby("path").onset.shift(-1) - trials.onset
        silent = trials.onset.isna() & False
        bad = (trials.reaction_time <= 0) | (trials.reaction_time > following) | trials.onset.isna() | again
    else:
        trials = table
        silent, bad = trials.ButtonPressCode.isna(), ~trials.ButtonPressCode.isin([5, 28])
        bad &= ~silent
    if task == "taskswitch":
        unclear = ~cnp_says(table, "color", "StimulusColor") | ~cnp_says(table, "shape", "StimulusShape")
        unsure = {path for path, each in zip(paths, found, strict=True) if each.notes}
        assert {str(path) for path in unsure} == set(table.path[unclear])
        assert len(unsure) >= 10
        assert all(each.trials.usable_J.any() for each in found)
    assert sum(each.num_rows for each in found) == len(table)
    assert sum(each.num_not_trials for each in found) == len(table) - len(trials)
    assert sum(len(each.unusable) for each in found) == bad.sum()
    assert sum(each.trials.usable_J.sum() for each in found) == (~bad).sum()
    omissions = sum((each.trials.usable_J & ~each.trials.pressed_J).sum() for each in found)
    assert omissions == (silent & ~bad).sum()
