"""Losses depend on seed and configuration, not on how many ranks share the work or how DeepSpeed divides the state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from dtb.train.checkpoints.checkpoint import newest_complete
from dtb.train.start.measure_people import EFFECTS_FILE
from dtb.twin.export import read_twin
from tests.train.conftest import small_config, write_cohort
from tests.train.ranks import train_on_ranks

pytestmark = pytest.mark.slow

# 11 training people in batches of 4 make 3 steps an epoch, the last one of 3 people: over 50 steps in 17 epochs.
EPOCHS, FEWER = 17, 4
CLIPPED_AT = 0.01
CONFIGS = Path(__file__).parents[2] / "configs" / "deepspeed"
COMPARED = ("train_loss", "validation_loss", "press", "bold", "grad_norm")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort") / "shards", num_people=21)


@pytest.fixture(scope="module")
def dividing(tmp_path_factory):
    """With a file by which ZeRO 3 divides the smallest weights too: by itself it leaves those of the tests whole on every rank."""
    path = tmp_path_factory.mktemp("deepspeed") / "zero3.json"
    path.write_text('{"zero_optimization": {"stage3_param_persistence_threshold": 0}}')
    return path


def config(**train):
    # Trainings of different lengths are compared, so the rate must not depend on the length. From a random start people's effects are learnt.
    values = {
        "start": "random",
        "schedule": "constant",
        "max_epochs": EPOCHS,
        "patience_epochs": EPOCHS,
        "checkpoint_every_epochs": EPOCHS,
    }
    return small_config(**values | train)


@pytest.fixture(scope="module")
def folder_of_one(tmp_path_factory):
    return tmp_path_factory.mktemp("one")


@pytest.fixture(scope="module")
def one(cohort, folder_of_one):
    return train_on_ranks(config(zero_stage=0), cohort, folder_of_one, 1)


def furthest(rows, others):
    return max(abs(row[name] - other[name]) for row, other in zip(rows, others, strict=True) for name in COMPARED)


def effects_of(folder):
    """Return what training found of each person's own effect, whose table ranks divide among them."""
    tensors = load_file(folder / EFFECTS_FILE)
    with safe_open(folder / EFFECTS_FILE, "pt") as opened:
        return opened.metadata()["pseudonyms"], torch.cat([tensors["mean_PZ"], tensors["scale_PZ"]])


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_agree_over_fifty_steps(one, folder_of_one, cohort, tmp_path, world_size):
    rows = train_on_ranks(config(zero_stage=1), cohort, tmp_path, world_size)
    assert len(rows) * 3 > 50
    assert furthest(rows, one) < 1e-5
    for row, other in zip(rows, one, strict=True):
        assert row["tasks"]["hammer"] == pytest.approx(other["tasks"]["hammer"], abs=1e-5)
        assert 0 < row["peak_flops_share"] < 1
    (people, found_PZ), (same_people, one_PZ) = effects_of(tmp_path), effects_of(folder_of_one)
    assert people == same_people
    assert one_PZ[: len(one_PZ) // 2].abs().max() > 0.01
    torch.testing.assert_close(found_PZ, one_PZ, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_zero_stages_agree(one, cohort, dividing, tmp_path, zero_stage):
    rows = train_on_ranks(config(zero_stage=zero_stage, deepspeed=dividing, max_epochs=FEWER), cohort, tmp_path, 2)
    assert furthest(rows, one[:FEWER]) < 1e-5


def test_accumulation_and_clipping_agree_with_one_large_batch(cohort, tmp_path):
    settings = {"max_epochs": FEWER, "gradient_clipping": CLIPPED_AT}
    whole = train_on_ranks(config(zero_stage=0, **settings), cohort, tmp_path / "whole", 1)
    assert all(row["grad_norm"] > CLIPPED_AT for row in whole)
    path = tmp_path / "deepspeed.json"
    path.write_text('{"gradient_accumulation_steps": 2}')
    rows = train_on_ranks(config(deepspeed=path, **settings), cohort, tmp_path / "out", 2)
    assert furthest(rows, whole) < 1e-5


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_offload_agrees(one, cohort, tmp_path, zero_stage):
    path = CONFIGS / "offload.json"
    rows = train_on_ranks(config(zero_stage=zero_stage, deepspeed=path, max_epochs=FEWER), cohort, tmp_path, 2)
    assert furthest(rows, one[:FEWER]) < 1e-5


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_bf16_stays_near_float32(one, cohort, dividing, tmp_path, zero_stage):
    settings = config(precision="bf16", zero_stage=zero_stage, deepspeed=dividing, max_epochs=FEWER)
    rows = train_on_ranks(settings, cohort, tmp_path, 2)
    for row, other in zip(rows, one[:FEWER], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.01)
    assert rows[-1]["train_loss"] != one[FEWER - 1]["train_loss"]
    twin, _ = read_twin(tmp_path / "twin")
    weights = torch.cat([parameter.flatten() for parameter in twin.parameters()])
    # The optimizer's float32 weights are exported, not the rounded ones.
    assert not weights.equal(weights.bfloat16().float())


@pytest.mark.parametrize(
    ("zero_stage", "world_sizes"),
    [
        (1, (2, 1)),
        (3, (1, 2)),
        pytest.param(1, (2, 1, 4), marks=pytest.mark.on_request),
        pytest.param(3, (2, 1, 4), marks=pytest.mark.on_request),
    ],
)
def test_resume_on_other_numbers_of_ranks_in_mid_epoch(one, cohort, dividing, tmp_path, zero_stage, world_sizes):
    """Each group of workers stops in the middle of an epoch, and the next one goes on from its last checkpoint, converted.

    The first is lost, or told to end, as by a scheduler: then it saves, though no checkpoint is due.
    """
    is_told = zero_stage == 1
    settings = config(
        zero_stage=zero_stage, deepspeed=dividing, checkpoint_every_steps=0 if is_told else 2, max_epochs=FEWER
    )
    out = tmp_path / "out"
    for place, world_size in enumerate(world_sizes[:-1], 1):
        steps = 5 if place == 1 else 3
        train_on_ranks(settings, cohort, out, world_size, **{"told_after" if is_told else "stop_after": steps})
        found, _ = newest_complete(out / "checkpoints")
        assert (found.progress.epoch, found.progress.step, found.world_size) == (place, 2, world_size)
    rows = train_on_ranks(settings, cohort, out, world_sizes[-1])
    assert [line for line in (out / "notes.log").read_text().splitlines() if "Going on after epoch 1, from" in line]
    assert furthest(rows, one[:FEWER]) < 1e-5
    assert not list((out / "checkpoints").glob("universal*"))


def test_a_slow_rank_is_waited_for_and_told_of(one, cohort, tmp_path):
    rows = train_on_ranks(config(max_epochs=FEWER), cohort, tmp_path, 2, slow={1: 1.0})
    assert furthest(rows, one[:FEWER]) < 1e-5
    (told,) = [line for line in (tmp_path / "notes.log").read_text().splitlines() if "as long" in line]
    assert told.startswith("Rank 1 takes ")


def test_waiting_for_data_is_that_of_the_rank_that_waits_most(cohort, tmp_path):
    (row,) = train_on_ranks(config(max_epochs=1), cohort, tmp_path, 2, waiting={1: 2.0})
    assert row["data_wait_share"] * row["seconds"] > 2.0
