"""Memory: what a run keeps for the gradient grows with its length, by little, and by less when states are computed again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dtb.config import TwinConfig
from dtb.twin import Twin, blocks
from dtb.twin.batch import Batch
from dtb.twin.blocks import SHORTEST_BLOCK, block_steps, perform_in_blocks
from dtb.twin.objective import Objective
from dtb.twin.recurrence.cells import CellName
from tests.twin.conftest import SIZES, in_float64, make_batch, make_config
from tests.twin.recurrence.test_scan import CELLS, make_case, run
from tests.twin.test_model import VARIANTS


def kept_bytes(function: Callable[[], object]) -> int:
    """Return how much more memory there is in use after `function` than before, while its result is held."""
    with torch.profiler.profile(profile_memory=True) as profile:
        result = function()
    kept = sum(event.self_cpu_memory_usage for event in profile.events() or [])
    del result
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("cell", "states"), [("elman", 1), ("leaky", 2), ("gated", 3)])
def test_a_run_keeps_its_states_and_what_its_activation_functions_gave(
    cell: CellName, states: int, dtype: torch.dtype
) -> None:
    assert cell in CELLS

    def bytes_of(steps: int) -> int:
        case = make_case(cell, "full", (2, 3, steps, 40), dtype)._replace(noise=None)
        return kept_bytes(lambda: run(case))

    per_step = (bytes_of(300) - bytes_of(100)) / 200
    width = 2 * 3 * 40 * torch.finfo(dtype).bits // 8
    assert per_step == pytest.approx(states * width, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: config.cell)
def test_states_computed_again_give_the_same_loss_and_gradient(
    config: TwinConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SHORTEST_BLOCK", 16)
    batch, results = in_float64(make_batch()), []
    for recompute in (False, True):
        torch.manual_seed(0)
        objective = Objective(Twin(config, SIZES).double(), 1.0, 1.0, recompute=recompute)
        loss = objective(batch).total
        results.append([loss.detach(), *torch.autograd.grad(loss, list(objective.parameters()))])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_states_computed_again_take_the_memory_of_one_block() -> None:
    steps = 20 * SHORTEST_BLOCK
    twin = Twin(make_config(num_hidden=64), SIZES)
    batch: Batch = make_batch(2, 1)
    stimulus = torch.randn(2, 1, steps, SIZES.num_channels)
    generated = twin.generate(batch.connectome_SE)
    seconds = torch.arange(0, steps * 0.1, 0.8).expand(2, 1, -1)

    def whole() -> object:
        output = twin.perform(generated, stimulus)
        return output.press_SKTA, twin.bold(output, seconds)

    kept = [kept_bytes(run) for run in (whole, lambda: perform_in_blocks(twin, generated, stimulus, None, seconds))]
    assert kept[1] < kept[0] / 5


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: config.cell)
def test_a_run_without_steps_gives_empty_presses_and_the_bold_of_rest(config: TwinConfig) -> None:
    twin, batch = Twin(config, SIZES), make_batch()
    stimulus = batch.stimulus_SKTI[:, :, :0]
    output = twin(batch.connectome_SE, stimulus)
    whole = twin.bold_at_steps(output) if config.bold == "direct" else twin.bold(output, batch.volume_seconds_SKV)
    generated = twin.generate(batch.connectome_SE)
    press, bold = perform_in_blocks(twin, generated, stimulus, None, batch.volume_seconds_SKV)
    assert press.shape == output.press_SKTA.shape
    torch.testing.assert_close(bold, whole)


@pytest.mark.parametrize(("steps", "length"), [(0, 128), (750, 128), (128**2, 128), (128**2 + 1, 129), (10**6, 1000)])
def test_blocks_are_as_long_as_the_root_of_the_run_or_the_shortest(steps: int, length: int) -> None:
    assert block_steps(steps) == length
