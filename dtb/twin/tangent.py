"""The tangent space of the training people's correlation matrices: how each person differs from the reference that all share.

Correlation matrices lie on a curved surface. At a reference `G`, the geometric mean of the training people, `log(G^-1/2 C G^-1/2)` lays
a person's matrix `C` out flat, so that sums and regressions of it mean something (Varoquaux et al. 2010, MICCAI; Pennec et al. 2006,
Int J Comput Vis 66). The reference is fitted, so it belongs to a division of the people, and travels with the twin.

Shape letters: `S` subject, `R` region, `E` connectome edge.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dtb.twin.edges import edges_of, matrix_of, present_regions, spectrum_exceeds

SMALLEST_EIGENVALUE = 1e-3
"""A person's matrix whose spectrum reaches below is raised to it: the logarithm of a singular matrix is infinite."""

_PEOPLE_AT_ONCE = 16
_TOLERANCE = 1e-7
_MOST_ITERATIONS = 50


class Tangent(nn.Module):
    """From connectomes to the tangent space at a reference.

    Absent regions: what is missing of a matrix is completed from what is there as the reference has it (the regression of absent on
    present regions), which leaves the matrix valid and adds nothing to its difference from the reference; the edges of absent regions
    are then absent in the tangent space too.

    Attributes
    ----------
    reference_RR : (R, R) Tensor
        Geometric mean of the training people's correlation matrices.
    whitening_RR : (R, R) Tensor
        Its inverse square root.
    mean_E, scale_E : (E,) Tensor
        Mean and standard deviation of each tangent edge over training people.
    """

    reference_RR: Tensor
    whitening_RR: Tensor
    mean_E: Tensor
    scale_E: Tensor

    def __init__(self, num_regions: int) -> None:
        super().__init__()
        num_edges = num_regions * (num_regions - 1) // 2
        self.register_buffer("reference_RR", torch.eye(num_regions))
        self.register_buffer("whitening_RR", torch.eye(num_regions))
        self.register_buffer("mean_E", torch.zeros(num_edges))
        self.register_buffer("scale_E", torch.ones(num_edges))

    @torch.no_grad()
    def set_reference(self, reference_RR: Tensor, mean_E: Tensor | None = None, scale_E: Tensor | None = None) -> None:
        """Set the reference, and with what tangent edges are standardised."""
        self.reference_RR.copy_(reference_RR)
        self.whitening_RR.copy_(_power(reference_RR.double(), -0.5))
        for own_E, given_E in ((self.mean_E, mean_E), (self.scale_E, scale_E)):
            if given_E is not None:
                own_E.copy_(given_E)

    def forward(self, connectome_SE: Tensor) -> Tensor:
        """Return (S, E) tangent edges of Fisher z edges, NaN where absent; gradients pass through.

        The diagonal of the tangent matrix is left out: the unit diagonal of a correlation matrix decides it, to first order.
        """
        matrix_SRR, absent_SE = self.matrices(connectome_SE)
        return torch.where(absent_SE, torch.nan, edges_of(matrix_SRR)).to(connectome_SE.dtype)

    def matrices(self, connectome_SE: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tangent matrices (S, R, R), float64 and complete, and which edges (S, E) are absent."""
        reference_RR, whitening_RR = self.reference_RR.double(), self.whitening_RR.double()
        matrix_SRR, present_SR, absent_SE = _correlations(connectome_SE.double(), reference_RR)
        complete_SRR = _completed(matrix_SRR, present_SR, reference_RR)
        return _Log.apply(whitening_RR @ complete_SRR @ whitening_RR), absent_SE


@torch.no_grad()
def fit_reference(connectome_SE: Tensor, num_regions: int) -> tuple[Tensor, int]:
    """Find the geometric mean of people's correlation matrices.

    Gradient descent as in Fletcher & Joshi (2007, Signal Processing 87, algorithm 3). People who lack regions are completed from the
    current reference at every step, so that each region's part is decided by those who have it; a region that nobody has correlates
    with nothing.

    Parameters
    ----------
    connectome_SE : (S, E) Tensor
        Fisher z of the training people, and no others; NaN where absent.
    num_regions : int

    Returns
    -------
    reference_RR : (R, R) float64 Tensor
    num_raised : int
        People whose matrix had eigenvalues below `SMALLEST_EIGENVALUE`.
    """
    eye_RR = torch.eye(num_regions, dtype=torch.float64)
    known_SE = ~connectome_SE.isnan()
    mean_E = torch.where(known_SE, connectome_SE, 0.0).double().tanh().sum(0) / known_SE.sum(0).clamp_min(1)
    start_RR = matrix_of(mean_E[None], num_regions)
    reference_RR = _raised(start_RR)[0]
    num_raised = 0
    tangent = Tangent(num_regions).double()
    step, smallest = 1.0, torch.inf
    for iteration in range(_MOST_ITERATIONS):
        tangent.set_reference(reference_RR)
        total_RR = torch.zeros_like(eye_RR)
        for some_SE in connectome_SE.split(_PEOPLE_AT_ONCE):
            total_RR += tangent.matrices(some_SE)[0].sum(0)
            if iteration == 0:
                own_SRR, _, _ = _correlations(some_SE.double(), reference_RR, raise_spectrum=False)
                num_raised += int((~spectrum_exceeds(own_SRR, SMALLEST_EIGENVALUE)).sum())
        mean_RR = total_RR / max(len(connectome_SE), 1)
        norm = float(torch.linalg.matrix_norm(mean_RR))
        values_R, vectors_RR = torch.linalg.eigh(mean_RR)
        root_RR = _power(reference_RR, 0.5)
        reference_RR = root_RR @ (vectors_RR * (step * values_R).exp()) @ vectors_RR.T @ root_RR
        reference_RR = 0.5 * (reference_RR + reference_RR.T)
        if norm < _TOLERANCE * num_regions**2:
            break
        if norm > smallest:
            step /= 2
        smallest = min(norm, smallest)
    return reference_RR, num_raised


def _correlations(
    connectome_SE: Tensor, reference_RR: Tensor, *, raise_spectrum: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Return correlation matrices, which regions are present and which edges are absent.

    An absent region correlates with nothing here. A single edge that is absent between two present regions, as when no run has both, is
    taken from the reference.
    """
    num_regions = len(reference_RR)
    absent_SE = connectome_SE.isnan()
    present_SR = present_regions(~absent_SE, num_regions)
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=connectome_SE.device)
    both_SE = present_SR[:, rows] & present_SR[:, columns]
    filled_SE = torch.where(both_SE, edges_of(reference_RR[None]), 0.0)
    edges_SE = torch.where(absent_SE, filled_SE, connectome_SE.nan_to_num(0.0).tanh())
    matrix_SRR = matrix_of(edges_SE, num_regions)
    return _raised(matrix_SRR) if raise_spectrum else matrix_SRR, present_SR, absent_SE


