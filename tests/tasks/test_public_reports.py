"""Events as PsychoPy, E-Prime, jsPsych, R and spreadsheets write them, after public reports: the right values, or a sentence that says what to do."""

import re

import numpy as np
import pytest

from dtb.errors import InputDataError, TaskError
from dtb.tasks.check import check_task
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task, task_from_mapping

SPEC = {
    "name": "flanker",
    "domain": "cognitive",
    "matches": ["flanker"],
    "alternatives": ["left", "right"],
    "trials": {
        "where": {"kind": ["GO"]},
        "window": {"seconds": 1.5},
        "reaction_time": {"column": "rt", "omitted": ["n/a"]},
        "response": {"from_codes": {"column": "key", "codes": {"f": "left", " ": "right", "n/a": None, "None": None}}},
        "correct": {"column": "arrow", "values": {"L": "left", "R": "right"}},
        "conditions": {"left": {"arrow": ["L"]}, "right": {"arrow": ["R"]}},
    },
    "stimuli": [{"channels": ["l", "r"], "column": "arrow", "one_hot": ["L", "R"], "duration": {"seconds": 1}}],
}
HEADER = "onset\tduration\tkind\tarrow\tkey\trt"
ROWS = [f"{2 * place + 1}\t1\tGO\t{'LR'[place % 2]}\tf\t{0.4 + place / 50:.2f}" for place in range(6)]


def spec(**reaction_time):
    trials = {**SPEC["trials"], "reaction_time": {**SPEC["trials"]["reaction_time"], **reaction_time}}
    return task_from_mapping({**SPEC, "trials": trials}, "here")


def read(folder, text: str | bytes, **reaction_time):
    path = folder / "sub-1_task-flanker_events.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_trials(spec(**reaction_time), path)


def table(rows, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def changed(row: str) -> str:
    """Return good rows, the third of them exchanged."""
    return table([*ROWS[:2], row, *ROWS[3:]])


def is_right(found) -> bool:
    trials = found.trials
    return (
        not found.unusable
        and trials.onset_seconds_J.tolist() == [1, 3, 5, 7, 9, 11]
        and np.allclose(trials.rt_seconds_J, 0.4 + np.arange(6) / 50)
        and trials.response_JA[:, 0].all()
        and trials.condition_J.tolist() == [0, 1] * 3
    )


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + table(ROWS).encode(),  # psychojs#290, EEG-BIDS#78, mne-bids#1530: a byte order mark
        table(ROWS).replace("\n", "\r\n"),
        table([f"{place}\t{row}" for place, row in enumerate(ROWS)], "\t" + HEADER),  # bids-examples#36: pandas's index
        table([f"{place}\t{row}" for place, row in enumerate(ROWS)], "Unnamed: 0\t" + HEADER),  # nilearn#2795
        table([f"{row}\t\t" for row in ROWS], HEADER + "\t\t")
        + "\t\t\t\t\t\t\t\n",  # bids-specification#1105: empty columns
        table(reversed(ROWS)),
    ],
    ids=["byte order mark", "Windows", "index of pandas", "Unnamed: 0", "columns without a name", "out of order"],
)
def test_what_programs_add_changes_nothing(tmp_path, text):
    assert is_right(read(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table(ROWS).encode("utf-16"), "not UTF-8 text .UTF-16, as E-Prime.*Save it as UTF-8"),  # mne-bids#1593
        (
            table(ROWS).replace("L", "µ").encode("latin-1"),
            r"not UTF-8 text \(byte \d+\).*Save it as UTF-8",
        ),  # mne-bids#1594
        (table(ROWS).replace("\t", " "), "one column.*by tabs"),  # nistats#223
        (table(ROWS).replace("\t", ","), "one column.*by tabs"),
        ('"onset"\t"kind"\n1\t"GO"\n', "quotation marks.*quote = FALSE"),
        (
            table([f"{place}\t{row}" for place, row in enumerate(ROWS)]),
            "7 cells in line 2.*So has every row.*row.names = FALSE",
        ),
        (
            table([f"{row}\t" for row in ROWS]),
            "7 cells in line 2.*So has every row: a tab at its end",
        ),  # bids-examples#8
        (table([*ROWS[:3], ROWS[3][:9]]), "5 cells in line 5.*may have been cut"),  # exptools2#14
    ],
)
def test_what_is_no_table_is_refused_with_what_to_write(tmp_path, text, said):
    with pytest.raises(InputDataError, match=said):
        read(tmp_path, text)


def test_a_file_without_what_the_task_needs_is_refused_with_what_it_has(tmp_path):
    """bids-validator#392 (legacy): onset and duration alone; nilearn#3588: no trial_type."""
    with pytest.raises(TaskError, match="no column 'kind' and no column 'arrow'.*Found: onset, duration"):
        read(tmp_path, "onset\tduration\n1\t3\n2\t3\n")


