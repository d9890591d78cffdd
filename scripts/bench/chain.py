"""The whole chain, stage by stage: people a minute, processor time, memory, bytes and files, and how each grows with people.

    python scripts/bench/chain.py --people 50 100 200 --regions 100 --out chain.json
    python scripts/bench/chain.py --people 25 50 100 --regions 434 --out chain.json      # adds to what is there
    python scripts/bench/chain.py --table chain.json                                     # prints it again
    python scripts/bench/chain.py --people 100 --tvboptim OTHER/bin/python               # BOLD beside tvboptim, from where it is installed

People are made up: two rest runs of eight minutes and a run each of two tasks, parcellated, as XCP-D writes them. Stages are the commands
that a user gives, each with a private Ray of its own on all cores, with the twin of `configs/demo.yaml`, six epochs and ten steps of each
search. Costs are those of all processes (`measured.py`). Beside them, in the same run, the same work without dtb (`laboratory.py`).

Growth is the slope of a figure over the number of people, both as logarithms: 1 grows as people do. What a stage costs whatever its people,
Ray's start first of all, makes it less; so the seconds of each further person, between the two largest sizes, stand beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measured import cost_of

from dtb.config.mappings import read_yaml

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
LABORATORY = Path(__file__).with_name("laboratory.py")
EPOCHS, BATCH, SEARCH_STEPS = 6, 8, 10
STAGES = ("ingest", "train", "evaluate", "simulate", "intervene", "report")
FIGURES = ("wall", "cpu", "mib", "written_mib", "files", "most_files")
GROWING = {
    "cpu": "CPU",
    "mib": "memory",
    "written_mib": "bytes written",
    "files": "files left",
    "most_files": "most files",
}
Run = dict[str, Any]


def main() -> None:
    """Run the chain for each size, and print what is known of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--regions", type=int, nargs="+", default=[100])
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=STAGES, help="of dtb; each needs those before it"
    )
    parser.add_argument("--no-laboratory", action="store_true")
    parser.add_argument("--tvboptim", type=Path, help="a Python with tvboptim")
    parser.add_argument("--tvboptim-people", type=int, default=4)
    parser.add_argument("--out", type=Path, help="where figures are added")
    parser.add_argument("--table", type=Path, help="print these figures, and run nothing")
    given = parser.parse_args()
    place = given.table or given.out
    runs: list[Run] = json.loads(place.read_text(encoding="utf-8")) if place and place.is_file() else []
    for num_regions in () if given.table else given.regions:
        for num_people in given.people:
            for run in chain(num_people, num_regions, given):
                if given.out:  # after each stage, for the next may be cut off
                    given.out.write_text(json.dumps([*runs, run], indent=1), encoding="utf-8")
            print_run(run)
            runs.append(run)
    if given.table:
        for run in runs:
            print_run(run)
    print_growth(runs)


def chain(num_people: int, num_regions: int, given: argparse.Namespace) -> Iterator[Run]:
    """Do every stage for people who are made up first, and the same by the laboratory's way; yield what is known after each."""
    # A short name, for sockets of Ray lie below it.
    with tempfile.TemporaryDirectory(prefix="c-") as name:
        folder = Path(name)
        environment = {"TMPDIR": name, "XDG_CACHE_HOME": str(folder / "cache"), "WANDB_MODE": "disabled"}
        log = folder / "log"
        cohort, shards, trained = folder / "cohort", folder / "shards", folder / "train"
        dtb = (sys.executable, "-m", "dtb")
        bids, derivatives = cohort / "bids", cohort / "derivatives" / "xcp_d"
        settings = folder / "chain.yaml"
        settings.write_text(json.dumps(configuration(num_people, num_regions)), encoding="utf-8")
        commands = {
            "synth": (cohort,),
            "ingest": (bids, shards, "--derivatives", derivatives),
            "train": (shards, trained),
            "evaluate": (shards, trained, folder / "evaluate"),
            "simulate": (shards, trained, folder / "simulate"),
            "intervene": (shards, trained, folder / "intervene"),
            "report": (folder, folder / "report"),
        }
        run: Run = {"people": num_people, "regions": num_regions, "about": about(), "stages": {}, "laboratory": {}}
        _cost(folder, log, environment, *dtb, "synth", *commands["synth"], "--config", settings)
        for stage in given.stages:
            cost = _cost(folder, log, environment, *dtb, stage, *commands[stage], "--config", settings)
            run["stages"][stage] = cost | {"load": os.getloadavg()[0]}
            yield run
        if "train" in given.stages:
            run["training"] = training_of(trained)
        if not given.no_laboratory:
            for _ in laboratory(run, folder, log, environment, bids, derivatives, given):
                yield run


