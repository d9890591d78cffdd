"""Song et al. 2023: two rest runs, gradCPT with faces and scenes, with BOLD; the whole chain."""

from __future__ import annotations

import numpy as np
from latents import distances, read_by, scans_of, unseen_of
from parts import TASKS, Figure, Work, bootstrap, figure, usual_figures

FOLDS, STEPS = (0, 1), 200
SMALLER = "Two of five folds (10 unseen people) and 200 steps."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    specs = [TASKS / "gradcpt_scene.yaml", TASKS / "gradcpt_face.yaml"]
    work.dtb("ingest", "bids", "shards", "--derivatives", "xcp_d", "--tasks", *specs, "--rest-runs", "separate")
    pooled = work.folds(FOLDS, "--max-steps", str(STEPS))
    found = usual_figures(pooled)
    for row in pooled.living_bold.to_dict("records"):
        name = f"{row['task']}: later map {row['metric']}, {row['predictor']}, {row['amount']} min"
        found[name] = figure(row["value"], row["lower"], row["upper"], row["num_people"])
    return found | two_rests(work)


def two_rests(work: Work) -> dict[str, Figure]:
    """Return how far apart the connectomes and the twins of two rest runs are."""
    scans = scans_of(work.folder / "shards")
    runs = [{who: some[f"task-rest_run-{number}"] for who, some in scans.items()} for number in (1, 2)]
    parts = {"connectomes": [distances(*runs, by_correlation=True)], "twins": []}
    for fold in FOLDS:
        trained = work.folder / f"train{fold}"
        read = read_by(trained, {who: scans[who] for who in unseen_of(trained)})
        runs = [{who: some[f"task-rest_run-{number}"] for who, some in read.items()} for number in (1, 2)]
        parts["twins"].append(distances(*runs, by_correlation=False))
    found = {}
    for what, some in parts.items():
        for name in ("own", "others", "nearest"):
            values_S = np.concatenate([one[name] for one in some])
            found[f"two rest runs, {what}: {name}"] = bootstrap(values_S, trained=what == "twins")
    return found
