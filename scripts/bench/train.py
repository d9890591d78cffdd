"""What training costs beside the arithmetic, and what several ranks gain: one table, each row a figure and what was wanted of it.

    python scripts/bench/train.py                       # all of it: about five minutes on two quiet cores
    python scripts/bench/train.py --parts stream
    python scripts/bench/train.py --out scaling.json    # also the figures, for scripts/studies/scaling_model.py

Everything is measured in one run, on made-up people of the paper's size, with the loop and the engines of `dtb train`, on gloo. Every rank
has one thread and is bound to one core; where there are more ranks than cores, several share one. The recurrence runs in float32.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from ranks import Measured, make_job, on_ranks, train
from rich.console import Console
from rich.table import Table
from stream import people_per_second, write_people

from dtb.config import Config, TrackConfig, load_config
from dtb.train.budget import fitted
from dtb.train.peak_flops import peak_flops

CONFIGS = Path(__file__).parents[2] / "configs"
NUM_REGIONS, NUM_BOLD_REGIONS, NUM_PEOPLE = 446, 20, 50
PEOPLE = {"lowrank": 70, "paper": 50}
"""Of whom 48 and 50 are trained on: full batches."""
PEOPLE_OF_THE_PAPER = 228
WORLD_SIZES = (1, 2, 4)
EPOCHS = {"lowrank": 12, "paper": 4}
Row = tuple[str, str, str]


def config_of(name: str, num_workers: int, *, person_effects: bool | None = None, **settings: Any) -> Config:
    config = load_config(CONFIGS / f"{name}.yaml")
    regions = tuple(f"r{place}" for place in range(NUM_BOLD_REGIONS))
    train_config = dataclasses.replace(config.train, num_workers=num_workers, start="random", **settings)
    return dataclasses.replace(
        config,
        twin=dataclasses.replace(
            config.twin,
            bold_regions=regions,
            person_effects=config.twin.person_effects if person_effects is None else person_effects,
        ),
        train=train_config,
        track=TrackConfig(wandb="off"),
    )


def apart(name: str, shards: Path, folder: Path) -> float:
    """Return the seconds of a step of two trainings of one rank that run at once and share nothing: what two cores can do at best."""
    config = config_of(name, 1, max_epochs=EPOCHS[name], checkpoint_every_epochs=EPOCHS[name])
    jobs = [make_job(config, shards, folder / f"{name}-apart{core}") for core in range(2)]
    with ThreadPoolExecutor() as pool:
        begun = [
            pool.submit(on_ranks, 1, functools.partial(train, count=False), job, first_core=core)
            for core, job in enumerate(jobs)
        ]
        measured = [each.result()[0] for each in begun]
    steps = len(jobs[0].plan.split.train) / jobs[0].plan.batch_size
    return statistics.mean(statistics.median(each["train"][1:]) for each in measured) / steps


def scaling(name: str, folder: Path) -> dict[str, Any]:
    """Train a configuration on 1, 2 and 4 ranks."""
    shards = folder / f"people-{name}"
    write_people(shards, PEOPLE[name], NUM_REGIONS)
    found: dict[str, Any] = {"ranks": {}, "apart_step_seconds": apart(name, shards, folder)}
    for world_size in WORLD_SIZES:
        config = config_of(name, world_size, max_epochs=EPOCHS[name], checkpoint_every_epochs=EPOCHS[name])
        job = make_job(config, shards, folder / f"{name}{world_size}")
        measured = on_ranks(world_size, functools.partial(train, count=False), job)[0]
        rows = [json.loads(line) for line in (job.plan.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        steps = len(job.plan.split.train) / job.plan.batch_size
        later = rows[1:]
        found["ranks"][world_size] = {
            "step_seconds": statistics.median(measured["train"][1:]) / steps,
            "epoch_seconds": statistics.median(row["seconds"] for row in later),
            "checkpoint_seconds": measured["checkpoint"][0],
            "wait_first": rows[0]["data_wait_share"],
            "wait_later": statistics.median(row["data_wait_share"] for row in later),
            "peak_share": statistics.median(row["peak_flops_share"] for row in later),
            "peak_memory_gib": rows[-1]["peak_memory_gib"],
            "train_loss": [row["train_loss"] for row in rows],
        }
        found |= {
            "people": len(job.plan.split.train),
            "batch_size": job.plan.batch_size,
            "num_parameters": sum(parameter.numel() for parameter in job.plan.twin().parameters()),
            "default_interval": fitted(
                load_config(CONFIGS / f"{name}.yaml").train, PEOPLE_OF_THE_PAPER
            ).checkpoint_every_epochs,
        }
    return found


def effects_cost(folder: Path, rounds: int = 3) -> dict[str, float]:
    """Return the seconds of a step with and without people's own effects, by turns: the machine may change between one and the next."""
    shards = folder / "people-effects"
    write_people(shards, PEOPLE["lowrank"], NUM_REGIONS)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(rounds):
        for name, epochs in seconds.items():
            config = config_of("lowrank", 1, person_effects=name == "with", max_epochs=4, checkpoint_every_epochs=4)
            job = make_job(config, shards, folder / f"effects-{name}-{turn}")
            steps = len(job.plan.split.train) / job.plan.batch_size
            epochs += [each / steps for each in on_ranks(1, functools.partial(train, count=False), job)[0]["train"][1:]]
    return {name: statistics.median(epochs) for name, epochs in seconds.items()}


