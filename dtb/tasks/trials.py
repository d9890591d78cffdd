"""What one run of a task comes to, whatever laboratory's columns it was read from: trials and stimulus pulses, as flat arrays.

Shape letters: `J` trial, `A` response alternative, `Q` stimulus pulse. Times are seconds from the run's first volume, or from
the clock of the events file where there are no volumes.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Trials:
    """Trials and stimuli of one run.

    Attributes
    ----------
    onset_seconds_J : (J,) float64
        When the stimulus appeared from which the reaction time counts, and from which a press is possible.
    window_seconds_J : (J,) float64
        How long a press is possible after the onset.
    rt_seconds_J : (J,) float64
        Reaction time; NaN where there was no press.
    response_JA : (J, A) bool
        Alternatives that agree with the press that was seen: one, or several where the press is known but not which (an error in a
        task of three alternatives that records accuracy only); none where there was no press.
    correct_JA : (J, A) bool
        Correct alternatives; none where withholding is correct.
    scored_J : (J,) bool
        Whether the trial has a right answer at all.
    usable_J : (J,) bool
        Whether the trial's response may enter a loss or a metric. The stimuli of the others are shown to the twin all the same.
    condition_J : (J,) int16
        Index into the task's conditions; -1 for none.
    pulse_channel_Q : (Q,) int16
        Stimulus channel of each pulse, among the task's own channels.
    pulse_onset_seconds_Q, pulse_duration_seconds_Q : (Q,) float64
    pulse_value_Q : (Q,) float32
    """

    onset_seconds_J: np.ndarray
    window_seconds_J: np.ndarray
    rt_seconds_J: np.ndarray
    response_JA: np.ndarray
    correct_JA: np.ndarray
    scored_J: np.ndarray
    usable_J: np.ndarray
    condition_J: np.ndarray
    pulse_channel_Q: np.ndarray
    pulse_onset_seconds_Q: np.ndarray
    pulse_duration_seconds_Q: np.ndarray
    pulse_value_Q: np.ndarray

    def without(self, which_J: np.ndarray) -> Trials:
        """Return the same run with some trials out of use; their stimuli stay."""
        return dataclasses.replace(
            self,
            rt_seconds_J=np.where(which_J, np.nan, self.rt_seconds_J),
            response_JA=self.response_JA & ~which_J[:, None],
            usable_J=self.usable_J & ~which_J,
        )

    @property
    def num_trials(self) -> int:
        """How many trials there are, usable or not."""
        return len(self.onset_seconds_J)

    @property
    def pressed_J(self) -> np.ndarray:
        """(J,) bool: whether a press was seen."""
        return np.asarray(self.response_JA.any(axis=1))

    @property
    def right_J(self) -> np.ndarray:
        """(J,) bool: whether the right alternative was pressed, or nothing where withholding is right; of no meaning without `scored_J`."""
        return np.asarray(
            (self.response_JA & self.correct_JA).any(axis=1) | ~(self.pressed_J | self.correct_JA.any(axis=1))
        )

    @property
    def end_seconds(self) -> float:
        """When the last response window or stimulus ends; 0 for a run without any."""
        ends = np.concatenate(
            [self.onset_seconds_J + self.window_seconds_J, self.pulse_onset_seconds_Q + self.pulse_duration_seconds_Q]
        )
        return float(ends.max(initial=0.0))
