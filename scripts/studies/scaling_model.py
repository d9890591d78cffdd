"""How training would scale from 8 to 512 GPUs: a model of a step, checked on the ranks that the bench measured.

    python scripts/bench/train.py --out scaling.json
    python scripts/studies/scaling_model.py scaling.json docs/images/scaling.svg

A step is the copy of a rank's people to the GPU; then arithmetic, or the model steps one after the other where those take longer; then
what goes over all parameters of the hypernetwork; then its gradients and weights between the ranks, hidden behind nothing. Beside it a
core makes the next batches, and a step takes as long as that if that takes longer. On this machine, rates are those that the bench
measured on 1 rank and on the link alone, with the time of a rank's passes over all parameters from a profile and the cost of ranks that
share a core from one step, so the other steps on 2 and 4 ranks are a prediction that can be wrong. On GPUs, rates are those of data sheets
times assumed shares, and nothing has been measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

MODEL_STEPS, SEGMENTS = 262, 30
"""Of a person of the paper: three runs, of each the first 196.8 s, in segments of 20.96 s."""
NUM_CHANNELS, NUM_OUTPUTS, NUM_EDGES = 9, 23, 99_235
PERSON_BYTES = 1.3e6
"""Of a person's connectome, stimuli, presses and BOLD as tensors."""
FIRST_SECONDS, AGAIN_SECONDS = 13e-3, 0.3e-3
"""Of one core here: to read a person and lay them out, and to take one from memory."""
LARGEST_BUCKET = 5e7
SECONDS_PER_PARAMETER = 0.4 / 54.7e6
"""Of one core here: for all that a rank does with every parameter, whatever its people, in a profile of the paper's size."""
SECONDS_PER_TURN = 0.155
"""Share of a step that each further rank on a core costs: fitted to `lowrank` on 4 ranks, and to nothing else."""


@dataclasses.dataclass(frozen=True)
class Size:
    """A hypernetwork and the networks that it makes, each generated weight for weight."""

    name: str
    num_hidden: int
    widths: tuple[int, int]
    batch_size: int

    @property
    def num_generated(self) -> int:
        """Parameters of one person's network: an Elman cell with two biases, and its readout."""
        hidden = self.num_hidden
        return hidden * (NUM_CHANNELS + hidden + 2) + NUM_OUTPUTS * (hidden + 1)

    @property
    def num_parameters(self) -> int:
        """Parameters that are trained."""
        first, second = self.widths
        return (NUM_EDGES + 1) * first + (first + 1) * second + (second + 1) * self.num_generated

    @property
    def flops_per_person(self) -> float:
        """Operations of a training step: three times those of the forward pass."""
        return 6.0 * (self.num_parameters + MODEL_STEPS * SEGMENTS * self.num_generated)


@dataclasses.dataclass(frozen=True)
class Gpus:
    """GPUs of one kind in nodes of eight.

    NVIDIA's data sheets for H100 SXM (67 TFLOP/s in float32, 3.35 TB/s, 80 GB; NVLink 900 GB/s and PCIe 128 GB/s, both ways together) and
    ConnectX-7 (400 Gb/s, one for each GPU as in DGX H100). Shares of them, and the seconds of a model step and of a message, are
    assumptions.
    """

    flops: float = 0.3 * 67e12
    memory_bytes_per_second: float = 0.7 * 3.35e12
    inside_bytes_per_second: float = 0.8 * 450e9
    between_bytes_per_second: float = 0.8 * 8 * 50e9
    copied_bytes_per_second: float = 0.8 * 64e9
    seconds_per_model_step: float = 20e-6
    seconds_per_message: float = 10e-6

    def step_seconds(self, size: Size, num_gpus: int, zero_stage: int, *, first: bool = False) -> dict[str, float]:
        """Return the seconds of a step by what they are spent on: in the first epoch, or when each rank knows its people."""
        rows = math.ceil(size.batch_size / num_gpus)
        arithmetic = rows * size.flops_per_person / self.flops
        in_order = MODEL_STEPS * self.seconds_per_model_step
        # Weights are read twice and gradients written once; Adam reads four numbers for each parameter and writes three.
        passes = 3 + 7 / (num_gpus if zero_stage else 1)
        weights = 4.0 * size.num_parameters * passes / self.memory_bytes_per_second
        link = self.inside_bytes_per_second if num_gpus <= 8 else self.between_bytes_per_second
        moved = bytes_moved(size.num_parameters, num_gpus, zero_stage) / link
        messages = 2 * math.log2(num_gpus) * self.seconds_per_message if num_gpus > 1 else 0.0
        spent = {
            "copy": rows * PERSON_BYTES / self.copied_bytes_per_second,
            "arithmetic": max(arithmetic, in_order),
            "weights": weights,
            "communication": moved + messages,
        }
        made = rows * (FIRST_SECONDS if first else AGAIN_SECONDS)
        return {**spent, "waiting": max(0.0, made - sum(spent.values()))}


def bytes_moved(num_parameters: int, num_ranks: int, zero_stage: int) -> float:
    """Return the bytes that each rank sends in a step, by the ring algorithm, for the collectives that the bench counted."""
    ring = 4.0 * num_parameters * (num_ranks - 1) / num_ranks
    # A sum over ranks goes around twice, a gather or a sum that goes to its owner once.
    times = {0: 2, 1: 2, 2: 2, 3: 2 if num_parameters < 1e9 else 3}
    return ring * times[zero_stage]


