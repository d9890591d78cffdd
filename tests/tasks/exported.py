"""One made-up flanker session as PsychoPy, E-Prime and jsPsych write it, with what really happened."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_KEY_CODES = {"left": "37", "right": "39"}


@dataclasses.dataclass(frozen=True)
class Happened:
    """One trial: when it began, in seconds; the arrow and its flankers; the key, if any, and after how long."""

    onset: float
    arrow: str
    congruent: str
    key: str | None
    seconds: float

    @property
    def is_right(self) -> bool:
        return self.key == self.arrow


def session(seed: int, num_trials: int = 60) -> list[Happened]:
    """Make trials with a few errors and omissions."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(num_trials):
        arrow = ("left", "right")[number % 2]
        key = None if number % 15 == 7 else arrow if number % 10 != 4 else {"left": "right", "right": "left"}[arrow]
        kind = ("congruent", "incongruent")[number // 2 % 2]
        trials.append(Happened(12.5 + 3 * number, arrow, kind, key, round(float(rng.uniform(0.35, 0.9)), 3)))
    return trials


def _csv(rows: list[dict[str, str]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def psychopy(trials: Iterable[Happened]) -> str:
    about = {
        "participant": "Jane Doe",
        "session": "001",
        "date": "2026-01-01",
        "expName": "flanker",
        "psychopyVersion": "2024.2.3",
    }
    rows = [{"welcome.started": "0.51", "start_key.keys": "space", "start_key.rt": "3.2", **about}]
    rows += [
        {
            "arrow": each.arrow,
            "congruency": each.congruent,
            "trials.thisRepN": "0",
            "trials.thisN": str(number),
            "stim.started": f"{each.onset - 0.01:.4f}",
            "key_resp.keys": each.key or "None",
            "key_resp.corr": str(int(each.is_right)),
            "key_resp.rt": f"{each.seconds}" if each.key else "",
            "key_resp.started": f"{each.onset:.4f}",
            "key_resp.stopped": f"{each.onset + 1.5:.4f}",
            **about,
        }
        for number, each in enumerate(trials)
    ]
    return _csv(rows)


def _frame(each: Happened) -> dict[str, str]:
    return {
        "Procedure": "TrialProc",
        "Arrow": each.arrow,
        "Congruency": each.congruent,
        "Stim.OnsetDelay": "3",
        "Stim.OnsetTime": str(round(1000 * each.onset)),
        "Stim.Duration": "1500",
        "Stim.RESP": {"left": "1", "right": "2"}[each.key] if each.key else "",
        "Stim.RT": str(round(1000 * each.seconds)) if each.key else "0",
        "Stim.ACC": str(int(each.is_right)),
        "Stim.CRESP": {"left": "1", "right": "2"}[each.arrow],
    }


def eprime_log(trials: Iterable[Happened]) -> str:
    lines = ["*** Header Start ***", "VersionPersist: 1", "Experiment: flanker", "Subject: 7", "*** Header End ***"]
    for number, each in enumerate(trials, 1):
        fields = {**_frame(each), "TrialList.Sample": str(number), "Running": "TrialList"}
        inner = [
            "Level: 3",
            "*** LogFrame Start ***",
            *(f"{key}: {value}" for key, value in fields.items()),
            "*** LogFrame End ***",
        ]
        lines += [f"\t\t{line}" for line in inner]
    lines += [
        "\tLevel: 2",
        "\t*** LogFrame Start ***",
        "\tProcedure: BlockProc",
        "\tBlockKind: fast",
        "\t*** LogFrame End ***",
    ]
    lines += [
        "Level: 1",
        "*** LogFrame Start ***",
        "Experiment: flanker",
        "WaitForTrigger.RTTime: 2500",
        "*** LogFrame End ***",
    ]
    return "\r\n".join(lines) + "\r\n"


def eprime_table(trials: Iterable[Happened]) -> str:
    rows = [
        {"ExperimentName": "flanker", "Subject": "7", "WaitForTrigger.RTTime": "2500", **_frame(each)}
        for each in trials
    ]
    lines = ["C:\\data\\flanker.edat3", "\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    return "\r\n".join(lines) + "\r\n"


def jspsych(trials: Iterable[Happened]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"trial_type": "instructions", "rt": 8123, "time_elapsed": 12000, "trial_index": 0}
    ]
    for number, each in enumerate(trials):
        fixed = {"trial_type": "html-keyboard-response", "internal_node_id": f"0.0-{number}", "subject": "Jane Doe"}
        began = round(1000 * each.onset)
        rows.append({**fixed, "stimulus": "<p>+</p>", "rt": None, "response": None, "time_elapsed": began})
        rows.append(
            {
                **fixed,
                "stimulus": f"<img src='{each.arrow}_{each.congruent}.png'>",
                "rt": round(1000 * each.seconds) if each.key else None,
                "response": f"Arrow{each.key.title()}" if each.key else None,
                "task": "response",
                "direction": each.arrow,
                "congruency": each.congruent,
                "correct_response": f"Arrow{each.arrow.title()}",
                "correct": each.is_right,
                "time_elapsed": began + 1500,
            }
        )
    return rows


def write_all(folder: Path, trials: list[Happened]) -> dict[str, tuple[Path, float]]:
    """Write the session in every format; give the path, and when its clock started, by format."""
    data = jspsych(trials)
    text = [
        {
            key: "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in row.items()
        }
        for row in data
    ]
    written = {
        "psychopy.csv": (psychopy(trials).encode(), 0.0),
        "eprime.txt": (eprime_log(trials).encode("utf-16"), 2.5),
        "eprime-without-mark.txt": (eprime_log(trials).encode("utf-16-le"), 2.5),
        "eprime-table.txt": (eprime_table(trials).encode("utf-16"), 2.5),
        "jspsych.json": (json.dumps(data).encode(), 0.0),
        "jspsych.csv": (_csv(text).encode(), 0.0),
    }
    found = {}
    for name, (content, start) in written.items():
        path = folder / name
        path.write_bytes(content)
        found[name] = (path, start)
    return found
