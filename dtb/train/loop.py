"""The training loop: one screen, and nothing in it knows of Ray or of files.

The loss of a global batch is the mean over its people, so it does not depend on how many workers share it: each person's loss is
normalised by that person's own trials and volumes, weights make the mean over ranks the mean over people, and what is random about a
person is drawn from that person's seed.
"""

from __future__ import annotations

import functools
import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from dtb.config import TrainConfig
from dtb.errors import StageError
from dtb.tasks.taskset import TaskSet
from dtb.train.engine import full_weights, gradient_norm, set_learning_rate
from dtb.train.feed import Feed
from dtb.train.progress import Progress
from dtb.train.sentinel import GradientSentinel
from dtb.twin.batch import Batch
from dtb.twin.flops import forward_flops
from dtb.twin.model import Twin

_SUMMED = ("loss", "press", "bold", "people", "segments", "flops")
_PARTS = ("press", "trials", "bold", "values")
Weights = dict[str, Tensor]
Item = TypeVar("Item")


def fit(
    engine: Any,
    twin: Twin,
    feeds: dict[str, Feed],
    config: TrainConfig,
    progress: Progress,
    best_weights: Weights | None,
    *,
    on_epoch: Callable[[dict[str, Any]], None],
    save: Callable[[Weights | None], None],
    set_aside: Callable[[dict[str, str]], None],
) -> Weights | None:
    """Train until all epochs are done or the validation loss has stopped falling.

    Parameters
    ----------
    engine : deepspeed.DeepSpeedEngine
        Wraps the objective of `twin`.
    twin : Twin
    feeds : dict
        ``"train"`` and ``"validation"``.
    config : TrainConfig
    progress : Progress
        Where to go on; kept up to date in place.
    best_weights : dict or None
        The twin's weights at the smallest validation loss so far; on rank 0 only.
    on_epoch : callable
        Takes the figures of each epoch, on every rank.
    save : callable
        Takes the best weights, on every rank, whenever a checkpoint of `progress` is due.
    set_aside : callable
        Takes people whose loss is not finite, with reasons, on the rank that has them.

    Returns
    -------
    dict or None
        The best weights, on rank 0.

    Raises
    ------
    StageError
        A loss or a gradient is not finite.
    """
    sentinel = GradientSentinel(twin)
    while not progress.is_over(config.max_epochs, config.patience_epochs):
        started = time.monotonic()
        trained = train_epoch(
            engine,
            feeds["train"],
            progress,
            config,
            functools.partial(save, best_weights),
            set_aside,
            sentinel,
        )
        validated = validate(engine, feeds["validation"])
        progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
        if validated["loss"] < progress.best_loss:
            progress.best_loss, progress.best_epoch = validated["loss"], progress.epoch
            best_weights = full_weights(engine, twin)
        seconds = time.monotonic() - started
        on_epoch(
            {
                "epoch": progress.epoch,
                "train_loss": trained["loss"],
                "validation_loss": validated["loss"],
                "press": trained["press"],
                "bold": trained["bold"],
                "validation_press": validated["press"],
                "validation_bold": validated["bold"],
                "tasks": {
                    task: losses
                    | {f"validation_{name}": value for name, value in validated["tasks"].get(task, {}).items()}
                    for task, losses in trained["tasks"].items()
                },
                "lr": engine.get_lr()[0],
                "grad_norm": trained["grad_norm"],
                "seconds": seconds,
                **{
                    f"{name}_per_second": (trained[what] + validated[what]) / seconds
                    for name, what in (("subjects", "people"), ("segments", "segments"), ("flops", "flops"))
                },
                "data_wait_share": trained["data_wait_share"],
                **_peak_memory(engine.device),
            }
        )
        over = progress.is_over(config.max_epochs, config.patience_epochs)
        if over or progress.epoch % config.checkpoint_every_epochs == 0:
            save(best_weights)
    return best_weights


def train_epoch(
    engine: Any,
    feed: Feed,
    progress: Progress,
    config: TrainConfig,
    save: Callable[[], None],
    set_aside: Callable[[dict[str, str]], None],
    sentinel: GradientSentinel,
) -> dict[str, Any]:
    """Train on what is left of an epoch, saving every `checkpoint_every_steps` within it (0 for never).

    Returns
    -------
    dict
        Means over the people of the whole epoch of `loss`, `press` and `bold`, those of each of the `tasks`, how many `people`, `segments`
        and `flops` there were, the mean `grad_norm`, and `data_wait_share`, the share of this rank's time that went by waiting for data.
    """
    engine.train()
    # A step's gradient takes two further products for each of the forward pass; states that are not kept are computed twice.
    sums = _Sums(engine, feed.maker.taskset, passes=4 if config.recompute_states else 3)
    wait = _Wait()
    num_steps = feed.stream.steps_per_epoch
    for share, batches in wait.timed(feed.batches(progress.epoch, progress.step)):
        for batch in batches:
            on_device = batch.to(engine.device)
            losses = engine(on_device)
            finite_S = torch.isfinite(losses.press_S) & torch.isfinite(losses.bold_S)
            _refuse(batch, finite_S, "loss", set_aside)
            engine.backward(losses.total)
            _refuse(batch, sentinel.finite_S(), "gradient", set_aside)
            before_clipping = gradient_norm(engine)
            if config.schedule == "cosine":
                set_learning_rate(
                    engine, cosine(config.learning_rate, progress.epoch + share.step / num_steps, config.max_epochs)
                )
            engine.step()
            sums.add(losses, on_device, feed.world_size * feed.pieces / share.global_count)
        norm = engine.get_global_grad_norm() if before_clipping is None else before_clipping
        progress.step = share.step + 1
        progress.add({"norms": float(norm)})
        every = config.checkpoint_every_steps
        if every and progress.step % every == 0 and progress.step != num_steps:
            progress.add(sums.over_ranks())
            sums.clear()
            save()
    progress.add(sums.over_ranks())
    norm = progress.sums["norms"] / max(progress.step, 1)
    tasks = [spec.name for spec in feed.maker.taskset.specs]
    return {**_means(progress.sums, tasks), "grad_norm": norm, "data_wait_share": wait.share}


