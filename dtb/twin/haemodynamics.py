"""From neural activity at model steps to BOLD at volume times: the canonical haemodynamic response, at each run's own times.

The response is a difference of two gamma densities with nilearn's parameters (Glover 1999; SPM), evaluated at the exact lag
between a model step and a volume: nothing is interpolated, whatever the repetition time. As in nilearn, the peak's clock starts
one sampling step after the activity, so a step's activity reaches volumes after its end only.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `N` hidden unit.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

RESPONSE_SECONDS = 32.0
_SHAPES = {"glover": (6.0, 12.0, 0.9, 0.9, 0.48), "spm": (6.0, 16.0, 1.0, 1.0, 0.167)}
"""Delay, undershoot, dispersion, undershoot dispersion, ratio."""


def response(
    lag_seconds: Tensor,
    step_seconds: float,
    kind: Literal["glover", "spm"] = "glover",
    response_seconds: float = RESPONSE_SECONDS,
) -> Tensor:
    """Evaluate the canonical haemodynamic response to one step of activity.

    Parameters
    ----------
    lag_seconds : (...) Tensor
        Volume time minus beginning of the step.
    step_seconds : float
        Length of a model step.
    kind : {"glover", "spm"}
        Which of nilearn's canonical responses.
    response_seconds : float
        The response is 0 after this lag.

    Returns
    -------
    (...) Tensor
        Scaled as in nilearn: over one step after another the response sums to 1, so activity of 1 throughout gives BOLD of 1.

    Examples
    --------
    The function of `nilearn.glm.first_level.glover_hrf(2.0, oversampling=1, time_length=20)`, at its own sampling times:

    >>> response(torch.linspace(0, 20, 10, dtype=torch.float64), 2.0, response_seconds=20.0).numpy().round(3)
    array([ 0.   ,  0.   ,  0.226,  0.741,  0.5  ,  0.037, -0.181, -0.176,
           -0.103, -0.045])
    """
    num_samples = round(response_seconds / step_seconds)
    grid = torch.linspace(0.0, response_seconds, num_samples, dtype=torch.float64)
    scale = float(_gamma_difference(grid, step_seconds, kind).sum())
    inside = (lag_seconds >= 0) & (lag_seconds <= response_seconds)
    return torch.where(inside, _gamma_difference(lag_seconds, step_seconds, kind) / scale, 0.0)


def _gamma_difference(lag_seconds: Tensor, start_seconds: float, kind: Literal["glover", "spm"]) -> Tensor:
    delay, undershoot, dispersion, undershoot_dispersion, ratio = _SHAPES[kind]
    since = (lag_seconds - start_seconds).clamp_min(0.0)
    peak = _gamma_density(since, delay / dispersion, dispersion)
    return peak - ratio * _gamma_density(since, undershoot / undershoot_dispersion, undershoot_dispersion)


def _gamma_density(time: Tensor, shape: float, scale: float) -> Tensor:
    constant = torch.lgamma(torch.tensor(shape, dtype=torch.float64)).item()
    scaled = time / scale
    return (
        torch.exp(
            torch.xlogy(torch.tensor(shape - 1.0, dtype=time.dtype, device=time.device), scaled) - scaled - constant
        )
        / scale
    )


def response_matrix(
    volume_seconds_V: Tensor, num_steps: int, step_seconds: float, kind: Literal["glover", "spm"]
) -> Tensor:
    """Make the matrix that takes activity at model steps to BOLD at volumes.

    Parameters
    ----------
    volume_seconds_V : (..., V) Tensor
        Time of each volume after the beginning of step 0.
    num_steps : int
    step_seconds : float
    kind : {"glover", "spm"}

    Returns
    -------
    (..., V, T) Tensor
    """
    steps_T = torch.arange(num_steps, dtype=volume_seconds_V.dtype, device=volume_seconds_V.device) * step_seconds
    return response(volume_seconds_V[..., None] - steps_T, step_seconds, kind)


def sampling_matrix(volume_seconds_V: Tensor, num_steps: int, step_seconds: float) -> Tensor:
    """Make the matrix that reads states at volume times, linearly between the ends of the two steps around each.

    Parameters
    ----------
    volume_seconds_V : (..., V) Tensor
        Time of each volume after the beginning of step 0.
    num_steps : int
    step_seconds : float

    Returns
    -------
    (..., V, T) Tensor
        Rows sum to 1; a volume before the first step's end, or after the last one's, reads that step.
    """
    position_V = (volume_seconds_V / step_seconds - 1.0).clamp(0.0, max(num_steps - 1.0, 0.0))
    steps_T = torch.arange(num_steps, dtype=volume_seconds_V.dtype, device=volume_seconds_V.device)
    return (1.0 - (position_V[..., None] - steps_T).abs()).clamp_min(0.0)


def at_volumes(
    hidden_SKTN: Tensor,
    volume_seconds_SKV: Tensor,
    step_seconds: float,
    kind: Literal["glover", "spm"] | None,
) -> Tensor:
    """Take states at model steps to volume times.

    Parameters
    ----------
    hidden_SKTN : (S, K, T, N) Tensor
    volume_seconds_SKV : (S, K, V) Tensor
        Time of each volume after the segment's beginning.
    step_seconds : float
    kind : {"glover", "spm"} or None
        Haemodynamic response; None reads the states directly.

    Returns
    -------
    (S, K, V, N) Tensor
    """
    num_subjects, num_segments, num_steps, num_hidden = hidden_SKTN.shape
    num_volumes = volume_seconds_SKV.shape[-1]
    if hidden_SKTN.numel() == 0 or num_volumes == 0:
        return hidden_SKTN.new_zeros(num_subjects, num_segments, num_volumes, num_hidden)
    # Few segments differ in the phase of their volumes, and a matrix per phase is all that is needed.
    unique_UV, which_SK = torch.unique(volume_seconds_SKV.flatten(0, 1), dim=0, return_inverse=True)
    if kind is None:
        matrix_UVT = sampling_matrix(unique_UV, num_steps, step_seconds)
    else:
        matrix_UVT = response_matrix(unique_UV, num_steps, step_seconds, kind)
    matrix_UVT = matrix_UVT.to(hidden_SKTN.dtype)
    flat_DTN = hidden_SKTN.flatten(0, 1)
    matrix_DVT = matrix_UVT[0] if len(unique_UV) == 1 else matrix_UVT[which_SK.flatten()]
    sampled_DVN = matrix_DVT @ flat_DTN
    return sampled_DVN.view(num_subjects, num_segments, num_volumes, num_hidden)
