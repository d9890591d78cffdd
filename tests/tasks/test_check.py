"""`dtb task check` says what was understood, in numbers that add up, and every row that was not."""

import numpy as np
import pytest
import yaml

from dtb.cli.entry import exit_code
from dtb.errors import StageError, TaskError
from dtb.tasks.check import check_task, histogram, tally_of
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task, shipped_tasks, task_to_plain

HEADER = "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n"
ROWS = "1\t3\tcon1\t0.5\t1\tred\tred\n4\t3\tinc1\t0.7\t0\tred\tblue\n8\t3\tinc1\tn/a\t0\tred\tblue\n12\t3\tinc1\t-1\t1\tred\tblue\n"


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "sub-1_task-stroop_events.tsv"
    path.write_text(HEADER + ROWS)
    return path


def test_counts_add_up(events):
    spec = load_task("stroop")
    tally = tally_of(spec, [read_trials(spec, events)])
    assert (tally.rows, tally.trials, tally.unusable, tally.not_trials) == (4, 3, 1, 0)
    assert (tally.omissions, tally.correct, tally.scored) == (1, 1, 3)
    assert tally.responses == {
        ("congruent", "red"): 1,
        ("incongruent", "red or green"): 1,
        ("incongruent", "no press"): 1,
    }


def test_everything_is_shown_and_a_file_that_cannot_be_read_does_not_hide_the_others(events, tmp_path, capsys):
    other = tmp_path / "other.tsv"
    other.write_text("onset\n1\n")
    with pytest.raises(StageError, match=r"1 of 2 events files were refused"):
        check_task("stroop", (events, other))
    assert exit_code(["task", "check", "stroop", str(events), str(other)]) == 1
    assert exit_code(["task", "check", "stroop", str(events)]) == 0
    shown = capsys.readouterr()
    assert "3 usable trials, 1 of them without a press" in shown.out
    assert "  trials begin from 1.0 to 12.0 s, one every 4 s (median)" in shown.out
    assert "  sub-1_task-stroop_events.tsv\n    line 5: column 'response_time' has -1 s" in shown.out
    assert "no column 'duration'" in shown.err
    with pytest.raises(TaskError, match="None of the 1 events files"):
        check_task("stroop", (other,))


def test_every_unusable_row_is_named_however_many_there_are(tmp_path, capsys):
    path = tmp_path / "sub-1_task-stroop_events.tsv"
    rows = [f"{4 * i}\t3\tcon1\t{'fast' if i % 2 or i > 80 else 0.5}\t1\tred\tred\n" for i in range(100)]
    path.write_text(HEADER + "".join(rows))
    check_task("stroop", (path,))
    said = capsys.readouterr().out
    told = said[said.index("lines ") + 6 : said.index(": column 'response_time' has 'fast'")]
    named = set()
    for part in told.split(", "):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == {i + 2 for i in range(100) if i % 2 or i > 80}


def test_it_says_where_stimuli_depend_on_what_the_person_did(events, capsys):
    check_task("stroop", (events,))
    assert "stimuli_depend_on_responses" not in capsys.readouterr().out
    assert [name for name in shipped_tasks() if load_task(name).stimuli_depend_on_responses] == ["bart", "stopsignal"]
    adaptive = events.parent / "adaptive.yaml"
    adaptive.write_text(yaml.safe_dump({**task_to_plain(load_task("stroop")), "stimuli_depend_on_responses": True}))
    check_task(str(adaptive), (events,))
    assert "depends on what the person did before (stimuli_depend_on_responses)" in capsys.readouterr().out


def test_a_histogram_counts_every_press():
    rng = np.random.default_rng(0)
    lines = histogram(np.concatenate([rng.gamma(5, 0.15, 5000), [35.0]])).splitlines()
    assert sum(int(line.split()[-1]) for line in lines[1:] if line.split()[-1].isdecimal()) == 5001
    assert len(lines) == 25


def test_balloons_grow_with_the_pumps_before_and_bursts_are_no_choices(tmp_path):
    path = tmp_path / "sub-1_task-bart_events.tsv"
    path.write_text(
        "onset\treaction_time\ttrial_number\ttrial_type\taction\n"
        "1\t0.5\t1\tBALOON\tACCEPT\n4\t0.6\t1\tBALOON\tACCEPT\n8\t0\t1\tBALOON\tEXPLODE\n12\t-0.1\t2\tBALOON\tACCEPT\n"
        "16\t3.5\t2\tBALOON\tCASHOUT\nn/a\tn/a\t3\tCONTROL\tACCEPT\n"
    )
    spec = load_task("bart")
    found = read_trials(spec, path)
    trials = found.trials
    size = trials.pulse_channel_Q == spec.channels.index("size")
    assert trials.pulse_onset_seconds_Q[size].tolist() == [4, 16]
    np.testing.assert_allclose(trials.pulse_value_Q[size], [1 / 12, 1 / 12])
    assert (trials.pulse_channel_Q == spec.channels.index("burst")).sum() == 1
    assert trials.response_JA[trials.usable_J].tolist() == [[True, False], [True, False], [False, True]]
    assert not trials.scored_J.any()
    assert [row.row for row in found.unusable] == [5, 7]
    assert found.num_not_trials == 1


def test_line_ends_without_line_feeds_are_named(events):
    events.write_bytes(events.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(TaskError, match="carriage returns alone"):
        check_task("stroop", (events,))


@pytest.mark.parametrize(("factor", "is_said"), [(1, False), (1000, True)])
def test_onsets_in_milliseconds_are_asked_about(tmp_path, capsys, factor, is_said):
    path = tmp_path / "sub-1_task-stroop_events.tsv"
    rows = [f"{(2 + 6 * place) * factor}\t3\tcon1\t0.5\t1\tred\tred\n" for place in range(4)]
    header = "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n"
    path.write_text(header + "".join(rows))
    check_task("stroop", [path])
    assert ("if these are milliseconds" in " ".join(capsys.readouterr().out.split())) is is_said
