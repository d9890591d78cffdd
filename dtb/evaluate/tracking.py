"""Logging of an evaluation's figures to the tracker, in the run of the twin's training: numbers and a picture, no names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb.config import TrackConfig, from_mapping, read_yaml
from dtb.evaluate.scores.figure import Figure
from dtb.stages import CONFIG_FILE
from dtb.track import open_tracker

_COLUMNS = ("task", "metric", "unit", "twin", "lower", "upper", "best baseline", "its value")


def log_evaluation(
    trained: Path, run_id: str | None, out: Path, figures: Sequence[Figure], subjects: pd.DataFrame
) -> None:
    """Log the table of figures, and predicted against observed mean reaction times.

    Parameters
    ----------
    trained : Path
        Output folder of `dtb train`; its configuration says how to track.
    run_id : str or None
        The training's run; without one, nothing is logged.
    out : Path
        Where an offline record is written.
    figures : sequence of Figure
    subjects : DataFrame
        `subjects.parquet`; pseudonyms are not logged.
    """
    if run_id is None:
        return
    plain = read_yaml(trained / CONFIG_FILE, "`dtb train` wrote one there")["track"]
    tracker = open_tracker(from_mapping(TrackConfig, plain, str(trained / CONFIG_FILE)), out, {}, run_id)
    tracker.table("evaluation", _COLUMNS, [_row(figure) for figure in figures])
    tracker.summarise(
        {
            f"evaluation/{figure.task}/{figure.metric}": figure.twin.value
            for figure in figures
            if math.isfinite(figure.twin.value)
        }
    )
    tracker.figure("predicted against observed", _picture(subjects))
    tracker.finish()


def _row(figure: Figure) -> tuple[Any, ...]:
    best = figure.best_baseline
    numbers = (figure.twin.value, figure.twin.lower, figure.twin.upper)
    baseline = (best, f"{figure.baselines[best]:.4f}") if best else ("", "")
    return figure.task, figure.metric, figure.unit, *(f"{number:.4f}" for number in numbers), *baseline


def _picture(subjects: pd.DataFrame) -> Any:
    """Draw a panel a task, a point a person, and the line on which predictions are right."""
    from matplotlib.figure import Figure as Canvas

    tasks = sorted(subjects["task"].unique())
    canvas = Canvas(figsize=(3.6 * max(len(tasks), 1), 3.6), layout="constrained")
    for place, task in enumerate(tasks, 1):
        rows = subjects[subjects["task"] == task]
        pairs_S2 = rows[["observed_mean_rt", "predicted_mean_rt"]].to_numpy(np.float64)
        pairs_S2 = pairs_S2[np.isfinite(pairs_S2).all(axis=1)]
        axes = canvas.add_subplot(1, len(tasks), place)
        axes.scatter(pairs_S2[:, 0], pairs_S2[:, 1], s=14)
        if len(pairs_S2):
            axes.axline((float(pairs_S2.mean()),) * 2, slope=1, color="grey", linewidth=0.8)
        axes.set(title=task, xlabel="observed mean RT (s)", ylabel="predicted mean RT (s)")
    return canvas