def test_a_link_that_leads_nowhere_is_called_one(tmp_path):
    """pybids#631, datalad#3513: git-annex leaves a link where a file was not fetched."""
    path = tmp_path / "sub-1_task-flanker_events.tsv"
    path.symlink_to(".git/annex/objects/gone.tsv")
    with pytest.raises(InputDataError, match="a link to a file that is not there.*datalad get"):
        read_trials(spec(), path)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("5,0\t1\tGO\tL\tf\t0.44", "'5,0', which is not a number; write numbers with a decimal point"),  # mne-bids#1599
        ("5\t1\tGO\tL\tf\t0,44", "'0,44', which is neither.*; write numbers with a decimal point"),  # EEGDash#257
        ("126.000.000\t1\tGO\tL\tf\t0.44", "without separators of thousands"),  # bids-validator#1401
        ("00:00:05.0\t1\tGO\tL\tf\t0.44", "a time of day: write seconds from the run's first volume"),
        ("5\t1\tGO\tL\tf\t[0.44, 0.9]", "a list: write one value a row, for example the first press"),  # PsychoPy
        ("n/a\t1\tGO\tL\tf\t0.44", "column 'onset' has 'n/a'"),  # bids-specification#1943
        ("5\t1\tGO\tL\tf\tstandard", "'standard', which is neither a number nor listed"),  # bids-examples#397
        ("5\t1\tGO\tL\tf\t-0.1", "-0.1 s; a reaction time is positive"),  # bids-specification#697: a press too early
        ("5\t1\tGO\tL\tf\t-1", "-1 s; a reaction time is positive"),  # jsPsych#87: nobody pressed
        (
            "5\t1\tGO\tL\tnull\tnull",
            "'null', which is neither a number nor listed",
        ),  # realtimefmri#28: jsPsych's omission
        ("5\t1\tGO \tL\tf\t0.44", "column 'kind' has 'GO ', with spaces around it; set `strip_spaces: true`"),
        ("5\t1\tGO\tL \tf\t0.44", "column 'arrow' has 'L ', with spaces around it; set `strip_spaces: true`"),
    ],
)
def test_an_odd_cell_costs_its_row_and_is_said_with_what_to_write(tmp_path, cells, said):
    found = read(tmp_path, changed(cells))
    (row,) = found.unusable
    assert row.row == 4
    assert found.num_not_trials == 0
    assert re.search(said, row.reason)
    assert found.trials.usable_J.sum() == 5


def test_omissions_are_read_as_the_specification_says(tmp_path):
    """E-Prime writes 0, jsPsych null (once -1), PsychoPy None and nothing, pandas an empty cell or `n/a` with spaces (mne-bids#1599)."""
    silent = ["0", "null", "-1", "", "n/a  "]
    rows = [ROWS[0], *(f"{2 * place + 3}\t1\tGO\tL\tNone\t{cell}" for place, cell in enumerate(silent))]
    found = read(tmp_path, table(rows), omitted=["n/a", 0, -1, "null"])
    assert not found.unusable
    assert found.trials.pressed_J.tolist() == [True, *[False] * 5]


def test_the_space_bar_is_a_key(tmp_path):
    """jsPsych and PsychoPy's ioHub (psychopy#4318) write it as a space."""
    found = read(tmp_path, changed("5\t1\tGO\tL\t \t0.44"))
    assert found.trials.response_JA.tolist() == [[True, False]] * 2 + [[False, True]] + [[True, False]] * 3


@pytest.mark.parametrize(
    ("factor", "unit", "said"),
    [
        (1000, "s", r"longer than 450 s.*unit seems to be ms: set `trials.reaction_time.unit: ms`"),
        (1, "ms", r"shorter than 0.00045 s.*unit seems to be s: set `trials.reaction_time.unit: s`"),
        (1e6, "ms", r"longer than 450 s.*Do they count from the trial's onset"),
    ],
)
def test_reaction_times_of_another_unit_are_refused(tmp_path, factor, unit, said):
    """EEG-BIDS#108, bids-examples#191 (units); psychopy#6360 (`rt` from the beginning of the experiment)."""
    rows = [f"{row[: row.rindex(chr(9))]}\t{float(row.split(chr(9))[-1]) * factor!r}" for row in ROWS]
    with pytest.raises(TaskError, match=said):
        read(tmp_path, table(rows), unit=unit)
    if factor == 1000:
        assert is_right(read(tmp_path, table(rows), unit="ms"))
    assert read(tmp_path, table([rows[0]]), unit=unit).num_rows == 1  # one press says nothing of the unit


def test_a_row_that_stands_twice_counts_once(tmp_path):
    """nilearn#2668, #2680."""
    found = read(tmp_path, table([ROWS[0], *ROWS]))
    assert [row.reason for row in found.unusable] == ["another trial has the same onset, 1 s"]
    assert found.trials.usable_J.tolist() == [False, *[True] * 6]
    assert found.trials.pulse_onset_seconds_Q.tolist() == [1, 3, 5, 7, 9, 11]


def test_numbers_are_the_same_whatever_their_spelling(tmp_path):
    """A column with absent cells becomes one of decimals in pandas: 1 is written as 1.0."""
    codes = {"1": "left", "2": "right", "n/a": None}
    trials = {**SPEC["trials"], "response": {"from_codes": {"column": "key", "codes": codes}}}
    path = tmp_path / "sub-1_task-flanker_events.tsv"
    path.write_text(table([ROWS[0].replace("\tf\t", "\t1.0\t"), ROWS[1].replace("\tf\t", "\t2\t")]))
    found = read_trials(task_from_mapping({**SPEC, "trials": trials}, "here"), path)
    assert found.trials.response_JA.tolist() == [[True, False], [False, True]]


