"""What the studies of real people share: data expanded, stages of dtb one after another, folds pooled, figures kept.

Every study is a file beside this one with a function `study(work)`, which returns the set's figures. Each stage is the command that a
laboratory would type; it is printed before it runs, and what is finished is not made again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb.cli.entry import exit_code
from dtb.cohort.identities import identities_path, open_key, save_identities
from dtb.evaluate.living.blend import LIVING, LIVING_BLEND
from dtb.evaluate.living.curves import gains
from dtb.evaluate.living.twin import LIVING_ALONE
from dtb.files import write_json
from dtb.results.twin import EvaluateResult, PoolResult

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
CONFIG, TASKS = HERE / "twin.yaml", HERE / "tasks"
KEPT = REPOSITORY / "docs" / "real-people" / "figures"
NUM_DRAWS = 2000

Evaluated = EvaluateResult | PoolResult
Figure = dict[str, Any]
"""`value`, `lower`, `upper` (None where there is no interval), `n`, and `trained`: whether a training has a part in it."""


def data() -> Path:
    """Return the folder with the data, which `DTB_REAL_DATA` names."""
    if "DTB_REAL_DATA" not in os.environ:
        raise SystemExit("Set DTB_REAL_DATA to the folder with the data of real people.")
    return Path(os.environ["DTB_REAL_DATA"]).resolve()


class Work:
    """The folder of one set, in which its stages run.

    Parameters
    ----------
    name : str
        Of the set, as `expand.py` calls it.
    out : Path
        The folder of all sets.
    ray_address : str, optional
        A running cluster; a private one for all stages if not given.
    """

    def __init__(self, name: str, out: Path, ray_address: str | None = None) -> None:
        self.name, self.folder, self.source = name, (out / name).resolve(), data() / name
        self.specs = data() / "tasks"
        self.commands: list[str] = []
        self.more: dict[str, Any] = {}
        """What is kept beside the figures: what the certificate says, the hash of a protocol."""
        self._address = [] if ray_address is None else ["--ray-address", ray_address]
        self.folder.mkdir(parents=True, exist_ok=True)

    def expand(self) -> None:
        """Make the BIDS tree and the derivatives of the compact files."""
        if not (self.folder / "bids" / "participants.tsv").exists():
            command = [sys.executable, str(data() / "expand.py"), self.name, str(self.source), str(self.folder)]
            subprocess.run(command, check=True)
        self.name_openly(self.folder / "shards")

    def name_openly(self, shards: Path) -> None:
        """Write the key that everybody knows for shards that are to be made.

        These people are published. With it they have the same pseudonyms, and so the same folds and the same order in training, each time.
        """
        if not identities_path(shards).exists():
            shards.parent.mkdir(parents=True, exist_ok=True)
            save_identities(shards, open_key(0), {})

    def dtb(self, stage: str, *arguments: str | Path, cluster: bool = True) -> None:
        """Run a stage in the set's folder, unless it is finished."""
        given = [stage, *map(str, arguments)]
        self.commands.append(_as_typed(given))
        print(f"\n$ {self.commands[-1]}", flush=True)
        os.chdir(self.folder)
        code = exit_code([*given, "--resume", *(self._address if cluster else [])])
        if code:
            raise SystemExit(code)

    def folds(self, folds: Sequence[int], *training: str, num_folds: int = 5) -> Evaluated:
        """Train and evaluate a twin in each of some folds, and return the evaluation, pooled if there are several."""
        evaluated = []
        for fold in folds:
            split = ["--split.fold", str(fold), *(["--split.num-folds", str(num_folds)] if num_folds != 5 else [])]
            self.dtb("train", "shards", f"train{fold}", "--config", CONFIG, *split, *training)
            evaluated.append(f"evaluate{fold}")
            self.dtb("evaluate", "shards", f"train{fold}", evaluated[-1])
        if len(evaluated) > 1:
            self.dtb("pool", "pooled", *evaluated, cluster=False)
            evaluated = ["pooled"]
        result = (EvaluateResult if len(folds) == 1 else PoolResult)(self.folder / evaluated[0])
        self.more["certificate"] = certificate_of(result.folder)
        return result

    def what_is_not_real(self) -> list[str]:
        """Return what the sidecars of the expanded tree say of what was made up or not published, each once."""
        found = set()
        for file in sorted(self.folder.glob("bids/**/*_events.json")) + sorted(self.folder.glob("xcp_d/**/*.json")):
            content = json.loads(file.read_text())
            found |= {content["Note"]} if "Note" in content else set()
            found |= {f"onset: {content['onset']['Description']}"} if "onset" in content else set()
        return sorted(found)

    def keep(self, figures: Mapping[str, Figure], **more: Any) -> Path:
        """Write the set's figures, with what the data cannot say."""
        written = {
            "set": self.name,
            "commands": self.commands,
            "not_real": self.what_is_not_real(),
            **self.more,
            **more,
            "figures": {name: _rounded(figure) for name, figure in figures.items()},
        }
        write_json(self.folder / "figures.json", written)
        return self.folder / "figures.json"


