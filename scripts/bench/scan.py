"""How fast the recurrence is, beside what one would write without it: one table, every row a ratio within the same run.

    python scripts/bench/scan.py                      # all sizes, all of torch's threads, on the CPU
    python scripts/bench/scan.py --device cuda
    python scripts/bench/scan.py --sizes paper --repeats 5

The references are a `torch.func.vmap` over an `RNNCell` that writes hidden states into a preallocated output, an unbound loop of
`baddbmm`, and `torch.nn.RNN` person by person. A training step is the forward pass and the gradient of all weights and inputs.
Times are the best of several runs; the machine's load is printed with them, for they mean little on a crowded one.

Shape letters: `S` subject, `K` segment, `T` model step, `N` hidden unit, `I` stimulus channel.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dtb.twin import scan_native
from dtb.twin.scan import Recurrence, scan

SIZES = {
    "paper": (50, 1, 262, 400),
    "subject-major": (10, 18, 262, 400),
    "small": (64, 8, 300, 128),
}
LOW_RANK = [(50, 1, 262, 400, 8), (50, 1, 262, 400, 32), (50, 1, 262, 1024, 8), (50, 1, 262, 1024, 32)]
NUM_CHANNELS = 9
Run = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From stimulus (S, K, T, I), input weights (S, N, I), recurrent weights (S, N, N) and biases (S, N) to states (S, K, T, N)."""


