"""`dtb report`: one HTML page of a run folder, and pages of some people."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from dtb.config import Config, read_yaml, sections
from dtb.errors import InputDataError
from dtb.files import write_text
from dtb.pages.render import PageLink, with_links
from dtb.report.collect import FOLDERS, collect
from dtb.report.collected import Collected
from dtb.report.page import MAIN, pages
from dtb.stages import CONFIG_FILE, StageCall
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
        Folder for `index.html`, `people/`, and copies of the certificate and of the quality page with links to all others. With `resume`,
        existing pages are made anew, because other stages may have changed.
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
    others = _pages_of_other_stages(run)
    named = dataclasses.replace(config, name=_name_of(run)) if config.name == Config().name else config
    made = pages(found, named, {words: place for words, (place, _) in others.items()})
    made |= _linked(others)
    folder = call.claim()
    for path in sorted(made, key=lambda path: path == MAIN):  # the page that links to the others comes last
        write_text(folder.path / path, made[path])
    states = {state.name: state.state for state in found.stages.values()}
    num_people = len(made) - 1 - len(others)
    folder.finish({"page": MAIN, "person_pages": num_people, "stages": states})
    size = sum(len(html.encode()) for html in made.values()) / 1e6
    terminal.print(
        f"Wrote {out / MAIN} and {num_people} pages of people ({size:.1f} MB): open it in a browser; it needs no network."
    )


def _name_of(run: Path) -> str:
    """Return what the run was called, where the report is not told."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # a page is made of a damaged run, too
        return str(read_yaml(run / FOLDERS["train"] / CONFIG_FILE, "`dtb train` wrote one there")["name"])
    return Config().name


def _tell_plan(found: Collected, out: Path) -> None:
    for state in found.stages.values():
        terminal.print(f"{state.name:<10} {state.state}" + (f": {state.reason}" if state.reason else ""))
    terminal.print(f"A page would be written to {out / MAIN}. Nothing was written.")


def _pages_of_other_stages(run: Path) -> dict[str, tuple[str, str]]:
    """Return the pages that other stages left, by title: their names in the report's folder, and their text."""
    places = {"Certificate": run / "evaluate" / "certificate.html", "Data quality": run / "shards" / "quality.html"}
    found = {}
    for words, path in places.items():
        if path.is_file():
            found[words] = (path.name, path.read_text(encoding="utf-8", errors="replace"))
    return found


def _linked(others: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return copies of other stages' pages that lead to the report and to one another, by name."""
    links = [PageLink("Report", MAIN), *(PageLink(words, place) for words, (place, _) in others.items())]
    return {place: with_links(text, links, place) for place, text in others.values()}
