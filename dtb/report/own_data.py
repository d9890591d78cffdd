"""The section on own data: how well people are predicted after so many of their own trials, with and without their connectomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from dtb.report.collected import Collected, Missing
from dtb.report.parts import Panel, Section, Table, colour_of, number
from dtb.report.style import INK, QUIET, canvas, or_words, to_svg

TWIN, TWIN_ALONE, OWN, BLEND = "living_twin", "living_twin_no_connectome", "own_mean", "living_blend"
LINES = {
    TWIN: "twin and connectome",
    TWIN_ALONE: "twin without connectome",
    BLEND: "twin, blended",
    OWN: "own mean, shrunken",
    "best": "best baseline",
}
"""What is drawn, in words."""
_FIGURES = ("mean RT", "condition effect")
_AMOUNTS_IN_TABLE = ("0", "10", "20", "40", "half a run", "a run", "all")


def own_data_section(found: Collected, tasks: Mapping[str, str]) -> Section:
    """Return the section on curves over own data; empty of figures where the evaluation made none."""
    section = Section("own-data", "After some trials of one's own")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    living = found.evaluation.living
    if living.empty:
        return dataclasses.replace(
            section,
            missing=[
                "This twin was not updated by people's own trials: it has no person effects, or has seen these people."
            ],
        )
    panels, tables = [], []
    kinds = {
        "later": "later in the same task",
        "next session": "in the next session",
        "other task": "in the other task",
    }
    for place, ((kind, given, judged), rows) in enumerate(living.groupby(["kind", "given", "judged"], sort=False)):
        for figure in _FIGURES:
            some = rows[(rows["figure"] == figure) & (rows["metric"] == "CRPS")]
            if kind == "other task" and figure != "mean RT":
                continue
            if len(some):
                title = f"{judged}: {figure}" if given == judged else f"{given} to {judged}"
                name = f"own-data-{place}-{figure.replace(' ', '-').lower()}"
                svg = error_against_trials(name, some, colour=colour_of(str(judged), tasks), title=title)
                panels.append(Panel(svg, f"Error in {figure} {kinds[str(kind)]}, after trials of {given}."))
        tables.append(_table(rows, f"{judged} {kinds[str(kind)]}, after trials of {given}"))
    words = [
        "The twin is updated by the first trials of people it has never seen, and predicts later ones (error: CRPS). Where its two lines "
        "meet, the connectome says nothing that own trials have not said."
    ]
    worths = found.evaluation.certificate.get("worths", [])
    if worths:
        words.append(f"A scan is worth {'; '.join(worth_in_words(worth) for worth in worths)}.")
    return dataclasses.replace(section, words=words, panels=panels, tables=tables)


def worth_in_words(worth: Mapping[str, Any]) -> str:
    """Return how many trials a scan is worth in a task."""
    value, lower, upper = worth["trials"]
    least = "at least " if value is not None and value >= worth["most"] else ""
    return f"{least}{number(value, 2)} own trials of {worth['task']} [{number(lower, 2)}, {number(upper, 2)}]"


def _table(rows: pd.DataFrame, caption: str) -> Table:
    """Return a table of r of mean reaction times: a row a predictor, a column an amount."""
    some = rows[(rows["figure"] == "mean RT") & (rows["metric"] == "R2")]
    amounts = [amount for amount in _AMOUNTS_IN_TABLE if amount in set(some["amount"])]
    values = some.pivot_table(index="predictor", columns="amount", values="value", sort=False)
    cells = [
        (str(name).replace("_", " "), *(_two_digits(values.loc[name].get(a)) for a in amounts)) for name in values.index
    ]
    return Table(
        f"R2 of mean RT, {caption}",
        ("predictor", *amounts),
        cells,
        frozenset(range(1, len(amounts) + 1)),
        is_folded=True,
    )


def _two_digits(value: float | None) -> str:
    return number(None) if value is None or not np.isfinite(value) else f"{value:.2f}".replace("-", "−")


@or_words
def error_against_trials(name: str, rows: pd.DataFrame, *, colour: str, title: str) -> Markup:
    """Draw the error over the number of own trials.

    Parameters
    ----------
    name : str
        Identifier of the figure, see `dtb.report.style.to_svg`.
    rows : DataFrame
        Rows of `living.parquet` of one curve, figure and metric.
    colour : str
        Of the twin's lines.
    title : str
    """
    with canvas(4.4, 3.9) as (figure, axes):
        drawn = draw_curves(axes, rows, colour=colour)
        axes.set_title(title)
        # Below the lines, wherever these are.
        figure.legend(loc="outside lower left", ncols=2, columnspacing=1.0, handlelength=1.6)
        ends = "; ".join(f"{words} from {values[0]:.3g} to {values[-1]:.3g} ms" for words, values in drawn.items())
        return to_svg(figure, name, f"{title}: error over own trials. {ends}.")


def draw_curves(axes: Axes, rows: pd.DataFrame, *, colour: str) -> dict[str, np.ndarray]:
    """Draw the lines of one curve; return what was drawn, in milliseconds, by its label.

    The best baseline is the best of all at each number of trials: one that nobody can pick beforehand.

    Parameters
    ----------
    axes : Axes
    rows : DataFrame
        See `error_against_trials`.
    colour : str
    """
    styles: Sequence[tuple[str, Any]] = (
        (TWIN, {"color": colour, "marker": "o", "linewidth": 2.4}),
        (TWIN_ALONE, {"color": colour, "linestyle": "--", "marker": "o", "mfc": "none"}),
        (BLEND, {"color": colour, "linestyle": "-.", "linewidth": 1.2}),
        (OWN, {"color": INK, "linestyle": ":", "marker": "s", "markersize": 4}),
        ("best", {"color": QUIET, "linestyle": "-", "linewidth": 1.2}),
    )
    others = rows[~rows["predictor"].isin([TWIN, TWIN_ALONE, BLEND])]
    values = {name: part.sort_values("num_given")["value"].to_numpy(float) for name, part in rows.groupby("predictor")}
    labels = dict(LINES)
    if TWIN in values and TWIN_ALONE in values and np.array_equal(values[TWIN], values[TWIN_ALONE], equal_nan=True):
        # Nobody has a connectome.
        rows, labels[TWIN] = rows[rows["predictor"] != TWIN_ALONE], "twin"
    drawn = {}
    for key, style in styles:
        mine = others if key == "best" else rows[rows["predictor"] == key]
        if mine.empty:
            continue
        line = mine.groupby("num_given")[["value", "lower", "upper"]].min() * 1000
        axes.plot(line.index, line["value"], label=labels[key], **style)
        if key == TWIN:
            axes.fill_between(line.index, line["lower"], line["upper"], color=colour, alpha=0.15, linewidth=0)
        drawn[labels[key]] = line["value"].to_numpy(float)
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0.0)), np.square))
    numbers = sorted(rows["num_given"].unique())
    axes.set_xticks(numbers, [str(each) for each in numbers])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="own trials", ylabel="CRPS (ms)")
    return drawn
