"""Workers and nodes that are killed, and a person whose loss is not finite: what is lost, and that the curve is the undisturbed one."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
import threading
import time

import numpy as np
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from dtb.cluster.connection import prepare_environment
from dtb.shards.divide import make_split
from dtb.shards.read import open_cohort
from dtb.train import ray_trainer
from dtb.train.checkpoints.checkpoint import newest_manifest
from dtb.train.quarantine import read_quarantine
from dtb.train.trainer import train
from tests.train.conftest import small_config, write_cohort
from tests.train.hooks import environment_of, half_a_second_longer, no_further_than
from tests.train.ranks import read_rows, train_on_ranks
from tests.train.test_trainer import assert_same_losses, read_rows_so_far

pytestmark = pytest.mark.cluster

EVERY = 4


def long_config(**train_options):
    """So many epochs that there is time to break something."""
    return small_config(
        **{"max_epochs": 40, "patience_epochs": 40, "checkpoint_every_epochs": EVERY, "max_failures": 3} | train_options
    )


def when_epochs_are_done(out, number, act):
    """Call `act` once, in a thread, when so many epochs stand in `metrics.jsonl`; give the times of the calls."""
    acted = []

    def wait():
        while not acted:
            path = out / "metrics.jsonl"
            if path.is_file() and len(read_rows_so_far(out)) >= number:
                acted.append((time.monotonic(), len(read_rows_so_far(out))))
                act()
            time.sleep(0.02)

    threading.Thread(target=wait, daemon=True).start()
    return acted


def training_workers(root=None):
    """Processes of Ray Train workers below a process, by what Ray calls them."""
    below = psutil.Process(root or os.getpid()).children(recursive=True)
    alive = [process for process in below if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    return [process for process in alive if "RayTrainWorker" in " ".join(process.cmdline())]


def kill_a_worker():
    training_workers()[0].kill()


def epochs_gone_on_after(out):
    lines = (out / "notes.log").read_text().splitlines()
    return [int(line.split("after epoch ")[1].split(",")[0]) for line in lines if line.startswith("Going on")]


def failures_in(out):
    """Return the notes of a training that do not tell how long it will take, nor that this machine is busy."""
    lines = (out / "notes.log").read_text().splitlines()
    other = r"The [\d,]+ steps? that (is|are) left will take |Rank \d takes "
    return [line for line in lines if not re.match(other, line)]


@pytest.mark.own_ray
def test_killed_worker_costs_no_more_than_the_interval(shards, tmp_path):
    out, gate = tmp_path / "out", tmp_path / "gate"
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env=environment_of(no_further_than(10, out, gate)),
    )
    try:
        acted = when_epochs_are_done(out, 10, lambda: (kill_a_worker(), gate.touch()))
        train(long_config(num_workers=2), shards, out, resume=False, dry_run=False)
    finally:
        ray.shutdown()
    (_, done), (after,) = acted[0], epochs_gone_on_after(out)
    assert done == 10
    assert done - EVERY <= after
    lost, going_on = failures_in(out)
    # Ray may hear of it first, or the rank that is left.
    assert re.match(
        r"Lost: (rank \d \(its process or its node died\)|a worker or its network \(rank \d hears no more of it\))\. ",
        lost,
    )
    assert "from when the failure was seen" in going_on
    assert_same_losses(read_rows(out), train_on_ranks(long_config(), shards, tmp_path / "undisturbed", 2), 1e-6)


@pytest.mark.own_ray
def test_lost_node_leaves_training_on_the_others(shards, tmp_path):
    """Two nodes of one core, a worker on each; one node is killed, and the other goes on alone from a converted checkpoint."""
    prepare_environment()
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")
    out, gate = tmp_path / "out", tmp_path / "gate"
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        second = cluster.add_node(**small)
        ray.init(
            address=cluster.address, log_to_driver=False, runtime_env=environment_of(no_further_than(10, out, gate))
        )
        acted = when_epochs_are_done(out, 10, lambda: (cluster.remove_node(second, allow_graceful=False), gate.touch()))
        config = long_config(num_workers=2, min_workers=1)
        train(config, shards, out, resume=False, dry_run=False)
    finally:
        ray.shutdown()
        cluster.shutdown()
    (_, done), (after, *_) = acted[0], epochs_gone_on_after(out)
    assert done - EVERY <= after
    assert failures_in(out)[0].startswith("Lost: ")
    assert_same_losses(read_rows(out), train_on_ranks(long_config(), shards, tmp_path / "undisturbed", 1), 1e-4)


@pytest.mark.own_ray
@pytest.mark.on_request
def test_a_node_that_is_taken_back_costs_nothing_that_was_done_when_it_was_announced(shards, tmp_path, monkeypatch):
    """No checkpoint is due before the end. A node is drained, as for a preemption, all ranks save, and then it is gone."""
    prepare_environment()
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "1")
    monkeypatch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1")  # which a cluster without an address has not
    out = tmp_path / "out"
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})

    def take_back():
        drained = ["ray", "drain-node", "--address", cluster.address, "--node-id", second.node_id]
        drained += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        subprocess.run([*drained, "--deadline-remaining-seconds", "60"], check=True)
        while newest_manifest(out / "checkpoints") is None:
            time.sleep(0.1)
        cluster.remove_node(second, allow_graceful=False)

    try:
        second = cluster.add_node(**small)
        ray.init(address=cluster.address, log_to_driver=False, runtime_env=environment_of(half_a_second_longer))
        acted = when_epochs_are_done(out, 2, take_back)
        config = long_config(num_workers=2, min_workers=1, checkpoint_every_epochs=1000, max_failures=0)
        train(config, shards, out, resume=False, dry_run=False)
    finally:
        ray.shutdown()
        cluster.shutdown()
    (_, done), (after,) = acted[0], epochs_gone_on_after(out)
    assert after >= done
    assert_same_losses(read_rows(out), train_on_ranks(long_config(), shards, tmp_path / "undisturbed", 1), 1e-4)


@pytest.mark.on_request
def test_joining_node_is_taken_in(shards, tmp_path, monkeypatch):
    """One node of one core trains; a second one joins, and the group goes on with two workers where its last checkpoint was."""
    prepare_environment()
    # Ray Train looks for new nodes once a minute, and a test must not.
    often = functools.partial(ray_trainer.ScalingConfig, elastic_resize_monitor_interval_s=2.0)
    monkeypatch.setattr(ray_trainer, "ScalingConfig", often)
    # The node is started from a thread, which may set no signal handler, and with which the node would end.
    over = threading.Event()
    monkeypatch.setattr("ray._private.utils.set_sigterm_handler", lambda _handler: None)
    out = tmp_path / "out"
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        # Epochs of half a second, so that there are some left when the node is there.
        ray.init(address=cluster.address, log_to_driver=False, runtime_env=environment_of(half_a_second_longer))
        acted = when_epochs_are_done(out, 5, lambda: (cluster.add_node(**small), over.wait()))
        config = long_config(num_workers=2, min_workers=1)
        train(config, shards, out, resume=False, dry_run=False)
    finally:
        over.set()
        ray.shutdown()
        cluster.shutdown()
    _, manifest = newest_manifest(out / "checkpoints")
    assert manifest["world_size"] == 2
    (_, done), (after, *_) = acted[0], epochs_gone_on_after(out)
    assert done - EVERY <= after
    assert_same_losses(read_rows(out), train_on_ranks(long_config(), shards, tmp_path / "undisturbed", 1), 1e-4)


def test_people_with_nan_or_inf_are_set_aside_and_training_goes_on(tmp_path, capsys):
    """One person's gradient, another's validation loss, and a NaN among a third's data: none of them counts as a failure."""
    config = long_config(max_epochs=6, num_workers=1, max_quarantined_fraction=0.4, max_failures=0)
    split = make_split(open_cohort(write_cohort(tmp_path / "whole", num_people=12)), config.split, config.seed)
    spoil = {split.train[0]: loud, split.validation[0]: blinding, split.train[1]: with_nan}
    shards = write_cohort(
        tmp_path / "shards", num_people=12, spoil=lambda who: spoil.get(who.pseudonym, lambda same: same)(who)
    )
    out = tmp_path / "out"
    train(config, shards, out, resume=False, dry_run=False)
    assert read_quarantine(out) == {
        split.train[0]: "the gradient is not a finite number",
        split.train[1]: "run hammerAP: a stimulus is not a finite number",
        split.validation[0]: "the loss is not a finite number",
    }
    rows = read_rows(out)
    assert len(rows) == 6
    assert all(row["train_loss"] < 10 and row["validation_loss"] < 10 for row in rows)
    said = capsys.readouterr().err
    assert all(f"{who} is set aside" in said for who in spoil)


def with_run(person, **changes):
    return dataclasses.replace(person, runs=(dataclasses.replace(person.runs[0], **changes), *person.runs[1:]))


def loud(person):
    """Stimuli of 3e38 that overlap: each of them a number, but not their sum. States saturate, so only the gradient shows it."""
    trials = person.runs[0].trials
    changed = dataclasses.replace(
        trials,
        pulse_value_Q=np.full_like(trials.pulse_value_Q, 3e38),
        pulse_channel_Q=np.zeros_like(trials.pulse_channel_Q),
        pulse_duration_seconds_Q=np.full_like(trials.pulse_duration_seconds_Q, 6.0),
    )
    return with_run(person, trials=changed)


def blinding(person):
    """BOLD whose square is no number any more."""
    return with_run(person, bold_VR=np.full_like(person.runs[0].bold_VR, 1e25))


def with_nan(person):
    trials = person.runs[0].trials
    return with_run(
        person, trials=dataclasses.replace(trials, pulse_value_Q=np.full_like(trials.pulse_value_Q, np.nan))
    )
