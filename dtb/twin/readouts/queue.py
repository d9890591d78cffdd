"""Trials whose response windows overlap: a press belongs to the first trial that still waits for one.

A trial begins to wait at its onset, or when the trial before it is done: answered, or its window over. At every moment one trial at most
waits, and the hazard counts for it alone. So a slow person's press after the next onset has its place, and no hazard is counted twice.

Trials of different segments do not wait for each other.

Shape letters: `J` trial, `W` step of a response window, `A` response alternative, `L` trial of one place in the queues, `B` edge of a step.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from dtb.twin.batch import TrialTensors

_ROUNDING_STEPS = 1e-5
_MOST = 600.0  # an integrated hazard beyond this leaves nothing, and its exponential overflows


@dataclasses.dataclass(frozen=True, eq=False)
class Queue:
    """The order in which trials of overlapping windows wait.

    Attributes
    ----------
    previous_J : (J,) int64
        The trial before, if its window reaches beyond this one's onset; -1 for none.
    onset_steps_J, previous_onset_steps_J : (J,) float64
        Onsets of the trial and of the one before, in model steps from their segment's beginning.
    place_J : (J,) int64
        How many trials are before it in its queue.
    """

    previous_J: Tensor
    onset_steps_J: Tensor
    previous_onset_steps_J: Tensor
    place_J: Tensor

    @property
    def spacing_steps_J(self) -> Tensor:
        """(J,): steps from the onset of the trial before to this one's."""
        return self.onset_steps_J - self.previous_onset_steps_J

    def levels(self) -> list[Tensor]:
        """Return the trials by their place: those that wait for nobody, those that wait for these, and so on."""
        num_levels = int(self.place_J.max()) + 1
        return [(self.place_J == place).nonzero()[:, 0] for place in range(num_levels)]

    def of(self, rows_J: Tensor) -> Queue:
        """Return the same of some of the trials; with a trial, all before it in its queue have to be among them."""
        new_J = torch.full_like(self.previous_J, -1)
        new_J[rows_J] = torch.arange(len(rows_J), device=rows_J.device)
        previous_J = self.previous_J[rows_J]
        previous_J = torch.where(previous_J >= 0, new_J[previous_J.clamp_min(0)], -1)
        others = (self.onset_steps_J, self.previous_onset_steps_J, self.place_J)
        return Queue(previous_J, *(values[rows_J] for values in others))


def queue_of(trials: TrialTensors, step_seconds: float) -> Queue | None:
    """Return the trials that begin within the window of the one before; None if there are none.

    A trial that begins with the press of the one before, as where each stretch from press to press is a trial, does not wait for it.
    """
    onset_J, num_trials = trials.onset_steps_J, len(trials.onset_steps_J)
    if num_trials < 2:
        return None
    segment_J = trials.subject_J * (int(trials.segment_J.max()) + 1) + trials.segment_J
    order_J = torch.argsort(onset_J, stable=True)
    order_J = order_J[torch.argsort(segment_J[order_J], stable=True)]
    ends_J = (onset_J + trials.window_steps_J)[order_J[:-1]]
    next_J = onset_J[order_J[1:]]
    answered_J = (onset_J + trials.rt_seconds_J / step_seconds)[order_J[:-1]]
    waits_J = (segment_J[order_J[1:]] == segment_J[order_J[:-1]]) & (next_J < ends_J - _ROUNDING_STEPS)
    waits_J &= ~((next_J - answered_J).abs() < _ROUNDING_STEPS)
    if not bool(waits_J.any()):
        return None
    previous_J = torch.full_like(order_J, -1)
    previous_J[order_J[1:]] = torch.where(waits_J, order_J[:-1], -1)
    count_J = torch.arange(num_trials, device=onset_J.device)
    first_J = torch.where(functional.pad(waits_J, (1, 0)), 0, count_J).cummax(0).values
    place_J = torch.empty_like(order_J)
    place_J[order_J] = count_J - first_J
    return Queue(previous_J, onset_J, onset_J[previous_J.clamp_min(0)], place_J)


def waiting_hazards(hazard_JWA: Tensor, covered_JW: Tensor, queue: Queue, step_seconds: float) -> Tensor:
    """Return each trial's own hazards: its share of the given ones, while it may still wait for the trial before.

    The probability that it does follows from that trial's hazards, its own from the one before, and so on. Within a step an earlier trial
    is taken to be done at any moment alike.

    Parameters
    ----------
    hazard_JWA : (J, W, A) Tensor
        What would be each trial's if it waited for nobody.
    covered_JW : (J, W) Tensor
    queue : Queue
    step_seconds : float

    Returns
    -------
    (J, W, A) Tensor
        The same hazards for trials that wait for nobody.
    """
    hazard_JW = hazard_JWA.sum(-1).double()
    integrated_JW = hazard_JW * covered_JW.double() * step_seconds
    # Of boundaries between steps: who has pressed until there. Whoever has not is done when the window ends.
    pressed_JB = _padded(-torch.expm1(-integrated_JW.cumsum(-1)))
    ends_J = queue.onset_steps_J + covered_JW.sum(-1).double()
    scale_JW = torch.ones_like(hazard_JW)
    for rows_L in queue.levels()[1:]:
        before_L = queue.previous_J[rows_L]
        joins = _Joining.of(queue, rows_L, pressed_JB[before_L], ends_J[before_L], covered_JW[rows_L].double())
        scale_LW, pressed_LB = joins.scale(integrated_JW[rows_L])
        pressed_JB = pressed_JB.index_copy(0, rows_L, pressed_LB)
        ends_J = ends_J.index_copy(0, rows_L, torch.maximum(ends_J[rows_L], ends_J[before_L]))
        scale_JW = scale_JW.index_copy(0, rows_L, scale_LW)
    waits_JWA = hazard_JWA * scale_JW[..., None].to(hazard_JWA)
    return torch.where((queue.previous_J < 0)[:, None, None], hazard_JWA, waits_JWA)


