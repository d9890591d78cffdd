"""The compiled recurrence: as exact as float32 allows, at every instruction set, cell and odd size."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from dtb.twin.recurrence import compiled
from dtb.twin.recurrence.batched import fast_scan
from dtb.twin.recurrence.cells import CellName
from tests.twin.recurrence.test_scan import (
    CELLS,
    Case,
    disturbed_and_not,
    make_case,
    run,
    states_and_gradients,
    with_gradients,
)

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="the compiled recurrence was not built")
SIZES = [(3, 2, 7, 5), (1, 1, 40, 100), (2, 7, 12, 17), (2, 13, 6, 33), (2, 18, 5, 64), (5, 6, 3, 16), (40, 2, 3, 9)]


@pytest.mark.parametrize("level", [0, 1, 2], ids=compiled.LEVELS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("rank", [0, 2, 19])
def test_every_instruction_set_agrees_with_float64(
    rank: int, cell: CellName, sizes: tuple[int, int, int, int], level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level > compiled.level():
        pytest.skip(f"this processor has no {compiled.LEVELS[level]}")
    monkeypatch.setattr(compiled, "level", lambda: level)
    weights: Literal["full", "low_rank"] = "low_rank" if rank else "full"
    for case in disturbed_and_not(make_case(cell, weights, sizes, torch.float32, rank)):
        states = compiled.native_scan(cell, case.drive, case.recurrence, case.rate, case.noise, case.initial)
        exact = states_and_gradients(case.to(torch.float64), "reference")
        for one, two in zip(with_gradients(states, case.leaves), exact, strict=True):
            assert (one - two).abs().max() <= 3e-6 * two.abs().max()


@pytest.mark.parametrize("weights", ["full", "low_rank"])
def test_it_is_what_float32_on_a_cpu_uses(weights: str) -> None:
    case = make_case("leaky", weights, dtype=torch.float32)  # type: ignore[arg-type]
    states = run(case)
    if compiled.level() > 0:
        assert "NativeScan" in type(states.grad_fn).__name__
    batched = fast_scan(case.cell, case.drive, case.recurrence, case.rate, case.noise, case.initial)
    torch.testing.assert_close(states, batched, rtol=1e-5, atol=1e-6)


def test_the_number_of_threads_changes_nothing() -> None:
    case = make_case("gated", "full", (7, 3, 11, 9), torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 20):
            torch.set_num_threads(threads)
            results.append(states_and_gradients(case))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
    assert torch.equal(results[0][0], results[1][0])


def test_extreme_drives_saturate_and_what_is_not_a_number_stays_one() -> None:
    drive = torch.tensor([-1e30, -50.0, -1e-20, 0.0, 1e-3, 0.625, 9.0, 1e30, torch.nan])[None, None, None]
    states = run(Case("elman", drive, [torch.zeros(1, 9, 9)], None, None, torch.zeros(1, 1, 9))).flatten()
    torch.testing.assert_close(states[:-1], torch.tanh(drive.flatten()[:-1]), rtol=3e-7, atol=0)
    assert torch.isnan(states[-1])
