"""Cutting a run into segments.

A segment has a burn-in without loss, then the counted span, then time for the last counted trial to finish: a trial belongs to the
segment in whose counted span its stimulus appears. A loss per step, as in the paper, needs no such time: the counted span lasts until
the segment ends.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.config import SegmentConfig
from dtb.people.records import Run


@dataclasses.dataclass(frozen=True)
class Segment:
    """A piece of a run.

    Attributes
    ----------
    start_seconds : float
        Run time at which the first step begins; negative where the burn-in precedes the run.
    counted_from_seconds, counted_to_seconds : float
        Run time of the span whose trials and volumes carry loss.
    """

    start_seconds: float
    counted_from_seconds: float
    counted_to_seconds: float


def cut_run(
    run: Run, segments: SegmentConfig, from_seconds: float, to_seconds: float, *, by_step: bool = False
) -> list[Segment]:
    """Return segments of a run whose counted spans follow each other without a gap.

    Parameters
    ----------
    run : Run
    segments : SegmentConfig
    from_seconds, to_seconds : float
        The span of the run that is to be counted.
    by_step : bool
        Leave no time for the last trial, because each step counts by itself, whichever segment its trial began in.

    Returns
    -------
    list of Segment
        Empty for an empty span.

    Examples
    --------
    A run without trials, so that no room is kept at the end of a segment:

    >>> from dtb.tasks.trials import Trials
    >>> none = Trials(*[np.zeros(0)] * 2, np.zeros(0), *[np.zeros((0, 1), bool)] * 2, *[np.zeros(0, bool)] * 2, *[np.zeros(0)] * 5)
    >>> run = Run("t", "t", None, None, none, 100.0, None, None)
    >>> cut_run(run, SegmentConfig(segment_seconds=60, burn_in_seconds=10), 0, 100)[1]
    Segment(start_seconds=40.0, counted_from_seconds=50.0, counted_to_seconds=100.0)
    """
    room = segments.segment_seconds - segments.burn_in_seconds
    counted = room
    if not by_step:
        usable_J = run.trials.usable_J.astype(bool)
        longest_window = float(run.trials.window_seconds_J[usable_J].max(initial=0.0))
        # A window longer than half of what there is room for is cut off at the segment's end instead (a censored observation).
        counted -= min(longest_window, room / 2)
    found = []
    for number in range(max(0, int(np.ceil((to_seconds - from_seconds) / counted - 1e-9)))):
        begin = from_seconds + number * counted
        found.append(Segment(begin - segments.burn_in_seconds, begin, min(begin + counted, to_seconds)))
    return found
