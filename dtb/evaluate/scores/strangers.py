"""Strangers' connectomes: which are given to each person's twin, the losses by connectome, and the permutation test.

One deal of strangers' connectomes is one draw, and another draw may come out otherwise. So everybody's twin gets every stranger's
connectome. Where there are many people, they are divided into blocks of more than twenty, and each block has its own matrix. Who is in
which block follows from the people alone. No seed has a part in it.

Shape letters: `S` subject, `D` deal, `n` person of a block, `F` family, `P` permutation.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from dtb.evaluate.scores.permutations import wider_where_shared

NUM_STRANGERS = 20
"""A person is compared with at least as many strangers, where there are so many people; up to twice as many people are one block."""
_STREAM = 0x57A6


def block_of_people(pseudonyms: Sequence[str], family_S: np.ndarray | None = None) -> np.ndarray:
    """Return blocks (S,) of more than `NUM_STRANGERS` people; families stay together.

    Parameters
    ----------
    pseudonyms : sequence of str
    family_S : (S,) int, optional
        Number of each person's family; everybody is one's own if not given.
    """
    num_people = len(pseudonyms)
    family_S = np.arange(num_people) if family_S is None else family_S
    members: dict[int, list[int]] = {}
    for place in sorted(range(num_people), key=lambda place: _draw(pseudonyms[place])):
        members.setdefault(int(family_S[place]), []).append(place)
    largest = max((len(some) for some in members.values()), default=1)
    num_blocks = max(1, num_people // (NUM_STRANGERS + 2 * largest - 1))
    block_S, done = np.zeros(num_people, np.int64), 0
    for some in members.values():
        block_S[some] = done * num_blocks // num_people
        done += len(some)
    return block_S


def _draw(pseudonym: str) -> bytes:
    return hashlib.sha256(f"strangers/{pseudonym}".encode()).digest()


def deals(block_S: np.ndarray, family_S: np.ndarray | None = None) -> np.ndarray:
    """Return whose connectome each person gets in each deal, (D, S): all others of the block in turn; -1 for a relative's or nobody's.

    Examples
    --------
    >>> deals(np.array([0, 0, 0, 1, 1]))
    array([[ 1,  2,  0,  4,  3],
           [ 2,  0,  1, -1, -1]])
    """
    blocks = [np.flatnonzero(block_S == block) for block in np.unique(block_S)]
    donor_DS = np.full((max((len(some) for some in blocks), default=1) - 1, len(block_S)), -1, np.int64)
    for some in blocks:
        for shift in range(1, len(some)):
            donor_DS[shift - 1, some] = np.roll(some, -shift)
    return donor_DS if family_S is None else np.where(family_S[donor_DS] == family_S, -1, donor_DS)


@dataclasses.dataclass(frozen=True, eq=False)
class LossBlock:
    """The losses of some people with each other's connectomes.

    Attributes
    ----------
    person_n : (n,) int
        Their places among all people.
    family_n : (n,) int
        Number of each one's family.
    loss_nn : (n, n)
        Row: whose behaviour is predicted; column: from whose connectome. What is between relatives is not looked at.
    """

    person_n: np.ndarray
    family_n: np.ndarray
    loss_nn: np.ndarray

    @property
    def is_whole(self) -> bool:
        """Whether everybody's loss is known under each connectome that is no relative's."""
        return bool(np.isfinite(self.loss_nn[self.family_n[:, None] != self.family_n]).all())

    def from_strangers(self) -> np.ndarray:
        """Return each person's loss (n,) from a stranger's connectome; the mean over people is that of the matrix off its diagonal.

        A person who is hard to predict and a connectome that serves nobody are made up for: it is the sum of what the person and the
        person's connectome have in common with strangers, and so compares with the own loss as pairs do.
        """
        off_nn = self.family_n[:, None] != self.family_n
        count_n = off_nn.sum(axis=1)
        if not off_nn.any():
            return np.full(len(self.person_n), np.nan)
        filled_nn = np.where(off_nn, self.loss_nn, 0.0)
        mean = filled_nn.sum() / off_nn.sum()
        both_n = (filled_nn.sum(axis=0) + filled_nn.sum(axis=1)) / np.maximum(count_n, 1) - 2 * mean
        # The own entry is in neither mean, which draws both towards the middle.
        widened_n = np.where(count_n > 1, count_n / np.maximum(count_n - 1, 1), 1.0)
        found_n = mean + both_n * widened_n
        return np.where(count_n > 0, found_n + mean - found_n[count_n > 0].mean(), np.nan)


def loss_blocks(
    own_S: np.ndarray, dealt_DS: np.ndarray, donor_DS: np.ndarray, block_S: np.ndarray, family_S: np.ndarray
) -> tuple[LossBlock, ...]:
    """Return a matrix of losses, from own and strangers' connectomes, for each block; none if there are too few deals.

    People without a loss are left out, as persons and as connectomes.
    """
    found = []
    for block in np.unique(block_S):
        person_n = np.flatnonzero((block_S == block) & np.isfinite(own_S))
        place = np.full(len(own_S), -1)
        place[person_n] = np.arange(len(person_n))
        loss_nn = np.full((len(person_n),) * 2, np.nan)
        np.fill_diagonal(loss_nn, own_S[person_n])
        for dealt_S, donor_S in zip(dealt_DS, donor_DS, strict=True):
            donor_n = donor_S[person_n]
            used_n = (donor_n >= 0) & (place[donor_n] >= 0)
            loss_nn[np.flatnonzero(used_n), place[donor_n[used_n]]] = dealt_S[person_n[used_n]]
        found.append(LossBlock(person_n, family_S[person_n], loss_nn))
    return tuple(each for each in found if len(each.person_n)) if all(each.is_whole for each in found) else ()


def scores_from_strangers(blocks: Sequence[LossBlock], num_people: int) -> np.ndarray:
    """Return everybody's loss (S,) from a stranger's connectome (`LossBlock.from_strangers`)."""
    found_S = np.full(num_people, np.nan)
    for each in blocks:
        found_S[each.person_n] = each.from_strangers()
    return found_S


def own_connectome_p(blocks: Sequence[LossBlock], num_draws: int, shared: float = 0.0) -> float:
    """Return the p-value that losses are smaller with people's own connectomes, by permuting connectomes.

    Connectomes are permuted within blocks; those of a family go to another family of as many, together.

    Parameters
    ----------
    blocks : sequence of LossBlock
    num_draws : int
    shared : float
        See `dtb.evaluate.scores.permutations.wider_where_shared`.

    Returns
    -------
    float
        (1 + draws at most as large) / (1 + draws); NaN where nothing can be dealt.
    """
    rng = np.random.default_rng(_STREAM)
    drawn_P, own, scale, can_be_dealt = np.zeros(num_draws), 0.0, 0.0, False
    for each in blocks:
        families = [np.flatnonzero(each.family_n == family) for family in dict.fromkeys(each.family_n.tolist())]
        for size in sorted({len(some) for some in families}):
            member_Fm = np.array([some for some in families if len(some) == size])
            loss_FF = np.sum([each.loss_nn[np.ix_(member_F, member_F)] for member_F in member_Fm.T], axis=0)
            places = np.arange(len(member_Fm))
            order_PF = rng.permuted(np.broadcast_to(places, (num_draws, len(places))), axis=1)
            drawn_P += loss_FF[places, order_PF].sum(axis=1)
            own += float(np.trace(loss_FF))
            scale += float(np.abs(np.diag(loss_FF)).sum())
            can_be_dealt |= len(places) > 1
    if not can_be_dealt:
        return float("nan")
    mean = drawn_P.mean()
    drawn_P = mean + (drawn_P - mean) * wider_where_shared(shared)
    return float((1 + (drawn_P <= own + 1e-12 * scale).sum()) / (1 + num_draws))
