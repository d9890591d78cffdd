"""All stages in one go, and the page about them."""

from __future__ import annotations

from pathlib import Path

from dtb.api.settings import whole_config
from dtb.config import Config, ReportConfig, load_config
from dtb.results.run import ReportResult, RunResult
from dtb.shards.remote import absolute


def run_pipeline(config: Config | str | Path, out: str | Path, *, resume: bool = False) -> RunResult:
    """Do all stages in one go, from a cohort to a page (`dtb run`).

    Parameters
    ----------
    config : Config, str or Path
        The configuration, or the YAML file that holds any part of it.
    out : str or Path
        Run folder; each stage writes a folder of its own in it.
    resume : bool
        Whether to go on where an earlier call stopped.

    Returns
    -------
    RunResult
    """
    from dtb.pipeline import run_all

    folder = absolute(Path(out))
    whole = load_config(Path(config)) if isinstance(config, str | Path) else config
    run_all(whole_config(whole, ""), folder, resume=resume, dry_run=False)
    return RunResult(folder)


def write_report(
    run: str | Path, out: str | Path, config: Config | ReportConfig | None = None, *, resume: bool = False
) -> ReportResult:
    """Make one HTML page of a run folder (`dtb report`).

    Parameters
    ----------
    run : str or Path
        Folder with any of the folders that `run_pipeline` writes.
    out : str or Path
        Folder to write; new or empty.
    config : Config or ReportConfig, optional
        `name` and `report` are read.
    resume : bool
        Whether to make a page anew that is there.

    Returns
    -------
    ReportResult
    """
    from dtb.report.stage import report

    folder = absolute(Path(out))
    report(whole_config(config, "report"), absolute(Path(run)), folder, resume=resume)
    return ReportResult(folder)