def figure(value: float, lower: float | None, upper: float | None, n: int, *, trained: bool = True) -> Figure:
    """Return one figure as it is kept."""
    return {"value": value, "lower": lower, "upper": upper, "n": int(n), "trained": trained}


def of_curve(living: pd.DataFrame, predictor: str, metric: str, **place: str) -> Figure | None:
    """Return one figure of `living.parquet`; None where there is none.

    Parameters
    ----------
    living : DataFrame
    predictor, metric : str
    **place
        Values of the columns `kind`, `judged`, `given`, `amount`, `figure`.
    """
    rows = living[(living["predictor"] == predictor) & (living["metric"] == metric)]
    for column, value in place.items():
        rows = rows[rows[column] == value]
    if len(rows) != 1 or not np.isfinite(rows["value"].iloc[0]):
        return None
    one = rows.iloc[0]
    return figure(one["value"], one["lower"], one["upper"], one["num_people"], trained="living" in predictor)


def of_row(row: Mapping[str, Any], *, gain: bool = False) -> Figure:
    """Return the twin's figure of a row of `figures.json`, or how much better it is than the best baseline."""
    names = ("difference", "difference_lower", "difference_upper") if gain else ("twin", "lower", "upper")
    value, lower, upper = (row[name] for name in names)
    if gain and not row["higher_is_better"]:
        value, lower, upper = (None if each is None else -each for each in (value, upper, lower))
    return {**figure(value, lower, upper, row["n"]), **({"against": row["best_baseline"]} if gain else {})}


AMOUNTS = ("0", "10", "half a run", "a run", "all")
ASKED = (
    "choice log-loss",
    "RT CRPS",
    "mean RT r",
    "condition effect r",
    "accuracy r",
    "BOLD map r",
    "BOLD map r without the group map",
    "BOLD series r",
    "identification by behaviour",
    "identification by BOLD map",
)


def where_of(kind: str, given: str, judged: str) -> str:
    """Return a question of own trials in words."""
    return {"later": judged, "other task": f"{given} to {judged}", "next session": f"{judged}, next session"}[kind]


def held_out_figures(evaluated: Evaluated) -> dict[str, Figure]:
    """Return what every twin is asked of data that were held out."""
    found: dict[str, Figure] = {}
    for each in evaluated.figures.to_dict("records"):
        row = {
            key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in each.items()
        }
        if row["metric"] in ASKED and row["twin"] is not None:
            name = f"{row['task']}: {row['metric']}"
            found[name] = of_row(row)
            if row["difference"] is not None:
                found[f"{name}, gain"] = of_row(row, gain=True)
    return found


def certificate_of(folder: Path) -> dict[str, Any]:
    """Return what the certificate says: its verdict, where the twin does not fit, and how many tests were a yes, a no or open."""
    said = json.loads((folder / "certificate.json").read_text())
    names = ("task", "metric", "unit", "twin", "group_mean", "difference", "lower", "upper", "num_people")
    worse = [{name: each[name] for name in names} for each in said["fit"]["tests"] if each["is_worse"]]
    return {
        "verdict": said["verdict"],
        "sentence": said["sentence"],
        "fit": said["fit"]["sentence"],
        "worse_than_the_group_mean": [_rounded(each) for each in worse],
        "tests": dict(Counter(each["verdict"] for each in said["tests"])),
    }


