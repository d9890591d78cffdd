"""``dtb pool``: the folds of one cohort taken together, so that everybody is an unseen person once, or once a seed.

Each fold's evaluation keeps what its figures were computed from, person by person. Pooled, means are taken over all people, and
correlations after each fold's own mean is taken out: the folds' twins and regressions were fitted to different people, and what differs
between them says nothing of a person. Where there are several seeds, each with all folds, a person's scores are averaged over them, and
how far the seeds' own figures lie apart is said.

Shape letters: `S` subject.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb import terminal
from dtb.config import Config, sections
from dtb.errors import DamagedOutputError, InputDataError
from dtb.evaluate.claim import SEEDS_FOR_A_CLAIM
from dtb.evaluate.figure import TWIN, Figure, make_figure
from dtb.evaluate.stage import FIGURES_FILE, SCORES_FILE, conclude
from dtb.evaluate.statistics import Statistic, draw_weights
from dtb.evaluate.tables import SCORE_PREFIX, STATISTICS
from dtb.files import OutputFolder, require_complete, written_whole
from dtb.shards.split import SEEN_KINDS, Split

FOLD_NOTE = "each fold's mean taken out"


def pool(config: Config, evaluated: tuple[Path, ...], out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Pool the evaluations of several folds, of one seed or several.

    Parameters
    ----------
    config : Config
        `seed` and `evaluate` are read.
    evaluated : tuple of Path
        Output folders of `dtb evaluate`, of one cohort, with different people held out in those of one seed.
    out : Path
        Folder to write into.
    resume : bool
        Accept a folder that an interrupted call with the same settings left.
    dry_run : bool
        Check the inputs and say what would be done, without doing it.

    Raises
    ------
    UserError
        A folder cannot be used, they are of different cohorts, a person is in two of one seed or not in all seeds, or the output
        folder is in use.
    """
    scores, splits, ceilings = _read(evaluated)
    people = tuple(sorted(scores["pseudonym"].unique()))
    if dry_run:
        terminal.out.print(f"Would pool {len(evaluated)} evaluations of {len(people)} people and write to {out}.")
        return
    folder = OutputFolder.claim(out, "pool", sections(config, "seed", "evaluate"), resume=resume)
    if folder.is_complete:
        terminal.out.print(f"{out} is complete already; nothing to do.")
        return
    weights_BS = draw_weights(len(people), config.evaluate.num_bootstrap, config.seed)
    figures = pooled_figures(scores, people, weights_BS, config.evaluate.confidence, ceilings)
    with written_whole(out / SCORES_FILE) as temporary:
        scores.to_parquet(temporary, index=False)
    described = {"kind": "subjects", "num_folds": len(evaluated), "num_test": len(people)}
    seeds = sorted({int(split.get("seed", 0)) for split in splits})
    described["seeds"] = seeds
    described["edge_reliability"] = splits[0].get("edge_reliability")
    described |= {"cohort_hash": splits[0]["cohort_hash"], "split_hashes": [split["split_hash"] for split in splits]}
    conclude(folder, config, figures, Split("subjects", (), (), people), weights_BS, described)
    if len(seeds) < SEEDS_FOR_A_CLAIM:
        terminal.err.print(
            f"{len(seeds)} {'seed is' if len(seeds) == 1 else 'seeds are'} pooled; another could come out otherwise. Train with at least "
            f"{SEEDS_FOR_A_CLAIM} (--seed) and pool all their evaluations before you claim anything."
        )


def pooled_figures(
    scores: pd.DataFrame,
    people: tuple[str, ...],
    weights_BS: np.ndarray,
    confidence: float,
    ceilings: Mapping[tuple[str, str], Mapping[str, float]],
) -> list[Figure]:
    """Make every figure from the folds' scores.

    Parameters
    ----------
    scores : DataFrame
        Rows of `dtb.evaluate.tables.scores_table`, with columns ``fold``, another in each evaluation, and ``seed``.
    people : tuple of str
        Everybody, in the order of the draws' columns.
    weights_BS : (B, S)
    confidence : float
    ceilings : mapping of (task, metric) to mapping
        The figures' ceilings, as in `Figure`.
    """
    found = []
    predictors = [column for column in scores.columns if column.startswith(SCORE_PREFIX)]
    for (task, metric), rows in scores.groupby(["task", "metric"], sort=False):
        first, statistic = rows.iloc[0], STATISTICS[rows.iloc[0]["statistic"]]
        each = rows[["observed", *predictors]].to_numpy(dtype=np.float64)
        if first["statistic"] == "r":
            each = without_fold_means(each, rows["fold"].to_numpy())
        table = pd.DataFrame(each, index=pd.Index(rows["pseudonym"]))
        values = table.groupby(level=0).mean().reindex(list(people)).to_numpy()
        notes = [first["note"], FOLD_NOTE if first["statistic"] == "r" else ""]
        notes.append(_apart(statistic, each, rows["seed"].to_numpy(), 1 + predictors.index(f"{SCORE_PREFIX}{TWIN}")))
        figure = make_figure(
            str(task),
            str(metric),
            first["unit"],
            statistic,
            values[:, 0],
            {name.removeprefix(SCORE_PREFIX): values[:, place + 1] for place, name in enumerate(predictors)},
            weights_BS,
            confidence,
            higher_is_better=bool(first["higher_is_better"]),
            note="; ".join(filter(None, notes)),
            ceilings=ceilings.get((str(task), str(metric))),
        )
        if figure is not None:
            found.append(figure)
    return found


