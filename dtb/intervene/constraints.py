"""The constraints on a changed connectome: a correlation matrix, not too far from the person's own.

The set of correlation matrices is convex. A change `D` that makes a valid matrix `C + D` therefore stays valid when it is
shortened, `C + tD` with `0 <= t <= 1`, and so the budget is kept exactly by scaling back after the projection, never by a penalty.
Everything is float64 and batched over people; each person's result is the same whoever else is in the batch.

Shape letters: `S` subject, `R` region, `E` connectome edge.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dtb.twin.edges import matrix_of, present_regions, spectrum_exceeds

TOLERANCE = 1e-6
_LARGEST_CORRELATION = 1.0 - 1e-7


def correlations(connectome_SE: Tensor, num_regions: int) -> tuple[Tensor, Tensor]:
    """Return the correlation matrices of Fisher z upper triangles.

    Parameters
    ----------
    connectome_SE : (S, E)
        Fisher z, row by row; NaN on every edge of an absent region.
    num_regions : int
        R, with E = R (R - 1) / 2.

    Returns
    -------
    matrix_SRR : (S, R, R) float64
        Unit diagonal; an absent region correlates with nothing.
    present_SR : (S, R) bool

    Raises
    ------
    ValueError
        An edge is NaN although both of its regions are present.
    """
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=connectome_SE.device)
    known_SE = ~connectome_SE.isnan()
    present_SR = present_regions(known_SE, num_regions)
    if not torch.equal(known_SE, present_SR[:, rows] & present_SR[:, columns]):
        raise ValueError("a connectome has an edge without a value between two regions that have other edges")
    edges_SE = torch.where(known_SE, connectome_SE.double().tanh(), 0.0)
    return matrix_of(edges_SE, num_regions), present_SR


def fisher_z(correlation_SE: Tensor, present_SR: Tensor) -> Tensor:
    """Return the connectome that the twin reads: Fisher z, NaN on the edges of absent regions; gradients pass through."""
    num_regions = present_SR.shape[1]
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=present_SR.device)
    known_SE = present_SR[:, rows] & present_SR[:, columns]
    bounded_SE = correlation_SE.clamp(-_LARGEST_CORRELATION, _LARGEST_CORRELATION)
    return torch.where(known_SE, bounded_SE.atanh(), torch.nan)


def nearest_correlation(
    matrix_SRR: Tensor, *, smallest_eigenvalue: float = 0.0, tolerance: float = 1e-9, max_iterations: int = 200
) -> Tensor:
    """Return the correlation matrices nearest to symmetric matrices, in Frobenius norm.

    Alternating projections onto the cone and onto the unit diagonal with Dykstra's correction (Higham, IMA Journal of
    Numerical Analysis 22, 2002, algorithm 3.3), then one clip and rescale, so that what is returned is valid to rounding even
    where `max_iterations` ended the iteration early.

    Parameters
    ----------
    matrix_SRR : (S, R, R) float64
        Symmetric. A region that correlates with nothing stays so, to rounding.
    smallest_eigenvalue : float
        Bound on the eigenvalues from below, in [0, 1).
    tolerance : float
        Relative distance between the two projections at which a person's iteration ends.
    max_iterations : int
        Iterations at most.

    Returns
    -------
    (S, R, R) float64
        Exactly symmetric, diagonal exactly 1, eigenvalues at least `smallest_eigenvalue` up to rounding.
    """
    current_SRR = _alternate(
        _with_unit_diagonal(matrix_SRR),
        lambda positive, _: _with_unit_diagonal(positive),
        smallest_eigenvalue,
        tolerance,
        max_iterations,
    )
    return retract(current_SRR, smallest_eigenvalue=smallest_eigenvalue)


def nearest_supported_change(
    base_SRR: Tensor,
    change_SRR: Tensor,
    free_SRR: Tensor,
    *,
    smallest_eigenvalue: float = 0.0,
    tolerance: float = 1e-9,
    max_iterations: int = 200,
) -> Tensor:
    """Return the nearest changes that alter only free entries and leave a correlation matrix.

    The same iteration as `nearest_correlation`, with the fixed entries restored beside the diagonal. What is left over when it ends is
    removed by shortening: the smallest eigenvalue of `C + tD` is concave in `t`, so that `t` can be given in closed form.

    Parameters
    ----------
    base_SRR : (S, R, R) float64
        Correlation matrices.
    change_SRR : (S, R, R) float64
        Symmetric.
    free_SRR : (S, R, R) bool
        Symmetric; entries that may change. The diagonal never does.
    smallest_eigenvalue, tolerance, max_iterations
        As in `nearest_correlation`.

    Returns
    -------
    (S, R, R) float64
        The change `D`, exactly 0 wherever it is not free, with `base + D` a correlation matrix.
    """
    diagonal_RR = torch.eye(base_SRR.shape[-1], dtype=torch.bool, device=base_SRR.device)
    free_SRR = free_SRR & ~diagonal_RR
    current_SRR = _alternate(
        torch.where(free_SRR, base_SRR + change_SRR, base_SRR),
        lambda positive, people: torch.where(free_SRR[people], 0.5 * (positive + positive.mT), base_SRR[people]),
        smallest_eigenvalue,
        tolerance,
        max_iterations,
    )
    return shorten_until_positive(base_SRR, current_SRR - base_SRR)


def _alternate(
    current_SRR: Tensor,
    restore: Callable[[Tensor, Tensor], Tensor],
    smallest_eigenvalue: float,
    tolerance: float,
    max_iterations: int,
) -> Tensor:
    """Return projections onto the cone and an affine set (`restore(matrices, places of their people)`), by Dykstra's algorithm."""
    correction_SRR = torch.zeros_like(current_SRR)
    active = torch.nonzero(~_is_positive(current_SRR, smallest_eigenvalue)).flatten()
    for _ in range(max_iterations):
        if not len(active):
            break
        shifted = current_SRR[active] - correction_SRR[active]
        positive = _clip_spectrum(shifted, smallest_eigenvalue)
        correction_SRR[active] = positive - shifted
        restored = restore(positive, active)
        current_SRR[active] = restored
        apart = torch.linalg.matrix_norm(restored - positive)
        active = active[apart > tolerance * torch.linalg.matrix_norm(restored)]
    return current_SRR


