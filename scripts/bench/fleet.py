"""Measure the fan-out: what Ray costs a person, what resuming costs, and how fast twins perform and are searched.

    python scripts/bench/fleet.py                                    # synthetic work: 100 to 100,000 people
    python scripts/bench/fleet.py --shards S --trained T --people 16 # real work, beside the same in one process

Synthetic work takes no time and writes a row, so that what is left is the fan-out's own cost.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from dtb.cluster import connected
from dtb.config import ClusterConfig, FleetConfig, InterveneConfig, SimulateConfig
from dtb.fleet.aim import make_aim
from dtb.fleet.intervene import TABLES as SEARCH_TABLES
from dtb.fleet.ledger import OK, Ledger, status_table
from dtb.fleet.performed import TABLES
from dtb.fleet.pool import Work, Worker, run_pool
from dtb.fleet.searchers import Searcher, Surveyor
from dtb.fleet.simulate import Simulator
from dtb.fleet.twins import Troupe, open_troupe

BATCH = 4
"""People that an actor takes at once, in real work."""


class Nothing:
    """A worker that only writes a row a person."""

    def __init__(self, _shared: object) -> None: ...

    def work(self, keys: Sequence[str]) -> Work:
        return Work({"rows": pa.table({"pseudonym": list(keys), "value": [float(len(key)) for key in keys]})})


def synthetic(sizes: Sequence[int], num_actors: int) -> None:
    """Fan out work that takes no time, and read the ledger of it again."""
    fleet = FleetConfig(num_actors=num_actors, cpus_per_actor=0.01, subjects_per_batch=8)
    print(f"{num_actors} actors, 8 people a batch; {where()}")
    print(
        f"{'people':>8} {'seconds':>8} {'ms each':>8} {'driver CPU ms each':>19} {'driver MiB':>11} {'store MiB':>10} {'resume s':>9}"
    )
    for size in sizes:
        keys = [f"p{number:07d}" for number in range(size)]
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(Path(folder), ["rows"])
            with stored() as most:
                cpu, start = time.process_time(), time.perf_counter()
                run_pool(Nothing, None, keys, ledger, fleet, description="bench")
                seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            start = time.perf_counter()
            assert len(Ledger(Path(folder), ["rows"]).finished()) == size
            resumed = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{size:8d} {seconds:8.1f} {1000 * seconds / size:8.2f} {1000 * cpu / size:19.2f} {memory:11.0f} {max(most):10.2f} "
            f"{resumed:9.2f}",
            flush=True,
        )


@contextlib.contextmanager
def stored() -> Iterator[list[float]]:
    """Look twice a second at how many MiB the object store holds."""
    import ray

    found, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            have, free = ray.cluster_resources(), ray.available_resources()
            found.append((have["object_store_memory"] - free["object_store_memory"]) / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def where() -> str:
    """Name the machine, the versions and the load."""
    import ray

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return (
        f"{os.cpu_count()} x {model}, Python {platform.python_version()}, ray {ray.__version__}, torch {torch.__version__}, load "
        f"{os.getloadavg()[0]:.1f}"
    )


def real(shards: Path, trained: Path, num_people: int, num_actors: int) -> None:
    """Simulate and search, in this process and through the pool; what a person costs is told by more people against fewer."""
    troupe = open_troupe(shards, trained)
    keys = sorted(troupe.cohort().pseudonyms)
    print(f"{len(keys)} people in the cohort, {troupe.card.sizes.num_regions} regions; {where()}")
    aim = make_aim(InterveneConfig(), troupe)
    simulator = functools.partial(Simulator, seed=0, settings=SimulateConfig())
    survey = aim.survey(Surveyor([troupe], aim, 0, frozenset(keys)).work(keys[:16]).tables["people"], ())
    searcher = functools.partial(Searcher, aim=aim, seed=0, survey=survey)
    kinds = (("simulate", simulator, TABLES, 4 * num_people), ("search", searcher, SEARCH_TABLES, num_people))
    for name, make, tables, num in kinds:
        few, many = keys[: num // 4], keys[:num]
        minutes = sum(run.duration_seconds for record in troupe.cohort().records(many) for run in record.runs) / 60
        alone = each_alone(make([troupe]), tables, few, many)
        print(f"{name}: one process without Ray {1000 * alone:.1f} ms a person")
        for actors in sorted({1, num_actors}):
            one = each_pooled(make, troupe, tables, few, many, actors)
            rate = (
                f"{minutes / num / one:.1f} subject-minutes a second"
                if name == "simulate"
                else f"{60 / one:.1f} a minute"
            )
            print(
                f"{name}: {actors} actor(s) {1000 * one:.1f} ms a person ({actors * one / alone - 1:+.1%} of an actor's time), {rate}",
                flush=True,
            )


def each_alone(worker: Worker, tables: Sequence[str], few: Sequence[str], many: Sequence[str]) -> float:
    """Give the seconds a person takes in this process, results written as an actor writes them."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, start = Ledger(Path(folder), tables), 0.0
        for place in range(0, len(many), BATCH):
            if place == len(few):
                start = time.perf_counter()
            batch = many[place : place + BATCH]
            work = worker.work(batch)
            ledger.commit(batch, work.tables, status_table([(key, OK, "", 0.0) for key in batch]))
        return (time.perf_counter() - start) / (len(many) - len(few))


def each_pooled(
    make: Callable[[Any], Worker],
    troupe: Troupe,
    tables: Sequence[str],
    few: Sequence[str],
    many: Sequence[str],
    actors: int,
) -> float:
    """Give the seconds by which a person prolongs a run of the pool, so that the start of the actors does not count."""
    fleet, seconds = FleetConfig(num_actors=actors, subjects_per_batch=BATCH), []
    for keys in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            seconds.append(
                run_pool(make, [troupe], keys, Ledger(Path(folder), tables), fleet, description="bench").seconds
            )
    return (seconds[1] - seconds[0]) / (len(many) - len(few))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--people", type=int, default=16, help="a multiple of 16; four times as many are simulated")
    given = parser.parse_args()
    with connected(ClusterConfig()):
        if given.shards and given.trained:
            real(given.shards, given.trained, given.people, given.actors)
        else:
            synthetic(given.sizes, given.actors)


if __name__ == "__main__":
    main()
