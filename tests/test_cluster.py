"""A private cluster is private, and an address without a cluster is refused at once."""

from __future__ import annotations

import socket
import time

import psutil
import pytest

from dtb.cluster import connected
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, UserError


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_refused_at_once(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with (
        pytest.raises(ConfigurationError, match=f"no Ray cluster answers at '{scheme}127.0.0.1:{port}'"),
        connected(ClusterConfig(ray_address=f"{scheme}127.0.0.1:{port}")),
    ):
        pass
    assert time.monotonic() - began < 60  # Ray left alone would try again for ten minutes


def test_a_malformed_address_is_explained() -> None:
    with (
        pytest.raises(ConfigurationError, match="expected `auto`, HOST:PORT"),
        connected(ClusterConfig(ray_address="nonsense")),
    ):
        pass


@pytest.mark.cluster
def test_a_private_cluster_listens_on_loopback_only_and_asks_for_a_token() -> None:
    with connected(ClusterConfig(num_cpus=1)):
        import ray

        assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
        ours = {process.pid for process in psutil.Process().children(recursive=True)}
        listening = [
            connection.laddr.ip
            for connection in psutil.net_connections("tcp")
            if connection.pid in ours and connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert {place.removeprefix("::ffff:") for place in listening} <= {"127.0.0.1", "::1"}
        assert ray.get(ray.remote(_token_mode).remote()) == "token"
    import ray

    assert not ray.is_initialized()


def _token_mode() -> str | None:
    import os

    return os.environ.get("RAY_AUTH_MODE")


def test_a_machine_that_is_too_busy_for_ray_to_start_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def slow(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(UserError, match="this machine has too much to do"), connected(ClusterConfig()):
        pass
