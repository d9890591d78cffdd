"""The tables and the picture of docs/learning.md, from the runs that `scripts/studies/learning_study.py` kept.

    python scripts/studies/learning_tables.py OUT docs/images/learning.svg --ceilings COHORT/truth/ceilings.json

Shape letters: `F` fold, `S` unseen person, `Y` figure of behaviour, `B` bootstrap draw.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
import matplotlib.pyplot as plt

NUM_DRAWS = 2000
FIGURES = (
    ("stroop", "mean_rt", "Stroop, mean RT"),
    ("hammer", "mean_rt", "Hammer, mean RT"),
    ("stroop", "condition_rt", "Stroop effect"),
    ("hammer", "condition_rt", "Faces minus shapes"),
    ("stroop", "accuracy", "Stroop, accuracy"),
    ("hammer", "accuracy", "Hammer, accuracy"),
)
"""In the order of the runs' columns."""

Folds = dict[int, list[np.ndarray]]
"""For each fold, each seed's predictions (S, Y)."""


def correlation(predicted_SY: np.ndarray, observed_SY: np.ndarray, weights_BS: np.ndarray) -> np.ndarray:
    """(B, Y): correlation over people, each weighted as often as it was drawn."""
    total_B1 = weights_BS.sum(axis=1, keepdims=True)

    def mean_BY(values_SY: np.ndarray) -> np.ndarray:
        return weights_BS @ values_SY / total_B1

    # Centred first, so that products of large means do not cancel.
    one_SY, other_SY = predicted_SY - predicted_SY.mean(0), observed_SY - observed_SY.mean(0)
    covariance_BY = mean_BY(one_SY * other_SY) - mean_BY(one_SY) * mean_BY(other_SY)
    variances = ((mean_BY(values**2) - mean_BY(values) ** 2) for values in (one_SY, other_SY))
    return np.asarray(covariance_BY / np.sqrt(np.prod([*variances], axis=0)))


def over_folds(runs: Folds, observed: dict[int, np.ndarray], draws: dict[int, np.ndarray]) -> np.ndarray:
    """(B, Y): mean over folds of the mean over seeds."""
    each = [
        np.mean([correlation(one, observed[fold], draws[fold]) for one in seeds], axis=0)
        for fold, seeds in runs.items()
    ]
    return np.mean(each, axis=0)


def read(
    out: Path, people: str, only: int | None = None
) -> tuple[dict[int, np.ndarray], dict[str, Folds], dict[str, dict[str, float]]]:
    """Return what unseen people did in each fold, and what each variant predicted, baselines included, and how it trained."""
    observed: dict[int, np.ndarray] = {}
    runs: dict[str, Folds] = defaultdict(lambda: defaultdict(list))
    told: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(out.glob(f"*-{people}-*.npz")):
        name, _, fold, _ = path.stem.rsplit("-", 3)
        if only is not None and int(fold) != only:
            continue
        found = np.load(path)
        if name == "baselines":
            observed[int(fold)] = found["observed"]
            for baseline in set(found.files) - {"observed"}:
                runs[baseline][int(fold)].append(found[baseline])
        else:
            runs[name][int(fold)].append(found["predicted"])
            told[name].append((float(found["loss"]), float(found["best_epoch"])))
    means = {name: dict(zip(("loss", "epoch"), np.mean(rows, axis=0), strict=True)) for name, rows in told.items()}
    return observed, runs, means


def rows_of(out: Path, people: str, only: int | None = None, seed: int = 0) -> list[dict[str, object]]:
    """One row a variant, over all folds or only one: its correlations, and how far they are from kernel ridge's on the same people."""
    observed, runs, told = read(out, people, only)
    averaged = {fold: [np.mean(seeds, axis=0)] for fold, seeds in runs.get("regression", {}).items() if len(seeds) > 1}
    if averaged:
        runs["regression, seeds averaged"] = averaged
    rng = np.random.default_rng(seed)
    draws = {
        fold: rng.multinomial(len(values), np.full(len(values), 1 / len(values)), NUM_DRAWS).astype(float)
        for fold, values in observed.items()
    }
    whole = {fold: np.ones((1, len(values))) for fold, values in observed.items()}
    rows: list[dict[str, object]] = []
    for name, folds in runs.items():
        kernel = {fold: runs["kernel_ridge"][fold] for fold in folds}
        r_Y = over_folds(folds, observed, whole)[0]
        difference_Y = r_Y - over_folds(kernel, observed, whole)[0]
        drawn_BY = over_folds(folds, observed, draws) - over_folds(kernel, observed, draws)
        low_Y, high_Y = np.quantile(drawn_BY, (0.025, 0.975), axis=0)
        row = {"name": name, "runs": sum(map(len, folds.values())), "folds": len(folds), **told.get(name, {})}
        rows.append(
            row
            | {"r": r_Y.tolist(), "difference": difference_Y.tolist(), "low": low_Y.tolist(), "high": high_Y.tolist()}
        )
    return rows


