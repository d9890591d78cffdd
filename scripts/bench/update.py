"""Measure updates: milliseconds a person on one core by the number of own trials, and many people through the pool beside one process.

    python scripts/bench/update.py SHARDS TRAINED [--people 10000] [--actors 2]

SHARDS and TRAINED are of any run of a twin with person effects, such as `dtb run configs/demo.yaml runs/demo`. There may be fewer people in
SHARDS than are asked for: they are then updated several times, each time under another name. What limits an update is one simulation of the
person's runs for each direction of the latent, a few times over: the table states the operations of that beside the time.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch
from fleet import BATCH, alone, of_an_actor, pace, where

from dtb.cluster.connection import connected
from dtb.config import ClusterConfig, FleetConfig, UpdateConfig
from dtb.fleet.actors.actor import Work
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool
from dtb.fleet.twins import SharedTwin, TwinRunner, open_shared_twin
from dtb.fleet.update import TABLES, UpdateWorker
from dtb.twin.flops import forward_flops

_APART = "again"


@dataclasses.dataclass
class Again:
    """Updates people of a cohort under other names, as often as there are names."""

    shared_twins: Sequence[SharedTwin]

    def __post_init__(self) -> None:
        self._worker = UpdateWorker(self.shared_twins, seed=0, settings=UpdateConfig(), num_rows=BATCH)

    def work(self, keys: Sequence[str]) -> Work:
        found = self._worker.work([key.split(_APART)[0] for key in keys])
        table = found.tables["latents"]
        return Work({"latents": table.set_column(0, "pseudonym", pa.array(list(keys), pa.string()))})


def by_trials(shared_twin: SharedTwin, rounds: int) -> None:
    """Time updates of one batch on one core, by the number of own trials."""
    torch.set_num_threads(1)
    keys = sorted(shared_twin.cohort().pseudonyms)[:BATCH]
    runner = TwinRunner(shared_twin, 0, BATCH)
    _, batch = runner.lay_out(keys)
    steps = batch.stimulus_SKTI.shape[1] * batch.stimulus_SKTI.shape[2]
    once = float(forward_flops(runner.twin, len(keys), len(keys) * steps))
    print(f"{len(keys)} people at once, {steps} model steps each; {where()}")
    print(f"{'own trials':>10} {'ms a person':>12} {'steps':>6} {'simulations a person':>21} {'GFLOP/s':>8}")
    size = shared_twin.card.config.latent_size
    for number in (0, 5, 10, 20, 40, None):
        worker = UpdateWorker([shared_twin], 0, UpdateConfig(trials=number, bold_seconds=0.0), BATCH)
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            table = worker.work(keys).tables["latents"]
            times.append((time.perf_counter() - start) / len(keys))
        taken = statistics.mean(table["num_steps"].to_pylist())
        # A gradient costs two more products for each of the simulation; the information one for each direction.
        simulations = 3 * (taken + 1) + size
        rate = simulations * once / len(keys) / statistics.median(times) / 1e9
        name = "all" if number is None else str(number)
        print(
            f"{name:>10} {1000 * statistics.median(times):12.1f} {taken:6.1f} {simulations:21.0f} {rate:8.1f}",
            flush=True,
        )


def through_the_pool(shared_twin: SharedTwin, num_people: int, num_actors: int) -> None:
    """Update many people through the pool, and some of them in one process."""
    everybody = sorted(shared_twin.cohort().pseudonyms)
    names = [f"{everybody[number % len(everybody)]}{_APART}{number:06d}" for number in range(num_people)]
    threads, niceness = of_an_actor()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder), TABLES)
        alone(Again, shared_twin, names[: max(4 * BATCH, num_people // 20)], ledger, threads, niceness)
        reference = pace(ledger, 1)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder), TABLES)
        fleet = FleetConfig(num_actors=num_actors, subjects_per_batch=BATCH)
        start = time.perf_counter()
        run_pool(functools.partial(Again), [shared_twin], names, ledger, fleet, description="bench")
        seconds, each = time.perf_counter() - start, pace(ledger, num_actors)
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    print(
        f"{num_people} people: {seconds:.0f} s with {num_actors} actor(s), {1000 * each:.1f} ms from one to the next; one process without "
        f"Ray {1000 * reference:.1f} ms; ratio {reference / each:.2f} of {num_actors}; {num_bytes / num_people:.0f} bytes a person"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("trained", type=Path)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with connected(ClusterConfig()):
        shared_twin = open_shared_twin(given.shards, given.trained)
        by_trials(shared_twin, given.rounds)
        through_the_pool(shared_twin, given.people, given.actors)


if __name__ == "__main__":
    main()
