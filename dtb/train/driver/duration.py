"""An estimate of a training's duration, after its first steps and again when the cost of validations is known."""

from __future__ import annotations

import time
from collections.abc import Callable

from dtb.train.budget import Budget

FIRST_STEPS = 8
"""Measured for the first estimate, after one that also makes ready what later steps find ready."""
SHARE = 0.1
"""Of the steps that are left at the beginning, before the second."""


class ExpectedDuration:
    """Rank 0's clock: called after each step, it estimates the duration twice.

    Parameters
    ----------
    budget : Budget
    tell : callable
        Takes a sentence.
    clock : callable
        Seconds.
    """

    def __init__(
        self, budget: Budget, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget, self._tell, self._clock = budget, tell, clock
        self._first: tuple[int, float] | None = None
        self._due: list[int] = []

    def step(self, made: int) -> None:
        """Record the number of steps made so far."""
        now = self._clock()
        if self._first is None:
            self._first = made, now
            left = self._budget.max_steps - made
            due = [FIRST_STEPS, int(left * SHARE)]
            self._due = [made + steps for steps in due if FIRST_STEPS <= steps < left]
            return
        if made not in self._due:
            return
        first, began = self._first
        each, left = (now - began) / (made - first), self._budget.max_steps - made
        counted = "validations included" if made - first >= self._budget.steps_per_epoch else "validations not counted"
        self._tell(
            f"The {left:,} steps that are left will take {in_words(each * left)} at most, by {each:.2g} s for each of the last "
            f"{made - first:,} ({counted})."
        )


def in_words(seconds: float) -> str:
    """Return a duration in words.

    Examples
    --------
    >>> in_words(12.34), in_words(90), in_words(5000)
    ('12.3 s', '2 min', '1 h 23 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
