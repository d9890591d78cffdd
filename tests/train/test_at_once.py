"""Memory that does not hold all people of a rank at once costs time, and changes no loss."""

from __future__ import annotations

import dataclasses

import psutil
import pytest
import ray
import torch
from ray.exceptions import OutOfMemoryError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from dtb.cluster.shared_folder import SharedFolder
from dtb.errors import ConfigurationError, FinalError
from dtb.shards.read import open_cohort
from dtb.train.at_once import TooManyAtOnceError, full_memory_told, in_pieces, more_pieces, pieces_that_fit
from dtb.train.driver.failures import FailureLog
from dtb.train.engine import deepspeed_settings
from dtb.train.plan import estimated_bytes, make_plan
from dtb.train.trainer import train
from tests.train.conftest import small_config
from tests.train.hooks import environment_of, hungry
from tests.train.ranks import read_rows, train_on_ranks
from tests.train.test_trainer import assert_same_losses


def test_halving_ends_at_one_person_and_then_in_a_sentence_that_says_what_to_do():
    pieces, halves = 1, []
    with pytest.raises(FinalError, match=r"one person at once .*\(full\).*recompute_states.*--resume"):
        while True:
            pieces = more_pieces(batch_size=50, num_workers=4, pieces=pieces, why="full")
            halves.append(-(-50 // (4 * pieces)))
    assert halves == [5, 2, 1]


def test_each_way_to_run_out_of_memory_is_one_error():
    for error in (torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError("none")):
        with pytest.raises(TooManyAtOnceError), full_memory_told():
            raise error
    with pytest.raises(TooManyAtOnceError, match="can't allocate memory"), full_memory_told():
        torch.empty(2**62, dtype=torch.uint8)  # the allocator's own words
    with pytest.raises(RuntimeError, match="another") as other, full_memory_told():
        raise RuntimeError("another")
    assert type(other.value) is RuntimeError


def test_what_rays_monitor_ends_is_tried_with_fewer_and_not_as_it_was(tmp_path):
    died = OutOfMemoryError(
        "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.1) was 15 GB"
    )
    errors = {
        0: UserExceptionWithTraceback(RuntimeError("Connection closed by peer"), "..."),
        1: WorkerHealthCheckFailedError("A worker health check failed", died),
    }
    with pytest.raises(TooManyAtOnceError, match="Ray's monitor ended rank 1"):
        FailureLog(SharedFolder(tmp_path, "")).after_exception(None, errors)


def test_as_few_are_taken_at_once_as_a_gpu_seems_to_hold(shards, tmp_path):
    config = small_config(batch_size=8)
    plan = make_plan(config, shards, tmp_path, open_cohort(shards))

    def bytes_in(pieces):
        return estimated_bytes(1000, config, plan, 1000, pieces)

    def fitting(room):
        return pieces_that_fit(bytes_in, room, most=8, pieces=1, settings={})

    whole, halves = (sum(bytes_in(pieces).values()) for pieces in (1, 2))
    assert (fitting(whole), fitting(whole - 1), fitting(halves), fitting(halves - 1)) == (1, 2, 2, 4)
    fixed = sum(bytes_in(1)[what] for what in ("weights", "gradients", "bucket", "optimizer"))
    assert fitting(fixed) == 8  # it is an estimate: whoever is alone is tried
    with pytest.raises(ConfigurationError, match=r"about .* GiB on each worker.*zero_stage 3"):
        fitting(fixed - 1)
    offloaded = {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}
    assert pieces_that_fit(bytes_in, fixed - 1, most=8, pieces=1, settings=offloaded) == 8


def test_pieces_take_the_place_of_those_of_the_file():
    config = dataclasses.replace(small_config(batch_size=16).train, num_workers=2)
    user = {"gradient_accumulation_steps": 2, "train_micro_batch_size_per_gpu": 4}
    assert deepspeed_settings(config, 2, user)["train_micro_batch_size_per_gpu"] == 4
    made = deepspeed_settings(config, 2, in_pieces(user, 4))
    assert (made["train_micro_batch_size_per_gpu"], made["gradient_accumulation_steps"]) == (2, 4)


@pytest.mark.cluster
@pytest.mark.own_ray
def test_memory_that_runs_out_in_training_costs_time_and_no_loss(shards, tmp_path):
    """Four people at once need two GiB, and there are one and a half: two at once, twice a step, give the curve of an undisturbed training."""
    out = tmp_path / "out"
    half_a_gib_each = environment_of(hungry(2**29, people=3))
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=half_a_gib_each)
    try:
        train(small_config(), shards, out, resume=False)
    finally:
        ray.shutdown()
    notes = (out / "notes.log").read_text()
    assert notes.count("Memory ran out") == 1
    assert "with 2 people at once on each worker in place of 4; batches and losses stay the same" in notes
    assert_same_losses(read_rows(out), train_on_ranks(small_config(), shards, tmp_path / "undisturbed", 1), 1e-5)


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.on_request
def test_a_rank_that_ray_s_monitor_ends_goes_on_with_fewer_people(shards, tmp_path, monkeypatch):
    """Four people at once take eight GiB, of which Ray leaves six, and two take four. The machine's other work must stay as it is."""
    memory = psutil.virtual_memory()
    if memory.available < 10 * 2**30:
        pytest.skip("needs 10 GiB of free memory")
    monkeypatch.setenv("RAY_memory_usage_threshold", str((memory.total - memory.available + 6 * 2**30) / memory.total))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    out = tmp_path / "out"
    two_gib_each = environment_of(hungry(2**31))
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=two_gib_each)
    try:
        train(small_config(max_epochs=2), shards, out, resume=False)
    finally:
        ray.shutdown()
    notes = (out / "notes.log").read_text()
    assert notes.count("Memory ran out (Ray's monitor ended rank 0") == 1
    assert "with 2 people at once on each worker in place of 4; batches and losses stay the same" in notes
    undisturbed = train_on_ranks(small_config(max_epochs=2), shards, tmp_path / "undisturbed", 1)
    assert_same_losses(read_rows(out), undisturbed, 1e-5)
