"""What lets a twin learn people from their connectomes: the runs, figures and tables of docs/learning.md.

    python scripts/studies/learning_study.py COHORT SHARDS OUT

COHORT is the output of `dtb synth` and SHARDS that of `dtb ingest`. Every run is kept in OUT and not made again, so that an
interrupted study goes on; `--only` makes some of the runs. Training is the plain loop of `dtb train` in one process, without Ray.

Shape letters: `S` unseen person, `Y` figure of behaviour, `B` bootstrap draw.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from dtb.config import Config, from_mapping
from dtb.evaluate.predictors.fitting import regressions
from dtb.evaluate.predictors.predictions import Summary, summary_of_people
from dtb.evaluate.predictors.twin import predict
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.observed import People, collect
from dtb.shards.batches import BatchMaker
from dtb.shards.layouts import Layout
from dtb.shards.read import open_cohort
from dtb.shards.split import Span
from dtb.tasks.taskset import TaskSet
from dtb.train.loop import cosine
from dtb.train.plan import Plan, make_plan
from dtb.train.start.normalise import measure
from dtb.train.start.summaries import summarise
from dtb.twin import hypernetwork
from dtb.twin.batch import Batch
from dtb.twin.model import Twin
from dtb.twin.objective import Objective

SEED = 1
LEARNED_SHARE = hypernetwork.LEARNED_SHARE
NO_REGIONS = np.zeros(0, np.int64)
FIGURES = ("mean_rt", "condition_rt", "accuracy")

BASE: dict[str, Any] = {
    "segments": {"segment_seconds": 60.0, "burn_in_seconds": 4.0},
    "twin": {
        "step_seconds": 0.1,
        "num_hidden": 24,
        "rank": 3,
        "latent_size": 6,
        "encoder_widths": [16],
        "connectome_dropout": 0.0,
    },
    "train": {
        "batch_size": 8,
        "learning_rate": 0.008,
        "weight_decay": 0.1,
        "max_epochs": 12,
        "patience_epochs": 12,
        "bold_weight": 0.0,
    },
}
"""The twin that is recommended; each variant says what is different."""

RANDOM = {"train": {"start": "random"}, "twin": {"connectome_dropout": 0.3}}
VARIANTS: dict[str, dict[str, Any]] = {
    "regression": {},
    "random": RANDOM,
    "random, no dropout": {"train": {"start": "random"}},
    "random, every edge": {
        "train": {"start": "random"},
        "twin": {"connectome_dropout": 0.3, "connectome_components": 0},
    },
    "random, large twin": {
        "train": {"start": "random"},
        "twin": {"num_hidden": 64, "rank": 4, "latent_size": 16, "encoder_widths": [64], "connectome_dropout": 0.1},
    },
    "random, constant rate": {
        "train": {"start": "random", "schedule": "constant"},
        "twin": {"connectome_dropout": 0.3},
    },
    "regression alone": {"learned_share": 0.0},
    "regression, learned freely": {"learned_share": 1.0},
    "constant rate": {"train": {"schedule": "constant"}},
    "dropout 0.3": {"twin": {"connectome_dropout": 0.3}},
    "large twin": {"twin": {"num_hidden": 64, "rank": 4, "latent_size": 16, "encoder_widths": [64]}},
    "32 components": {"twin": {"connectome_components": 32}},
    "128 components": {"twin": {"connectome_components": 128}},
    "latent 3": {"twin": {"latent_size": 3}},
    "no weight decay": {"train": {"weight_decay": 0.0}},
    "24 epochs": {"train": {"max_epochs": 24, "patience_epochs": 24}},
    "with BOLD": {"train": {"bold_weight": 0.5}},
}


class Study:
    """A cohort in memory, one division of it, and what people did.

    Parameters
    ----------
    cohort, shards : Path
    fold : int
    people : int or None
        How many of the training and validation people may be used; all if None.
    """

    def __init__(self, cohort: Path, shards: Path, fold: int, people: int | None) -> None:
        self.shards, self.fold = shards, fold
        self.store = open_cohort(shards, verify=False)
        self.records = {record.pseudonym: record for record in self.store.records()}
        self.split = self.plan({}).split
        if people is not None:
            kept = round(people * len(self.split.train) / (len(self.split.train) + len(self.split.validation)))
            self.split = dataclasses.replace(
                self.split, train=self.split.train[:kept], validation=self.split.validation[: people - kept]
            )
        self.taskset = TaskSet.from_plain(self.store.manifest.description.taskset)
        self.training = self.people((*self.split.train, *self.split.validation))
        self.unseen = self.people(self.split.test)
        self.makers: dict[tuple[Any, ...], BatchMaker] = {}
        self.layouts: dict[tuple[BatchMaker, str, Any], Layout] = {}
        names = pd.read_csv(f"{shards}.identities.tsv", sep="\t", comment="#")
        truth = pd.read_csv(cohort / "truth" / "subjects.tsv", sep="\t").merge(names, on="participant_id")
        self.truth = truth.set_index("pseudonym")

    def plan(self, changes: dict[str, Any], seed: int = SEED) -> Plan:
        """Decide on configuration and split; the split is that of `SEED` whatever the seed of the weights."""
        values = {
            name: {**BASE.get(name, {}), **changes.get(name, {})} for name in ("segments", "twin", "train", "split")
        }
        values["split"]["fold"] = self.fold
        config = from_mapping(Config, {"seed": SEED, **values}, "study")
        plan = make_plan(config, self.shards, Path("study"), self.store)
        return dataclasses.replace(plan, config=dataclasses.replace(config, seed=seed))

    def people(self, pseudonyms: tuple[str, ...]) -> People:
        """Gather what people did, without BOLD."""
        records = (self.records[who] for who in pseudonyms)
        return collect(records, self.taskset, Span(0.0, 1.0), NO_REGIONS, np.zeros(0))

    def summary(self, people: People) -> np.ndarray:
        """(S, Y): observed figures."""
        return columns(summary_of_people(people, self.taskset))

    def baselines(self) -> dict[str, np.ndarray]:
        """Predict with regressions on edges, and with the traits that made these people, which nobody has."""
        found = regressions(self.training, summary_of_people(self.training, self.taskset), self.unseen)
        predicted = {name: columns(found[name].summary) for name in ("ridge", "kernel_ridge")}
        traits = [name for name in self.truth.columns if name.startswith("trait_")]
        fitted = make_pipeline(
            PolynomialFeatures(3), StandardScaler(), RidgeCV(np.logspace(-3, 4, 15), alpha_per_target=True)
        ).fit(self.truth.loc[list(self.training.pseudonyms), traits].to_numpy(), self.summary(self.training))
        known = fitted.predict(self.truth.loc[list(self.unseen.pseudonyms), traits].to_numpy())
        return predicted | {"true traits": np.asarray(known)}

    def train(self, changes: dict[str, Any], seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Train a twin and predict the unseen people's figures (S, Y)."""
        plan = dataclasses.replace(self.plan(changes, seed), split=self.split)
        config, begun = plan.config, time.monotonic()
        hypernetwork.LEARNED_SHARE = changes.get("learned_share", LEARNED_SHARE)
        with_bold = config.train.bold_weight > 0
        if not with_bold:
            sizes = dataclasses.replace(plan.card.sizes, num_bold_regions=0)
            card = dataclasses.replace(plan.card, sizes=sizes, bold_region_names=())
            plan = dataclasses.replace(plan, card=card)
        twin = plan.twin(
            measure(
                (
                    (self.records[who].connectome_E, summarise(self.records[who], plan.asked))
                    for who in self.split.train
                ),
                plan.card.sizes.num_edges,
                len(plan.bold_regions),
                config.twin.connectome_components,
                num_latents=config.twin.latent_size if plan.asked.taskset is not None else 0,
            )
        )
        maker = self.maker(plan)
        objective = Objective(twin, config.train.press_weight, config.train.bold_weight)
        optimizer = torch.optim.AdamW(
            twin.parameters(), lr=config.train.learning_rate, weight_decay=config.train.weight_decay
        )
        best, least, best_epoch = copy.deepcopy(twin.state_dict()), np.inf, 0
        for epoch in range(config.train.max_epochs):
            objective.train()
            batches = list(plan.stream("train").shares(epoch, 0, 1))
            for step, share in enumerate(batches):
                if config.train.schedule == "cosine":
                    done = epoch + step / len(batches)
                    rate = cosine(config.train.learning_rate, done, config.train.max_epochs)
                    optimizer.param_groups[0]["lr"] = rate
                batch = self.batch(maker, share.pseudonyms, "train", seed, epoch)
                optimizer.zero_grad()
                (objective(batch).total / len(share.pseudonyms)).backward()
                torch.nn.utils.clip_grad_norm_(twin.parameters(), config.train.gradient_clipping)
                optimizer.step()
            loss = self.validate(plan, maker, objective)
            if loss < least:
                best, least, best_epoch = copy.deepcopy(twin.state_dict()), loss, epoch + 1
        twin.load_state_dict(best)
        predicted = self.perform(twin, maker)
        return predicted, {"loss": least, "best_epoch": best_epoch, "seconds": time.monotonic() - begun}

    def maker(self, plan: Plan) -> BatchMaker:
        """Return the batch maker of these settings, which is the same from one run to the next."""
        config = plan.config
        key = (config.segments, config.twin.step_seconds, len(plan.bold_regions))
        if key not in self.makers:
            self.makers[key] = BatchMaker(
                self.taskset, config.segments, config.twin.step_seconds, plan.bold_regions, self.split
            )
        return self.makers[key]

    def batch(self, maker: BatchMaker, people: tuple[str, ...], part: Any, seed: int, epoch: int) -> Batch:
        """Lay people out."""
        for who in people:
            if (maker, who, part) not in self.layouts:
                self.layouts[maker, who, part] = maker.layout(self.records[who], part)
        return maker.batch_of([self.layouts[maker, who, part] for who in people], seed, epoch)

    @torch.no_grad()
    def validate(self, plan: Plan, maker: BatchMaker, objective: Objective) -> float:
        """Mean loss of the validation people."""
        objective.eval()
        shares = plan.stream("validation").shares(0, 0, 1)
        batches = (self.batch(maker, share.pseudonyms, "validation", 0, 0) for share in shares)
        return sum(float(objective(batch).total) for batch in batches) / len(self.split.validation)

    def perform(self, twin: Twin, maker: BatchMaker) -> np.ndarray:
        """(S, Y): figures of the unseen people's twins."""
        twin.eval()
        records = (self.records[who] for who in self.split.test)
        told = {TWIN: self.unseen.edges_SE}
        regions = NO_REGIONS
        found = predict([twin], maker, records, self.unseen, "test", self.split, self.taskset, regions, told)
        return columns(found[TWIN].summary)


