"""Whether stimuli show when trials begin: a twin sees stimuli, not trials.

Where trials follow one another without a gap and a pulse lasts as long as its trial, two trials of one category are one long stimulus.

Shape letters: `J` trial, `Q` stimulus pulse, `X` point in time, `B` bin of time.
"""

from __future__ import annotations

import numpy as np

from dtb.tasks.spec import TaskSpec
from dtb.tasks.trials import Trials

MOST_UNSEEN = 0.05
"""Share of trials whose onset cannot be seen from which on it is worth a warning."""

_BIN_SECONDS = 0.08
_LONGEST_SECONDS = 2.0
_SMALLEST_CHANGE = 0.1


def onset_is_seen(trials: Trials) -> np.ndarray:
    """Return which trials' onsets the stimuli show.

    It does if any channel changes by more than a tenth of its greatest height, from one 80 ms to the next, at the onset or in the second
    half of the time since the onset before: a cue, or the end of the stimulus before, is a sign too.

    Returns
    -------
    (J,) bool
        True for the first trial and for unusable ones.
    """
    onset_J = trials.onset_seconds_J
    seen_J = np.zeros(len(onset_J), dtype=bool)
    spacing_J = np.diff(onset_J, prepend=-np.inf)
    num_bins = int(np.ceil(_LONGEST_SECONDS / _BIN_SECONDS))
    # Bin 0 begins at the onset, the others before it.
    edges_JX = onset_J[:, None] + _BIN_SECONDS * np.arange(-num_bins - 1, 2)
    looked_at_JB = edges_JX[:, 1:-1] > (onset_J - spacing_J / 2)[:, None]
    looked_at_JB[:, -1] = True
    for channel in np.unique(trials.pulse_channel_Q):
        mine_Q = trials.pulse_channel_Q == channel
        height_Q = np.abs(trials.pulse_value_Q[mine_Q]).max()
        level_JB = np.diff(_area_until(trials, mine_Q, edges_JX), axis=1) / _BIN_SECONDS
        seen_J |= ((np.abs(np.diff(level_JB, axis=1)) > _SMALLEST_CHANGE * height_Q) & looked_at_JB).any(axis=1)
    seen_J[:1] = True
    return seen_J | ~trials.usable_J


def warning(spec: TaskSpec, num_unseen: int, num_trials: int) -> str:
    """Return a warning if more than a few onsets cannot be seen, with what to write; else empty."""
    if num_unseen <= MOST_UNSEEN * num_trials:
        return ""
    onset = ", ".join(f"{name}: {unit}" for name, unit in spec.trials.onset.columns.items())
    where = ", ".join(f"{name}: [{', '.join(values)}]" for name, values in spec.trials.where.items())
    own = f", where: {{{where}}}" if where else ""
    plus = f", seconds: {spec.trials.onset.seconds:g}" if spec.trials.onset.seconds else ""
    return (
        f"task {spec.name}: {num_unseen} of {num_trials} trials ({num_unseen / num_trials:.0%}) begin while the stimuli stay as they are, "
        "so that a twin cannot see that they begin. Give the stimuli a `duration` that is shorter than the trial, or show the onset by "
        "itself; add under `stimuli`: "
        f"- {{channels: [onset]{own}, onset: {{columns: {{{onset}}}{plus}}}, duration: {{seconds: 0.2}}, constant: 1}}"
    )


def _area_until(trials: Trials, mine_Q: np.ndarray, points_JX: np.ndarray) -> np.ndarray:
    """Return the integral of a channel's height until the given times."""
    begin_Q = trials.pulse_onset_seconds_Q[mine_Q]
    value_Q = trials.pulse_value_Q[mine_Q].astype(np.float64)
    total_JX = np.zeros_like(points_JX)
    for times_Q, sign in ((begin_Q, 1.0), (begin_Q + trials.pulse_duration_seconds_Q[mine_Q], -1.0)):
        order = np.argsort(times_Q)
        own_Q = sign * value_Q[order]
        height_Q = np.append(0.0, np.cumsum(own_Q))
        moment_Q = np.append(0.0, np.cumsum(own_Q * times_Q[order]))
        place_JX = np.searchsorted(times_Q[order], points_JX)
        total_JX += height_Q[place_JX] * points_JX - moment_Q[place_JX]
    return total_JX
