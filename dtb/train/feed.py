"""Batches of people for one rank, read from shards in the background while the current batch is trained on."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from dtb.shards.batches import BatchMaker
from dtb.shards.layouts import Layout, LayoutStore
from dtb.shards.read import Cohort
from dtb.shards.split import Part
from dtb.shards.stream import Share, SubjectStream
from dtb.twin.batch import Batch

_BATCHES_AHEAD = 2
_Made = tuple[Share, list[Batch]]
_Begun = tuple[Share, Future[list[Batch]]]


@dataclasses.dataclass(frozen=True)
class Feed:
    """One part of a cohort, as one rank sees it.

    Attributes
    ----------
    cohort : Cohort
    maker : BatchMaker
    stream : SubjectStream
        Stream of the people of `part`.
    part : {"train", "validation", "test"}
    rank, world_size : int
    pieces : int
        Number of batches in a share, for gradient accumulation.
    threads : int
        Number of batches made at the same time, which does not change their order.
    layouts : LayoutStore or None
        Where people's layouts are kept from one epoch to the next.
    """

    cohort: Cohort
    maker: BatchMaker
    stream: SubjectStream
    part: Part
    rank: int
    world_size: int
    pieces: int = 1
    threads: int = 1
    layouts: LayoutStore | None = None

    def batches(self, epoch: int, first_step: int = 0, last_step: int | None = None) -> Iterator[_Made]:
        """Return this rank's batches of an epoch, each step's in `pieces`, from `first_step` to before `last_step`; work on the first
        begins at once.

        The weights are such that the mean over ranks of the summed weighted losses is the mean over the people of the global batch,
        however many ranks there are.
        """
        shares = self.stream.shares(epoch, self.rank, self.world_size, first_step)
        if last_step is not None:
            shares = itertools.takewhile(lambda share: share.step < last_step, shares)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="feed")
        made = ((share, pool.submit(self._make, share, epoch)) for share in shares)
        return _in_turn(pool, deque(itertools.islice(made, _BATCHES_AHEAD * self.threads)), made)

    def _make(self, share: Share, epoch: int) -> list[Batch]:
        num_regions = len(self.cohort.manifest.description.regions)
        rows = -(-share.num_rows // self.pieces)
        made = []
        for piece in range(self.pieces):
            batch = self.maker.batch_of(
                [self._layout(who) for who in share.pseudonyms[piece :: self.pieces]],
                seed=self.stream.seed,
                epoch=epoch,
                num_subjects=rows,
                num_edges=num_regions * (num_regions - 1) // 2,
            )
            scale = self.world_size * self.pieces / share.global_count
            made.append(dataclasses.replace(batch, weight_S=batch.weight_S * scale))
        return made

    def _layout(self, pseudonym: str) -> Layout:
        """Return a person's layout, from the store or made of the record."""
        found = self.layouts.read(pseudonym, self.part) if self.layouts else None
        if found is None:
            found = self.maker.layout(self.cohort.record(pseudonym), self.part)
            if self.layouts:
                self.layouts.write(found, self.part)
        return found


def _in_turn(pool: ThreadPoolExecutor, waiting: deque[_Begun], further: Iterator[_Begun]) -> Iterator[_Made]:
    """Yield batches in order, and start making another for each that is taken."""
    with pool:
        while waiting:
            waiting.extend(itertools.islice(further, 1))
            share, batches = waiting.popleft()
            yield share, batches.result()
