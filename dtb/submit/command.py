"""`dtb submit`: the command line, checked before anything is sent."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

from dtb.config import Config
from dtb.errors import ConfigurationError
from dtb.submit import jobs
from dtb.submit.bundle import CONFIG_FILE, Bundle, Work, pack
from dtb.submit.rayjob import render_rayjob
from dtb.submit.slurm import render_slurm
from dtb.terminal import out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The command line's request; its options are explained there (`dtb submit --help`).

    Attributes
    ----------
    config_file : Path or None
    out : str or None
    address, follow, stop : str or None
    work : Work or None
        What the job does; `dtb run` if None.
    no_wait, send_code, resume, dry_run : bool
    render : {"rayjob", "slurm"} or None
    """

    config_file: Path | None
    out: str | None
    address: str | None
    follow: str | None
    stop: str | None
    no_wait: bool
    render: Literal["rayjob", "slurm"] | None
    send_code: bool
    resume: bool
    dry_run: bool
    work: Work | None = None


def launch(asked: Request, config: Config) -> int:
    """Carry out the request, and return the exit code.

    Raises
    ------
    ConfigurationError
        The request is contradictory or incomplete.
    """
    jobs_named = [job for job in (asked.follow, asked.stop) if job]
    if len(jobs_named) + (asked.config_file is not None or asked.work is not None) != 1:
        raise ConfigurationError(
            "`dtb submit` needs one of four: CONFIG and OUT, or `-- STAGE ...`, or --follow JOB, or --stop JOB."
        )
    if jobs_named:
        if asked.follow:
            return jobs.follow(_address(asked), asked.follow)
        jobs.stop(_address(asked), jobs_named[0])
        return 0
    if asked.out is None:
        raise ConfigurationError(
            "OUT is missing: give the absolute path of a folder that all nodes of the cluster see."
        )
    if asked.render:
        render = {"rayjob": render_rayjob, "slurm": render_slurm}[asked.render]
        sys.stdout.write(render(config, str(asked.out), asked.work))
        return 0
    bundle = pack(config, str(asked.out), resume=asked.resume, work=asked.work)
    if asked.dry_run:
        _tell(bundle, config)
        return 0
    return jobs.submit(_address(asked), config, bundle, send_code=asked.send_code, wait=not asked.no_wait)


def _address(asked: Request) -> str:
    if asked.address is None:
        raise ConfigurationError(
            "--address is missing: give the URL of the cluster's job server, http://HEAD:8265 as a rule."
        )
    return asked.address


def _tell(bundle: Bundle, config: Config) -> None:
    """Print what would be sent and run."""
    out.print(f"{bundle.num_bytes:,} bytes would travel, to {bundle.place} on the cluster:")
    out.print(f"  {CONFIG_FILE}")
    for name, path in bundle.files.items():
        out.print(f"  {name}  (from {path!s})")
    out.print(f"The job: {' '.join(bundle.command)}")
    if config.launch.secrets:
        out.print(f"It needs these variables, which the cluster must have: {', '.join(config.launch.secrets)}")
    out.print("Nothing was sent.")
