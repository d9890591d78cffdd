"""`dtb ingest`: from BIDS trees to shards of pseudonymous people, with a record of everything left out.

OUT/shard-*.tar, OUT/manifest.json   the people
OUT/quarantine.tsv                   who is not among them, and why
OUT/left_out.tsv                     runs and rows of events that were not used, and why
OUT/lost_trials.tsv                  how many trials each person lost for which reason
OUT/notices.tsv                      what had to be decided about a file, or is not known of it
OUT/quality.html, OUT/quality.tsv    how good the data are, also of those who were set aside
OUT/regions.tsv                      networks of the regions, and where they lie, as far as their names or an atlas tell
OUT/coverage.tsv                     how far images cover each region at rest, and how many people lack it
OUT.identities.tsv                   whose pseudonym is whose; keep it at home
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from dtb import terminal
from dtb.cohort import first_files
from dtb.cohort.bids.files import PersonFiles
from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import read_covariates
from dtb.cohort.bids.selection import wanted_specs
from dtb.cohort.bids.source import DESCRIPTION_FILE, read_made_up_seed, read_source
from dtb.cohort.bounded import ReadingProcess
from dtb.cohort.connectomes.estimate import description
from dtb.cohort.finished import FinishedPeople, fingerprint_of_file, remove_finished
from dtb.cohort.identities import (
    identities_path,
    labels_kept,
    load_or_make_key,
    open_key,
    pseudonym_of,
    save_identities,
)
from dtb.cohort.job import LeftOut, PersonJob, PersonRead
from dtb.cohort.labels import labels_in, replacer
from dtb.cohort.layouts.table import LAYOUTS
from dtb.cohort.lost_trials import TABLE, lost_by_reason, refuse_if_slow_are_cut, write_lost
from dtb.cohort.person import MEETS_NO_EVENTS
from dtb.cohort.quality import PersonQuality
from dtb.cohort.quality_page import PAGE, SetAside, commonest, write_quality_page, write_quality_table
from dtb.cohort.series.read import require_atlas_space
from dtb.cohort.series.region_centres import find_places, region_places
from dtb.cohort.workers import read_people
from dtb.config import Config, IngestConfig, sections
from dtb.config.labels import read_labels
from dtb.errors import InputDataError, OutputInUseError
from dtb.files import write_table
from dtb.people.coverage import RegionCoverage
from dtb.people.parcellation import REGIONS_FILE, no_places_in_words, save_places
from dtb.people.reliability import EdgeReliability
from dtb.shards.manifest import SEALED, CohortDescription
from dtb.shards.write import ShardWriter
from dtb.stages import STAGE_FILE, StageCall
from dtb.tasks.onsets import warning
from dtb.tasks.taskset import TaskSet

_NUM_REASONS = 8
_NUM_NAMED = 5
_NUM_EXAMPLES = 2
"""Files of each kind that a dry run names."""


def ingest(
    config: Config,
    bids: Path,
    derivatives: tuple[Path, ...],
    out: Path,
    *,
    resume: bool,
    dry_run: bool = False,
) -> None:
    """Make shards of a cohort.

    Parameters
    ----------
    config : Config
        `ingest` is read, and `cluster`.
    bids : Path
        Raw BIDS tree.
    derivatives : tuple of Path
        Derivative trees with parcellated series.
    out : Path
        Output folder.
    resume : bool
        Go on in a folder that an interrupted run with the same configuration left: who is finished there is not read again, unless
        their files have changed. Pseudonyms stay the same.
    dry_run : bool
        Say what would be read, and write nothing.

    Raises
    ------
    InputDataError
        Something that concerns everybody is wrong, or more people than `ingest.max_quarantined_fraction` had to be set aside.
    """
    bids, derivatives = bids.absolute(), tuple(path.absolute() for path in derivatives)  # workers start elsewhere
    made_up_with = read_made_up_seed(bids)
    key = load_or_make_key(out, None if made_up_with is None else open_key(made_up_with))
    named = {label.removeprefix("sub-") for label in read_labels(config.ingest.participant_label)}
    labels = labels_in((bids, *derivatives)) | named
    terminal.withhold(replacer({label: pseudonym_of(label, key) for label in labels}))
    wanted = _with_absolute_paths(config.ingest)
    tasks = TaskSet(wanted_specs(config.ingest), config.ingest.channel_layout)
    limits = {"seconds": wanted.subject_timeout_seconds, "max_memory_gib": wanted.max_memory_gib}
    with ReadingProcess(**limits, imports=first_files.__name__) as reader:  # it starts while the list of files is made
        files = index_people(bids, derivatives, wanted, tasks)
        require_atlas_space(
            [*(file for person in files for file in person.rest), *first_files.task_series(files)], wanted
        )
        regions = first_files.region_names(files, derivatives, wanted, reader)
        first_files.require_same_regions(files, regions, derivatives, wanted, reader)
        lacking = LAYOUTS[wanted.layout].lacking
        for sentence in lacking(derivatives, wanted) if lacking is not None and wanted.atlas is not None else ():
            terminal.err.print(f"Warning: {sentence}")
        if wanted.atlas is not None and lacking is None:  # it says where regions lie, and nothing else
            region_places(wanted.atlas, regions, wanted.region_labels)
        covariates = read_covariates(bids, [person.label for person in files], wanted.family_column)
        _require_events(files, tasks, bids)
        first_files.require_readable(tasks, files, reader)
    _require_same_people(files, out, wanted)
    call = StageCall("ingest", out, sections(config, "ingest"), resume=resume, dry_run=dry_run)

    def plan() -> None:
        _print_plan(files, regions, tasks, out)
        if wanted.atlas is None and find_places(regions, derivatives, wanted) is None:
            terminal.out.print(f"Note: {no_places_in_words(regions)}")

    if call.ends_early(plan):
        if not dry_run:
            remove_finished(out)  # which a run that was killed when it was complete left
        return
    folder = call.claim()
    if made_up_with is not None:
        terminal.out.print(
            f"{bids / DESCRIPTION_FILE} says that `dtb synth` made these people up with seed {made_up_with}: their pseudonyms, and so who "
            "is held out, follow from that seed."
        )
    jobs = [
        PersonJob(person, pseudonym_of(person.label, key), _without_names(covariates[person.label], key), derivatives)
        for person in files
    ]
    jobs.sort(key=lambda job: job.pseudonym)  # the shards' order says nothing about who is who
    save_identities(out, key, {job.files.label: job.pseudonym for job in jobs})
    given = [path for path in (wanted.atlas, wanted.region_labels) if path is not None]
    kept_people = FinishedPeople(
        out, (wanted, tasks.to_plain(), regions, [fingerprint_of_file(path) for path in given])
    )
    finished = kept_people.finished(jobs)
    if finished:
        terminal.out.print(f"Going on: {len(finished)} of {len(jobs)} people are finished already.")
    set_aside: dict[str, PersonRead] = {}
    with terminal.progress() as progress, contextlib.closing(kept_people):
        todo = [job for job in jobs if job.pseudonym not in finished]
        reading = read_people(todo, regions, tasks, wanted, config.cluster, out)
        for job, read in progress.track(reading, total=len(todo), description="People"):
            if read.record is None:
                set_aside[job.pseudonym] = read
            else:
                kept_people.keep(job, read)
    # The order decides the bytes of the shards, so it must not depend on who was finished first.
    writer = ShardWriter(out, config.ingest.subjects_per_shard)
    quarantined: list[SetAside] = []
    left_out: list[tuple[str, LeftOut]] = []
    notices: list[tuple[str, str, str]] = []
    people: list[tuple[str, PersonQuality]] = []
    reliability, coverage = EdgeReliability(), RegionCoverage(regions)
    connectomes: dict[bytes, list[str]] = {}
    with terminal.progress() as progress:
        for job in progress.track(jobs, description="Shards"):
            read = set_aside.get(job.pseudonym) or kept_people.load(job)
            left_out += [(read.pseudonym, each) for each in read.left_out]
            notices += [(read.pseudonym, *each) for each in read.notices]
            if read.quality is not None:
                people.append((read.pseudonym, read.quality))
            if read.coverage_R is not None and read.present_R is not None:
                coverage.add(read.coverage_R, read.present_R)
            if read.record is None:
                quarantined.append(SetAside(read.pseudonym, read.reason, read.kind))
                continue
            writer.add(read.record)
            if np.isfinite(read.record.connectome_E).any():
                content = hashlib.sha256(read.record.connectome_E.tobytes()).digest()
                connectomes.setdefault(content, []).append(read.pseudonym)
            if read.rest_KE is not None:
                reliability.add(read.rest_KE)
    _write_tables(out, quarantined, left_out, notices)
    write_lost(out, people)
    _say(notices, out)
    _warn_of_same_connectomes(connectomes)
    num_whole = sum(each.line is None for _, each in left_out)
    icc_E = reliability.save(out).get("icc_E")
    coverage.save(out)
    has_places = True
    with terminal.or_warn(f"{out / REGIONS_FILE} was not made"):
        place_R3 = find_places(regions, derivatives, wanted)
        save_places(out, regions, place_R3)
        has_places = place_R3 is not None
    write_quality_table(out, people)

    def draw() -> None:
        num_rows = len(left_out) - num_whole
        with terminal.or_warn(f"{out / PAGE} was not made"):
            write_quality_page(out, people, quarantined, num_whole, num_rows, icc_E, coverage.mean_R, config.ingest)

    try:
        _refuse_if_too_many(quarantined, len(jobs), config, out)
        refuse_if_slow_are_cut(people, config.ingest.max_late_fraction, out)
    except InputDataError:
        draw()
        raise
    manifest = writer.finish(
        CohortDescription(regions, tasks.to_plain(), description(config.ingest), folder.config_hash, read_source(bids))
    )
    summary = {**manifest.counts, "quarantined": len(quarantined), "regions": len(regions), "left_out": len(left_out)}
    folder.finish(summary, SEALED)
    draw()  # last, for nothing that is only looked at may cost the shards
    remove_finished(out)
    _print_summary(summary, left_out, coverage.absent_in_everybody, out)
    if use := manifest.use_without_training or manifest.use_without_connectome:
        terminal.err.print(f"Warning: {use}")
    _warn_of_lost_trials(people, out)
    _warn_of_unseen_onsets(people, tasks)
    if not has_places:
        terminal.err.print(f"Note: {no_places_in_words(regions)} `dtb report` and `dtb view` take it too.")


def _require_same_people(people: list[PersonFiles], out: Path, config: IngestConfig) -> None:
    """Refuse to go on with other participants than the output was begun with: its configuration does not name them.

    Raises
    ------
    OutputInUseError
        `ingest.participant_label` names others now.
    """
    if config.participant_label and (out / STAGE_FILE).exists():
        before, now = labels_kept(out), {person.label for person in people}
        if before and before != now:
            raise OutputInUseError(
                f"{out} was begun with {len(before)} participants. Of them ingest.participant_label does not name now {len(before - now)}, "
                f"and it names {len(now - before)} others. Give those that it was begun with, or another output folder."
            )


def _require_events(people: list[PersonFiles], tasks: TaskSet, bids: Path) -> None:
    """Stop if nobody has events, because everybody would be set aside.

    Raises
    ------
    InputDataError
        No file of any task was found.
    """
    if tasks.specs and not any(person.events or person.problem for person in people):
        names = ", ".join(spec.name for spec in tasks.specs)
        raise InputDataError(
            f"None of {len(people)} people in {bids} has an events file of {names}: looked for sub-*_task-*_events.tsv in sub-*/func and "
            "sub-*/ses-*/func. Check ingest.tasks and ingest.task; a task of another name needs a specification (docs/tasks.md)."
        )


def _warn_of_same_connectomes(people: dict[bytes, list[str]]) -> None:
    """Warn of people with the very same connectome: files that were copied, or linked, under another name."""
    groups = [same for same in people.values() if len(same) > 1]
    if groups:
        terminal.err.print(
            f"Warning: {sum(map(len, groups))} people have a connectome that is another's to the last digit (for example "
            f"{' and '.join(groups[0][:2])}). One has the files of the other: of held-out people this tells what was learnt. Set the wrong "
            "ones aside."
        )


def _warn_of_lost_trials(people: list[tuple[str, PersonQuality]], out: Path) -> None:
    rows = lost_by_reason(people)
    if rows:
        listed = "\n".join(
            f"  {task}: {num} trial(s) of {'one person' if num_people == 1 else f'{num_people} people'}, {most}: {reason}"
            for task, reason, num, num_people, most in rows[:_NUM_REASONS]
        )
        more = f"\n  and {len(rows) - _NUM_REASONS} more reasons" if len(rows) > _NUM_REASONS else ""
        terminal.err.print(f"Warning: trials were lost ({out / TABLE} counts them by person):\n{listed}{more}")


def _warn_of_unseen_onsets(people: list[tuple[str, PersonQuality]], tasks: TaskSet) -> None:
    """Warn of each task whose stimuli do not show when trials begin."""
    for spec in tasks.specs:
        runs = [run for _, person in people for run in person.runs if run.task == spec.name]
        num_unseen, num_trials = sum(run.num_unseen for run in runs), sum(run.num_usable for run in runs)
        if said := warning(spec, num_unseen, num_trials):
            terminal.err.print(f"Warning: {said}")


def _without_names(covariates: dict[str, float | str | None], key: bytes) -> dict[str, float | str | None]:
    """Return covariates with a pseudonym for the family's name."""
    family = covariates.get("family")
    return covariates if family is None else {**covariates, "family": pseudonym_of(f"family/{family}", key)}


