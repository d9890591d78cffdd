"""What the sets without brains share: baselines of everybody, and a living twin without connectomes on one fold."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
from parts import AMOUNTS, REPOSITORY, Figure, Work, figure, usual_figures, where_of

NUM_FOLDS = 5
SHOWN = ("own_mean", "multi_output", "trial_regression")


def baselines(work: Work) -> dict[str, Figure]:
    """Return what everybody's own trials say of their later ones by baselines alone, each person from those of other folds."""
    script = REPOSITORY / "scripts" / "studies" / "living_twin.py"
    out = work.folder / "baselines"
    out.mkdir(exist_ok=True)
    command = [sys.executable, str(script), "baselines", "shards", "baselines", "--folds", str(NUM_FOLDS)]
    work.commands.append(f"python scripts/studies/living_twin.py {' '.join(command[2:])}")
    subprocess.run(command, check=True, cwd=work.folder)
    curves, found = pd.read_parquet(out / "curves.parquet"), {}
    for row in curves.to_dict("records"):
        metrics = ("r", "CRPS", "within 90%") if row["figure"] == "mean RT" else ("r",)
        if row["amount"] not in AMOUNTS or row["predictor"] not in SHOWN or row["metric"] not in metrics:
            continue
        if row["figure"] not in ("mean RT", "condition effect"):
            continue
        where = where_of(row["kind"], row["given"], row["judged"])
        if row["value"] == row["value"]:
            name = f"everybody, {where}: {row['figure']} {row['metric']}, {row['predictor']}, {row['amount']}"
            found[name] = figure(row["value"], row["lower"], row["upper"], row["num_people"], trained=False)
    return found


def twin(work: Work, folds: tuple[int, ...], steps: int) -> dict[str, Figure]:
    """Return what a living twin without connectomes says of the unseen people of some of three folds."""
    if not folds:
        return {}
    found = usual_figures(work.folds(folds, "--max-steps", str(steps), "--segments.burn-in-seconds", "8", num_folds=3))
    # Without connectomes the twin with one and the twin alone are the same.
    return {name: one for name, one in found.items() if "twin alone" not in name}
