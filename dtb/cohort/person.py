"""Reading one person's files into a record, or the reason why that is impossible. Runs in a worker."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dtb.cohort.bids.index import EventsFile, PersonFiles, UnmetSeries
from dtb.cohort.connectomes.rest import NoRestError, Rest, read_rest, require_good
from dtb.cohort.labels import replacer
from dtb.cohort.quality import PersonQuality, RunQuality, person_quality, run_quality, why_left_out
from dtb.cohort.series.read import Series, gaps, read_series, require_volumes
from dtb.cohort.series.timing import DROPPED_UNKNOWN
from dtb.cohort.series.volumes import read_header
from dtb.config import IngestConfig
from dtb.errors import InputDataError, SetAsideError, UserError
from dtb.people.records import Run, SubjectRecord
from dtb.tasks.read import EventsRead, UnusableRow, read_trials
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials

_LONGEST_RUN_SECONDS = 4 * 3600.0  # where no series says how long a run is
MEETS_NO_EVENTS = "a task series that no events file has the name of"
"""How the reason of such a series begins."""
_COMBINED = "runs concatenated by the pipeline; their parts are read instead"
_LONGEST_SPACING_SECONDS = 60.0  # of trials: read as milliseconds, it would be too short for any task


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A run, a series, some of its regions, or a row of events, that was not used.

    Attributes
    ----------
    run : str
        File name.
    line : int or None
        Line of the events file; None for a whole run, its series or regions.
    reason : str
    """

    run: str
    line: int | None
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class PersonRead:
    """The result of reading a person.

    Attributes
    ----------
    pseudonym : str
    record : SubjectRecord or None
        None for somebody who is set aside.
    reason : str
        Why; empty with a record.
    left_out : tuple of LeftOut
    quality : PersonQuality or None
        Also of somebody who is set aside, if their rest could be read.
    rest_KE : (K, E) float32 or None
        Fisher z of each rest run, of somebody with more than one.
    coverage_R : (R,) float64 or None
        Share of each parcel that the images of rest cover, NaN where nothing says it; None if rest could not be read.
    present_R : (R,) bool or None
        Which regions have any edge.
    kind : str
        The kind of reason: the same words for everybody of the kind, without their own figures; empty with a record.
    notices : tuple of (str, str)
        File names, each with what is unknown about it or had to be decided, in the same words for everybody.
    """

    pseudonym: str
    record: SubjectRecord | None
    reason: str
    left_out: tuple[LeftOut, ...]
    quality: PersonQuality | None = None
    rest_KE: np.ndarray | None = None
    coverage_R: np.ndarray | None = None
    present_R: np.ndarray | None = None
    kind: str = ""
    notices: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class PersonJob:
    """What a worker needs to read one person."""

    files: PersonFiles
    pseudonym: str
    covariates: dict[str, float | str | None]
    derivatives: tuple[Path, ...] = ()


def read_person(job: PersonJob, regions: tuple[str, ...], tasks: TaskSet, config: IngestConfig) -> PersonRead:
    """Read one person.

    A run that cannot be read is left out with its reason; a person without enough rest, regions or trials is set aside.

    Returns
    -------
    PersonRead
        It names the person by pseudonym only, in its reasons too.
    """
    left_out = [LeftOut(path.name, None, _COMBINED) for path in job.files.combined]
    left_out += [LeftOut(each.path.name, None, _unmet_in_words(each)) for each in job.files.unmet]
    notices: list[tuple[str, str]] = []
    record: SubjectRecord | None = None
    rest: Rest | None = None
    good: Rest | None = None
    runs: list[tuple[Run, RunQuality]] = []
    reason = kind = ""
    try:
        with _kept_without(job, config, left_out):
            rest = read_rest(job.files, job.derivatives, regions, config)
            left_out += _unread(rest.unread)
            notices += rest.notices
        read = _read_runs(job, regions, tasks, config)
        runs = read.runs
        left_out += read.left_out
        notices += read.notices
        with _kept_without(job, config, left_out):
            if rest is not None:
                require_good(rest, config)
                good = rest
        record = _record(job, good, len(regions), runs, read.problems, tasks, config)
    except UserError as error:
        left_out += _unread(error.unread) if isinstance(error, NoRestError) else []
        reason = without_label(str(error), job, config)
        kind = error.kind if isinstance(error, SetAsideError) else reason
    return PersonRead(
        job.pseudonym,
        record,
        reason,
        tuple(
            dataclasses.replace(
                each, run=without_label(each.run, job, config), reason=without_label(each.reason, job, config)
            )
            for each in left_out
        ),
        None if rest is None and record is None else person_quality(rest, tuple(quality for _, quality in runs), kind),
        np.stack(list(good.runs.values())) if record is not None and good is not None and len(good.runs) > 1 else None,
        None if rest is None else rest.coverage_R,
        None if rest is None else rest.present_R,
        kind,
        tuple((without_label(name, job, config), notice) for name, notice in notices),
    )


