"""Jobs on a Ray cluster, through its job server: submit one, follow its output, stop it.

Once accepted, a job runs independently of this terminal, and `follow` finds it again. Ray reads the token itself (RAY_AUTH_TOKEN,
RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token), sends it as a header, and never prints it.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import re
import secrets
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dtb.cluster.connection import prepare_environment, unreachable, wrong_token
from dtb.cluster.variables import past_proxies, travelling
from dtb.config import Config, config_hash
from dtb.errors import ConfigurationError, StageError
from dtb.passwords import holds_password
from dtb.submit.bundle import Bundle
from dtb.terminal import err, headed, out, printable
from dtb.version import __version__

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

STOPPED_EXIT = 130
_FOLDER = "job"
_PATIENCE_SECONDS = 120.0
_STOP_SECONDS = 30
T = TypeVar("T")


def connect(address: str) -> JobSubmissionClient:
    """Connect to a cluster's job server.

    Parameters
    ----------
    address : str
        Such as ``http://head:8265``.

    Raises
    ------
    ConfigurationError
        The address is no URL, nobody answers there, or the token is missing or wrong.
    """
    parts = urllib.parse.urlsplit("")
    try:
        parts = urllib.parse.urlsplit(address)
        usual_port = {"http": 80, "https": 443}.get(parts.scheme)
        host, port = parts.hostname if usual_port else None, parts.port or usual_port or 0
    except ValueError:  # a port that is none
        host, port = None, 0
    if holds_password(address):
        raise ConfigurationError(
            f"--address holds a password, which would be printed and logged. Give {parts.scheme}://{host}, and the token as RAY_AUTH_TOKEN."
        )
    if not host:
        raise ConfigurationError(
            f"--address is {address!r}: expected the URL of a Ray job server, http://HOST:8265 as a rule."
        )
    if reason := unreachable(host, port):
        raise ConfigurationError(
            f"--address: no Ray job server answers at {address} ({reason}). It is the head node's dashboard, port 8265 as "
            "a rule; a cluster that is out of reach may need a tunnel, `ssh -L 8265:localhost:8265 HEAD` or `kubectl port-forward`."
        )
    prepare_environment()
    os.environ["RAY_API_SERVER_ADDRESS"] = (
        address  # else Ray lets a RAY_ADDRESS of the environment win over the argument
    )
    past_proxies(host)  # it was reached without one
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in (
        "ray.dashboard.modules.dashboard_sdk",
        "ray.dashboard.modules.job.sdk",
        "ray._private.runtime_env.packaging",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise ConfigurationError(wrong_token("--address", address)) from None
    except (ConnectionError, RuntimeError, requests.RequestException) as error:
        raise ConfigurationError(
            f"--address: what answers at {address} is not a Ray job server ({_first_line(error)})."
        ) from None


def submit(address: str, config: Config, bundle: Bundle, *, send_code: bool, wait: bool) -> int:
    """Submit a bundle to a cluster and, unless told otherwise, follow the job until it ends.

    Parameters
    ----------
    address : str
        URL of the job server.
    config : Config
        Names the job.
    bundle : Bundle
    send_code : bool
        Let the job run the dtb of this machine and not the cluster's.
    wait : bool
        Print what the job prints until it ends.

    Returns
    -------
    int
        The job's exit code; 0 without `wait`.
    """
    client = connect(address)
    with tempfile.TemporaryDirectory(prefix="dtb-submit-") as scratch:
        bundle.write(Path(scratch) / _FOLDER)
        job = _accepted(
            client,
            entrypoint=bundle.shell_line(_FOLDER),
            submission_id=_name(config.name),
            runtime_env=runtime_environment(Path(scratch), config.cluster.variables, send_code=send_code),
            metadata={"job_name": config.name, "dtb": __version__, "config_hash": config_hash(config)[:16]},
        )
    err.print(f"Submitted {job} to {address}.")
    if not wait:
        err.print(_ways_on(address, job))
        return 0
    return follow(address, job, client)


def _accepted(client: JobSubmissionClient, **request: Any) -> str:
    """Submit a job, and wait for a cluster that has just started and cannot accept it yet."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return str(client.submit_job(**request))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > until:
                raise StageError(f"The cluster does not take the job: {_first_line(error)}") from None
        time.sleep(1.0)


