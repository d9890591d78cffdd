"""How many people a rank takes at once: all of its share of a batch, or fewer where its memory does not hold them.

A share is then taken in pieces, whose gradients are added up before the step (DeepSpeed's gradient accumulation), so that batches, steps
and losses stay what they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from dtb.errors import ConfigurationError, FinalError

_OFFLOADED = {"offload_optimizer": "optimizer", "offload_param": "weights"}
_WITHOUT_PEOPLE = ("weights", "gradients", "bucket", "optimizer")
_FULL = ("can't allocate memory", "running low on memory")
"""So PyTorch's allocator says on the CPU, and Ray's monitor of a process that it ended."""


class TooManyAtOnceError(FinalError):
    """Memory ran out: with fewer people at once it may suffice, and with as many it will run out again."""


def is_full(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _FULL)


@contextlib.contextmanager
def full_memory_told() -> Iterator[None]:
    """Raise one error that says that memory ran out, because each allocator words it differently."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_full(error):
            raise
        raise TooManyAtOnceError(str(error).strip().splitlines()[0]) from error


def rows_of(batch_size: int, num_workers: int, pieces: int = 1) -> int:
    """Return how many people a rank takes at once.

    Examples
    --------
    >>> rows_of(16, 2), rows_of(16, 2, pieces=3)
    (8, 3)
    """
    return -(-batch_size // (num_workers * pieces))


def more_pieces(batch_size: int, num_workers: int, pieces: int, why: str) -> int:
    """Return in how many pieces a rank's share is taken after memory ran out: so many that each has half as many people.

    Raises
    ------
    FinalError
        There was one person in each.

    Examples
    --------
    >>> more_pieces(16, 2, 1, "CUDA out of memory"), more_pieces(6, 2, 2, "CUDA out of memory")
    (2, 3)
    """
    rows = rows_of(batch_size, num_workers, pieces)
    if rows == 1:
        raise FinalError(
            f"Memory runs out with one person at once on each worker ({why}). `train.recompute_states: true` needs less for the same "
            "losses; so do shorter segments (segments.segment_seconds), a smaller twin, and, if weights take most of it (`dtb train "
            "--dry-run` says), train.zero_stage 3 or configs/deepspeed/offload.json. --resume goes on from the newest checkpoint."
        )
    return -(-batch_size // (num_workers * (rows // 2)))


def in_pieces(user: dict[str, Any], pieces: int) -> dict[str, Any]:
    """Return DeepSpeed's settings of a user with another number of pieces."""
    return {**user, "gradient_accumulation_steps": pieces, "train_micro_batch_size_per_gpu": "auto"}


def pieces_that_fit(
    bytes_in: Callable[[int], Mapping[str, int]], room: int, most: int, pieces: int, settings: Mapping[str, Any]
) -> int:
    """Return in how many pieces a share fits a GPU, as far as can be estimated: at least `pieces`, and `most` if it never seems to.

    Parameters
    ----------
    bytes_in : callable
        Returns a worker's bytes for a number of pieces, see `dtb.train.plan.estimated_bytes`.
    room : int
        Bytes of the GPU that a worker may take.
    most : int
        As many pieces as have one person each.
    pieces : int
    settings : mapping
        DeepSpeed's, which may keep weights and optimizer elsewhere.

    Raises
    ------
    ConfigurationError
        What does not depend on people does not fit.

    Examples
    --------
    >>> pieces_that_fit(lambda pieces: {"weights": 10, "states": 800 // pieces}, room=250, most=16, pieces=1, settings={})
    4
    """
    zero = settings.get("zero_optimization", {})
    elsewhere = {what for key, what in _OFFLOADED.items() if zero.get(key, {}).get("device", "none") != "none"}

    def needed(pieces: int) -> dict[str, int]:
        return {what: size for what, size in bytes_in(pieces).items() if what not in elsewhere}

    fixed = sum(size for what, size in needed(pieces).items() if what in _WITHOUT_PEOPLE)
    if fixed > room:
        raise ConfigurationError(
            f"The twin's weights, gradients and optimizer take about {fixed / 2**30:.1f} GiB on each worker, and of its GPU a worker may "
            f"take {room / 2**30:.1f}. train.zero_stage 3 divides them over the workers, configs/deepspeed/offload.json keeps some in the "
            "machine's memory, and `twin.generation: low_rank` needs fewer."
        )
    while pieces < most and sum(needed(pieces).values()) > room:
        pieces = min(2 * pieces, most)
    return pieces