def _with_absolute_paths(config: IngestConfig) -> IngestConfig:
    found = {
        name: path.absolute()
        for name in ("atlas", "region_labels", "bids_filter_file")
        if (path := getattr(config, name)) is not None
    }
    return dataclasses.replace(config, **found)


def _write_tables(
    out: Path, quarantined: list[SetAside], left_out: list[tuple[str, LeftOut]], notices: list[tuple[str, str, str]]
) -> None:
    write_table(
        out / "quarantine.tsv",
        [("pseudonym", "reason"), *((each.pseudonym, _one_cell(each.reason)) for each in quarantined)],
    )
    rows = [
        (pseudonym, each.run, "n/a" if each.line is None else str(each.line), _one_cell(each.reason))
        for pseudonym, each in left_out
    ]
    write_table(out / "left_out.tsv", [("pseudonym", "file", "line", "reason"), *rows])
    noticed = [(pseudonym, name, _one_cell(notice)) for pseudonym, name, notice in notices]
    write_table(out / "notices.tsv", [("pseudonym", "file", "notice"), *noticed])


def _say(notices: list[tuple[str, str, str]], out: Path) -> None:
    """Print each decision and each unknown once, with the number of files and people concerned."""
    for text in dict.fromkeys(notice for _, _, notice in notices):
        about = [(pseudonym, name) for pseudonym, name, notice in notices if notice == text]
        num_people = len({pseudonym for pseudonym, _ in about})
        terminal.err.print(
            f"Warning: of {len(about)} series of {num_people} people: {text}. For example {about[0][1]}; all are in {out / 'notices.tsv'}."
        )