def runtime_environment(folder: Path, variables: Collection[str], *, send_code: bool) -> dict[str, Any]:
    """Return Ray's runtime environment of the job, with the values of no other variables than `cluster.variables` and `DTB_KINDS`."""
    environment: dict[str, Any] = {
        "working_dir": str(folder),
        # The time is for the checkpoint and the files in hand.
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS), **travelling(variables)},
    }
    if send_code:
        environment["py_modules"] = [str(Path(__file__).parent.parent)]  # without what its .rayignore names
    return environment


def follow(address: str, job: str, client: JobSubmissionClient | None = None) -> int:
    """Print a job's output, from its beginning until it ends.

    Parameters
    ----------
    address : str
    job : str
        Its name, as `submit` printed it.
    client : JobSubmissionClient, optional
        Connected; made from the address if not given.

    Returns
    -------
    int
        The job's exit code; 130 if it was stopped, or if the user leaves it with Ctrl-C (it goes on then).
    """
    import aiohttp

    try:
        client = client or connect(address)
        _require_job(client, job)
        output = _Output()
        while True:
            try:
                asyncio.run(output.tail(client, job))
            except (OSError, RuntimeError, aiohttp.ClientError):
                err.print("The connection to the job server is lost; the job goes on. Trying again ...")
            details = _patiently(address, job, lambda: client.get_job_info(job))
            if details.status.is_terminal():
                break
            time.sleep(0.5)
    except KeyboardInterrupt:
        err.print(f"\nLeft {job}, which goes on.\n{_ways_on(address, job)}")
        return STOPPED_EXIT
    if details.status.value == "SUCCEEDED":
        err.print(f"{job} is done.")
        return 0
    if details.status.value == "STOPPED":
        err.print(f"{job} was stopped. What is finished is kept; submit it again with --resume to go on.")
        return STOPPED_EXIT
    if details.driver_exit_code is None:  # it never began: the reason is not in what it printed
        err.print(headed(f"{job} failed:", details.message or "no reason is known"))
        return 1
    err.print(headed(f"{job} failed", f"with exit code {details.driver_exit_code}."))
    return int(details.driver_exit_code)


def stop(address: str, job: str) -> None:
    """Ask a job to stop, and wait until it has.

    Raises
    ------
    StageError
        It still runs after the time that a job has to finish its files.
    """
    client = connect(address)
    if _require_job(client, job).status.is_terminal():
        out.print(f"{job} has ended already.")
        return
    client.stop_job(job)
    until = time.monotonic() + _STOP_SECONDS + 15
    while not client.get_job_status(job).is_terminal():
        if time.monotonic() > until:
            raise StageError(f"{job} has not stopped after {_STOP_SECONDS} s; look at {address}.")
        time.sleep(0.5)
    out.print(f"{job} is stopped. What is finished is kept; submit it again with --resume to go on.")


class _Output:
    """A job's output, each line once, although the server repeats it after a lost connection."""

    def __init__(self) -> None:
        self._printed = 0

    async def tail(self, client: JobSubmissionClient, job: str) -> None:
        """Print new output until the job ends."""
        seen = 0
        async for chunk in client.tail_job_logs(job):
            fresh = chunk[max(0, self._printed - seen) :]
            seen += len(chunk)
            self._printed = max(self._printed, seen)
            sys.stdout.write(printable(fresh))
            sys.stdout.flush()


def _require_job(client: JobSubmissionClient, job: str) -> Any:
    try:
        return client.get_job_info(job)
    except RuntimeError as error:
        if "404" not in str(error):
            raise
        known = [details.submission_id for details in client.list_jobs() if details.submission_id]
        have = f"It has {', '.join(sorted(known)[-5:])}." if known else "It has none."
        raise ConfigurationError(f"the cluster has no job {job!r}. {have}") from None


def _patiently(address: str, job: str, ask: Callable[[], T]) -> T:
    """Return the result of a request, repeated for a while if the job server does not answer."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (OSError, RuntimeError) as error:
            if time.monotonic() > until:
                raise StageError(
                    f"The job server at {address} has not answered for {_PATIENCE_SECONDS:g} s ({_first_line(error)}). "
                    f"{job} may still run.\n{_ways_on(address, job)}"
                ) from None
        time.sleep(2.0)


def _name(given: str) -> str:
    """Return a job's name: the configuration's name, the time, and a unique suffix."""
    called = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")[:30] or "dtb"
    return f"{called}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _ways_on(address: str, job: str) -> str:
    return (
        f"To see it again:  dtb submit --address {address} --follow {job}\n"
        f"To stop it:       dtb submit --address {address} --stop {job}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