@dataclasses.dataclass(frozen=True, eq=False)
class _Joining:
    """When trials begin to wait, as shares of all that could happen.

    Attributes
    ----------
    first_L : (L,) Tensor
        From the onset on.
    spread_LW : (L, W) Tensor
        Within each step, as the trial before is answered in it.
    closing_LW : (L, W) Tensor
        Within each step, when the window of the trial before ends unanswered.
    left_LW : (L, W) Tensor
        Share of the step's part of the window that is then left.
    """

    first_L: Tensor
    spread_LW: Tensor
    closing_LW: Tensor
    left_LW: Tensor

    @classmethod
    def of(cls, queue: Queue, rows_L: Tensor, before_LB: Tensor, ends_L: Tensor, covered_LW: Tensor) -> _Joining:
        """Make it of who has pressed in the trials before, (L, B) in their own steps, and when their windows end."""
        num_steps = covered_LW.shape[1]
        onset_L = queue.onset_steps_J[rows_L]
        offset_L = (onset_L.floor() - queue.previous_onset_steps_J[rows_L].floor()).long()
        place_LB = offset_L[:, None] + torch.arange(num_steps + 1, device=rows_L.device)
        by_LB = before_LB.gather(1, place_LB.clamp_max(num_steps))
        spread_LW = by_LB.diff(dim=1)
        # The onset lies within a step: of the presses in that step, some are before it.
        into_L = onset_L - onset_L.floor()
        first_L = by_LB[:, 0] + into_L * spread_LW[:, 0]
        spread_LW = torch.cat([((1 - into_L) * spread_LW[:, 0])[:, None], spread_LW[:, 1:]], dim=1)
        begin_LW = torch.arange(num_steps, device=rows_L.device) + 0.0 * covered_LW
        begin_LW = torch.cat([into_L[:, None], begin_LW[:, 1:]], dim=1)
        closes_L1 = (ends_L - onset_L.floor())[:, None]
        within_LW = (closes_L1 >= begin_LW) & (closes_L1 < begin_LW.floor() + 1)
        closing_LW = torch.where(within_LW, (1 - before_LB[:, -1])[:, None], 0.0)
        left_LW = (begin_LW + covered_LW - closes_L1).clamp_min(0.0) / covered_LW.clamp_min(1e-12)
        return cls(first_L, spread_LW, closing_LW, left_LW.clamp_max(1.0))

    def scale(self, integrated_LW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the share of the hazard that trials have by themselves, and who has pressed by each boundary."""
        spent_LB = _padded(integrated_LW.cumsum(-1)).clamp_max(_MOST)
        after_closing_LW = self.left_LW * integrated_LW
        # Who waits at the beginning of a step: whoever joined before and has not pressed since.
        stays_LW = self.spread_LW * expm1_over(integrated_LW) + self.closing_LW * torch.exp(-after_closing_LW)
        joined_LW = _padded((stays_LW * torch.exp(spent_LB[:, 1:])).cumsum(-1))[:, :-1]
        waits_LW = torch.exp(-spent_LB[:, :-1]) * (self.first_L[:, None] + joined_LW)
        exposed_LW = waits_LW * expm1_over(integrated_LW) + self.spread_LW * _second_over(integrated_LW)
        exposed_LW = exposed_LW + self.closing_LW * self.left_LW * expm1_over(after_closing_LW)
        by_LB = _padded((integrated_LW * exposed_LW).cumsum(-1))
        open_LW = (1 - by_LB[:, :-1]).clamp_min(1e-12)
        share_LW = (integrated_LW * exposed_LW / open_LW).clamp(0.0, 1 - 1e-12)
        return exposed_LW / open_LW * _log1p_over(share_LW), by_LB


def _padded(values_LW: Tensor) -> Tensor:
    return functional.pad(values_LW, (1, 0))


def expm1_over(values: Tensor) -> Tensor:
    """Return (1 - exp(-x)) / x, 1 at x = 0."""
    safe = values.clamp_min(1e-4)
    return torch.where(values < 1e-4, 1.0 - values / 2 + values**2 / 6, -torch.expm1(-safe) / safe)


def _second_over(values: Tensor) -> Tensor:
    """Return (x - 1 + exp(-x)) / x^2, 1/2 at x = 0."""
    safe = values.clamp_min(1e-2)
    series = 0.5 - values / 6 + values**2 / 24 - values**3 / 120
    return torch.where(values < 1e-2, series, (safe + torch.expm1(-safe)) / safe**2)


def _log1p_over(values: Tensor) -> Tensor:
    """Return -log(1 - x) / x, 1 at x = 0."""
    safe = values.clamp_min(1e-4)
    return torch.where(values < 1e-4, 1 + values / 2 + values**2 / 3, -torch.log1p(-safe) / safe)
