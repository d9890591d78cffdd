"""Control directions in the connectome, which a search must beat at the same norm.

- the published method: the direction of the generated parameters that goes with the indicator over people (first component of a
  partial least squares regression), and its smoothed gradient with respect to the connectome;
- a ridge regression from connectomes to observed behaviour: its weights as slopes, without any twin.

Shape letters: `S` subject, `E` connectome edge, `P` generated parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dtb.intervene.spaces import Start

SMOOTHING_SAMPLES = 100
SMOOTHING_NOISE = 0.1
"""Samples, and noise in standard deviations of each edge, of the published method's SmoothGrad."""


def pls_direction(parameters_SP: np.ndarray, indicator_S: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the first direction of a partial least squares regression of an indicator on generated parameters.

    Parameters
    ----------
    parameters_SP : (S, P) ndarray
    indicator_S : (S,) ndarray
        Without NaN.

    Returns
    -------
    direction_P : (P,) float64 ndarray
        Of norm 1; the indicator grows along it. All 0 if nothing varies.
    spread : float
        Standard deviation of people along it.

    Examples
    --------
    >>> pls_direction(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), np.array([3.0, 2.0, 1.0]))
    (array([-1.,  0.]), 1.0)
    """
    centred_SP = parameters_SP.astype(np.float64) - parameters_SP.mean(0, dtype=np.float64)
    direction_P = centred_SP.T @ (indicator_S - indicator_S.mean())
    length = float(np.linalg.norm(direction_P))
    if length == 0.0:
        return direction_P, 0.0
    direction_P /= length
    return direction_P, float((centred_SP @ direction_P).std(ddof=1))


def smooth_gradient(
    parameters_of: Callable[[Tensor], Tensor],
    start: Start,
    direction_P: Tensor,
    edge_scale_E: Tensor,
    seeds: Sequence[int],
    num_samples: int = SMOOTHING_SAMPLES,
) -> Tensor:
    """Return the gradient of the position along a direction of the parameters, averaged over noisy connectomes.

    Parameters
    ----------
    parameters_of : callable
        From connectomes (S, E) to generated parameters (S, P), differentiable.
    start : Start
    direction_P : (P,) Tensor
    edge_scale_E : (E,) Tensor
        Standard deviation of each edge between people.
    seeds : sequence of int
        One a person, for the noise.
    num_samples : int

    Returns
    -------
    (S, E) float64 Tensor
        With respect to the correlations.
    """
    sum_SE = start.budget_S.new_zeros(len(seeds), start.num_edges)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for _ in range(num_samples):
        noise_SE = torch.stack([torch.randn(start.num_edges, generator=own, dtype=torch.float64) for own in generators])
        at_SE = torch.zeros_like(sum_SE).requires_grad_()
        given_SE = start.connectome(at_SE) + SMOOTHING_NOISE * edge_scale_E.double() * noise_SE.to(sum_SE)
        position_S = parameters_of(given_SE).double() @ direction_P.double()
        (slope_SE,) = torch.autograd.grad(position_S.sum(), at_SE)
        sum_SE += slope_SE.nan_to_num(0.0)
    return sum_SE / num_samples


def correlation_slope(start: Start, weights_E: Tensor) -> Tensor:
    """Return each person's slope with respect to the correlations, (S, E), from weights of Fisher z."""
    at_SE = start.budget_S.new_zeros(len(start.budget_S), start.num_edges).requires_grad_()
    (slope_SE,) = torch.autograd.grad((start.connectome(at_SE).nan_to_num(0.0) * weights_E).sum(), at_SE)
    return slope_SE
