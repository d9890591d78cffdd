"""Reading one person's files into a record, or the reason why that is impossible. Runs in a worker."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from dtb.cohort.bids.files import UnmetSeries
from dtb.cohort.connectomes.rest import NoRestError, Rest, read_rest, require_good
from dtb.cohort.job import LeftOut, PersonJob, PersonRead
from dtb.cohort.quality import RunQuality, person_quality
from dtb.cohort.task_runs import read_runs
from dtb.cohort.without_label import without_label
from dtb.config import IngestConfig
from dtb.errors import SetAsideError, UserError
from dtb.people.records import Run, SubjectRecord
from dtb.tasks.taskset import TaskSet

MEETS_NO_EVENTS = "a task series that no events file has the name of"
"""How the reason of such a series begins."""
_COMBINED = "runs concatenated by the pipeline; their parts are read instead"


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
        with _kept_without(job, config) as reasons:
            rest = read_rest(job.files, job.derivatives, regions, config)
            left_out += _unread(rest.unread)
            notices += rest.notices
        left_out += reasons
        read = read_runs(job, regions, tasks, config)
        runs = read.runs
        left_out += read.left_out
        notices += read.notices
        with _kept_without(job, config) as reasons:
            if rest is not None:
                require_good(rest, config)
                good = rest
        left_out += reasons
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


@contextlib.contextmanager
def _kept_without(job: PersonJob, config: IngestConfig) -> Iterator[list[LeftOut]]:
    """With `ingest.without_connectome: keep`, yield a list that holds, after the block, why a person has no connectome, and go on."""
    reasons: list[LeftOut] = []
    try:
        yield reasons
    except UserError as error:
        if not config.keeps_people_without_connectome or job.files.problem:
            raise
        if isinstance(error, NoRestError):
            reasons += _unread(error.unread)
        elif job.files.rest or job.files.matrices:
            reasons.append(LeftOut("connectome", None, str(error)))


def _unread(files: Iterable[tuple[str, str]]) -> list[LeftOut]:
    return [LeftOut(name, None, problem) for name, problem in files]


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
