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


@given(people=PEOPLE, size=SIZES, world=RANKS, epoch=EPOCHS, left_out=st.sets(st.integers(0, 59)))
def test_everybody_is_at_home_unless_it_is_full_and_ranks_have_as_many_as_dealt_in_turn(
    people, size, world, epoch, left_out
):
    order = sorted(people)
    away = frozenset(order[place] for place in left_out if place < len(order))
    stream = SubjectStream(tuple(people), size, seed=4, left_out=away)
    for step in zip(*everything(stream, epoch, world), strict=True):
        count = step[0].global_count
        assert [len(share.pseudonyms) for share in step] == [len(range(count)[rank::world]) for rank in range(world)]
        homes = [[order.index(who) % world for who in share.pseudonyms] for share in step]
        elsewhere = {home for rank, there in enumerate(homes) for home in there if home != rank}
        assert all(set(homes[home]) == {home} or not homes[home] for home in elsewhere)


def test_from_the_second_epoch_on_few_people_are_new_to_their_rank():
    """The paper's 228 people in its batches of 50, on two ranks; dealt in turn, half of them would move each epoch."""
    stream = SubjectStream(tuple(f"p{number:03d}" for number in range(228)), batch_size=50, seed=0)
    seen, new = [set(), set()], []
    for epoch in range(6):
        shares = [{who for share in each for who in share.pseudonyms} for each in everything(stream, epoch, 2)]
        new.append(sum(len(there - known) for there, known in zip(shares, seen, strict=True)) / 228)
        seen = [there | known for there, known in zip(shares, seen, strict=True)]
    assert new[0] == 1
    assert new[1] < 0.15
    assert max(new[2:]) < 0.05
