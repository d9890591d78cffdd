"""Every open set with events, ingested: its trials, presses and omissions are those that pandas counts in the files by the set's own rules."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtb.cohort.ingest import ingest
from dtb.config import ClusterConfig, Config, IngestConfig
from dtb.fleet.derivatives import write_relmat
from dtb.shards.read import open_cohort
from tests.expand import expanded

Rule = Callable[[pd.DataFrame], tuple[pd.Series, pd.Series]]
pytestmark = [pytest.mark.cluster, pytest.mark.slow]
NUM_PEOPLE = 3


def rows_of(press: pd.Series, omission: pd.Series, table: pd.DataFrame, onset: str = "onset"):
    """Take rows that begin before the first volume for neither."""
    inside = pd.to_numeric(table[onset], errors="coerce") >= 0
    return press & inside, omission & inside


def of_codes(key: str, codes: dict[str, str], rt: str, seconds: float, no_rt: str = "", unit: float = 1.0) -> Rule:
    """Make the rule of a column with the key and one with the reaction time."""

    def rule(table: pd.DataFrame):
        keys = pd.to_numeric(table[key], errors="coerce")
        times = pd.to_numeric(table[rt], errors="coerce") * unit
        without = times.isna() if not no_rt else times.isna() | (times == float(no_rt) * unit)
        known = keys.isin([float(code) for code in codes])
        silent = keys.isna() if "n/a" in codes.values() else keys == -1
        return rows_of(known & ~without & (times > 0) & (times <= seconds), silent & without, table)

    return rule


def gradcpt(seconds: float) -> Rule:
    def rule(table: pd.DataFrame):
        shown = table.target_nontarget.notna()
        press = shown & (table.resp_1st > 0) & (table.rt_1st > 0) & (table.rt_1st <= seconds)
        return press, shown & (table.resp_1st == 0) & (table.rt_1st == 0)

    return rule


def conflict(table: pd.DataFrame):
    return rows_of(
        (table.response_time > 0) & (table.response_time <= table.duration + 1), table.response_time <= 0, table
    )


def choice(table: pd.DataFrame):
    chosen = (table.SelectedCue == table.CueLeft) | (table.SelectedCue == table.CueRight)
    return rows_of(chosen & (table.rt > 0) & (table.rt <= 3000), ~chosen & table.rt.isna(), table)


def accuracy(column: str, rt: str, window: float | str) -> Rule:
    def rule(table: pd.DataFrame):
        seconds = table[window] if isinstance(window, str) else window
        marked = table[column].isin([0, 1])
        press = marked & (table[rt] > 0) & (table[rt] <= seconds)
        return rows_of(press, (table[column] == 0) & table[rt].isna(), table)

    return rule


def stopsignal(table: pd.DataFrame):
    trial = table.trial_type.isin(["GO", "STOP"])
    code, rt = table.SubjectResponseButtonCode, table.ReactionTime
    return rows_of(
        trial & code.isin([5, 28]) & (rt > 0) & (rt <= table.duration), trial & (code == 0) & (rt == 0), table
    )


def scap(table: pd.DataFrame):
    code, rt = table.ButtonPressCode, table.ReactionTime
    return rows_of(code.isin([5, 28]) & (rt > 0) & (rt <= table.ResponseInterval), code.isna() & rt.isna(), table)


def taskswitch(table: pd.DataFrame):
    code, rt = table.ButtonPressCode, table.ReactionTime
    return rows_of(code.isin([5, 28]) & (rt > 0) & (rt <= 2.0), code.isna() & rt.isna(), table, "ProbeOnset")


@dataclasses.dataclass(frozen=True)
class Set:
    """One task of one set: where its files are, its specification and its rule."""

    name: str
    task: str
    files: str
    rule: Rule
    labels: tuple[str, ...] = ()


SETS = (
    Set("song", "gradcpt_face", "gradCPTface", gradcpt(1.5)),
    Set("song", "gradcpt_scene", "gradCPTscene", gradcpt(1.8)),
    Set("qtab", "emotionalconflict", "emotionalconflict", conflict),
    Set("nodeap", "nodeap_choice", "choice", choice),
    Set("hedge", "hedge_flanker", "flanker", accuracy("acc", "rt", 2.5)),
    Set("hedge", "hedge_stroop", "stroop", accuracy("acc", "rt", 2.5)),
    Set("sro", "sro_stroop", "stroop", of_codes("key_press", {"66": "b", "71": "g", "82": "r"}, "rt", 3.9, "-1", 1e-3)),
    Set("sro", "sro_simon", "simon", of_codes("key_press", {"37": "l", "39": "r"}, "rt", 3.9, "-1", 1e-3)),
    Set(
        "selfreg",
        "selfreg_stroop",
        "stroop",
        of_codes("key_press", {"71": "b", "82": "g", "89": "r"}, "response_time", 2.0),
    ),
    Set("selfreg", "selfreg_stop", "stopSignal", of_codes("key_press", {"71": "1", "89": "2"}, "response_time", 2.25)),
    Set("tcp", "stroop", "stroop*", accuracy("accuracy_binarized", "response_time", "duration")),
    Set("tcp", "hammer", "hammer*", accuracy("accuracy_binarized", "response_time", 2.0)),
    Set("cnp", "stopsignal", "stopsignal", stopsignal),
    Set("cnp", "scap", "scap", scap),
    Set("cnp", "taskswitch", "taskswitch", taskswitch),
)


def noise_connectomes(bids: Path, folder: Path, labels: list[str]) -> Path:
    """Write a connectome of noise for everybody: where a set has no series, its events are still to be ingested."""
    rng = np.random.default_rng(0)
    for label in labels:
        own = folder / f"sub-{label}" / "func"
        own.mkdir(parents=True)
        edges_E = rng.uniform(-0.5, 0.5, 10)
        write_relmat(
            own / f"sub-{label}_task-rest_seg-Noise_stat-pearsoncorrelation_relmat", edges_E, list("abcde"), "r"
        )
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "noise", "BIDSVersion": "1.9.0"}))
    return folder


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.task)
def test_counts_are_those_of_pandas(real_data, tmp_path, one):
    bids = (
        real_data / one.name if one.name in {"tcp", "cnp"} else expanded(real_data, one.name, 2 * NUM_PEOPLE) / "bids"
    )
    known = sorted(path.name[4:] for path in bids.glob("sub-*") if list(path.rglob(f"*task-{one.files}_*events.tsv")))
    labels = known[:NUM_PEOPLE]
    copied = tmp_path / "bids"
    copied.mkdir()
    for name in ("dataset_description.json", "participants.tsv"):
        if (bids / name).is_file():
            shutil.copy(bids / name, copied / name)
    for label in labels:
        for path in (bids / f"sub-{label}").rglob(f"*task-{one.files}_*events.*"):
            place = copied / path.relative_to(bids)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    spec = real_data / "tasks" / f"{one.task}.yaml"
    settings = IngestConfig(
        tasks=(str(spec) if spec.is_file() else one.task,), connectome="precomputed", matrix_transform="none",
        participant_label=tuple(labels), max_omission_fraction=1, max_rt_outlier_fraction=1,
    )  # fmt: skip
    config = Config(cluster=ClusterConfig(num_cpus=1), ingest=settings)
    ingest(config, copied, (noise_connectomes(copied, tmp_path / "noise", labels),), tmp_path / "out", resume=False)
    wanted = np.zeros(2, int)
    for path in sorted(copied.rglob("*_events.tsv")):
        table = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
        wanted += [int(each.sum()) for each in one.rule(table)]
    found = np.zeros(2, int)
    cohort = open_cohort(tmp_path / "out")
    for record in cohort.records():
        for run in record.runs:
            used_J, pressed_J = run.trials.usable_J, run.trials.pressed_J
            found += [int((used_J & pressed_J).sum()), int((used_J & ~pressed_J).sum())]
    assert found.tolist() == wanted.tolist()
    assert found.sum() > 40 * len(labels)
    assert cohort.manifest.counts["usable_trials"] == found.sum()
