"""How fast people become shards: people a minute, against the floor of reading the bytes, and where the time goes.

    python scripts/bench/ingest.py [--people 48] [--regions 434] [--workers 1 2] [--folder DIR]

A few made-up people are written as XCP-D would (two rest runs and two task runs each, tab-separated), and copied until there are enough.
Steps are timed in one process, one person after the other; whole runs are `dtb ingest` on a Ray cluster of so many cores.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dtb.cluster.connection import connected
from dtb.cohort.bids.files import PersonFiles
from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.finished import FinishedPeople
from dtb.cohort.ingest import ingest
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series.read import read_region_names, read_series
from dtb.config import ClusterConfig, Config, IngestConfig, SynthConfig
from dtb.groundtruth.synthesise import synthesise
from dtb.shards.write import ShardWriter
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

_NUM_DIFFERENT = 4
_TASKS = TaskSet((load_task("stroop"), load_task("hammer")))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=48)
    parser.add_argument("--regions", type=int, default=434)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ray", "pyarrow", "numpy"))
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["XDG_CACHE_HOME"] = name  # the list of files is to be made anew, and not to be kept
        bids, derivatives = make_people(Path(name), options.people, options.regions)
        people = steps(bids, derivatives, Path(name) / "steps")
        for num_cpus in options.workers:
            whole(bids, derivatives, Path(name) / f"out{num_cpus}", num_cpus, len(people))


def make_people(folder: Path, num_people: int, num_regions: int) -> tuple[Path, Path]:
    """Write the trees and give their roots."""
    synth = SynthConfig(num_subjects=_NUM_DIFFERENT, num_regions=num_regions, rest_seconds=390.4)
    synthesise(Config(synth=synth), folder, resume=False)
    roots = folder / "bids", folder / "derivatives" / "xcp_d"
    for number in range(_NUM_DIFFERENT, num_people):
        source, label = f"sub-{number % _NUM_DIFFERENT + 1:04d}", f"sub-c{number:05d}"
        for root in roots:
            for path in (root / source / "func").iterdir():
                target = root / label / "func" / path.name.replace(source, label)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    return roots


def steps(bids: Path, derivatives: Path, out: Path) -> list[PersonFiles]:
    """Time each step in this process."""
    config, roots = IngestConfig(), (derivatives,)
    paths = [path for root in (bids, derivatives) for path in root.rglob("*") if path.is_file()]
    spent: dict[str, tuple[float, float]] = {}
    with timed(spent, "floor"):
        num_bytes = sum(len(path.read_bytes()) for path in paths)
    with timed(spent, "index"):
        people = index_people(bids, roots, config, _TASKS)
    regions = read_region_names(people[0].rest[0], roots, config)
    kept, writer = FinishedPeople(out, None), ShardWriter(out, config.subjects_per_shard)
    for number, person in enumerate(people):
        job = PersonJob(person, f"p{number}", no_covariates(), roots)
        with timed(spent, "read"):
            for series in (*person.rest, *(events.series for events in person.events)):
                assert series is not None
                read_series(series, regions, config, roots)
            for events in person.events:
                read_trials(_TASKS.specs[events.task_index], events.path)
        with timed(spent, "read, connectome, quality"):
            read = read_person(job, regions, _TASKS, config)
        assert read.record is not None, read.reason
        with timed(spent, "keep"):
            kept.keep(job, read)
        with timed(spent, "write"):
            writer.add(read.record)
    both = spent.pop("read, connectome, quality")
    floor = spent.pop("floor")
    spent["connectome, quality"] = both[0] - spent["read"][0], both[1] - spent["read"][1]
    wall, cpu = (sum(times) for times in zip(*spent.values(), strict=True))
    print(f"{len(people)} people, {len(regions)} regions, {len(paths)} files, {num_bytes / 2**20:.0f} MiB")
    print(f"reading the bytes: {floor[0]:.2f} s, {60 * len(people) / floor[0]:,.0f} people a minute")
    print(f"one process: {wall:.2f} s ({cpu:.2f} s of CPU), {60 * len(people) / wall:,.0f} people a minute, of which")
    for step, (seconds, used) in spent.items():
        print(f"  {step:24s} {seconds:6.2f} s {used:6.2f} s of CPU {100 * used / cpu:4.0f}%")
    return people


@contextlib.contextmanager
def timed(spent: dict[str, tuple[float, float]], step: str) -> Iterator[None]:
    """Add the wall and CPU seconds of a block to a step's."""
    start, used = time.perf_counter(), time.process_time()
    yield
    wall, cpu = spent.get(step, (0.0, 0.0))
    spent[step] = wall + time.perf_counter() - start, cpu + time.process_time() - used


def whole(bids: Path, derivatives: Path, out: Path, num_cpus: int, num_people: int) -> None:
    """Time `dtb ingest` on so many cores, the start of the cluster apart."""
    cluster = ClusterConfig(num_cpus=num_cpus)
    start = time.perf_counter()
    with connected(cluster):
        started = time.perf_counter() - start
        start = time.perf_counter()
        ingest(Config(cluster=cluster), bids, (derivatives,), out, resume=False)
        seconds = time.perf_counter() - start
    print(
        f"{num_cpus} worker(s): {seconds:.2f} s, {60 * num_people / seconds:,.0f} people a minute, and {started:.1f} s for the cluster to "
        f"start; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