def columns(summary: Summary) -> np.ndarray:
    """(S, Y): a summary's figures side by side, each task's after one another."""
    return np.concatenate([summary.mean_rt_ST, summary.condition_rt_ST, summary.accuracy_ST], axis=1)


def runs_wanted() -> Iterator[tuple[str, int | None, int, int]]:
    """Name variant, people, fold and seed of each run, the most important first."""
    for seed in (1, 2, 3):
        for fold in (0, 1):
            yield "regression", None, fold, seed
    for name in ("random", "regression alone", "24 epochs"):
        for fold in (0, 1):
            yield name, None, fold, 1
    for name in VARIANTS:
        yield name, 150, 0, 1


def path_of(out: Path, name: str, people: int | None, fold: int, seed: int) -> Path:
    """Return where a run is kept."""
    return out / f"{name.replace(' ', '_').replace(',', '')}-{people or 'all'}-{fold}-{seed}.npz"


def main() -> None:
    """Make the runs that are missing, then print what all of them say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", help="variants to run; all if not given")
    parser.add_argument("--people", type=int, nargs="*", help="run only with these numbers of people; 0 for all")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    studies: dict[tuple[int, int | None], Study] = {}
    for name, people, fold, seed in runs_wanted():
        path = path_of(options.out, name, people, fold, seed)
        unwanted = options.only is not None and name not in options.only
        if path.exists() or unwanted or (options.people is not None and (people or 0) not in options.people):
            continue
        if (fold, people) not in studies:
            studies[fold, people] = Study(options.cohort, options.shards, fold, people)
        study = studies[fold, people]
        baseline = path_of(options.out, "baselines", people, fold, 0)
        if not baseline.exists():
            arrays: dict[str, Any] = {"observed": study.summary(study.unseen), **study.baselines()}
            np.savez(baseline, **arrays)
        # With fewer people an epoch has fewer steps, and there are more of them.
        epochs = {} if people is None else {"max_epochs": 40, "patience_epochs": 40}
        changes = {**VARIANTS[name], "train": {**VARIANTS[name].get("train", {}), **epochs}}
        predicted_SY, told = study.train(changes, seed)
        np.savez(path, predicted=predicted_SY, **told)
        r_Y = [np.corrcoef(*pair)[0, 1] for pair in zip(predicted_SY.T, study.summary(study.unseen).T, strict=True)]
        print(json.dumps({"run": path.stem, "r": [round(r, 3) for r in r_Y], **told}), flush=True)


if __name__ == "__main__":
    main()
