"""How long it takes to find everybody's files in trees of 1,000 and 10,000 people (names only, as on a laboratory's disk).

python scripts/bench/index.py [--people 1000 10000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from dtb.cohort.index import index_people
from dtb.config import IngestConfig
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

_SPACE = "space-MNI152NLin2009cAsym_seg-4S456Parcels_stat-mean_timeseries"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    tasks = TaskSet((load_task("stroop"), load_task("hammer")))
    for num_people in options.people:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            bids, derivatives = Path(name) / "bids", Path(name) / "xcp_d"
            num_files = sum(make_person(bids, derivatives, number) for number in range(num_people))
            start = time.perf_counter()
            people = index_people(bids, (derivatives,), IngestConfig(), tasks)
            seconds = time.perf_counter() - start
        assert len(people) == num_people
        assert all(len(person.rest) == 2 and len(person.events) == 2 for person in people)
        print(f"{num_people} people, {num_files} files: {seconds:.2f} s ({1e3 * seconds / num_people:.2f} ms a person)")


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
