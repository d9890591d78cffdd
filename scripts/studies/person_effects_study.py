"""How effects of training people hold at 50 to 10,000 people: free parameters, amortised from trials, or both; and when to stop.

    python scripts/studies/person_effects_study.py OUT [--people 50 150 1000 10000] [--seeds 1] [--steps 600]

People are those of `dtb synth`, without BOLD, made in memory. For each number of training people the same 40 validate and the same 60 are
unseen; every training makes the same number of steps.

- `free`: each person's effect begins at nothing, and is learnt.
- `amortised`: it is what people's own figures say, drawn towards what their connectomes say by the figures' errors: one rule for all, which
  needs no parameter of a person and is not learnt further.
- `both`: it begins there, and is learnt.

`dtb train` does the second where latents begin at regressions, and the first elsewhere.

Unseen people are judged as `dtb evaluate` does, after 0, 10 and 40 of their own trials: R2 and CRPS of later mean RT, and CRPS of later
single trials, means over tasks. `last` in place of `best` stands for the weights of the last step in place of those with the smallest loss
of validation people of whom nothing but the connectome is known; it is looked at of `both` alone.

Shape letters: `S` unseen person, `J` trial, `P` training person, `Z` latent, `Y` figure.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from made_up_people import made_up_people
from torch import Tensor

from dtb.config import SegmentConfig, SynthConfig, TwinConfig
from dtb.evaluate.living.baselines import Group
from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.curves import curves
from dtb.evaluate.living.questions import Question, order_of, sessions_of
from dtb.evaluate.living.table import rows_of
from dtb.evaluate.living.twin import TwinPredictor
from dtb.evaluate.scores.observed import collect
from dtb.files import write_json
from dtb.people.records import SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.layouts import Layout
from dtb.shards.split import Span, Split
from dtb.train.loop import cosine
from dtb.train.start.normalise import measure
from dtb.train.start.summaries import Asked, summarise
from dtb.twin.batch import Batch
from dtb.twin.model import Twin
from dtb.twin.objective import Objective
from dtb.twin.person_effects import EFFECTS_RATE, Beginning, PersonEffects
from dtb.twin.person_prior import MOST_PEOPLE, Known, measure_prior
from dtb.twin.sizes import TwinSizes

KINDS = ("free", "amortised", "both")
AMOUNTS = ("0", "10", "40")
NUM_REGIONS, NUM_VALIDATION, NUM_UNSEEN = 60, 40, 60
BATCH, RATE, DECAY, LOOK_EVERY = 16, 0.006, 0.1, 50
MOST_KEPT = 1000
TWIN = TwinConfig(num_hidden=24, rank=3, latent_size=6, encoder_widths=(32,), step_seconds=0.1)
SEGMENTS = SegmentConfig(segment_seconds=60.0, burn_in_seconds=4.0)
NOWHERE = np.zeros(0, np.int64)
Trained = tuple[Twin, PersonEffects]
MoreLoss = Callable[[Twin, PersonEffects, Batch], Tensor]


class Study:
    """A cohort with so many training people.

    Parameters
    ----------
    num_people, seed : int
    """

    def __init__(self, num_people: int, seed: int) -> None:
        num_others = NUM_VALIDATION + NUM_UNSEEN
        synth = SynthConfig(num_subjects=num_others + num_people, num_regions=NUM_REGIONS)
        people, self.taskset = made_up_people(synth, seed, with_bold=False)
        self.records = {person.pseudonym: person for person in people}
        names = tuple(self.records)
        self.split = Split("subjects", names[num_others:], names[:NUM_VALIDATION], names[NUM_VALIDATION:num_others])
        self.maker = BatchMaker(self.taskset, SEGMENTS, TWIN.step_seconds, (), self.split, loss_of=TWIN)
        self.seed, num_edges = seed, NUM_REGIONS * (NUM_REGIONS - 1) // 2
        asked = Asked(self.split, (), False, self.taskset.to_plain())
        known = ((person.connectome_E, summarise(person, asked)) for person in self.of(self.split.train))
        self.scales = measure(known, num_edges, 0, TWIN.connectome_components, num_latents=TWIN.latent_size)
        self.sizes = TwinSizes(NUM_REGIONS, self.taskset.num_channels, self.taskset.num_alternatives, 0)
        counts = [
            sum(int(run.trials.usable_J.sum()) for run in person.runs if run.trials is not None) for person in people
        ]
        self.num_observations = float(np.mean(counts))
        self._layouts: dict[str, Layout] = {}

    def of(self, pseudonyms: tuple[str, ...]) -> list[SubjectRecord]:
        """Return some people's records."""
        return [self.records[who] for who in pseudonyms]

    def effects(self, kind: str) -> PersonEffects:
        """Return the table of effects of a kind as it begins."""
        scales, names = self.scales, ("read_PZ", "own_PZ", "own_variance_PZ")
        assert scales.read_people is not None
        scores = (torch.tensor(getattr(scales, name)) for name in names)
        beginning = Beginning.of_scores(self.split.train, scales.read_people, *scores)
        if kind == "free":
            nothing = Beginning.of_nothing(self.split.train, TWIN.latent_size)
            beginning = dataclasses.replace(nothing, read_PZ=beginning.read_PZ)
        if kind == "both":
            beginning = dataclasses.replace(beginning, is_known=False)
        return PersonEffects(beginning, self.num_observations)

    def train(self, kind: str, num_steps: int, more: MoreLoss | None = None) -> tuple[int, dict[str, Trained]]:
        """Return the step of the smallest validation loss, and the twins of that and of the last step; `more` is added to the loss."""
        torch.manual_seed(self.seed)
        twin, effects = Twin(TWIN, self.sizes), self.effects(kind)
        twin.set_normalisation(
            *(torch.tensor(getattr(self.scales, name)) for name in ("edge_mean_E", "edge_scale_E", "bold_scale_R")),
            reader_EZ=torch.tensor(self.scales.reader_EZ),
        )
        objective = Objective(twin, 1.0, 0.0, effects=effects)
        groups = [{"params": list(twin.parameters())}, {"params": list(effects.parameters()), "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
        best, best_step, least = (twin, effects), 0, np.inf
        for step, some in enumerate(itertools.islice(self._batches(), num_steps)):
            objective.train()
            rate = cosine(RATE, step, num_steps)
            optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rate, EFFECTS_RATE * rate
            optimizer.zero_grad()
            batch = self._batch(some, step)
            loss = objective(batch).total / len(some)
            (loss if more is None else loss + more(twin, effects, batch)).backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimizer.step()
            if (step + 1) % LOOK_EVERY == 0:
                validated = self._validated(objective)
                if validated < least:
                    least, best_step, best = validated, step + 1, copy.deepcopy((twin, effects))
        return best_step, {"best": best, "last": (twin, effects)}

    def _batches(self) -> Iterator[tuple[str, ...]]:
        for epoch in itertools.count():
            order = np.random.default_rng([self.seed, epoch]).permutation(np.array(self.split.train))
            for begin in range(0, len(order), BATCH):
                yield tuple(order[begin : begin + BATCH].tolist())

    def _batch(self, some: tuple[str, ...], step: int) -> Batch:
        """Lay training people out, once each where there are not too many."""
        layouts = []
        for who in some:
            layout = self._layouts.get(who)
            if layout is None:
                layout = self.maker.layout(self.records[who], "train")
                if len(self.split.train) <= MOST_KEPT:
                    self._layouts[who] = layout
            layouts.append(layout)
        return self.maker.batch_of(layouts, self.seed, step)

    @torch.no_grad()
    def _validated(self, objective: Objective) -> float:
        objective.eval()
        batch = self.maker.batch(self.of(self.split.validation), "validation")
        return float(objective(batch).total) / NUM_VALIDATION

    def figures(self, twin: Twin, effects: PersonEffects, amounts: Sequence[str] = AMOUNTS) -> dict[str, float]:
        """Return what the twin says of unseen people after some of their own trials, by amount, figure and metric."""
        chosen = self.split.train[:: -(-len(self.split.train) // MOST_PEOPLE)]
        measure_prior(twin, _Chosen(self, twin, effects, chosen), effects.covariance_ZZ().detach().double())
        records = self.of(self.split.test)
        people = collect(records, self.taskset, Span(0.0, 1.0), NOWHERE, np.zeros(0))
        group = Group(people, order_of(people.trials, sessions_of(records), len(self.taskset.specs)), None)
        predictor = TwinPredictor(twin, self.maker, records, people, "test", self.taskset, names=(LIVING,))
        tables = []
        for task in range(len(self.taskset.specs)):
            question, did_SY = Question("later", task, task), group.later(self.taskset, task).value_SY
            judged_J = group.order.judged(people.trials, task)
            for amount in amounts:
                said = predictor.say(question, amount, group.order)[LIVING]
                tables.append(
                    rows_of(question, amount, int(amount), LIVING, said, did_SY, judged_J, people, self.taskset)
                )
        rows = curves(pd.concat(tables), num_draws=2)
        return {
            ", ".join(key): float(some["value"].mean())
            for key, some in rows.groupby(["amount", "figure", "metric"], sort=False)
        }


class _Chosen:
    """Some training people, a few at a time, as `measure_prior` goes through them several times."""

    def __init__(self, study: Study, twin: Twin, effects: PersonEffects, pseudonyms: tuple[str, ...]) -> None:
        self._study, self._twin, self._effects, self._pseudonyms = study, twin, effects, pseudonyms

    def __iter__(self) -> Iterator[Known]:
        for begin in range(0, len(self._pseudonyms), BATCH):
            some = self._pseudonyms[begin : begin + BATCH]
            batch = self._study.maker.batch(self._study.of(some), "train")
            row_S = self._effects.rows_of(some)
            edges_SE = self._twin.encoder_input(batch.connectome_SE)
            read_SZ = self._twin.hypernetwork.encoder(edges_SE, None, self._effects.read_PZ[row_S]).double()
            yield batch, read_SZ, (read_SZ + self._effects.centred_PZ()[row_S]).detach().double()


def print_table(out: Path) -> None:
    """Print what all finished trainings say, means over seeds."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    columns = [
        f"{amount}, {what}"
        for what in ("mean RT, R2", "mean RT, CRPS", "reaction times of trials, CRPS")
        for amount in AMOUNTS
    ]
    print("| people | effects | weights | step of the best | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * (len(columns) + 3))
    table = pd.DataFrame(
        {**{name: each[name] for name in ("people", "kind", "weights", "best step")}, **each["figures"]}
        for each in found
    )
    for key, rows in table.groupby(["people", "kind", "weights"]):
        cells = [f"{rows[column].mean():.3f}" for column in columns]
        print(f"| {' | '.join(map(str, key))} | {rows['best step'].mean():.0f} | {' | '.join(cells)} |")


def main() -> None:
    """Make the trainings that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, nargs="+", default=[50, 150, 1000, 10000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for num_people, seed in itertools.product(options.people, options.seeds):
        paths = {kind: options.out / f"{num_people}-{kind}-{seed}" for kind in options.kinds}
        missing = {kind: path for kind, path in paths.items() if not Path(f"{path}-best.json").exists()}
        study = Study(num_people, seed) if missing else None
        for kind, path in missing.items():
            assert study is not None
            begun = time.process_time()
            best_step, twins = study.train(kind, options.steps)
            print(f"{path.name}: trained in {time.process_time() - begun:.0f} s of the processor", flush=True)
            for weights, (twin, effects) in twins.items():
                if weights == "last" and kind != "both":
                    continue
                about: dict[str, Any] = {"people": num_people, "seed": seed, "kind": kind, "weights": weights}
                about |= {"best step": best_step, "figures": study.figures(twin, effects)}
                write_json(Path(f"{path}-{weights}.json"), about)
    print_table(options.out)


if __name__ == "__main__":
    main()
