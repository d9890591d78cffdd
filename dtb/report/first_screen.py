"""The first screen of a report: the verdict, one picture, one brain, who was looked at, and what to do next.

Shape letters: `R` region.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D

from dtb.evaluate.certificate.verdict import Verdict, verdict_of
from dtb.people.parcellation import no_places_in_words
from dtb.people.records import matrix_from_edges
from dtb.report.collected import Collected, Evaluation, People
from dtb.report.maps import Brain, limit_of, region_map, values_of
from dtb.report.own_data import error_against_trials
from dtb.report.parts import Panel, colour_of, count
from dtb.report.results import baseline_heading, contrast_in_words
from dtb.report.style import INK, QUIET, canvas, or_words, to_svg
from dtb.report.surface import OUTSIDE
from dtb.shards.split import SEEN_KINDS
from dtb.terminal import err, in_a_line

_METRICS = ("mean RT r", "RT CRPS", "choice log-loss")
"""What is drawn of each task: the first that any task has."""
_MOST_TASKS, _MOST_PEOPLE = 5, 40
_IN_WORDS = {
    "mean RT r": "r of predicted and observed mean RT",
    "RT CRPS": "error in reaction times (CRPS, s)",
    "choice log-loss": "error in choices (log-loss, nats)",
}
_TITLES = {
    "mean RT r": "Does it know who is slow?",
    "RT CRPS": "How far is it off in time?",
    "choice log-loss": "How far is it off in choices?",
}


@dataclasses.dataclass(frozen=True)
class FirstScreen:
    """What stands before everything else.

    Attributes
    ----------
    verdict : Verdict
    who : str
        Who, how many and who was left out, in one line.
    panels : list of Panel
        The picture, the curve over own trials where there is one, and the brain.
    """

    verdict: Verdict
    who: str
    panels: list[Panel]


def first_screen(found: Collected, tasks: Mapping[str, str], brain: Brain | None) -> FirstScreen:
    """Return the first screen of a run."""
    if not isinstance(found.evaluation, Evaluation):
        return FirstScreen(verdict_of(None), who_in_words(found), [])
    evaluation, panels = found.evaluation, []
    for make in (
        partial(_picture, evaluation, tasks),
        partial(_curve, evaluation, tasks),
        partial(_brain, found, evaluation, brain),
    ):
        try:
            panels += make()
        except Exception as error:  # noqa: BLE001, whatever it is, the verdict is worth having
            err.print(f"Warning: A picture of the first screen is not shown ({in_a_line(error)}).")
    return FirstScreen(verdict_of(evaluation.certificate), who_in_words(found), panels)


def who_in_words(found: Collected) -> str:
    """Return who was looked at, how many, and who was left out, in one line."""
    parts = []
    if isinstance(found.people, People):
        aside = len(found.people.set_aside)
        parts.append(f"{count(len(found.people.cohort), 'person', 'people')}, {aside} left out")
    if isinstance(found.split, dict):
        number = len(found.split["test"])
        if found.split.get("kind") in SEEN_KINDS:
            parts.append(f"{number} tested on what was held out of their own data")
        else:
            parts.append(f"{number} never seen in training")
    if found.stages["synth"].state == "done":
        parts.append("made up")
    return " · ".join(parts) or "Nobody was read."


def _picture(evaluation: Evaluation, tasks: Mapping[str, str]) -> list[Panel]:
    rows = list(evaluation.figures["rows"])
    for metric in _METRICS:
        shown = [row for row in rows if row["metric"] == metric and row.get("twin") is not None][:_MOST_TASKS]
        if shown:
            svg = beside_baseline("first-picture", shown, tasks, quantity=_IN_WORDS[metric])
            caption = "Bars: 95% intervals over people." if _has_intervals(shown) else ""
            return [Panel(svg, caption, title=_TITLES[metric])]
    return []


def _has_intervals(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get("lower") is not None for row in rows)


def _curve(evaluation: Evaluation, tasks: Mapping[str, str]) -> list[Panel]:
    living = evaluation.living
    if living.empty:
        return []
    rows = living[(living["kind"] == "later") & (living["figure"] == "mean RT") & (living["metric"] == "CRPS")]
    if rows.empty:
        return []
    worths = evaluation.certificate.get("worths") or []
    clearest = max(worths, key=_clearness, default=None)
    task = clearest["task"] if clearest is not None else rows["judged"].iloc[0]
    rows = rows[rows["judged"] == task]
    svg = error_against_trials("first-curve", rows, colour=colour_of(str(task), tasks), title="")
    caption = f"{task}: error in later mean RT of people whom the twin meets."
    return [Panel(svg, caption, title="What do own trials add?")]


def _clearness(worth: Mapping[str, Any]) -> float:
    gain = max((point["gain"][1] for point in worth["points"] if point["gain"][1] is not None), default=-np.inf)
    return float(gain)


def _brain(found: Collected, evaluation: Evaluation, brain: Brain | None) -> list[Panel]:
    maps = evaluation.bold_map
    if brain is None:
        return _no_brain(found)
    if maps.empty:
        return _connections(found, brain)
    strength = maps["observed"].abs().groupby(maps["task"], sort=False).mean()
    task = str(strength.idxmax())
    value_R = values_of(maps[maps["task"] == task], "predicted", brain.regions)
    limit = limit_of(value_R)
    svg = region_map("first-brain", value_R, brain, limit=limit, title="", quantity="contrast", views=OUTSIDE)
    return [Panel(svg, contrast_in_words(found, task), title="What do the twins' brains do?")]


def _no_brain(found: Collected) -> list[Panel]:
    """Return what to give in order to see a brain, where it is not known where regions lie."""
    if found.places_R3 is not None or not isinstance(found.people, People):
        return []
    words = no_places_in_words(found.people.manifest.description.regions)
    return [
        Panel(Markup(""), f"{words} In the folder of the run: `dtb report . page --atlas ATLAS`.", title="No brain")
    ]


def _connections(found: Collected, brain: Brain) -> list[Panel]:
    """Return how strongly each region is connected, where there is no task BOLD to show."""
    if not isinstance(found.people, People):
        return []
    some = found.people.cohort.pseudonyms[:_MOST_PEOPLE]
    mean_E = np.nanmean([record.connectome_E for record in found.people.cohort.records(some)], axis=0)
    strength_R = np.nanmean(matrix_from_edges(mean_E.astype(float), diagonal=np.nan), axis=0)
    limit = limit_of(strength_R)
    svg = region_map("first-brain", strength_R, brain, limit=limit, title="", quantity="mean connection", views=OUTSIDE)
    return [
        Panel(svg, f"Mean over {count(len(some), 'person', 'people')}.", title="How strongly is each region connected?")
    ]


@or_words
def beside_baseline(name: str, rows: Sequence[Mapping[str, Any]], tasks: Mapping[str, str], *, quantity: str) -> Markup:
    """Draw, task by task, the twin's figure with its interval, the best baseline's, and the ceiling.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    rows : sequence of mapping
        Rows of `figures.json` of one metric, one a task.
    tasks : mapping of str to str
        Place-holder colours.
    quantity : str
        Name of the axis.
    """
    words, titles = [], {}
    with canvas(4.6, 1.35 + 0.62 * len(rows)) as (figure, axes):
        for place, row in enumerate(rows):
            colour, twin, best = colour_of(str(row["task"]), tasks), float(row["twin"]), row.get("best_baseline")
            lower, upper, ceiling = row.get("lower"), row.get("upper"), row.get("ceiling")
            if lower is not None and upper is not None:
                axes.plot(
                    [lower, upper], [place - 0.13] * 2, color=colour, linewidth=5, alpha=0.45, solid_capstyle="round"
                )
            axes.plot([twin], [place - 0.13], "o", color=colour, markersize=10, zorder=4, gid=f"twin-{place}")
            interval = "" if lower is None or upper is None else f" ({lower:.2f} to {upper:.2f})"
            titles[f"twin-{place}"] = f"{row['task']}, twin: {twin:.3f}{interval}"
            told = f"{row['task']}: twin {twin:.3g}{interval}"
            value = (row.get("baselines") or {}).get(best) if best else None
            if value is not None:
                low, high = row.get("best_lower"), row.get("best_upper")
                if low is not None and high is not None:
                    axes.plot(
                        [low, high], [place + 0.17] * 2, color=QUIET, linewidth=3, alpha=0.5, solid_capstyle="round"
                    )
                axes.plot(
                    [value], [place + 0.17], "D", color=QUIET, markersize=7, mfc="none", mew=1.6, gid=f"best-{place}"
                )
                heading = baseline_heading(str(best))
                titles[f"best-{place}"] = f"{row['task']}, best baseline ({heading}): {value:.3f}"
                told += f", best baseline {value:.3g} ({heading})"
            if ceiling is not None:
                axes.plot(
                    [ceiling] * 2,
                    [place - 0.4, place + 0.4],
                    color=INK,
                    linewidth=1.6,
                    linestyle=(0, (3, 2)),
                    gid=f"ceiling-{place}",
                )
                titles[f"ceiling-{place}"] = f"{row['task']}, ceiling: {ceiling:.3f}"
                told += f", ceiling {ceiling:.3g}"
            words.append(told)
        axes.set_yticks(range(len(rows)), [str(row["task"]) for row in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0, labelsize=11.5)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.06)
        axes.set_xlabel(quantity)
        handles = [
            Line2D(
                [],
                [],
                marker="o",
                color=colour_of(str(rows[0]["task"]), tasks),
                linestyle="",
                markersize=9,
                label="twin",
            ),
            Line2D([], [], marker="D", color=QUIET, mfc="none", mew=1.6, linestyle="", label="best baseline"),
            Line2D([], [], color=INK, linewidth=1.6, linestyle=(0, (3, 2)), label="ceiling"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.4)
        return to_svg(figure, name, f"{quantity}. {'; '.join(words)}.", titles=titles)
