"""A person's task runs: trials, the series beside them, and whether both are of the same run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np

from dtb.cohort.bids.files import EventsFile
from dtb.cohort.job import LeftOut, PersonJob
from dtb.cohort.quality import RunQuality, run_quality, why_left_out
from dtb.cohort.series.read import Series, gaps, read_series, require_volumes
from dtb.cohort.series.timing import DROPPED_UNKNOWN
from dtb.cohort.series.volumes import read_header
from dtb.config import IngestConfig
from dtb.errors import InputDataError, UserError
from dtb.people.records import Run
from dtb.tasks.read import EventsRead, UnusableRow, read_trials
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials

_LONGEST_RUN_SECONDS = 4 * 3600.0  # where no series says how long a run is
_LONGEST_SPACING_SECONDS = 60.0  # of trials: read as milliseconds, it would be too short for any task


@dataclasses.dataclass(frozen=True)
class RunsRead:
    """A person's task runs in order, with those that the rules exclude; what was left out, and faults of whole runs."""

    runs: list[tuple[Run, RunQuality]]
    left_out: list[LeftOut]
    notices: list[tuple[str, str]]
    problems: list[str]


@dataclasses.dataclass(frozen=True)
class _SeriesRead:
    """The series of a task run, if it has one that can be used; `volumes_fraction` is of one of whose volumes too few are left."""

    series: Series | None = None
    volumes_fraction: float | None = None
    left_out: tuple[LeftOut, ...] = ()
    notices: tuple[tuple[str, str], ...] = ()


def read_runs(job: PersonJob, regions: tuple[str, ...], tasks: TaskSet, config: IngestConfig) -> RunsRead:
    """Read a person's task runs."""
    found: list[tuple[Run, RunQuality]] = []
    left_out: list[LeftOut] = []
    notices: list[tuple[str, str]] = []
    problems: list[LeftOut] = []
    for events in job.files.events:
        spec = tasks.specs[events.task_index]
        try:
            read = read_trials(spec, events.path)
            beside = _series_of(events, regions, config, job.derivatives)
            left_out += beside.left_out
            notices += beside.notices
            trials, outside = _within_the_run(read, beside.series)
            run = _run(events, spec.name, trials, beside.series)
        except UserError as error:
            problems.append(LeftOut(events.path.name, None, str(error)))
            continue
        left_out += [LeftOut(events.path.name, row.row, row.reason) for row in (*read.unusable, *outside)]
        quality = run_quality(run, spec, beside.volumes_fraction, _lost(read, outside))
        if problem := why_left_out(quality, config):
            problems.append(LeftOut(events.path.name, None, str(problem)))
            quality = dataclasses.replace(quality, left_out=problem.kind)
        found.append((run, quality))
    found.sort(key=lambda pair: (pair[0].label, pair[0].session or "", pair[0].run or ""))
    return RunsRead(found, [*left_out, *problems], notices, [each.reason for each in problems])


def _lost(events: EventsRead, outside: list[UnusableRow]) -> dict[str, int]:
    """Return the number of lost trials of a run, or of lost presses, by kind of reason."""
    lost = Counter(row.kind for row in (*events.unusable, *outside))
    lost.update({f"{kind}, counted as an omission": num for kind, num in events.taken_for_omission.items()})
    return dict(lost)


def _series_of(
    file: EventsFile, regions: tuple[str, ...], config: IngestConfig, derivatives: tuple[Path, ...]
) -> _SeriesRead:
    """Read the series of a task run; one that cannot be used is left out, with its reason."""
    if file.series is None:
        return _SeriesRead()
    name = file.series.path.name
    volumes_fraction: float | None = None
    try:
        found = read_series(file.series, regions, config, derivatives)
        volumes_fraction = float(found.kept_V.mean())
        require_volumes(found, file.series, config)
        volumes_fraction = None
        notices = tuple((name, notice) for notice in _unknown(found, file))
        series = found.with_dropped()
    except UserError as error:
        return _SeriesRead(None, volumes_fraction, (LeftOut(name, None, str(error)),))
    absent = gaps(series, regions)
    return _SeriesRead(series, None, (LeftOut(name, None, absent),) if absent else (), notices)


