"""A rank's batches: weights that make the mean over ranks the mean over people, in any number of pieces, in order."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtb.shards.layouts import LayoutStore
from dtb.shards.read import open_cohort
from dtb.train.plan import make_plan
from tests.train.conftest import small_config, write_cohort


@pytest.fixture(scope="module")
def plan(shards, tmp_path_factory):
    return make_plan(small_config(batch_size=3), shards, tmp_path_factory.mktemp("out"), open_cohort(shards))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("pieces", [1, 2])
def test_mean_over_ranks_of_the_weights_is_one_a_global_batch(plan, world_size, pieces):
    for epoch in range(2):
        ranks = [list(plan.feeds(rank, world_size, pieces)["train"].batches(epoch)) for rank in range(world_size)]
        for step in zip(*ranks, strict=True):
            total = sum(float(batch.weight_S.sum()) for _, batches in step for batch in batches)
            # DeepSpeed divides by the pieces and by the ranks.
            assert total / (world_size * pieces) == pytest.approx(1.0)
            people = [who for _, batches in step for batch in batches for who in batch.pseudonyms if who]
            assert sorted(people) == sorted(set(people))
            assert len(people) == step[0][0].global_count
            assert len({len(batch.pseudonyms) for _, batches in step for batch in batches}) == 1


def test_going_on_in_mid_epoch_gives_the_same_batches(plan):
    feed = plan.feeds(0, 1, 1)["train"]
    whole = [batches[0].pseudonyms for _, batches in feed.batches(7)]
    assert [batches[0].pseudonyms for _, batches in feed.batches(7, first_step=1)] == whole[1:]


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    num_people=st.integers(4, 9),
    per_shard=st.integers(1, 9),
    world=st.integers(1, 5),
    threads=st.integers(1, 3),
    data=st.data(),
)
def test_everybody_comes_once_an_epoch_from_any_shards_on_any_ranks_and_threads(
    num_people, per_shard, world, threads, data
):
    """Fewer shards than ranks, too; and what is left of an epoch, from any place in it."""
    with tempfile.TemporaryDirectory() as folder:
        cohort = open_cohort(write_cohort(Path(folder) / "shards", num_people, subjects_per_shard=per_shard))
        config = small_config(batch_size=2, loader_threads=threads)
        plan = make_plan(config, Path(folder) / "shards", Path(folder) / "out", cohort)
        first = data.draw(st.integers(0, plan.stream("train").steps_per_epoch))
        ranks = [list(plan.feeds(rank, world, 1)["train"].batches(3, first)) for rank in range(world)]
    assert len({len(steps) for steps in ranks}) == 1
    seen = [who for steps in ranks for _, (batch,) in steps for who in batch.pseudonyms if who]
    assert sorted(seen) == sorted(plan.stream("train").order(3)[2 * first :])
    for steps in ranks:
        for share, (batch,) in steps:
            assert tuple(who for who in batch.pseudonyms if who) == share.pseudonyms


def test_second_epoch_from_layouts_that_were_kept_is_the_one_from_shards(plan, tmp_path, monkeypatch):
    """Two ranks of a node lay people out in the first, and a third, which takes their place, reads them."""
    store = LayoutStore(plan.maker().layouts_depend_on, tmp_path)
    fresh, used = plan.feeds(0, 1, 1)["train"], plan.feeds(0, 1, 1, layouts=store)["train"]
    for rank in range(2):
        list(plan.feeds(rank, 2, 1, layouts=store)["train"].batches(0))
    monkeypatch.setattr(used.cohort, "record", None)  # nobody is read a second time
    fresh = dataclasses.replace(fresh, cohort=open_cohort(plan.shards))
    for (_, (read,)), (_, (remembered,)) in zip(fresh.batches(1), used.batches(1), strict=True):
        assert read.pseudonyms == remembered.pseudonyms
        for name in ("stimulus_SKTI", "press_SKTA", "at_risk_SKT", "bold_counted_SKV", "seed_S"):
            assert getattr(read, name).equal(getattr(remembered, name)), name
        for name in ("connectome_SE", "bold_SKVR"):
            assert getattr(read, name).nan_to_num(9).equal(getattr(remembered, name).nan_to_num(9)), name
