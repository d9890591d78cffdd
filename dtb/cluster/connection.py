"""Connecting to Ray: a running cluster by its address, or a private one on this machine's loopback, with tokens either way."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dtb.cluster.ray_folder import ray_folder
from dtb.cluster.variables import past_proxies, travelling
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError, UserError
from dtb.machine.cores import usable_cores
from dtb.terminal import err

# Ray reads these when it is first imported, in this process and in those it starts.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "1",
    # A driver within a job may set again what the job sets: both say the same, or the driver knows better.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
    # Workers that start with Ray have none of a driver's environment, and so nothing here would use them.
    "RAY_prestart_worker_first_driver": "0",
}
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_CONNECT_SECONDS = 5.0
_TOO_SLOW = "timed out during startup"
"""What Ray says if its processes take longer to start than the 30 s it gives them."""
_LONGEST_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_SOCKET_BYTES = 107
_LEAST_FREE_BYTES = 16 * 2**20
_MAPPED_BYTES = 16 * 2**30
"""Of address space: with 6 GB Ray's processes neither start nor end."""
TRAIN_POOL, FLEET_POOL = "dtb_train", "dtb_fleet"


def pool_share(config: ClusterConfig, pool: str) -> dict[str, float]:
    """Return the Ray resource that binds a worker to the nodes of one pool: so little that a node's 1 is enough for a thousand."""
    return {pool: 0.001} if config.pools else {}


def places_for(wanted: Mapping[str, float], left_nodes: Collection[str] = ()) -> float:
    """Return how often the nodes hold these resources, free or not, each time on one node; without the nodes that were left.

    Parameters
    ----------
    wanted : mapping of str to float
        Amounts by Ray's names of resources; what is 0 is not looked at, and nothing at all fits without end.
    left_nodes : collection of str
        Ray's names of nodes.
    """
    import ray

    have = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in left_nodes]
    needed = {kind: amount for kind, amount in wanted.items() if amount}
    return sum(
        min((int(node.get(kind, 0.0) / amount + 1e-9) for kind, amount in needed.items()), default=math.inf)
        for node in have
    )


def has_gpu() -> bool:
    """Whether Ray reserved a GPU for this process; of one that it did not, others may hold all the memory."""
    ray = sys.modules.get("ray")
    return bool(ray is not None and ray.is_initialized() and ray.get_runtime_context().get_accelerator_ids()["GPU"])


def prepare_environment() -> None:
    """Set what Ray reads from the environment, where the user has not; call it before `ray` is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    past_proxies()


def _require_listening(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try again for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError(
            f"cluster.ray_address is {address!r}: expected `auto`, HOST:PORT (6379 as a rule) or ray://HOST:PORT (10001 as a rule)."
        )
    if reason := unreachable(host.strip("[]"), int(port)):
        raise ConfigurationError(_no_cluster(address, reason))


def unreachable(host: str, port: int) -> str | None:
    """Return why nothing can be reached at a host's port, within seconds; None if something can."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return str(error)
    return None


def require_variables(names: tuple[str, ...]) -> None:
    """Refuse to begin where an environment variable is absent that the configuration names as a secret.

    Raises
    ------
    ConfigurationError
        Naming all that are absent.
    """
    absent = [name for name in names if not os.environ.get(name)]
    if absent:
        raise ConfigurationError(
            f"launch.secrets: {', '.join(absent)} not set where the job runs. Secrets do not travel: set them where Ray is "
            "started on the cluster's nodes."
        )