def configuration(num_people: int, num_regions: int) -> dict[str, Any]:
    """Return the demo's settings for so many people and regions, with a short training and short searches."""
    found = read_yaml(CONFIG, "")
    kept = {name: value for name, value in found["train"].items() if "steps" not in name}
    return {
        **found,
        "synth": {"num_subjects": num_people, "num_regions": num_regions},
        "train": {**kept, "batch_size": BATCH, "max_epochs": EPOCHS, "patience_epochs": EPOCHS},
        "intervene": {"num_steps": SEARCH_STEPS},
        "track": {"wandb": "off"},
    }


def laboratory(
    run: Run,
    folder: Path,
    log: Path,
    environment: dict[str, str],
    bids: Path,
    derivatives: Path,
    given: argparse.Namespace,
) -> Iterator[str]:
    """Do the work without dtb, and add what it cost to the run; yield the name of each part when it is done."""
    table = folder / "laboratory"
    python = (sys.executable, LABORATORY)
    found = run["laboratory"]
    found["series"] = _cost(folder, log, environment, *python, "series", bids, derivatives, table)
    yield "series"
    if "training" in run:
        people = run["training"]["people"]
        sizes = ("--people", *people, "--epochs", EPOCHS, "--batch", BATCH)
        found["training"] = _cost(folder, log, environment, *python, "training", table, *sizes) | printed(log)
        yield "training"
    found["regressions"] = _cost(folder, log, environment, *python, "regressions", table) | printed(log)
    yield "regressions"
    if given.tvboptim:
        bold = (given.tvboptim, LABORATORY.with_name("laboratory_bold.py"), table, "--people", given.tvboptim_people)
        found["bold"] = _cost(folder, log, environment, *bold, "--seconds", 800) | printed(log)
        yield "bold"


def _cost(folder: Path, log: Path, environment: dict[str, str], *command: Any) -> Run:
    return dataclasses.asdict(cost_of([str(part) for part in command], log, environment, [folder]))


def printed(log: Path) -> Run:
    """Return the JSON that a part of the laboratory printed last."""
    return json.loads(log.read_text(encoding="utf-8").splitlines()[-1])


