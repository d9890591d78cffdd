"""A node on which the output folder is not the driver's: a training is refused once, with the node's name, and nothing is called done."""

from __future__ import annotations

import functools
import socket
import time

import pytest
import ray
from ray.cluster_utils import Cluster

from dtb.cluster.connection import prepare_environment
from dtb.cluster.shared_folder import marked
from dtb.errors import ConfigurationError
from dtb.train.trainer import train
from tests.cluster.test_two_nodes import start_node
from tests.mounts import may_mount
from tests.train.conftest import small_config

pytestmark = [pytest.mark.cluster, pytest.mark.own_ray, pytest.mark.slow]

# `hidden` is another disk there. In `layered` all can be read, but what is written there stays there, as with a container's layers.
BEFORE = """
mount -t tmpfs none {base}/hidden
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay none -o lowerdir={base}/layered,upperdir=/mnt/upper,workdir=/mnt/work {base}/layered
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder of which a cluster's only node with a core sees other things than we do."""
    if not may_mount():
        pytest.skip("needs mounts in a mount namespace of its own, which root may make")
    prepare_environment()
    base = tmp_path_factory.mktemp("base")
    for name in ("hidden", "layered"):
        (base / name).mkdir()
    head = {"num_cpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = start_node(cluster.address, "marked", BEFORE.format(base=base))
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        until = time.monotonic() + 120
        while ray.cluster_resources().get("CPU", 0) < 1:
            assert node.poll() is None, "the node ended"
            assert time.monotonic() < until, "the node did not join"
            time.sleep(0.2)
        yield base
    finally:
        ray.shutdown()
        node.terminate()
        node.wait()
        cluster.shutdown()


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        ("hidden", "{out} on node {node} is not the folder that"),
        ("layered", "What node {node} writes to {out} does not"),
    ],
)
def test_a_node_with_another_output_folder_is_refused_once(base, shards, monkeypatch, disk, said):
    monkeypatch.setattr("dtb.train.trainer.marked", functools.partial(marked, seconds=2.0))
    out = base / disk / "out"
    with pytest.raises(ConfigurationError) as refused:
        train(small_config(max_epochs=400, patience_epochs=400, max_failures=3), shards, out, resume=False)
    assert str(refused.value).startswith(said.format(out=out, node=socket.gethostname()))
    assert not (out / "checkpoints").exists()
    assert not (out / "twin").exists()
    notes = out / "notes.log"
    assert not notes.exists() or "Going on" not in notes.read_text()
