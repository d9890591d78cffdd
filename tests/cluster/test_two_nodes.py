"""Two nodes, one of which has another disk under the output folder's path, little memory and a GPU that does not work: nothing is lost there."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from dtb.cluster.connection import prepare_environment
from dtb.cluster.fan_out import as_finished
from dtb.cluster.shared_folder import marked
from dtb.config import ClusterConfig, FleetConfig
from dtb.doctor import checks
from dtb.errors import ConfigurationError, StageError
from dtb.fleet.actors.driver import Driver
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool
from dtb.train.driver.room import require_room
from tests.fleet.workers import FULL, Gated, Hungry
from tests.mounts import may_mount
from tests.train.conftest import small_config

pytestmark = [pytest.mark.cluster, pytest.mark.own_ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
HERE, THERE = ClusterConfig(), ClusterConfig(pools=True)
"""On both nodes, and on the second alone."""
FLEET = FleetConfig(num_actors=2, cpus_per_actor=1, subjects_per_batch=3, max_failed_fraction=0.5)

# A disk of the node's own hides the folder; the node's control group says what it may take of memory, and what is taken.
HIDDEN = """
mount -t tmpfs none {base}/hidden
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory
cd /sys/fs/cgroup/memory
echo {full} >memory.limit_in_bytes
echo 0 >memory.usage_in_bytes
printf 'total_inactive_file 0\\ntotal_active_file 0\\n' >memory.stat
chmod 666 memory.usage_in_bytes
cd {base}
"""
# On loopback alone, as the head; `ray start` would look for another address.
NODE = """
import signal, sys
from dtb.cluster.connection import without_idle_processes
from ray._private.node import Node
from ray._private.parameter import RayParams
address, has_mark = sys.argv[1], sys.argv[2] == "marked"
with without_idle_processes():
    Node(
        RayParams(
            gcs_address=address,
            redis_address=address,
            num_cpus=1,
            num_gpus=1,
            resources={"dtb_fleet": 1} if has_mark else {},
            object_store_memory=80 * 2**20,
            min_worker_port=0,
            max_worker_port=0,
            node_manager_port=0,
            dashboard_agent_listen_port=None,
        ),
        head=False,
        spawn_reaper=False,
    )