def _completed(matrix_SRR: Tensor, present_SR: Tensor, reference_RR: Tensor) -> Tensor:
    """Complete the rows of absent regions by the reference's regression of absent on present regions.

    Of all completions it has the smallest Kullback-Leibler divergence from a normal distribution with the reference as covariance.
    """
    (lacking,) = torch.nonzero(~present_SR.all(dim=1), as_tuple=True)
    if not len(lacking):
        return matrix_SRR
    present = present_SR[lacking]
    both = present[:, :, None] & present[:, None, :]
    crossed = ~present[:, :, None] & present[:, None, :]
    neither = ~present[:, :, None] & ~present[:, None, :]
    eye_RR = torch.eye(len(reference_RR), dtype=matrix_SRR.dtype, device=matrix_SRR.device)
    shared_SRR = torch.where(both, reference_RR, eye_RR)
    crossed_SRR = torch.where(crossed, reference_RR, 0.0)
    regression_SRR = torch.linalg.solve(shared_SRR, crossed_SRR.mT).mT
    spread_SRR = regression_SRR + torch.where(both, eye_RR, 0.0)
    residual_SRR = torch.where(neither, reference_RR - regression_SRR @ crossed_SRR.mT, 0.0)
    own_SRR = torch.where(both, matrix_SRR[lacking], 0.0)
    return matrix_SRR.index_copy(0, lacking, spread_SRR @ own_SRR @ spread_SRR.mT + residual_SRR)


