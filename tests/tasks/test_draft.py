"""A draft reads a task's events as the file that a person wrote for them, where the events say it; where not, it asks."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from dtb.cli.entry import exit_code
from dtb.tasks.draft import draft_of
from dtb.tasks.draft.command import label_of, notes_on, write_events
from dtb.tasks.exports.table import read_events
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.tables import read_tsv
from scripts.studies.draft_agreement import agreement
from tests.tasks.exported import session, write_all

FORMATS = ("psychopy.csv", "eprime.txt", "eprime-without-mark.txt", "eprime-table.txt", "jspsych.json", "jspsych.csv")
REAL = {  # the set, and part of the name, of the events that each task file of the open data sets is for
    "emotionalconflict": ("qtab", "emotionalconflict"),
    "gradcpt_face": ("song", "gradCPTface"),
    "gradcpt_scene": ("song", "gradCPTscene"),
    "hedge_flanker": ("hedge", "flanker"),
    "hedge_stroop": ("hedge", "stroop"),
    "nodeap_choice": ("nodeap", "choice"),
    "selfreg_stop": ("selfreg", "stopSignal"),
    "selfreg_stroop": ("selfreg", "stroop"),
    "sro_choice_rt": ("sro", "choicereactiontime"),
    "sro_simon": ("sro", "simon"),
    "sro_stroop": ("sro", "stroop"),
}
SHIPPED = {"scap": "cnp", "stopsignal": "cnp", "taskswitch": "cnp", "hammer": "tcp", "stroop": "tcp"}


@functools.cache
def events_of(real_data: Path, name: str) -> Path:
    """Expand the events of a set's first people, without their series."""
    spec = importlib.util.spec_from_file_location("expand_events", real_data / "expand.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.series = lambda *_, **__: None
    out = Path(tempfile.mkdtemp(prefix=f"dtb-{name}-events-"))
    module.EXPAND[name](real_data / name, out, 2)
    return out


@pytest.mark.parametrize("task", [*REAL, *SHIPPED])
def test_a_draft_reads_real_events_as_the_file_that_a_person_wrote(task: str, real_data: Path) -> None:
    if task in REAL:
        name, part = REAL[task]
        paths = sorted(events_of(real_data, name).rglob(f"*task-{part}_*events.tsv"))[:8]
        written = load_task(real_data / "tasks" / f"{task}.yaml")
    else:
        paths = sorted((real_data / SHIPPED[task]).glob(f"sub-*/func/*task-{task}*events.tsv"))[:4]
        written = load_task(task)
    draft = draft_of([read_tsv(path) for path in paths], written.matches[0])
    found = agreement(written, draft.spec, paths)
    assert found.trials > 50
    assert (found.same_trials, found.same_presses, found.same_omissions) == (
        found.trials,
        found.presses,
        found.omissions,
    )
    assert found.same_right == found.scored
    assert found.more_trials <= 0.01 * found.trials
    asked = {question.key for question in draft.questions if question.is_open}
    assert found.same_alternative == found.presses or "trials.response" in asked
    assert {"trials.window", "stimuli"} <= asked
    shown = [channel for channel in draft.spec.channels if "success" in channel or "failure" in channel]
    assert shown == []


def test_a_stop_signal_is_shown_when_it_comes_and_not_before(real_data: Path) -> None:
    paths = sorted(events_of(real_data, "selfreg").rglob("*task-stopSignal_*events.tsv"))
    draft = draft_of([read_tsv(path) for path in paths], "stopSignal")
    (signal,) = (stimulus for stimulus in draft.spec.stimuli if stimulus.where)
    assert signal.onset.columns == {"onset": "s", "SS_delay": "s"}
    assert not any(stimulus.column == "trial_type_kind" for stimulus in draft.spec.stimuli)
    assert draft.spec.stimuli_depend_on_responses


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory):
    trials = session(seed=1)
    return trials, write_all(tmp_path_factory.mktemp("exports"), trials)


