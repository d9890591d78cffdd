"""The baseline level of a run's BOLD: the mean of its training part, or a mean of the training people, never of held-out data.

Shape letters: `V` volume, `R` BOLD region.
"""

from __future__ import annotations

import numpy as np

from dtb.people.records import Run
from dtb.shards.split import Span


def series(run: Run, trained: Span, columns: np.ndarray, mean_R: np.ndarray | None = None) -> np.ndarray | None:
    """Return some regions' series, minus the mean of the run's training part or a given mean.

    Parameters
    ----------
    run : Run
    trained : Span
        Training part of the run. If the whole run is held out, its own mean is subtracted: the level depends on the scanner and says
        nothing about the person.
    columns : (R,) int
    mean_R : (R,) ndarray or None
        In the scanner's units; None for the training part's own.

    Returns
    -------
    (V, R) float32 or None
        None for a run without BOLD.

    Examples
    --------
    >>> from dtb.tasks.trials import Trials
    >>> none = Trials(*[np.zeros(0)] * 2, np.zeros(0), *[np.zeros((0, 1), bool)] * 2, *[np.zeros(0, bool)] * 2, *[np.zeros(0)] * 5)
    >>> bold_VR = np.array([[-1.0], [0.0], [0.0], [1.0]], np.float32)
    >>> run = Run("t", "t", None, None, none, 8.0, bold_VR, 2.0, np.array([10.0], np.float32))
    >>> series(run, Span(0.0, 0.5), np.array([0])).ravel().tolist()
    [-0.5, 0.5, 0.5, 1.5]
    >>> series(run, Span(0.0, 0.5), np.array([0]), np.array([9.0])).ravel().tolist()
    [0.0, 1.0, 1.0, 2.0]
    """
    if run.bold_VR is None or run.repetition_time is None:
        return None
    bold_VR = run.bold_VR[:, columns]
    if mean_R is not None:
        own_R = 0.0 if run.bold_mean_R is None else run.bold_mean_R[columns]
        return np.asarray(bold_VR + (own_R - mean_R), dtype=np.float32)
    trained_V = within(run, trained)
    if trained_V.all() or not trained_V.any():
        return bold_VR
    # Of volumes that were censored nothing is known; a region without any value stays without.
    known_VR = np.isfinite(bold_VR) & trained_V[:, None]
    sum_R = np.where(known_VR, bold_VR, 0.0).sum(axis=0, dtype=np.float64)
    return np.asarray(bold_VR - sum_R / np.maximum(known_VR.sum(axis=0), 1), dtype=np.float32)


def within(run: Run, span: Span) -> np.ndarray:
    """Return which volumes of a run with BOLD lie in a part of it, (V,) bool."""
    begin, end = span.of(run.duration_seconds)
    seconds_V = run.volume_seconds_V
    return (seconds_V >= begin) & (seconds_V < end)