def show_gauges(stage: str, figures: Mapping[str, Any]) -> None:
    """Put numbers among the Prometheus metrics of Ray, as ``ray_dtb_STAGE_NAME``; nothing where this process is none of Ray's.

    Parameters
    ----------
    stage : str
        ``train`` or ``fleet``.
    figures : mapping of str to number
        What is no number is passed over.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return
    for name, value in figures.items():
        if isinstance(value, int | float):
            _gauge(re.sub(r"\W", "_", f"dtb_{stage}_{name}")).set(float(value))


@functools.cache
def _gauge(name: str) -> Any:
    from ray.util.metrics import Gauge

    return Gauge(name)


def _no_cluster(address: str, reason: str) -> str:
    return (
        f"cluster.ray_address: no Ray cluster answers at {address!r} ({reason}). "
        "Start one with `ray start --head`, or leave the option out for a private one."
    )


@contextlib.contextmanager
def _token_of_its_own() -> Iterator[None]:
    """Make a token for a private Ray that is in the environment alone, which other users cannot read.

    Ray itself would write one for all of a user's clusters into ``~/.ray/auth_token``, as readable as the umask lets it be.
    """
    if any(name in os.environ for name in _TOKENS):
        yield
        return
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN"]
        AuthenticationTokenLoader.instance().reset_cache()  # the next cluster may be another one


def _token_file() -> Path | None:
    """Return the file from which Ray takes the token of a cluster, if the token does not stand in the environment."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None
    with contextlib.suppress(RuntimeError):  # there is no home
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return None


def own_token() -> str:
    """Return the token that is sent to clusters, as Ray finds it; empty if there is none."""
    token, path = os.environ.get("RAY_AUTH_TOKEN", ""), _token_file()
    if path is not None:
        with contextlib.suppress(OSError, ValueError):
            token = path.read_text(encoding="utf-8")
    return token.strip()


def wrong_token(option: str, address: str) -> str:
    """Return what is wrong with the token, where a cluster refuses this one or may ask for one: none, or another one."""
    if own_token():
        said = _token_file() or "RAY_AUTH_TOKEN"
        return (
            f"{option}: the cluster at {address} refuses this token: {said} holds another cluster's. Give the one that it was "
            "started with."
        )
    return (
        f"{option}: there is no token here for the cluster at {address}. Set RAY_AUTH_TOKEN to the one that it was started with, or "
        "RAY_AUTH_TOKEN_PATH to a file that holds it. Where a cluster was started without one, whoever reaches its ports runs code on it: "
        "if that is wanted, set RAY_AUTH_MODE=disabled here too."
    )


