"""Do searches find what is true? Several ground-truth cohorts, twins and traits, each held against the truth. Writes a table for
docs/interventions.md.

    python scripts/studies/intervention_study.py OUT [NUM_COHORTS [NUM_SEEDS]]

Each cohort is made, ingested, trained on (once a seed) and searched for three targets: faster responses in the Stroop task (cognitive), a
smaller Stroop effect (cognitive), a smaller response of the reactive network to faces (affective). OUT keeps everything: a second call goes
on there.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from intervention_truth import held_against_truth

from dtb.cluster.connection import connected
from dtb.cohort.ingest import ingest
from dtb.config import Config, InterveneConfig, load_config
from dtb.files import write_json, write_text
from dtb.fleet.intervene import intervene
from dtb.groundtruth.population import make_population
from dtb.groundtruth.synthesise import synthesise
from dtb.people.networks import network_of
from dtb.terminal import err, out
from dtb.train.trainer import train

FIRST_SEED, PEOPLE, STEPS, BOLD_WEIGHT = 11, 96, 12, 2.0
COMMON: dict[str, Any] = {"direction": "decrease", "num_steps": STEPS, "off_target_weight": 0.1, "relmat": False}


def targets(config: Config) -> dict[str, InterveneConfig]:
    """Name the searches; the reactive network is the last one of the made-up atlas."""
    last = network_of(make_population(config.synth, config.seed).region_names[-1])
    return {
        "mean RT, Stroop": InterveneConfig(indicator="mean_rt", task="stroop", **COMMON),
        "Stroop effect": InterveneConfig(indicator="condition_rt", task="stroop", **COMMON),
        "BOLD to faces": InterveneConfig(indicator="bold_contrast", task="hammer", network=last, **COMMON),
        "mean RT, Stroop, 24 edges": InterveneConfig(
            indicator="mean_rt", task="stroop", space="sparse", max_edges=24, **COMMON
        ),
    }


def one_twin(base: Config, folder: Path, seed: int) -> list[dict[str, Any]]:
    """Train a twin on a cohort, search with it, and hold what it finds against the truth."""
    cohort, shards, trained = folder / "cohort", folder / "shards", folder / f"train{seed}"
    train(dataclasses.replace(base, seed=seed), shards, trained, resume=trained.exists())
    found = []
    for number, (name, settings) in enumerate(targets(base).items()):
        searched, kept = folder / f"search{seed}-{number}", folder / f"truth{seed}-{number}.json"
        if not kept.exists():
            config = dataclasses.replace(base, seed=seed, intervene=settings)
            intervene(config, shards, trained, searched, resume=searched.exists())
            write_json(kept, {"search": name, **held_against_truth(cohort, shards, searched)})
        found.append(json.loads(kept.read_text(encoding="utf-8")))
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Lay means over twins out, with the smallest and the largest."""
    lines = [
        "| search | twins | precision, mean change | in single people | ridge map | chance | true effect the wanted way | "
        "r of predicted with true effect | true by predicted | selectivity |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["search"] for one in found):
        mine = [one for one in found if one["search"] == name]

        def spread(*path: str, own: list[dict[str, Any]] = mine) -> str:
            found = [functools.reduce(lambda part, key: part[key], path, one) for one in own]
            values = np.array([np.nan if value is None else value for value in found], dtype=float)
            return f"{np.nanmean(values):.2f} ({np.nanmin(values):.2f} to {np.nanmax(values):.2f})"

        is_bold = mine[0]["indicator"] == "bold_contrast"
        cells = [
            name,
            str(len(mine)),
            spread("precision", "mean_change"),
            spread("precision", "each_change"),
            spread("precision", "ridge"),
            f"{mine[0]['precision']['chance']:.3f}",
            spread("effect", "true_the_wanted_way"),
            spread("effect", "r"),
            "other units" if is_bold else spread("effect", "true_by_predicted"),
            spread("selectivity"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(folder: Path, num_cohorts: int, num_seeds: int) -> None:
    """Run the study."""
    demo = load_config(Path(__file__).parents[2] / "configs" / "demo.yaml")
    found: list[dict[str, Any]] = []
    with connected(demo.cluster):
        for seed, number in itertools.product(range(num_seeds), range(num_cohorts)):
            base = dataclasses.replace(
                demo,
                seed=FIRST_SEED + number,
                synth=dataclasses.replace(demo.synth, num_subjects=PEOPLE),
                train=dataclasses.replace(demo.train, bold_weight=BOLD_WEIGHT, num_workers=1),
            )
            mine = folder / f"cohort{number}"
            synthesise(base, mine / "cohort", resume=(mine / "cohort").exists())
            trees = mine / "cohort" / "bids", (mine / "cohort" / "derivatives" / "xcp_d",)
            ingest(base, *trees, mine / "shards", resume=(mine / "shards").exists())
            found += one_twin(base, mine, base.seed + 100 * seed)
            err.print(table(found))
            write_text(folder / "table.md", table(found))
    out.print(table(found))


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    given = [*sys.argv[2:], *("4", "2")[len(sys.argv) - 2 :]]
    main(Path(sys.argv[1]).resolve(), int(given[0]), int(given[1]))
