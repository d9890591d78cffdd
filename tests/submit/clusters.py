"""A Ray head of the tests' own, with a job server and a token, and plain HTTP requests to it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import requests

REPOSITORY = Path(__file__).parent.parent.parent
SECRET_NAME = "DTB_TEST_SECRET"
_LOCKS: list[IO[str]] = []
"""Of ports that were found free: Ray listens at them only some time later."""


@dataclasses.dataclass(frozen=True)
class Head:
    """A running head: its job server, where it shows its metrics, its token, the value of a secret that it has, and its folder."""

    address: str
    metrics: str
    token: str
    secret: str
    folder: Path

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Send one request of the job server's interface."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, f"{self.address}{path}", json=body or None, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def begin(self, entrypoint: str) -> str:
        """Start a job that is not ours to describe, and give its name."""
        return str(self.ask("POST", "/api/jobs/", entrypoint=entrypoint)["submission_id"])

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a person who submits to it."""
        return {**plain_environment(), "RAY_AUTH_TOKEN": self.token, **more}


def plain_environment() -> dict[str, str]:
    """Return this process's environment with dtb in it and no cluster's token."""
    search = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_AUTH_TOKEN", "RAY_ADDRESS"))}
    return {**kept, "PYTHONPATH": search, "PATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def free_ports(number: int) -> list[int]:
    """Find free ports of the loopback below those that Ray gives to its workers; until this process ends, no other of the tests does."""
    found: list[int] = []
    for port in range(6400, 9900):
        lock = (Path(tempfile.gettempdir()) / f"dtb-test-port-{port}.lock").open("w")
        with contextlib.suppress(OSError), socket.socket() as probe:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            probe.bind(("127.0.0.1", port))
            found.append(port)
            _LOCKS.append(lock)
        if len(found) == number:
            return found
    raise OSError("no free port")


@contextlib.contextmanager
def head() -> Iterator[Head]:
    """Have a head with one core on this machine's loopback."""
    folder = Path(tempfile.mkdtemp(prefix="dtb"))  # short: sockets lie in it
    port, dashboard, client, agent, metrics = free_ports(5)
    addresses = (f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics")
    running = Head(*addresses, secrets.token_hex(32), f"value-{secrets.token_hex(8)}", folder)
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={client}", "--num-cpus=2"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={folder}/ray"]
    command += [
        f"--metrics-export-port={metrics}",
        f"--dashboard-agent-listen-port={agent}",
        f"--object-store-memory={100 << 20}",
    ]
    environment = {**running.environment(), "RAY_AUTH_MODE": "token", SECRET_NAME: running.secret}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(running, process)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(running: Head, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            running.ask("GET", "/api/jobs/")
            return
        time.sleep(0.5)
    raise RuntimeError((running.folder / "log").read_text())


def dtb(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dtb` as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "dtb", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
