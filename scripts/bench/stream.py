"""What feeding a training costs: from shards to arrays and to tensors, on a cohort of made-up people. `train.py` prints it.

Stream: people a second from shards to arrays, in the shuffled order of training, beside a plain `tarfile` loop that decodes the same
people in the order of the tars, and beside the raw read of the bytes. Batches: people a second laid out as tensors, in a first epoch
(nothing in memory) and in a second one. Manifest: what verifying all checksums costs, once a job.
"""

from __future__ import annotations

import math
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dtb.config import SegmentConfig
from dtb.people.records import Run, SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.manifest import CohortDescription
from dtb.shards.read import Cohort, open_cohort
from dtb.shards.sample import decode_sample
from dtb.shards.split import Split
from dtb.shards.stream import SubjectStream
from dtb.shards.write import ShardWriter
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials
from dtb.train.feed import Feed

TASKSET = TaskSet((load_task("hammer"),))
RUN_SECONDS, REPETITION_TIME, NUM_RUNS = 400.0, 0.8, 3


def make_person(number: int, num_regions: int, num_runs: int = NUM_RUNS) -> SubjectRecord:
    rng = np.random.default_rng(number)
    onset_J = np.arange(2.0, RUN_SECONDS - 4, 4.0)
    num_trials = len(onset_J)
    trials = Trials(
        onset_seconds_J=onset_J,
        window_seconds_J=np.full(num_trials, 2.0),
        rt_seconds_J=rng.uniform(0.3, 1.5, num_trials),
        response_JA=np.eye(2, dtype=bool)[rng.integers(2, size=num_trials)],
        correct_JA=np.eye(2, dtype=bool)[rng.integers(2, size=num_trials)],
        scored_J=np.ones(num_trials, bool),
        usable_J=np.ones(num_trials, bool),
        condition_J=np.zeros(num_trials, np.int16),
        pulse_channel_Q=np.zeros(num_trials, np.int16),
        pulse_onset_seconds_Q=onset_J,
        pulse_duration_seconds_Q=np.full(num_trials, 2.0),
        pulse_value_Q=np.ones(num_trials, np.float32),
    )
    num_volumes = round(RUN_SECONDS / REPETITION_TIME)
    runs = tuple(
        Run(
            "hammer",
            "hammer",
            None,
            str(place),
            trials,
            RUN_SECONDS,
            rng.normal(size=(num_volumes, num_regions)).astype(np.float32),
            REPETITION_TIME,
            np.full(num_regions, 1000.0, np.float32),
        )
        for place in range(num_runs)
    )
    edges = rng.normal(size=num_regions * (num_regions - 1) // 2).astype(np.float32)
    return SubjectRecord(f"p{number:05d}", edges, {"site": "here"}, runs)


def write_people(folder: Path, num_people: int, num_regions: int, num_runs: int = NUM_RUNS) -> None:
    writer = ShardWriter(folder, subjects_per_shard=16)
    for number in range(num_people):
        writer.add(make_person(number, num_regions, num_runs))
    regions = tuple(f"r{place}" for place in range(num_regions))
    writer.finish(CohortDescription(regions, TASKSET.to_plain(), {}, "0" * 64))


def read_raw(folder: Path) -> None:
    buffer = bytearray(1 << 20)
    for path in sorted(folder.glob("*.tar")):
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def read_with_tarfile(folder: Path) -> None:
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = iter(tar)
            for header, arrays in zip(members, members, strict=True):
                decode_sample(tar.extractfile(header).read(), tar.extractfile(arrays).read())  # type: ignore[union-attr]


def read_shuffled(cohort: Cohort) -> None:
    order = SubjectStream(cohort.pseudonyms, 16, seed=0).order(epoch=0)
    for _ in cohort.records(order):
        pass


def make_feed(cohort: Cohort) -> Feed:
    people = cohort.pseudonyms
    split = Split("subjects", people, people, people)
    bold_regions = range(min(20, len(cohort.manifest.description.regions)))
    maker = BatchMaker(TASKSET, SegmentConfig(), 0.08, bold_regions, split)
    return Feed(cohort, maker, SubjectStream(people, 16, seed=0), "train", 0, 1)


def epoch_of(feed: Feed, epoch: int) -> None:
    for _ in feed.batches(epoch):
        pass


def people_per_second(folder: Path, repeats: int) -> dict[str, float]:
    """Time each way of reading a cohort, the best of so many times each."""
    cohort = open_cohort(folder)
    fed = make_feed(cohort)
    epoch_of(fed, 0)
    ways: dict[str, Callable[[], object]] = {
        "raw read": lambda: read_raw(folder),
        "tarfile loop, decoded": lambda: read_with_tarfile(folder),
        "our stream, shuffled, decoded": lambda: read_shuffled(cohort),
        "batches, first epoch": lambda: epoch_of(make_feed(cohort), 0),
        "batches, later epochs": lambda: epoch_of(fed, 1),
        "verify all checksums": lambda: open_cohort(folder),
    }
    best = dict.fromkeys(ways, math.inf)
    # In turns, so that a moment when the machine is slow does not fall on one way alone.
    for _ in range(repeats):
        for way, act in ways.items():
            began = time.perf_counter()
            act()
            best[way] = min(best[way], time.perf_counter() - began)
    return {way: len(cohort) / seconds for way, seconds in best.items()}
