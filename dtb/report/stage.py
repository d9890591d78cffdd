"""`dtb report`: one HTML page of a run folder, and pages of some people."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from dtb.config import Config, sections
from dtb.errors import InputDataError
from dtb.files import write_text
from dtb.report.collect import FOLDERS, collect
from dtb.report.collected import Collected
from dtb.report.page import MAIN, pages
from dtb.stages import StageCall
from dtb.terminal import out as terminal


def report(config: Config, run: Path, out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Write a self-contained page of everything in a run folder.

    Parameters
    ----------
    config : Config
        Reads `name` and `report`.
    run : Path
        Folder with any of the folders that the stages of `dtb run` write.
    out : Path
        Folder for `index.html` and `people/`. With `resume`, existing pages are made anew, because other stages may have changed.
    resume : bool
    dry_run : bool
        Print what would be written, and write nothing.

    Raises
    ------
    InputDataError
        `run` has no folder of any stage, or `report.atlas` does not give the regions' positions.
    ConfigurationError
        `report.subject` is not in the cohort.
    OutputInUseError
        `out` is in use and `resume` is off.
    """
    if not any((run / folder).is_dir() for folder in FOLDERS.values()):
        raise InputDataError(
            f"{run} holds none of the folders {', '.join(FOLDERS.values())}. Give the folder that `dtb run` wrote, or one in "
            "which the stages' folders have these names."
        )
    settings = sections(config, "name", "report")
    call = StageCall("report", out, settings, resume=resume, dry_run=dry_run, goes_on_when_complete=True)
    if call.ends_early(lambda: _tell_plan(collect(run, config.report.atlas), out)):
        return
    found = collect(run, config.report.atlas)
    made = pages(found, config, _pages_of_other_stages(run, out))
    folder = call.claim()
    for path in sorted(made, key=lambda path: path == MAIN):  # the page that links to the others comes last
        write_text(folder.path / path, made[path])
    states = {state.name: state.state for state in found.stages.values()}
    folder.finish({"page": MAIN, "person_pages": len(made) - 1, "stages": states})
    size = sum(len(html.encode()) for html in made.values()) / 1e6
    terminal.print(
        f"Wrote {out / MAIN} and {len(made) - 1} pages of people ({size:.1f} MB): open it in a browser; it needs no network."
    )


def _tell_plan(found: Collected, out: Path) -> None:
    for state in found.stages.values():
        terminal.print(f"{state.name:<10} {state.state}" + (f": {state.reason}" if state.reason else ""))
    terminal.print(f"A page would be written to {out / MAIN}. Nothing was written.")


def _pages_of_other_stages(run: Path, out: Path) -> dict[str, str]:
    """Return the paths of other stages' pages, relative to the report's folder."""
    places = {
        "how good the data are": run / "shards" / "quality.html",
        "the certificate": run / "evaluate" / "certificate.html",
    }
    return {
        words: quote(Path(os.path.relpath(page, out)).as_posix()) for words, page in places.items() if page.is_file()
    }
