"""How long a rank waits for data in each epoch, where a step takes a fixed time: what thousands of people do to a feed.

    python scripts/bench/waiting.py                                  # 5,000 people, 8 ranks, 16 a batch, 10 ms a step
    python scripts/bench/waiting.py --people 1000 --epochs 3

One rank of a node is timed, with the loop's own clock and a step that sleeps, as a host does while its GPU computes. What the others of the
node lay out in the first epoch is laid out between its end and the second, untimed, as they would have done meanwhile; the store is the one
of `dtb train`. People have 434 regions, all of them with BOLD, and two runs; a few are made and stand for all, so that reading shards costs
what it does where they are in memory. The last epoch is timed once more after the system was asked to forget the layouts, so that they come
from the disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stream as bench
import torch

from dtb.config import SegmentConfig
from dtb.machine.memory import keep_freed_memory
from dtb.people.records import SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.layouts import LayoutStore
from dtb.shards.read import Cohort, open_cohort
from dtb.shards.split import Split
from dtb.shards.stream import SubjectStream
from dtb.train.epoch_sums import Wait
from dtb.train.feed import Feed

MADE = 16
NUM_REGIONS = 434


class ManyOfFew(Cohort):
    """A cohort in which a few people's records stand for those of all others."""

    def record(self, pseudonym: str) -> SubjectRecord:
        """Read the record that stands for somebody's."""
        found = super().record(self.pseudonyms[int(pseudonym[1:]) % MADE])
        return dataclasses.replace(found, pseudonym=pseudonym)


def make_feed(folder: Path, num_people: int, batch_size: int, rank: int, ranks: int, store: LayoutStore) -> Feed:
    cohort = open_cohort(folder, verify=False)
    people = tuple(f"p{number:05d}" for number in range(num_people))
    split = Split("subjects", people, people, people)
    maker = BatchMaker(bench.TASKSET, SegmentConfig(), 0.08, range(NUM_REGIONS), split)
    few = ManyOfFew(cohort.path, cohort.manifest)
    stream = SubjectStream(people, batch_size, seed=0)
    return Feed(few, maker, stream, "train", rank, ranks, layouts=store)


def timed(feed: Feed, epoch: int, step_seconds: float) -> tuple[float, float, int]:
    """Return the share of an epoch that a rank waits, its seconds, and how many of its people had no layout when it began."""
    assert feed.layouts is not None
    shares = list(feed.stream.shares(epoch, feed.rank, feed.world_size))
    new = sum(feed.layouts.read(who, feed.part) is None for share in shares for who in share.pseudonyms)
    batches: Iterator[Any] = feed.batches(epoch)
    wait, began = Wait(), time.perf_counter()
    for _ in wait.timed(batches):
        time.sleep(step_seconds)
    return wait.share, time.perf_counter() - began, new


def forget(folder: Path) -> None:
    """Ask the system to keep no file of a folder in memory."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Measure and print a row for each epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--ranks", type=int, default=8, help="of one node")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--step-ms", type=float, default=10.0)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        shards = Path(name) / "shards"
        bench.write_people(shards, MADE, NUM_REGIONS, num_runs=2)
        store = LayoutStore("bench", Path(name))
        feeds = [
            make_feed(shards, options.people, options.batch, rank, options.ranks, store)
            for rank in range(options.ranks)
        ]
        print(f"{'epoch':>24} {'waiting':>8} {'s':>7} {'new':>6}   load {os.getloadavg()[0]:.1f}", flush=True)

        def row(name: str, epoch: int) -> None:
            share, seconds, new = timed(feeds[0], epoch, options.step_ms / 1e3)
            print(f"{name:>24} {share:8.2%} {seconds:7.1f} {new:6d}   load {os.getloadavg()[0]:.1f}", flush=True)

        row("1", 0)
        began = time.perf_counter()
        laid_out = 0
        for feed in feeds[1:]:
            for share in feed.stream.shares(0, feed.rank, feed.world_size):
                for who in share.pseudonyms:
                    feed._layout(who)
                    laid_out += 1
        seconds = time.perf_counter() - began
        size = sum(path.stat().st_size for path in store.folder.iterdir())
        count = sum(path.suffix == ".safetensors" for path in store.folder.iterdir())
        print(
            f"the other ranks laid out {laid_out} people, {1e3 * seconds / max(laid_out, 1):.1f} ms each; {count} layouts of "
            f"{size / max(count, 1) / 1e6:.1f} MB{', the disk is too full for more' if store.is_full else ''}",
            flush=True,
        )
        for epoch in range(1, options.epochs):
            row(str(epoch + 1), epoch)
        forget(store.folder)
        row(f"{options.epochs}, from the disk", options.epochs - 1)
        store.close()


if __name__ == "__main__":
    main()
