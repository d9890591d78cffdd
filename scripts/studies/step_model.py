"""A model of a training step on this machine's cores: fitted to some sizes, and checked on others that it has not seen.

    python scripts/bench/step.py --out step.json
    python scripts/studies/step_model.py step.json

On r ranks and c cores, with rows people a rank, a step takes

    turns * crowd * (rows * person + P * 4 B * (passes + optimizer / r) / bandwidth) + link

- `person` is the time of one person alone, of each configuration: what one rank took, less its passes over the parameters P.
- `passes` counts how often a rank goes over all parameters, whatever its people (products that read weights and write gradients,
  DeepSpeed's copies, the norm), `optimizer` the passes that ZeRO divides among the ranks (Adam), in units of a copy's bandwidth.
- `crowd` is 1 + (shared - 1) * (how much slower memory is for each of min(r, c) cores at once than for one): the passes wait for memory
  altogether (shared = 2 there), people to a fitted share.
- `turns` is r / c where there are more ranks than cores, and each further rank on a core costs a fitted share more: caches are filled anew,
  and ranks wait for one another's turns.
- `link` is what a sum of that many bytes over the ranks took alone.

`passes`, `optimizer` and the two shares are fitted, by least squares of relative errors.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Step:
    """One training that was timed: so many people a batch, over so many ranks."""

    name: str
    num_parameters: int
    batch_size: int
    ranks: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """What was measured apart from any training.

    Attributes
    ----------
    cores : int
    bandwidth : float
        Bytes a second that one core copies, read and written counted once.
    slowdown : dict of int to float
        How many times slower each of so many cores copies, all at once.
    link_seconds_per_byte, link_seconds : dict of int to float
        Of a sum over so many ranks: for each byte, and of one number.
    """

    cores: int
    bandwidth: float
    slowdown: dict[int, float]
    link_seconds_per_byte: dict[int, float]
    link_seconds: dict[int, float]


@dataclasses.dataclass(frozen=True)
class Fit:
    """The four numbers that are fitted."""

    passes: float
    optimizer: float
    people_on_memory: float
    per_turn: float

    def passes_seconds(self, step: Step, machine: Machine) -> float:
        """Return a rank's seconds over all parameters, alone."""
        return 4.0 * step.num_parameters * (self.passes + self.optimizer / step.ranks) / machine.bandwidth

    def predict(self, step: Step, alone: Step, machine: Machine) -> float:
        """Return the seconds of a step, from what the same configuration took on one rank."""
        person = max(0.0, alone.seconds - self.passes_seconds(alone, machine)) / alone.batch_size
        rows = -(-step.batch_size // step.ranks)
        slower = machine.slowdown[min(step.ranks, machine.cores)] - 1.0
        busy = rows * person * (1.0 + self.people_on_memory * slower)
        busy += self.passes_seconds(step, machine) * (1.0 + slower)
        turns = max(1.0, step.ranks / machine.cores)
        link = 0.0
        if step.ranks > 1:
            link = 4.0 * step.num_parameters * machine.link_seconds_per_byte[step.ranks]
            link += 2.0 * machine.link_seconds[step.ranks]
        return turns * (1.0 + self.per_turn * (turns - 1.0)) * busy + link


def fitted(steps: list[Step], machine: Machine) -> Fit:
    """Fit to some steps; each is predicted from the one-rank step of its configuration with the largest batch."""
    scored = [step for step in steps if step != alone_of(step, steps)]

    def errors(numbers: np.ndarray) -> np.ndarray:
        fit = Fit(*numbers)
        return np.array([fit.predict(step, alone_of(step, steps), machine) / step.seconds - 1 for step in scored])

    found = least_squares(errors, (5.0, 7.0, 0.3, 0.1), bounds=((0, 0, 0, 0), (200, 200, 1, 2)))
    return Fit(*map(float, found.x))


def alone_of(step: Step, steps: list[Step]) -> Step:
    """Return the one-rank step of a configuration, with its largest batch."""
    return max((each for each in steps if each.name == step.name and each.ranks == 1), key=lambda each: each.batch_size)


def read(figures: Figures) -> tuple[Machine, dict[str, list[Step]]]:
    """Return the machine, and the steps to fit and to check."""
    told = figures["machine"]
    by_ranks = ("slowdown", "link_seconds_per_byte", "link_seconds")
    machine = Machine(
        told["cores"], told["bandwidth"], *({int(k): v for k, v in told[name].items()} for name in by_ranks)
    )
    return machine, {part: [Step(**each) for each in figures[part]] for part in ("fit", "check")}


def table(steps: list[Step], fit: Fit, machine: Machine) -> float:
    """Print predictions beside what was measured, and return the largest relative error."""
    worst = 0.0
    print(
        "| configuration | people a batch | ranks | predicted s a step | measured | error |\n|---|---|---|---|---|---|"
    )
    for step in steps:
        alone = alone_of(step, steps)
        if step == alone:
            continue
        said = fit.predict(step, alone, machine)
        error = said / step.seconds - 1
        worst = max(worst, abs(error))
        print(f"| {step.name} | {step.batch_size} | {step.ranks} | {said:.3f} | {step.seconds:.3f} | {error:+.0%} |")
    return worst


def main() -> None:
    """Fit, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="what scripts/bench/step.py --out wrote")
    machine, steps = read(json.loads(parser.parse_args().figures.read_text(encoding="utf-8")))
    fit = fitted(steps["fit"], machine)
    print(
        f"A core copies {machine.bandwidth / 1e9:.1f} GB/s; slower by {machine.slowdown}. Fitted: {fit.passes:.1f} passes over the "
        f"parameters on each rank and {fit.optimizer:.1f} divided among them, {fit.people_on_memory:.0%} of the people's time waits for "
        f"memory, {fit.per_turn:.0%} more for each further rank on a core."
    )
    for part, words in (("fit", "Fitted to"), ("check", "Not fitted")):
        print(f"\n{words}\n")
        print(f"\nlargest error {table(steps[part], fit, machine):.0%}")


if __name__ == "__main__":
    main()
