"""Process groups without Ray: `work` in as many processes as there are ranks, on this machine.

Ranks are forked from a process that has imported what they need, once for all of them: that takes seconds, and starting a rank then none.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from dtb.config import Config
from dtb.shards.read import open_cohort
from dtb.train.engine import read_user_settings
from dtb.train.plan import make_plan
from dtb.train.scales import measure_scales
from dtb.train.worker import Job, work


def make_job(config: Config, shards: Path, out: Path) -> Job:
    plan = make_plan(config, shards, out, open_cohort(shards))
    out.mkdir(parents=True, exist_ok=True)
    return Job(plan, measure_scales(plan), read_user_settings(config.train.deepspeed))


class StoppedError(Exception):
    """Raised in a rank that is to stop in the middle of training."""


def one_rank(
    rank: int,
    world_size: int,
    store: str,
    job: Job,
    stop_after: int | None,
    seconds_longer: float = 0.0,
    seconds_a_batch: float = 0.0,
    told_after: int | None = None,
) -> None:
    import torch

    from dtb.train.stopping import LookOut

    if seconds_longer:
        take_longer(seconds_longer)
    if seconds_a_batch:
        make_batches_slowly(seconds_a_batch)
    if stop_after is not None:
        stop_in_step(stop_after + 1)

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world_size, timeout=timedelta(seconds=120)
    )
    looks = itertools.count(1)
    # A second passes from one step to the next, so it looks after each.
    look_out = LookOut(lambda: told_after == next(looks), clock=map(float, itertools.count()).__next__)
    try:
        assert work(job, look_out) is (told_after is None)
    except StoppedError:
        pass
    finally:
        torch.distributed.destroy_process_group()


def take_longer(seconds: float) -> None:
    """Make each forward pass of this process take so much longer."""
    from dtb.twin.objective import Objective

    forward = Objective.forward

    def slowly(objective, batch):
        time.sleep(seconds)
        return forward(objective, batch)

    Objective.forward = slowly


def make_batches_slowly(seconds: float) -> None:
    """Make each batch of this process take so much longer to be made."""
    from dtb.train.feed import Feed

    make = Feed._make

    def slowly(feed, *args):
        time.sleep(seconds)
        return make(feed, *args)

    Feed._make = slowly


def stop_in_step(step: int) -> None:
    """Make the training of this process stop when it begins its `step`-th step."""
    from dtb.train.feed import Feed

    batches = Feed.batches
    begun = [0]

    def counted(feed, *args, **kwargs):
        for item in batches(feed, *args, **kwargs):
            begun[0] += feed.part == "train"
            if begun[0] == step:
                raise StoppedError
            yield item

    Feed.batches = counted


def train_on_ranks(
    config: Config,
    shards: Path,
    out: Path,
    world_size: int,
    stop_after: int | None = None,
    slow: Mapping[int, float] = MappingProxyType({}),
    waiting: Mapping[int, float] = MappingProxyType({}),
    told_after: int | None = None,
) -> list[dict]:
    """Train on `world_size` processes, for some steps or to the end, and give the rows of `metrics.jsonl`.

    After `told_after` steps they are told to save and end. Ranks in `slow` take so many seconds longer for each forward pass, those in `waiting` for each batch that is made for them.
    """
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, num_workers=world_size))
    job = make_job(config, shards, out)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.ranks_imports"])
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        ranks = [
            context.Process(
                target=one_rank,
                args=(
                    rank,
                    world_size,
                    store,
                    job,
                    stop_after,
                    slow.get(rank, 0.0),
                    waiting.get(rank, 0.0),
                    told_after,
                ),
            )
            for rank in range(world_size)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
    assert all(process.exitcode == 0 for process in ranks), [process.exitcode for process in ranks]
    return read_rows(out)


def read_rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
