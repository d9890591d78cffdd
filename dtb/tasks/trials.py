"""One run of a task in a common form: trials and stimulus pulses, as flat arrays.

Shape letters: `J` trial, `A` response alternative, `Q` stimulus pulse. Times are seconds from the run's first volume, or from
the clock of the events file where there are no volumes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

ROUNDING_SECONDS = 1e-6
"""Windows that overlap by less are taken to touch."""


@dataclasses.dataclass(frozen=True, eq=False)
class Trials:
    """Trials and stimuli of one run.

    Attributes
    ----------
    onset_seconds_J : (J,) float64
        When the stimulus appeared from which the reaction time counts, and from which a press is possible.
    window_seconds_J : (J,) float64
        How long a press is possible after the onset. Windows may overlap: see `at_risk_seconds`.
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
        """Return the same run with some trials unusable; their stimuli stay."""
        return dataclasses.replace(
            self,
            rt_seconds_J=np.where(which_J, np.nan, self.rt_seconds_J),
            response_JA=self.response_JA & ~which_J[:, None],
            usable_J=self.usable_J & ~which_J,
        )

    @property
    def num_trials(self) -> int:
        """Return the number of trials, usable or not."""
        return len(self.onset_seconds_J)

    @property
    def pressed_J(self) -> np.ndarray:
        """Return whether a press was observed, (J,) bool."""
        return np.asarray(self.response_JA.any(axis=1))

    @property
    def right_J(self) -> np.ndarray:
        """(J,) bool: whether the right alternative was pressed, or nothing where withholding is right; of no meaning without `scored_J`."""
        return np.asarray(
            (self.response_JA & self.correct_JA).any(axis=1) | ~(self.pressed_J | self.correct_JA.any(axis=1))
        )

    def at_risk_seconds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the begin and end of each trial's wait for a press; no moment counts for two trials.

        A press belongs to the trial in whose row it is. A trial begins to wait at its onset or, if an earlier trial is answered after that,
        when it is; it ends with its press. A trial without a press ends with its window, or with the next onset before that: from there on
        the next trial waits. These intervals together are the time in which a press was possible and the hazard counts once.

        Returns
        -------
        from_J, to_J : (J,) float64
            Nothing is between them where an earlier trial was answered later than this one.

        Examples
        --------
        The first of two trials is answered 1.2 s after its onset, 0.2 s after the second began.

        >>> yes = np.ones(2, bool)
        >>> trials = Trials(np.array([0.0, 1.0]), np.array([1.5, 1.5]), np.array([1.2, 0.6]), yes[:, None], yes[:, None], yes, yes,
        ...     np.zeros(2, np.int16), *[np.zeros(0)] * 4)
        >>> trials.at_risk_seconds()
        (array([0. , 1.2]), array([1.2, 1.6]))
        """
        order = np.argsort(self.onset_seconds_J, kind="stable")
        onset, pressed = self.onset_seconds_J[order], self.pressed_J[order]
        answered = onset + np.where(pressed, self.rt_seconds_J[order], 0.0)
        window_end = onset + self.window_seconds_J[order]
        next_onset = np.append(onset[1:], np.inf)
        # Less than rounding is no overlap: windows may follow one another without a gap.
        cut = ~pressed & (next_onset < window_end - ROUNDING_SECONDS)
        latest = np.maximum.accumulate(np.where(pressed & self.usable_J[order], answered, -np.inf))
        latest = np.append(-np.inf, latest)[: len(onset)]
        from_J, to_J = np.empty_like(onset), np.empty_like(onset)
        from_J[order] = np.where(latest > onset + ROUNDING_SECONDS, latest, onset)
        to_J[order] = np.where(pressed, answered, np.where(cut, next_onset, window_end))
        return from_J, to_J

    @property
    def end_seconds(self) -> float:
        """Return the end of the last response window or stimulus; 0 for a run without any."""
        ends = np.concatenate(
            [self.onset_seconds_J + self.window_seconds_J, self.pulse_onset_seconds_Q + self.pulse_duration_seconds_Q]
        )
        return float(ends.max(initial=0.0))
