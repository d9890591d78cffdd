"""Recorded loops: what is replayed is what is called, in float32 arithmetic."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import pytest
import torch

from dtb.twin.precision import ieee
from dtb.twin.recurrence import batched, capture
from dtb.twin.recurrence.batched import fast_scan
from dtb.twin.recurrence.capture import PATIENCE, Tensors, replayed
from dtb.twin.recurrence.cells import CellName
from tests.twin.recurrence.test_scan import (
    CELLS,
    Case,
    disturbed_and_not,
    make_case,
    states_and_gradients,
    with_gradients,
)


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def run_fast(case: Case) -> list[torch.Tensor]:
    states = fast_scan(case.cell, case.drive, case.recurrence, case.rate, case.noise, case.initial)
    return with_gradients(states, case.leaves)


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


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record on the CPU too, a replay being a call that writes into the recording's results; the bytes of each recording."""
    made: list[int] = []

    def captured(run: Callable[[], Tensors], _device: torch.device) -> tuple[Tensors, Callable[[], None], int]:
        outputs = list(run())

        def replay() -> None:
            for own, new in zip(outputs, run(), strict=True):
                if own is not None and new is not None:
                    own.copy_(new)

        made.append(sum(tensor.nbytes for tensor in outputs if tensor is not None))
        return outputs, replay, made[-1]

    for module in (capture, batched):
        monkeypatch.setattr(module, "is_recorded", lambda _: True)
    monkeypatch.setattr(capture, "_captured", captured)
    monkeypatch.setattr(capture, "_free_bytes", lambda _: 2**30)
    monkeypatch.setattr(capture, "_recordings", OrderedDict())
    monkeypatch.setattr(capture, "_sights", OrderedDict())
    return made


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["full", "low_rank"])
def test_batches_of_one_to_eight_segments_are_recorded_six_times_forward_and_backward(
    weights: str, recorded: list[int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        segments = int(torch.randint(1, 9, (1,), generator=generator))
        run_fast(make_case("leaky", weights, (2, segments, 3, 4), torch.float32))  # type: ignore[arg-type]
    assert len(recorded) == 2 * 6


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_padded_segments_change_neither_states_nor_gradients(cell: str, weights: str, recorded: list[int]) -> None:
    for segments in (5, 6, 5):
        for case in disturbed_and_not(make_case(cell, weights, (2, segments, 4, 3), torch.float64)):  # type: ignore[arg-type]
            for one, two in zip(run_fast(case), states_and_gradients(case, "reference"), strict=True):
                torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)
    assert len(recorded) == 4


def double(_static: object, tensors: Tensors) -> Tensors:
    return [None if tensor is None else tensor * 2 for tensor in tensors]


def call(size: int) -> None:
    (found,) = replayed(double, "x", [torch.full((size,), 3.0)])
    assert found is not None
    assert found.tolist() == [6.0] * size


def test_recordings_keep_a_share_of_the_memory_and_the_one_used_longest_ago_goes(
    recorded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps 800 bytes, half of them for what goes in."""

    def free(_device: torch.device) -> int:
        return 10_000 - sum(recording.bytes for recording in capture._recordings.values())

    monkeypatch.setattr(capture, "_free_bytes", free)
    for size in (100, 100, 101, 101, 102, 102, 100, 103, 103):
        call(size)
    assert [recording.inputs[0].numel() for recording in capture._recordings.values()] == [102, 100, 103]


def test_more_shapes_than_fit_are_not_recorded_over_and_over(
    recorded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_free_bytes", lambda _: 100)
    for _ in range(300):
        for size in (100, 200):
            call(size)
    assert len(recorded) <= 2 * 300 / PATIENCE + 2


def test_shapes_that_come_once_displace_nothing(recorded: list[int]) -> None:
    call(5)
    for size in range(10, 100):
        call(size)
    call(5)
    assert len(recorded) == 1


def test_what_was_recorded_under_inference_mode_is_replayed_outside_and_within(recorded: list[int]) -> None:
    for mode in (True, True, False, True):
        with torch.inference_mode(mode):
            call(7)
    assert len(recorded) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "buffers"), [("elman", 1), ("gated", 2), ("leaky", 3)])
def test_only_the_rates_gradient_takes_a_buffer_of_every_state(cell: CellName, buffers: int) -> None:
    def bytes_of(steps: int) -> int:
        case = make_case(cell, "full", (2, 3, steps, 40))
        states = fast_scan(case.cell, case.drive, case.recurrence, case.rate, None, case.initial)
        outer = torch.ones_like(states)
        with torch.profiler.profile(profile_memory=True) as profile:
            torch.autograd.grad(states, [case.drive], outer)
        return sum(max(event.self_cpu_memory_usage, 0) for event in profile.events() or [])

    per_step = (bytes_of(40) - bytes_of(20)) / 20
    assert per_step == pytest.approx(buffers * 2 * 3 * 40 * 8, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_recording_on_a_gpu_counts_what_it_keeps() -> None:
    for value in (3.0, 3.0, 4.0):
        (found,) = replayed(double, "y", [torch.full((2**20,), value, device="cuda")])
        assert found is not None
        assert found.eq(2 * value).all()
    assert capture._recordings[next(reversed(capture._recordings))].bytes >= 2 * 4 * 2**20
