"""The paper's BOLD target: SciPy's cubic spline, and nothing of what is masked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from dtb.twin.readouts import interpolation
from dtb.twin.readouts.interpolation import spline_matrix, target_at_steps


@pytest.mark.parametrize("num_volumes", [4, 5, 27, 100])
def test_splines_are_scipys(num_volumes: int) -> None:
    volumes = torch.arange(num_volumes, dtype=torch.float64) * 0.8 + 0.3
    times = torch.linspace(0, num_volumes * 0.8, 97, dtype=torch.float64)
    values = np.random.default_rng(0).normal(size=(num_volumes, 2))
    expected = CubicSpline(volumes.numpy(), values)(times.numpy())
    np.testing.assert_allclose(spline_matrix(volumes, times).numpy() @ values, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_volumes", [1, 2, 3, 4, 9])
def test_polynomials_come_back_up_to_the_third_degree(num_volumes: int) -> None:
    volumes = torch.arange(num_volumes, dtype=torch.float64) * 2.0
    times = torch.linspace(0, 5, 11, dtype=torch.float64)
    degree = min(num_volumes - 1, 3)
    torch.testing.assert_close(spline_matrix(volumes, times) @ volumes**degree, times**degree)


def test_each_segment_is_interpolated_over_its_own_counted_volumes() -> None:
    seconds = torch.arange(8) * 0.8 + torch.tensor([0.0, 0.3])[:, None]
    bold = torch.stack([seconds**2, 3 * seconds], dim=-1)[None]
    counted = torch.ones(1, 2, 8, dtype=torch.bool)
    counted[0, 1, :2] = False
    target, inside = target_at_steps(bold, counted, seconds[None], 70, 0.1)
    ends = (torch.arange(70) + 1) * 0.1
    for segment, (first, last) in enumerate([(0.0, 5.6), (1.9, 5.9)]):
        within = (ends > first - 1e-4) & (ends < last + 1e-4)
        assert torch.equal(inside[0, segment, :, 0], within)
        expected = torch.stack([ends**2, 3 * ends], dim=-1)[within]
        torch.testing.assert_close(target[0, segment][within], expected, rtol=1e-4, atol=1e-4)


def test_a_region_that_lacks_a_volume_is_left_out_of_that_segment_alone() -> None:
    bold = torch.randn(1, 2, 6, 3)
    bold[0, 0, 2, 1] = torch.nan
    seconds = (torch.arange(6) * 0.8).expand(1, 2, 6)
    target, inside = target_at_steps(bold, torch.ones(1, 2, 6, dtype=torch.bool), seconds, 40, 0.1)
    assert not inside[0, 0, :, 1].any()
    assert inside[0, 0, :, 0].any()
    assert inside[0, 1, :, 1].any()
    assert torch.isfinite(target).all()


def test_a_timing_is_solved_for_once_however_many_batches_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = []

    def counting(knots_V: torch.Tensor, at_T: torch.Tensor) -> torch.Tensor:
        solved.append(len(knots_V))
        return spline_matrix(knots_V, at_T)

    monkeypatch.setattr(interpolation, "spline_matrix", counting)
    seconds = (torch.arange(9) * 0.81 + torch.tensor([0.0, 0.37])[:, None]).expand(3, 2, 9)
    counted = torch.ones(3, 2, 9, dtype=torch.bool)
    counted[:, :, 0] = False
    batches = [torch.randn(3, 2, 9, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    targets = [target_at_steps(bold, counted, seconds, 70, 0.1)[0] for bold in batches]
    assert solved == [8, 8]
    ends = (torch.arange(70, dtype=torch.float64) + 1) * 0.1
    for bold, target in zip(batches, targets, strict=True):
        for segment in range(2):
            fresh = spline_matrix(seconds[0, segment, 1:], ends).float() @ bold[:, segment, 1:]
            torch.testing.assert_close(target[:, segment], fresh, rtol=1e-5, atol=1e-5)
    target_at_steps(batches[0], counted, seconds, 71, 0.1)  # other steps are another timing
    assert solved == [8, 8, 8, 8]


def test_a_series_at_the_steps_own_ends_comes_back_to_the_last_bit() -> None:
    seconds = ((torch.arange(750) + 1) * 0.08).expand(2, 1, 750)
    bold = torch.randn(2, 1, 750, 3)
    target, inside = target_at_steps(bold, torch.ones(2, 1, 750, dtype=torch.bool), seconds, 750, 0.08)
    assert torch.equal(target, bold)
    assert inside.all()
