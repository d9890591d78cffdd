"""What `scripts/studies/step_model.py` fits and checks a model of a training step with: steps of several sizes, memory, and the link.

    python scripts/bench/step.py --parts machine fit --out step.json      # some minutes on two quiet cores each
    python scripts/bench/step.py --parts check --out step.json

Trainings are those of `train.py`: the paper's preset with fewer hidden units to fit, the paper's own size and `lowrank` to check. Every
rank has one thread and is bound to one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from ranks import Measured, make_job, on_ranks, train
from stream import write_people
from train import NUM_REGIONS, WORLD_SIZES, about, config_of, link

from dtb.config import Config

FITTED = {"hidden 100": ("paper", 100, (48, 16)), "hidden 200": ("paper", 200, (48, 16))}
CHECKED = {"lowrank": ("lowrank", None, (48,)), "paper": ("paper", None, (50,))}
EPOCHS = 5
COPIED_BYTES, LINK_BYTES = 2**28, 2**26


def steps_of(sizes: dict[str, tuple[str, int | None, tuple[int, ...]]], folder: Path) -> list[dict[str, Any]]:
    """Time trainings of each size on 1, 2 and 4 ranks; a batch is everybody who is trained on."""
    found = []
    for name, (preset, num_hidden, batch_sizes) in sizes.items():
        for batch_size in batch_sizes:
            # `lowrank` holds people out, and 48 of 70 are left.
            num_people, taken = (70, 16) if preset == "lowrank" else (batch_size, batch_size)
            shards = folder / f"{name}-{batch_size}".replace(" ", "-")
            write_people(shards, num_people, NUM_REGIONS)
            for ranks in WORLD_SIZES:
                job = make_job(sized(preset, num_hidden, taken, ranks), shards, folder / f"{shards.name}-{ranks}")
                measured = on_ranks(ranks, functools.partial(train, count=False), job)[0]
                num_steps = len(job.plan.split.train) / taken
                found.append(
                    {
                        "name": name,
                        "num_parameters": sum(parameter.numel() for parameter in job.plan.twin().parameters()),
                        "batch_size": taken,
                        "ranks": ranks,
                        "seconds": statistics.median(measured["train"][1:]) / num_steps,
                    }
                )
                print(found[-1], flush=True)
    return found


def sized(preset: str, num_hidden: int | None, batch_size: int, ranks: int) -> Config:
    """Return a preset's configuration with another number of hidden units and people a batch."""
    config = config_of(preset, ranks, max_epochs=EPOCHS, checkpoint_every_epochs=EPOCHS, batch_size=batch_size)
    return dataclasses.replace(
        config, twin=dataclasses.replace(config.twin, num_hidden=num_hidden or config.twin.num_hidden)
    )


def copying() -> Measured:
    """Return, as a process, the bytes a second that it copies from one large tensor to another."""
    source, target = torch.ones(COPIED_BYTES // 4), torch.zeros(COPIED_BYTES // 4)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - began)
    return {"rate": COPIED_BYTES / statistics.median(times)}


def machine() -> dict[str, Any]:
    """Measure memory on one core and on all at once, and sums over ranks."""
    told = about()
    cores = min(told["cores"], max(WORLD_SIZES))
    alone = on_ranks(1, copying)[0]["rate"]
    slowdown = {1: 1.0}
    for number in range(2, cores + 1):
        with ThreadPoolExecutor() as pool:
            begun = [pool.submit(on_ranks, 1, copying, first_core=core) for core in range(number)]
            slowdown[number] = alone / statistics.mean(each.result()[0]["rate"] for each in begun)
    links = {ranks: on_ranks(ranks, link, LINK_BYTES)[0] for ranks in WORLD_SIZES[1:]}
    return {
        **told,
        "bandwidth": alone,
        "slowdown": slowdown,
        "link_seconds_per_byte": {ranks: each["large"] / LINK_BYTES for ranks, each in links.items()},
        "link_seconds": {ranks: each["small"] for ranks, each in links.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("machine", "fit", "check")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--out", type=Path, required=True, help="where figures are added")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        for part in given.parts:
            print(part, about(), flush=True)
            sizes = {"fit": FITTED, "check": CHECKED}
            figures[part] = machine() if part == "machine" else steps_of(sizes[part], Path(name))
            given.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
