"""A private cluster is private, and an address without a cluster is refused at once."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from dtb.cluster.connection import connected
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError, UserError
from tests.mounts import may_mount
from tests.sockets import assert_listening_on_loopback_alone, listening_sockets

pytestmark = pytest.mark.own_ray


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
def test_a_private_cluster_keeps_everybody_else_out(tmp_path: Path, monkeypatch) -> None:
    """Loopback alone, a token that no file and no command line holds, and a folder of its own that goes with it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    tokens = []
    for _ in range(2):
        with connected(ClusterConfig(num_cpus=1)):
            import ray

            assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
            assert_listening_on_loopback_alone(listening_sockets())
            mode, token = ray.get(ray.remote(_token).remote())
            assert mode == "token"
            tokens.append(token)
            commands = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
            assert len(commands) > 3
            assert not [
                command for command in commands if "monitor.py" in command
            ]  # of a cluster that grows; of workers' output
            assert not [command for command in commands if token in command]
            folder = Path(ray._private.worker._global_node.get_session_dir_path()).parent.parent
            assert folder.stat().st_mode & 0o777 == 0o700
            assert folder.stat().st_uid == os.getuid()
        assert not ray.is_initialized()
        assert not folder.exists()
    assert tokens[0] != tokens[1]
    assert not [*tmp_path.rglob("*auth_token*")]
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
def test_a_token_that_others_can_read_is_told_of(mode, warned, tmp_path, monkeypatch, capsys) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with connected(ClusterConfig(ray_address="auto")):
        pass
    assert (f"chmod 600 {token}" in capsys.readouterr().err) == warned


def test_a_machine_that_is_too_busy_for_ray_to_start_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def slow(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(UserError, match="this machine has too much to do"), connected(ClusterConfig()):
        pass


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("long", r"too long a path for the sockets of Ray.* 2\d letters at most"),
        ("other", r"Ray did not start on this machine: something new\. `dtb doctor`"),
    ],
)
def test_what_keeps_ray_from_starting_is_said_in_a_sentence_of_its_own(fault, words, tmp_path, monkeypatch) -> None:
    import ray

    def broken(**_: object) -> None:
        raise RuntimeError("something new\nand its trace")

    place = Path(tempfile.mkdtemp(prefix="dtb-", dir="/tmp"))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(place / ("x" * 60 if fault == "long" else "")))
    (place / ("x" * 60)).mkdir()
    monkeypatch.setattr(ray, "init", broken)
    with pytest.raises((UserError, StageError), match=words), connected(ClusterConfig()):
        pass
    shutil.rmtree(place)


CONNECT = """
import ray
from dtb.cluster.connection import connected
from dtb.config import ClusterConfig
from dtb.errors import UserError
try:
    with connected(ClusterConfig(num_cpus=1)):
        print(ray.get(ray.remote(lambda number: number + 1).remote(6)))
except UserError as error:
    print(error)
"""


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("ulimit -v 6291456", r"may map 6\.0 GiB of memory \(`ulimit -v`\)"),
        ("mount -t tmpfs -o size=1m none /mnt && export TMPDIR=/mnt", r"The disk of /mnt is full: 1\.0 MiB are free"),
        ("export HOME=/proc", r"^7$"),
    ],
)
def test_limits_and_disks_that_ray_starts_under(before, words) -> None:
    """Really set: the first two are refused in a sentence, and a home folder that nobody can write to keeps nobody from anything."""
    command = ["sh", "-c", f'{before} && exec "$0" -c "$1"', sys.executable, CONNECT]
    if "mount" in before:
        if not may_mount():
            pytest.skip("needs to mount a small tmpfs in a mount namespace of its own, which root may")
        command = ["unshare", "--mount", *command]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(words, done.stdout.strip()), done.stdout


def test_a_token_that_is_missing_and_one_that_is_another_are_told_apart(tmp_path, monkeypatch) -> None:
    """A server that refuses every call as Ray's own does, and a real client that cannot tell it from no cluster."""
    import grpc
    import ray

    class Refuses(grpc.GenericRpcHandler):
        def service(self, called):
            given = dict(called.invocation_metadata)["authorization"]
            code = grpc.StatusCode.UNAUTHENTICATED if given == "Bearer another" else grpc.StatusCode.OK
            return grpc.unary_unary_rpc_method_handler(
                lambda _, context: context.abort(code, "") if code.value[0] else b""
            )

    def unreachable(**_: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", unreachable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Refuses()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        for token, words in (
            ("", "there is no token here"),
            ("another", "RAY_AUTH_TOKEN holds another cluster's"),
            ("right", "no Ray cluster answers"),
        ):
            monkeypatch.setenv("RAY_AUTH_TOKEN", token)
            with (
                pytest.raises(ConfigurationError, match=words),
                connected(ClusterConfig(ray_address=address)),
            ):
                pass
    finally:
        server.stop(None)


def _token() -> tuple[str | None, str | None]:
    return os.environ.get("RAY_AUTH_MODE"), os.environ.get("RAY_AUTH_TOKEN")
