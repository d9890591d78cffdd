"""`dtb train`: what it refuses, what a dry run says, and that Ray workers train as one process would."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
import ray
import torch

from dtb.cluster.shared_folder import SharedFolder
from dtb.config import ClusterConfig, TrackConfig, to_yaml
from dtb.errors import ConfigurationError, DamagedOutputError, FinalError, OutputInUseError, StageError
from dtb.shards.read import open_cohort
from dtb.shards.split import Split
from dtb.stages import read_stage
from dtb.track import Tracker
from dtb.train.checkpoints.checkpoint import newest_complete
from dtb.train.driver.progress import Progress
from dtb.train.driver.room import require_room
from dtb.train.log import ALIVE_FILE
from dtb.train.plan import make_plan
from dtb.train.ray_trainer import SEEN, require_seen
from dtb.train.trainer import _keep, train
from dtb.train.worker import _Book
from dtb.twin.export import read_twin
from tests.sockets import assert_listening_on_loopback_alone, watched_sockets
from tests.test_track import read_record
from tests.train.conftest import small_config
from tests.train.ranks import read_rows, train_on_ranks

ROOT = Path(__file__).parents[2]
# Ray Train's helpers that have nothing to do on one node without Ray's data sets, each a process that takes a core for seconds.
USELESS_ALONE = {"DatasetManager", "PreemptionWatcher", "PlacementGroupCleaner", "_AutoscalingCoordinatorActor"}


def assert_same_losses(rows, others, tolerance):
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in others]
    for row, other in zip(rows, others, strict=True):
        for name in ("train_loss", "validation_loss", "press", "bold", "grad_norm"):
            assert row[name] == pytest.approx(other[name], abs=tolerance), (row["epoch"], name)


def test_dry_run_says_what_would_be_done_and_writes_nothing(shards, tmp_path, capsys):
    train(small_config(), shards, tmp_path / "out", resume=False, dry_run=True)
    said = capsys.readouterr().out
    for words in (
        "4 train, 2 validation, 2 test",
        "4 people in batches of 4 make 1 step an epoch",
        "parameters",
        "MiB a worker",
        "2 CPU",
    ):
        assert words in said
    assert not (tmp_path / "out").exists()


def test_dry_run_refuses_more_workers_than_there_are_cores(shards, tmp_path):
    with pytest.raises(ConfigurationError, match=r"train\.num_workers needs 3 CPU, but this machine has 2"):
        train(small_config(num_workers=3), shards, tmp_path / "out", resume=False, dry_run=True)


def test_dry_run_refuses_an_output_that_the_run_would_refuse(shards, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputInUseError, match="not empty"):
        train(small_config(), shards, tmp_path / "out", resume=False, dry_run=True)


def test_folder_that_is_no_cohort_is_refused(tmp_path):
    (tmp_path / "shards").mkdir()
    with pytest.raises(DamagedOutputError, match=r"has no stage\.json"):
        train(small_config(), tmp_path / "shards", tmp_path / "out", resume=False, dry_run=True)


@pytest.mark.own_ray
def test_a_cluster_that_is_not_there_leaves_the_output_free(shards, tmp_path):
    nowhere = dataclasses.replace(small_config(), cluster=ClusterConfig(ray_address="foo"))
    with pytest.raises(ConfigurationError, match="ray_address"):
        train(nowhere, shards, tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


def test_used_output_is_refused(shards, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputInUseError, match="--resume"):
        train(small_config(), shards, tmp_path / "out", resume=False, dry_run=False)


@pytest.mark.cluster
def test_two_workers_train_as_one(shards, tmp_path):
    """ZeRO 1, float32, the same global batches: the same losses to 1e-5; and the twin that comes out is the best one."""
    config = small_config(num_workers=2, batch_size=3, max_epochs=4)
    with watched_sockets() as listening:
        train(config, shards, tmp_path / "two", resume=False, dry_run=False)
    assert_listening_on_loopback_alone(listening)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # Ctrl-C in a later stage is ours
    started = {actor["ActorClassName"] for actor in ray._private.state.actors().values()}
    assert "RayTrainWorker" in started
    assert not started & USELESS_ALONE
    one = train_on_ranks(config, shards, tmp_path / "one", 1)
    assert_same_losses(read_rows(tmp_path / "two"), one, 1e-5)
    assert read_stage(tmp_path / "two")["complete"]
    assert Split.load(tmp_path / "two" / "split.json").train

    twin, card = read_twin(tmp_path / "two" / "twin")
    checkpoint, _ = newest_complete(tmp_path / "two" / "checkpoints")
    trained = type(twin)(card.config, card.sizes)
    best = {
        name.removeprefix("twin."): one for name, one in checkpoint.best_weights().items() if name.startswith("twin.")
    }
    trained.load_state_dict({**twin.state_dict(), **best})
    generator = torch.Generator().manual_seed(0)
    connectome_SE = torch.randn(3, card.sizes.num_edges, generator=generator)
    stimulus_SKTI = torch.rand(3, 2, 50, card.sizes.num_channels, generator=generator)
    outputs = [model.eval()(connectome_SE, stimulus_SKTI) for model in (twin, trained)]
    assert outputs[0].press_SKTA.equal(outputs[1].press_SKTA)
    assert outputs[0].hidden_SKTN.equal(outputs[1].hidden_SKTN)

    # A finished training is left as it is, and one of other settings is not gone on with.
    before = (tmp_path / "two" / "metrics.jsonl").read_bytes()
    train(config, shards, tmp_path / "two", resume=True, dry_run=False)
    assert (tmp_path / "two" / "metrics.jsonl").read_bytes() == before
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(OutputInUseError, match="other settings"):
        train(other, shards, tmp_path / "two", resume=True, dry_run=False)


@pytest.mark.cluster
def test_more_workers_than_the_cluster_holds_are_refused_at_once(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("dtb.train.trainer._run_workers", None)  # no worker is asked for
    with pytest.raises(ConfigurationError, match=r"needs 5 CPU, but the cluster has 2"):
        train(small_config(num_workers=5), shards, tmp_path / "out", resume=False, dry_run=False)
    pools = dataclasses.replace(small_config(), cluster=ClusterConfig(pools=True))
    with pytest.raises(ConfigurationError, match=r"needs 0\.001 dtb_train, but the cluster has 0"):
        train(pools, shards, tmp_path / "other", resume=False, dry_run=False)
    gpus = small_config(use_gpu=True)
    with pytest.raises(ConfigurationError, match=r"needs 1 GPU, but the cluster has 0\. Leave out train\.use_gpu"):
        train(gpus, shards, tmp_path / "third", resume=False, dry_run=False)
    assert not any((tmp_path / name).exists() for name in ("out", "other", "third"))  # the right command is not refused


@pytest.mark.cluster
def test_driver_that_was_killed_goes_on_with_resume(shards, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config = small_config(num_workers=1, max_epochs=40, patience_epochs=40)
    config = dataclasses.replace(config, track=TrackConfig(wandb="offline", group="sweep"))
    out = tmp_path / "out"
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    program = (
        "import sys; from pathlib import Path; from dtb.config import load_config; from dtb.train.trainer import train; "
        "config, shards, out = map(Path, sys.argv[1:]); train(load_config(config), shards, out, resume=False, dry_run=False)"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "config.yaml"), str(shards), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / "metrics.jsonl").is_file() or len(read_rows_so_far(out)) < 3:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert not read_stage(out)["complete"]
    assert (out / ALIVE_FILE).exists()  # and grows old
    train(config, shards, out, resume=True, dry_run=False)
    assert not (out / ALIVE_FILE).exists()
    undisturbed = train_on_ranks(config, shards, tmp_path / "undisturbed", 1)
    assert_same_losses(read_rows(out), undisturbed, 1e-6)
    assert "Going on after epoch" in (out / "notes.log").read_text()
    assert_one_tracked_run(out)


def assert_one_tracked_run(out):
    """The records before and after are of one W&B run, in its group; the first was cut off, so the second has every epoch."""
    records = sorted(out.glob("wandb/offline-run-*/*.wandb"))
    assert len(records) == 2
    assert len({record.stem for record in records}) == 1
    entries = list(read_record(records[-1].read_bytes()))
    assert {entry.run.run_group for entry in entries if entry.WhichOneof("record_type") == "run"} == {"sweep"}
    items = [item for entry in entries for item in entry.history.item]
    epochs = [json.loads(item.value_json) for item in items if (".".join(item.nested_key) or item.key) == "epoch"]
    assert epochs == list(range(1, 41))
    assert read_stage(out)["summary"]["tracker_id"] in records[0].stem


def read_rows_so_far(out):
    return [line for line in (out / "metrics.jsonl").read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_cohort_that_changed_is_not_gone_on_with(shards, tmp_path):
    plan = make_plan(small_config(), shards, tmp_path, open_cohort(shards))
    _keep(plan, tmp_path, {})
    changed = dataclasses.replace(plan, card=dataclasses.replace(plan.card, cohort_hash="f" * 64))
    with pytest.raises(OutputInUseError, match="another cohort"):
        _keep(changed, tmp_path, {})


def test_deepspeed_file_that_was_edited_is_not_gone_on_with(shards, tmp_path, monkeypatch):
    """What it holds counts, and not where it lies."""
    trained = []
    monkeypatch.setattr("dtb.train.trainer._run_workers", lambda *_: trained.append("begun"))
    monkeypatch.setattr("dtb.train.trainer.connected", lambda _: contextlib.nullcontext())
    monkeypatch.setattr("dtb.train.trainer.require_room", lambda _: None)
    monkeypatch.setattr("dtb.train.trainer._summary", lambda _: 1 / 0)  # it stays unfinished
    first, moved, edited = (tmp_path / name for name in ("first.json", "moved.json", "edited.json"))
    for path, size in ((first, 1000), (moved, 1000), (edited, 2000)):
        path.write_text(json.dumps({"zero_optimization": {"reduce_bucket_size": size}}))
    out = tmp_path / "out"
    for path in (first, moved):
        with pytest.raises(ZeroDivisionError):
            train(small_config(deepspeed=path), shards, out, resume=path is moved)
    for path in (edited, None):
        with pytest.raises(OutputInUseError, match=r"other settings of DeepSpeed's .*out/deepspeed\.json has them"):
            train(small_config(deepspeed=path), shards, out, resume=True)
    assert len(trained) == 2


def test_deepspeed_file_that_fits_some_numbers_of_workers_only_is_refused_at_the_start(shards, tmp_path):
    path = tmp_path / "deepspeed.json"
    path.write_text('{"train_micro_batch_size_per_gpu": 2}')
    train(small_config(num_workers=2, deepspeed=path), shards, tmp_path / "out", resume=False, dry_run=True)
    with pytest.raises(ConfigurationError, match=r"`train_micro_batch_size_per_gpu` is 2, but .* asks for 4"):
        train(small_config(num_workers=2, min_workers=1, deepspeed=path), shards, tmp_path / "out", resume=False)


@pytest.mark.slow
def test_a_cluster_with_an_address_is_given_time_to_grow(shards, tmp_path, monkeypatch, capsys):
    there = iter([[], [], *[[{"Alive": True, "NodeID": "a", "Resources": {"CPU": 4.0}}]] * 2])
    asked = []
    monkeypatch.setattr("ray.nodes", lambda: next(there))
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda **them: asked.append(them["bundles"]))
    grows = dataclasses.replace(small_config(num_workers=4), cluster=ClusterConfig(ray_address="auto"))
    require_room(grows)
    assert asked == [[{"CPU": 1.0}] * 4, []]
    assert "needs 4 CPU, but the cluster has 0. Waiting until it has grown" in capsys.readouterr().err
    monkeypatch.setattr("ray.nodes", list)
    monkeypatch.setattr("ray.cluster_resources", dict)
    monkeypatch.setattr("dtb.train.trainer.connected", lambda _: contextlib.nullcontext())
    train(grows, shards, tmp_path / "out", resume=False, dry_run=True)
    assert "training would wait for it to grow" in " ".join(capsys.readouterr().out.split())
    briefly = dataclasses.replace(grows, cluster=ClusterConfig(ray_address="auto", wait_seconds=0.01))
    for config in (briefly, small_config(num_workers=4)):
        with pytest.raises(ConfigurationError, match=r"needs 4 CPU, but the cluster has 0\. Lower"):
            require_room(config)


def test_a_worker_that_fits_on_no_node_is_refused_though_the_cluster_has_as_many_cores(monkeypatch):
    nodes = [{"Alive": True, "NodeID": "a", "Resources": {"CPU": 1.0}}] * 2
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, {"Alive": False, "NodeID": "b", "Resources": {"CPU": 8.0}}])
    with pytest.raises(ConfigurationError, match=r"of 2 CPU each, but the cluster's 2 node\(s\) hold 0 of these"):
        require_room(small_config(num_workers=1, cpus_per_worker=2))
    require_room(small_config(num_workers=2, cpus_per_worker=1))


def test_a_training_that_begins_again_before_its_first_checkpoint_goes_on_with_its_tracked_run(
    shards, tmp_path, monkeypatch
):
    opened = []

    def open_one(_config, _folder, _settings, run_id, _tell):
        opened.append(run_id)
        tracker = Tracker()
        tracker.run_id = run_id or "the first"
        return tracker

    monkeypatch.setattr("dtb.train.worker.open_tracker", open_one)
    plan = make_plan(small_config(), shards, tmp_path, open_cohort(shards))
    for _ in range(2):
        _Book(plan, Progress())
    assert opened == [None, "the first"]


@pytest.mark.cluster
def test_an_output_folder_that_a_worker_does_not_share_is_refused_once_and_before_any_step(
    shards, tmp_path, monkeypatch
):
    """The driver marks another folder of its own, as on a node whose path leads to a disk of that node."""

    @contextlib.contextmanager
    def elsewhere(folder):
        yield SharedFolder(folder, "not-the-word", 0.1)

    monkeypatch.setattr("dtb.train.trainer.marked", elsewhere)
    with pytest.raises(ConfigurationError, match="is not the folder that the command writes to"):
        train(small_config(num_workers=1, max_failures=3), shards, tmp_path / "out", resume=False)
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert not (tmp_path / "out" / "twin").exists()


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.skipif(torch.cuda.is_available(), reason="its GPU multiplies")
def test_a_reserved_gpu_that_cannot_multiply_is_refused_once_and_before_any_step(shards, tmp_path):
    """Ray was told of a GPU, as on a node whose driver or whose PyTorch is broken."""
    ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(FinalError, match=r"the GPU that was reserved on node .* cannot be used \(.*dtb doctor"):
            train(small_config(use_gpu=True, max_failures=3), shards, tmp_path / "out", resume=False)
    finally:
        ray.shutdown()
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_internals_of_ray_are_used_in_one_file_and_of_the_version_that_the_package_asks_for():
    using = {
        path.name
        for path in (ROOT / "dtb").rglob("*.py")
        if re.search(r"^\s*(from|import) ray\.train\.v2", path.read_text(), re.M)
    }
    assert using == {"ray_trainer.py"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"ray[default,train,tune]{SEEN}" in project["dependencies"]
    require_seen(ray.__version__)
    for other in ("2.59.1", "2.61.0", "3.0.0.dev0"):
        with pytest.raises(ConfigurationError, match=rf"Ray {other} is installed.*pip install"):
            require_seen(other)


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_busy_cluster_is_waited_for_aloud_and_not_for_ever(shards, tmp_path, monkeypatch, capsys):
    """Somebody else has the only core: first for longer than is waited, then until it was said that it is waited for."""
    monkeypatch.setattr("dtb.train.driver.waiting.SAY_EVERY_SECONDS", 2.0)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)

    @ray.remote(num_cpus=1)
    class Other:
        def ready(self):
            return True

    def waiting(seconds):
        return dataclasses.replace(small_config(), cluster=ClusterConfig(num_cpus=1, wait_seconds=seconds))

    try:
        other = Other.remote()
        assert ray.get(other.ready.remote())
        with pytest.raises(
            StageError, match=r"no room for 1 worker\(s\) of 1 CPU each within 6 s .* of which 0 are free"
        ):
            train(waiting(6.0), shards, tmp_path / "out", resume=False)
        assert "Waiting for room for 1 worker(s) of 1 CPU each" in " ".join(capsys.readouterr().err.split())
        threading.Timer(5.0, ray.kill, [other]).start()
        train(waiting(600.0), shards, tmp_path / "out", resume=True)
    finally:
        ray.shutdown()
    assert read_stage(tmp_path / "out")["complete"]