def _one_cell(text: str) -> str:
    return " ".join(text.split())


def _refuse_if_too_many(quarantined: list[SetAside], num_people: int, config: Config, out: Path) -> None:
    limit = config.ingest.max_quarantined_fraction
    if len(quarantined) <= limit * num_people and len(quarantined) < num_people:
        return
    listed = "\n".join(
        f"  {count} x {_one_cell(kind)}" + (f", for example: {_one_cell(example)}" if example != kind else "")
        for kind, count, example in commonest(quarantined)[:3]
    )
    raise InputDataError(
        f"{len(quarantined)} of {num_people} people had to be set aside, more than ingest.max_quarantined_fraction {limit:g} allows. "
        f"All reasons are in {out / 'quarantine.tsv'}; the most common:\n{listed}"
    )


def _print_plan(people: list[PersonFiles], regions: tuple[str, ...], tasks: TaskSet, out: Path) -> None:
    events = [file for person in people for file in person.events]
    have_matrices = any(person.matrices for person in people)
    numbers = [len(person.matrices if have_matrices else person.rest) for person in people]
    what, files = ("a matrix", "files") if have_matrices else ("rest", "series")
    terminal.out.print(
        f"Would read {len(people)} people, {sum(number > 0 for number in numbers)} of them with {what} ({sum(numbers)} {files}), "
        f"{len(regions)} regions, and write shards to {out}:"
    )
    for place, spec in enumerate(tasks.specs):
        own = [file for file in events if file.task_index == place]
        num_people = sum(any(file.task_index == place for file in person.events) for person in people)
        terminal.out.print(
            f"  {spec.name}: {len(own)} events files of {num_people} of {len(people)} people, "
            f"{sum(file.series is not None for file in own)} with a series"
        )
    example = people[0]
    terminal.out.print(f"sub-{example.label}, for example:")
    for paths in ([file.path for file in files] for files in (example.matrices, example.rest, example.events)):
        for path in paths[:_NUM_EXAMPLES]:
            terminal.out.print(f"  {path}")
        if len(paths) > _NUM_EXAMPLES:
            terminal.out.print(f"  and {len(paths) - _NUM_EXAMPLES} more")