def shorten_until_positive(base_SRR: Tensor, change_SRR: Tensor) -> Tensor:
    """Return changes shortened until no eigenvalue of `base + change` is negative; valid ones are unchanged."""
    change_SRR = change_SRR.clone()
    invalid = torch.nonzero(~_is_positive(base_SRR + change_SRR, 0.0)).flatten()
    if len(invalid):
        before = torch.linalg.eigvalsh(base_SRR[invalid])[:, 0].clamp_min(0.0)
        after = torch.linalg.eigvalsh(base_SRR[invalid] + change_SRR[invalid])[:, 0].clamp_max(0.0)
        share = before / (before - after).clamp_min(1e-300)
        change_SRR[invalid] *= torch.where(after < 0, share, 1.0)[:, None, None]
    return change_SRR


def is_correlation(matrix_SRR: Tensor) -> Tensor:
    """(S,) bool: whether symmetric matrices of unit diagonal have no negative eigenvalue, to rounding."""
    return _is_positive(matrix_SRR, 0.0)


def retract(matrix_SRR: Tensor, *, smallest_eigenvalue: float = 0.0) -> Tensor:
    """Return correlation matrices by one clipping of the spectrum and one rescaling: cheap, near, but not the nearest.

    Matrices that are valid already come back unchanged. The parameter and the result are as in `nearest_correlation`.
    """
    matrix_SRR = _with_unit_diagonal(matrix_SRR)
    invalid = torch.nonzero(~_is_positive(matrix_SRR, smallest_eigenvalue)).flatten()
    if not len(invalid):
        return matrix_SRR
    positive = _clip_spectrum(matrix_SRR[invalid], smallest_eigenvalue)
    diagonal = positive.diagonal(dim1=1, dim2=2).clamp_min(1e-12)
    scale = diagonal.rsqrt()
    unit = positive * scale[:, :, None] * scale[:, None, :]
    # Rescaling may take the spectrum below the bound, but not below bound / largest diagonal element; a convex mixture with
    # the identity lifts it back.
    reached = smallest_eigenvalue / diagonal.amax(dim=1).clamp_min(1.0)
    mixture = (smallest_eigenvalue - reached) / (1.0 - reached)
    unit = _with_unit_diagonal((1.0 - mixture)[:, None, None] * unit)
    return matrix_SRR.index_copy(0, invalid, unit)


