"""What latents begin at: figures of the training people's behaviour and task BOLD, and the reading of connectomes that is fitted to them.

A randomly initialised encoder has to find, from the trials of a few hundred people, which of many directions between connectomes matter,
while the rest of the network is still learning the task. It then predicts unseen people worse than a regression does. Regressions in
closed form find the directions at once, and training adds what they cannot do.

Shape letters: `S` training person, `H` all data, or either half, `Y` figure of behaviour, `C` contrast, `R` BOLD region, `J` trial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Span, Split
from dtb.tasks.taskset import TaskSet
from dtb.train.reader.reading import Figures
from dtb.train.start.contrast_maps import contrast_maps, map_figures

FEWEST_PRESSES = 5
"""A person with fewer presses in a condition has no figures of its reaction times."""


def behaviour_figures(record: SubjectRecord, taskset: TaskSet, split: Split, half: int | None = None) -> np.ndarray:
    """Return statistics of a person's behaviour in the training part of each task and condition.

    Parameters
    ----------
    record : SubjectRecord
    taskset : TaskSet
    split : Split
    half : {0, 1} or None
        Of which trials: every other one of a condition, the rest, or all.

    Returns
    -------
    (Y,) float64
        For each condition the mean and the standard deviation of the logarithm of reaction times, and the share of right answers; NaN
        where there are too few trials.
    """
    found = []
    for spec in taskset.specs:
        spans = zip(record.runs, split.spans("train", record.runs), strict=True)
        rows = [_trials(run, span) for run, span in spans if run.task == spec.name]
        condition_J, rt_J, right_J = (
            (np.concatenate(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 3
        )
        for condition in range(len(spec.conditions)):
            here_J = condition_J == condition
            if half is not None:
                here_J &= np.cumsum(here_J) % 2 == half
            log_rt_J = np.log(rt_J[here_J & np.isfinite(rt_J)])
            known_J = right_J[here_J & np.isfinite(right_J)]
            enough = len(log_rt_J) >= FEWEST_PRESSES
            found += [log_rt_J.mean(), log_rt_J.std()] if enough else [np.nan, np.nan]
            found.append(known_J.mean() if len(known_J) else np.nan)
    return np.array(found)


def _trials(run: Run, span: Span) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return condition, reaction time (NaN without a press) and whether right (NaN where nothing is) of the
    usable trials of a run's span."""
    trials = run.trials
    begin, end = span.of(run.duration_seconds)
    used_J = trials.usable_J.astype(bool) & (trials.onset_seconds_J >= begin) & (trials.onset_seconds_J < end)
    pressed_J = trials.pressed_J & (trials.rt_seconds_J > 0)
    return (
        trials.condition_J[used_J],
        np.where(pressed_J, trials.rt_seconds_J, np.nan)[used_J],
        np.where(trials.scored_J, trials.right_J, np.nan)[used_J],
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PersonFigures:
    """One person's figures from the training part: of all, and of each half.

    Attributes
    ----------
    behaviour_HY : (3, Y) float64
        See `behaviour_figures`.
    maps_HCR : (3, C, R) float64
        See `dtb.train.start.contrast_maps.contrast_maps`.
    num_trials, num_volumes : int
    """

    behaviour_HY: np.ndarray
    maps_HCR: np.ndarray
    num_trials: int
    num_volumes: int

    @classmethod
    def of(cls, record: SubjectRecord, taskset: TaskSet, split: Split, bold_regions: np.ndarray) -> PersonFigures:
        """Compute a person's figures.

        Parameters
        ----------
        record : SubjectRecord
        taskset : TaskSet
        split : Split
            Says which times of a run are training data.
        bold_regions : (R,) int
            Columns of the runs' BOLD that are targets.
        """
        halves = (None, 0, 1)
        maps = [contrast_maps(record, taskset, split, bold_regions, half) for half in halves]
        spans = zip(record.runs, split.spans("train", record.runs), strict=True)
        return cls(
            np.array([behaviour_figures(record, taskset, split, half) for half in halves]),
            np.array(maps).reshape(len(halves), len(maps[0]), len(bold_regions)),
            sum(len(_trials(run, span)[0]) for run, span in spans),
            sum(0 if run.bold_VR is None else len(run.bold_VR) for run in record.runs),
        )


def kinds_of_figures(people: Sequence[PersonFigures]) -> tuple[Figures, Figures]:
    """Return people's figures of behaviour and of task BOLD."""
    behaviour_SHY = np.array([person.behaviour_HY for person in people])
    trials_S, volumes_S = (
        np.array([getattr(person, name) for person in people], np.float64) for name in ("num_trials", "num_volumes")
    )
    whole_SY, *halves = np.moveaxis(behaviour_SHY, 1, 0)
    maps_CHSR = np.array([person.maps_HCR for person in people]).transpose(2, 1, 0, 3)
    nothing_SY = np.zeros((len(people), 0))
    scored = [map_figures(maps_SR, parts) for maps_SR, *parts in maps_CHSR] or [[nothing_SY] * 3]
    maps_SY, first_SY, second_SY = (np.concatenate(parts, axis=1) for parts in zip(*scored, strict=True))
    return (
        Figures("behaviour", whole_SY, (halves[0], halves[1]), trials_S),
        Figures("task BOLD", maps_SY, (first_SY, second_SY), volumes_S),
    )
