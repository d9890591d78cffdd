"""Training people's contrast maps, summarised as a few numbers that connectomes may predict.

If latents are initialised from behaviour alone (`dtb.train.start.initial_latents`), the twin gives everybody nearly the same BOLD response,
or one that follows behaviour: single volumes are noisy, so training hardly finds individual differences. The contrast over a whole run
shows them.

Shape letters: `S` training person, `R` BOLD region, `V` volume, `Y` figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtb.people.glm import run_contrast
from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Span, Split
from dtb.tasks.spec import TaskSpec
from dtb.tasks.taskset import TaskSet

COMPONENTS = 8
"""Principal components over people that sum up a task's maps: noise that regions do not share stays out."""


def contrast_maps(
    record: SubjectRecord, taskset: TaskSet, split: Split, columns: np.ndarray, half: int | None = None
) -> list[np.ndarray]:
    """Return a person's contrast map of each task, from the training part.

    Parameters
    ----------
    record : SubjectRecord
    taskset : TaskSet
    split : Split
    columns : (R,) int
        Columns of the runs' BOLD that are targets.
    half : {0, 1} or None
        Of the first half of each run's training part, the second, or all of it.

    Returns
    -------
    list of (R,) float64
        One for each task that has a contrast, the mean over its runs; NaN where there are no data.
    """
    spans = split.spans("train", record.runs)
    found = []
    for spec in taskset.specs:
        if any(spec.contrast.values()):
            maps = [_map(run, spec, span, columns, half) for run, span in zip(record.runs, spans, strict=True)]
            defined = [map_R for map_R in maps if map_R is not None]
            found.append(np.mean(defined, axis=0) if defined else np.full(len(columns), np.nan))
    return found


def _map(run: Run, spec: TaskSpec, span: Span, columns: np.ndarray, half: int | None) -> np.ndarray | None:
    """Return the contrast of a run of the task in each region; None where it is not defined."""
    if run.task != spec.name or run.bold_VR is None:
        return None
    bold_VR = run.bold_VR[:, columns].astype(np.float64)
    usable_V = np.asarray(np.isfinite(bold_VR).any(axis=1))
    begin, end = span.of(run.duration_seconds)
    middle = (begin + end) / 2
    times = {None: (begin, end), 0: (begin, middle), 1: (middle, end)}[half]
    weights_V = run_contrast(run, spec.conditions, spec.contrast, times, usable_V)
    return None if weights_V is None else np.asarray(weights_V[usable_V] @ bold_VR[usable_V])


def map_figures(maps_SR: np.ndarray, halves: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
    """Return people's scores on the principal components of their maps of one contrast.

    Parameters
    ----------
    maps_SR : (S, R)
    halves : sequence of (S, R)
        Maps of halves of the runs, to be scored on the same components.

    Returns
    -------
    list of (S, Y) float64
        Scores of the maps, then of each half; the sign of each component makes its largest weight positive. NaN for a person without a
        map. A region that a person lacks is set to the others' mean.

    Examples
    --------
    >>> map_figures(np.array([[1.0, 0.0], [-1.0, 0.0], [np.nan, np.nan]]))[0].round(1)[:, :1]
    array([[ 1.],
           [-1.],
           [nan]])
    """
    present_SR = np.isfinite(maps_SR)
    mean_R = np.where(present_SR, maps_SR, 0.0).sum(axis=0) / np.maximum(present_SR.sum(axis=0), 1)
    components_RY = np.zeros((maps_SR.shape[1], 0))
    if present_SR.any():
        centred_SR = np.nan_to_num(maps_SR[present_SR.any(axis=1)] - mean_R)
        _, _, right_YR = np.linalg.svd(centred_SR, full_matrices=False)
        most_Y = np.abs(right_YR).argmax(axis=1)
        sign_Y = np.where(right_YR[np.arange(len(right_YR)), most_Y] < 0, -1.0, 1.0)
        components_RY = (right_YR * sign_Y[:, None]).T[:, :COMPONENTS]

    def scores(some_SR: np.ndarray) -> np.ndarray:
        has_S = np.isfinite(some_SR).any(axis=1)
        return np.where(has_S[:, None], np.nan_to_num(some_SR - mean_R) @ components_RY, np.nan)

    return [scores(some_SR) for some_SR in (maps_SR, *halves)]