def within_budget(base_SRR: Tensor, proposed_SRR: Tensor, budget_S: Tensor) -> Tensor:
    """Return changes shortened to the budget; all matrices between two correlation matrices are correlation matrices.

    Parameters
    ----------
    base_SRR, proposed_SRR : (S, R, R) float64
        Correlation matrices.
    budget_S : (S,) float64
        Largest Frobenius norm of `proposed - base`.

    Returns
    -------
    (S, R, R) float64
        The change `D`, with `base + D` a correlation matrix and `||D|| <= budget`.
    """
    change_SRR = proposed_SRR - base_SRR
    norm_S = torch.linalg.matrix_norm(change_SRR)
    return change_SRR * (budget_S / norm_S.clamp_min(1e-300)).clamp_max(1.0)[:, None, None]


def change_along(
    base_SRR: Tensor, direction_SRR: Tensor, norm_S: Tensor, *, smallest_eigenvalue: float = 0.0, max_doublings: int = 8
) -> Tensor:
    """Return a valid change along a direction, of a given norm.

    The projection shortens a step, so the step is doubled until what is left of it is long enough, and then scaled back.

    Parameters
    ----------
    base_SRR : (S, R, R) float64
        Correlation matrices.
    direction_SRR : (S, R, R) float64
        Symmetric; its length does not matter.
    norm_S : (S,) float64
        Wanted Frobenius norm of the change.
    smallest_eigenvalue : float
        As in `nearest_correlation`.
    max_doublings : int
        A direction along which the wanted norm is not reached after so many doublings gives the longest change found.

    Returns
    -------
    (S, R, R) float64
    """
    length_S = torch.linalg.matrix_norm(direction_SRR).clamp_min(1e-300)
    unit_SRR = direction_SRR / length_S[:, None, None]
    change_SRR = torch.zeros_like(base_SRR)
    active = torch.nonzero(norm_S > 0).flatten()
    factor = 1.0
    for _ in range(max_doublings + 1):
        if not len(active):
            break
        step = factor * norm_S[active]
        # `nearest_correlation` ends with an exact repair, so a loose tolerance costs nearness only, not validity.
        moved = nearest_correlation(
            base_SRR[active] + step[:, None, None] * unit_SRR[active],
            smallest_eigenvalue=smallest_eigenvalue,
            tolerance=1e-5,
        )
        change_SRR[active] = within_budget(base_SRR[active], moved, norm_S[active])
        reached = torch.linalg.matrix_norm(moved - base_SRR[active]) >= norm_S[active]
        active = active[~reached]
        factor *= 2.0
    return change_SRR


def off_diagonal_norm(matrix_SRR: Tensor) -> Tensor:
    """Return the (S,) Frobenius norms of the matrices without their diagonals."""
    return torch.linalg.matrix_norm(matrix_SRR - torch.diag_embed(matrix_SRR.diagonal(dim1=1, dim2=2)))


def _with_unit_diagonal(matrix_SRR: Tensor) -> Tensor:
    symmetric_SRR = 0.5 * (matrix_SRR + matrix_SRR.mT)
    symmetric_SRR.diagonal(dim1=1, dim2=2).fill_(1.0)
    return symmetric_SRR


def _is_positive(matrix_SRR: Tensor, smallest_eigenvalue: float) -> Tensor:
    """(S,) bool: whether no eigenvalue is below the bound, up to rounding."""
    return spectrum_exceeds(matrix_SRR, smallest_eigenvalue - 1e-12)


def _clip_spectrum(matrix_SRR: Tensor, smallest: float) -> Tensor:
    values_SR, vectors_SRR = torch.linalg.eigh(matrix_SRR)
    return (vectors_SRR * values_SR.clamp_min(smallest)[:, None, :]) @ vectors_SRR.mT
