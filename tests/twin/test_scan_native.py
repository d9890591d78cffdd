"""The compiled recurrence: as exact as float32 allows, at every instruction set, cell and odd size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dtb.twin import scan_native
from dtb.twin.cells import CellName
from dtb.twin.scan import Recurrence, scan
from dtb.twin.scan_fast import fast_scan
from tests.twin.test_scan import CELLS, Case, make_case

pytestmark = pytest.mark.skipif(scan_native.library() is None, reason="the compiled recurrence was not built")
SIZES = [(3, 2, 7, 5), (1, 1, 40, 100), (2, 7, 12, 17), (2, 13, 6, 33), (2, 18, 5, 64), (5, 6, 3, 16)]


def gradients(states: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    towards = torch.linspace(-1, 1, states.numel()).view(states.shape).to(states)
    return [states.detach(), *torch.autograd.grad((states * towards).sum(), leaves)]


def exact(case: Case) -> list[Tensor]:
    cell, drive, matrices, rate, noise = case
    leaves = [tensor for tensor in (drive, *matrices, rate) if tensor is not None]
    return gradients(scan(cell, drive, Recurrence(*matrices), rate, noise, method="reference"), leaves)


@pytest.mark.parametrize("level", [0, 1, 2], ids=scan_native.LEVELS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_every_instruction_set_agrees_with_float64(
    cell: CellName, sizes: tuple[int, int, int, int], level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level > scan_native.level():
        pytest.skip(f"this processor has no {scan_native.LEVELS[level]}")
    monkeypatch.setattr(scan_native, "level", lambda: level)
    _, drive, matrices, rate, noise = make_case(cell, "full", sizes, torch.float32)
    leaves = [tensor for tensor in (drive, *matrices, rate) if tensor is not None]
    for disturbance in (noise, None):
        native = gradients(scan_native.native_scan(cell, drive, matrices[0], rate, disturbance), leaves)
        doubles = tuple(
            None if value is None else value.detach().double() for value in (drive, matrices[0], rate, disturbance)
        )
        doubled = [None if value is None else value.requires_grad_() for value in doubles[:3]]
        assert doubled[0] is not None
        assert doubled[1] is not None
        expected = exact((cell, doubled[0], [doubled[1]], doubled[2], doubles[3]))  # type: ignore[arg-type]
        for one, two in zip(native, expected, strict=True):
            assert (one - two).abs().max() <= 3e-6 * two.abs().max()


@pytest.mark.parametrize("weights", ["full", "low_rank"])
def test_it_is_what_float32_on_a_cpu_uses(weights: str) -> None:
    cell, drive, matrices, rate, noise = make_case("leaky", weights, dtype=torch.float32)  # type: ignore[arg-type]
    recurrence = Recurrence(*matrices) if weights == "full" else Recurrence(None, *matrices)
    states = scan(cell, drive, recurrence, rate, noise)
    if scan_native.level() > 0:
        assert "NativeScan" in type(states.grad_fn).__name__
    torch.testing.assert_close(states, fast_scan(cell, drive, *recurrence, rate, noise), rtol=1e-5, atol=1e-6)


def test_the_number_of_threads_changes_nothing() -> None:
    cell, drive, matrices, rate, noise = make_case("gated", "full", (7, 3, 11, 9), torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 20):
            torch.set_num_threads(threads)
            states = scan_native.native_scan(cell, drive, matrices[0], rate, noise)
            results.append(gradients(states, [drive, *matrices]))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
    assert torch.equal(results[0][0], results[1][0])


def test_extreme_drives_saturate_and_what_is_not_a_number_stays_one() -> None:
    drive = torch.tensor([-1e30, -50.0, -1e-20, 0.0, 1e-3, 0.625, 9.0, 1e30, torch.nan])[None, None, None]
    states = scan_native.native_scan("elman", drive, torch.zeros(1, 9, 9), None, None).flatten()
    torch.testing.assert_close(states[:-1], torch.tanh(drive.flatten()[:-1]), rtol=3e-7, atol=0)
    assert torch.isnan(states[-1])
