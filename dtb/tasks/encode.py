"""From trials and pulses to what the model is given at each step: stimuli, presses, and when a press was possible.

Nothing is rounded to steps: a stimulus that covers a third of a step has a third of its height there, and the steps' shares at risk sum
to the observed exposure exactly.

Shape letters: `T` model step, `I` stimulus channel, `A` response alternative, `J` trial, `Q` stimulus pulse.
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
    """Encode a piece of a run.

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
    stimulus_TI = np.tile(taskset.flags(task_index), (num_steps, 1)).astype(np.float64)
    first = taskset.first_channel(task_index)
    begin_Q = trials.pulse_onset_seconds_Q
    end_Q = begin_Q + trials.pulse_duration_seconds_Q
    for pulse in np.flatnonzero((begin_Q < edges[-1]) & (end_Q > edges[0])).tolist():
        low, high = _touched(begin_Q[pulse], end_Q[pulse], start_seconds, step_seconds, num_steps)
        share = _covered(begin_Q[pulse], end_Q[pulse], edges[low : high + 1]) / step_seconds
        stimulus_TI[low:high, first + trials.pulse_channel_Q[pulse]] += trials.pulse_value_Q[pulse] * share

    press_TA = np.zeros((num_steps, taskset.num_alternatives), dtype=bool)
    at_risk_T = np.zeros(num_steps)
    onset_J = trials.onset_seconds_J
    pressed_J = trials.pressed_J
    end_J = onset_J + np.where(pressed_J, trials.rt_seconds_J, trials.window_seconds_J)
    began_J = (end_J if by_step else onset_J) >= counted_from_seconds
    counted_J = trials.usable_J & began_J & (onset_J < counted_to_seconds)
    first_seconds, last_seconds = (counted_from_seconds, counted_to_seconds) if by_step else (-np.inf, np.inf)
    num_own = trials.response_JA.shape[1]
    for trial in np.flatnonzero(counted_J & (onset_J < edges[-1]) & (end_J >= edges[0])).tolist():
        low, high = _touched(onset_J[trial], end_J[trial], start_seconds, step_seconds, num_steps)
        begin, end = max(onset_J[trial], first_seconds), min(end_J[trial], last_seconds)
        at_risk_T[low:high] += _covered(begin, end, edges[low : high + 1]) / step_seconds
        step = math.floor((end_J[trial] - start_seconds) / step_seconds)
        if by_step:
            step = min(step, num_steps - 1)  # rounding may put the last step's very end beyond it
        is_here = first_seconds <= end_J[trial] < last_seconds
        if pressed_J[trial] and is_here and 0 <= step < num_steps:
            press_TA[step, :num_own] |= trials.response_JA[trial]
    return stimulus_TI.astype(np.float32), press_TA, at_risk_T.astype(np.float32)


def _touched(begin: float, end: float, start: float, step: float, num_steps: int) -> tuple[int, int]:
    """Give the range of steps that an interval can touch, one wider on each side than rounding could make it wrong."""
    low = math.floor((begin - start) / step) - 1
    high = math.ceil((end - start) / step) + 1
    return max(0, low), max(0, min(num_steps, high))


def _covered(begin: float, end: float, edges: np.ndarray) -> np.ndarray:
    """Give how many seconds of each step the interval covers."""
    # Not np.diff of np.clip: for the few edges of one trial, those two take several times as long.
    inside = np.minimum(np.maximum(edges, begin), end)
    return inside[1:] - inside[:-1]
