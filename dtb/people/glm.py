"""Task contrasts: the general linear model of one run, as one row of weights over its volumes.

The contrast of an ordinary least-squares fit is linear in the data, so one row of weights serves every region, and the observed
and the predicted series of a run get exactly the same treatment. Design matrices are nilearn's: Glover response and its
derivative for each condition, cosine drifts below 0.01 Hz and a constant. How many drifts follows from the length of the run: the paper's
eight for 410 s, seven for the 492 or 493 volumes of 0.8 s that the runs of the Transdiagnostic Connectome Project have.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dtb.people.records import Run

if TYPE_CHECKING:
    import pandas as pd

LONGEST_RESPONSE_SECONDS = 24.0
"""A stimulus that ended longer ago than this has no part in a volume."""


def condition_events(run: Run, conditions: tuple[str, ...]) -> pd.DataFrame:
    """Return a run's trials as nilearn events; trials of no condition are events of their own kind, ``no_condition``.

    An event lasts as long as the stimuli that appear with the trial; where none does, as long as a press is possible.
    """
    # Its import takes a second, for which only those are to wait who need it.
    import pandas as pd

    trials = run.trials
    ends_J = np.array(
        [
            trials.pulse_duration_seconds_Q[np.abs(trials.pulse_onset_seconds_Q - onset) < 1e-3].max(initial=0.0)
            for onset in trials.onset_seconds_J
        ]
    )
    names = np.array([*conditions, "no_condition"])
    return pd.DataFrame(
        {
            "onset": trials.onset_seconds_J.astype(float),
            "duration": np.where(ends_J > 0, ends_J, trials.window_seconds_J).astype(float),
            "trial_type": names[np.where(trials.condition_J >= 0, trials.condition_J, len(conditions))],
        }
    )


def design_matrix(events: pd.DataFrame, volume_seconds_V: np.ndarray) -> pd.DataFrame:
    """Return nilearn's design matrix for the volumes, with one row a volume."""
    # Its import takes 2 s, for which only those are to wait who fit a model.
    from nilearn.glm.first_level import make_first_level_design_matrix

    begin, end = volume_seconds_V[0] - LONGEST_RESPONSE_SECONDS, volume_seconds_V[-1]
    seen = events[(events["onset"] + events["duration"] > begin) & (events["onset"] < end)]
    with warnings.catch_warnings():
        # nilearn says of each event that it begins before the first volume; here that is meant.
        warnings.simplefilter("ignore")
        return make_first_level_design_matrix(
            volume_seconds_V,
            seen if len(seen) else None,
            hrf_model="glover + derivative",
            drift_model="cosine",
            high_pass=0.01,
            min_onset=-LONGEST_RESPONSE_SECONDS,
        )


def contrast_weights(design: pd.DataFrame, contrast: Mapping[str, float]) -> np.ndarray | None:
    """Return the row of weights whose product with the data is the contrast's effect.

    Parameters
    ----------
    design : DataFrame, (V, columns)
    contrast : mapping
        Weight of each condition.

    Returns
    -------
    (V,) float64, or None where the design cannot tell: a condition is absent, or the contrast is not estimable.
    """
    weights = {condition: weight for condition, weight in contrast.items() if weight}
    if not weights or not set(weights) <= set(design.columns) or len(design) <= design.shape[1]:
        return None
    wanted = np.array([weights.get(str(column), 0.0) for column in design.columns])
    matrix = design.to_numpy(dtype=np.float64)
    inverse = np.linalg.pinv(matrix)
    if not np.allclose(wanted @ inverse @ matrix, wanted, atol=1e-6):
        return None
    return wanted @ inverse


def run_contrast(
    run: Run,
    conditions: tuple[str, ...],
    contrast: Mapping[str, float],
    span_seconds: tuple[float, float],
    usable_V: np.ndarray,
) -> np.ndarray | None:
    """Return the weights of a run's volumes in its contrast, 0 for those outside the span or not usable.

    Parameters
    ----------
    run : Run
        With volumes.
    conditions : tuple of str
        The task's conditions.
    contrast : mapping
        Weight of each condition.
    span_seconds : (float, float)
        Part of the run that is looked at.
    usable_V : (V,) bool
        Volumes that have data.

    Returns
    -------
    (V,) float64 or None
        See `contrast_weights`.
    """
    if run.repetition_time is None or not contrast:
        return None
    seconds_V = run.first_volume_seconds + np.arange(len(usable_V)) * run.repetition_time
    (rows,) = np.nonzero(usable_V & (seconds_V >= span_seconds[0]) & (seconds_V < span_seconds[1]))
    if len(rows) < 2:
        return None
    events = condition_events(run, conditions)
    weights = _cached_weights(
        tuple(events["onset"]),
        tuple(events["duration"]),
        tuple(events["trial_type"]),
        tuple(seconds_V[rows]),
        tuple(contrast.items()),
    )
    if weights is None:
        return None
    full_V = np.zeros(len(usable_V))
    full_V[rows] = weights
    return full_V


def run_basis(run: Run, conditions: tuple[str, ...], usable_V: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of a run's linear model, whose residuals give the error of the contrast.

    Parameters
    ----------
    run : Run
        With volumes.
    conditions : tuple of str
        The task's conditions.
    usable_V : (V,) bool
        Volumes that have data.

    Returns
    -------
    (V, P) float64
        As many columns as the model has degrees of freedom; rows of 0 for volumes that are not usable.
    """
    assert run.repetition_time is not None
    (rows,) = np.nonzero(usable_V)
    seconds_V = run.first_volume_seconds + rows * run.repetition_time
    design = design_matrix(condition_events(run, conditions), seconds_V)
    left, size, _ = np.linalg.svd(design.to_numpy(dtype=np.float64), full_matrices=False)
    left = left[:, size > 1e-8 * size[0]]
    basis_VP = np.zeros((len(usable_V), left.shape[1]))
    basis_VP[rows] = left
    return basis_VP


@functools.lru_cache(maxsize=512)
def _cached_weights(
    onset_J: tuple[float, ...],
    duration_J: tuple[float, ...],
    condition_J: tuple[str, ...],
    seconds_V: tuple[float, ...],
    contrast: tuple[tuple[str, float], ...],
) -> np.ndarray | None:
    """Return the weights of a run's contrast; observed and predicted series of a run, and people shown the same, share them."""
    import pandas as pd

    events = pd.DataFrame({"onset": onset_J, "duration": duration_J, "trial_type": condition_J})
    return contrast_weights(design_matrix(events, np.array(seconds_V)), dict(contrast))