def _unmet_in_words(unmet: UnmetSeries) -> str:
    """Return which events file a series may belong to, and how their names differ."""
    if unmet.nearest is None:
        return f"{MEETS_NO_EVENTS}: the person has none of this task"
    apart = " and ".join(
        f"{key}- ({here or 'none'} here, {there or 'none'} there)" for key, here, there in unmet.differences
    )
    return f"{MEETS_NO_EVENTS}: {unmet.nearest.name}, the nearest, differs in {apart}. If they are of one run, name them alike"


def without_label(text: str, job: PersonJob, config: IngestConfig) -> str:
    """Return a text with the pseudonym for the person's label, and without folders, which may name people too.

    Numbers are no labels: where a label has digits only, it counts after ``sub-`` and at the beginning of a file's name.
    """
    label = job.files.label
    paths = [*paths_in(job.files), *paths_in(config), *(root / "_" for root in job.derivatives)]
    # By name, the longest first: nothing tells where a folder with a space in its name begins or ends.
    for folder in sorted({str(each) for path in paths for each in path.parents if each.name}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}/", "", text)
    text = re.sub(r"(?<![\w)])(?:/[^\s/:;,]+)+/(?=[^\s/]+)", "", text)
    for name in {path.name for path in paths if re.match(rf"{re.escape(label)}[_.]", path.name)}:
        text = text.replace(name, job.pseudonym + name.removeprefix(label))
    text = replacer({label: job.pseudonym})(text)
    if label.isdecimal():
        return text
    return re.sub(rf"(?<![A-Za-z0-9-]){re.escape(label)}(?![A-Za-z0-9])", job.pseudonym, text)


def paths_in(value: object) -> Iterator[Path]:
    """Yield every path within a dataclass."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from paths_in(each)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from paths_in(getattr(value, field.name))


@contextlib.contextmanager
def _kept_without(job: PersonJob, config: IngestConfig, left_out: list[LeftOut]) -> Iterator[None]:
    """With `ingest.without_connectome: keep`, record in `left_out` why a person has no connectome, instead of setting them aside."""
    try:
        yield
    except UserError as error:
        if not config.keeps_people_without_connectome or job.files.problem:
            raise
        if isinstance(error, NoRestError):
            left_out += _unread(error.unread)
        elif job.files.rest or job.files.matrices:
            left_out.append(LeftOut("connectome", None, str(error)))


def _unread(files: Iterable[tuple[str, str]]) -> list[LeftOut]:
    return [LeftOut(name, None, problem) for name, problem in files]


@dataclasses.dataclass(frozen=True)
class _RunsRead:
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


def _read_runs(job: PersonJob, regions: tuple[str, ...], tasks: TaskSet, config: IngestConfig) -> _RunsRead:
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
    return _RunsRead(found, [*left_out, *problems], notices, [each.reason for each in problems])


def _record(
    job: PersonJob,
    rest: Rest | None,
    num_regions: int,
    runs: list[tuple[Run, RunQuality]],
    problems: list[str],
    tasks: TaskSet,
    config: IngestConfig,
) -> SubjectRecord:
    used = tuple(run for run, quality in runs if not quality.left_out)
    if not used and tasks.specs:
        kind = "no task run that can be used"
        raise SetAsideError(kind, f"{kind}{f': {problems[0]}' if problems else ''}")
    return SubjectRecord(
        pseudonym=job.pseudonym,
        connectome_E=np.full(num_regions * (num_regions - 1) // 2, np.nan, np.float32)
        if rest is None
        else rest.connectome_E,
        covariates={
            **job.covariates,
            "motion": None if rest is None else rest.motion,
            "rest_seconds": None if rest is None else rest.seconds,
        },
        runs=used,
        rest_runs=rest.runs if rest is not None and config.rest_runs == "separate" else {},
    )


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
