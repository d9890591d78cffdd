"""``dtb view``: the application on this machine's loopback, or behind Ray Serve on a cluster."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dtb.cluster.connection import connected
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError
from dtb.terminal import err, headed, out
from dtb.version import DISTRIBUTION

if TYPE_CHECKING:
    from fastapi import FastAPI


def view(run: Path, host: str, port: int, cluster: ClusterConfig, atlas: Path | None = None) -> None:
    """Serve a run until interrupted.

    Parameters
    ----------
    run : Path
        Folder that `dtb run` wrote.
    host : str
        Address to listen at.
    port : int
        0 for any free one.
    cluster : ClusterConfig
        With an address, the application is served by that Ray cluster.
    atlas : Path, optional
        Says where the regions lie, see `dtb.view.Viewer`.

    Raises
    ------
    ConfigurationError
        The server cannot listen at the address.
    InputDataError, DamagedOutputError
        The run folder cannot be shown.
    """
    token = secrets.token_urlsafe(32)
    if not _is_loopback(host):
        text = (
            "whoever can reach this machine and has the token sees this cohort's people, without encryption. "
            "Leave --host out to be the only one."
        )
        err.print(headed(f"Listening at {host}:", text, "yellow"))
    if cluster.ray_address is None:
        _on_this_machine(run, host, port, token, atlas)
    else:
        _on_cluster(run, host, port, token, cluster, atlas)


def _on_this_machine(run: Path, host: str, port: int, token: str, atlas: Path | None) -> None:
    with _installed("dtb view", "view"):
        import uvicorn

        from dtb.view.app import make_app
        from dtb.view.patience import PatientProtocol
    import torch

    torch.set_num_threads(1)  # everybody who performs has a core; matrices of this size gain little from a second one
    with _listening(host, port) as listener:
        app = make_app(run, token, _names_of(host), atlas)
        settings = uvicorn.Config(app, http=PatientProtocol, log_level="warning", access_log=False, server_header=False)
        server = uvicorn.Server(settings)
        _announce(run, host, listener.getsockname()[1], token)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # the way to end it
            out.print("Ended.")


def _on_cluster(run: Path, host: str, port: int, token: str, cluster: ClusterConfig, atlas: Path | None) -> None:
    with _installed("dtb view --ray-address", "serve"):
        from ray import serve

        import dtb.view.app  # noqa: F401, the cluster imports it
    from dtb.view.viewer import Viewer

    def build() -> FastAPI:  # called where the run's twin is to live: an application itself cannot be sent there
        from dtb.view.app import make_app

        return make_app(run, token, _names_of(host), atlas)

    Viewer(run, atlas)  # what is wrong with the folder is better said here than in a log of the cluster
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    name = f"dtb-view-{secrets.token_hex(4)}"
    with connected(cluster):
        if serve.status().applications:
            err.print(
                "Ray Serve runs on this cluster already: it answers at its own host and port, whatever is printed below."
            )
        serve.start(http_options=serve.HTTPOptions(host=host, port=port))
        deployment = serve.deployment(name=name, max_ongoing_requests=16)(serve.ingress(build)())
        serve.run(deployment.bind(), name=name, route_prefix=f"/{name}")
        _announce(run, host, port, token, name)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            serve.delete(name)
            out.print("Ended; the cluster goes on.")


@contextlib.contextmanager
def _installed(command: str, extra: str) -> Iterator[None]:
    """Explain how to install what a command imports within the block and does not find."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"`{command}` needs packages that are not installed here ({error}): `pip install '{DISTRIBUTION}[{extra}]'`"
            f"{', here and on the cluster' if extra == 'serve' else ''}."
        ) from None


def _listening(host: str, port: int) -> socket.socket:
    """Listen before any slow work, so that an address in use is reported at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror or error}). `--port 0` takes any free port."
        ) from None


def _announce(run: Path, host: str, port: int, token: str, folder: str = "") -> None:
    shown = f"[{host}]" if ":" in host else host
    path = f"/{folder}/" if folder else "/"
    out.print(f"The twins of {run.name}: http://{shown}:{port}{path}?token={token}")
    if folder:
        out.print("Served by the cluster: the address is that of its head node.")
    out.print("The address holds the key: treat it as a password. Ctrl-C ends. Research use only.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names_of(host: str) -> tuple[str, ...]:
    """Return the host names that browsers may use: on loopback, another name means that another site sent them."""
    return ("127.0.0.1", "localhost", "[::1]", "::1") if _is_loopback(host) else ("*",)
