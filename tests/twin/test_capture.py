"""Recorded loops: what is replayed is what is called, in float32 arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dtb.twin import capture
from dtb.twin.capture import MOST_GRAPHS, Tensors, replayed
from dtb.twin.precision import ieee
from tests.twin.test_scan import CELLS, make_case, states_and_gradients


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_products_are_float32_within_and_as_before_afterwards() -> None:
    torch.set_float32_matmul_precision("medium")

    def look(_static: object, tensors: Tensors) -> Tensors:
        assert torch.get_float32_matmul_precision() == "highest"
        return tensors

    given = [torch.ones(2), None]
    assert replayed(look, "elman", given) is given
    with pytest.raises(KeyError), ieee("cpu"):
        raise KeyError
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_replaying_agrees_with_float64_for_each_new_input(cell: str, weights: str) -> None:
    for repeat in range(4):
        case = make_case(cell, weights, (3, 2, 9, 150), torch.float32)  # type: ignore[arg-type]
        case = case._replace(drive=(case.drive.detach() * (1 + repeat)).requires_grad_())
        exact = states_and_gradients(case.to(torch.float64), "reference")
        found = states_and_gradients(case.to("cuda"))
        for one, two in zip(found, exact, strict=True):
            assert (one.cpu() - two).abs().max() <= 1e-5 * two.abs().max()
    assert any(recording is not None for recording in capture._recordings.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_only_so_many_recordings_are_kept() -> None:
    def double(_static: object, tensors: Tensors) -> Tensors:
        return [None if tensor is None else tensor * 2 for tensor in tensors]

    for size in range(1, MOST_GRAPHS + 5):
        for value in (1.0, 3.0, 4.0):
            (found,) = replayed(double, "x", [torch.full((size,), value, device="cuda")])
            assert found is not None
            assert found.tolist() == [2 * value] * size
    assert len(capture._recordings) <= MOST_GRAPHS