def _raised(matrix_SRR: Tensor) -> Tensor:
    """Raise eigenvalues to `SMALLEST_EIGENVALUE` where they lie below it."""
    (low,) = torch.nonzero(~spectrum_exceeds(matrix_SRR.detach(), SMALLEST_EIGENVALUE), as_tuple=True)
    if not len(low):
        return matrix_SRR
    return matrix_SRR.index_copy(0, low, _Raise.apply(matrix_SRR[low]))


def _power(matrix_RR: Tensor, exponent: float) -> Tensor:
    values_R, vectors_RR = torch.linalg.eigh(matrix_RR)
    return (vectors_RR * values_R**exponent) @ vectors_RR.mT


class _Log(torch.autograd.Function):
    """Logarithm of symmetric positive definite matrices.

    The derivative of a function of a matrix takes divided differences of its eigenvalues (Daleckii & Krein 1965), which stay finite
    where eigenvalues coincide; the derivative of the eigenvectors does not.
    """

    @staticmethod
    def forward(ctx: Any, matrix_SRR: Tensor) -> Tensor:
        values_SR, vectors_SRR = torch.linalg.eigh(matrix_SRR)
        values_SR = values_SR.clamp_min(torch.finfo(values_SR.dtype).tiny)
        ctx.save_for_backward(values_SR, vectors_SRR)
        return (vectors_SRR * values_SR.log()[:, None, :]) @ vectors_SRR.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_SRR: Tensor) -> Tensor:
        values_SR, vectors_SRR = ctx.saved_tensors
        logs_SR = values_SR.log()
        sum_SRR = values_SR[:, :, None] + values_SR[:, None, :]
        apart_SRR = values_SR[:, :, None] - values_SR[:, None, :]
        near_SRR = apart_SRR.abs() < 1e-4 * sum_SRR
        exact_SRR = (logs_SR[:, :, None] - logs_SR[:, None, :]) / torch.where(near_SRR, 1.0, apart_SRR)
        series_SRR = 2.0 / sum_SRR * (1.0 + (apart_SRR / sum_SRR) ** 2 / 3.0)
        return _by_differences(slope_SRR, vectors_SRR, torch.where(near_SRR, series_SRR, exact_SRR))


class _Raise(torch.autograd.Function):
    """Raise eigenvalues to `SMALLEST_EIGENVALUE`; the derivative as in `_Log`."""

    @staticmethod
    def forward(ctx: Any, matrix_SRR: Tensor) -> Tensor:
        values_SR, vectors_SRR = torch.linalg.eigh(matrix_SRR)
        ctx.save_for_backward(values_SR, vectors_SRR)
        return (vectors_SRR * values_SR.clamp_min(SMALLEST_EIGENVALUE)[:, None, :]) @ vectors_SRR.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_SRR: Tensor) -> Tensor:
        values_SR, vectors_SRR = ctx.saved_tensors
        raised_SR = values_SR.clamp_min(SMALLEST_EIGENVALUE)
        apart_SRR = values_SR[:, :, None] - values_SR[:, None, :]
        kept_S1R = (values_SR > SMALLEST_EIGENVALUE).to(values_SR)
        same_SRR = apart_SRR.abs() < 1e-12
        quotient_SRR = (raised_SR[:, :, None] - raised_SR[:, None, :]) / torch.where(same_SRR, 1.0, apart_SRR)
        return _by_differences(slope_SRR, vectors_SRR, torch.where(same_SRR, kept_S1R[:, None, :], quotient_SRR))


def _by_differences(slope_SRR: Tensor, vectors_SRR: Tensor, quotient_SRR: Tensor) -> Tensor:
    turned_SRR = vectors_SRR.mT @ slope_SRR @ vectors_SRR
    result_SRR: Tensor = vectors_SRR @ (quotient_SRR * turned_SRR) @ vectors_SRR.mT
    return result_SRR
