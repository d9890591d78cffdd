"""Whether a training had converged when it ended: the slope of its last validation losses.

A learning rate that decays to 0 flattens every loss curve, also of a training that has not converged. So losses are regressed on the
cumulative learning rate instead of the step number: at a constant rate, the curve would continue with this slope.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dtb.config import TrainConfig
from dtb.train.budget import FEWEST_STEPS, budget_of

FEWEST_VALIDATIONS = 4
"""Fewer do not show a slope."""
SMALLEST_SHARE = 0.02
"""A fall over the second half of the training that is a smaller share of the fall over all of it is no reason to go on."""
ERRORS = 3.0
"""So many standard errors the fall must be."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a training ended.

    Attributes
    ----------
    kind : {"level", "improving", "too short"}
        ``"too short"`` if there are too few validations to tell.
    fall : float
        Fall of the validation loss over the second half of the training, by the fitted slope; NaN if too short.
    steps : int
        Optimizer steps that were made.
    """

    kind: Literal["level", "improving", "too short"]
    fall: float
    steps: int


def ending_of(rows: Sequence[Mapping[str, Any]], max_steps: int) -> Ending:
    """Return how a training ended; one that stopped before its budget was used up is level, because the loss no longer improved.

    Parameters
    ----------
    rows : sequence of mapping
        Of `metrics.jsonl`: ``step``, ``lr`` and ``validation_loss`` of each epoch, in order.
    max_steps : int
        Its budget.

    Examples
    --------
    >>> def rows_of(losses):
    ...     return [{"step": 5 * (at + 1), "lr": 1e-3, "validation_loss": loss} for at, loss in enumerate(losses)]
    >>> [ending_of(rows_of(losses), 30).kind for losses in ([5.0, 4.0, 3.0, 2.0, 1.0, 0.5], [5.0, 2.0, 1.0, 1.01, 0.99, 1.0])]
    ['improving', 'level']
    """
    steps = int(rows[-1]["step"]) if rows else 0
    known = [row for row in rows if row["validation_loss"] is not None and math.isfinite(row["validation_loss"])]
    if len(known) < FEWEST_VALIDATIONS:
        return Ending("too short", math.nan, steps)
    made = np.diff([0.0, *(row["step"] for row in rows)])
    learnt_of = dict(zip((row["step"] for row in rows), np.cumsum(made * [row["lr"] for row in rows]), strict=True))
    learnt = np.array([learnt_of[row["step"]] for row in known])
    losses = np.array([row["validation_loss"] for row in known])
    late = learnt >= learnt[-1] / 2
    late[-FEWEST_VALIDATIONS:] = True
    x, y = learnt[late], losses[late]
    slope, level = np.polyfit(x, y, 1)
    apart = y - (slope * x + level)
    error = math.sqrt((apart**2).sum() / max(len(x) - 2, 1) / max(((x - x.mean()) ** 2).sum(), 1e-300))
    fall = -slope * (x[-1] - x[0])
    whole = losses[0] - losses.min()
    is_last_best = losses.argmin() >= 0.75 * (len(losses) - 1)
    is_falling = -slope > ERRORS * error and fall > SMALLEST_SHARE * whole
    is_cut_off = steps >= max_steps
    return Ending("improving" if is_cut_off and is_falling and is_last_best else "level", float(fall), steps)


def longer(config: TrainConfig, num_people: int) -> str:
    """Return the option of `dtb train` for a longer training: twice as long, or the default length if that is longer.

    Parameters
    ----------
    config : TrainConfig
        Of the training, with every number chosen.
    num_people : int
        In the training part of the split.
    """
    budget = budget_of(config, num_people)
    wanted = max(2 * budget.max_steps, FEWEST_STEPS)
    if config.max_epochs is not None and config.max_epochs * budget.steps_per_epoch <= budget.max_steps:
        return f"--max-epochs {-(-wanted // budget.steps_per_epoch)}"
    return f"--max-steps {wanted}"


def ending_in_words(ending: Ending, option: str) -> str | None:
    """Return the message that a training ended too early and what to change; empty if it had converged."""
    if ending.kind == "improving":
        return (
            f"The training ended after {ending.steps:,} steps while it was improving: the validation loss fell by {ending.fall:.2g} over "
            f"its second half. A longer one would fit better: train anew, into another folder, with `{option}`."
        )
    if ending.kind == "too short":
        return (
            f"The training ended after {ending.steps:,} {'step' if ending.steps == 1 else 'steps'}, with fewer than {FEWEST_VALIDATIONS} "
            f"validations: too few to tell whether it had come to its end. Train anew, into another folder, with `{option}`."
        )
    return None
