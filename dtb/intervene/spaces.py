"""What an intervention may change: any edge, a few edges, or the gains of a few regions.

A space turns parameters into a change of the correlations and brings parameters back among those whose change is allowed: a valid
correlation matrix, within the budget, with no more edges or regions than given. All of it holds after every step, exactly. Parameters
are scaled so that their Euclidean norm is, to first order, the Frobenius norm of the change.

Shape letters: `S` subject, `R` region, `E` connectome edge, `P` parameter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dtb.config import InterveneConfig
from dtb.intervene.constraints import (
    change_along,
    correlations,
    fisher_z,
    is_correlation,
    nearest_correlation,
    nearest_supported_change,
    off_diagonal_norm,
    retract,
    within_budget,
)
from dtb.twin.edges import edges_of, matrix_of, spectrum_exceeds

SMALLEST_EIGENVALUE = 1e-7
"""Bound on the spectrum of a person's matrix: about what rounding to float32 leaves of a singular one. It is so small that a change which
is valid on the repaired matrix is valid to `TOLERANCE` on the person's own."""

_PROJECTIONS = 5
"""Alternating projections in a step: what is left is removed by rescaling, so that every result is valid."""
_SQRT2 = 2.0**0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """People before any change.

    Attributes
    ----------
    base_SRR : (S, R, R) float64 Tensor
        The correlation matrix made of each person's estimated one by `retract`: what changes are changes of.
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
    def of(cls, connectome_SE: Tensor, num_regions: int, budget: float, retest_sd_E: Tensor | None = None) -> Start:
        """Return people with valid matrices.

        Parameters
        ----------
        connectome_SE : (S, E) Tensor
            Fisher z.
        num_regions : int
        budget : float
            Share of the norm off the diagonal; or, with `retest_sd_E`, of the norm of a change that moves each edge by this much.
        retest_sd_E : (E,) Tensor, optional
            Standard deviations in Fisher z; an edge of which it is NaN counts with the median of the others.
        """
        own_SRR, present_SR = correlations(connectome_SE, num_regions)
        base_SRR = retract(own_SRR, smallest_eigenvalue=SMALLEST_EIGENVALUE)
        start = cls(base_SRR, present_SR, torch.linalg.matrix_norm(base_SRR - own_SRR), off_diagonal_norm(base_SRR))
        if retest_sd_E is not None:
            known_E = retest_sd_E.double().to(base_SRR.device)
            known_E = torch.where(known_E.isfinite(), known_E, known_E.nanmedian())
            # A step of Fisher z is so much smaller a step of the correlation.
            step_SE = start.masked((1.0 - edges_of(base_SRR) ** 2) * known_E)
            start = dataclasses.replace(start, budget_S=_SQRT2 * step_SE.norm(dim=1))
        return dataclasses.replace(start, budget_S=budget * start.budget_S)

    def is_singular(self) -> Tensor:
        """Return whose matrix is singular, (S,) bool: then a change of a few entries leaves no correlation matrix.

        A change that touches few entries moves the null space both ways, and so makes an eigenvalue negative, however small it is.
        """
        return ~spectrum_exceeds(self.base_SRR, 10.0 * SMALLEST_EIGENVALUE)

    @property
    def num_edges(self) -> int:
        """E."""
        num_regions = self.present_SR.shape[1]
        return num_regions * (num_regions - 1) // 2

    def repeat(self, times: int) -> Start:
        """Return several copies of the people, one after another."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return Start(*(value.repeat(times, *[1] * (value.ndim - 1)) for value in values))

    def connectome(self, change_SE: Tensor) -> Tensor:
        """Return the changed connectome as the twin reads it; gradients pass to the change."""
        return fisher_z(edges_of(self.base_SRR) + change_SE, self.present_SR)

    def along(self, direction_SE: Tensor, norm_S: Tensor) -> Tensor:
        """Return a valid change along a direction, of a given norm."""
        num_regions = self.present_SR.shape[1]
        direction_SRR = matrix_of(self.masked(direction_SE.double()), num_regions, diagonal=0.0)
        change_SRR = change_along(self.base_SRR, direction_SRR, norm_S, smallest_eigenvalue=SMALLEST_EIGENVALUE)
        return self.masked(edges_of(change_SRR))

    def scaled(self, gains_SR: Tensor) -> Tensor:
        """Return the change (S, E) that multiplies each region's correlations by its gain: that of i and j becomes `g_i g_j C_ij`."""
        rows, columns = _pairs(gains_SR.shape[1], gains_SR.device)
        return self.masked((gains_SR[:, rows] * gains_SR[:, columns] - 1.0) * edges_of(self.base_SRR))

    def masked(self, edges_SE: Tensor) -> Tensor:
        """Set the edges of absent regions to exactly 0."""
        rows, columns = _pairs(self.present_SR.shape[1], edges_SE.device)
        return torch.where(self.present_SR[:, rows] & self.present_SR[:, columns], edges_SE, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceCohort:
    """How connectomes differ between people, from a sample of them.

    A network may react to patterns of edges in which no two people differ, because nothing in training told it not to; the steepest
    slope points there, and what is found along it is true of the network alone. Weighting the slope with the covariance over people
    asks instead for the change that helps most for how far it takes a person from the others (the step from a model's weights to its
    pattern: Haufe et al., NeuroImage 87, 2014).

    Attributes
    ----------
    edges_QE : (Q, E) float64 Tensor
        Standardised Fisher z of Q people, 0 where absent, their mean removed.
    scale_E : (E,) float64 Tensor
        What Fisher z was divided by.
    """

    edges_QE: Tensor
    scale_E: Tensor

    def weigh(self, slope_SE: Tensor, correlation_SE: Tensor) -> Tensor:
        """Return slopes with respect to the correlations, weighted."""
        # From correlations to standardised Fisher z and back.
        stretch_SE = (1.0 - correlation_SE**2) * self.scale_E
        return stretch_SE * ((stretch_SE * slope_SE) @ self.edges_QE.T @ self.edges_QE)


@dataclasses.dataclass(frozen=True, eq=False)
class Reach:
    """How far from the cohort a changed connectome may lie.

    Attributes
    ----------
    distance : callable
        From connectomes (S, E), Fisher z, to distances (S,).
    limit_S : (S,) float64 Tensor
        Largest distance; whoever lies farther to begin with may stay as far.
    """

    distance: Callable[[Tensor], Tensor]
    limit_S: Tensor

    @classmethod
    def of(cls, start: Start, distance: Callable[[Tensor], Tensor], max_distance: float) -> Reach:
        """Return the limits, at least each person's own distance."""
        own_S = distance(start.connectome(torch.zeros_like(edges_of(start.base_SRR))))
        return cls(distance, own_S.clamp_min(max_distance))

    def holds(self, connectome_SE: Tensor) -> Tensor:
        """Return who lies within the limit, (S,) bool."""
        return self.distance(connectome_SE) <= self.limit_S


class Space(Protocol):
    """A family of changes of some people's connectomes."""

    @property
    def num_parameters(self) -> int:
        """P."""

    def change(self, parameter_SP: Tensor) -> Tensor:
        """Return the (S, E) change of the correlations; differentiable. Parameters of 0 change nothing."""

    def admit(self, parameter_SP: Tensor) -> Tensor:
        """Return the nearest allowed parameters."""

    def steer(self, parameter_SP: Tensor, slope_SP: Tensor) -> Tensor:
        """Return the part of a slope that a step may use, without what `admit` would drop."""


class EdgeSpace:
    """Any edge may change, or no more than `num_edges` of them.

    Parameters
    ----------
    start : Start
    num_edges : int or None
    cohort : ReferenceCohort or None
        Where given, steps go where people differ.
    reach : Reach or None
    """

    def __init__(
        self,
        start: Start,
        num_edges: int | None = None,
        cohort: ReferenceCohort | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._start = start
        self._num_edges = num_edges
        self._cohort = cohort
        self._reach = reach

    @property
    def num_parameters(self) -> int:
        """One an edge."""
        return self._start.num_edges

    def change(self, parameter_SP: Tensor) -> Tensor:
        """Each edge counts twice in the norm of a symmetric matrix."""
        return parameter_SP / _SQRT2

    def steer(self, parameter_SP: Tensor, slope_SP: Tensor) -> Tensor:
        """Return the slope on edges that have changed and on the steepest ones."""
        if self._cohort is not None:
            slope_SP = self._cohort.weigh(slope_SP, edges_of(self._start.base_SRR))
        return slope_SP if self._num_edges is None else _steepest(parameter_SP, slope_SP, self._num_edges)

    def admit(self, parameter_SP: Tensor) -> Tensor:
        """Return a projection onto the valid matrices, with the largest changes if only some are allowed, within budget and reach."""
        start, num_regions = self._start, self._start.present_SR.shape[1]
        change_SE = start.masked(self.change(parameter_SP))
        change_SRR = matrix_of(change_SE, num_regions, diagonal=0.0)
        if self._num_edges is None:
            proposed_SRR = nearest_correlation(
                start.base_SRR + change_SRR, smallest_eigenvalue=SMALLEST_EIGENVALUE, max_iterations=_PROJECTIONS
            )
        else:
            free_SE = _largest(change_SE, self._num_edges)
            free_SRR = matrix_of(free_SE.double(), num_regions, diagonal=0.0) > 0
            proposed_SRR = start.base_SRR + nearest_supported_change(
                start.base_SRR,
                change_SRR,
                free_SRR,
                smallest_eigenvalue=SMALLEST_EIGENVALUE,
                max_iterations=_PROJECTIONS,
            )
        allowed_SE = start.masked(edges_of(within_budget(start.base_SRR, proposed_SRR, start.budget_S)))
        if self._num_edges is not None:
            allowed_SE = torch.where(free_SE, allowed_SE, 0.0)
        admitted_SP = _SQRT2 * allowed_SE
        reach = self._reach
        if reach is None:
            return admitted_SP
        # Between two correlation matrices lie only correlation matrices, so that a shorter change is as valid.
        return _shortened(admitted_SP, lambda shorter_SP: reach.holds(start.connectome(self.change(shorter_SP))))


class GainSpace:
    """The correlations of at most `num_regions` regions are scaled, as a stimulator or a drug at those regions would.

    With gains `g` the correlation of regions i and j becomes `g_i g_j C_ij`. Gains of at most 1 always leave a correlation matrix;
    larger ones are held back until one is left. A singular matrix leaves no room for them at all: there, gains are only lowered.

    Parameters
    ----------
    start : Start
    num_regions : int
    reach : Reach or None
    among_R : (R,) bool Tensor or None
        Regions whose gains may change; all of them if None.
    """

    def __init__(
        self, start: Start, num_regions: int, reach: Reach | None = None, among_R: Tensor | None = None
    ) -> None:
        self._start = start
        self._num_regions = num_regions
        self._reach = reach
        self._ceiling_S1 = torch.where(start.is_singular(), 0.0, torch.inf)[:, None].to(start.budget_S)
        self._may_change_SR = start.present_SR if among_R is None else start.present_SR & among_R
        off_SRR = start.base_SRR - torch.diag_embed(start.base_SRR.diagonal(dim1=1, dim2=2))
        # A gain of 1 + x changes row and column, and so moves the matrix by x times the norm of both.
        self._norm_SR = (_SQRT2 * off_SRR.norm(dim=2)).clamp_min(1e-6)

    @property
    def num_parameters(self) -> int:
        """One a region."""
        return self._start.present_SR.shape[1]

    def gains(self, parameter_SP: Tensor) -> Tensor:
        """Return the factor of each region's correlations, (S, R), never less than 0."""
        return (1.0 + parameter_SP / self._norm_SR).clamp_min(0.0)

    def change(self, parameter_SP: Tensor) -> Tensor:
        """Scale both regions of each edge."""
        return self._start.scaled(self.gains(parameter_SP))

    def steer(self, parameter_SP: Tensor, slope_SP: Tensor) -> Tensor:
        """Return the slope on regions whose gain has changed and on the steepest ones."""
        is_stuck_SP = (parameter_SP >= self._ceiling_S1) & (slope_SP > 0)
        free_SP = torch.where(self._may_change_SR & ~is_stuck_SP, slope_SP, 0.0)
        return _steepest(parameter_SP, free_SP, self._num_regions)

    def admit(self, parameter_SP: Tensor) -> Tensor:
        """Return gains of the regions that change most, shortened until budget, reach and validity allow them."""
        present_SP = torch.where(self._may_change_SR, parameter_SP.minimum(self._ceiling_S1), 0.0)
        kept_SP = torch.where(_largest(present_SP, self._num_regions), present_SP, 0.0)
        return _shortened((self.gains(kept_SP) - 1.0) * self._norm_SR, self._is_allowed)

    def _is_allowed(self, parameter_SP: Tensor) -> Tensor:
        change_SE = self.change(parameter_SP)
        within_S = _SQRT2 * change_SE.norm(dim=1) <= self._start.budget_S
        if self._reach is not None:
            within_S &= self._reach.holds(self._start.connectome(change_SE))
        change_SRR = matrix_of(change_SE, self._start.present_SR.shape[1], diagonal=0.0)
        return within_S & is_correlation(self._start.base_SRR + change_SRR)


def make_space(
    start: Start,
    settings: InterveneConfig,
    cohort: ReferenceCohort | None = None,
    reach: Reach | None = None,
    among_R: Tensor | None = None,
) -> Space:
    """Make the space that the configuration names; `cohort` is used where steps are to go where people differ."""
    if settings.space == "regions":
        return GainSpace(start, settings.max_regions, reach, among_R)
    return EdgeSpace(
        start,
        settings.max_edges if settings.space == "sparse" else None,
        cohort if settings.metric == "cohort" else None,
        reach,
    )


def _shortened(parameter_SP: Tensor, is_allowed: Callable[[Tensor], Tensor]) -> Tensor:
    """Return parameters shortened towards no change until they are allowed, by bisection."""
    whole_S = is_allowed(parameter_SP)
    low_S, high_S = torch.zeros_like(parameter_SP[:, 0]), torch.ones_like(parameter_SP[:, 0])
    if not whole_S.all():
        for _ in range(20):
            middle_S = 0.5 * (low_S + high_S)
            fits_S = is_allowed(middle_S[:, None] * parameter_SP)
            low_S, high_S = torch.where(fits_S, middle_S, low_S), torch.where(fits_S, high_S, middle_S)
    return torch.where(whole_S, 1.0, low_S)[:, None] * parameter_SP


def _largest(values_SP: Tensor, num: int) -> Tensor:
    """(S, P) bool: the `num` entries of largest magnitude in each row, zeros never among them."""
    num = min(num, values_SP.shape[1])
    places = values_SP.abs().topk(num, dim=1).indices
    chosen_SP = torch.zeros_like(values_SP, dtype=torch.bool).scatter_(
        1, places, torch.ones_like(places, dtype=torch.bool)
    )
    return chosen_SP & (values_SP != 0)


def _steepest(parameter_SP: Tensor, slope_SP: Tensor, num: int) -> Tensor:
    return torch.where(_largest(slope_SP, num) | (parameter_SP != 0), slope_SP, 0.0)


def _pairs(num_regions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=device)
    return rows, columns
