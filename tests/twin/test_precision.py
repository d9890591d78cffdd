"""The recurrence is computed in float32 arithmetic, however a program chooses precision elsewhere, and its choice stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.precision import ieee
from dtb.twin.recurrence import scan as scans
from tests.twin.conftest import SIZES, make_config
from tests.twin.recurrence.test_scan import CELLS, make_case, run, states_and_gradients

SWITCHES = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]


def reset() -> None:
    torch.set_float32_matmul_precision("highest")
    for backend in [torch.backends, *SWITCHES]:
        backend.fp32_precision = "none"


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    reset()
    yield
    reset()


def on_cuda() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def on_cpu() -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def everywhere() -> None:
    torch.backends.fp32_precision = "tf32"


def in_the_older_way() -> None:
    torch.set_float32_matmul_precision("medium")


def switches() -> list[str]:
    return [torch.backends.fp32_precision, *(backend.fp32_precision for backend in SWITCHES)]


@pytest.mark.parametrize("choose", [on_cuda, on_cpu, everywhere, in_the_older_way])
def test_a_twin_performs_alike_whatever_is_chosen_and_the_choice_stays(
    choose: Callable[[], None], batch: Batch
) -> None:
    twin = Twin(make_config(num_hidden=64), SIZES)
    generated = twin.generate(batch.connectome_SE)

    def perform() -> list[torch.Tensor]:
        output = twin.perform(generated, batch.stimulus_SKTI)
        return [output.press_SKTA, twin.bold(output, batch.volume_seconds_SKV), twin.bold_at_steps(output)]

    plain = perform()
    choose()
    before = switches()
    chosen = perform()
    assert switches() == before
    for one, two in zip(plain, chosen, strict=True):
        assert torch.equal(one, two)


def test_what_follows_the_settings_above_it_goes_on_to_follow_them() -> None:
    torch.backends.fp32_precision = "tf32"
    with pytest.raises(KeyError), ieee("cpu"):
        assert switches()[1:] == ["ieee", "ieee"]
        raise KeyError
    assert switches() == ["tf32"] * 3
    torch.backends.fp32_precision = "ieee"
    assert switches() == ["ieee"] * 3


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("way", ["compiled", "batched", "kernel"])
def test_a_backward_pass_within_autocast_gives_the_same_gradients(
    way: str, cell: str, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "kernel":
        pytest.importorskip("triton", reason="Triton is not installed")
        monkeypatch.setattr(scans, "fits", lambda *_: True)
    monkeypatch.setattr(scans, "is_usable", lambda _: way == "compiled")
    case = make_case(cell, weights, (2, 2, 4, 9), torch.float32)  # type: ignore[arg-type]
    plain = states_and_gradients(case)
    states = run(case)
    towards = torch.linspace(-1, 1, states.numel()).view(states.shape)
    with torch.autocast("cpu", torch.bfloat16):
        gradients = torch.autograd.grad(states, case.leaves, towards)
    for one, two in zip(plain[1:], gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
