"""Hold searched interventions on a ground-truth cohort against what is true of it.

    python scripts/studies/intervention_truth.py COHORT SHARDS INTERVENED [--top 24]

COHORT is the output of `dtb synth`, SHARDS of `dtb ingest`, INTERVENED of `dtb intervene`. Three questions: do the edges that the search
changes carry the trait (precision among the largest, beside chance and a ridge regression's weights); does the change have, in the process
that made the cohort, the effect that the twins predict; and does it leave the other traits alone. One JSON object is printed.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb.config import Config, load_config
from dtb.fleet.target import behaviour_weights
from dtb.groundtruth.behaviour import expectations, make_decider, make_design
from dtb.groundtruth.population import TRAITS, Person, Population, make_person, make_population
from dtb.groundtruth.signals import response_maps
from dtb.people.networks import network_of
from dtb.stages import require_complete

TRAIT_OF = {"mean_rt": "slowness", "condition_rt": "conflict", "bold_contrast": "reactivity"}
CONTRAST = {"stroop": ("incongruent", "congruent"), "hammer": ("face", "shape")}


def precision(map_E: np.ndarray, causal: np.ndarray, top: int) -> float:
    """Return the share of the largest entries that are causal."""
    return float(np.isin(np.argsort(-np.abs(map_E))[:top], causal).mean())


def true_figure(person: Person, config: Config, index: int, task: str, indicator: str) -> float:
    """Return what a person would do on average, by the process that made the cohort."""
    conditions = tuple(sorted(set(make_design(task, 0, config.seed).condition_J.tolist())))
    found = expectations(make_decider(person, config.synth, config.seed, index), conditions, config.synth, config.seed)
    if indicator == "condition_rt":
        high, low = CONTRAST[task]
        return found[f"{high}_rt"] - found[f"{low}_rt"]
    kind = "rt" if indicator == "mean_rt" else "accuracy"
    shown_J = make_design(task, 0, config.seed).condition_J
    return float(sum(found[f"{name}_{kind}"] * np.mean(shown_J == name) for name in conditions))


def changed(person: Person, change_E: np.ndarray, population: Population) -> Person:
    """Return the person with the same change made to the true connectome."""
    edges_E = np.arctanh(np.clip(np.tanh(person.edges_E) + change_E, -0.9999, 0.9999))
    return dataclasses.replace(person, edges_E=edges_E, scores=population.scores(edges_E))


def true_contrast(person: Person, population: Population, config: Config, index: int, regions: list[str]) -> float:
    """Return the true difference of a person's responses to faces and shapes, averaged over regions."""
    maps = response_maps(person, population, config.synth, "hammer", config.seed, index)
    chosen = [population.region_names.index(name) for name in regions]
    return float((maps["face"] - maps["shape"])[chosen].mean())


def held_against_truth(cohort: Path, shards: Path, intervened: Path, top: int | None = None) -> dict[str, Any]:
    """Compare a finished search with the truth; see the text at the top.

    Parameters
    ----------
    cohort, shards, intervened : Path
        Outputs of `dtb synth`, `dtb ingest` and `dtb intervene`.
    top : int, optional
        How many of the largest edges to look at; as many as carry the trait if not given.
    """
    for path, stage in ((cohort, "synth"), (intervened, "intervene")):
        require_complete(path, stage)
    config = load_config(cohort / "config.yaml")
    population = make_population(config.synth, config.seed)
    with Path(f"{shards}.identities.tsv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream, delimiter="\t") if row and not row[0].startswith("#")]
    index_of = {pseudonym: int(label.removeprefix("sub-")) - 1 for label, pseudonym in rows[1:]}

    target = pd.read_parquet(intervened / "results").query("is_target").set_index("pseudonym")
    changes = pd.read_parquet(intervened / "changes").set_index("pseudonym")["change_E"]
    reference = pd.read_parquet(intervened / "reference" / "people").dropna(subset=["slope"])
    indicator, task = target["indicator"].iloc[0], target["task"].iloc[0]
    region = str(target["region"].iloc[0]).removeprefix("network ")
    regions = [name for name in population.region_names if region in {name, network_of(name)}]
    trait = TRAIT_OF.get(indicator, "slowness")
    causal = population.causal_edges[trait]
    top = top or len(causal)

    predicted, true, moved_scores = [], [], []
    for pseudonym, row in target.iterrows():
        index = index_of[str(pseudonym)]
        person = make_person(population, config.synth, config.seed, index)
        after = changed(person, np.asarray(changes[pseudonym], dtype=np.float64), population)
        predicted.append(row["after"] - row["before"])
        if indicator == "bold_contrast":
            figures = [true_contrast(one, population, config, index, regions) for one in (person, after)]
        else:
            figures = [true_figure(one, config, index, task, indicator) for one in (person, after)]
        true.append(figures[1] - figures[0])
        moved_scores.append([after.scores[name] - person.scores[name] for name in TRAITS])

    change_SE = np.stack(changes.loc[target.index].to_list())
    edges_SE, observed_S = np.stack(reference["edges"].to_list()), reference["observed"].to_numpy(dtype=np.float64)
    ridge_E = behaviour_weights(edges_SE, observed_S, np.arange(len(observed_S)))
    predicted_S, true_S = np.array(predicted), np.array(true)
    traits = dict(zip(TRAITS, np.mean(moved_scores, axis=0).round(3).tolist(), strict=True))
    others = [value for name, value in traits.items() if name != trait]
    return {
        "indicator": indicator,
        "task": task,
        "trait": trait,
        "num_people": len(target),
        "top": top,
        "precision": {
            "chance": len(causal) / change_SE.shape[1],
            "mean_change": precision(change_SE.mean(0), causal, top),
            "each_change": float(np.mean([precision(change_E, causal, top) for change_E in change_SE])),
            "mean_gradient": precision(np.stack(reference["slope"].to_list()).mean(0), causal, top),
            "ridge": precision(ridge_E, causal, top) if ridge_E is not None else None,
        },
        "true_change_of_traits": traits,
        "selectivity": abs(traits[trait]) / (abs(traits[trait]) + float(np.sqrt(np.mean(np.square(others))))),
        "effect": {
            # A contrast of BOLD is predicted in standard deviations of the signal, and true in the generator's unit.
            "predicted_mean": float(predicted_S.mean()),
            "true_mean": float(true_S.mean()),
            "true_the_wanted_way": float((np.sign(true_S) == np.sign(predicted_S)).mean()),
            "r": float(np.corrcoef(predicted_S, true_S)[0, 1]),
            "true_by_predicted": float(true_S @ predicted_S / (predicted_S @ predicted_S)),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("intervened", type=Path)
    parser.add_argument(
        "--top", type=int, help="how many of the largest edges to look at; as many as carry the trait if not given"
    )
    given = parser.parse_args()
    print(json.dumps(held_against_truth(given.cohort, given.shards, given.intervened, given.top), indent=2))


if __name__ == "__main__":
    main()