def cosine(highest: float, epochs_done: float, max_epochs: int) -> float:
    """Let a learning rate fall to 0 along half a cosine.

    Examples
    --------
    >>> [round(cosine(0.1, done, 10), 3) for done in (0.0, 5.0, 10.0)]
    [0.1, 0.05, 0.0]
    """
    return highest * (1.0 + math.cos(math.pi * epochs_done / max_epochs)) / 2.0


@torch.no_grad()
def validate(engine: Any, feed: Feed) -> dict[str, Any]:
    """Give for a part's people what `train_epoch` gives of losses and counts, without training on them."""
    engine.eval()
    sums = _Sums(engine, feed.maker.taskset, passes=1)
    for share, batches in feed.batches(epoch=0):
        for batch in batches:
            on_device = batch.to(engine.device)
            sums.add(engine(on_device), on_device, feed.world_size * feed.pieces / share.global_count)
    return _means(sums.over_ranks(), [spec.name for spec in feed.maker.taskset.specs])


def _refuse(batch: Batch, finite_S: Tensor | None, what: str, set_aside: Callable[[dict[str, str]], None]) -> None:
    """Set aside the people of this rank whose loss or gradient is not finite, and stop; the next worker group goes on without them."""
    if finite_S is None or bool(finite_S.all()):
        return
    people = [who for who, finite in zip(batch.pseudonyms, finite_S.tolist(), strict=True) if who and not finite]
    set_aside(dict.fromkeys(people, f"the {what} is not a finite number"))
    raise StageError(
        f"The {what} of {', '.join(people)} is not a finite number. If it is everybody's, training diverged: a smaller "
        "train.learning_rate is the first thing to try."
    )


class _Wait:
    """How long the loop waits for its next batch."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._waited = 0.0

    def timed(self, items: Iterable[Item]) -> Iterator[Item]:
        """Give the items, timing how long each is waited for."""
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
        """Waiting as a share of all time since the beginning."""
        return self._waited / max(time.perf_counter() - self._began, 1e-9)


class _Sums:
    """Sums over people, and over the segments of each task, kept on the device until they are asked for."""

    def __init__(self, engine: Any, taskset: TaskSet, passes: int) -> None:
        self._twin: Twin = engine.module.twin
        self._passes = passes
        self._sums = torch.zeros(len(_SUMMED), dtype=torch.float64, device=engine.device)
        self._by_task_TF = torch.zeros(len(taskset.specs), len(_PARTS), dtype=torch.float64, device=engine.device)
        self._names = [*_SUMMED, *(f"{part} {spec.name}" for spec in taskset.specs for part in _PARTS)]

    def add(self, losses: Any, batch: Batch, scale: float) -> None:
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
        self._sums.zero_()
        self._by_task_TF.zero_()

    def over_ranks(self) -> dict[str, float]:
        everything = torch.cat([self._sums, self._by_task_TF.flatten()])
        torch.distributed.all_reduce(everything)
        return dict(zip(self._names, everything.tolist(), strict=True))


def _means(sums: Mapping[str, float], tasks: Sequence[str]) -> dict[str, Any]:
    """Give means over people, and of each task the means over its trials and over its volumes and regions."""
    people = max(sums["people"], 1.0)
    by_task: dict[str, dict[str, float]] = {}
    for task in tasks:
        for part, counted in (("press", "trials"), ("bold", "values")):
            if count := sums.get(f"{counted} {task}", 0.0):
                by_task.setdefault(task, {})[part] = sums[f"{part} {task}"] / count
    counts = {name: sums.get(name, 0.0) for name in ("people", "segments", "flops")}
    return {**{name: sums[name] / people for name in ("loss", "press", "bold")}, **counts, "tasks": by_task}


def _peak_memory(device: torch.device) -> dict[str, float]:
    """Give the most memory that this process has had, in GiB: of the machine, and of the GPU if there is one."""
    # ru_maxrss is in KiB on Linux.
    found = {"peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if device.type == "cuda":
        found["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found