def over_own_mean(people: pd.DataFrame) -> dict[str, Figure]:
    """Return how much better the living twin is than the own mean by `living_people.parquet`, paired; more is better, for errors too."""
    people = people[
        people["predictor"].isin([LIVING, "own_mean"])
        & people["amount"].isin(AMOUNTS)
        & people["figure"].isin(["mean RT", "condition effect"])
    ]
    found = {}
    for row in gains(people, LIVING, NUM_DRAWS).to_dict("records"):
        metrics = ("r", "R2", "CRPS") if row["figure"] == "mean RT" else ("r",)
        if row["metric"] in metrics and np.isfinite(row["gain"]):
            where = where_of(row["kind"], row["given"], row["judged"])
            name = f"{where}: {row['figure']} {row['metric']}, twin over own mean, {row['amount']}"
            found[name] = figure(row["gain"], row["lower"], row["upper"], row["num_people"])
    return found


def usual_figures(evaluated: Evaluated) -> dict[str, Figure]:
    """Return what every set with a twin is asked: unseen people, own trials, what a connectome adds and is worth, coverage."""
    found = held_out_figures(evaluated)
    for (kind, given, judged), rows in evaluated.living.groupby(["kind", "given", "judged"], sort=False):
        where = where_of(kind, given, judged)
        for amount in [each for each in rows["amount"].unique() if each in AMOUNTS]:
            for name, predictor in (
                ("twin", LIVING),
                ("twin alone", LIVING_ALONE),
                ("blend", LIVING_BLEND),
                ("own mean", "own_mean"),
                ("Gaussian", "multi_output"),
            ):
                for wanted in ("mean RT", "condition effect"):
                    for metric in ("r", "R2", "CRPS", "within 90%"):
                        if (metric == "within 90%" and name != "twin") or (wanted != "mean RT" and metric != "r"):
                            continue
                        one = of_curve(rows, predictor, metric, amount=amount, figure=wanted)
                        if one is not None:
                            found[f"{where}: {wanted} {metric}, {name}, {amount}"] = one
    found |= over_own_mean(evaluated.living_people)
    for worth in json.loads((evaluated.folder / "certificate.json").read_text())["worths"]:
        near = [point for point in worth["points"] if point["num_given"] <= 10][-1]
        found[f"{worth['task']}: added by the connectome to 10 trials, CRPS"] = figure(*near["gain"], worth["n"])
        found[f"{worth['task']}: a scan is worth, trials"] = figure(*worth["trials"], worth["n"])
    return found


def bootstrap(values_S: np.ndarray, *, trained: bool, group_S: np.ndarray | None = None) -> Figure:
    """Return the mean over people with its bootstrap interval; with two groups (bool), the first's mean minus the second's."""
    rng = np.random.default_rng(0)
    known_S = np.isfinite(values_S)
    values_S = values_S[known_S]
    in_one_S = np.ones(len(values_S), bool) if group_S is None else group_S[known_S]

    def gap(rows: np.ndarray) -> float:
        one, other = values_S[rows[in_one_S[rows]]], values_S[rows[~in_one_S[rows]]]
        return float(one.mean() - (other.mean() if group_S is not None else 0.0))

    groups = [np.flatnonzero(in_one_S), np.flatnonzero(~in_one_S)]
    drawn = [
        gap(np.concatenate([rng.choice(some, len(some)) for some in groups if len(some)])) for _ in range(NUM_DRAWS)
    ]
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    return figure(gap(np.arange(len(values_S))), float(lower), float(upper), len(values_S), trained=trained)


def _as_typed(given: Sequence[str]) -> str:
    """Return a command with paths as they are on anybody's machine."""
    text = " ".join(given)
    for path, name in ((str(data()), "$DTB_REAL_DATA"), (str(REPOSITORY) + "/", "")):
        text = text.replace(path, name)
    return f"dtb {text}"


def _rounded(one: Figure) -> Figure:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in one.items()}
