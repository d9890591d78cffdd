"""Existing shards, in another folder or at a URL, used by a run: the run's folder has everything but the shards themselves.

The manifest is copied, so a run notices if the shards change later; so are the small tables that reports and searches read.
"""

from __future__ import annotations

from pathlib import Path

from dtb import terminal
from dtb.config import Config, sections
from dtb.errors import InputDataError
from dtb.files import write_bytes, write_text
from dtb.people.coverage import COVERAGE_FILE
from dtb.people.reliability import RELIABILITY_FILE
from dtb.shards.manifest import SEALED
from dtb.shards.read import PLACE_FILE, Cohort, open_cohort, require_ingested
from dtb.shards.remote import is_there, read_bytes, url_of
from dtb.stages import StageCall

_BESIDE = ("quarantine.tsv", "left_out.tsv", "lost_trials.tsv", "quality.tsv", COVERAGE_FILE, RELIABILITY_FILE)


def use_existing_shards(config: Config, shards: Path, out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Make a run's folder of shards that refers to existing shards elsewhere.

    Parameters
    ----------
    config : Config
        Its section `input` names the shards; with `ingest.without_connectome: keep` some people may have no connectome.
    shards : Path
        Output folder of `dtb ingest`, or the URL of a copy of it.
    out : Path
        The run's folder of shards.
    resume : bool
        Continue in a folder that was begun.
    dry_run : bool
        Check the shards, print how many people they hold, and write nothing.

    Raises
    ------
    UserError
        There are no such shards, or they are damaged.
    """
    call = StageCall("ingest", out, sections(config, "input"), resume=resume, dry_run=dry_run)
    by_own_data = config.ingest.keeps_people_without_connectome
    if call.ends_early(
        lambda: terminal.out.print(f"Would use the shards of {len(_opened(shards, by_own_data))} people in {shards}.")
    ):
        return
    cohort = _opened(shards, by_own_data)
    folder = call.claim()
    url = url_of(cohort.path)
    for name in _BESIDE:
        if url is not None and is_there(f"{url}/{name}"):
            write_bytes(out / name, read_bytes(f"{url}/{name}"))
        elif url is None and (cohort.path / name).is_file():
            write_bytes(out / name, (cohort.path / name).read_bytes())
    write_text(out / PLACE_FILE, f"{url or cohort.path}\n")
    cohort.manifest.save(out)
    folder.finish({"subjects": len(cohort)}, SEALED)


def _opened(shards: Path, by_own_data: bool) -> Cohort:
    require_ingested(shards)
    cohort = open_cohort(shards)
    if why := cohort.manifest.use_without_training:
        raise InputDataError(f"{shards}: {why}")
    if not by_own_data and (why := cohort.manifest.use_without_connectome):
        raise InputDataError(
            f"{shards}: {why} `dtb run --ingest.without-connectome keep` does the stages that need none."
        )
    return cohort
