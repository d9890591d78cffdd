"""How many steps a training makes, how large its batches are, and that it makes exactly those."""

from __future__ import annotations

import dataclasses
import math

import pytest

from dtb.config import TrainConfig
from dtb.shards.read import open_cohort
from dtb.train.budget import budget_of, default_batch_size, fitted
from dtb.train.driver.progress import Progress
from dtb.train.plan import make_plan
from dtb.train.trainer import _keep
from tests.train.conftest import small_config, write_cohort
from tests.train.ranks import read_rows, train_on_ranks


@pytest.mark.parametrize("num_people", [4, 10, 14, 27, 60, 112, 228, 1000, 8000])
def test_every_cohort_gets_enough_steps_and_sees_everybody_often(num_people):
    train = fitted(TrainConfig(), num_people)
    budget = budget_of(train, num_people)
    assert budget.max_steps >= 1500
    assert budget.max_steps * train.batch_size >= 60 * num_people
    # What was right before for a large cohort stays: 60 epochs of batches of 16, a checkpoint every 5, patience of 15.
    if num_people >= 1000:
        assert (train.batch_size, budget.max_epochs, train.checkpoint_every_epochs) == (16, 60, 5)
        assert budget.patience_steps == 15 * budget.steps_per_epoch
    if num_people >= 12:
        assert budget.steps_per_epoch >= 3


def test_ten_people_make_more_than_one_step_an_epoch():
    assert budget_of(fitted(TrainConfig(), 10), 10).steps_per_epoch == 3


def test_the_paper_trains_as_published():
    paper = TrainConfig(batch_size=50, max_epochs=800, schedule="constant", checkpoint_every_epochs=10)
    budget = budget_of(fitted(paper, 228), 228)
    assert (budget.steps_per_epoch, budget.max_steps, budget.max_epochs) == (5, 4000, 800)
    assert fitted(paper, 228).checkpoint_every_epochs == 10


def test_of_steps_and_epochs_the_fewer_count():
    both = TrainConfig(batch_size=4, max_steps=100, max_epochs=3, patience_steps=7, patience_epochs=2)
    assert budget_of(both, 20).max_steps == 15
    assert budget_of(both, 20).patience_steps == 7
    assert budget_of(both, 400).max_steps == 100


@pytest.mark.parametrize("num_people", [9, 40, 130, 900])
def test_batches_do_not_depend_on_one_two_or_four_ranks(num_people):
    sizes = {default_batch_size(num_people, num_workers) for num_workers in (1, 2, 4)}
    assert len(sizes) == 1
    assert sizes.pop() % 4 == 0


def test_everything_is_chosen_once_and_choosing_again_changes_nothing():
    once = fitted(TrainConfig(num_workers=2), 30)
    assert fitted(dataclasses.replace(once, num_workers=8), 30) == dataclasses.replace(once, num_workers=8)


def test_a_training_that_goes_on_with_more_workers_keeps_its_batches(tmp_path):
    shards = write_cohort(tmp_path / "shards", num_people=21)
    config = small_config(batch_size=None, num_workers=1)
    cohort = open_cohort(shards)
    begun = make_plan(config, shards, tmp_path / "begun", cohort)
    assert begun.batch_size == 4
    many = dataclasses.replace(config, train=dataclasses.replace(config.train, num_workers=16))
    assert make_plan(many, shards, tmp_path / "new", cohort).batch_size > 4
    (tmp_path / "begun").mkdir()
    _keep(begun, tmp_path / "begun", {})
    assert make_plan(many, shards, tmp_path / "begun", cohort).config.train.batch_size == 4


def test_patience_is_counted_in_steps():
    budget = budget_of(TrainConfig(batch_size=4, max_steps=100, patience_steps=10), 20)  # 5 steps an epoch
    progress = Progress(epoch=5, best_epoch=4, best_loss=1.0)
    assert not progress.is_over(budget)
    progress.epoch = 6
    assert progress.is_over(budget)


SEVEN = small_config(batch_size=2, max_epochs=None, max_steps=7, checkpoint_every_steps=1)
"""Four training people in batches of two: two steps an epoch, and seven steps end in the middle of the fourth."""


@pytest.fixture(scope="module")
def whole(shards, tmp_path_factory):
    return train_on_ranks(SEVEN, shards, tmp_path_factory.mktemp("whole"), 1)


@pytest.mark.slow
def test_it_ends_after_exactly_so_many_steps(whole):
    assert [row["step"] for row in whole] == [2, 4, 6, 7]
    highest = SEVEN.train.learning_rate
    last = [(row["step"] - 1) / 7 for row in whole]
    assert [row["lr"] for row in whole] == pytest.approx(
        [highest * (1 + math.cos(math.pi * done)) / 2 for done in last]
    )


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_agree_in_the_cut_epoch_too(whole, shards, tmp_path, world_size):
    rows = train_on_ranks(SEVEN, shards, tmp_path, world_size)
    for row, other in zip(rows, whole, strict=True):
        for name in ("train_loss", "validation_loss"):
            assert row[name] == pytest.approx(other[name], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [3, 6])
def test_going_on_within_an_epoch_gives_the_same_losses(whole, shards, tmp_path, stop_after):
    train_on_ranks(SEVEN, shards, tmp_path, 1, stop_after=stop_after)
    rows = train_on_ranks(SEVEN, shards, tmp_path, 1)
    assert [(row["step"], row["validation_loss"]) for row in rows] == [
        (row["step"], row["validation_loss"]) for row in whole
    ]
    assert read_rows(tmp_path)[-1]["step"] == 7
