"""The closed loop: change a connectome, let the twin it makes perform, and change it further, until one indicator has moved.

Projected gradient ascent on the change `D` of each person's correlation matrix. After every step `C + D` is a correlation matrix
within the budget (`dtb.intervene.constraints`), so every point on the way could be returned, and the best one is. Other indicators
hold it back through a penalty in units of their spread between people. What comes back is measured by full simulation of the changed
connectome, beside controls of the same norm.

Shape letters: `S` subject, `R` region, `E` connectome edge, `M` indicator, `G` step of the search.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dtb.config import InterveneConfig
from dtb.intervene.constraints import (
    change_along,
    correlations,
    edges_of,
    fisher_z,
    matrix_of,
    nearest_correlation,
    off_diagonal_norm,
    within_budget,
)
from dtb.intervene.indicators import Indicator

SMALLEST_EIGENVALUE = 1e-3
"""Bound on the spectrum of a person's matrix: rest series are short, their correlations are singular, and from a singular matrix most
directions lead out of the valid ones. Raising the spectrum so far moves a matrix of 400 regions by a thousandth of its norm."""

_PROJECTIONS_A_STEP = 10
_SQRT2 = 2.0**0.5

Simulate = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
    """What to change, and what to leave.

    Attributes
    ----------
    target : int
        Which indicator.
    sign : float
        1 to increase it, -1 to decrease it.
    spread_M : (M,) float64 Tensor
        Spread of each indicator between people; NaN where it has none, and such an indicator is not penalised.
    penalty_M : (M,) float64 Tensor
        Share of each indicator in the penalty; 0 for the target.
    """

    target: int
    sign: float
    spread_M: Tensor
    penalty_M: Tensor

    def score(self, values_SM: Tensor, before_SM: Tensor, off_target_weight: float) -> Tensor:
        """Give what the search maximises: (S,) wanted change, less the mean squared unwanted one, both in units of spread."""
        moved_SM = (values_SM - before_SM) / self.spread_M
        counted_SM = (self.penalty_M > 0) & moved_SM.isfinite()
        unwanted_SM = torch.where(counted_SM, moved_SM, 0.0) ** 2 * self.penalty_M
        return self.sign * moved_SM[:, self.target] - off_target_weight * unwanted_SM.sum(1)


def make_goal(indicators: Sequence[Indicator], target: int, sign: float, values_SM: Tensor) -> Goal:
    """Take each indicator's spread from what people have before any change.

    The regions of one task's BOLD contrast count as one indicator in the penalty, so that they do not drown the others.

    Parameters
    ----------
    indicators : sequence of Indicator
    target : int
    sign : float
    values_SM : (S, M) float64 Tensor
        Everybody's indicators; NaN where there are none.
    """
    mean_M = values_SM.nanmean(0)
    num_M = values_SM.isfinite().sum(0)
    variance_M = ((values_SM - mean_M) ** 2).nansum(0) / (num_M - 1).clamp_min(1)
    spread_M = variance_M.sqrt()
    varies_M = (num_M > 1) & (spread_M > 1e-6 * mean_M.abs())
    spread_M = torch.where(varies_M, spread_M, torch.nan)
    if not varies_M[target]:
        # One person, or people without differences: the target is then measured in tenths of itself.
        spread_M[target] = (0.1 * mean_M[target].abs()).clamp_min(1e-6)
    groups = [(one.kind, one.task) for one in indicators]
    counted = [place for place in range(len(indicators)) if place != target and bool(varies_M[place])]
    penalty_M = torch.zeros_like(spread_M)
    num_groups = len({groups[place] for place in counted})
    for place in counted:
        members = sum(groups[other] == groups[place] for other in counted)
        penalty_M[place] = 1.0 / (members * num_groups)
    return Goal(target, sign, spread_M, penalty_M)


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """People before any change.

    Attributes
    ----------
    base_SRR : (S, R, R) float64 Tensor
        The correlation matrix nearest to each person's estimated one: what changes are changes of.
    present_SR : (S, R) bool Tensor
    repair_norm_S : (S,) float64 Tensor
        Frobenius distance of the two.
    budget_S : (S,) float64 Tensor
        Largest norm of a change.
    """

    base_SRR: Tensor
    present_SR: Tensor
    repair_norm_S: Tensor
    budget_S: Tensor

    @classmethod
    def of(cls, connectome_SE: Tensor, num_regions: int, budget: float) -> Start:
        """Make people's matrices valid; `budget` is a share of the norm off the diagonal."""
        own_SRR, present_SR = correlations(connectome_SE, num_regions)
        base_SRR = nearest_correlation(own_SRR, smallest_eigenvalue=SMALLEST_EIGENVALUE)
        return cls(
            base_SRR,
            present_SR,
            torch.linalg.matrix_norm(base_SRR - own_SRR),
            budget * off_diagonal_norm(base_SRR),
        )

    def connectome(self, change_SE: Tensor) -> Tensor:
        """Give the changed connectome as the twin reads it; gradients pass to the change."""
        return fisher_z(edges_of(self.base_SRR) + change_SE, self.present_SR)

    def admit(self, change_SE: Tensor, *, max_iterations: int = 200) -> Tensor:
        """Give the valid change within the budget that a proposed one is projected to."""
        num_regions = self.base_SRR.shape[-1]
        proposed_SRR = nearest_correlation(
            self.base_SRR + matrix_of(change_SE, num_regions, diagonal=0.0),
            smallest_eigenvalue=SMALLEST_EIGENVALUE,
            max_iterations=max_iterations,
        )
        return self.masked(edges_of(within_budget(self.base_SRR, proposed_SRR, self.budget_S)))

    def along(self, direction_SE: Tensor, norm_S: Tensor) -> Tensor:
        """Give a valid change along a direction, of a given norm."""
        num_regions = self.base_SRR.shape[-1]
        direction_SRR = matrix_of(self.masked(direction_SE.double()), num_regions, diagonal=0.0)
        change_SRR = change_along(self.base_SRR, direction_SRR, norm_S, smallest_eigenvalue=SMALLEST_EIGENVALUE)
        return self.masked(edges_of(change_SRR))

    def masked(self, edges_SE: Tensor) -> Tensor:
        """Set the edges of absent regions to exactly 0."""
        rows, columns = _pairs(self.base_SRR)
        return torch.where(self.present_SR[:, rows] & self.present_SR[:, columns], edges_SE, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes
    ----------
    change_SE : (S, E) float64 Tensor
        Change of the correlations.
    before_SM, after_SM : (S, M) float64 Tensor
        Every indicator, by full simulation.
    target_SG : (S, G) float64 Tensor
        The target after each step.
    controls_SM : dict of str to (S, M) float64 Tensor
        Every indicator after each control's change.
    norm_S : (S,) float64 Tensor
        Frobenius norm of the change, and of the controls'.
    """

    change_SE: Tensor
    before_SM: Tensor
    after_SM: Tensor
    target_SG: Tensor
    controls_SM: dict[str, Tensor]
    norm_S: Tensor


def search(
    simulate: Simulate,
    start: Start,
    goal: Goal,
    settings: InterveneConfig,
    control_directions_SE: Mapping[str, Tensor],
) -> Found:
    """Search a change for each person of a batch.

    Parameters
    ----------
    simulate : callable
        From connectomes (S, E) to indicators (S, M), differentiable; a person's row depends on that person alone.
    start : Start
    goal : Goal
    settings : InterveneConfig
    control_directions_SE : mapping of str to (S, E) Tensor
        Directions to go by the same norm, for comparison.

    Returns
    -------
    Found
        Rows of people whose target is not finite hold no change.
    """
    change_SE = torch.zeros_like(edges_of(start.base_SRR))
    before_SM, score_S, slope_SE = _ascent(simulate, start, goal, settings, change_SE, None)
    best_SE, best_S = change_SE, score_S
    path = []
    for step in range(settings.num_steps):
        length_S = settings.step_size * (1.0 - step / settings.num_steps) * start.budget_S
        change_SE = start.admit(change_SE + length_S[:, None] * slope_SE, max_iterations=_PROJECTIONS_A_STEP)
        values_SM, score_S, slope_SE = _ascent(simulate, start, goal, settings, change_SE, before_SM)
        better_S = score_S > best_S
        best_S = torch.where(better_S, score_S, best_S)
        best_SE = torch.where(better_S[:, None], change_SE, best_SE)
        path.append(values_SM[:, goal.target])
    norm_S = _SQRT2 * best_SE.norm(dim=1)
    with torch.no_grad():
        after_SM = simulate(start.connectome(best_SE)).double()
        controls_SM = {
            name: simulate(start.connectome(start.along(direction_SE, norm_S))).double()
            for name, direction_SE in control_directions_SE.items()
        }
    return Found(best_SE, before_SM, after_SM, torch.stack(path, 1), controls_SM, norm_S)


def slope(simulate: Simulate, start: Start, goal: Goal) -> tuple[Tensor, Tensor]:
    """Give everybody's indicators before any change (S, M), and the gradient of the target's wanted direction (S, E), of norm 1.

    The mean of the gradients over people is the direction that helps the population, a control for the personal one.
    """
    nothing_SE = torch.zeros_like(edges_of(start.base_SRR)).requires_grad_()
    values_SM = simulate(start.connectome(nothing_SE)).double()
    wanted_S = goal.sign * values_SM[:, goal.target]
    return values_SM.detach(), _unit_gradient(wanted_S, nothing_SE)


def _pairs(matrix_SRR: Tensor) -> tuple[Tensor, Tensor]:
    num_regions = matrix_SRR.shape[-1]
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=matrix_SRR.device)
    return rows, columns


def random_directions(seeds: Sequence[int], num_edges: int) -> Tensor:
    """Draw a direction for each person from that person's seed alone, (S, E) float64."""
    rows = [
        torch.randn(num_edges, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds
    ]
    return torch.stack(rows) if rows else torch.zeros(0, num_edges, dtype=torch.float64)


def _ascent(
    simulate: Simulate, start: Start, goal: Goal, settings: InterveneConfig, change_SE: Tensor, before_SM: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Give indicators, score and the direction of steepest ascent of the score at a change; without `before_SM`, at none."""
    at_SE = change_SE.detach().requires_grad_()
    values_SM = simulate(start.connectome(at_SE)).double()
    before_SM = values_SM.detach() if before_SM is None else before_SM
    score_S = goal.score(values_SM, before_SM, settings.off_target_weight)
    return values_SM.detach(), score_S.detach(), _unit_gradient(score_S, at_SE)


def _unit_gradient(score_S: Tensor, at_SE: Tensor) -> Tensor:
    """Differentiate each person's score; the norm as a symmetric matrix is 1, or 0 where the gradient is not finite."""
    finite_S = score_S.isfinite()
    (slope_SE,) = torch.autograd.grad(torch.where(finite_S, score_S, 0.0).sum(), at_SE)
    slope_SE = torch.where((finite_S & slope_SE.isfinite().all(1))[:, None], slope_SE, 0.0)
    return slope_SE / (_SQRT2 * slope_SE.norm(dim=1, keepdim=True)).clamp_min(1e-300)