def training_of(trained: Path) -> Run:
    """Return how many people were trained on and validated with, the steps, and seconds and segments of later epochs."""
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    split = json.loads((trained / "split.json").read_text(encoding="utf-8"))
    later = sorted(rows[1:], key=lambda row: row["seconds"])[(len(rows) - 1) // 2]
    return {
        "people": (len(split["train"]), len(split["validation"])),
        "steps": rows[-1]["step"],
        "epoch_seconds": later["seconds"],
        "segments": later["seconds"] * later["segments_per_second"],
    }


def about() -> Run:
    """Name the machine, the versions and the load."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    names = ("ray", "torch", "deepspeed", "nilearn", "scikit-learn", "numpy")
    return {
        "machine": f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in names},
        "load": os.getloadavg()[0],
    }


def print_run(run: Run) -> None:
    """Print the stages of a run, and beside them the laboratory's way."""
    people, found = run["people"], run["laboratory"]
    told = run["about"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    print(
        f"\n{people} people, {run['regions']} regions. {told['machine']}, {versions}; load {told['load']:.1f} at the start\n"
    )
    print("| | wall s | people a minute | CPU s | peak MiB | MiB written | files left | most files |")
    print("|---|---|---|---|---|---|---|---|")
    rows = {**run["stages"], "all": total(run["stages"])}
    rows |= {f"laboratory: {part}": cost for part, cost in found.items()}
    for name, cost in rows.items():
        print(
            f"| {name} | {cost['wall']:.1f} | {60 * people / cost['wall']:,.0f} | {cost['cpu']:.1f} | {cost['mib']:,.0f} "
            f"| {cost['written_mib']:,.1f} | {cost['files']} | {cost['most_files']} |"
        )
    print()
    for words, theirs, ours in ratios(run):
        print(f"{words}: {theirs:.2f} s against {ours:.2f} s of dtb, a ratio of {theirs / ours:.2f}")


def total(stages: dict[str, Run]) -> Run:
    """Return the sums of all stages, and the largest memory and number of files."""
    how: dict[str, Callable[[list[float]], float]] = {"mib": max, "most_files": max}
    return {name: how.get(name, sum)([cost[name] for cost in stages.values()]) for name in FIGURES}


def ratios(run: Run) -> list[tuple[str, float, float]]:
    """Return what is compared: in words, seconds of the laboratory's way, and of dtb."""
    found, stages = run["laboratory"], run["stages"]
    rows = []
    if "series" in found and "ingest" in stages:
        rows += [
            (f"series, connectomes and events, {kind}", found["series"][figure], stages["ingest"][figure])
            for kind, figure in (("wall time", "wall"), ("CPU", "cpu"))
        ]
    if "training" in found:
        theirs, ours = found["training"], run["training"]
        rows.append((f"training of {ours['steps']} steps, the whole command", theirs["wall"], stages["train"]["wall"]))
        each = [1e3 * one["epoch_seconds"] / one["segments"] for one in (theirs, ours)]
        rows.append(("a thousand segments of a later epoch", each[0], each[1]))
    if "regressions" in found:
        rows += [
            (name, found["regressions"][f"{name}, scikit-learn"], found["regressions"][f"{name}, dtb"])
            for name in ("ridge", "kernel_ridge")
        ]
    if "bold" in found and "simulate" in stages:
        theirs = found["bold"]["seconds"] / found["bold"]["people"]
        rows.append(
            (
                "simulated BOLD of a person (tvboptim without its start)",
                theirs,
                stages["simulate"]["wall"] / run["people"],
            )
        )
    return rows


def print_growth(runs: list[Run]) -> None:
    """Print slopes, for each number of regions and stage of which there are three sizes."""
    for num_regions in sorted({run["regions"] for run in runs}):
        print(f"\n{num_regions} regions: exponents of people\n")
        print(f"| | people | {' | '.join(GROWING.values())} | CPU s of a further person | files left a person |")
        print("|---" * (len(GROWING) + 4) + "|")
        for stage in STAGES:
            some = {
                run["people"]: run["stages"][stage]
                for run in runs
                if run["regions"] == num_regions and stage in run["stages"]
            }
            if len(some) > 2:
                *_, middle, large = sizes = sorted(some)
                slopes = [f"{slope(sizes, [some[size][figure] for size in sizes]):.2f}" for figure in GROWING]
                further = (some[large]["cpu"] - some[middle]["cpu"]) / (large - middle)
                print(
                    f"| {stage} | {', '.join(map(str, sizes))} | {' | '.join(slopes)} | {further:.3f} "
                    f"| {some[large]['files'] / large:.2f} |"
                )


def slope(sizes: list[int], figures: list[float]) -> float:
    """Return the slope of figures over sizes, both as logarithms, by least squares.

    Examples
    --------
    >>> round(slope([10, 20, 40], [3.0, 6.0, 12.0]), 6), round(slope([10, 20, 40], [5.0, 5.0, 5.0]), 6) + 0.0
    (1.0, 0.0)
    """
    return float(np.polyfit(np.log(sizes), np.log(figures), 1)[0])


if __name__ == "__main__":
    main()