def _apart(statistic: Statistic, values_X: np.ndarray, seed: np.ndarray, twin: int) -> str:
    """Say what each of several seeds reaches alone; nothing for one seed."""
    seeds = np.unique(seed)
    if len(seeds) < 2:
        return ""
    alone = [values_X[seed == one] for one in seeds]
    reached = [float(statistic(part[:, 0], part[:, twin], np.ones((1, len(part))))[0]) for part in alone]
    return f"{len(seeds)} seeds, each person's mean over them; alone {min(reached):.3f} to {max(reached):.3f}"


def without_fold_means(values_SX: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Take each fold's mean out of every column, over the people of the fold who have a value."""
    centred_SX = values_SX.copy()
    for fold in pd.unique(fold_S[~pd.isna(fold_S)]):
        here_S = fold_S == fold
        present_SX = np.isfinite(values_SX[here_S])
        total_X = np.where(present_SX, values_SX[here_S], 0.0).sum(axis=0)
        centred_SX[here_S] -= total_X / np.maximum(present_SX.sum(axis=0), 1)
    return centred_SX


def mean_ceilings(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, float]]:
    """Give the mean of each ceiling over the evaluations that have it, by task and metric, from their figures' rows.

    Examples
    --------
    >>> mean_ceilings([{"task": "t", "metric": "m", "ceilings": {"halves": value}} for value in (0.5, 0.7)])
    {('t', 'm'): {'halves': 0.6}}
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        for name, value in row.get("ceilings", {}).items():
            found.setdefault((row["task"], row["metric"]), {}).setdefault(name, []).append(value)
    return {key: {name: float(np.mean(values)) for name, values in each.items()} for key, each in found.items()}


def _read(
    evaluated: tuple[Path, ...],
) -> tuple[pd.DataFrame, list[dict[str, Any]], dict[tuple[str, str], dict[str, float]]]:
    if len(evaluated) < 2:
        raise InputDataError("Pooling needs the folders of at least two evaluations; give one a fold.")
    tables: list[pd.DataFrame] = []
    splits: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for fold, folder in enumerate(evaluated):
        require_complete(folder, "evaluate")
        try:
            figures = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))
            split = figures["split"]
            rows += figures["rows"]
            table = pd.read_parquet(folder / SCORES_FILE)
            cohort_hash, kind = split["cohort_hash"], split["kind"]
        except (OSError, ValueError, KeyError) as error:
            raise DamagedOutputError(f"{folder} cannot be read ({error}). Run `dtb evaluate` anew.") from None
        if kind in SEEN_KINDS:
            raise InputDataError(
                f"{folder} is about people who were seen in training; only folds over people are pooled."
            )
        if splits and cohort_hash != splits[0]["cohort_hash"]:
            raise InputDataError(
                f"{folder} is about another cohort than {evaluated[0]}; only folds of one cohort are pooled."
            )
        tables.append(table.assign(fold=fold, seed=int(split.get("seed", 0))))
        splits.append(split)
    scores = pd.concat(tables, ignore_index=True)
    people_of: dict[int, set[str]] = {}
    for seed in sorted({int(split.get("seed", 0)) for split in splits}):
        folds_of = scores[scores["seed"] == seed].groupby("pseudonym")["fold"].nunique()
        if (folds_of > 1).any():
            raise InputDataError(
                f"{int((folds_of > 1).sum())} people are in more than one of the evaluations with seed {seed}, for example "
                f"{folds_of.idxmax()}; give each fold of a seed once, all with the same num_folds."
            )
        people_of[seed] = set(folds_of.index)
    everybody = set().union(*people_of.values())
    for seed, some in people_of.items():
        if some != everybody:
            raise InputDataError(
                f"{len(everybody - some)} people of other seeds are in no evaluation with seed {seed}, for example "
                f"{min(everybody - some)}; give all folds of every seed."
            )
    return scores, splits, mean_ceilings(rows)
