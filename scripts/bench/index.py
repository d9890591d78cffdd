"""How long it takes to find everybody's files in trees of 1,000 and 10,000 people (names only, as on a laboratory's disk).

Three times: without a kept list of the trees, with one, and with one after a person has got another run. Beside them, as a floor, how long
Python needs to go through all names and do nothing with them.

python scripts/bench/index.py [--people 1000 10000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dtb.cohort.bids.index import index_people
from dtb.config import IngestConfig
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

Found = TypeVar("Found")
_SPACE = "space-MNI152NLin2009cAsym_seg-4S456Parcels_stat-mean_timeseries"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    tasks = TaskSet((load_task("stroop"), load_task("hammer")))
    for num_people in options.people:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            measure(Path(name), num_people, tasks)


def measure(folder: Path, num_people: int, tasks: TaskSet) -> None:
    """Make the trees, find everybody, and print how long it took."""
    bids, derivatives = folder / "bids", folder / "xcp_d"
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    num_files = sum(make_person(bids, derivatives, number) for number in range(num_people))
    time.sleep(3)  # a tree that changed within two seconds is not trusted to have settled
    floor, num_walked = timed(lambda: sum(len(names) for root in (bids, derivatives) for *_, names in os.walk(root)))
    assert num_walked == num_files
    first, people = timed(lambda: index_people(bids, (derivatives,), IngestConfig(), tasks))
    assert len(people) == num_people
    assert all(len(person.rest) == 2 and len(person.events) == 2 for person in people)
    kept, again = timed(lambda: index_people(bids, (derivatives,), IngestConfig(), tasks))
    assert again == people
    events = people[0].events[0].path
    events.with_name(events.name.replace("run-01", "run-02")).touch()
    changed, more = timed(lambda: index_people(bids, (derivatives,), IngestConfig(), tasks))
    assert len(more[0].events) == 3
    print(
        f"{num_people} people, {num_files} files: {first:.2f} s ({1e3 * first / num_people:.2f} ms a person), with a kept list "
        f"{kept:.2f} s, after a change {changed:.2f} s; names alone {floor:.2f} s"
    )


def timed(work: Callable[[], Found]) -> tuple[float, Found]:
    """Do it, and give the seconds it took and what came of it."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def make_person(bids: Path, derivatives: Path, number: int) -> int:
    """Make one person's empty files and give their number."""
    label = f"{number:06d}"
    raw, derived = (root / f"sub-{label}" / "ses-1" / "func" for root in (bids, derivatives))
    raw.mkdir(parents=True)
    derived.mkdir(parents=True)
    runs = [f"sub-{label}_ses-1_task-{task}_dir-{way}_run-01" for task, way in
            (("rest", "AP"), ("rest", "PA"), ("stroop", "AP"), ("hammer", "AP"))]  # fmt: skip
    paths = [raw / f"{run}_{ending}" for run in runs for ending in ("bold.json", "bold.nii.gz")]
    paths += [raw / f"{run}_events.tsv" for run in runs[2:]]
    paths += [derived / f"{run}_{ending}" for run in runs
              for ending in (f"{_SPACE}.tsv", f"{_SPACE}.json", "motion.tsv", "outliers.tsv")]  # fmt: skip
    for path in paths:
        path.touch()
    return len(paths)


if __name__ == "__main__":
    main()