@pytest.mark.parametrize("name", FORMATS)
def test_what_programs_export_becomes_events_with_the_presses_that_happened(name: str, exports, tmp_path: Path) -> None:
    happened, files = exports
    path, start = files[name]
    exported = read_events(path)
    assert exported.clock
    assert not any("Jane" in cell for cells in exported.table.columns.values() for cell in cells)
    draft = draft_of([exported.table], label_of([path], [exported]), notes_on([exported]))
    assert "onset" in {question.key for question in draft.questions if question.is_open}
    spec = draft.spec
    trials = read_trials(spec, write_events(exported.table, tmp_path)).trials
    assert trials.usable_J.all()
    assert trials.num_trials == len(happened)
    np.testing.assert_allclose(trials.onset_seconds_J, [each.onset - start for each in happened], atol=0.002)
    np.testing.assert_allclose(
        trials.rt_seconds_J, [each.seconds if each.key else np.nan for each in happened], atol=0.001
    )
    places = [trials.response_JA[place].argmax() for place, each in enumerate(happened) if each.key]
    keys = [each.key for each in happened if each.key]
    assert len(set(zip(places, keys, strict=True))) == 2
    assert trials.scored_J.all()
    assert trials.right_J.tolist() == [each.is_right for each in happened]
    assert set(spec.conditions) == {"congruent", "incongruent"}
    assert spec.contrast == {"incongruent": 1, "congruent": -1}


def test_the_command_writes_a_file_that_is_read_back_and_overwrites_none(
    exports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, files = exports
    given = ["task", "draft", str(files["psychopy.csv"][0]), "--out", str(tmp_path)]
    assert exit_code(given) == 0
    printed = capsys.readouterr().out
    assert "60 usable trials, 4 of them without a press" in printed
    assert "trials.window: How long does a press count?" in printed
    path = tmp_path / "flanker.yaml"
    assert path.read_text().startswith("# A draft")
    assert "#   1. onset: Onsets count from the start of the experiment" in path.read_text()
    assert load_task(path).alternatives == ("left", "right")
    (events,) = (tmp_path / "flanker_events").iterdir()
    assert exit_code(["task", "check", str(path), str(events)]) == 0
    assert exit_code(given) == 2
    assert "is there already, and was left as it is" in capsys.readouterr().err


def write(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join(["\t".join(row.split()) for row in (header, *rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("onset\tduration\tword\n0\t1\tred\n2\t1\tblue\n", "No column looks like reaction times"),
        ("hello\n", "is neither an events.tsv nor PsychoPy's .csv"),
        ('[{"trial_type": "x", "time_elapsed": 3', "seems to be jsPsych's .json or .csv, but is not readable"),
    ],
)
def test_files_without_a_task_are_refused_in_words(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("a_events.tsv" if "\t" in content else "a.txt")
    path.write_text(content)
    assert exit_code(["task", "draft", str(path), "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_a_copy_of_the_press_is_shown_to_nobody(tmp_path: Path) -> None:
    rows = [
        f"{3 * n} 1 {('a', 'b')[n % 2]} {('big', 'small')[n // 2 % 2]} {('big', 'small')[n // 2 % 2]} 0.{500 + 7 * n}"
        for n in range(40)
    ]
    table = read_tsv(write(tmp_path / "x_events.tsv", "onset duration side choice trial_type response_time", *rows))
    draft = draft_of([table], "x")
    assert {stimulus.column for stimulus in draft.spec.stimuli} == {"side"}
    assert draft.spec.alternatives == ("big", "small")


def test_the_file_says_what_the_draft_says(tmp_path: Path) -> None:
    rows = [f"{3 * n} 1 {('go', 'nogo')[n % 5 == 0]} {0 if n % 5 == 0 else 400 + n}" for n in range(40)]
    table = read_tsv(write(tmp_path / "x_events.tsv", "onset duration kind rt", *rows))
    draft = draft_of([table], "go-nogo")
    assert yaml.safe_load(draft.to_yaml()) == draft.values
    assert draft.values["trials"]["reaction_time"]["unit"] == "ms"
    assert draft.values["trials"]["correct"]["withhold"] == {"kind": ["nogo"]}
