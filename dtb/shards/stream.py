"""Which people each rank sees at each step: a pure function of seed, epoch and the list of people.

The workers enter only at the end, when a global batch is dealt to them, so the batches, and with them the loss curve, are the same on
any number of workers; and an interrupted epoch goes on from (epoch, step) alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np


@dataclasses.dataclass(frozen=True)
class Share:
    """One rank's share of one global batch.

    Attributes
    ----------
    step : int
        Number of the global batch within the epoch.
    pseudonyms : tuple of str
        This rank's people; possibly none.
    num_rows : int
        Rows to pad to: the same on every rank, so that all of them compute alike.
    global_count : int
        People in the global batch over all ranks.
    """

    step: int
    pseudonyms: tuple[str, ...]
    num_rows: int
    global_count: int


@dataclasses.dataclass(frozen=True)
class SubjectStream:
    """The order in which people are trained on.

    Attributes
    ----------
    pseudonyms : tuple of str
        The people; their order here does not matter.
    batch_size : int
        People in a global batch.
    seed : int
    shuffled : bool
        Whether the order is drawn anew each epoch; otherwise it is alphabetical always.
    left_out : frozenset of str
        People who are passed over. The places of the others stay, so that a training can go on in mid-epoch without them.

    Examples
    --------
    >>> stream = SubjectStream(("a", "b", "c"), batch_size=2, seed=0, shuffled=False)
    >>> [share.pseudonyms for share in stream.shares(epoch=0, rank=1, world_size=2)]
    [('b',), ()]
    """

    pseudonyms: tuple[str, ...]
    batch_size: int
    seed: int
    shuffled: bool = True
    left_out: frozenset[str] = frozenset()

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch; the last may be smaller."""
        return -(-len(self.pseudonyms) // self.batch_size)

    def order(self, epoch: int) -> list[str]:
        """Give everybody in the order of an epoch."""
        people = sorted(self.pseudonyms)
        if not self.shuffled:
            return people
        return [people[place] for place in np.random.default_rng([self.seed, epoch]).permutation(len(people))]

    def shares(self, epoch: int, rank: int, world_size: int, first_step: int = 0) -> Iterator[Share]:
        """Give a rank's shares of the global batches of an epoch, from `first_step` on.

        Parameters
        ----------
        epoch : int
        rank, world_size : int
        first_step : int
            Global batches of this epoch that are done already.

        Yields
        ------
        Share
            As many on every rank; none for a batch whose people are all left out.
        """
        order = self.order(epoch)
        for step in range(first_step, self.steps_per_epoch):
            place = step * self.batch_size
            people = [who for who in order[place : place + self.batch_size] if who not in self.left_out]
            if not people:
                continue
            yield Share(
                step=step,
                pseudonyms=tuple(people[rank::world_size]),
                num_rows=-(-len(people) // world_size),
                global_count=len(people),
            )
