"""The stream's promises, over random people, ranks and places to go on from."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dtb.shards.stream import SubjectStream

PEOPLE = st.sets(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=1, max_size=60)
SIZES = st.integers(1, 20)
RANKS = st.integers(1, 9)
EPOCHS = st.integers(0, 1000)


def everything(stream, epoch, world_size, first_step=0):
    return [list(stream.shares(epoch, rank, world_size, first_step)) for rank in range(world_size)]


@given(people=PEOPLE, size=SIZES, world=RANKS, epoch=EPOCHS)
def test_everybody_once_an_epoch_and_equal_steps_a_rank(people, size, world, epoch):
    ranks = everything(SubjectStream(tuple(people), size, seed=1), epoch, world)
    assert Counter(who for shares in ranks for share in shares for who in share.pseudonyms) == Counter(people)
    assert len({len(shares) for shares in ranks}) == 1
    for step in zip(*ranks, strict=True):
        assert len({share.num_rows for share in step}) == 1
        assert sum(len(share.pseudonyms) for share in step) == step[0].global_count <= size
        assert all(len(share.pseudonyms) <= share.num_rows for share in step)


@given(people=PEOPLE, size=SIZES, worlds=st.tuples(RANKS, RANKS), epoch=EPOCHS)
def test_global_batches_do_not_depend_on_the_number_of_ranks(people, size, worlds, epoch):
    stream = SubjectStream(tuple(people), size, seed=2)

    def batches(world):
        return [
            {who for share in step for who in share.pseudonyms}
            for step in zip(*everything(stream, epoch, world), strict=True)
        ]

    assert batches(worlds[0]) == batches(worlds[1])


@given(people=PEOPLE, size=SIZES, world=RANKS, epoch=EPOCHS, data=st.data())
def test_going_on_from_a_step_gives_the_rest_and_nothing_else(people, size, world, epoch, data):
    stream = SubjectStream(tuple(people), size, seed=3)
    first = data.draw(st.integers(0, stream.steps_per_epoch))
    whole, rest = everything(stream, epoch, world), everything(stream, epoch, world, first)
    assert [shares[first:] for shares in whole] == rest


@given(people=PEOPLE, epoch=EPOCHS, seed=st.integers(0, 9), data=st.data())
def test_order_depends_on_seed_epoch_and_who_is_there_alone(people, epoch, seed, data):
    shuffled = data.draw(st.permutations(sorted(people)))
    assert SubjectStream(tuple(people), 4, seed).order(epoch) == SubjectStream(tuple(shuffled), 7, seed).order(epoch)


def test_epochs_and_seeds_give_different_orders():
    people = tuple(f"p{number}" for number in range(40))
    orders = [SubjectStream(people, 4, seed).order(epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
