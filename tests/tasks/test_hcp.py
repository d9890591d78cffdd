"""The Human Connectome Project's EVs and E-Prime tables become events that the shipped tasks read, and nothing is made up on the way."""

from pathlib import Path

import numpy as np
import pytest

from dtb.errors import InputDataError, OutputInUseError
from dtb.tasks.hcp import convert_hcp, read_ev
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task

START = 134532  # milliseconds on E-Prime's clock when the scanner started


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(str(row.get(name, "")) for name in columns) for row in rows]
    path.write_text("\t".join(columns) + "\n" + "\n".join(lines) + "\n")


def write_ev(path: Path, events: list[tuple[float, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{onset:.3f}\t{duration:g}\t1\n" for onset, duration in events))


def write_wm(root: Path, subject: str, direction: str, *, table: bool = True, target_code: int = 2) -> Path:
    """Write two blocks of three trials in HCP's layout: 0-back faces and 2-back tools; a hit, an error, and an omission in each."""
    run = f"tfMRI_WM_{direction}"
    evs = root / subject / "MNINonLinear" / "Results" / run / "EVs"
    rows: list[dict[str, object]] = [{"Procedure[Block]": "TRSyncPROC", "SyncSlide.OnsetTime": START}]
    clock, kinds = 8.0, {"cor": [], "err": [], "nlr": []}
    other = 5 - target_code
    for load, cue, stimulus in (("0", "CueTarget", "Face"), ("2", "Cue2Back", "Tools")):
        name = {"Face": "faces", "Tools": "tools"}[stimulus]
        write_ev(evs / f"{load}bk_{name}.txt", [(clock, 27.5)])
        block = {"Procedure[Block]": f"Cue{load}BackPROC", "BlockType": f"{load}-Back", "StimType": stimulus}
        rows.append({**block, f"{cue}.OnsetTime": START + round(1000 * clock)})
        clock += 2.5
        kinds = {"cor": [], "err": [], "nlr": []}
        for kind, target, code in (
            ("cor", "Target", target_code),
            ("err", "Lure", target_code),
            ("nlr", "NonLure", ""),
        ):
            rows.append(
                {
                    **block,
                    "Procedure[Block]": "TrialsPROC",
                    "TargetType": target,
                    "Stim.OnsetTime": START + round(1000 * clock),
                    "Stim.RESP": code,
                    "Stim.CRESP": target_code if target == "Target" else other,
                    "Stim.ACC": int(kind == "cor"),
                    "Stim.RT": 812 if code else 0,
                }
            )
            kinds[kind].append((clock, 2.5))
            clock += 2.5
        for kind, events in kinds.items():
            write_ev(evs / f"{load}bk_{kind}.txt", events)
    if table:
        eprime = root / subject / "unprocessed" / "3T" / run / "LINKED_DATA" / "EPRIME"
        write_table(eprime / "WM_run2_TAB.txt", rows)
    return evs


def write_emotion(root: Path, subject: str, *, table: bool = True) -> None:
    results = root / subject / "MNINonLinear" / "Results" / "tfMRI_EMOTION_RL"
    rows: list[dict[str, object]] = [{"Procedure": "InitialTR", "SyncSlide.OnsetTime": START}]
    clock = 8.0
    for kind, name in (("shape", "neut"), ("face", "fear")):
        rows.append({"Procedure": f"{kind.title()}PromptPROC", f"{kind}.OnsetTime": START + round(1000 * clock)})
        clock += 3.0
        write_ev(results / "EVs" / f"{name}.txt", [(clock, 18.0)])
        for place in range(6):
            code = ("2", "3", "")[place % 3]
            times = {"StimSlide.OnsetTime": START + round(1000 * clock), "StimSlide.RT": 640 if code else 0}
            rows.append(
                {"Procedure": "TrialsPROC", "StimSlide.RESP": code, "StimSlide.CRESP": "23"[place // 3], **times}
            )
            clock += 3.0
    if table:
        write_table(results / "EMOTION_run1_TAB.txt", rows)


def read(out: Path, task: str, spec: str):
    (path,) = sorted(out.glob(f"sub-*/func/*_task-{task}_*_events.tsv"))
    return read_trials(load_task(spec), path)


@pytest.mark.parametrize("target_code", [2, 3])
def test_working_memory_runs_become_trials_with_presses_and_times(tmp_path, target_code):
    write_wm(tmp_path / "HCP_1200", "100307", "LR", target_code=target_code)
    convert_hcp(tmp_path / "HCP_1200", tmp_path / "bids")
    assert [path.name for path in sorted((tmp_path / "bids").rglob("*_events.tsv"))] == [
        "sub-100307_task-wm_dir-LR_run-1_events.tsv"
    ]
    found = read(tmp_path / "bids", "wm", "nback")
    trials = found.trials
    assert (found.num_rows, found.num_not_trials, found.unusable) == (8, 2, [])
    assert trials.onset_seconds_J.tolist() == [10.5, 13, 15.5, 20.5, 23, 25.5]
    np.testing.assert_allclose(trials.rt_seconds_J, [0.812, 0.812, np.nan] * 2)
    assert trials.response_JA.tolist() == [[True, False], [True, False], [False, False]] * 2  # target, target, none
    assert trials.correct_JA.tolist() == [[True, False], [False, True], [False, True]] * 2
    assert trials.condition_J.tolist() == [1, 1, 1, 0, 0, 0]


def test_emotion_runs_become_trials_whose_side_is_the_buttons(tmp_path):
    write_emotion(tmp_path / "HCP_1200", "100307")
    convert_hcp(tmp_path / "HCP_1200", tmp_path / "bids")
    found = read(tmp_path / "bids", "emotion", "emotion")
    trials = found.trials
    assert (trials.num_trials, found.num_not_trials, found.unusable) == (12, 2, [])
    assert trials.condition_J.tolist() == [1] * 6 + [0] * 6
    assert (~trials.pressed_J).sum() == 4
    right = (trials.response_JA & trials.correct_JA).any(axis=1)
    assert right.tolist() == [True, False, False, False, True, False] * 2


def test_evs_alone_show_what_was_seen_and_make_up_no_press(tmp_path, capsys):
    write_wm(tmp_path / "HCP_1200", "100307", "LR", table=False)
    write_emotion(tmp_path / "HCP_1200", "100307", table=False)
    convert_hcp(tmp_path / "HCP_1200", tmp_path / "bids")
    assert "2 of them have EVs alone" in " ".join(capsys.readouterr().out.split())
    found = read(tmp_path / "bids", "wm", "nback")
    assert len(found.unusable) == found.num_rows == 6
    assert not found.trials.usable_J.any()
    assert not found.trials.pressed_J.any()
    assert found.trials.pulse_onset_seconds_Q.tolist() == [10.5, 13, 15.5, 20.5, 23, 25.5]
    blocks = read(tmp_path / "bids", "emotion", "emotion").trials
    assert blocks.pulse_duration_seconds_Q.tolist() == [18, 18]
    assert blocks.pulse_channel_Q.tolist() == [1, 0]


def test_a_table_and_evs_of_different_runs_are_refused_and_the_others_converted(tmp_path, capsys):
    evs = write_wm(tmp_path / "HCP_1200", "100307", "LR")
    write_wm(tmp_path / "HCP_1200", "100408", "RL")
    write_ev(evs / "0bk_cor.txt", [(12.0, 2.5)])
    convert_hcp(tmp_path / "HCP_1200", tmp_path / "bids")
    shown = capsys.readouterr()
    assert "0back at 12.000 s, where WM_run2_TAB.txt has nothing" in " ".join(shown.err.split())
    assert "1 of 2 task runs" in shown.out
    assert not (tmp_path / "bids" / "sub-100307").exists()


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputDataError, match=r"no WM or EMOTION run: looked for SUBJECT/MNINonLinear"):
        convert_hcp(tmp_path, tmp_path / "bids")
    ev = tmp_path / "fear.txt"
    ev.write_text("1.0 18 1\n2.0 eighteen 1\n")
    with pytest.raises(InputDataError, match=r"line 2.*expected onset, duration and height"):
        read_ev(ev)
    write_emotion(tmp_path / "HCP", "100307")
    table = next((tmp_path / "HCP").rglob("*_TAB.txt"))
    table.write_text(table.read_text().replace(str(START), "", 1))
    with pytest.raises(InputDataError, match="None of the 1 task runs"):
        convert_hcp(tmp_path / "HCP", tmp_path / "bids")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").write_text("")
    with pytest.raises(OutputInUseError, match="not empty"):
        convert_hcp(tmp_path / "HCP", tmp_path / "used")
