"""From neural activity at model steps to BOLD at volume times: the canonical haemodynamic response, at each run's own times.

The response is a difference of two gamma densities with nilearn's parameters (Glover 1999; SPM), evaluated at the exact lag
between a model step and a volume: nothing is interpolated, whatever the repetition time. As in nilearn, the peak's clock starts
one sampling step after the activity, so a step's activity reaches volumes after its end only.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `N` hidden unit, `U` distinct timing of
volumes; `D` is a segment of any subject, or one of the two derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from dtb.twin.host import on_host, sent
from dtb.twin.precision import ieee

RESPONSE_SECONDS = 32.0
_Shape = tuple[float, float, float, float, float]
_SHAPES: dict[str, _Shape] = {"glover": (6.0, 12.0, 0.9, 0.9, 0.48), "spm": (6.0, 16.0, 1.0, 1.0, 0.167)}
"""Delay, undershoot, dispersion, undershoot dispersion, ratio."""
_SHIFT_SECONDS, _WIDENING = 0.1, 0.01
"""The derivatives are nilearn's: differences over these."""


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
    return _scaled(lag_seconds, step_seconds, _SHAPES[kind], 0.0, response_seconds)


def derivatives(
    lag_seconds: Tensor,
    step_seconds: float,
    kind: Literal["glover", "spm"] = "glover",
    response_seconds: float = RESPONSE_SECONDS,
) -> Tensor:
    """Evaluate the response's derivatives with respect to time and to dispersion, as nilearn takes them.

    Parameters
    ----------
    lag_seconds, step_seconds, kind, response_seconds
        As in `response`.

    Returns
    -------
    (..., 2) Tensor
        ``response + w * time derivative`` comes about ``w`` seconds earlier; ``- w * dispersion derivative`` widens the peak.
    """
    shape = _SHAPES[kind]
    delay, undershoot, dispersion, _, ratio = shape
    # nilearn widens a response whose undershoot has the dispersion 1, whatever the kind.
    narrow, wide = ((delay, undershoot, width, 1.0, ratio) for width in (dispersion, dispersion + _WIDENING))

    def at(changed: _Shape, onset_seconds: float) -> Tensor:
        return _scaled(lag_seconds, step_seconds, changed, onset_seconds, response_seconds)

    time = (at(shape, 0.0) - at(shape, _SHIFT_SECONDS)) / _SHIFT_SECONDS
    return torch.stack([time, (at(narrow, 0.0) - at(wide, 0.0)) / _WIDENING], dim=-1)


def _scaled(
    lag_seconds: Tensor, step_seconds: float, shape: _Shape, onset_seconds: float, response_seconds: float
) -> Tensor:
    """Evaluate a response that begins at `onset_seconds`, scaled to a sum of 1 over the steps."""
    num_samples = round(response_seconds / step_seconds)
    grid = torch.linspace(0.0, response_seconds, num_samples, dtype=torch.float64)
    start_seconds = step_seconds + onset_seconds
    scale = float(_gamma_difference(grid, start_seconds, shape).sum())
    inside = (lag_seconds >= 0) & (lag_seconds <= response_seconds)
    return torch.where(inside, _gamma_difference(lag_seconds, start_seconds, shape) / scale, 0.0)


