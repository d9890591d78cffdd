"""The training loop, without Ray and without files.

The loss of a global batch is the mean over its people, so it does not depend on how many workers share it: each person's loss is
normalised by that person's own trials and volumes, weights make the mean over ranks the mean over people, and random numbers of a
person come from that person's seed.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from dtb.config import TrainConfig
from dtb.errors import ToldToEndError
from dtb.shards.stream import Share
from dtb.train.budget import Budget, budget_of
from dtb.train.driver.progress import Progress
from dtb.train.engine import full_weights, gradient_norm, set_learning_rate
from dtb.train.epoch_sums import Stopwatch, Sums, Wait, largest_of_ranks, means_of, peak_memory, slowest_rank
from dtb.train.feed import Feed
from dtb.train.looks import Looks
from dtb.train.nonfinite import NonFiniteGradients
from dtb.train.peak_flops import peak_of_all
from dtb.train.stopping import Wanted
from dtb.twin.batch import Batch
from dtb.twin.model import Twin
from dtb.twin.objective import Losses

Weights = dict[str, Tensor]


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
    on_step: Callable[[int], None] = lambda _: None,
    look_out: Callable[[int], Wanted] = lambda _: "",
) -> Weights | None:
    """Train until all steps are made or the validation loss has stopped falling.

    Parameters
    ----------
    engine : deepspeed.DeepSpeedEngine
        Wraps the objective of `twin`.
    twin : Twin
    feeds : dict
        ``"train"`` and ``"validation"``.
    config : TrainConfig
        With every number chosen, see `dtb.train.budget.fitted`.
    progress : Progress
        Where to begin; updated in place.
    best_weights : dict or None
        The objective's weights at the smallest validation loss so far; on rank 0 only.
    on_epoch : callable
        Called with the figures of each epoch, on every rank.
    save : callable
        Called with the best weights, on every rank, whenever a checkpoint of `progress` is due.
    set_aside : callable
        Called with people whose loss is not finite, and the reasons, on the rank that has them.
    on_step : callable
        Called with the number of steps made, after each, on every rank.
    look_out : callable
        Called likewise; says whether a checkpoint is wanted at once, and whether the training is to end with it.

    Returns
    -------
    dict or None
        The best weights, on rank 0.

    Raises
    ------
    StageError
        A loss or a gradient is not finite.
    ToldToEndError
        `look_out` said so; all is saved.
    """
    nonfinite = NonFiniteGradients(twin)
    peak_flops = peak_of_all(engine.device, config)
    budget = budget_of(config, len(feeds["train"].stream.pseudonyms))
    batches = feeds["train"].batches(progress.epoch, progress.step, budget.steps_in(progress.epoch))
    while not progress.is_over(budget):
        started = time.monotonic()
        wait = Wait()
        trained = train_epoch(
            engine,
            feeds["train"],
            batches,
            progress,
            config,
            budget,
            functools.partial(save, best_weights),
            set_aside,
            nonfinite,
            wait,
            on_step,
            look_out,
        )
        if progress.epoch + 1 < budget.max_epochs:
            # Its first batches are made while validation computes.
            batches = feeds["train"].batches(progress.epoch + 1, last_step=budget.steps_in(progress.epoch + 1))
        validated = validate(engine, feeds["validation"], set_aside, wait)
        progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
        if validated["loss"] < progress.best_loss:
            progress.best_loss, progress.best_epoch = validated["loss"], progress.epoch
            best_weights = full_weights(engine, engine.module)
        seconds = time.monotonic() - started
        on_epoch(
            {
                "epoch": progress.epoch,
                "step": budget.steps_after(progress.epoch),
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
                "peak_flops_share": (trained["flops"] + validated["flops"]) / seconds / peak_flops,
                "data_wait_share": largest_of_ranks(wait.share, engine.device),
                "slowest_rank": trained["slowest_rank"],
                "slowest_rank_times": trained["slowest_rank_times"],
                **peak_memory(engine.device),
            }
        )
        wanted = look_out(budget.steps_after(progress.epoch))
        if wanted or progress.is_over(budget) or progress.epoch % (config.checkpoint_every_epochs or 1) == 0:
            save(best_weights)
        if wanted == "end" and not progress.is_over(budget):
            raise ToldToEndError("told to end")
    return best_weights


def train_epoch(
    engine: Any,
    feed: Feed,
    batches: Iterator[tuple[Share, list[Batch]]],
    progress: Progress,
    config: TrainConfig,
    budget: Budget,
    save: Callable[[], None],
    set_aside: Callable[[dict[str, str]], None],
    nonfinite: NonFiniteGradients,
    wait: Wait,
    on_step: Callable[[int], None],
    look_out: Callable[[int], Wanted],
) -> dict[str, Any]:
    """Train on the remaining `batches` of an epoch, saving every `checkpoint_every_steps` steps (0 for never) and when it is wanted.

    Returns
    -------
    dict
        Means over the people of the whole epoch of `loss`, `press` and `bold`, and those of each of the `tasks`; the numbers of `people`,
        `segments` and `flops`; the mean `grad_norm`; and the slowest rank, with its relative time.
    """
    engine.train()
    # A step's gradient takes two further products for each of the forward pass; states that are not kept are computed twice.
    sums = Sums(engine, feed.maker.taskset, passes=4 if config.recompute_states else 3)
    forward = Stopwatch(engine.device)
    num_steps, made = budget.steps_in(progress.epoch), budget.steps_after(progress.epoch)
    norms = torch.zeros((), dtype=torch.float64, device=engine.device)
    looks = Looks(set_aside)

    def sum_up() -> None:
        looks.now()
        progress.add({"norms": float(norms), **sums.over_ranks()})
        norms.zero_()
        sums.clear()

    with looks.first():
        for share, pieces in wait.timed(batches):
            for batch in pieces:
                # Forward alone: in the rest of a step ranks wait for one another, and all take as long as the slowest.
                with forward:
                    on_device = batch.to(engine.device)
                    losses = engine(on_device)
                engine.backward(losses.total)
                looks.later(batch.pseudonyms, {"loss": _finite_S(losses), "gradient": nonfinite.finite_S()})
                before_clipping = gradient_norm(engine)
                if config.schedule == "cosine":
                    set_learning_rate(engine, cosine(config.learning_rate, made + share.step, budget.max_steps))
                engine.step()
                sums.add(losses, on_device, feed.world_size * feed.pieces / share.global_count)
            norms += engine.get_global_grad_norm() if before_clipping is None else before_clipping
            progress.step = share.step + 1
            on_step(made + progress.step)
            if progress.step == num_steps:  # `fit` looks out, and saves, when the epoch is over
                continue
            wanted, every = look_out(made + progress.step), config.checkpoint_every_steps
            if wanted or (every and progress.step % every == 0):
                sum_up()
                save()
            if wanted == "end":
                raise ToldToEndError("told to end")
    sum_up()
    norm = progress.sums["norms"] / max(progress.step, 1)
    tasks = [spec.name for spec in feed.maker.taskset.specs]
    return {
        **means_of(progress.sums, tasks),
        "grad_norm": norm,
        **slowest_rank(forward.seconds(), engine.device),
    }


def cosine(highest: float, done: float, all_of_them: float) -> float:
    """Return the learning rate, which falls to 0 along half a cosine with the share of steps (or epochs) done.

    Examples
    --------
    >>> [round(cosine(0.1, done, 10), 3) for done in (0.0, 5.0, 10.0)]
    [0.1, 0.05, 0.0]
    """
    return highest * (1.0 + math.cos(math.pi * done / all_of_them)) / 2.0


@torch.no_grad()
def validate(engine: Any, feed: Feed, set_aside: Callable[[dict[str, str]], None], wait: Wait) -> dict[str, Any]:
    """Return the losses and counts of a part's people, as `train_epoch` does, without training."""
    engine.eval()
    sums = Sums(engine, feed.maker.taskset, passes=1)
    looks = Looks(set_aside)
    with looks.first():
        for share, batches in wait.timed(feed.batches(epoch=0)):
            for batch in batches:
                on_device = batch.to(engine.device)
                losses = engine(on_device)
                looks.later(batch.pseudonyms, {"loss": _finite_S(losses)})
                sums.add(losses, on_device, feed.world_size * feed.pieces / share.global_count)
    return means_of(sums.over_ranks(), [spec.name for spec in feed.maker.taskset.specs])


def _finite_S(losses: Losses) -> Tensor:
    return torch.isfinite(losses.press_S) & torch.isfinite(losses.bold_S)
