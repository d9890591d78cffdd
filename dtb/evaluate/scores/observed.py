"""Observed data of one part of a cohort: every usable trial, and one row of figures per person.

The same tables hold training people for the baselines and held-out people for the scores; which people and which part of their
runs is the split's to say. Predictors fill tables of the same shape (`dtb.evaluate.predictors.predictions`).

Shape letters: `S` subject, `J` trial, `A` response alternative, `O` outcome of a trial (each alternative, and last no press),
`T` task, `R` region, `E` edge, `V` volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dtb.people.glm import run_contrast
from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Span
from dtb.tasks.taskset import TaskSet

Spans = Callable[[Sequence[Run]], Sequence[Span]]
"""Returns, for each of a person's runs, the part of it to look at."""


@dataclasses.dataclass(frozen=True, eq=False)
class ObservedTrials:
    """Usable trials of some people.

    Attributes
    ----------
    person_J, task_J, run_J, trial_J, condition_J : (J,) int64
        Place of the person in the table of people, index of the task, and where the trial is in the person's record.
    rt_J : (J,) float64
        Seconds; NaN without a press.
    happened_JO : (J, O) bool
        Outcomes that agree with what was seen.
    correct_JO : (J, O) bool
        Outcomes that are right; none for a trial without a right answer.
    possible_JO : (J, O) bool
        Outcomes that the task has.
    """

    person_J: np.ndarray
    task_J: np.ndarray
    run_J: np.ndarray
    trial_J: np.ndarray
    condition_J: np.ndarray
    rt_J: np.ndarray
    happened_JO: np.ndarray
    correct_JO: np.ndarray
    possible_JO: np.ndarray

    def __len__(self) -> int:
        return len(self.rt_J)

    def only(self, kept_J: np.ndarray) -> ObservedTrials:
        """Return the rows of a mask."""
        return ObservedTrials(*(getattr(self, field.name)[kept_J] for field in dataclasses.fields(self)))

    @property
    def scored_J(self) -> np.ndarray:
        """Return whether each trial has a correct response, (J,) bool."""
        return np.asarray(self.correct_JO.any(axis=1))

    @property
    def was_correct_J(self) -> np.ndarray:
        """Return whether each response was correct, (J,) float: 1 or 0, NaN for a trial without a correct response."""
        return np.where(self.scored_J, (self.happened_JO & self.correct_JO).any(axis=1), np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class People:
    """Some people, one row each.

    Attributes
    ----------
    pseudonyms : tuple of str
    edges_SE : (S, E) float32
        Fisher z; NaN where absent.
    covariates : list of dict
        See `dtb.people.records.SubjectRecord`.
    trials : ObservedTrials
    maps_STR : (S, T, R) float32
        Contrast of each task in each BOLD region, in units of `scale_R`; NaN where there is none.
    """

    pseudonyms: tuple[str, ...]
    edges_SE: np.ndarray
    covariates: list[dict[str, float | str | None]]
    trials: ObservedTrials
    maps_STR: np.ndarray

    def __len__(self) -> int:
        return len(self.pseudonyms)

    def only(self, kept_S: np.ndarray) -> People:
        """Return the people of a mask (S,)."""
        rows = np.flatnonzero(kept_S)
        trials = self.trials.only(kept_S[self.trials.person_J])
        place_S = np.cumsum(kept_S) - 1
        return People(
            tuple(self.pseudonyms[row] for row in rows),
            self.edges_SE[rows],
            [self.covariates[row] for row in rows],
            dataclasses.replace(trials, person_J=place_S[trials.person_J]),
            self.maps_STR[rows],
        )


def collect(
    records: Iterable[SubjectRecord],
    taskset: TaskSet,
    span: Span | Spans,
    bold_regions: np.ndarray,
    scale_R: np.ndarray,
) -> People:
    """Return people's trials and contrast maps.

    Parameters
    ----------
    records : iterable of SubjectRecord
    taskset : TaskSet
    span : Span or function
        The part of all runs to look at, or what gives it for each run of a person.
    bold_regions : (R,) int
        Columns of a run's BOLD to look at.
    scale_R : (R,) float
        Standard deviation by which each region's series is divided.
    """
    pseudonyms, edges, covariates, maps = [], [], [], []
    rows: list[dict[str, np.ndarray]] = []
    for person, record in enumerate(records):
        pseudonyms.append(record.pseudonym)
        edges.append(record.connectome_E)
        covariates.append(record.covariates)
        spans = [span] * len(record.runs) if isinstance(span, Span) else span(record.runs)
        rows += [_trials_of(run, number, person, taskset, spans[number]) for number, run in enumerate(record.runs)]
        maps.append(observed_maps(record, taskset, spans, bold_regions, scale_R))
    num_outcomes = taskset.num_alternatives + 1
    empty = {"rt_J": np.zeros(0)} | {name: np.zeros((0, num_outcomes), bool) for name in _FLAGS}
    empty |= {name: np.zeros(0, np.int64) for name in _INDICES}
    joined = {name: np.concatenate([empty[name], *(row[name] for row in rows)]) for name in empty}
    return People(
        tuple(pseudonyms),
        np.stack(edges) if edges else np.zeros((0, 0), np.float32),
        covariates,
        ObservedTrials(**joined),
        np.stack(maps) if maps else np.zeros((0, len(taskset.specs), len(bold_regions)), np.float32),
    )


_INDICES = ("person_J", "task_J", "run_J", "trial_J", "condition_J")
_FLAGS = ("happened_JO", "correct_JO", "possible_JO")


def _trials_of(run: Run, number: int, person: int, taskset: TaskSet, span: Span) -> dict[str, np.ndarray]:
    trials, task = run.trials, taskset.index(run.task)
    begin, end = span.of(run.duration_seconds)
    onset_J = trials.onset_seconds_J
    (rows,) = np.nonzero(trials.usable_J.astype(bool) & (onset_J >= begin) & (onset_J < end))
    response_JA, correct_JA = trials.response_JA[rows].astype(bool), trials.correct_JA[rows].astype(bool)
    withhold_J = trials.scored_J[rows].astype(bool) & ~correct_JA.any(axis=1)
    correct_JA = correct_JA & trials.scored_J[rows].astype(bool)[:, None]
    return {
        "person_J": np.full(len(rows), person),
        "task_J": np.full(len(rows), task),
        "run_J": np.full(len(rows), number),
        "trial_J": rows,
        "condition_J": trials.condition_J[rows].astype(np.int64),
        "rt_J": np.where(response_JA.any(axis=1), trials.rt_seconds_J[rows], np.nan),
        "happened_JO": _outcomes(response_JA, np.asarray(~response_JA.any(axis=1)), taskset),
        "correct_JO": _outcomes(correct_JA, withhold_J, taskset),
        "possible_JO": _outcomes(np.ones_like(response_JA), np.ones(len(rows), bool), taskset),
    }


def _outcomes(alternatives_JA: np.ndarray, no_press_J: np.ndarray, taskset: TaskSet) -> np.ndarray:
    """Return outcomes in slots shared by all tasks: a task's alternatives, and no press last."""
    outcomes_JO = np.zeros((len(alternatives_JA), taskset.num_alternatives + 1), bool)
    outcomes_JO[:, : alternatives_JA.shape[1]] = alternatives_JA
    outcomes_JO[:, -1] = no_press_J
    return outcomes_JO


def observed_maps(
    record: SubjectRecord,
    taskset: TaskSet,
    spans: Sequence[Span],
    bold_regions: np.ndarray,
    scale_R: np.ndarray,
) -> np.ndarray:
    """Return a person's contrast maps (T, R), each the mean over the task's runs; NaN without data."""
    series = {
        number: run.bold_VR[:, bold_regions] / scale_R
        for number, run in enumerate(record.runs)
        if run.bold_VR is not None and len(bold_regions)
    }
    return maps_of_series(record, series, taskset, spans, len(bold_regions), series)


def maps_of_halves(
    records: Iterable[SubjectRecord], taskset: TaskSet, spans: Spans, bold_regions: np.ndarray, scale_R: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return people's contrast maps (S, T, R) from the first and from the second half of each run's part."""
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for record in records:
        ends = [span.of(run.duration_seconds) for run, span in zip(record.runs, spans(record.runs), strict=True)]
        middles = [(begin + end) / 2 for begin, end in ends]
        first = [Span(begin, middle, in_seconds=True) for (begin, _), middle in zip(ends, middles, strict=True)]
        second = [Span(middle, end, in_seconds=True) for (_, end), middle in zip(ends, middles, strict=True)]
        for maps, part in zip(halves, (first, second), strict=True):
            maps.append(observed_maps(record, taskset, part, bold_regions, scale_R))
    return np.stack(halves[0]), np.stack(halves[1])


def maps_of_series(
    record: SubjectRecord,
    series: dict[int, np.ndarray],
    taskset: TaskSet,
    spans: Sequence[Span],
    num_regions: int,
    seen: dict[int, np.ndarray],
) -> np.ndarray:
    """Return the contrast maps (T, R) of any series of a person's runs.

    Parameters
    ----------
    record : SubjectRecord
    series : dict of int to (V, R)
        Series to be looked at, by the run's place in the record.
    taskset : TaskSet
    spans : sequence of Span
        The part of each run to look at.
    num_regions : int
    seen : dict of int to (V, R)
        Observed series: a volume that is absent there is left out, so that both are treated alike.
    """
    total_TR = np.zeros((len(taskset.specs), num_regions))
    count_T = np.zeros(len(taskset.specs))
    for number, series_VR in series.items():
        run = record.runs[number]
        task = taskset.index(run.task)
        spec = taskset.specs[task]
        usable_V = np.isfinite(seen[number]).any(axis=1) & np.isfinite(series_VR).any(axis=1)
        weights_V = run_contrast(run, spec.conditions, spec.contrast, spans[number].of(run.duration_seconds), usable_V)
        if weights_V is not None:
            total_TR[task] += weights_V[weights_V != 0] @ series_VR[weights_V != 0]
            count_T[task] += 1
    return np.where(count_T[:, None] > 0, total_TR / np.maximum(count_T, 1)[:, None], np.nan).astype(np.float32)
