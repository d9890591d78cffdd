"""Control directions in the connectome, which a search must beat at the same norm.

- the published method: the direction of the generated parameters that goes with the indicator over people (first component of a
  partial least squares regression), and its smoothed gradient with respect to the connectome;
- a ridge regression from connectomes to observed behaviour: its weights, without any twin.

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
_PENALTIES = np.logspace(-3, 3, 13)


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


def ridge_weights(edges_SE: np.ndarray, indicator_S: np.ndarray, family_S: np.ndarray) -> np.ndarray | None:
    """Return the weights of a ridge regression of an indicator on standardised edges, whose penalty is judged on left-out families.

    Parameters
    ----------
    edges_SE : (S, E) ndarray
        Standardised; NaN where absent.
    indicator_S : (S,) ndarray
        NaN for people who have none.
    family_S : (S,) int ndarray
        Relatives have the same number.

    Returns
    -------
    (E,) float64 ndarray or None
        Weights of the standardised edges; None with fewer than three people or without differences between them.
    """
    known_S = np.isfinite(indicator_S)
    if known_S.sum() < 3 or np.ptp(indicator_S[known_S]) == 0.0:
        return None
    features_SE = np.nan_to_num(edges_SE[known_S].astype(np.float64))
    features_SE -= features_SE.mean(0)
    target_S = indicator_S[known_S] - indicator_S[known_S].mean()
    values_S, vectors_SS = np.linalg.eigh(features_SE @ features_SE.T)
    values_S = values_S.clip(min=0.0)
    typical = values_S.mean()
    if typical == 0.0:
        return None
    families = [np.flatnonzero(family_S[known_S] == family) for family in np.unique(family_S[known_S])]
    best_S, best_error = np.zeros_like(target_S), np.inf
    for penalty in _PENALTIES * typical:
        inverse_SS = (vectors_SS / (values_S + penalty)) @ vectors_SS.T
        dual_S = inverse_SS @ target_S
        # The error of people whom a fit left out follows from the fit to all (Golub, Heath & Wahba 1979), for several at once by blocks.
        left_out = [np.linalg.solve(inverse_SS[np.ix_(who, who)], dual_S[who]) for who in families]
        error = float(sum((error_F**2).sum() for error_F in left_out))
        if error < best_error:
            best_S, best_error = dual_S, error
    return np.asarray(features_SE.T @ best_S)


def correlation_slope(start: Start, weights_E: Tensor) -> Tensor:
    """Return each person's slope with respect to the correlations, (S, E), from weights of Fisher z."""
    at_SE = start.budget_S.new_zeros(len(start.budget_S), start.num_edges).requires_grad_()
    (slope_SE,) = torch.autograd.grad((start.connectome(at_SE).nan_to_num(0.0) * weights_E).sum(), at_SE)
    return slope_SE
