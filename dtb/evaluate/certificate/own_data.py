"""The certificate's row on own data: what a connectome adds to what some own trials already tell, and how many trials a scan is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dtb.evaluate.certificate.certificate import Verdict
from dtb.evaluate.certificate.table import number
from dtb.evaluate.living.worth import Worth
from dtb.evaluate.scores.figure import number_or_none

ASKED_AFTER = 10
"""What the connectome adds is asked after so many own trials, or after the nearest smaller number of a curve."""


def row_of(worths: Sequence[Worth], marks: dict[Verdict, str]) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and the cells of the row, of the task in which the connectome adds most clearly.

    Parameters
    ----------
    worths : sequence of Worth
        One a task; at least one.
    marks : dict
        How verdicts are written.
    """
    shown = max(worths, key=_clearness)
    at = shown.point(ASKED_AFTER)
    gain, verdict = shown.gains[at], verdict_of(shown)
    num_yes = sum(verdict_of(each) == "yes" for each in worths)
    with_connectome, without = shown.losses[at]
    interval = [number(number_or_none(each), "+") for each in (gain.value, gain.lower, gain.upper)]
    return verdict, (
        marks[verdict],
        f"what a connectome adds to {shown.num_given[at]} own trials; {shown.in_words}",
        shown.task if len(worths) == 1 else f"{shown.task} (yes in {num_yes} of {len(worths)} tasks)",
        number(number_or_none(with_connectome)),
        f"{number(number_or_none(without))} (the same twin without it)",
        "–",
        f"{interval[0]} [{interval[1]}, {interval[2]}]",
    )


def verdict_of(worth: Worth) -> Verdict:
    """Return whether the connectome adds anything to some own trials, by the interval of the gain."""
    gain = worth.gains[worth.point(ASKED_AFTER)]
    if not math.isfinite(gain.lower):
        return "undecided"
    return "yes" if gain.lower > 0 else "no" if gain.upper <= 0 else "undecided"


def _clearness(worth: Worth) -> float:
    gain = worth.gains[worth.point(ASKED_AFTER)]
    return gain.lower if math.isfinite(gain.lower) else -math.inf
