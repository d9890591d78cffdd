"""Measure the fan-out: what Ray costs a person, what resuming costs, and how fast twins perform and are searched.

    python scripts/bench/fleet.py                                    # synthetic work: 100 to 10,000 people
    python scripts/bench/fleet.py --shards S --trained T --people 16 # real work, beside the same in one process

Synthetic work takes no time and writes a row, so that what is left is the fan-out's own cost.
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from dtb.cluster import connected
from dtb.config import ClusterConfig, FleetConfig, InterveneConfig, SimulateConfig
from dtb.fleet.aim import make_aim
from dtb.fleet.intervene import TABLES as SEARCH_TABLES
from dtb.fleet.ledger import Ledger
from dtb.fleet.performed import TABLES
from dtb.fleet.pool import Work, run_pool
from dtb.fleet.searchers import Searcher, Surveyor
from dtb.fleet.simulate import Simulator
from dtb.fleet.twins import open_troupe


class Nothing:
    """A worker that only writes a row a person."""

    def __init__(self, _shared: object) -> None: ...

    def work(self, keys: Sequence[str]) -> Work:
        return Work({"rows": pa.table({"pseudonym": list(keys), "value": [float(len(key)) for key in keys]})})


def synthetic(sizes: Sequence[int], num_actors: int) -> None:
    """Fan out work that takes no time, and read the ledger of it again."""
    import ray

    fleet = FleetConfig(num_actors=num_actors, cpus_per_actor=0.01, subjects_per_batch=8)
    print(
        f"{'people':>8} {'seconds':>8} {'ms each':>8} {'driver CPU ms each':>19} {'driver MiB':>11} {'store MiB':>10} {'resume s':>9}"
    )
    for size in sizes:
        keys = [f"p{number:07d}" for number in range(size)]
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(Path(folder), ["rows"])
            cpu, start = time.process_time(), time.perf_counter()
            run_pool(Nothing, None, keys, ledger, fleet, description="bench")
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            start = time.perf_counter()
            assert len(Ledger(Path(folder), ["rows"]).finished()) == size
            resumed = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        have, free = ray.cluster_resources(), ray.available_resources()
        store = (have["object_store_memory"] - free["object_store_memory"]) / 2**20
        print(
            f"{size:8d} {seconds:8.1f} {1000 * seconds / size:8.2f} {1000 * cpu / size:19.2f} {memory:11.0f} {store:10.1f} {resumed:9.2f}",
            flush=True,
        )


def real(shards: Path, trained: Path, num_people: int, num_actors: int) -> None:
    """Simulate and search, through the pool and in this process."""
    troupe = open_troupe(shards, trained)
    keys = sorted(troupe.cohort().pseudonyms)[:num_people]
    minutes = sum(run.duration_seconds for record in troupe.cohort().records(keys) for run in record.runs) / 60
    fleet = FleetConfig(num_actors=num_actors, subjects_per_batch=max(1, num_people // (2 * num_actors)))
    make_simulator = functools.partial(Simulator, seed=0, settings=SimulateConfig())
    aim = make_aim(InterveneConfig(), troupe)
    survey = aim.survey(Surveyor([troupe], aim, 0, frozenset(keys)).work(keys).tables["people"], ())
    make_searcher = functools.partial(Searcher, aim=aim, seed=0, survey=survey)
    batches = [
        keys[start : start + fleet.subjects_per_batch] for start in range(0, len(keys), fleet.subjects_per_batch)
    ]
    kinds = (
        ("simulate", make_simulator, [troupe], TABLES, minutes, "subject-minutes a second"),
        ("search", make_searcher, [troupe], SEARCH_TABLES, 60.0 * len(keys), "searches a minute"),
    )
    for name, make, shared, tables, work, unit in kinds:
        with tempfile.TemporaryDirectory() as folder:
            worker, ledger = make(shared), Ledger(Path(folder) / "alone", tables)
            worker.work(batches[0])
            cpu, start = time.process_time(), time.perf_counter()
            for batch in batches:
                worker.work(batch)
            alone, cpu = time.perf_counter() - start, time.process_time() - cpu
            ledger = Ledger(Path(folder) / "pool", tables)
            summary = run_pool(make, shared, keys, ledger, fleet, description="bench")
            busy = sum(ledger.read("status")["seconds"].to_pylist())
        overhead = 100 * (num_actors * summary.seconds / busy - 1)
        print(f"{name}: one process {alone:.1f} s ({cpu:.1f} s of CPU), {work / alone:.1f} {unit}")
        print(
            f"{name}: {num_actors} actor(s) {summary.seconds:.1f} s, {work / summary.seconds:.1f} {unit}; they worked {busy:.1f} s: "
            f"{overhead:.0f}% came on top, their start included",
            flush=True,
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--people", type=int, default=16)
    given = parser.parse_args()
    with connected(ClusterConfig()):
        if given.shards and given.trained:
            real(given.shards, given.trained, given.people, given.actors)
        else:
            synthetic(given.sizes, given.actors)


if __name__ == "__main__":
    main()