def test_task_check_says_the_same(tmp_path, capsys):
    path = tmp_path / "sub-1_task-stroop_events.tsv"
    path.write_bytes("onset\tduration\n1\t2\n".encode("utf-16"))
    with pytest.raises(TaskError, match="UTF-16, as E-Prime and Windows write it"):
        check_task("stroop", (path,))
    assert "Save it as UTF-8" in " ".join(capsys.readouterr().err.split())
    assert load_task("stroop").strip_spaces  # "green " is green there


def read_with(folder, text: str, **changes):
    path = folder / "sub-1_task-flanker_events.tsv"
    path.write_text(text)
    return read_trials(task_from_mapping({**SPEC, **changes}, "here"), path)


def lengths(unit: str) -> dict:
    """Return a specification's parts that read windows and durations from the column `duration`."""
    columns = {"columns": {"duration": unit}}
    return {
        "trials": {**SPEC["trials"], "window": columns},
        "stimuli": [{**SPEC["stimuli"][0], "duration": columns}],
    }


@pytest.mark.parametrize(
    ("duration", "unit", "said"),
    [
        ("1500", "s", "response windows .column 'duration'.*1500 s long or more.*window: {columns: {duration: ms}}"),
        ("1.5", "ms", "none of the response windows .column 'duration'.*window: {columns: {duration: s}}"),
        ("0", "s", "response windows .column 'duration'. are all 0 s long.*window: {seconds: 1.0}"),
    ],
)
@pytest.mark.parametrize("part", ["trials", "stimuli"])
def test_lengths_of_another_unit_are_refused(tmp_path, duration, unit, said, part):
    """A window of 1500 s leaves every trial waiting for the whole run, and such a stimulus stays: neither was said."""
    text = table([row.replace("\t1\t", f"\t{duration}\t", 1) for row in ROWS])
    if part == "stimuli":
        said = said.replace("response windows", "durations of stimulus l").replace("window", "duration")
    with pytest.raises(TaskError, match=said):
        read_with(tmp_path, text, **{part: lengths(unit)[part]})
    if duration == "1500":
        found = read_with(tmp_path, text, **lengths("ms"))
        assert is_right(found)
        assert found.trials.window_seconds_J.tolist() == [1.5] * 6


def test_a_value_in_other_capitals_is_not_passed_over(tmp_path):
    """Some blocks have `Go`, others `GO`: they were no trials, without a word, and conditions were lost in the same way."""
    found = read(
        tmp_path, table([row.replace("GO", "Go") if place in {1, 3} else row for place, row in enumerate(ROWS)])
    )
    assert [each.row for each in found.unusable] == [3, 5]
    assert (
        "column 'kind' has 'Go', the task specification 'GO'; write both alike, or list both"
        in found.unusable[0].reason
    )
    both = {**SPEC["trials"], "where": {"kind": ["GO", "Go"]}}
    rows = [row.replace("GO", "Go") if place in {1, 3} else row for place, row in enumerate(ROWS)]
    assert is_right(read_with(tmp_path, table(rows), trials=both))
    recoded = read_with(
        tmp_path,
        table(rows),
        derive={"what": {"recode": "kind", "values": {"GO": "go"}}},
        trials={**SPEC["trials"], "where": {"what": ["go"]}},
    )
    assert [each.row for each in recoded.unusable] == [3, 5]


def test_earlier_rows_are_earlier_in_time(tmp_path):
    """Files that are sorted by condition, as converters of FSL's three columns write them: the counts followed the lines."""
    changes = {
        "derive": {"seen": {"count_before": {"arrow": ["L"]}}},
        "stimuli": [{"channels": ["seen"], "column": "seen", "divide_by": 1, "duration": {"seconds": 0.5}}],
    }
    for rows in (ROWS, ROWS[::2] + ROWS[1::2], ROWS[::-1]):
        trials = read_with(tmp_path, table(rows), **changes).trials
        assert trials.pulse_onset_seconds_Q.tolist() == [3, 5, 7, 9, 11]
        assert trials.pulse_value_Q.tolist() == [1, 1, 2, 2, 3]


def test_two_absent_cells_are_not_the_same(tmp_path):
    changes = {
        "derive": {"chose_left": {"same": ["key", "left_key"]}},
        "trials": {
            **SPEC["trials"],
            "response": {
                "from_codes": {"column": "chose_left", "codes": {"same": "left", "different": "right", "n/a": None}}
            },
        },
    }
    rows = [f"{row}\tf" for row in ROWS]
    rows[2] = "5\t1\tGO\tL\tn/a\tn/a\tn/a"
    found = read_with(tmp_path, table(rows, f"{HEADER}\tleft_key"), **changes)
    assert not found.unusable
    assert found.trials.response_JA.any(axis=1).tolist() == [True, True, False, True, True, True]