def _gamma_difference(lag_seconds: Tensor, start_seconds: float, shape: _Shape) -> Tensor:
    delay, undershoot, dispersion, undershoot_dispersion, ratio = shape
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
    volume_seconds_V: Tensor,
    num_steps: int,
    step_seconds: float,
    kind: Literal["glover", "spm"],
    function: Callable[[Tensor, float, Literal["glover", "spm"]], Tensor] = response,
) -> Tensor:
    """Make the matrix that takes activity at model steps to BOLD at volumes.

    Parameters
    ----------
    volume_seconds_V : (..., V) Tensor
        Time of each volume after the beginning of step 0.
    num_steps : int
    step_seconds : float
    kind : {"glover", "spm"}
    function : {response, derivatives}

    Returns
    -------
    (..., V, T) Tensor, or (..., V, T, 2) of the derivatives
    """
    steps_T = torch.arange(num_steps, dtype=volume_seconds_V.dtype, device=volume_seconds_V.device) * step_seconds
    return function(volume_seconds_V[..., None] - steps_T, step_seconds, kind)


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
    derivative_weight_SD: Tensor | None = None,
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
    derivative_weight_SD : (S, 2) Tensor or None
        How much of the response's time and dispersion derivatives is added to it for each person; see `derivatives`.

    Returns
    -------
    (S, K, V, N) Tensor
    """
    num_subjects, num_segments, num_steps, num_hidden = hidden_SKTN.shape
    num_volumes = volume_seconds_SKV.shape[-1]
    if hidden_SKTN.numel() == 0 or num_volumes == 0:
        return hidden_SKTN.new_zeros(num_subjects, num_segments, num_volumes, num_hidden)
    # Few segments differ in the times of their volumes, and a matrix for each timing is all that is needed.
    unique_UV, which_D = torch.unique(on_host(volume_seconds_SKV).flatten(0, 1), dim=0, return_inverse=True)
    counts_U = torch.bincount(which_D, minlength=len(unique_UV)).tolist()
    order_D = sent(torch.argsort(which_D, stable=True), hidden_SKTN.device)
    unique_UV, which_D = sent(unique_UV, hidden_SKTN.device), sent(which_D, hidden_SKTN.device)
    if kind is None:
        matrix_UVT = sampling_matrix(unique_UV, num_steps, step_seconds)
    else:
        matrix_UVT = response_matrix(unique_UV, num_steps, step_seconds, kind)
    matrix_UVT = matrix_UVT.to(hidden_SKTN.dtype)
    if kind is not None and derivative_weight_SD is not None:
        change_UVTD = response_matrix(unique_UV, num_steps, step_seconds, kind, derivatives).to(hidden_SKTN.dtype)
        change_SKVTD = change_UVTD[which_D.view(num_subjects, num_segments)]
        change_SKVT = (change_SKVTD @ derivative_weight_SD[:, None, None, :, None])[..., 0]
        sampled_DVN = (matrix_UVT[which_D] + change_SKVT.flatten(0, 1)) @ hidden_SKTN.flatten(0, 1)
        return sampled_DVN.view(num_subjects, num_segments, num_volumes, num_hidden)
    by_time_TDN = hidden_SKTN.permute(2, 0, 1, 3).flatten(1, 2)
    sampled_VDN: Tensor = _ByTiming.apply(by_time_TDN, matrix_UVT, order_D, counts_U)
    return sampled_VDN.unflatten(1, (num_subjects, num_segments)).permute(1, 2, 0, 3)


class _ByTiming(torch.autograd.Function):
    """One product for all segments whose volumes come at the same times; (T, D, N) to (V, D, N), and so back."""

    @staticmethod
    def forward(ctx: Any, by_time_TDN: Tensor, matrix_UVT: Tensor, order_D: Tensor, counts_U: list[int]) -> Tensor:
        ctx.save_for_backward(matrix_UVT, order_D)
        ctx.counts_U = counts_U
        result_VDN = by_time_TDN.new_empty(matrix_UVT.shape[1], *by_time_TDN.shape[1:])
        with ieee(by_time_TDN.device.type):
            for matrix_VT, places_C in zip(matrix_UVT, order_D.split(counts_U), strict=True):
                part_TDN = by_time_TDN[:, places_C]
                result_VDN[:, places_C] = (matrix_VT @ part_TDN.flatten(1)).view(-1, *part_TDN.shape[1:])
        return result_VDN

    @staticmethod
    def backward(ctx: Any, gradient_VDN: Tensor) -> tuple[Tensor, None, None, None]:
        matrix_UVT, order_D = ctx.saved_tensors
        return _ByTiming.apply(gradient_VDN, matrix_UVT.mT, order_D, ctx.counts_U), None, None, None
