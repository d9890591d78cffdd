"""What travels to a cluster's processes is what the configuration names, no secret is, and a proxy does not stand in the way home."""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request

import pytest

from dtb.cli.entry import exit_code
from dtb.cluster.connection import connected
from dtb.cluster.variables import past_proxies, travelling
from dtb.config import ClusterConfig, Config, from_mapping
from dtb.errors import ConfigurationError
from dtb.submit.jobs import runtime_environment

NOWHERE = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def behind_proxy(monkeypatch):
    """A proxy in the environment that answers nobody."""
    for name in (*PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "mirror.example")


@pytest.fixture
def server():
    """A server of this machine that says `here`."""

    class Here(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_): ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def fetch(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read()


def test_this_machine_is_reached_past_a_proxy_and_others_as_before(behind_proxy, server):
    with pytest.raises(urllib.error.URLError):
        fetch(server)
    past_proxies("head.example")
    assert fetch(server) == b"here"
    assert urllib.request.proxy_bypass("mirror.example")
    assert urllib.request.proxy_bypass("head.example")
    assert not urllib.request.proxy_bypass("elsewhere.example")


def test_without_a_proxy_nothing_is_set(monkeypatch):
    for name in (*PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)
    past_proxies("head.example")
    assert travelling(["http_proxy", "no_proxy"]) == {}


def test_what_is_not_named_stays_and_kinds_and_ways_past_a_named_proxy_go_along(behind_proxy, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCL_IB_HCA", "mlx5")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("DTB_KINDS", "mine")
    assert travelling(["NCCL_IB_HCA", "NCCL_ALGO"]) == {"NCCL_IB_HCA": "mlx5", "DTB_KINDS": "mine"}
    assert travelling(["http_proxy"]) == {"http_proxy": NOWHERE, "NO_PROXY": "mirror.example", "DTB_KINDS": "mine"}
    sent = runtime_environment(tmp_path, ["NCCL_IB_HCA"], send_code=False)["env_vars"]
    assert set(sent) == {"RAY_JOB_STOP_WAIT_TIME_S", "NCCL_IB_HCA", "DTB_KINDS"}


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "RAY_AUTH_TOKEN", "aws_secret_access_key", "MY_PASSWORD"])
def test_secrets_are_no_variables_to_pass_on(name, capsys):
    with pytest.raises(ConfigurationError, match="called like a secret"):
        from_mapping(Config, {"cluster": {"variables": [name]}}, "here")
    assert exit_code(["train", "shards", "out", "--variables", name]) == 2
    assert "called like a secret" in " ".join(capsys.readouterr().err.split())


def test_a_value_where_a_name_belongs_is_not_shown():
    with pytest.raises(ConfigurationError, match="never its value") as refused:
        from_mapping(Config, {"cluster": {"variables": ["NCCL_DEBUG=hush"]}}, "here")
    assert "hush" not in str(refused.value)


def test_a_proxy_with_a_password_is_refused_unseen(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:hush@proxy.example:3128")
    with pytest.raises(ConfigurationError, match="value of https_proxy holds a password") as refused:
        travelling(["https_proxy"])
    assert "hush" not in str(refused.value)


@pytest.mark.cluster
@pytest.mark.own_ray
def test_named_variables_reach_the_processes_of_a_cluster_that_was_started_without_them(
    behind_proxy, server, monkeypatch
):
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("http_proxy")
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20},
    )
    monkeypatch.setenv("http_proxy", NOWHERE)
    monkeypatch.setenv("NCCL_IB_HCA", "mlx5")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    try:
        with connected(ClusterConfig(ray_address=cluster.address, variables=("NCCL_IB_HCA", "http_proxy"))):
            import ray

            def look():
                import os
                import urllib.request

                names = ("NCCL_IB_HCA", "NCCL_DEBUG", "http_proxy")
                with urllib.request.urlopen(server, timeout=10) as answer:
                    return {name: os.environ.get(name) for name in names}, answer.read()

            found, answer = ray.get(ray.remote(look).remote())
    finally:
        cluster.shutdown()
    assert found == {"NCCL_IB_HCA": "mlx5", "NCCL_DEBUG": None, "http_proxy": NOWHERE}
    assert answer == b"here"
