"""How well people are predicted after so many of their own trials: the figures of docs/living-twin.md.

    python scripts/studies/living_twin.py baselines SHARDS OUT           without a twin: the baselines alone, people in ten folds
    python scripts/studies/living_twin.py twin SHARDS OUT --config FILE  a twin trained in each fold, updated by its unseen people
    python scripts/studies/living_twin.py tables OUT [OUT ...]           tables in Markdown
    python scripts/studies/living_twin.py picture FILE OUT [OUT ...]     error against own trials, a panel a cohort

An OUT of `picture` may also be a folder of `dtb run`.

SHARDS is the output of `dtb ingest`, with `--without-connectome keep` where nobody was scanned. Every fold is kept in OUT and not made
again, so that an interrupted study goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from rich.progress import Progress

from dtb.api.twin import train_twin
from dtb.config import Config, load_config
from dtb.evaluate.inputs import open_inputs
from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.curves import curves, gains
from dtb.evaluate.living.evaluate import Living
from dtb.evaluate.living.questions import sessions_of
from dtb.evaluate.living.stage import living_table
from dtb.evaluate.living.twin import LIVING_ALONE
from dtb.evaluate.living.worth import worths_of
from dtb.evaluate.predictors.predictions import summary_of_people
from dtb.evaluate.predictors.table import given_of
from dtb.evaluate.scores.observed import People, collect
from dtb.people.covariates import family_numbers
from dtb.report.own_data import draw_curves
from dtb.shards.batches import BatchMaker
from dtb.shards.read import open_cohort
from dtb.shards.split import Span
from dtb.tasks.taskset import TaskSet

NO_REGIONS, NO_SCALE = np.zeros(0, np.int64), np.zeros(0)
NUM_DRAWS = 1000
SHOWN = ("r", "R2", "CRPS", "log score", "within 90%")


def baselines(shards: Path, out: Path, num_folds: int) -> None:
    """Write what baselines say of everybody, each from the people of other folds; families stay together."""
    if (out / "people.parquet").exists():
        return
    cohort = open_cohort(shards, verify=False)
    records = list(cohort.records())
    taskset = TaskSet.from_plain(cohort.manifest.description.taskset)
    people = collect(records, taskset, Span(0.0, 1.0), NO_REGIONS, NO_SCALE)
    sessions = sessions_of(records)
    family_S = family_numbers(people.covariates)
    fold_of_family = np.random.default_rng(0).permutation(int(family_S.max()) + 1) % num_folds
    tables = []
    for fold in range(num_folds):
        test_S = fold_of_family[family_S] == fold
        rows = np.flatnonzero(test_S), np.flatnonzero(~test_S)
        unseen, training = people.only(test_S), people.only(~test_S)
        given = given_of(training, summary_of_people(training, taskset), unseen, taskset, seen=False)
        living = Living(
            training,
            [sessions[row] for row in rows[1]],
            unseen,
            [sessions[row] for row in rows[0]],
            taskset,
            given.regressions.get("stack") if people.edges_SE.shape[1] else None,
            given.fold_S,
        )
        tables.append(pd.concat(list(living.tables()), ignore_index=True).assign(fold=fold))
        print(f"fold {fold + 1} of {num_folds}: {len(unseen)} people", flush=True)
    write(out, tables)


def twins(shards: Path, out: Path, config: Config, num_folds: int) -> None:
    """Train a twin in each fold, update it by its unseen people, and write what it says of them beside the baselines."""
    tables = []
    for fold in range(num_folds):
        file = out / f"fold{fold}.parquet"
        if not file.exists():
            trained = out / f"train{fold}"
            split = dataclasses.replace(config.split, fold=fold, num_folds=num_folds)
            train_twin(shards, trained, dataclasses.replace(config, split=split), resume=True)
            table_of(shards, trained).to_parquet(file, index=False)
        tables.append(pd.read_parquet(file).assign(fold=fold))
        print(f"fold {fold + 1} of {num_folds}", flush=True)
    write(out, tables)


def table_of(shards: Path, trained: Path) -> pd.DataFrame:
    """Return what a trained twin and the baselines say of the people whom its split holds out."""
    task = open_inputs(shards, trained, ())
    taskset = task.taskset

    def read(pseudonyms: tuple[str, ...]) -> People:
        return collect(task.cohort.records(pseudonyms), taskset, Span(0.0, 1.0), NO_REGIONS, NO_SCALE)

    training, people = read(task.training_people), read(task.split.test)
    given = given_of(training, summary_of_people(training, taskset), people, taskset, seen=False)
    regions = task.bold_regions.tolist()
    maker = BatchMaker(taskset, task.card.segments, task.card.config.step_seconds, regions, task.split)
    with Progress() as progress:
        return living_table(task, given, maker, progress)


def write(out: Path, tables: list[pd.DataFrame]) -> None:
    """Write what was said of people, figures over people, and what the twin is better by."""
    whole = pd.concat(tables, ignore_index=True)
    key = ["kind", "given", "judged", "amount"]
    whole["num_given"] = whole.groupby(key)["num_given"].transform("median").round().astype(int)
    whole.to_parquet(out / "people.parquet", index=False)
    curves(whole, NUM_DRAWS).to_parquet(out / "curves.parquet", index=False)
    if LIVING in set(whole["predictor"]):
        gains(whole, LIVING, NUM_DRAWS).to_parquet(out / "gains.parquet", index=False)


def print_tables(out: Path) -> None:
    """Print every curve as a table: a row a predictor, a column an amount."""
    found = pd.read_parquet(out / "curves.parquet")
    for (kind, given, judged, figure), part in found.groupby(["kind", "given", "judged", "figure"], sort=False):
        for metric in SHOWN:
            some = part[part["metric"] == metric]
            if some.empty:
                continue
            print(
                f"\n**{out.name}, {kind}: {given} to {judged}, {figure}, {metric}** (n = {some['num_people'].max()})\n"
            )
            table = some.pivot(index="predictor", columns="amount", values="value")[some["amount"].unique()]
            rows = [table.columns, ["---"] * table.shape[1], *table.map("{:.3f}".format).to_numpy()]
            for name, cells in zip(("predictor", "---", *table.index), rows, strict=True):
                print(f"| {name} | {' | '.join(cells)} |")
    people = pd.read_parquet(out / "people.parquet")
    if {LIVING, LIVING_ALONE} <= set(people["predictor"]):
        for worth in worths_of(people, LIVING, LIVING_ALONE):
            print(f"\n{worth.task}: {worth.in_words}")


def draw(file: Path, outs: list[Path], figure: str) -> None:
    """Draw the error against the number of own trials, a panel a cohort and task."""
    matplotlib.use("agg")
    matplotlib.rcParams |= {"svg.hashsalt": "dtb", "svg.fonttype": "none"}
    from matplotlib import pyplot

    parts = []
    for out in outs:
        made, run = out / "curves.parquet", out / "evaluate" / "living.parquet"
        found = pd.read_parquet(made if made.exists() else run)
        found = found[(found["figure"] == figure) & (found["metric"] == "CRPS")]
        found = found[found["kind"].isin(["later", "next session"]) & (found["given"] == found["judged"])]
        for (kind, task), rows in found.groupby(["kind", "judged"], sort=False):
            parts.append((f"{out.name}: {task}, {kind}", rows))
    columns = min(3, len(parts))
    drawn, grid = pyplot.subplots(
        -(-len(parts) // columns), columns, figsize=(4.6 * columns, 3.6 * -(-len(parts) // columns)), squeeze=False
    )
    for axes, (title, rows) in zip(grid.flat, parts, strict=False):
        draw_curves(axes, rows, colour="#0072b2")
        axes.set_title(title, fontsize=11, loc="left")
    for axes in list(grid.flat)[len(parts) :]:
        axes.remove()
    grid.flat[0].legend(frameon=False, fontsize=9)
    drawn.tight_layout()
    drawn.savefig(file, dpi=130, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> None:
    """Read the command line and do one part of the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("baselines", "twin"):
        part = parts.add_parser(name)
        part.add_argument("shards", type=Path)
        part.add_argument("out", type=Path)
        part.add_argument("--folds", type=int, default=10 if name == "baselines" else 5)
        if name == "twin":
            part.add_argument("--config", type=Path, required=True, help="configuration of the training")
    parts.add_parser("tables").add_argument("outs", type=Path, nargs="+")
    picture = parts.add_parser("picture")
    picture.add_argument("file", type=Path)
    picture.add_argument("outs", type=Path, nargs="+")
    picture.add_argument("--figure", default="mean RT", help="`mean RT`, `condition effect` or `accuracy`")
    options = parser.parse_args()
    if options.part == "tables":
        for out in options.outs:
            print_tables(out)
        return
    if options.part == "picture":
        draw(options.file, options.outs, options.figure)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part == "baselines":
        baselines(options.shards, options.out, options.folds)
    else:
        twins(options.shards, options.out, load_config(options.config), options.folds)


if __name__ == "__main__":
    main()
