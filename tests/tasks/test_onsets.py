"""Whether a twin can see that a trial begins, and what `dtb task check` says where it cannot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dtb.cli.entry import exit_code
from dtb.tasks.onsets import onset_is_seen
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task, task_from_mapping
from tests.expand import expanded
from tests.tasks.test_encode import make_trials

SPEC = {
    "name": "faces",
    "domain": "cognitive",
    "matches": ["faces"],
    "alternatives": ["press"],
    "trials": {
        "window": {"columns": {"duration": "s"}},
        "reaction_time": {"column": "rt"},
        "response": {"from_codes": {"column": "key", "codes": {"1": "press", "n/a": None}}},
    },
    "stimuli": [
        {
            "channels": ["face", "scene"],
            "column": "kind",
            "one_hot": ["f", "s"],
            "duration": {"columns": {"duration": "s"}},
        }
    ],
}
KINDS = "ffsffffssf"


def events(folder: Path) -> Path:
    rows = [f"{2 * place}\t2\t{kind}\t1\t0.5" for place, kind in enumerate(KINDS)]
    path = folder / "sub-1_task-faces_events.tsv"
    path.write_text("\n".join(["onset\tduration\tkind\tkey\trt", *rows]) + "\n")
    return path


def pulses(onset, length, channel):
    return make_trials(
        onset,
        [1.0] * len(onset),
        [0.5] * len(onset),
        pulses=[(c, t, length, 1.0) for c, t in zip(channel, onset, strict=True)],
    )


def test_a_category_that_repeats_without_a_gap_hides_the_onset(tmp_path):
    seen_J = onset_is_seen(read_trials(task_from_mapping(SPEC, "here"), events(tmp_path)).trials)
    assert seen_J.tolist() == [place == 0 or KINDS[place] != KINDS[place - 1] for place in range(len(KINDS))]


@pytest.mark.parametrize(
    ("length", "seen"), [(2.0, False), (1.999, False), (2.001, False), (1.98, True), (1.0, True), (0.3, True)]
)
def test_a_gap_is_seen_if_it_is_longer_than_a_rounding(length, seen):
    assert onset_is_seen(pulses(2.0 * np.arange(5), length, [0] * 5))[1:].tolist() == [seen] * 4


def test_a_cue_before_the_onset_is_a_sign_of_it_and_one_for_the_trial_before_is_not():
    onset = 4.0 * np.arange(4)

    def with_cue(before):
        rows = [(0, 0.0, 16.0, 1.0), *[(1, t - before, 0.3, 1.0) for t in onset]]
        return onset_is_seen(make_trials(onset, [1.0] * 4, [0.5] * 4, pulses=rows))

    assert with_cue(1.0).all()
    assert with_cue(3.0).tolist() == [True, False, False, False]


def test_task_check_gives_the_share_and_what_it_says_to_write_mends_it(tmp_path, capsys):
    path, spec = events(tmp_path), tmp_path / "faces.yaml"
    spec.write_text(yaml.safe_dump(SPEC))
    assert exit_code(["task", "check", str(spec), str(path)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "5 of 10 trials (50%) begin while the stimuli stay as they are" in said
    line = said[said.index("- {channels:") :]
    mended = {**SPEC, "stimuli": [*SPEC["stimuli"], *yaml.safe_load(line[: line.index("constant: 1}") + 12])]}
    spec.write_text(yaml.safe_dump(mended))
    assert exit_code(["task", "check", str(spec), str(path)]) == 0
    assert "cannot see" not in capsys.readouterr().err
    assert onset_is_seen(read_trials(load_task(spec), path).trials).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "repeats"), [("gradcpt_face", "target_nontarget"), ("gradcpt_scene", "target_nontarget")]
)
def test_in_contiguous_real_tasks_it_is_the_repetitions_that_are_not_seen(real_data, task, repeats):
    spec = load_task(real_data / "tasks" / f"{task}.yaml")
    label = spec.matches[0]
    for path in sorted(expanded(real_data, "song").glob(f"bids/sub-*/func/*{label}*_events.tsv"))[:5]:
        read = read_trials(spec, path)
        kind = pd.read_csv(path, sep="\t")[repeats].to_numpy()[read.line_J - 2]
        again_J = np.append(False, kind[1:] == kind[:-1]) & read.trials.usable_J
        # A frame that was shown a little later leaves a gap of some milliseconds.
        assert np.mean(onset_is_seen(read.trials) == ~again_J) > 0.98