def memory_bytes(size: Size, num_gpus: int, zero_stage: int) -> float:
    """Return a GPU's bytes in float32: weights, gradients, optimizer, the bucket of gradients that are sent, and what its people need."""
    divided = {0: (4, 4, 8), 1: (4, 4, 12 / num_gpus), 2: (4, 4 / num_gpus, 12 / num_gpus)}
    each = sum(divided.get(zero_stage, (4 / num_gpus, 4 / num_gpus, 12 / num_gpus)))
    rows = math.ceil(size.batch_size / num_gpus)
    states = rows * SEGMENTS * MODEL_STEPS * (3 * size.num_hidden + NUM_CHANNELS) * 4.0
    bucket = 4.0 * min(size.num_parameters, LARGEST_BUCKET) if zero_stage else 0.0
    return each * size.num_parameters + bucket + states + rows * (size.num_generated * 4.0 * 4 + PERSON_BYTES)


PAPER = Size("the paper's, 54.8 million", 400, (200, 200), 50)
BILLION = Size("1.02 billion", 1000, (900, 900), 50)
LARGE_BATCH = Size("1.02 billion, batches of 1,024", 1000, (900, 900), 1024)
NUM_GPUS = (1, 8, 16, 32, 64, 128, 256, 512)


def check(figures: dict[str, Any]) -> None:
    """Predict 2 and 4 ranks of this machine from 1 rank and from the link."""
    cores = figures["machine"]["cores"]
    print(
        "| configuration | ranks | predicted s a step | measured | predicted speed-up | measured |\n|---|---|---|---|---|---|"
    )
    for name in ("lowrank", "paper"):
        found = figures[name]
        one = found["ranks"]["1"]["step_seconds"]
        # Two cores that share caches and memory are less than two of one.
        slowed = max(1.0, found["apart_step_seconds"] / one)
        for ranks, link in figures["link"].items():
            num_ranks = int(ranks)
            rows = math.ceil(found["batch_size"] / num_ranks)
            passes = SECONDS_PER_PARAMETER * found["num_parameters"]
            turns = max(1.0, num_ranks / cores)
            person = (one - passes) / found["batch_size"]
            computed = (rows * person + passes) * slowed * turns * (1 + SECONDS_PER_TURN * (turns - 1))
            share = found["num_parameters"] / figures["paper"]["num_parameters"]
            # ZeRO 1 sums gradients at their owners and gathers weights: together as much as the sum that was timed.
            predicted = computed + share * link["large"] + 2 * link["small"]
            measured = found["ranks"][ranks]["step_seconds"]
            print(
                f"| {name} | {ranks} | {predicted:.3f} | {measured:.3f} | {one / predicted:.2f}x | {one / measured:.2f}x |"
            )


def predict(size: Size, gpus: Gpus) -> list[float]:
    """Print a size's table and give its speeds relative to one GPU."""
    print(f"\n{size.name} ({size.num_parameters:,} parameters, batches of {size.batch_size:,})\n")
    print(
        "| GPUs | ms a step, ZeRO 0 / 1 / 3 | first epoch | of it communication, ZeRO 0 | speed-up | efficiency "
        "| GiB a GPU, ZeRO 0 / 1 / 2 / 3 |"
    )
    print("|---|---|---|---|---|---|---|")
    alone = sum(gpus.step_seconds(size, 1, 0).values())
    speeds = []
    for number in NUM_GPUS:
        parts = gpus.step_seconds(size, number, 0)
        total = sum(parts.values())
        speeds.append(alone / total)
        stages = " / ".join(f"{1e3 * sum(gpus.step_seconds(size, number, stage).values()):.1f}" for stage in (0, 1, 3))
        memory = " / ".join(f"{memory_bytes(size, number, stage) / 2**30:.1f}" for stage in range(4))
        share, gain = parts["communication"] / total, alone / total
        first = 1e3 * sum(gpus.step_seconds(size, number, 0, first=True).values())
        print(f"| {number} | {stages} | {first:.0f} | {share:.0%} | {gain:.1f}x | {gain / number:.0%} | {memory} |")
    return speeds


def draw(speeds: dict[str, list[float]], path: Path) -> None:
    """Draw speed against GPUs, readable on light and dark pages."""
    mpl.rcParams.update({"svg.hashsalt": "dtb", "svg.fonttype": "none", "font.size": 9})
    grey, colors = "#808080", ("#e69f00", "#0072b2", "#009e73")
    figure, axis = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    axis.plot(NUM_GPUS, NUM_GPUS, color=grey, linestyle=":")
    axis.annotate("all of them used", (64, 64), (-4, 4), textcoords="offset points", ha="right", color=grey)
    for (name, values), color, marker, higher in zip(speeds.items(), colors, "osD", (-6, 6, 0), strict=True):
        axis.plot(NUM_GPUS, values, color=color, marker=marker, linewidth=1.8, markersize=5)
        axis.annotate(
            name, (NUM_GPUS[-1], values[-1]), (7, higher), textcoords="offset points", va="center", color=color
        )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(NUM_GPUS, [str(number) for number in NUM_GPUS])
    powers = [2**power for power in range(10)]
    axis.set_yticks(powers, [str(power) for power in powers])
    axis.set_xlabel("GPUs", color=grey)
    axis.set_ylabel("times as fast as one GPU", color=grey)
    axis.tick_params(colors=grey, which="both")
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(grey)
    figure.savefig(path, transparent=True, metadata={"Date": None})


def main() -> None:
    """Print the check and the predictions, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="what scripts/bench/train.py --out wrote")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    check(json.loads(options.figures.read_text(encoding="utf-8")))
    draw({size.name: predict(size, Gpus()) for size in (PAPER, BILLION, LARGE_BATCH)}, options.picture)


if __name__ == "__main__":
    main()
