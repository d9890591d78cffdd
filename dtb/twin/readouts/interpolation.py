"""The paper's BOLD target: each region's series at every model step, by cubic spline through the volumes.

It is here to reproduce the paper. The better model compares at the volumes themselves (`dtb.twin.readouts.haemodynamics`): interpolated
values between two volumes are no observations.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `R` BOLD region.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from dtb.twin.host import on_host, sent

MARGIN_VOLUMES = 16
"""With as many volumes on either side, the spline within a segment is that of the whole run to 1e-8: what a volume does to it falls to a
quarter from each volume to the next."""


def target_at_steps(
    bold_SKVR: Tensor, counted_SKV: Tensor, volume_seconds_SKV: Tensor, num_steps: int, step_seconds: float
) -> tuple[Tensor, Tensor]:
    """Interpolate counted volumes to the ends of the model steps.

    Parameters
    ----------
    bold_SKVR : (S, K, V, R) Tensor
        NaN where absent. A region that lacks a counted volume of a segment is left out of that segment.
    counted_SKV : (S, K, V) bool Tensor
        Which volumes exist and count.
    volume_seconds_SKV : (S, K, V) Tensor
        Time of each volume after its segment's beginning.
    num_steps : int
    step_seconds : float

    Returns
    -------
    target_SKTR : (S, K, T, R) Tensor
    counted_SKTR : (S, K, T, R) bool Tensor
        False before the first and after the last counted volume, and where a region is left out.
    """
    num_volumes = bold_SKVR.shape[2]
    device = bold_SKVR.device
    layout_SKW = torch.cat([on_host(volume_seconds_SKV).double(), on_host(counted_SKV).double()], dim=-1)
    # Few segments differ in when their volumes come, and each way needs one matrix.
    unique_UW, which_SK = torch.unique(layout_SKW.flatten(0, 1), dim=0, return_inverse=True)
    matrix_UTV = torch.zeros(len(unique_UW), num_steps, num_volumes, dtype=torch.float64)
    inside_UT = torch.zeros(len(unique_UW), num_steps, dtype=torch.bool)
    for matrix_TV, inside_T, layout_W in zip(matrix_UTV, inside_UT, unique_UW, strict=True):
        kept_V = layout_W[num_volumes:] > 0
        knots = tuple(layout_W[:num_volumes][kept_V].tolist())
        if knots:
            spline_TV, between_T = _spline_at_steps(knots, num_steps, step_seconds)
            matrix_TV[:, kept_V] = spline_TV
            inside_T.copy_(between_T)
    which_D = sent(which_SK.flatten(), device)
    seen_SKVR = torch.isfinite(bold_SKVR) & counted_SKV[..., None]
    whole_SKR = (seen_SKVR == counted_SKV[..., None]).all(2)
    clean_DVR = torch.where(seen_SKVR, bold_SKVR, 0.0).flatten(0, 1)
    target_DTR = sent(matrix_UTV.to(clean_DVR.dtype), device)[which_D] @ clean_DVR
    counted_DTR = sent(inside_UT, device)[which_D][..., None] & whole_SKR.flatten(0, 1)[:, None]
    shape = bold_SKVR.shape[:2]
    return target_DTR.unflatten(0, shape), counted_DTR.unflatten(0, shape)


@lru_cache(maxsize=128)
def _spline_at_steps(knots: tuple[float, ...], num_steps: int, step_seconds: float) -> tuple[Tensor, Tensor]:
    """Return the matrix from volumes at these times to the ends of the steps, and which steps end between the first and the last.

    Batches of one cohort share few timings, and each is solved for once.
    """
    knots_V = torch.tensor(knots, dtype=torch.float64)
    ends_T = (torch.arange(num_steps, dtype=torch.float64) + 1.0) * step_seconds
    between_T = (ends_T >= knots_V[0] - 1e-6) & (ends_T <= knots_V[-1] + 1e-6)
    # Times are float32 in a batch: after minutes they are some microseconds off.
    if len(knots) == num_steps and torch.allclose(knots_V, ends_T, rtol=0.0, atol=1e-5):
        return torch.eye(
            num_steps, dtype=torch.float64
        ), between_T  # the series is there at the very times that are wanted
    return spline_matrix(knots_V, ends_T), between_T


def spline_matrix(volume_seconds_V: Tensor, at_seconds_T: Tensor) -> Tensor:
    """Make the matrix that takes volumes to other times by cubic spline interpolation, as the paper makes its targets.

    Parameters
    ----------
    volume_seconds_V : (V,) Tensor
        Rising times of the volumes.
    at_seconds_T : (T,) Tensor
        Where to interpolate; beyond the volumes the first or last cubic goes on.

    Returns
    -------
    (T, V) float64 Tensor
        The spline has no third-derivative jump at the second and the last but one volume ("not-a-knot", as in SciPy). With fewer
        than four volumes it is the polynomial through them.
    """
    knots_V = volume_seconds_V.double()
    num_volumes = len(knots_V)
    at_T = at_seconds_T.double()
    if num_volumes < 4:
        return _polynomial_matrix(knots_V, at_T)
    # Truncated powers at the inner knots, times from the first volume on: the space of not-a-knot cubic splines.
    scale = (knots_V[-1] - knots_V[0]) / (num_volumes - 1)
    inner_B = (knots_V[2:-2] - knots_V[0]) / scale

    def basis(times: Tensor) -> Tensor:
        since = (times - knots_V[0]) / scale
        powers = torch.stack([torch.ones_like(since), since, since**2, since**3], dim=-1)
        return torch.cat([powers, (since[:, None] - inner_B).clamp_min(0.0) ** 3], dim=-1)

    return torch.linalg.solve(basis(knots_V).T, basis(at_T).T).T


def _polynomial_matrix(knots_V: Tensor, at_T: Tensor) -> Tensor:
    rows = torch.ones(len(at_T), len(knots_V), dtype=torch.float64, device=knots_V.device)
    for own, knot in enumerate(knots_V):
        for other, place in enumerate(knots_V):
            if other != own:
                rows[:, own] *= (at_T - place) / (knot - place)
    return rows
