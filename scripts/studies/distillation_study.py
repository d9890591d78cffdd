"""Whether a loss on person summaries, which draws a twin towards the stack of regressions in training, makes it better for unseen people.

    python scripts/studies/distillation_study.py OUT [--people 128] [--seeds 1 2 3] [--weights 0 0.03 0.3] [--steps 600]

Cohorts, twin and training are those of `person_effects_study.py`. To each step's loss is added, times the weight, how far the figures of
the batch's people, as the twin performs them from what is read of their connectomes and nothing else, lie from what the stack says that was
fitted to other people: mean squared differences of mean RT, condition effect and accuracy in units of these figures' spread over people.
Printed is r over unseen people before any trial of their own, beside that of the stack itself.

Shape letters: `S` person, `T` task, `J` trial, `Y` figure.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from person_effects_study import NOWHERE, Study
from torch import Tensor

from dtb.evaluate.predictors.predictions import summary_of_people
from dtb.evaluate.predictors.table import STACK, given_of
from dtb.evaluate.scores.observed import People, collect
from dtb.files import write_json
from dtb.shards.split import Span
from dtb.twin.batch import Batch
from dtb.twin.model import Twin
from dtb.twin.person_effects import PersonEffects
from dtb.twin.readouts.press import PressDistribution, windows

FIGURES = ("mean RT", "condition effect", "accuracy")


class Stack:
    """What the stack of regressions says of a study's people.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        training, unseen = self._people(study.split.train), self._people(study.split.test)
        did = summary_of_people(training, study.taskset)
        stack = given_of(training, did, unseen, study.taskset, seen=False).regressions[STACK]
        self._num_columns = len(FIGURES) * len(study.taskset.specs)
        self._row_of = {who: row for row, who in enumerate(training.pseudonyms)}
        self._target_SY = torch.from_numpy(stack.left_out_SY[:, : self._num_columns]).float()
        did_SY = np.concatenate([did.mean_rt_ST, did.condition_rt_ST, did.accuracy_ST], axis=1)
        self._scale_Y = torch.from_numpy(np.nanstd(did_SY, axis=0)).float()
        unseen_did = summary_of_people(unseen, study.taskset)
        self._unseen_SY = np.concatenate(
            [unseen_did.mean_rt_ST, unseen_did.condition_rt_ST, unseen_did.accuracy_ST], axis=1
        )
        self._said_SY = stack.said_QY[:, : self._num_columns]

    def _people(self, pseudonyms: tuple[str, ...]) -> People:
        return collect(self._study.of(pseudonyms), self._study.taskset, Span(0.0, 1.0), NOWHERE, np.zeros(0))

    def r(self) -> dict[str, float]:
        """Return the correlation over unseen people of each figure, mean over tasks."""
        r_Y = [np.corrcoef(*pair)[0, 1] for pair in zip(self._said_SY.T, self._unseen_SY.T, strict=True)]
        return dict(zip(FIGURES, np.mean(np.split(np.array(r_Y), len(FIGURES)), axis=1).tolist(), strict=True))

    def distance(self, twin: Twin, effects: PersonEffects, batch: Batch) -> Tensor:
        """Return how far the figures of a batch's people, as their connectomes alone make them, lie from what the stack says."""
        row_S = effects.rows_of(batch.pseudonyms)
        generated = twin.generate(batch.connectome_SE, batch.seed_S, given_SZ=effects.read_PZ[row_S])
        hazard_SKTA = twin.hazards(twin.perform(generated, batch.stimulus_SKTI))
        press = PressDistribution.of(*windows(hazard_SKTA, batch.trials), batch.trials, twin.config.step_seconds)
        figures_SY = self._figures(press, batch)
        target_SY = self._target_SY[[self._row_of[who] for who in batch.pseudonyms]]
        return ((figures_SY - target_SY) / self._scale_Y).square().nanmean()

    def _figures(self, press: PressDistribution, batch: Batch) -> Tensor:
        trials, columns = batch.trials, []
        task_J = batch.task_SK[trials.subject_J, trials.segment_J]
        right_J = (press.choice_probability_JA() * trials.correct_JA).sum(1)

        def mean_of(values_J: Tensor, here_J: Tensor) -> Tensor:
            sums_2S = values_J.new_zeros(2, len(batch))
            parts_2J = torch.stack([values_J, torch.ones_like(values_J)])[:, here_J]
            total_S, count_S = sums_2S.index_add(1, trials.subject_J[here_J], parts_2J)
            return total_S / torch.where(count_S > 0, count_S, torch.nan)

        rt_J = press.mean_rt_J()
        specs = self._study.taskset.specs
        columns += [mean_of(rt_J, task_J == task) for task in range(len(specs))]
        for task, spec in enumerate(specs):
            of_condition = {
                name: mean_of(rt_J, (task_J == task) & (trials.condition_J == spec.conditions.index(name)))
                for name, weight in spec.contrast.items()
                if weight
            }
            columns.append(
                sum((spec.contrast[name] * mean_S for name, mean_S in of_condition.items()), torch.zeros(len(batch)))
            )
        columns += [mean_of(right_J, task_J == task) for task in range(len(specs))]
        return torch.stack(columns, dim=1)


def print_table(out: Path) -> None:
    """Print r of each figure before any trial, by weight, mean over cohorts, and each cohort's difference from a weight of 0."""
    found = pd.DataFrame(
        {"seed": each["seed"], "weight": each["weight"], **{name: each["r"][name] for name in FIGURES}}
        for each in (json.loads(path.read_text()) for path in sorted(out.glob("*.json")))
    )
    print("| weight | " + " | ".join(f"{name}, r" for name in FIGURES) + " | differences from 0, each cohort |")
    print("|---|" + "---|" * (len(FIGURES) + 1))
    table = found.set_index(["weight", "seed"])
    for weight in found["weight"].unique():
        mine = table.loc[weight]
        gaps = (mine - table.loc[0.0]).dropna() if 0.0 in found["weight"].to_numpy() and weight != 0.0 else None
        said = "" if gaps is None else "; ".join(" ".join(f"{gap:+.3f}" for gap in row) for row in gaps.to_numpy())
        print(f"| {weight} | " + " | ".join(f"{mine[name].mean():.3f}" for name in FIGURES) + f" | {said} |")


def main() -> None:
    """Make the trainings that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.03, 0.3])
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        study = Study(options.people, seed)
        stack = Stack(study)
        print(
            f"seed {seed}: the stack alone {json.dumps({name: round(r, 3) for name, r in stack.r().items()})}",
            flush=True,
        )
        for weight in options.weights:
            path = options.out / f"{seed}-{weight}.json"
            if path.exists():
                continue
            begun = time.process_time()

            def more(
                twin: Twin, effects: PersonEffects, batch: Batch, weight: float = weight, stack: Stack = stack
            ) -> Tensor:
                return weight * stack.distance(twin, effects, batch)

            _, twins = study.train("both", options.steps, more if weight else None)
            figures = study.figures(*twins["best"], amounts=("0",))
            r = {name: figures[f"0, {name}, r"] for name in FIGURES}
            seconds = time.process_time() - begun
            write_json(path, {"seed": seed, "weight": weight, "r": r, "figures": figures, "cpu_seconds": seconds})
    print_table(options.out)


if __name__ == "__main__":
    main()
