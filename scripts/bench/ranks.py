"""Trainings on several ranks of this machine, each a process bound to one core, as the bench measures them: real engines on gloo."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dtb.config import Config
from dtb.shards.read import open_cohort
from dtb.train.plan import make_plan
from dtb.train.scales import measure_scales
from dtb.train.worker import Job

_TIME_OUT = timedelta(seconds=300)
Measured = dict[str, Any]


def on_ranks(world_size: int, act: Callable[..., Measured], *arguments: Any, first_core: int = 0) -> list[Measured]:
    """Call `act` in a process group of so many ranks, one thread each and each bound to a core, and give what each returns."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            context.Process(target=_one_rank, args=(rank, world_size, folder, act, arguments, first_core))
            for rank in range(world_size)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            raise RuntimeError(f"{act.__name__} on {world_size} ranks: exit codes {[p.exitcode for p in ranks]}")
        return [json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(world_size)]


def _one_rank(
    rank: int,
    world_size: int,
    folder: str,
    act: Callable[..., Measured],
    arguments: tuple[Any, ...],
    first_core: int,
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[(first_core + rank) % len(cores)]})
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size, timeout=_TIME_OUT)
    measured = act(*arguments)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(measured), encoding="utf-8")
    torch.distributed.destroy_process_group()


def make_job(config: Config, shards: Path, out: Path) -> Job:
    """Plan a training without Ray."""
    plan = make_plan(config, shards, out, open_cohort(shards))
    out.mkdir(parents=True)
    return Job(plan, measure_scales(plan), {})


class Collectives(TorchDispatchMode):
    """Counts the bytes that this rank hands to each kind of collective.

    Attributes
    ----------
    num_bytes : Counter
        By kind. Of a gather and of what is scattered, the bytes of the whole, not of one rank's part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take part in every operation of torch, and count those of `torch.distributed`."""
        if func.namespace == "c10d":
            kind = func.overloadpacket.__name__.strip("_").removesuffix("_base")
            whole = max((_bytes_of(argument) for argument in args), default=0)
            self.num_bytes[kind] += whole
        return func(*args, **(kwargs or {}))


def _bytes_of(argument: Any) -> int:
    if isinstance(argument, Tensor):
        return argument.numel() * argument.element_size()
    return sum(map(_bytes_of, argument)) if isinstance(argument, (list, tuple)) else 0


def train(job: Job, *, count: bool) -> Measured:
    """Train as a rank, with the loop that `dtb train` runs, and say what it took.

    Returns
    -------
    dict
        Seconds of each epoch's training (`train`) and of each checkpoint (`checkpoint`), bytes of the optimizer (`optimizer`); with
        `count`, instead of times that mean anything, bytes handed to collectives in all epochs but the first (`collectives`).
    """
    from dtb.train import loop, worker
    from dtb.train.checkpoints import checkpoint

    seconds: dict[str, list[float]] = {"train": [], "checkpoint": []}
    engines: list[Any] = []
    counted: list[Counter[str]] = []

    def timed(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            torch.distributed.barrier()
            began = time.perf_counter()
            if count and name == "train":
                with Collectives() as collectives:
                    result = act(*args, **kwargs)
                counted.append(collectives.num_bytes)
            else:
                result = act(*args, **kwargs)
            torch.distributed.barrier()
            seconds[name].append(time.perf_counter() - began)
            return result

        return run

    def kept(act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            engines.append(act(*args))
            return engines[-1]

        return run

    loop.train_epoch = timed("train", loop.train_epoch)
    checkpoint.save_checkpoint = timed("checkpoint", checkpoint.save_checkpoint)
    worker.make_engine = kept(worker.make_engine)
    worker.work(job)
    collectives = dict(sum(counted[1:], Counter()))
    return {**seconds, "optimizer": _optimizer_bytes(engines[0]), "collectives": collectives}


def _optimizer_bytes(engine: Any) -> int:
    """Count what the optimizer holds on this rank: moments, and weights of its own beside the module's."""
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    modules = {parameter.data_ptr() for parameter in engine.module.parameters() if parameter.numel()}
    own = [p for group in optimizer.param_groups for p in group["params"] if p.data_ptr() not in modules]
    own += getattr(
        engine.optimizer, "fp32_partitioned_groups_flat", []
    )  # ZeRO 3 shows them to the optimizer in a step alone
    moments = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in [*own, *moments])
