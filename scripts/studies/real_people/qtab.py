"""QTAB: 194 adolescents in families, a movie for rest and an emotional conflict task; families stay together."""

from __future__ import annotations

import json

from parts import Figure, Work, usual_figures

FOLDS, STEPS = (0,), 150
SMALLER = "One of three folds and 150 steps."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    spec = work.specs / "emotionalconflict.yaml"
    work.dtb("ingest", "bids", "shards", "--derivatives", "xcp_d", "--tasks", spec, "--rest-task", "partlycloudy")
    pooled = work.folds(FOLDS, "--max-steps", str(STEPS), "--segments.burn-in-seconds", "8", num_folds=3)
    certificate = json.loads((pooled.folder / "certificate.json").read_text())
    print(certificate["sentence"])
    return usual_figures(pooled)
