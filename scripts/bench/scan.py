"""How fast the recurrence is, beside what one would write without it: one table, every row a ratio within the same run.

    python scripts/bench/scan.py                      # all sizes, all of torch's threads, on the CPU
    python scripts/bench/scan.py --device cuda
    python scripts/bench/scan.py --busy               # on a machine with other work: processor time of one thread
    python scripts/bench/scan.py --sizes paper low-rank --repeats 9

The references are a `torch.func.vmap` over an `RNNCell` that writes hidden states into a preallocated output, an unbound loop of
`baddbmm`, and `torch.nn.RNN` person by person. A training step is the forward pass and the gradient of all weights and inputs.
Operations and bytes are those of one forward pass of the recurrence, bytes as if weights were read once and drives and states passed
once; a training step counts as three of both. The roofline is the most that the machine could do (Williams et al. 2009): the rate of a
batched matrix product, or that at which memory brings the bytes, by a triad in the same run, whichever is lower. Times are the best of
several runs, of one where a run takes long; the machine's load is printed with them, for they mean little on a crowded one.

Shape letters: `S` subject, `K` segment, `T` model step, `N` hidden unit, `I` stimulus channel.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable

import torch
from references import NUM_CHANNELS, REFERENCES, Run, baddbmm_loop, drive_of
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dtb.config import TwinConfig
from dtb.twin import Twin, TwinSizes
from dtb.twin.blocks import block_steps, perform_in_blocks
from dtb.twin.recurrence import compiled
from dtb.twin.recurrence.scan import scan
from dtb.twin.recurrence.weights import Recurrence

SIZES = {
    "paper": (50, 1, 262, 400),
    "subject-major": (10, 18, 262, 400),
    "small": (64, 8, 300, 128),
}
LONG_SECONDS = 4.0
CLOCK = time.perf_counter
LONG_RUN = (4, 2, 5000, 400)
LOW_RANK = [(50, 1, 262, 400, 8), (50, 1, 262, 400, 32), (50, 1, 262, 1024, 8), (50, 1, 262, 1024, 32)]


def ours(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    return scan("elman", drive_of(stimulus_SKTI, input_SNI, bias_SN), Recurrence(recurrent_SNN))


def best_seconds(function: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Time a function: the best of `repeats` runs after one that does not count; a run that takes seconds counts, and is enough."""
    times: list[float] = []
    while len(times) <= repeats:
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = CLOCK()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(CLOCK() - begin)
        if sum(times) > LONG_SECONDS:
            return min(times)
    return min(times[1:])


def forward_and_step(run: Callable[..., Tensor], inputs: list[Tensor], repeats: int) -> tuple[float, float]:
    """Return the seconds of a forward pass and of a training step."""
    device = inputs[0].device
    people, segments, steps = inputs[0].shape[:3]
    outer = torch.randn(people, segments, steps, inputs[2].shape[-1], device=device)

    def forward() -> None:
        with torch.no_grad():
            run(*inputs)

    def step() -> None:
        torch.autograd.grad(run(*inputs), inputs[1:], outer)

    return best_seconds(forward, repeats, device), best_seconds(step, repeats, device)


def matmul_rate(num_people: int, num_hidden: int, device: torch.device) -> float:
    """Return the rate of a batched product with enough rows, in floating-point operations per second."""
    left, right = (torch.randn(num_people, rows, num_hidden, device=device) for rows in (256, num_hidden))
    seconds = best_seconds(lambda: torch.bmm(left, right), 10, device)
    return 2 * num_people * 256 * num_hidden**2 / seconds


def memory_bandwidth(device: torch.device) -> float:
    """Return the rate at which a triad, ``a = b + 3 c`` on arrays larger than any cache, reads and writes, in bytes per second."""
    first, second, out = (torch.ones(2**26, device=device) for _ in range(3))
    seconds = best_seconds(lambda: torch.add(first, second, alpha=3.0, out=out), 5, device)
    return 3 * out.nbytes / seconds


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


