"""The model's input and targets at each step, from trials and pulses: stimuli, presses, and when a press was possible.

Nothing is rounded to steps: a stimulus that covers a third of a step has a third of its height there, and the steps' shares at risk sum
to the observed exposure exactly. Where windows overlap, no moment is at risk twice (`Trials.at_risk_seconds`).

Shape letters: `T` model step, `I` stimulus channel, `A` response alternative, `J` trial, `Q` stimulus pulse, `P` pulse or trial, `F` a step
that a pulse or a trial touches.
"""

from __future__ import annotations

import math

import numpy as np

from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials


def encode_segment(
    trials: Trials,
    task_index: int,
    taskset: TaskSet,
    start_seconds: float,
    num_steps: int,
    step_seconds: float,
    counted_from_seconds: float,
    counted_to_seconds: float,
    *,
    by_step: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a segment of a run, encoded for the model.

    Parameters
    ----------
    trials : Trials
        All of the run's.
    task_index : int
        Place of the run's task in `taskset`.
    taskset : TaskSet
    start_seconds : float
        Where in the run the first step begins; it may be negative.
    num_steps : int
        T.
    step_seconds : float
        Length of a step.
    counted_from_seconds, counted_to_seconds : float
        Only trials with an onset in ``[from, to)`` carry a press or are at risk; the stimuli of the others are shown all the same. A
        counted trial whose window or press lies beyond the last step is seen as unanswered until there.
    by_step : bool
        Give the presses and the exposure within ``[from, to)`` instead, of whichever trials.

    Returns
    -------
    stimulus_TI : (T, I) float32
        Mean height over each step, pulses on one channel added up, task flags included.
    press_TA : (T, A) bool
        True at the step that holds a press, for each alternative that agrees with it.
    at_risk_T : (T,) float32
        Share of the step in which a press was possible and had not happened.

    Examples
    --------
    A press 0.25 s after an onset at 0 exposes the first two steps of 0.1 s wholly and the third by half.

    >>> from dtb.tasks.spec import load_task
    >>> none = np.zeros(0)
    >>> trials = Trials(np.zeros(1), np.ones(1), np.array([0.25]), np.eye(3, dtype=bool)[:1], np.eye(3, dtype=bool)[:1],
    ...     np.ones(1, bool), np.ones(1, bool), np.zeros(1, np.int16), none.astype(np.int16), none, none, none)
    >>> _, press_TA, at_risk_T = encode_segment(trials, 0, TaskSet((load_task("stroop"),)), 0.0, 5, 0.1, 0.0, 1.0)
    >>> at_risk_T.tolist(), press_TA[:, 0].tolist()
    ([1.0, 1.0, 0.5, 0.0, 0.0], [False, False, True, False, False])
    """
    edges = start_seconds + step_seconds * np.arange(num_steps + 1)
    begin_Q = trials.pulse_onset_seconds_Q
    end_Q = begin_Q + trials.pulse_duration_seconds_Q
    (shown,) = np.nonzero((begin_Q < edges[-1]) & (end_Q > edges[0]))
    pulse_F, step_F, share_F = _shares(begin_Q[shown], end_Q[shown], edges, step_seconds)
    channel_F = taskset.first_channel(task_index) + trials.pulse_channel_Q[shown][pulse_F].astype(np.int64)
    height_F = trials.pulse_value_Q[shown][pulse_F] * share_F
    flags_I = taskset.flags(task_index)
    pulses = np.bincount(step_F * len(flags_I) + channel_F, height_F, minlength=num_steps * len(flags_I))
    stimulus_TI = flags_I + pulses.reshape(num_steps, len(flags_I))

    press_TA = np.zeros((num_steps, taskset.num_alternatives), dtype=bool)
    onset_J = trials.onset_seconds_J
    pressed_J = trials.pressed_J
    from_J, end_J = trials.at_risk_seconds()
    began_J = (end_J if by_step else onset_J) >= counted_from_seconds
    counted_J = trials.usable_J & began_J & (onset_J < counted_to_seconds)
    first_seconds, last_seconds = (counted_from_seconds, counted_to_seconds) if by_step else (-np.inf, np.inf)
    (seen,) = np.nonzero(counted_J & (onset_J < edges[-1]) & (end_J >= edges[0]))
    at_risk_from, at_risk_to = np.maximum(from_J[seen], first_seconds), np.minimum(end_J[seen], last_seconds)
    _, step_F, share_F = _shares(at_risk_from, at_risk_to, edges, step_seconds)
    at_risk_T = np.bincount(step_F, share_F, minlength=num_steps)
    num_own = trials.response_JA.shape[1]
    for trial in seen[pressed_J[seen]].tolist():
        step = math.floor((end_J[trial] - start_seconds) / step_seconds)
        if by_step:
            step = min(step, num_steps - 1)  # rounding may put the last step's very end beyond it
        if from_J[trial] > onset_J[trial] and 0 <= step < num_steps - 1 and press_TA[step].any():
            step += 1  # the press that this trial waited for is in the same step: each counts
        if first_seconds <= end_J[trial] < last_seconds and 0 <= step < num_steps:
            press_TA[step, :num_own] |= trials.response_JA[trial]
    return stimulus_TI.astype(np.float32), press_TA, at_risk_T.astype(np.float32)


def _shares(
    begin_P: np.ndarray, end_P: np.ndarray, edges: np.ndarray, step_seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which intervals touch which steps, and the share of the step that each covers: of all of them together, for a loop is slow."""
    # One step wider on each side than rounding could make it wrong.
    low_P = np.floor((begin_P - edges[0]) / step_seconds) - 1
    high_P = np.ceil((end_P - edges[0]) / step_seconds) + 1
    low_P, high_P = (np.clip(step_P, 0, len(edges) - 1).astype(np.int64) for step_P in (low_P, high_P))
    touched_P = np.maximum(high_P - low_P, 0)
    interval_F = np.repeat(np.arange(len(begin_P)), touched_P)
    before_P = np.cumsum(touched_P) - touched_P
    step_F = np.arange(len(interval_F)) + (low_P - before_P)[interval_F]
    share_F = np.minimum(edges[1:][step_F], end_P[interval_F]) - np.maximum(edges[step_F], begin_P[interval_F])
    return interval_F, step_F, np.maximum(share_F, 0.0) / step_seconds