def _run(file: EventsFile, task: str, trials: Trials, series: Series | None) -> Run:
    """Return a task run."""
    bold_VR, mean_R = (None, None) if series is None else _centred(series)
    entities = file.name.entities
    return Run(
        task=task,
        label=entities["task"] + entities.get("dir", ""),
        session=entities.get("ses"),
        run=entities.get("run"),
        trials=trials,
        duration_seconds=trials.end_seconds if series is None else series.seconds,
        bold_VR=bold_VR,
        repetition_time=None if series is None else series.repetition_time,
        bold_mean_R=mean_R,
        first_volume_seconds=0.0 if series is None else series.start_seconds,
    )


def _unknown(series: Series, file: EventsFile) -> list[str]:
    """Return what is unknown about the times of a run's volumes; the raw image, if present, gives their number.

    Raises
    ------
    InputDataError
        The series has another length than the raw image: it would lie at the wrong events. It says how many volumes are missing.
    """
    notices = [*series.notices, *series.task_notices]
    stem = file.path.name.removesuffix("_events.tsv")
    raw = next(
        (path for end in ("nii.gz", "nii") if (path := file.path.with_name(f"{stem}_bold.{end}")).is_file()), None
    )
    if raw is None:
        return notices
    try:
        expected = read_header(raw, np.inf).num_volumes
    except InputDataError:
        return notices  # raw images are not read: a place-holder for one is no reason to do without the series
    found = len(series.values_VR)
    if found + series.dropped_volumes != expected:
        number = expected - found
        advice = (
            f"If they were removed from the beginning, set ingest.dropped_volumes: {number}. " if number > 0 else ""
        )
        raise InputDataError(
            f"{file.path.name}: its series has {found} volumes, {raw.name} {expected}, and {series.dropped_volumes} were taken from the "
            f"beginning as far as is known. {advice}Else events would lie at the wrong volumes."
        )
    return [notice for notice in notices if notice != DROPPED_UNKNOWN]


def _within_the_run(events: EventsRead, series: Series | None) -> tuple[Trials, list[UnusableRow]]:
    """Return the trials, with those unusable that begin before a run's first volume or after its end.

    Returns
    -------
    trials : Trials
    outside : list of UnusableRow
        Those trials, unless they were unusable already.

    Raises
    ------
    InputDataError
        Most trials do, or a run without a series lasts longer than anybody lies in a scanner: times are of another unit, clock or run.
    """
    trials = events.trials
    onset_J = trials.onset_seconds_J
    if series is None:
        seconds, length = (
            _LONGEST_RUN_SECONDS,
            f"lasts at most {_LONGEST_RUN_SECONDS:g} s where no series says how long",
        )
    else:
        seconds = series.seconds
        volumes = f"{len(series.values_VR)} volumes, RepetitionTime {series.repetition_time:g} s"
        length = f"is {seconds:g} s long ({volumes})"
    outside_J = (onset_J < 0) | (onset_J >= seconds)
    if 2 * outside_J.sum() > len(onset_J) or (series is None and trials.end_seconds > seconds):
        advice = (
            "These seem to be milliseconds: say so in the task specification (`columns: {onset: ms}`), or write seconds."
            if len(onset_J) > 1 and np.median(np.diff(onset_J)) > _LONGEST_SPACING_SECONDS
            else "Check that the events are of this run, the unit of their times, the task's clock_offset_seconds and the RepetitionTime."
        )
        raise InputDataError(
            f"{outside_J.sum()} of {len(onset_J)} trials begin outside the run, which {length}: onsets go from {onset_J.min():.1f} to "
            f"{onset_J.max():.1f} s, and the last event ends at {trials.end_seconds:.1f} s. {advice}"
        )
    found_J = outside_J & trials.usable_J
    rows = []
    for line, onset in zip(events.line_J[found_J], onset_J[found_J], strict=True):
        place = "before the first volume" if onset < 0 else f"after the end of the run, which {length}"
        rows.append(UnusableRow(int(line), f"the onset, {onset:g} s, is {place}", "onset outside the run"))
    return trials.without(outside_J), rows


def _centred(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Return each region's series minus its mean, and the mean; a region without a signal becomes NaN.

    What remains is small numbers that float32 holds well; what a training part counts from is decided where the split is known.
    """
    values_VR = np.where(series.present_R[None, :], series.values_VR, np.nan)
    mean_R = np.zeros(values_VR.shape[1])
    mean_R[series.present_R] = values_VR[series.kept_V][:, series.present_R].mean(axis=0)
    return (values_VR - mean_R).astype(np.float32), mean_R.astype(np.float32)
