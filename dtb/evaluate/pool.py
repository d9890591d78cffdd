"""``dtb pool``: the folds of one cohort taken together, so that everybody is an unseen person once.

Each fold's evaluation keeps what its figures were computed from, person by person. Pooled, means are taken over all people, and
correlations after each fold's own mean is taken out: the folds' twins and regressions were fitted to different people, and what differs
between them says nothing of a person.

Shape letters: `S` subject.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb import terminal
from dtb.config import Config, sections
from dtb.errors import DamagedOutputError, InputDataError
from dtb.evaluate.figures import Figure, make_figure
from dtb.evaluate.stage import FIGURES_FILE, SCORES_FILE, conclude
from dtb.evaluate.statistics import draw_weights
from dtb.evaluate.tables import SCORE_PREFIX, STATISTICS
from dtb.files import OutputFolder, require_complete, written_whole
from dtb.shards.split import SEEN_KINDS, Split

FOLD_NOTE = "each fold's mean taken out"


def pool(config: Config, evaluated: tuple[Path, ...], out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Pool the evaluations of several folds.

    Parameters
    ----------
    config : Config
        `seed` and `evaluate` are read.
    evaluated : tuple of Path
        Output folders of `dtb evaluate`, of one cohort, with different people held out.
    out : Path
        Folder to write into.
    resume : bool
        Accept a folder that an interrupted call with the same settings left.
    dry_run : bool
        Check the inputs and say what would be done, without doing it.

    Raises
    ------
    UserError
        A folder cannot be used, they are of different cohorts, a person is in two of them, or the output folder is in use.
    """
    scores, splits = _read(evaluated)
    people = tuple(sorted(scores["pseudonym"].unique()))
    if dry_run:
        terminal.out.print(f"Would pool {len(evaluated)} evaluations of {len(people)} people and write to {out}.")
        return
    folder = OutputFolder.claim(out, "pool", sections(config, "seed", "evaluate"), resume=resume)
    if folder.is_complete:
        terminal.out.print(f"{out} is complete already; nothing to do.")
        return
    weights_BS = draw_weights(len(people), config.evaluate.num_bootstrap, config.seed)
    figures = pooled_figures(scores, people, weights_BS, config.evaluate.confidence)
    with written_whole(out / SCORES_FILE) as temporary:
        scores.to_parquet(temporary, index=False)
    described = {"kind": "subjects", "num_folds": len(evaluated), "num_test": len(people)}
    described |= {"cohort_hash": splits[0]["cohort_hash"], "split_hashes": [split["split_hash"] for split in splits]}
    conclude(folder, config, figures, Split("subjects", (), (), people), weights_BS, described)


def pooled_figures(
    scores: pd.DataFrame, people: tuple[str, ...], weights_BS: np.ndarray, confidence: float
) -> list[Figure]:
    """Make every figure from the folds' scores.

    Parameters
    ----------
    scores : DataFrame
        Rows of `dtb.evaluate.tables.scores_table`, with a column ``fold``.
    people : tuple of str
        Everybody, in the order of the draws' columns.
    weights_BS : (B, S)
    confidence : float
    """
    found = []
    predictors = [column for column in scores.columns if column.startswith(SCORE_PREFIX)]
    for (task, metric), rows in scores.groupby(["task", "metric"], sort=False):
        placed = rows.set_index("pseudonym").reindex(list(people))
        first = rows.iloc[0]
        values = placed[["observed", *predictors]].to_numpy(dtype=np.float64)
        if first["statistic"] == "r":
            values = without_fold_means(values, placed["fold"].to_numpy())
        figure = make_figure(
            str(task),
            str(metric),
            first["unit"],
            STATISTICS[first["statistic"]],
            values[:, 0],
            {name.removeprefix(SCORE_PREFIX): values[:, place + 1] for place, name in enumerate(predictors)},
            weights_BS,
            confidence,
            higher_is_better=bool(first["higher_is_better"]),
            note="; ".join(filter(None, [first["note"], FOLD_NOTE if first["statistic"] == "r" else ""])),
        )
        if figure is not None:
            found.append(figure)
    return found


def without_fold_means(values_SX: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Take each fold's mean out of every column, over the people of the fold who have a value."""
    centred_SX = values_SX.copy()
    for fold in pd.unique(fold_S[~pd.isna(fold_S)]):
        here_S = fold_S == fold
        present_SX = np.isfinite(values_SX[here_S])
        total_X = np.where(present_SX, values_SX[here_S], 0.0).sum(axis=0)
        centred_SX[here_S] -= total_X / np.maximum(present_SX.sum(axis=0), 1)
    return centred_SX


def _read(evaluated: tuple[Path, ...]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    if len(evaluated) < 2:
        raise InputDataError("Pooling needs the folders of at least two evaluations; give one a fold.")
    tables: list[pd.DataFrame] = []
    splits: list[dict[str, Any]] = []
    for fold, folder in enumerate(evaluated):
        require_complete(folder, "evaluate")
        try:
            split = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))["split"]
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
        tables.append(table.assign(fold=fold))
        splits.append(split)
    scores = pd.concat(tables, ignore_index=True)
    folds_of = scores.groupby("pseudonym")["fold"].nunique()
    if (folds_of > 1).any():
        raise InputDataError(
            f"{int((folds_of > 1).sum())} people are in more than one of the evaluations, for example {folds_of.idxmax()}; "
            "give each fold once, all with the same seed and num_folds."
        )
    return scores, splits
