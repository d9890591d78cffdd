"""One worker of the process group: it loads the newest checkpoint, makes the engine, runs the loop and, on rank 0, writes the log."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from dtb.cluster.connection import show_gauges
from dtb.cluster.shared_folder import SharedFolder
from dtb.config import to_plain
from dtb.errors import FinalError, StageError, ToldToEndError
from dtb.files import write_text
from dtb.machine.gpu import keep_to_share
from dtb.machine.memory import keep_freed_memory
from dtb.track import Tracker, open_tracker
from dtb.train.at_once import full_memory_told, in_pieces, pieces_that_fit, rows_of
from dtb.train.checkpoints import checkpoint as checkpoints
from dtb.train.checkpoints.checkpoint import CHECKPOINTS
from dtb.train.checkpoints.origin import user_key
from dtb.train.driver.duration import ExpectedDuration
from dtb.train.driver.ending import ending_in_words, ending_of, longer
from dtb.train.driver.progress import Progress
from dtb.train.engine import accumulation_steps, bucket_size, deepspeed_settings, make_engine, prepare_environment
from dtb.train.log import METRICS_FILE, TRACKER_FILE, note, read_metrics, read_tracker_id, tell_begun, tell_going_on
from dtb.train.loop import Weights, fit
from dtb.train.plan import Plan, estimated_bytes
from dtb.train.quarantine import quarantine, read_quarantine, refuse_if_too_many
from dtb.train.start.measure_people import EFFECTS_FILE, measure_people, save_effects
from dtb.train.start.normalise import Normalisation
from dtb.train.stopping import Wanted, look_out_of
from dtb.twin.export import save_twin
from dtb.twin.model import Twin
from dtb.twin.objective import Objective

TWIN = "twin"
_FULL_BYTES = 1 << 20
_SLOW, _LONG_SECONDS = 2.0, 2.0


@dataclasses.dataclass(frozen=True)
class Job:
    """What the driver sends to each worker.

    Attributes
    ----------
    plan : Plan
    normalisation : Normalisation
    deepspeed : dict
        The user's DeepSpeed settings.
    pieces : int
        In how many pieces a rank's share of a batch is taken at least.
    key : bytes
        Signs checkpoints: that of the driver's user, whatever home this worker has.
    """

    plan: Plan
    normalisation: Normalisation
    deepspeed: dict[str, Any]
    pieces: int = 1
    key: bytes = dataclasses.field(default_factory=user_key, repr=False)


def work_if_shared(
    folders: Sequence[SharedFolder],
    job: Job,
    leaving_nodes: Callable[[], tuple[str, ...]],
    tell_mark: Callable[[str], None],
) -> bool:
    """Train as one rank, if the output folder (the first one) is the driver's on this node too; see `work` and `look_out_of`.

    Parameters
    ----------
    folders : sequence of SharedFolder
    job : Job
    leaving_nodes : callable
    tell_mark : callable
        Tells the driver's node of the mark that this rank left in the folder, another way than by the folder.

    Raises
    ------
    ConfigurationError
        It is not: checkpoints and the twin would be lost.
    TooManyAtOnceError
        Memory does not hold so many people at once.
    """
    mark = f"worker-{secrets.token_hex(8)}"
    folders[0].require(mark)
    tell_mark(mark)
    with full_memory_told():
        return work(job, look_out_of(folders, leaving_nodes))


def work(job: Job, look_out: Callable[[int], Wanted] = lambda _: "") -> bool:
    """Train as one rank of an existing process group.

    Parameters
    ----------
    job : Job
    look_out : callable
        See `dtb.train.loop.fit`.

    Returns
    -------
    bool
        Whether the training is over; if not, it was told to end, and has saved.
    """
    train = job.plan.config.train
    prepare_environment(train.use_gpu)
    if not train.use_gpu:
        keep_freed_memory()
    if train.threads_per_worker:
        torch.set_num_threads(train.threads_per_worker)
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    plan = dataclasses.replace(job.plan, left_out=_set_aside(job.plan, rank))
    twin = plan.twin(job.normalisation)
    pieces = max(job.pieces, accumulation_steps(job.deepspeed))
    if train.use_gpu:
        pieces = _pieces_on_gpu(plan, twin, job.deepspeed, pieces, world_size)
    asked = in_pieces(job.deepspeed, pieces) if pieces != accumulation_steps(job.deepspeed) else job.deepspeed
    settings = deepspeed_settings(train, world_size, asked)
    found = _found_by_first(plan.out / CHECKPOINTS, rank, job.key)
    converted = found is not None and checkpoints.needs_conversion(found, world_size)
    if found is not None and converted:
        if rank == 0:
            checkpoints.convert(found)
        torch.distributed.barrier()
        settings["checkpoint"] = {**settings.get("checkpoint", {}), "load_universal": True}
    effects = plan.person_effects(job.normalisation)
    objective = Objective(
        twin, train.press_weight, train.bold_weight, recompute=train.recompute_states, effects=effects
    )
    buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    engine = make_engine(objective, settings)
    # bf16 rounds buffers with the weights; scales and components stay as they were measured.
    for name, buffer in buffers.items():
        owner, _, leaf = name.rpartition(".")
        setattr(objective.get_submodule(owner), leaf, buffer.to(engine.device))
    progress, best_weights = Progress(), None
    if found is not None:
        checkpoints.load_checkpoint(engine, found, converted=converted)
        torch.distributed.barrier()
        if converted and rank == 0:
            checkpoints.forget_converted(found)
        progress, best_weights = found.progress, found.best_weights() if rank == 0 else None
    if rank == 0:
        tell_going_on(plan.out, None if found is None else (found.path.name, progress.epoch))
        tell_begun(plan.out)
    book = _Book(plan, progress) if rank == 0 else None
    expected = ExpectedDuration(plan.budget, functools.partial(note, plan.out))

    bold_mean_R = job.normalisation.bold_mean_R
    layouts = plan.layouts(bold_mean_R)

    def on_epoch(figures: dict[str, Any]) -> None:
        if layouts.is_full and layouts.is_first_to_tell():
            note(
                plan.out,
                f"The disk of {layouts.folder} on {socket.gethostname()} is too full to keep everybody's layout, so some are made anew in "
                "each epoch. Set TMPDIR to a larger disk of the node's own.",
            )
        if book is not None:
            book.write(figures)

    def set_aside(people: dict[str, str]) -> None:
        quarantine(plan.out, people)
        for who, reason in people.items():
            note(plan.out, f"{who} is set aside: {reason}.")

    try:
        with refused_if_full(plan.out), contextlib.closing(layouts):
            best_weights = fit(
                engine,
                twin,
                plan.feeds(rank, world_size, pieces, bold_mean_R, layouts),
                train,
                progress,
                best_weights,
                on_epoch=on_epoch,
                set_aside=set_aside,
                on_step=expected.step if rank == 0 else lambda _: None,
                look_out=look_out,
                save=lambda best: checkpoints.save_checkpoint(
                    engine, plan.out / CHECKPOINTS, progress, best, train.checkpoints_kept, job.key
                ),
            )
    except ToldToEndError:
        if book is not None:
            book.close()
        return False
    exported = _finished(job, plan, best_weights, rank, world_size)
    if book is not None:
        save_twin(plan.out / TWIN, exported, plan.card)
        message = ending_in_words(
            ending_of(read_metrics(plan.out / METRICS_FILE), plan.budget.max_steps),
            longer(train, len(plan.split.train)),
        )
        if message is not None:
            note(plan.out, message)
        book.close()
    torch.distributed.barrier()
    return True


def _pieces_on_gpu(plan: Plan, twin: Twin, user: dict[str, Any], pieces: int, world_size: int) -> int:
    """Keep to this rank's share of its GPU, and return in how many pieces its share of a batch fits there; the same for all ranks.

    Raises
    ------
    ConfigurationError
        What does not depend on people does not fit.
    """
    train = dataclasses.replace(plan.config.train, num_workers=world_size)
    config = dataclasses.replace(plan.config, train=train)
    device = torch.device("cuda", torch.cuda.current_device())
    room = torch.tensor(keep_to_share(device, train.gpus_per_worker), device=device)
    torch.distributed.all_reduce(room, op=torch.distributed.ReduceOp.MIN)
    settings = deepspeed_settings(train, world_size, user)
    num_parameters = sum(parameter.numel() for parameter in twin.parameters())
    estimate = functools.partial(estimated_bytes, num_parameters, config, plan, bucket_size(settings, num_parameters))
    fitting = pieces_that_fit(estimate, int(room), rows_of(plan.batch_size, world_size), pieces, settings)
    if fitting > pieces and torch.distributed.get_rank() == 0:
        wanted, possible = (rows_of(plan.batch_size, world_size, number) for number in (pieces, fitting))
        note(
            plan.out,
            f"About {sum(estimate(pieces).values()) / 2**30:.1f} GiB are needed for {wanted} people at once, and of its GPU a worker may "
            f"take {int(room) / 2**30:.1f}: they are taken {possible} at once, with the same losses. More workers, or "
            "train.recompute_states, would make room for more.",
        )
    return fitting


def _finished(job: Job, plan: Plan, best_weights: Weights | None, rank: int, world_size: int) -> Twin:
    """Return the twin with the best weights, which rank 0 has, and with its distribution of people.

    A twin without person effects has nothing that all ranks measure together: on ranks but the first it is as it began.
    """
    twin, effects = plan.twin(job.normalisation), plan.person_effects(job.normalisation)
    if effects is None and rank != 0:
        return twin
    from_first = [best_weights]
    if effects is not None:
        torch.distributed.broadcast_object_list(from_first, src=0)
    if from_first[0] is None:
        raise FinalError(
            "The validation loss was never finite, so there are no best weights. Look at metrics.jsonl; a smaller "
            "train.learning_rate is the first thing to try."
        )
    objective = Objective(twin, 1.0, 1.0, effects=effects)
    objective.load_state_dict({**objective.state_dict(), **from_first[0]})
    if effects is not None:
        if rank == 0:
            save_effects(plan.out / EFFECTS_FILE, effects)
        measure_people(twin, effects, plan, job.normalisation, rank, world_size)
    return twin


@contextlib.contextmanager
def refused_if_full(folder: Path) -> Iterator[None]:
    """Raise one error that says that a disk is full, because each library words it differently."""
    try:
        yield
    except StageError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        if "No space left" not in str(error) and shutil.disk_usage(folder).free > _FULL_BYTES:
            raise
        raise FinalError(
            f"No space is left on the disk of {folder}. What was being written is lost; the checkpoint before it is whole. Make room there "
            "and go on with --resume."
        ) from error


def _set_aside(plan: Plan, rank: int) -> frozenset[str]:
    """Return the people set aside, read on rank 0 and broadcast; stop if they are too many."""
    from_first = [read_quarantine(plan.out) if rank == 0 else {}]
    torch.distributed.broadcast_object_list(from_first, src=0)
    num_people = len({*plan.split.train, *plan.split.validation})
    refuse_if_too_many(plan.out, from_first[0], num_people, plan.config.train.max_quarantined_fraction)
    return frozenset(from_first[0])


def _found_by_first(folder: Path, rank: int, key: bytes) -> checkpoints.Checkpoint | None:
    """Return the newest complete checkpoint, found on rank 0 and broadcast."""
    from_first: list[checkpoints.Checkpoint | None] = [None]
    if rank == 0:
        from_first[0], passed_over = checkpoints.newest_complete(folder, key)
        checkpoints.discount_newer(folder, from_first[0])
        for sentence in passed_over:
            note(folder.parent, f"Checkpoint {sentence}")
    torch.distributed.broadcast_object_list(from_first, src=0)
    return from_first[0]


class _Book:
    """Rank 0's log: `metrics.jsonl`, one line per epoch, and the tracker."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._path = plan.out / METRICS_FILE
        # Epochs after the checkpoint will be trained again: their rows would stand there twice.
        rows = [row for row in read_metrics(self._path) if row["epoch"] <= progress.epoch]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        settings = {name: to_plain(getattr(plan.config, name)) for name in ("segments", "twin", "split", "train")}
        settings["train"].pop("deepspeed")
        settings["seed"] = plan.config.seed
        self._tracker: Tracker = open_tracker(
            plan.config.track,
            plan.out,
            settings,
            read_tracker_id(plan.out),
            functools.partial(note, plan.out),
        )
        if self._tracker.run_id is not None:
            write_text(plan.out / TRACKER_FILE, self._tracker.run_id)
        self._progress = progress
        self._out = plan.out
        self._reported_ranks: set[int] = set()
        # W&B loses the record that a killed process was writing, so the new one gets all; what it has already it passes over.
        for row in rows:
            self._track(row)

    def write(self, figures: dict[str, Any]) -> None:
        row = _without_nan(figures)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        if is_slow(figures) and figures["slowest_rank"] not in self._reported_ranks:
            self._reported_ranks.add(figures["slowest_rank"])
            note(
                self._out,
                f"Rank {figures['slowest_rank']} takes {figures['slowest_rank_times']:.1f} times as long to compute as the others, and "
                "they wait for it: look at what else runs on its node.",
            )
        show_gauges("train", self._track(figures))

    def _track(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Log an epoch's figures, and return them as logged."""
        flat = {name: value for name, value in figures.items() if name != "tasks"}
        for task, losses in figures["tasks"].items():
            flat |= {f"{task}/{name}": value for name, value in losses.items()}
        self._tracker.log(flat, step=figures["epoch"])
        return flat

    def close(self) -> None:
        self._tracker.summarise(
            {"best_validation_loss": self._progress.best_loss, "best_epoch": self._progress.best_epoch}
        )
        self._tracker.finish()


def is_slow(row: Mapping[str, Any]) -> bool:
    """Whether an epoch's slowest rank took so much longer than the others that the user should know."""
    return bool(row.get("slowest_rank_times", 1.0) > _SLOW and row["seconds"] > _LONG_SECONDS)


def _without_nan(value: Any) -> Any:
    """Return the values with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
