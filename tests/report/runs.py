"""A run folder as the stages leave it, with made-up numbers: for the tests of this folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dtb.config import Config, InterveneConfig, to_plain
from dtb.files import write_json
from dtb.intervene.protocol import Protocol
from dtb.intervene.trial_figures import analyse, benefit_of
from dtb.people.records import Run, SubjectRecord
from dtb.shards.manifest import CohortDescription
from dtb.shards.write import ShardWriter
from dtb.stages import OutputFolder
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from tests.shards.people import make_trials

NUM_REGIONS, NUM_VOLUMES, NUM_EDGES = 12, 60, 66
REGIONS = tuple(f"LH_Net{index // 4}_{index % 4 + 1}" for index in range(NUM_REGIONS))
TASKS = ("stroop", "hammer")


@dataclasses.dataclass
class FakeRun:
    """Where the folders are, and the people in them."""

    path: Path
    pseudonyms: list[str]
    test: list[str]


def make_run(path: Path, num_people: int = 20, *, bold: bool = True, stages: tuple[str, ...] = ()) -> FakeRun:
    """Write the folders of `stages` (all if empty) under `path`."""
    stages = stages or ("ingest", "train", "evaluate", "simulate", "intervene")
    rng = np.random.default_rng(5)
    pseudonyms = [f"p{number:04d}" for number in range(num_people)]
    test = pseudonyms[::3]
    for stage in stages:
        folder = path / {"ingest": "shards"}.get(stage, stage)
        claimed = OutputFolder.claim(folder, stage, Config(name="fake"), resume=False)
        {
            "ingest": _write_shards,
            "train": _write_training,
            "evaluate": _write_evaluation,
            "simulate": _write_simulation,
            "intervene": _write_interventions,
        }[stage](folder, pseudonyms, test, rng, bold)
        claimed.finish({})
    return FakeRun(path, pseudonyms, test)


def add_trial(run: Path, num_people: int = 20) -> pd.DataFrame:
    """Write the folder of a trial with made-up outcomes; give its table of doses."""
    rng = np.random.default_rng(6)
    protocol = Protocol(
        title="Faster <in> the Stroop task",
        search=InterveneConfig(members=(Path("second"),)),
        unsearched=(Path("third"), Path("fourth")),
        arms=("personalised", "population", "random", "sham"),
        doses=(0.5, 1.0),
        num_draws=100,
    )
    rows = []
    for person in range(num_people):
        for place, arm in enumerate(protocol.arms):
            for dose in protocol.doses:
                moved = dose * (1.0 - 0.3 * place) + rng.normal(0, 0.1)
                row = {
                    "pseudonym": f"p{person:04d}",
                    "arm": arm,
                    "dose": dose,
                    "task": "stroop",
                    "indicator": "mean_rt",
                }
                for value, indicator in ((moved, "mean_rt"), (0.1 * dose, "bold_map")):
                    said = {
                        "moved": value,
                        "moved_searched": value,
                        "member_moved": [value, value],
                        "scans_apart": np.nan,
                    }
                    rows.append(row | said | {"is_target": indicator == "mean_rt", "indicator": indicator})
    outcomes = pd.DataFrame(rows)
    figures = analyse(outcomes, protocol, 0)
    claimed = OutputFolder.claim(run / "trial", "trial", protocol, resume=False)
    for name in ("doses", "matrix", "slopes"):
        getattr(figures, name).to_csv(run / "trial" / f"{name}.tsv", sep="\t", index=False, na_rep="n/a")
    result = {"protocol_hash": "b" * 64, "target": "mean_rt of stroop", "primary": figures.primary}
    result["benefit"] = benefit_of(outcomes, protocol, 0)
    result |= {"num_abstained": 0, "support": {"num_people": 9, "r": 0.8, "p_value": 0.001, "is_shown": True}}
    write_json(run / "trial" / "trial.json", {**result, "protocol": to_plain(protocol)})
    claimed.finish({})
    return figures.doses


def _write_shards(folder, pseudonyms, test, rng, bold):
    writer = ShardWriter(folder, 8)
    for number, pseudonym in enumerate(pseudonyms):
        series_VR = rng.normal(size=(NUM_VOLUMES, NUM_REGIONS)).astype(np.float32)
        runs = tuple(
            Run(
                task,
                f"{task}AP",
                None,
                "1",
                make_trials(rng, 20),
                90.0,
                series_VR if bold else None,
                1.5 if bold else None,
            )
            for task in TASKS
        )
        connectome_E = rng.normal(0.2, 0.3, NUM_EDGES).astype(np.float32)
        covariates = {"age": 20.0 + number, "sex": "FM"[number % 2], "site": f"site{number % 2}", "rest_seconds": 480.0}
        writer.add(SubjectRecord(pseudonym, connectome_E, covariates, runs))
    # Shards name whole specifications: their sizes bound what records may hold.
    taskset = TaskSet((load_task("hammer"),)).to_plain()
    (whole,) = taskset["specs"]
    conditions = {name: {"trial_type": [name]} for name in ("easy", "hard")}
    whole |= {"trials": whole["trials"] | {"conditions": conditions}, "contrast": {}}
    domains = ("cognitive", "affective")
    specs = [whole | {"name": task, "domain": domain} for task, domain in zip(TASKS, domains, strict=True)]
    taskset |= {"specs": specs}
    writer.finish(CohortDescription(REGIONS, taskset, {"kind": "pearson", "scale": "fisher_z"}, "0" * 64))
    rows = [
        "pseudonym\treason",
        "q1\t3 of 12 regions are present; 10 are needed",
        "q2\t5 of 12 regions are present; 10 are needed",
    ]
    quality = ["pseudonym\tmotion\ttask\tlabel\trun\taccuracy\tflag"]
    quality += [f"{who}\t0.{place:02d}\tstroop\tstroopAP\t1\t0.9\tn/a" for place, who in enumerate(pseudonyms)]
    quality[-1] = quality[-1].replace("0.9\tn/a", "0.2\tbelow <chance>")
    (folder / "quality.tsv").write_text("\n".join(quality) + "\n", encoding="utf-8")
    left_out = "pseudonym\tfile\tline\treason\np0001\tevents.tsv\t7\tthe reaction time is negative\n"
    (folder / "left_out.tsv").write_text(left_out, encoding="utf-8")
    (folder / "quarantine.tsv").write_text(
        "\n".join([*rows, "q3\tno rest series <b>at all</b>"]) + "\n", encoding="utf-8"
    )


def _write_training(folder, pseudonyms, test, rng, bold):
    rest = [who for who in pseudonyms if who not in test]
    split = {"kind": "subjects", "train": rest[2:], "validation": rest[:2], "test": test, "split_hash": "a" * 64}
    (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
    (folder / "quarantine.tsv").write_text(
        f"pseudonym\treason\n{rest[-1]}\tits <connectome> is absent\n", encoding="utf-8"
    )
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as stream:
        for epoch in range(25):
            loss = 1.0 + np.exp(-epoch / 5) + 0.002 * max(0, epoch - 12) ** 1.5
            row = {"epoch": epoch, "train_loss": loss - 0.01 * epoch, "validation_loss": loss, "press": loss * 0.6}
            row |= {
                "validation_press": loss * 0.6,
                "bold": loss * 0.4 if bold else 0.0,
                "validation_bold": loss * 0.4 if bold else 0.0,
            }
            row |= {"lr": 2e-3, "seconds": 2.0, "subjects_per_second": 18.0}
            stream.write(json.dumps(row) + "\n")


def _write_evaluation(folder, pseudonyms, test, rng, bold):
    rows, people = [], []
    for task in TASKS:
        observed = rng.normal(0.75, 0.08, len(test))
        for who, value in zip(test, observed, strict=True):
            people.append(
                {
                    "pseudonym": who,
                    "task": task,
                    "part": "test",
                    "num_trials": 20,
                    "observed_mean_rt": value,
                    "predicted_mean_rt": 0.75 + 0.6 * (value - 0.75) + rng.normal(0, 0.03),
                    "group_mean_mean_rt": 0.75,
                    "observed_accuracy": rng.uniform(0.8, 1),
                    "predicted_accuracy": rng.uniform(0.8, 1),
                    "observed_condition_rt": rng.normal(0.08, 0.03),
                    "predicted_condition_rt": rng.normal(0.08, 0.01),
                }
            )
        for metric, unit, twin in (
            ("choice log-loss", "nats a trial", 0.32),
            ("mean RT r", "r over people", 0.61),
            ("BOLD map r", "mean r over regions", 0.8),
        ):
            if "BOLD" in metric and not bold:
                continue
            row = {"task": task, "metric": metric, "unit": unit, "twin": twin, "lower": twin - 0.1, "upper": twin + 0.1}
            row |= {"baselines": {"group_mean": twin - 0.1, "always_correct": None}, "best_baseline": "group_mean"}
            row |= {
                "difference": 0.1,
                "difference_lower": -0.05,
                "difference_upper": 0.25,
                "higher_is_better": "r" in metric[-1],
            }
            rows.append({**row, "n": len(test), "note": ""})
    row = {"task": "all", "metric": "identification by behaviour", "unit": "share of people", "higher_is_better": True}
    row |= {"twin": 0.3, "lower": None, "upper": None, "baselines": {}, "best_baseline": None, "difference": None}
    rows.append({**row, "n": len(test), "note": f"chance is 1 in {len(test)}"})
    claim = (
        f"{len(test)} people whom neither the twin nor a baseline saw in training. "
        "stroop, mean RT r: twin 0.610 [0.510, 0.710]; best baseline 0.510 (the group mean); difference +0.100 [-0.050, 0.250]: "
        "the twin does not beat the best baseline."
    )
    (folder / "figures.json").write_text(json.dumps({"split": {}, "claim": claim, "rows": rows}), encoding="utf-8")
    test_row = {
        "kind": "connectome",
        "claim": "its connectome is of use",
        "task": "stroop",
        "metric": "mean RT r",
        "twin": 0.61,
    }
    test_row |= {
        "against": "the same twin given the mean connectome",
        "against_value": 0.2,
        "gain": 0.4,
        "gain_lower": 0.1,
    }
    test_row |= {
        "gain_upper": 0.7,
        "n": len(test),
        "p": 0.01,
        "p_corrected": 0.04,
        "verdict": "undecided",
        "needs": "about 90 people",
    }
    certificate = {
        "verdict": "undecided",
        "sentence": "It is undecided whether this twin is personal.",
        "tests": [test_row],
    }
    certificate |= {"not_tested": ["identification by <BOLD> map: no task BOLD"], "notes": ["p is one-sided."]}
    cells = [
        "? undecided",
        "who is slow, beyond covariates",
        "stroop",
        "0.610",
        "0.510 (ridge)",
        "–",
        "+0.400 [+0.100, +0.700]",
    ]
    fit_test = {
        "task": "stroop",
        "metric": "RT CRPS",
        "unit": "s",
        "twin": 0.1,
        "group_mean": 0.11,
        "difference": -0.01,
    }
    fit_test |= {"lower": -0.02, "upper": 0.01, "num_people": len(test), "is_worse": False}
    certificate |= {"rows": [{"verdict": "undecided", "cells": cells}]}
    certificate |= {"fit": {"fits": True, "sentence": "The twin fits.", "tests": [fit_test], "reasons": []}}
    certificate |= {"about": {"kind": "subjects", "people": {"number": len(test)}}}
    (folder / "certificate.json").write_text(json.dumps(certificate), encoding="utf-8")
    pd.DataFrame(people).to_parquet(folder / "subjects.parquet")
    if bold:
        maps = [
            {"task": task, "region": region, "observed": rng.normal(), "predicted": rng.normal()}
            for task in TASKS
            for region in REGIONS
        ]
        pd.DataFrame(maps).to_parquet(folder / "bold_map.parquet")


def _write_simulation(folder, pseudonyms, test, rng, bold):
    trials, volumes = [], []
    for who in pseudonyms:
        for run, task in enumerate(TASKS):
            for trial in range(20):
                observed = rng.gamma(20, 0.04)
                trials += [
                    {
                        "pseudonym": who,
                        "task": task,
                        "label": f"{task}AP",
                        "run": run,
                        "trial": trial,
                        "draw": draw,
                        "condition": "easy",
                        "correct": draw > 0,
                        "rt": rng.gamma(20, 0.04),
                        "observed_rt": observed if trial else np.nan,
                    }
                    for draw in range(4)
                ]
            volumes += [
                {
                    "pseudonym": who,
                    "task": task,
                    "run": run,
                    "volume": volume,
                    "seconds": 1.5 * volume,
                    "bold": rng.normal(size=NUM_REGIONS).astype(np.float32),
                }
                for volume in range(NUM_VOLUMES)
            ]
    _parquet(folder / "trials", trials)
    if bold:
        _parquet(folder / "bold", volumes)
    status = [{"pseudonym": who, "status": "ok", "reason": "", "seconds": 0.1} for who in pseudonyms]
    status[-1] |= {"status": "failed", "reason": "<script>alert(1)</script> not finite"}
    _parquet(folder / "status", status)


def _write_interventions(folder, pseudonyms, test, rng, bold):
    results, changes = [], []
    for who in pseudonyms[:-1]:
        for task in TASKS:
            before = rng.normal(0.75, 0.08)
            row = {
                "pseudonym": who,
                "indicator": "mean_rt",
                "task": task,
                "region": None,
                "unit": "s",
                "is_target": task == "stroop",
                "is_wanted": task == "stroop",
            }
            row |= {
                "before": before,
                "after": before - 0.06 * (task == "stroop"),
                "random_after": before + rng.normal(0, 0.01),
            }
            results.append(
                {
                    **row,
                    "population_after": before - 0.02,
                    "paper_after": None,
                    "abstained": False,
                    "spread": 0.08,
                    "budget": 0.5,
                    "change_norm": 0.5,
                }
            )
        change_E, base_E = (rng.normal(0, scale, NUM_EDGES).astype(np.float32) for scale in (0.05, 0.1))
        changes.append({"pseudonym": who, "change_E": change_E, "base_E": base_E})
    status = [{"pseudonym": who, "status": "ok", "reason": "", "seconds": 0.1} for who in pseudonyms]
    status[-1] |= {"status": "failed", "reason": "gradient not finite in step 3"}
    _parquet(folder / "results", results)
    _parquet(folder / "changes", changes)
    _parquet(folder / "status", status)


def _parquet(folder: Path, rows: list[dict]) -> None:
    folder.mkdir(parents=True)
    table = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    table = table.set_column(0, "pseudonym", table["pseudonym"].dictionary_encode())
    if "bold" in table.column_names:
        table = table.replace_schema_metadata({"regions": json.dumps(REGIONS)})
    pq.write_table(table, folder / "part-00000.parquet")