signal.pause()
"""


def start_node(address: str, mark: str = "", before: str = "") -> subprocess.Popen[bytes]:
    """Start a node of one core; with a mark it is of the pool for fan-out; what comes before it is done in a mount namespace of its own."""
    space = ["unshare", "--mount"] if before else []
    return subprocess.Popen(
        [*space, "sh", "-ec", before + 'exec "$@"', "sh", sys.executable, "-c", NODE, address, mark],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that the second node does not see, and the cluster's address."""
    prepare_environment()
    base = tmp_path_factory.mktemp("base")
    (base / "hidden").mkdir()
    head = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    one = Cluster(initialize_head=True, head_node_args=head)
    hiding = HIDDEN.format(base=base, full=FULL) if may_mount() else ""
    node = start_node(one.address, "marked", hiding)
    try:
        ray.init(address=one.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
        until = time.monotonic() + 120
        while ray.cluster_resources().get("CPU", 0) < 2:
            assert node.poll() is None
            assert time.monotonic() < until, "the node did not join"
            time.sleep(0.2)
        yield base, one.address
    finally:
        ray.shutdown()
        node.terminate()
        node.wait()
        one.shutdown()


@pytest.fixture
def hidden(cluster: tuple[Path, str]) -> Path:
    if not may_mount():
        pytest.skip("needs mounts in a mount namespace of its own, which root may make")
    return cluster[0] / "hidden"


def people(ledger: Ledger) -> list[str]:
    return sorted(ledger.read("values")["pseudonym"].to_pylist())


def test_a_worker_that_fits_on_no_node_is_refused_though_the_cluster_has_as_many_cores(cluster) -> None:
    with pytest.raises(ConfigurationError, match=r"of 2 CPU each, but the cluster's 2 node\(s\) hold 0 of these"):
        require_room(small_config(num_workers=1, cpus_per_worker=2))
    require_room(small_config(num_workers=2, cpus_per_worker=1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="its GPUs multiply")
def test_gpus_multiply_on_every_node_where_they_are_free_and_a_busy_node_is_not_called_faulty(cluster, monkeypatch):
    """Ray is told of GPUs that are not there, as on nodes with a broken driver; then something reserves that of the second."""
    monkeypatch.setattr(checks, "_RESERVE_SECONDS", 300.0)
    broken = checks._multiply_on_each(ray.nodes())
    assert [one.verdict for one in broken] == ["problem"] * 2
    assert all("1 of 1 cannot multiply" in one.found for one in broken)

    @ray.remote(num_cpus=0, num_gpus=1, resources={"dtb_fleet": 0.001})
    class Holder:
        def ready(self):
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    monkeypatch.setattr(checks, "_RESERVE_SECONDS", 5.0)
    found = dict(
        zip(
            ("dtb_fleet" in node["Resources"] for node in ray.nodes()),
            checks._multiply_on_each(ray.nodes()),
            strict=True,
        )
    )
    ray.kill(holder)
    assert (found[False].verdict, found[True].verdict) == ("problem", "ok")
    assert "at work" in found[True].found


def test_a_node_with_another_output_folder_is_left_by_actors_and_nobody_is_lost(hidden, monkeypatch, capsys) -> None:
    """Nobody is worked on until the node was left, which is named; where there is no other, the stage ends with the reason."""
    gate, replace = hidden.parent / "left", Driver._replace_faulty

    def replace_and_open(driver, slot, why):
        replace(driver, slot, why)
        if driver._left_nodes:
            gate.touch()

    monkeypatch.setattr(Driver, "_replace_faulty", replace_and_open)
    monkeypatch.setattr("dtb.fleet.actors.run.marked", functools.partial(marked, seconds=2.0))
    ledger, keys = Ledger(hidden / "out", ["values"]), [f"p{number}" for number in range(8)]
    summary = run_pool(Gated, gate, keys, ledger, FLEET, description="test", cluster=HERE)
    assert (summary.num_ok, people(ledger)) == (8, keys)
    said = " ".join(capsys.readouterr().err.split())
    assert "is not the folder that the command writes to" in said
    assert "which is left; its work goes to others" in said

    ledger = Ledger(hidden / "other", ["values"])
    with pytest.raises(StageError, match="is not the folder that the command writes to.*No other node is left"):
        run_pool(Gated, gate, keys, ledger, FLEET, description="test", cluster=THERE)
    assert ledger.done() == set()


def when_open(item: int, given: tuple[Path, Path]) -> int:
    out, gate = given
    while not gate.exists():
        time.sleep(0.05)
    (out / f"{item}.txt").touch()
    return item


def test_a_node_with_another_output_folder_refuses_a_fan_out_before_anything_is_written(hidden) -> None:
    out, gate = hidden / "fanned", hidden.parent / "over"
    out.mkdir()
    try:
        with pytest.raises(ConfigurationError, match="on node .* is not the folder that the command writes to"):
            list(as_finished(when_open, range(20), (out, gate), HERE, out))
        assert list(out.iterdir()) == []
    finally:
        gate.touch()


def test_who_takes_all_memory_of_a_node_is_tried_alone_and_set_aside_and_nobody_else(hidden) -> None:
    """Its control group says that memory is full while somebody is worked on: Ray's monitor really ends the actor, each time."""
    ledger = Ledger(hidden.parent / "fed", ["values"])
    keys = ["p0", "hungry", "p1", "p2", "p3"]
    summary = run_pool(Hungry, None, keys, ledger, FLEET, description="test", cluster=THERE)
    assert people(ledger) == ["p0", "p1", "p2", "p3"]
    assert summary.num_crashes == 3, "with others, and twice alone"
    assert list(summary.reasons) == [
        "the process that worked on this person died 2 times (the machine's memory ran out)"
    ]


def test_a_cluster_with_an_address_is_given_time_to_grow(cluster, capsys) -> None:
    _, address = cluster
    three = {"num_workers": 3}
    with pytest.raises(ConfigurationError, match=r"needs 3 CPU, but the cluster has 2\. Lower"):
        require_room(with_cluster(three, ray_address=address, wait_seconds=2.0))
    begun: list[subprocess.Popen[bytes]] = []
    threading.Timer(1.0, lambda: begun.append(start_node(address))).start()
    try:
        require_room(with_cluster(three, ray_address=address, wait_seconds=300.0))
        assert ray.cluster_resources()["CPU"] == 3
    finally:
        for node in begun:
            node.terminate()
            node.wait()
    assert "needs 3 CPU, but the cluster has 2. Waiting until it has grown" in " ".join(capsys.readouterr().err.split())


def with_cluster(train, **cluster):
    return dataclasses.replace(small_config(**train), cluster=ClusterConfig(**cluster))
