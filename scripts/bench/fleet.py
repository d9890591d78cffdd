"""Measure the fan-out: what Ray costs a person, what resuming costs, and how fast twins perform and are searched.

    python scripts/bench/fleet.py                                    # synthetic work: 100 to 100,000 people
    python scripts/bench/fleet.py --sizes 100000 --work-ms 20 --actors 32    # work that takes time, and no processor
    python scripts/bench/fleet.py --shards S --trained T --people 48 # real work, beside the same in one process

Synthetic work takes no time and writes a row, so that what is left is the fan-out's own cost; or it sleeps, so that the driver can be seen
at the pace of real work: its share of a core, its memory after a tenth of the time and at the end, and the files. Real work is done by
a process without Ray too, with as many threads as an actor, at its priority, and keeping what it frees: what then differs is Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
import platform
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch

from dtb.cluster.connection import connected
from dtb.config import ClusterConfig, FleetConfig, InterveneConfig, SimulateConfig
from dtb.fleet.actors.actor import Work, Worker
from dtb.fleet.actors.ledger import OK, Ledger, status_table
from dtb.fleet.actors.run import run_pool
from dtb.fleet.intervene import TABLES as SEARCH_TABLES
from dtb.fleet.named_target import make_search_target
from dtb.fleet.performance_tables import TABLES
from dtb.fleet.search_worker import SearchWorker
from dtb.fleet.simulate import SimulationWorker
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.twins import SharedTwin, open_shared_twin
from dtb.machine.cores import usable_cores
from dtb.machine.memory import keep_freed_memory

BATCH = 8
"""People that an actor takes at once, in real work."""


class Nothing:
    """A worker that only writes a row a person, after so many seconds for each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def work(self, keys: Sequence[str]) -> Work:
        time.sleep(self._seconds * len(keys))
        return Work({"rows": pa.table({"pseudonym": list(keys), "value": [float(len(key)) for key in keys]})})


def synthetic(sizes: Sequence[int], num_actors: int, work_seconds: float) -> None:
    """Fan out work that takes no processor, and read the ledger of it again."""
    fleet = FleetConfig(num_actors=num_actors, cpus_per_actor=0.01, subjects_per_batch=8)
    print(f"{num_actors} actors, 8 people a batch, {1000 * work_seconds:g} ms of work each; {where()}")
    print(
        f"{'people':>8} {'seconds':>8} {'ms each':>8} {'driver CPU ms each':>19} {'of a core':>10} {'MiB at 10%':>11} {'at the end':>11} "
        f"{'store MiB':>10} {'most files':>11} {'files':>7} {'resume s':>9}"
    )
    for size in sizes:
        keys = [f"p{number:07d}" for number in range(size)]
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(Path(folder), ["rows"])
            with watched(Path(folder)) as looks:
                cpu, start = time.process_time(), time.perf_counter()
                run_pool(Nothing, work_seconds, keys, ledger, fleet, description="bench")
                seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            files = sum(path.is_file() for path in Path(folder).rglob("*"))
            start = time.perf_counter()
            assert len(Ledger(Path(folder), ["rows"]).finished()) == size
            resumed = time.perf_counter() - start
        memory = [look.memory_mib for look in looks]
        print(
            f"{size:8d} {seconds:8.1f} {1000 * seconds / size:8.2f} {1000 * cpu / size:19.2f} {cpu / seconds:10.1%} "
            f"{memory[len(memory) // 10]:11.0f} {memory[-1]:11.0f} {max(look.stored_mib for look in looks):10.2f} "
            f"{max(look.files for look in looks):11d} {files:7d} {resumed:9.2f}",
            flush=True,
        )


class Look(NamedTuple):
    """What is there at a moment of a run: in the object store, in the driver's memory, and in the output folder."""

    stored_mib: float
    memory_mib: float
    files: int


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[list[Look]]:
    """Look every two seconds, from a process of its own as far as it costs anything: what the driver spends is measured."""
    import psutil
    import ray

    own, looks, done = psutil.Process(), [], threading.Event()

    def look() -> None:
        have, free = ray.cluster_resources(), ray.available_resources()
        stored = (have["object_store_memory"] - free["object_store_memory"]) / 2**20
        listed = subprocess.run(["find", folder, "-type", "f"], capture_output=True, check=False).stdout
        looks.append(Look(stored, own.memory_info().rss / 2**20, listed.count(b"\n")))

    def keep_looking() -> None:
        while not done.wait(2.0):
            look()

    look()
    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        yield looks
    finally:
        done.set()
        thread.join()
        look()


def where() -> str:
    """Name the machine, the versions and the load."""
    import ray

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return (
        f"{os.cpu_count()} x {model}, Python {platform.python_version()}, ray {ray.__version__}, torch {torch.__version__}, load "
        f"{os.getloadavg()[0]:.1f}"
    )