def zero_stages(folder: Path) -> dict[int, Measured]:
    """Return for each ZeRO stage what a rank's optimizer holds, and what it hands to collectives in one
    step: the paper's size on 2 ranks."""
    shards = folder / "few"
    write_people(shards, 4, NUM_REGIONS)
    found = {}
    for stage in range(4):
        config = config_of("paper", 2, zero_stage=stage, max_epochs=2, checkpoint_every_epochs=2)
        found[stage] = on_ranks(
            2, functools.partial(train, count=True), make_job(config, shards, folder / f"zero{stage}")
        )[0]
    return found


def link(num_bytes: int) -> Measured:
    """Time, as a rank, the sum of a vector over all ranks, of so many bytes and of one number."""
    found = {}
    for name, size in (("large", num_bytes // 4), ("small", 1)):
        vector = torch.ones(size)
        torch.distributed.all_reduce(vector)
        times = []
        for _ in range(3 if name == "large" else 50):
            began = time.perf_counter()
            torch.distributed.all_reduce(vector)
            times.append(time.perf_counter() - began)
        found[name] = statistics.median(times)
    return found


def stream_rows(speed: dict[str, float], num_bytes: float) -> list[Row]:
    rows = [(way, f"{each:,.0f} people/s, {each * num_bytes / 1e6:,.0f} MB/s", "") for way, each in speed.items()]
    ours, plain = speed["our stream, shuffled, decoded"], speed["tarfile loop, decoded"]
    return [
        *rows,
        ("our stream, to the tarfile loop", f"{ours / plain:.2f}", "at least 0.9"),
        ("our stream, to the raw read", f"{ours / speed['raw read']:.2f}", ""),
    ]


def scaling_rows(name: str, found: dict[str, Any]) -> list[Row]:
    ranks = found["ranks"]
    one, two = ranks[1], ranks[2]
    rows = [
        (
            f"{name}: a step on {world_size} rank{'s' * (world_size > 1)}",
            f"{each['step_seconds']:.3f} s, {one['step_seconds'] / each['step_seconds']:.2f}x, {each['peak_share']:.0%} of peak, "
            f"{each['peak_memory_gib']:.1f} GiB",
            "at least 1.8x" if world_size == 2 else "",
        )
        for world_size, each in ranks.items()
    ]
    difference = max(
        abs(a - b) for each in ranks.values() for a, b in zip(each["train_loss"], one["train_loss"], strict=True)
    )
    epoch = two["epoch_seconds"] * PEOPLE_OF_THE_PAPER / found["people"]
    share = two["checkpoint_seconds"] / (two["checkpoint_seconds"] + found["default_interval"] * epoch)
    return [
        *rows,
        (
            f"{name}: two trainings at once that share nothing",
            f"{2 * one['step_seconds'] / found['apart_step_seconds']:.2f}x",
            "",
        ),
        (f"{name}: largest difference of the loss", f"{difference:.1e}", "below 1e-5"),
        (
            f"{name}: waiting for data, 2 ranks",
            f"{two['wait_later']:.2%}; first epoch {two['wait_first']:.1%}",
            "below 2%",
        ),
        (
            f"{name}: checkpoints, every {found['default_interval']} epochs of {PEOPLE_OF_THE_PAPER} people, 2 ranks",
            f"{two['checkpoint_seconds']:.2f} s each, {share:.2%} of the time",
            "below 3%",
        ),
    ]


def zero_rows(stages: dict[int, Measured], num_parameters: int) -> list[Row]:
    rows = []
    for stage, found in stages.items():
        moved = ", ".join(
            f"{kind} {num_bytes / 1e6:,.0f} MB" for kind, num_bytes in found["collectives"].items() if num_bytes > 1e6
        )
        optimizer, expected = expected_bytes(stage, num_parameters, 2)
        rows.append(
            (
                f"ZeRO {stage}, 2 ranks: optimizer; collectives a step",
                f"{found['optimizer'] / 1e6:,.0f} MB; {moved}",
                f"formula {optimizer / 1e6:,.0f} MB; {expected / 1e6:,.0f} MB",
            )
        )
    return rows


def expected_bytes(stage: int, num_parameters: int, world_size: int) -> tuple[float, float]:
    """Return a rank's bytes of optimizer state in float32, and those that it hands to collectives in a step.

    Two moments, with ZeRO also DeepSpeed's own weights, divided over the ranks. Gradients are summed once, whole, with ZeRO 1 and 2 each at
    its owner alone. With those two the weights are gathered afterwards, with ZeRO 3 before, and kept for the backward pass as long as they
    are fewer than `stage3_max_live_parameters`, which is a billion.
    """
    state = 8.0 if stage == 0 else 12.0 / world_size
    return state * num_parameters, (4.0 if stage == 0 else 8.0) * num_parameters


def about() -> dict[str, Any]:
    names = ("torch", "deepspeed", "webdataset")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
        "load": os.getloadavg()[0],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("stream", "lowrank", "paper", "zero", "effects")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    console = Console(width=140)
    machine = about()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"machine": machine, "core_flops": peak_flops(torch.device("cpu"), "float32")}
    table = Table("", "measured", "wanted")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = folder / "shards"
        write_people(shards, NUM_PEOPLE, NUM_REGIONS)
        num_bytes = sum(path.stat().st_size for path in shards.glob("*.tar")) / NUM_PEOPLE
        if "stream" in options.parts:
            figures["stream"] = people_per_second(shards, repeats=5)
            for row in stream_rows(figures["stream"], num_bytes):
                table.add_row(*row)
        if "zero" in options.parts:
            figures["zero"] = zero_stages(folder)
            num_parameters = sum(
                p.numel() for p in make_job(config_of("paper", 2), shards, folder / "count").plan.twin().parameters()
            )
            figures["link"] = {size: on_ranks(size, link, 4 * num_parameters)[0] for size in WORLD_SIZES[1:]}
            for row in zero_rows(figures["zero"], num_parameters):
                table.add_row(*row)
            for size, found in figures["link"].items():
                what = f"sum of {4 * num_parameters / 1e6:,.0f} MB over {size} ranks; of one number"
                table.add_row(what, f"{found['large']:.3f} s; {found['small'] * 1e6:.0f} µs", "")
        if "effects" in options.parts:
            figures["effects"] = cost = effects_cost(folder)
            times = cost["with"] / cost["without"]
            table.add_row(
                "lowrank: a step with people's own effects",
                f"{cost['with']:.3f} s, {times:.2f} times one without",
                "at most 1.15",
            )
        for each in ("lowrank", "paper"):
            if each in options.parts:
                figures[each] = scaling(each, folder)
                for row in scaling_rows(each, figures[each]):
                    table.add_row(*row)
    console.print(table)
    console.print(
        f"{NUM_PEOPLE} people of {NUM_REGIONS} regions, {num_bytes / 1e6:.1f} MB each; load at the end {os.getloadavg()[0]:.1f}"
    )
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