def _refuses_token(address: str) -> bool:
    """Whether a cluster answers at the address, but not to this token: Ray itself says that it cannot be reached."""
    import grpc  # type: ignore[import-untyped]

    method = "/ray.rpc.RayletDriver/ClusterInfo" if "://" in address else "/ray.rpc.NodeInfoGcsService/CheckAlive"
    # Within a cluster nothing goes through a proxy of the environment; Ray's own connections do not either.
    with grpc.insecure_channel(address.removeprefix("ray://"), options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(method)(
                b"", metadata=[("authorization", f"Bearer {own_token()}")], timeout=_CONNECT_SECONDS
            )
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False


def _warn_of_readable_token() -> None:
    """Warn if others can read the file from which Ray takes the token of a cluster."""
    path = _token_file()
    with contextlib.suppress(OSError):
        if path is not None and path.stat().st_mode & 0o077:
            err.print(
                f"Warning: other users of this machine can read {path}. Whoever has this token runs code on the cluster as you: make a "
                f"new one, and `chmod 600 {path}`."
            )


@contextlib.contextmanager
def connected(config: ClusterConfig) -> Iterator[None]:
    """Be connected to Ray within the block.

    Parameters
    ----------
    config : ClusterConfig
        With an address, that cluster is used and left running; without, a private one is started on 127.0.0.1 and stopped after the
        block. A connection that exists already is used as it is.

    Raises
    ------
    ConfigurationError
        There is no cluster at the address.
    UserError, StageError
        Ray cannot start on this machine; it says why.
    """
    prepare_environment()
    if config.ray_address is None:
        # Ray's own switch for "this machine only": every node then listens on loopback alone, on Linux too.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    # What workers print stays in Ray's own log folder: stages tell from what they write how they are getting on.
    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(
        dict.fromkeys([package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    )
    runtime = {"env_vars": {"PYTHONPATH": search_path, **travelling(config.variables)}}
    on_termination = signal.getsignal(signal.SIGTERM)
    with contextlib.ExitStack() as private:
        if config.ray_address is None:
            _start(private, config.num_cpus or usable_cores(), runtime, quiet)
        else:
            _warn_of_readable_token()
            _join(config.ray_address, runtime, quiet)
        private.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            # Ray puts its own there, which prints its stack and exits with 15
            signal.signal(signal.SIGTERM, on_termination)
        yield


@contextlib.contextmanager
def without_idle_processes() -> Iterator[None]:
    """Keep Ray from starting what a private one has no use for, which costs seconds of a core at every start.

    That is what brings workers' output to the driver, what makes a cluster grow, the dashboard's server, and the parts of a node's agent
    that answer it. Ray takes the first two as settings, but `ray.init` does not pass them on; the others it leaves out only where the
    packages that they need are absent.
    """
    from ray._private import utils
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    def start_no_server(*_: Any, **__: Any) -> None: ...

    without = functools.partialmethod(RayParams.__init__, no_monitor=True, include_log_monitor=False)
    with (
        _replaced(RayParams, "__init__", without),
        _replaced(Node, "start_api_server", start_no_server),
        _replaced(utils, "get_dashboard_dependency_error", lambda: ImportError("not wanted")),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    plain = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def _start(private: contextlib.ExitStack, cpus: int, runtime: dict[str, Any], quiet: dict[str, Any]) -> None:
    """Start a private Ray, whose token and folder go with `private`."""
    import ray
    from ray._common.utils import get_default_system_temp_dir

    private.enter_context(_token_of_its_own())
    # Ray lets everybody write into its folder, so it lies in one that is made 0700. Paths of its sockets must be short.
    own_folder = private.enter_context(ray_folder(Path(get_default_system_temp_dir())))
    _require_fit(own_folder)
    place: dict[str, Any] = {"address": "local", "_temp_dir": str(own_folder / "ray")}
    try:
        with without_idle_processes():
            ray.init(num_cpus=cpus, include_dashboard=False, runtime_env=runtime, **place, **quiet)
    except Exception as error:
        ray.shutdown()
        _require_fit(own_folder)  # what Ray itself wrote may have filled the disk
        if _TOO_SLOW in str(error):
            raise UserError(
                f"Ray did not start within its time: this machine has too much to do (load {os.getloadavg()[0]:.0f} on {cpus} cores). Try "
                "again when less is running."
            ) from None
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise StageError(
            f"Ray did not start on this machine: {said}. `dtb doctor` looks for what is in its way."
        ) from error


def _require_fit(folder: Path) -> None:
    """Refuse a folder, or limits of this process, with which Ray's processes end or wait without a word.

    Raises
    ------
    UserError
        The path is too long for a socket, the disk is full, or memory cannot be mapped.
    """
    if len(os.fsencode(folder)) + len(_LONGEST_SOCKET) > _SOCKET_BYTES:
        most = _SOCKET_BYTES - len(_LONGEST_SOCKET) - len("/dtb-ray-xxxxxxxx")
        raise UserError(
            f"{folder.parent} is too long a path for the sockets of Ray, which starts there. Set TMPDIR to a folder whose path has "
            f"{most} letters at most, such as /tmp."
        )
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise UserError(
            f"The disk of {folder.parent} is full: {free / 2**20:.1f} MiB are free, and Ray writes its logs there. Make room, or set "
            "TMPDIR to a folder on another disk."
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _MAPPED_BYTES:
        raise UserError(
            f"This process may map {limit / 2**30:.1f} GiB of memory (`ulimit -v`), and each of Ray's maps more, most of which it never "
            "uses. Run `ulimit -v unlimited` first, or ask for a job with more memory."
        )


def _join(address: str, runtime: dict[str, Any], quiet: dict[str, Any]) -> None:
    """Connect to the cluster at an address, or say that there is none."""
    import ray

    if address != "auto":
        _require_listening(address)
    is_asked = os.environ["RAY_AUTH_MODE"] == "token"
    if is_asked and not own_token():
        raise ConfigurationError(wrong_token("cluster.ray_address", address))
    try:
        ray.init(address=address, runtime_env=runtime, **quiet)
    except ray.exceptions.AuthenticationError:
        raise ConfigurationError(wrong_token("cluster.ray_address", address)) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        if is_asked and address != "auto" and _refuses_token(address):
            raise ConfigurationError(wrong_token("cluster.ray_address", address)) from None
        raise ConfigurationError(_no_cluster(address, str(error).splitlines()[0])) from None