def real(shards: Path, trained: Path, num_people: int, num_actors: int, rounds: int) -> None:
    """Simulate and search, in this process and through the pool, once everybody has begun."""
    shared_twin = open_shared_twin(shards, trained)
    everybody = sorted(shared_twin.cohort().pseudonyms)
    print(f"{len(everybody)} people in the cohort, {shared_twin.card.sizes.num_regions} regions; {where()}")
    aim = make_search_target(InterveneConfig(), shared_twin)
    surveyed = SurveyWorker([shared_twin], aim, 0, frozenset(everybody)).work(everybody[:16])
    survey = aim.survey([surveyed.tables["people"]], ())
    simulator = functools.partial(SimulationWorker, seed=0, settings=SimulateConfig(), num_rows=BATCH)
    searcher = functools.partial(SearchWorker, search_target=aim, seed=0, survey=survey, num_rows=BATCH)
    threads, niceness = of_an_actor()
    print(f"threads: {threads}, niceness: {niceness}, both in an actor and in the process without Ray")
    for name, make, tables, keys in (
        ("simulate", simulator, TABLES, everybody),
        ("search", searcher, SEARCH_TABLES, everybody[:num_people]),
    ):
        minutes = sum(run.duration_seconds for record in shared_twin.cohort().records(keys) for run in record.runs) / 60
        ways: dict[str, Callable[[Ledger], object]] = {
            "one process without Ray": lambda ledger, own=(make, shared_twin, keys): alone(
                *own, ledger, threads, niceness
            ),
            **{
                f"{actors} actor(s)": lambda ledger, own=(make, keys), actors=actors: run_pool(
                    own[0],
                    [shared_twin],
                    own[1],
                    ledger,
                    FleetConfig(num_actors=actors, subjects_per_batch=BATCH),
                    description="bench",
                )
                for actors in sorted({1, num_actors})
            },
        }
        numbers = dict(zip(ways, (1, *sorted({1, num_actors})), strict=True))
        paces: dict[str, list[float]] = {way: [] for way in ways}
        worked: dict[str, list[float]] = {way: [] for way in ways}
        # In turn, for what else the machine does changes from minute to minute.
        for _ in range(rounds):
            for way, act in ways.items():
                with tempfile.TemporaryDirectory() as folder:
                    ledger = Ledger(Path(folder), tables)
                    act(ledger)
                    paces[way].append(pace(ledger, numbers[way]))
                    worked[way].append(working(ledger))
        first = next(iter(ways))
        for way in ways:
            one = statistics.median(paces[way])
            ratios = [numbers[way] * mine / theirs - 1 for mine, theirs in zip(paces[way], paces[first], strict=True)]
            more = f", {statistics.median(ratios):+.1%} of an actor's time ({min(ratios):+.1%} to {max(ratios):+.1%})"
            rate = (
                f"{minutes / len(keys) / one:.1f} subject-minutes a second"
                if name == "simulate"
                else f"{60 / one:.1f} a minute"
            )
            print(
                f"{name}: {way} {1000 * one:.1f} ms a person{more if way != first else ''}, {statistics.median(worked[way]):.1f} ms of "
                f"it at work; {rate}",
                flush=True,
            )


def alone(
    make: Callable[[Any], Worker],
    shared_twin: SharedTwin,
    keys: Sequence[str],
    ledger: Ledger,
    threads: int,
    niceness: int,
) -> None:
    """Do the work in a process of its own, without Ray."""
    process = multiprocessing.get_context("spawn").Process(
        target=without_ray, args=(make, shared_twin, keys, ledger, threads, niceness)
    )
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the process without Ray ended with {process.exitcode}")


def of_an_actor() -> tuple[int, int]:
    """Ask an actor with how many threads it computes, and at which priority."""
    import ray

    @ray.remote(num_cpus=FleetConfig().cpus_per_actor)
    def tell() -> tuple[int, int]:
        return torch.get_num_threads(), os.nice(0)

    threads, niceness = ray.get(tell.remote())
    return threads, niceness


def without_ray(
    make: Callable[[Any], Worker],
    shared_twin: SharedTwin,
    keys: Sequence[str],
    ledger: Ledger,
    threads: int,
    niceness: int,
) -> None:
    """Do what an actor does, batch by batch, in a process of its own."""
    torch.set_num_threads(threads)
    os.nice(niceness - os.nice(0))
    keep_freed_memory()
    worker = make([shared_twin])
    for place in range(0, len(keys), BATCH):
        batch, start = keys[place : place + BATCH], time.perf_counter()
        found = worker.work(batch).tables
        each = (time.perf_counter() - start) / len(batch)
        ledger.commit(batch, found, status_table([(key, OK, "", each) for key in batch]))


def pace(ledger: Ledger, num_actors: int) -> float:
    """Return the seconds from one person to the next, from when each actor has finished its first batch, so that no start counts."""
    times = sorted(path.stat().st_mtime for path in (ledger.folder / "status").glob("part-*"))
    return (times[-1] - times[num_actors - 1]) / (BATCH * (len(times) - num_actors))


def working(ledger: Ledger) -> float:
    """Return the milliseconds a person of the worker's own: the rest is writing and waiting."""
    return 1000 * statistics.median(ledger.read("status")["seconds"].to_pylist())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--work-ms", type=float, default=0.0, help="of synthetic work, for each person")
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--people", type=int, default=48, help="how many are searched; all are simulated")
    parser.add_argument("--rounds", type=int, default=3, help="of real work: medians over so many are printed")
    given = parser.parse_args()
    with connected(ClusterConfig()):
        if given.shards and given.trained:
            real(given.shards, given.trained, given.people, min(given.actors, usable_cores()), given.rounds)
        else:
            synthetic(given.sizes, given.actors, given.work_ms / 1e3)


if __name__ == "__main__":
    main()
