"""The figures of an evaluation as tables: rows for files, and one to look at in the terminal."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
from rich.table import Table

from dtb import terminal
from dtb.evaluate.predictors.predictions import Prediction, Summary, person_task_mean
from dtb.evaluate.scores.figure import TWIN, Figure
from dtb.evaluate.scores.observed import People
from dtb.evaluate.scores.statistics import Statistic, correlation, explained_variance, mean_of
from dtb.evaluate.scores.strangers import LossBlock
from dtb.tasks.taskset import TaskSet

STATISTICS: dict[str, Statistic] = {"mean": mean_of, "r": correlation, "R2": explained_variance}
PARTIAL = "partial r"
"""Name of the statistic that takes covariates out: it is made anew for the people it is of."""
SCORE_PREFIX = "score_"
ADDED = "added"
PICKED = "picked"
"""Name of the baseline that was picked on training people."""
ALONE, PERMUTED_PREFIX = "alone", "permuted_"
"""Scores of the twin and of those that were trained on permuted connectomes, each without an ensemble."""


def figures_table(figures: list[Figure]) -> Table:
    """Return the figures as a table for a terminal of 80 columns: the twin, the best baseline, and the difference with its interval."""
    table = terminal.table("Held-out figures", "task", "metric", "twin", "best baseline", "difference")
    for figure in figures:
        gap, best = figure.difference, figure.best_baseline
        table.add_row(
            figure.task,
            figure.metric,
            _text(figure.twin.value),
            f"{_text(figure.baselines[best])} {best}" if best else "",
            f"{gap.value:+.3f}{_interval_text(gap.lower, gap.upper, ' ')}" if gap and math.isfinite(gap.value) else "",
        )
    return table


def subjects_table(
    people: People,
    observed: Summary,
    predictions: dict[str, Prediction],
    taskset: TaskSet,
    part: str,
    reach_T: np.ndarray,
) -> pd.DataFrame:
    """Return a table with one row per person and task: observed, predicted by the twin, and one column for each baseline and figure.

    `predicted_mean_rt_reach` is how far, in seconds, a band about the predicted mean reaction time goes that claims to hold nine tenths of
    unseen people (`reach_T`).
    """
    num_people, num_tasks = len(people), len(taskset.specs)
    count_ST = np.zeros((num_people, num_tasks), np.int64)
    np.add.at(count_ST, (people.trials.person_J, people.trials.task_J), 1)
    columns: dict[str, np.ndarray | list[str]] = {
        "pseudonym": np.repeat(people.pseudonyms, num_tasks),
        "task": [spec.name for spec in taskset.specs] * num_people,
        "part": [part] * (num_people * num_tasks),
        "num_trials": count_ST.reshape(-1),
        **_columns("observed", observed),
        **_columns("predicted", predictions[TWIN].summary),
        "predicted_mean_rt_reach": np.tile(reach_T, num_people),
    }
    for name, prediction in predictions.items():
        if name != TWIN:
            columns |= _columns(name, prediction.summary)
        if prediction.trials is not None:
            crps_ST = person_task_mean(people.trials, prediction.trials.crps_J, num_people, num_tasks)
            columns[f"{'predicted' if name == TWIN else name}_crps"] = crps_ST.reshape(-1)
    table = pd.DataFrame(columns)
    return table[table["num_trials"] > 0].reset_index(drop=True)


def scores_table(figures: list[Figure], pseudonyms: tuple[str, ...]) -> pd.DataFrame:
    """Return a table with one row per figure and person: each figure's scores, so that folds can be pooled (`dtb pool`)."""
    names = {statistic: name for name, statistic in STATISTICS.items()}
    tables = [
        pd.DataFrame(
            {
                "task": figure.task,
                "metric": figure.metric,
                "unit": figure.unit,
                "higher_is_better": figure.higher_is_better,
                "statistic": names.get(figure.statistic, PARTIAL),
                "note": figure.note,
                "leverage": figure.leverage,
                PICKED: figure.best_baseline if figure.is_best_picked else None,
                "pseudonym": pseudonyms,
                "observed": figure.observed_S,
                **{f"{SCORE_PREFIX}{name}": score_S for name, score_S in figure.scores.items()},
                ADDED: np.nan if figure.added_S is None else figure.added_S,
                ALONE: np.nan if figure.alone_S is None else figure.alone_S,
                **{f"{PERMUTED_PREFIX}{place}": score_S for place, score_S in enumerate(figure.permuted_scores)},
            }
        )
        for figure in figures
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def strangers_table(figures: list[Figure], pseudonyms: tuple[str, ...]) -> pd.DataFrame:
    """Return a table with one row per figure, person and connectome: the losses of the permutation test, so that folds can be pooled."""
    who_S = np.array(pseudonyms, dtype=object)
    columns = ["task", "metric", "block", "pseudonym", "family", "connectome", "loss"]
    tables = [
        pd.DataFrame(
            {
                "task": figure.task,
                "metric": figure.metric,
                "block": number,
                "pseudonym": np.repeat(who_S[each.person_n], len(each.person_n)),
                "family": np.repeat(each.family_n, len(each.person_n)),
                "connectome": np.tile(who_S[each.person_n], len(each.person_n)),
                "loss": each.loss_nn.ravel(),
            }
        )
        for figure in figures
        for number, each in enumerate(figure.loss_blocks)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def blocks_of_table(rows: pd.DataFrame, people: tuple[str, ...]) -> tuple[LossBlock, ...]:
    """Return the matrices of one figure from its rows of `strangers_table`, with their ``seed`` and ``fold``: the mean over seeds.

    Nothing where the seeds' blocks are not of the same people, for such connectomes cannot be permuted together.
    """
    place_of = {who: place for place, who in enumerate(people)}
    found: dict[tuple[str, ...], list[LossBlock]] = {}
    for _, block in rows.groupby(["seed", "fold", "block"], sort=False):
        loss = block.pivot(index="pseudonym", columns="connectome", values="loss")
        who, family_of = tuple(loss.index), block.groupby("pseudonym")["family"].first()
        person_n = np.array([place_of[one] for one in who])
        loss_nn = loss[list(who)].to_numpy(np.float64)
        found.setdefault(who, []).append(LossBlock(person_n, family_of[list(who)].to_numpy(), loss_nn))
    if any(len(some) != rows["seed"].nunique() for some in found.values()):
        return ()
    return tuple(
        dataclasses.replace(some[0], loss_nn=np.mean([each.loss_nn for each in some], axis=0))
        for some in found.values()
    )


def bold_map_table(
    observed: Summary, predicted: Summary, taskset: TaskSet, region_names: tuple[str, ...]
) -> pd.DataFrame:
    """Return a table with one row per task and region: the mean contrast over people, observed and predicted."""
    rows = []
    for task, spec in enumerate(taskset.specs):
        observed_SR, predicted_SR = observed.maps_STR[:, task], predicted.maps_STR[:, task]
        both_SR = np.isfinite(observed_SR) & np.isfinite(predicted_SR)
        count_R = np.maximum(both_SR.sum(axis=0), 1)
        observed_R = np.where(both_SR, observed_SR, 0.0).sum(axis=0) / count_R
        predicted_R = np.where(both_SR, predicted_SR, 0.0).sum(axis=0) / count_R
        rows += [
            (spec.name, region, float(observed_mean), float(predicted_mean))
            for region, observed_mean, predicted_mean, known in zip(
                region_names, observed_R, predicted_R, both_SR.any(axis=0), strict=True
            )
            if known
        ]
    return pd.DataFrame(rows, columns=["task", "region", "observed", "predicted"]).astype(
        {"task": str, "region": str, "observed": float, "predicted": float}
    )


def _columns(prefix: str, summary: Summary) -> dict[str, np.ndarray]:
    return {
        f"{prefix}_mean_rt": summary.mean_rt_ST.reshape(-1),
        f"{prefix}_condition_rt": summary.condition_rt_ST.reshape(-1),
        f"{prefix}_accuracy": summary.accuracy_ST.reshape(-1),
    }


def _text(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _interval_text(lower: float, upper: float, before: str = "") -> str:
    return f"{before}[{lower:.2f}, {upper:.2f}]" if math.isfinite(lower) and math.isfinite(upper) else ""
