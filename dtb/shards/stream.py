"""The people of each rank at each step: a pure function of seed, epoch and the list of people.

Global batches do not depend on the number of workers, and so neither does the loss curve; they are divided over workers afterwards. An
interrupted epoch resumes from (epoch, step) alone. Each person has a home rank and goes there whenever there is room, because a rank
caches the layouts of its people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

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
        Rows to pad to, the same on every rank.
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
        Whether the order is drawn anew each epoch; otherwise it is alphabetical.
    left_out : frozenset of str
        People who are skipped. The places of the others stay, so that a training can continue within an epoch without them.

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
        """Return everybody in the order of an epoch."""
        people = sorted(self.pseudonyms)
        if not self.shuffled:
            return people
        return [people[place] for place in np.random.default_rng([self.seed, epoch]).permutation(len(people))]

    def shares(self, epoch: int, rank: int, world_size: int, first_step: int = 0) -> Iterator[Share]:
        """Return a rank's shares of the global batches of an epoch, from `first_step` on.

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
        place_of = {who: place for place, who in enumerate(sorted(self.pseudonyms))}
        for step in range(first_step, self.steps_per_epoch):
            place = step * self.batch_size
            people = [who for who in order[place : place + self.batch_size] if who not in self.left_out]
            if not people:
                continue
            yield Share(
                step=step,
                pseudonyms=_dealt(people, place_of, world_size)[rank],
                num_rows=-(-len(people) // world_size),
                global_count=len(people),
            )


def _dealt(people: Sequence[str], place_of: Mapping[str, int], world_size: int) -> list[tuple[str, ...]]:
    """Return a global batch divided over the ranks in equal numbers, with people on their home ranks where there is room.

    If a home is full, the last of the sorted list move, so that it is mostly the same people who move.
    """
    room = [len(range(rank, len(people), world_size)) for rank in range(world_size)]
    rank_of: dict[str, int] = {}
    surplus = []
    for who in sorted(people, key=place_of.__getitem__):
        home = place_of[who] % world_size
        if room[home]:
            room[home] -= 1
            rank_of[who] = home
        else:
            surplus.append(who)
    rank_of.update(zip(surplus, (rank for rank in range(world_size) for _ in range(room[rank])), strict=True))
    return [tuple(who for who in people if rank_of[who] == rank) for rank in range(world_size)]
