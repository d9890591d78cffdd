"""The recurrence: the fast path is the reference, forward and backward, wherever it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor

from dtb.twin.recurrence.cells import CellName, num_rows
from dtb.twin.recurrence.scan import scan
from dtb.twin.recurrence.weights import Recurrence

CELLS: tuple[CellName, ...] = ("elman", "leaky", "gated")


class Case(NamedTuple):
    """What one run of the recurrence is given."""

    cell: CellName
    drive: Tensor
    matrices: list[Tensor]
    rate: Tensor | None
    noise: Tensor | None
    initial: Tensor

    @property
    def recurrence(self) -> Recurrence:
        return Recurrence(*self.matrices) if len(self.matrices) == 1 else Recurrence(None, *self.matrices)

    @property
    def leaves(self) -> list[Tensor]:
        return [self.drive, *self.matrices, *([] if self.rate is None else [self.rate]), self.initial]

    def map(self, change: Callable[[Tensor], Tensor]) -> Case:
        """The same with each tensor changed."""

        def leaf(value: Tensor) -> Tensor:
            return change(value.detach()).requires_grad_()

        return Case(
            self.cell,
            leaf(self.drive),
            [leaf(matrix) for matrix in self.matrices],
            None if self.rate is None else leaf(self.rate),
            None if self.noise is None else change(self.noise),
            leaf(self.initial),
        )

    def to(self, where: torch.dtype | str) -> Case:
        """The same numbers in a type or on a device."""
        return self.map(lambda value: value.to(where))


def make_case(
    cell: CellName,
    weights: Literal["full", "low_rank"],
    sizes: tuple[int, int, int, int] = (3, 2, 9, 5),
    dtype: torch.dtype = torch.float64,
    rank: int = 2,
) -> Case:
    """Drive, weights, rate, noise and initial state of S people with K segments of T steps and N units."""
    people, segments, steps, hidden = sizes
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows = num_rows(cell, hidden)
    drive = normal(people, segments, steps, rows)
    if weights == "full":
        matrices = [normal(people, rows, hidden) * 0.7 / hidden**0.5]
    else:
        matrices = [normal(rows, hidden), normal(people, rows, rank), normal(people, hidden, rank)]
        matrices = [matrix * 0.5 / hidden**0.5 for matrix in matrices]
    rate = torch.sigmoid(normal(people, hidden)) if cell == "leaky" else None
    noise = 0.1 * normal(people, segments, steps, hidden)
    return Case(cell, drive, matrices, rate, noise, 0.5 * normal(people, segments, hidden)).to(dtype)


def run(case: Case, method: Literal["fast", "reference"] = "fast") -> Tensor:
    return scan(case.cell, case.drive, case.recurrence, case.rate, case.noise, initial_SKN=case.initial, method=method)


def disturbed_and_not(case: Case) -> list[Case]:
    """With process noise, and without."""
    return [case, case._replace(noise=None)]


def with_gradients(states: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """States, and the gradients of a sum of them in which each has a weight of its own."""
    towards = torch.linspace(-1, 1, states.numel()).view(states.shape).to(states)
    return [states.detach(), *torch.autograd.grad((states * towards).sum(), leaves, materialize_grads=True)]


def states_and_gradients(case: Case, method: Literal["fast", "reference"] = "fast") -> list[Tensor]:
    return with_gradients(run(case, method), case.leaves)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
def test_fast_path_is_the_reference_in_float64(cell: CellName, weights: Literal["full", "low_rank"]) -> None:
    case = make_case(cell, weights)
    for fast, reference in zip(
        states_and_gradients(case, "fast"), states_and_gradients(case, "reference"), strict=True
    ):
        torch.testing.assert_close(fast, reference, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
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

    def function(*values: Tensor) -> Tensor:
        drive, *rest, initial = values
        matrices, rest = rest[: len(case.matrices)], rest[len(case.matrices) :]
        return run(Case(cell, drive, matrices, rest[0] if rest else None, case.noise, initial))

    assert torch.autograd.gradcheck(function, case.leaves)


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
        drive = torch.where(counted[..., None], case.drive.detach(), filler).requires_grad_()
        states = run(case._replace(drive=drive))
        loss = torch.where(counted[..., None], states, 0.0).square().sum()
        gradients.append(torch.autograd.grad(loss, [drive, *case.matrices]))
    assert gradients[0][0][~counted].abs().max() == 0
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)


def scattered(case: Case) -> Case:
    """The same numbers, otherwise in memory."""
    drive = case.drive.detach().permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0).requires_grad_()
    matrices = [matrix.detach().mT.contiguous().mT.requires_grad_() for matrix in case.matrices]
    return case._replace(drive=drive, matrices=matrices)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
def test_memory_layout_makes_no_difference(weights: Literal["full", "low_rank"]) -> None:
    case = make_case("leaky", weights)
    other = scattered(case)
    assert not other.drive.is_contiguous()
    for one, two in zip(states_and_gradients(other), states_and_gradients(case), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_in_two_parts_is_the_run_in_one(
    dtype: torch.dtype, cell: CellName, weights: Literal["full", "low_rank"]
) -> None:
    case = make_case(cell, weights, dtype=dtype)
    assert case.noise is not None
    first = run(case._replace(drive=case.drive[:, :, :4], noise=case.noise[:, :, :4]))
    second = run(case._replace(drive=case.drive[:, :, 4:], noise=case.noise[:, :, 4:], initial=first[:, :, -1]))
    parts = with_gradients(torch.cat([first, second], dim=2), case.leaves)
    for one, two in zip(parts, states_and_gradients(case), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("weights", ["full", "low_rank"])
@pytest.mark.parametrize("sizes", [(0, 2, 4, 3), (2, 0, 4, 3), (2, 2, 0, 3)])
def test_nothing_in_nothing_out(sizes: tuple[int, int, int, int], weights: Literal["full", "low_rank"]) -> None:
    case = make_case("leaky", weights, sizes)
    states, *gradients = states_and_gradients(case)
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


@pytest.mark.parametrize("method", ["fast", "reference"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("hidden", [5, 300])
def test_low_rank_of_rank_nothing_is_the_shared_matrix(
    hidden: int, cell: CellName, method: Literal["fast", "reference"]
) -> None:
    case = make_case(cell, "low_rank", (2, 1, 3, hidden), torch.float32, rank=0)
    shared = case.matrices[0].expand(2, -1, -1)
    torch.testing.assert_close(run(case, method), run(case._replace(matrices=[shared]), method))


WRONG: dict[str, Callable[[Case], Case]] = {
    "drive_SKTG has shape": lambda case: case._replace(drive=case.drive[0]),
    "recurrence.full_SGN has shape": lambda case: case._replace(matrices=[torch.zeros(1, 5, 5)]),
    "recurrence.full_SGN .* type torch.float64": lambda case: case._replace(matrices=[torch.zeros(3, 5, 5).double()]),
    "recurrence.full_SGN .* device meta": lambda case: case._replace(matrices=[torch.zeros(3, 5, 5, device="meta")]),
    "recurrence.shared_GN": lambda case: case._replace(matrices=[torch.zeros(3, n, 2) for n in (5, 5, 5)]),
    "recurrence.left_SGQ": lambda case: case._replace(matrices=[torch.zeros(5, 5), *torch.zeros(2, 1, 5, 2)]),
    "recurrence.right_SNQ": lambda case: case._replace(
        matrices=[torch.zeros(5, 5), torch.zeros(3, 5, 2), torch.zeros(3, 5, 3)]
    ),
    "recurrence needs": lambda case: case._replace(matrices=[torch.zeros(5, 5), torch.zeros(3, 5, 2)]),
    "rate_SN is missing": lambda case: case._replace(rate=None),
    "rate_SN is given": lambda case: case._replace(cell="elman"),
    "rate_SN has shape": lambda case: case._replace(rate=torch.zeros(5)),
    "rate_SN .* type torch.float64": lambda case: case._replace(rate=torch.zeros(3, 5).double()),
    "noise_SKTN": lambda case: case._replace(noise=torch.zeros(3, 1, 9, 5)),
    "initial_SKN": lambda case: case._replace(initial=torch.zeros(3, 2, 4)),
}


@pytest.mark.parametrize("named", WRONG)
def test_what_does_not_fit_the_drive_is_refused_by_name(named: str) -> None:
    case = make_case("leaky", "full", dtype=torch.float32)
    run(case)
    with pytest.raises(ValueError, match=named):
        run(WRONG[named](case))