def _print_summary(summary: dict[str, int], left_out: list[tuple[str, LeftOut]], absent: list[str], out: Path) -> None:
    whole = sum(each.line is None for _, each in left_out)
    terminal.out.print(
        f"{summary['subjects']} people in {out}, {summary['quarantined']} set aside (quarantine.tsv); {summary['regions']} regions, "
        f"{summary['runs']} runs, {summary['usable_trials']} of {summary['trials']} trials usable, {summary['volumes']} task volumes."
    )
    if left_out:
        terminal.err.print(
            f"Warning: not used: {len(left_out) - whole} row(s) of events files, and {whole} other item(s), which are runs, series or "
            "regions of a series; left_out.tsv says why."
        )
    unmet = [(pseudonym, each) for pseudonym, each in left_out if each.reason.startswith(MEETS_NO_EVENTS)]
    if unmet:
        num_people = len({pseudonym for pseudonym, _ in unmet})
        terminal.err.print(
            f"Warning: {len(unmet)} task series of {num_people} people are not used, because no events file has their name. For example "
            f"{unmet[0][1].run}: {_one_cell(unmet[0][1].reason)}."
        )
    if absent:
        more = f" and {len(absent) - _NUM_NAMED} more" if len(absent) > _NUM_NAMED else ""
        terminal.err.print(
            f"Warning: {len(absent)} of {summary['regions']} regions are absent in everybody: {', '.join(absent[:_NUM_NAMED])}{more}. See "
            "coverage.tsv; if their images contain them, check that atlas, table of names and images belong together."
        )
    if (out / PAGE).is_file():
        terminal.out.print(f"Quality of the data: {out / PAGE}")
    terminal.out.print(f"Which pseudonym belongs to whom is in {identities_path(out)}: keep it with the data.")
