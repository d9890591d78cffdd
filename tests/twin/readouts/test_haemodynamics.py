"""From steps to volumes: nilearn's response at any repetition time."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from nilearn.glm.first_level import (
    glover_dispersion_derivative,
    glover_hrf,
    glover_time_derivative,
    spm_dispersion_derivative,
    spm_hrf,
    spm_time_derivative,
)

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.objective import Objective
from dtb.twin.readouts.haemodynamics import at_volumes, derivatives, response, response_matrix, sampling_matrix
from tests.twin.conftest import SIZES, make_config

REFERENCE = {"glover": glover_hrf, "spm": spm_hrf}
DERIVATIVES = {
    "glover": (glover_time_derivative, glover_dispersion_derivative),
    "spm": (spm_time_derivative, spm_dispersion_derivative),
}


@pytest.mark.parametrize("kind", ["glover", "spm"])
@pytest.mark.parametrize(("step", "seconds"), [(2.0, 20.0), (2.0, 32.0), (0.08, 32.0), (0.1, 24.0)])
def test_response_is_nilearns(kind: Literal["glover", "spm"], step: float, seconds: float) -> None:
    expected = REFERENCE[kind](step, oversampling=1, time_length=seconds)
    lags = torch.linspace(0, seconds, len(expected), dtype=torch.float64)
    np.testing.assert_allclose(response(lags, step, kind, seconds).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["glover", "spm"])
@pytest.mark.parametrize(("step", "seconds"), [(2.0, 20.0), (0.08, 32.0)])
def test_derivatives_are_nilearns(kind: Literal["glover", "spm"], step: float, seconds: float) -> None:
    lags = torch.linspace(0, seconds, round(seconds / step), dtype=torch.float64)
    found = derivatives(lags, step, kind, seconds)
    for index, reference in enumerate(DERIVATIVES[kind]):
        expected = reference(step, oversampling=1, time_length=seconds)
        np.testing.assert_allclose(found[..., index].numpy(), expected, rtol=0, atol=1e-11)


def test_each_person_has_a_response_of_their_own() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 2, 60, 4, generator=generator, dtype=torch.float64)
    volumes = torch.rand(3, 2, 5, generator=generator, dtype=torch.float64) * 6
    weights = torch.tensor([[0.0, 0.0], [0.5, -0.2], [-1.0, 0.3]], dtype=torch.float64)
    together = at_volumes(hidden, volumes, 0.1, "glover", weights)
    torch.testing.assert_close(together[0], at_volumes(hidden, volumes, 0.1, "glover")[0])
    for person in range(3):
        lags = volumes[person, ..., None] - torch.arange(60) * 0.1
        kernel = response(lags, 0.1) + derivatives(lags, 0.1) @ weights[person]
        torch.testing.assert_close(together[person], kernel @ hidden[person])


@pytest.mark.slow
def test_the_time_derivatives_weight_moves_the_peak_by_as_many_seconds() -> None:
    hidden = torch.zeros(3, 1, 500, 1, dtype=torch.float64)
    hidden[:, 0, 100] = 1.0
    volumes = torch.arange(8.0, 30.0, 0.01, dtype=torch.float64).expand(3, 1, -1)
    weights = torch.tensor([[0.0, 0.0], [0.3, 0.0], [-0.3, 0.0]], dtype=torch.float64)
    peaks = volumes[0, 0][at_volumes(hidden, volumes, 0.08, "glover", weights).flatten(1).argmax(1)]
    assert (peaks[0] - peaks[1:]).tolist() == pytest.approx([0.3, -0.3], abs=0.06)


def test_a_twin_learns_each_persons_response(batch: Batch) -> None:
    twin = Twin(make_config(hrf_derivatives=True), SIZES)
    output = twin(batch.connectome_SE, batch.stimulus_SKTI)
    assert output.hrf_weight_SD is not None
    assert (output.hrf_weight_SD[0] - output.hrf_weight_SD[1]).abs().max() > 1e-4
    bold = twin.bold(output, batch.volume_seconds_SKV)
    plain = twin.bold(output._replace(hrf_weight_SD=None), batch.volume_seconds_SKV)
    assert (bold - plain).abs().max() > 1e-5
    Objective(twin, 0.0, 1.0)(batch).total.backward()
    gradient = twin.hypernetwork.head.bias.grad
    assert gradient is not None
    assert (gradient[-2:] != 0).all()
    with pytest.raises(ValueError, match="needs `bold: hrf`"):
        make_config(hrf_derivatives=True, bold="direct")


def test_an_impulse_gives_nilearns_response_to_it() -> None:
    hidden = torch.zeros(1, 1, 30, 2, dtype=torch.float64)
    hidden[0, 0, 4, 1] = 1.0
    expected = glover_hrf(2.0, oversampling=1, time_length=32)
    volumes = 4 * 2.0 + torch.linspace(0, 32, len(expected), dtype=torch.float64)[None, None]
    bold = at_volumes(hidden, volumes, 2.0, "glover")[0, 0]
    np.testing.assert_allclose(bold[:, 1].numpy(), expected, rtol=0, atol=1e-12)
    assert bold[:, 0].abs().max() == 0


@pytest.mark.parametrize("repetition_time", [0.37, 0.8, 1.913, 2.0])
def test_volumes_at_any_time_read_nilearns_response_to_a_twentieth_of_a_step(repetition_time: float) -> None:
    step, impulse = 0.08, 37
    volumes = torch.arange(0, 40, repetition_time, dtype=torch.float64)
    hidden = torch.zeros(1, 1, 500, 1, dtype=torch.float64)
    hidden[0, 0, impulse] = 1.0
    bold = at_volumes(hidden, volumes[None, None], step, "glover").flatten().numpy()
    # nilearn's response, finely sampled and placed at the impulse's time
    fine = glover_hrf(step, oversampling=1, time_length=32)
    times = impulse * step + np.linspace(0, 32, len(fine))

    def late_by(shift: float) -> np.ndarray:
        return np.interp(volumes.numpy() - shift, times, fine, left=0, right=0)

    # How much later than nilearn's it comes, in steps: the shift that explains the difference best, which leaves next to nothing.
    slope = late_by(step / 2) - late_by(-step / 2)
    lateness = slope @ (bold - late_by(0.0)) / (slope @ slope)
    assert abs(lateness) < 0.05
    assert np.abs(bold - late_by(0.0)).max() < np.abs(late_by(0.05 * step) - late_by(0.0)).max()


def test_steady_activity_gives_steady_bold() -> None:
    steps = round(32 / 0.08) + 100
    bold = at_volumes(torch.ones(1, 1, steps, 1), torch.tensor([[[steps * 0.08]]]), 0.08, "glover")
    assert bold.item() == pytest.approx(1.0, abs=3e-3)  # nilearn's grid is longer than its steps by 1 part in 400


def test_bold_is_linear_in_activity_and_causal() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 3, 2, 40, 5, generator=generator, dtype=torch.float64)
    volumes = torch.rand(3, 2, 6, generator=generator, dtype=torch.float64) * 4
    together = at_volumes(2 * one - 3 * two, volumes, 0.1, "spm")
    apart = 2 * at_volumes(one, volumes, 0.1, "spm") - 3 * at_volumes(two, volumes, 0.1, "spm")
    torch.testing.assert_close(together, apart)
    matrix = response_matrix(torch.tensor([1.0]), 40, 0.1, "glover")
    assert matrix[0, 10:].abs().max() == 0


def test_volumes_of_different_phase_are_read_each_at_its_own_times() -> None:
    hidden = torch.randn(2, 3, 50, 4, generator=torch.Generator().manual_seed(0))
    volumes = torch.arange(5) * 0.8 + torch.tensor([[0.0, 0.31, 0.5], [0.0, 0.0, 0.31]])[..., None]
    together = at_volumes(hidden, volumes, 0.08, "glover")
    for person in range(2):
        for segment in range(3):
            one = at_volumes(hidden[person, segment][None, None], volumes[person, segment][None, None], 0.08, "glover")
            torch.testing.assert_close(together[person, segment], one[0, 0])


def test_direct_reading_is_linear_between_the_ends_of_steps() -> None:
    ends = (torch.arange(10) + 1) * 0.5
    hidden = (3 * ends + 1)[None, None, :, None]
    volumes = torch.tensor([[[0.5, 0.8, 2.0, 4.99]]])
    assert at_volumes(hidden, volumes, 0.5, None).flatten().tolist() == pytest.approx(
        (3 * volumes + 1).flatten().tolist()
    )
    torch.testing.assert_close(sampling_matrix(torch.tensor([-1.0, 0.7, 99.0]), 10, 0.5).sum(-1), torch.ones(3))