def markdown(rows: list[dict[str, object]]) -> str:
    """Tables of correlations and of differences from kernel ridge."""
    heads = [label for _, _, label in FIGURES]
    lines = [f"| | runs | {' | '.join(heads)} | loss |", f"|{'---|' * (len(heads) + 3)}"]
    for row in rows:
        cells = [
            f"{r:.3f} ({d:+.3f} [{low:+.3f}, {high:+.3f}])"
            for r, d, low, high in zip(row["r"], row["difference"], row["low"], row["high"], strict=True)  # type: ignore[call-overload]
        ]
        loss = f"{row['loss']:.4f}" if "loss" in row else ""
        lines.append(f"| {row['name']} | {row['runs']} | {' | '.join(cells)} | {loss} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, object]], ceilings: dict[str, dict[str, float]], path: Path) -> None:
    """Draw each predictor's correlation in each figure, with what can be reached."""
    shown = [
        ("kernel_ridge", "kernel ridge", "#8a8f98", "o"),
        ("random", "twin, random start", "#d08770", "s"),
        ("regression", "twin, start at the regression", "#2b6cb0", "D"),
        ("true traits", "the true traits, which nobody has", "#2f855a", "^"),
    ]
    most = max(int(str(row["folds"])) for row in rows)
    # Folds differ in difficulty: only what was made in all of them is comparable.
    by_name = {str(row["name"]): row for row in rows if row["folds"] == most}
    figure, axis = plt.subplots(figsize=(8.0, 3.6), layout="constrained")
    for place, (task, kind, _) in enumerate(FIGURES):
        axis.plot([place - 0.35, place + 0.35], [ceilings[task][kind]] * 2, color="#444", linewidth=1)
        axis.plot(
            [place - 0.35, place + 0.35], [0.8 * ceilings[task][kind]] * 2, color="#444", linewidth=1, linestyle=":"
        )
    for number, (name, label, color, marker) in enumerate(row for row in shown if row[0] in by_name):
        places = np.arange(len(FIGURES)) + 0.17 * (number - 1.5)
        axis.plot(places, by_name[name]["r"], marker, color=color, label=label, markersize=6)
    axis.set_xticks(range(len(FIGURES)), [label.replace(" ", "\n", 1) for _, _, label in FIGURES])
    axis.set_ylabel("r with what unseen people did")
    axis.set_ylim(0, 1)
    axis.spines[["top", "right"]].set_visible(False)
    axis.plot([], [], color="#444", linewidth=1, label="ceiling of the truth file")
    axis.plot([], [], color="#444", linewidth=1, linestyle=":", label="80% of it")
    axis.legend(fontsize=7, frameon=False, ncols=2, loc="lower left")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--ceilings", type=Path, required=True)
    options = parser.parse_args()
    ceilings = json.loads(options.ceilings.read_text(encoding="utf-8"))
    print("ceilings", {label: round(ceilings[task][kind], 3) for task, kind, label in FIGURES})
    for people in ("all", "150"):
        rows = rows_of(options.out, people)
        print(f"\n{people}\n{markdown(rows)}")
        if people == "all":
            draw(rows, ceilings, options.picture)
            # Settings chosen on one fold's unseen people say nothing there: each fold by itself.
            for fold in sorted(read(options.out, people)[0]):
                print(f"\nfold {fold}\n{markdown(rows_of(options.out, people, fold))}")


if __name__ == "__main__":
    main()
