"""The recurrence: the fast path is the reference, forward and backward, wherever it is used."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from dtb.twin.cells import CellName, num_rows
from dtb.twin.scan import Recurrence, scan

CELLS: tuple[CellName, ...] = ("elman", "leaky", "gated")
Case = tuple[CellName, Tensor, list[Tensor], Tensor | None, Tensor]


def make_case(
    cell: CellName,
    weights: Literal["full", "low_rank"],
    sizes: tuple[int, int, int, int] = (3, 2, 9, 5),
    dtype: torch.dtype = torch.float64,
) -> Case:
    """Drive, weights, rate and noise of S people with K segments of T steps and N units."""
    people, segments, steps, hidden = sizes
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows = num_rows(cell, hidden)
    drive = normal(people, segments, steps, rows)
    if weights == "full":
        matrices = [normal(people, rows, hidden) * 0.7 / hidden**0.5]
    else:
        matrices = [normal(rows, hidden), normal(people, rows, 2), normal(people, hidden, 2)]
        matrices = [matrix * 0.5 / hidden**0.5 for matrix in matrices]
    rate = torch.sigmoid(normal(people, hidden)) if cell == "leaky" else None
    noise = 0.1 * normal(people, segments, steps, hidden)
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (drive, *matrices)]
    rate = None if rate is None else rate.to(dtype).requires_grad_()
    return cell, leaves[0], leaves[1:], rate, noise.to(dtype)


def run(case: Case, method: Literal["fast", "reference"], drive: Tensor | None = None) -> Tensor:
    cell, own_drive, matrices, rate, noise = case
    recurrence = Recurrence(*matrices) if len(matrices) == 1 else Recurrence(None, *matrices)
    return scan(cell, own_drive if drive is None else drive, recurrence, rate, noise, method=method)


def states_and_gradients(case: Case, method: Literal["fast", "reference"]) -> list[Tensor]:
    _, drive, matrices, rate, _ = case
    states = run(case, method)
    towards = torch.linspace(-1, 1, states.numel(), dtype=states.dtype).view(states.shape)
    leaves = [drive, *matrices, *([] if rate is None else [rate])]
    return [states.detach(), *torch.autograd.grad((states * towards).sum(), leaves, materialize_grads=True)]


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_fast_path_is_the_reference_in_float64(cell: CellName, weights: Literal["full", "low_rank"]) -> None:
    case = make_case(cell, weights)
    for fast, reference in zip(
        states_and_gradients(case, "fast"), states_and_gradients(case, "reference"), strict=True
    ):
        torch.testing.assert_close(fast, reference, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_float32_stays_near_float64_over_a_long_segment(cell: CellName, weights: Literal["full", "low_rank"]) -> None:
    sizes = (2, 3, 262, 24)
    exact = states_and_gradients(make_case(cell, weights, sizes), "reference")
    single = states_and_gradients(make_case(cell, weights, sizes, torch.float32), "fast")
    assert (single[0] - exact[0]).abs().max() < 2e-5
    for gradient, exact_gradient in zip(single[1:], exact[1:], strict=True):
        assert (gradient - exact_gradient).abs().max() < 2e-5 * exact_gradient.abs().max()


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_agree_with_finite_differences(cell: CellName, weights: Literal["full", "low_rank"]) -> None:
    case = make_case(cell, weights, (2, 2, 4, 3))
    _, drive, matrices, rate, noise = case
    leaves = [drive, *matrices, *([] if rate is None else [rate])]

    def function(*values: Tensor) -> Tensor:
        own = list(values[1 : 1 + len(matrices)])
        recurrence = Recurrence(*own) if len(own) == 1 else Recurrence(None, *own)
        return scan(cell, values[0], recurrence, values[-1] if rate is not None else None, noise)

    assert torch.autograd.gradcheck(function, leaves)


def test_elman_is_torchs_rnn_person_by_person() -> None:
    people, segments, steps, channels, hidden = 3, 4, 50, 3, 6
    torch.manual_seed(0)
    stimulus = torch.randn(people, segments, steps, channels, dtype=torch.float64)
    networks = [torch.nn.RNN(channels, hidden, batch_first=True, dtype=torch.float64) for _ in range(people)]
    inputs = torch.stack([network.weight_ih_l0 for network in networks])
    biases = torch.stack([network.bias_ih_l0 + network.bias_hh_l0 for network in networks])
    drive = torch.einsum("skti,sni->sktn", stimulus, inputs) + biases[:, None, None]
    states = scan("elman", drive, Recurrence(torch.stack([network.weight_hh_l0 for network in networks])))
    for person, network in enumerate(networks):
        torch.testing.assert_close(states[person], network(stimulus[person])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_follows_the_end_of_a_segment_has_no_influence(
    cell: CellName, weights: Literal["full", "low_rank"]
) -> None:
    case = make_case(cell, weights)
    ends = torch.tensor([[9, 4], [1, 6], [7, 2]])
    counted = torch.arange(9) < ends[..., None]
    gradients = []
    for filler in (0.0, 1e6):
        drive = torch.where(counted[..., None], case[1].detach(), filler).requires_grad_()
        states = run(case, "fast", drive)
        loss = torch.where(counted[..., None], states, 0.0).square().sum()
        gradients.append(torch.autograd.grad(loss, [drive, *case[2]]))
    assert gradients[0][0][~counted].abs().max() == 0
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
def test_memory_layout_makes_no_difference(weights: Literal["full", "low_rank"]) -> None:
    case = make_case("leaky", weights)
    scattered = case[1].detach().permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0)
    matrices = [matrix.detach().mT.contiguous().mT.requires_grad_() for matrix in case[2]]
    assert not scattered.is_contiguous()
    other: Case = (case[0], scattered.requires_grad_(), matrices, case[3], case[4])
    for one, two in zip(states_and_gradients(other, "fast"), states_and_gradients(case, "fast"), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("sizes", [(0, 2, 4, 3), (2, 0, 4, 3), (2, 2, 0, 3)])
def test_nothing_in_nothing_out(sizes: tuple[int, int, int, int], weights: Literal["full", "low_rank"]) -> None:
    case = make_case("leaky", weights, sizes)
    states, *gradients = states_and_gradients(case, "fast")
    assert states.shape == sizes
    assert all(gradient.abs().sum() == 0 for gradient in gradients)


def test_one_step_of_one_unit() -> None:
    states = scan("leaky", torch.tensor([[[[0.5]]]]), Recurrence(torch.ones(1, 1, 1)), torch.tensor([[0.25]]))
    torch.testing.assert_close(states.item(), 0.25 * torch.tensor(0.5).tanh().item())


@pytest.mark.parametrize("method", ["fast", "reference"])
def test_state_is_float32_whatever_the_precision_around(method: Literal["fast", "reference"]) -> None:
    case = make_case("elman", "full", dtype=torch.float32)
    plain = run(case, method)
    with torch.autocast("cpu", torch.bfloat16):
        surrounded = run(case, method)
    assert torch.equal(plain, surrounded)
    assert run(make_case("elman", "full", dtype=torch.bfloat16), method).dtype == torch.float32


def test_nothing_is_allocated_inside_the_loop() -> None:
    def allocations(steps: int) -> int:
        case = make_case("leaky", "low_rank", (2, 2, steps, 5))
        with torch.profiler.profile(profile_memory=True) as profile:
            states = run(case, "fast")
            states.sum().backward()
        return sum(event.self_cpu_memory_usage > 0 for event in profile.events() or [])

    assert allocations(50) == allocations(10) > 0
