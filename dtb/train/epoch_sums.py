"""Sums of an epoch over people and tasks, its operations and memory, and the ranks' waiting times."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch

from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch
from dtb.twin.flops import forward_flops
from dtb.twin.model import Twin

_SUMMED = ("loss", "press", "bold", "people", "segments", "flops")
_PARTS = ("press", "trials", "bold", "values")
Item = TypeVar("Item")


class Wait:
    """Measures how long the loop waits for its next batch."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._waited = 0.0

    def timed(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and time the wait for each."""
        remaining = iter(items)
        while True:
            asked = time.perf_counter()
            try:
                item = next(remaining)
            except StopIteration:
                return
            finally:
                self._waited += time.perf_counter() - asked
            yield item

    @property
    def share(self) -> float:
        """Return waiting as a share of all time since the beginning."""
        return self._waited / max(time.perf_counter() - self._began, 1e-9)


class Stopwatch:
    """Measures a device's time for the work launched within the block; on a GPU it synchronises only in `seconds`."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._began: list[Any] = []
        self._ended: list[Any] = []

    def __enter__(self) -> None:
        self._began.append(self._now())

    def __exit__(self, *_: object) -> None:
        self._ended.append(self._now())

    def seconds(self) -> float:
        """Return the seconds of all blocks together."""
        if self._on_gpu:
            torch.cuda.synchronize()
            pairs = zip(self._began, self._ended, strict=True)
            return sum(began.elapsed_time(ended) for began, ended in pairs) / 1e3
        return float(sum(self._ended) - sum(self._began))

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class Sums:
    """Sums over people, and over the segments of each task, kept on the device until they are read."""

    def __init__(self, engine: Any, taskset: TaskSet, passes: int) -> None:
        self._twin: Twin = engine.module.twin
        self._passes = passes
        self._sums = torch.zeros(len(_SUMMED), dtype=torch.float64, device=engine.device)
        self._by_task_TF = torch.zeros(len(taskset.specs), len(_PARTS), dtype=torch.float64, device=engine.device)
        self._names = [*_SUMMED, *(f"{part} {spec.name}" for spec in taskset.specs for part in _PARTS)]

    def add(self, losses: Any, batch: Batch, scale: float) -> None:
        """Add a batch, whose weights were scaled by `scale`."""
        real_S = batch.weight_S > 0
        real_SK = real_S[:, None] & (batch.task_SK >= 0)
        press, bold = ((term_S.detach() * real_S).double().sum() for term_S in (losses.press_S, losses.bold_S))
        num_people, num_segments = real_S.double().sum(), real_SK.double().sum()
        flops = self._passes * forward_flops(self._twin, num_people, num_segments * batch.stimulus_SKTI.shape[2])
        self._sums += torch.stack(
            [losses.total.detach().double() / scale, press, bold, num_people, num_segments, flops]
        )
        parts_SKF = torch.where(real_SK[..., None], losses.parts_SKF, 0.0).double()
        self._by_task_TF.index_add_(0, batch.task_SK.clamp_min(0).flatten(), parts_SKF.flatten(0, 1))

    def clear(self) -> None:
        """Begin anew."""
        self._sums.zero_()
        self._by_task_TF.zero_()

    def over_ranks(self) -> dict[str, float]:
        """Return the sums over all ranks, by name; every rank must call it."""
        everything = torch.cat([self._sums, self._by_task_TF.flatten()])
        torch.distributed.all_reduce(everything)
        return dict(zip(self._names, everything.tolist(), strict=True))


def means_of(sums: Mapping[str, float], tasks: Sequence[str]) -> dict[str, Any]:
    """Return means over people and, for each task, means over its trials and over its volumes and regions."""
    people = max(sums["people"], 1.0)
    by_task: dict[str, dict[str, float]] = {}
    for task in tasks:
        for part, counted in (("press", "trials"), ("bold", "values")):
            if count := sums.get(f"{counted} {task}", 0.0):
                by_task.setdefault(task, {})[part] = sums[f"{part} {task}"] / count
    counts = {name: sums.get(name, 0.0) for name in ("people", "segments", "flops")}
    return {**{name: sums[name] / people for name in ("loss", "press", "bold")}, **counts, "tasks": by_task}


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return the peak memory of this process in GiB: of the machine, and of the GPU if there is one."""
    # ru_maxrss is in KiB on Linux.
    found = {"peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if device.type == "cuda":
        found["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found


def largest_of_ranks(value: float, device: torch.device) -> float:
    """Return the largest of the ranks' values; every rank must call it."""
    largest = torch.tensor([value], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    return float(largest)


def slowest_rank(seconds: float, device: torch.device) -> dict[str, float]:
    """Return the rank that took longest, and the ratio of its time to the median of the others."""
    own = torch.tensor([seconds], dtype=torch.float64, device=device)
    gathered = [torch.zeros_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, own)
    ranks = [float(each) for each in gathered]
    slowest = ranks.index(max(ranks))
    others = sorted(ranks[:slowest] + ranks[slowest + 1 :])
    times = ranks[slowest] / max(others[len(others) // 2], 1e-9) if others else 1.0
    return {"slowest_rank": slowest, "slowest_rank_times": times}