def ours(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    return scan("elman", drive_of(stimulus_SKTI, input_SNI, bias_SN), Recurrence(recurrent_SNN))


def drive_of(stimulus_SKTI: Tensor, input_SNI: Tensor, bias_SN: Tensor) -> Tensor:
    num_segments, num_steps = stimulus_SKTI.shape[1:3]
    by_time_SDI = stimulus_SKTI.transpose(1, 2).flatten(1, 2)
    drive_SDN = torch.baddbmm(bias_SN[:, None], by_time_SDI, input_SNI.mT)
    return drive_SDN.unflatten(1, (num_steps, num_segments)).transpose(1, 2)


def vmapped_cell(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    num_people, num_segments, num_steps, num_channels = stimulus_SKTI.shape
    cell = torch.nn.RNNCell(num_channels, recurrent_SNN.shape[1], device="meta")
    weights = {
        "weight_ih": input_SNI,
        "weight_hh": recurrent_SNN,
        "bias_ih": bias_SN,
        "bias_hh": torch.zeros_like(bias_SN),
    }
    step = torch.func.vmap(lambda own, x, h: torch.func.functional_call(cell, own, (x, h)))
    state_SKN = stimulus_SKTI.new_zeros(num_people, num_segments, recurrent_SNN.shape[1])
    states_SKTN = stimulus_SKTI.new_empty(num_people, num_segments, num_steps, recurrent_SNN.shape[1])
    for index in range(num_steps):
        state_SKN = step(weights, stimulus_SKTI[:, :, index], state_SKN)
        states_SKTN[:, :, index] = state_SKN
    return states_SKTN


def baddbmm_loop(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    state_SKN = stimulus_SKTI.new_zeros(*stimulus_SKTI.shape[:2], recurrent_SNN.shape[1])
    states, weights_SNN = [], recurrent_SNN.mT
    for drive_SKN in drive_of(stimulus_SKTI, input_SNI, bias_SN).unbind(2):
        state_SKN = torch.tanh(torch.baddbmm(drive_SKN, state_SKN, weights_SNN))
        states.append(state_SKN)
    return torch.stack(states, dim=2)


def rnn_by_person(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    network = torch.nn.RNN(stimulus_SKTI.shape[-1], recurrent_SNN.shape[1], batch_first=True, device="meta")
    nothing_N = torch.zeros_like(bias_SN[0])
    states = []
    for person in range(len(stimulus_SKTI)):
        own = {
            "weight_ih_l0": input_SNI[person],
            "weight_hh_l0": recurrent_SNN[person],
            "bias_ih_l0": bias_SN[person],
            "bias_hh_l0": nothing_N,
        }
        states.append(torch.func.functional_call(network, own, (stimulus_SKTI[person],))[0])
    return torch.stack(states)


REFERENCES: dict[str, Run] = {
    "vmap RNNCell": vmapped_cell,
    "baddbmm loop": baddbmm_loop,
    "nn.RNN by person": rnn_by_person,
}


def best_seconds(function: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Time a function: the best of `repeats` runs after one that does not count."""
    best = float("inf")
    for index in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if index:
            best = min(best, time.perf_counter() - begin)
    return best


def forward_and_step(run: Callable[..., Tensor], inputs: list[Tensor], repeats: int) -> tuple[float, float]:
    """Give the seconds of a forward pass and of a training step."""
    device = inputs[0].device
    outer = torch.randn_like(run(*inputs).detach())

    def forward() -> None:
        with torch.no_grad():
            run(*inputs)

    def step() -> None:
        torch.autograd.grad(run(*inputs), inputs[1:], outer)

    return best_seconds(forward, repeats, device), best_seconds(step, repeats, device)


def matmul_rate(num_people: int, num_hidden: int, device: torch.device) -> float:
    """Give the rate of a batched product with enough rows, in floating-point operations per second."""
    left, right = (torch.randn(num_people, rows, num_hidden, device=device) for rows in (256, num_hidden))
    seconds = best_seconds(lambda: torch.bmm(left, right), 10, device)
    return 2 * num_people * 256 * num_hidden**2 / seconds


def make_inputs(size: tuple[int, int, int, int], device: torch.device) -> list[Tensor]:
    people, segments, steps, hidden = size
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (people, segments, steps, NUM_CHANNELS),
        (people, hidden, NUM_CHANNELS),
        (people, hidden, hidden),
        (people, hidden),
    ]
    scales = [1.0, 0.3, 0.9 / hidden**0.5, 0.1]
    tensors = [torch.randn(*shape, generator=generator) * scale for shape, scale in zip(shapes, scales, strict=True)]
    return [tensor.to(device).requires_grad_(index > 0) for index, tensor in enumerate(tensors)]


def bench_full(name: str, repeats: int, device: torch.device, table: Table) -> None:
    """Add the rows of one size to the table."""
    size = SIZES[name]
    people, segments, steps, hidden = size
    inputs = make_inputs(size, device)
    rate = matmul_rate(people, hidden, device)
    operations = 2 * people * segments * steps * hidden**2
    # Weights once a person, and drive in and state out of every step.
    moved = 4 * (people * hidden**2 + 2 * people * segments * steps * hidden)
    own = forward_and_step(ours, inputs, repeats)
    title = f"{name}: S={people} K={segments} T={steps} N={hidden}, {operations / 1e9:.1f} GFLOP, {moved / 1e6:.0f} MB"
    row(table, title, "ours", own, own, operations, rate)
    for reference, run in REFERENCES.items():
        row(table, "", reference, forward_and_step(run, inputs, min(repeats, 3)), own, operations, rate)


def row(
    table: Table,
    title: str,
    what: str,
    seconds: tuple[float, float],
    own: tuple[float, float],
    operations: float,
    rate: float,
) -> None:
    cells = []
    for index, work in enumerate((operations, 3 * operations)):
        speed = work / seconds[index]
        cells += [
            f"{seconds[index] * 1e3:.1f}",
            f"{seconds[index] / own[index]:.2f}",
            f"{speed / 1e9:.1f}",
            f"{speed / rate:.0%}",
        ]
    table.add_row(title, what, *cells)


def bench_low_rank(size: tuple[int, int, int, int, int], repeats: int, device: torch.device, table: Table) -> None:
    """Add full weights and low-rank ones of the same size to the table."""
    people, segments, steps, hidden, rank = size
    inputs = make_inputs((people, segments, steps, hidden), device)
    generator = torch.Generator().manual_seed(1)
    shared = (torch.randn(hidden, hidden, generator=generator) * 0.8 / hidden**0.5).to(device).requires_grad_()
    factors = [
        (torch.randn(people, hidden, rank, generator=generator) / hidden).to(device).requires_grad_() for _ in range(2)
    ]

    def low_rank(
        stimulus: Tensor, weights: Tensor, shared_NN: Tensor, left: Tensor, right: Tensor, bias: Tensor
    ) -> Tensor:
        return scan("elman", drive_of(stimulus, weights, bias), Recurrence(None, shared_NN, left, right))

    rate = matmul_rate(people, hidden, device)
    own = forward_and_step(low_rank, [*inputs[:2], shared, *factors, inputs[3]], repeats)
    full = forward_and_step(ours, inputs, min(repeats, 3))
    operations = 2 * people * segments * steps * hidden * (hidden + 2 * rank)
    row(
        table,
        f"low rank {rank}: S={people} K={segments} T={steps} N={hidden}",
        "ours, low rank",
        own,
        own,
        operations,
        rate,
    )
    row(table, "", "ours, full", full, own, 2 * people * segments * steps * hidden**2, rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", nargs="*", default=[*SIZES, "low-rank"], choices=[*SIZES, "low-rank"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    columns = ("ms", "ratio", "GFLOP/s", "of matmul")
    table = Table(title="The recurrence, forward and training step")
    table.add_column("size")
    table.add_column("what")
    for part in ("forward", "step"):
        for column in columns:
            table.add_column(f"{part} {column}", justify="right")
    level = scan_native.level()
    for name in options.sizes:
        if name == "low-rank":
            for size in LOW_RANK:
                bench_low_rank(size, options.repeats, device, table)
        else:
            bench_full(name, options.repeats, device, table)
    console = Console(width=170)
    console.print(table)
    console.print(
        f"{device}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores, torch {torch.__version__}, "
        f"compiled code: {scan_native.LEVELS[level] if level >= 0 else 'not built'}. Ratio: time divided by ours."
    )


if __name__ == "__main__":
    main()