def note(what: str) -> None:
    """Return what is measured now: some of the references take minutes."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)


def title_of(name: str, size: tuple[int, ...], operations: float, moved: float) -> str:
    people, segments, steps, hidden = size
    return f"{name}: S={people} K={segments} T={steps} N={hidden}, {operations / 1e9:.1f} GFLOP, {moved / 1e6:.0f} MB"


def bench_full(
    name: str, repeats: int, device: torch.device, bandwidth: float, table: Table
) -> dict[str, tuple[float, float]]:
    """Add the rows of one size to the table; give the seconds of each."""
    size = SIZES[name]
    people, segments, steps, hidden = size
    inputs = make_inputs(size, device)
    rate = matmul_rate(people, hidden, device)
    operations = 2 * people * segments * steps * hidden**2
    # Weights once a person, and drive in and state out of every step.
    moved = 4 * (people * hidden**2 + 2 * people * segments * steps * hidden)
    note(f"{name}, ours; a product runs at {rate / 1e9:.0f} GFLOP/s")
    found = {"ours": forward_and_step(ours, inputs, repeats)}
    for reference, run in REFERENCES.items():
        note(f"{name}, {reference}")
        found[reference] = forward_and_step(run, inputs, repeats)
    for what, seconds in found.items():
        title = title_of(name, size, operations, moved) if what == "ours" else ""
        row(table, title, what, seconds, found["ours"], operations, rate, bandwidth * operations / moved)
    return found


def row(
    table: Table,
    title: str,
    what: str,
    seconds: tuple[float, float],
    own: tuple[float, float],
    operations: float,
    rate: float,
    fed: float,
) -> None:
    """Add a row; `fed` is the rate in operations per second at which memory brings what they need."""
    roofline = min(rate, fed)
    cells = [f"{roofline / 1e9:.0f} ({'memory' if fed < rate else 'product'})"]
    for index, work in enumerate((operations, 3 * operations)):
        speed = work / seconds[index]
        cells += [
            f"{seconds[index] * 1e3:.1f}",
            f"{seconds[index] / own[index]:.2f}",
            f"{speed / 1e9:.1f}",
            f"{speed / rate:.0%}",
            f"{speed / roofline:.0%}",
        ]
    table.add_row(title, what, *cells)


def bench_low_rank(
    size: tuple[int, int, int, int, int], repeats: int, device: torch.device, bandwidth: float, table: Table
) -> None:
    """Add full weights and low-rank ones of the same size to the table."""
    people, segments, steps, hidden, rank = size
    note(f"low rank {rank}, N={hidden}")
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
    others: dict[str, Run] = {"ours": ours} | ({"baddbmm loop": baddbmm_loop} if rank == LOW_RANK[0][-1] else {})
    full = {name: forward_and_step(run, inputs, repeats) for name, run in others.items()}
    operations = 2 * people * segments * steps * hidden * (hidden + 2 * rank)
    passing = 2 * people * segments * steps * hidden
    moved = 4 * (hidden**2 + 2 * people * hidden * rank + passing)
    title = title_of(f"low rank {rank}", size[:4], operations, moved)
    row(table, title, "ours, low rank", own, own, operations, rate, bandwidth * operations / moved)
    operations, moved = 2 * people * segments * steps * hidden**2, 4 * (people * hidden**2 + passing)
    for name, seconds in full.items():
        row(table, "", f"{name}, full", seconds, own, operations, rate, bandwidth * operations / moved)


def bench_recomputing(repeats: int, device: torch.device) -> str:
    """Return what a long run keeps for the gradient, and takes, with all states kept and with blocks of them computed again."""
    people, segments, steps, hidden = LONG_RUN
    note(f"a run of {steps} steps, states kept and computed again")
    config = TwinConfig(
        num_hidden=hidden, cell="elman", generation="full", connectome_components=0, encoder_widths=(8,)
    )
    twin = Twin(config, TwinSizes(num_regions=8, num_channels=NUM_CHANNELS, num_alternatives=3, num_bold_regions=20))
    twin = twin.to(device)
    connectome_SE, stimulus_SKTI = (
        torch.randn(people, 28, device=device),
        torch.randn(people, segments, steps, NUM_CHANNELS, device=device),
    )
    seconds_SKV = torch.arange(0, steps * config.step_seconds, 0.8, device=device).expand(people, segments, -1)

    def kept() -> tuple[Tensor, Tensor]:
        output = twin(connectome_SE, stimulus_SKTI)
        return output.press_SKTA, twin.bold(output, seconds_SKV)

    def again() -> tuple[Tensor, Tensor]:
        return perform_in_blocks(twin, twin.generate(connectome_SE), stimulus_SKTI, None, seconds_SKV)

    found = []
    for run in (kept, again):
        with torch.profiler.profile(profile_memory=True) as profile:
            held = run()
        megabytes = sum(
            event.self_cpu_memory_usage + event.self_device_memory_usage for event in profile.events() or []
        )
        del held
        step = lambda run=run: sum(part.square().sum() for part in run()).backward()
        found.append((megabytes / 1e6, best_seconds(step, repeats, device)))
    (all_mb, all_seconds), (block_mb, block_seconds) = found
    return (
        f"Run of S={people} K={segments} T={steps} N={hidden}, whole training step: {all_mb:.0f} MB kept and {all_seconds * 1e3:.0f} ms; "
        f"computed again in blocks of {block_steps(steps)}: {block_mb:.0f} MB ({block_mb / all_mb:.0%}) "
        f"and {block_seconds * 1e3:.0f} ms ({block_seconds / all_seconds:.2f} times)."
    )


def summary(found: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    """Compare ours with the best reference, also per segment across sizes."""
    lines = []
    for name, rows in found.items():
        best = [min(rows[reference][part] for reference in REFERENCES) for part in (0, 1)]
        gains = [best[part] / rows["ours"][part] for part in (0, 1)]
        lines.append(
            f"{name}: {gains[0]:.2f} times the best reference forward, {gains[1]:.2f} times in a training step."
        )
    if {"paper", "subject-major"} <= found.keys():
        gains = []
        for part in (0, 1):
            best = min(found["paper"][reference][part] for reference in REFERENCES) / (
                SIZES["paper"][0] * SIZES["paper"][1]
            )
            own = found["subject-major"]["ours"][part] / (SIZES["subject-major"][0] * SIZES["subject-major"][1])
            gains.append(best / own)
        lines.append(
            "subject-major, per segment, against the best reference at the paper's size: "
            f"{gains[0]:.1f} times forward, {gains[1]:.1f} times in a training step."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parts = [*SIZES, "low-rank", "recomputing"]
    parser.add_argument("--sizes", nargs="*", default=parts, choices=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--busy", action="store_true", help="for a machine with other work: one thread's processor time"
    )
    options = parser.parse_args()
    if options.busy:
        global CLOCK  # noqa: PLW0603 - set once, before anything is timed
        CLOCK = time.process_time
        torch.set_num_threads(1)
    device = torch.device(options.device)
    columns = ("ms", "ratio", "GFLOP/s", "of matmul", "of roofline")
    table = Table(title="The recurrence, forward and training step")
    table.add_column("size")
    table.add_column("what")
    table.add_column("roofline GFLOP/s", justify="right")
    for part in ("forward", "step"):
        for column in columns:
            table.add_column(f"{part} {column}", justify="right")
    level, load = compiled.level(), os.getloadavg()[0]
    bandwidth = memory_bandwidth(device)
    note(f"memory brings {bandwidth / 1e9:.1f} GB/s")
    found = {
        name: bench_full(name, options.repeats, device, bandwidth, table) for name in options.sizes if name in SIZES
    }
    if "low-rank" in options.sizes:
        for size in LOW_RANK:
            bench_low_rank(size, options.repeats, device, bandwidth, table)
    lines = summary(found)
    if "recomputing" in options.sizes:
        lines.append(bench_recomputing(options.repeats, device))
    console = Console(width=230)
    console.print(table)
    for line in lines:
        console.print(line)
    where = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    clock = "processor" if options.busy else "wall"
    console.print(
        f"{where}, memory {bandwidth / 1e9:.1f} GB/s (triad), "
        f"{torch.get_num_threads()} threads, {clock} time, load {load:.1f} before and {os.getloadavg()[0]:.1f} after on "
        f"{os.cpu_count()} cores, torch {torch.__version__}, compiled code: {compiled.LEVELS[level] if level >= 0 else 'not built'}. "
        "Ratio: time divided by ours."
    )


if __name__ == "__main__":
    main()
