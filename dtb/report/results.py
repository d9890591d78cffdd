"""The sections about held-out data: what the twin predicted, beside what happened and beside the baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dtb.report import figures
from dtb.report.collect import Collected, Evaluation, Missing, People
from dtb.report.parts import Panel, Section, Table, colour_of, count, number

# The rows of figures.json that are drawn, section by section; the table has all of them.
_DRAWN = {
    "reaction-times": ("mean RT r", "RT CRPS", "condition effect r"),
    "choices": ("choice log-loss", "accuracy above chance"),
    "bold": ("BOLD map r", "BOLD map r without the group map", "BOLD series r"),
    "personal": (
        "identification by behaviour",
        "own minus others, behaviour",
        "identification by BOLD map",
        "own minus others, BOLD map",
    ),
}
_REGIONS_SHOWN = 8


def reaction_time_section(found: Collected, tasks: Sequence[str]) -> Section:
    """Draw predicted against observed mean reaction times of held-out data, and each figure beside its baselines."""
    section = Section("reaction-times", "Reaction times, predicted and observed")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    evaluation, panels = found.evaluation, []
    for index, (task, rows) in enumerate(_held_out(evaluation).groupby("task", sort=False)):
        drawn = _people_panel(
            f"rt-{index}",
            str(task),
            rows,
            evaluation,
            tasks,
            column="mean_rt",
            metric="mean RT r",
            title=str(task),
            quantity="mean RT (s)",
        )
        effect = _people_panel(
            f"effect-{index}",
            str(task),
            rows,
            evaluation,
            tasks,
            column="condition_rt",
            metric="condition effect r",
            title=f"{task}: condition effect",
            quantity="effect on RT (s)",
        )
        estimates = _estimate_panels(evaluation, "reaction-times", str(task), tasks)
        of_effect = [panel for metric, panel in estimates if metric == "condition effect r"]
        of_mean = [panel for metric, panel in estimates if metric != "condition effect r"]
        panels += [*drawn, *of_mean, *effect, *of_effect]
    missing = [] if panels else ["The evaluation holds no person with a mean reaction time."]
    return dataclasses.replace(section, words=[_part_words(found.split)], missing=missing, panels=panels)


def choice_section(found: Collected, tasks: Sequence[str]) -> Section:
    """Draw predicted against observed accuracy, and the choice figures beside an agent that is always correct."""
    section = Section("choices", "Choices, predicted and observed")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    evaluation, panels = found.evaluation, []
    for index, (task, rows) in enumerate(_held_out(evaluation).groupby("task", sort=False)):
        panels += _people_panel(
            f"choice-{index}",
            str(task),
            rows,
            evaluation,
            tasks,
            column="accuracy",
            metric="accuracy r",
            title=str(task),
            quantity="accuracy",
        )
        panels += [panel for _, panel in _estimate_panels(evaluation, "choices", str(task), tasks)]
    words = [
        "Most people answer most trials correctly, so an agent that never errs already agrees with them nearly always. "
        "A twin says something about a person only where it does better than that."
    ]
    missing = [] if panels else ["The evaluation holds no choice that has a right answer."]
    return dataclasses.replace(section, words=words, missing=missing, panels=panels)


def bold_section(found: Collected, tasks: Sequence[str]) -> Section:
    """Draw the map of predicted task responses against the observed one, region by region."""
    section = Section("bold", "BOLD, predicted and observed")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    bold_map = found.evaluation.bold_map
    panels, tables = [], []
    for index, (task, rows) in enumerate(bold_map.groupby("task", sort=False) if len(bold_map) else ()):
        svg = figures.predicted_against_observed(
            f"bold-{index}",
            rows["observed"].to_numpy(float),
            rows["predicted"].to_numpy(float),
            colour=colour_of(str(task), tasks),
            title=str(task),
            quantity="contrast",
            each="regions",
        )
        caption = (
            f"{task}: one point a region, the mean over held-out people of the task's contrast. Such a map of means is predicted "
            "as well by a model that knows no single person."
        )
        panels.append(Panel(svg, caption, new_row=True))
        panels += [panel for _, panel in _estimate_panels(found.evaluation, "bold", str(task), tasks)]
        largest = rows.loc[rows["observed"].abs().sort_values(ascending=False).index[:_REGIONS_SHOWN]]
        tables.append(
            Table(
                f"{task}: the largest observed responses",
                ("region", "observed", "predicted"),
                [(str(row.region), number(row.observed), number(row.predicted)) for row in largest.itertuples()],
                frozenset({1, 2}),
            )
        )
    missing = []
    if not panels:
        has_bold = isinstance(found.people, People) and found.people.manifest.counts.get("volumes", 0) > 0
        missing.append(
            "The evaluation holds no BOLD figures, though the cohort has task BOLD."
            if has_bold
            else "This cohort has no task BOLD, so the twin was trained on choices and reaction times alone, and there is no "
            "BOLD prediction to show."
        )
    return dataclasses.replace(section, missing=missing, panels=panels, tables=tables)


def personal_section(found: Collected, tasks: Sequence[str]) -> Section:
    """Ask whether what a twin does is nearer to its own person than to others."""
    section = Section("personal", "Is each twin its own person's?")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    panels = [
        panel for task in ("all", *tasks) for _, panel in _estimate_panels(found.evaluation, "personal", task, tasks)
    ]
    words = [
        "A model that treats everybody alike can predict group means well. Identification asks, for each person, whether their "
        "twin's behaviour (or BOLD map) is nearer to theirs than to anybody else's; own minus others asks by how much."
    ]
    missing = [] if panels else ["The evaluation holds no figure of identification."]
    return dataclasses.replace(section, words=words, missing=missing, panels=panels)


def figures_section(found: Collected) -> Section:
    """List every figure of the evaluation with its interval and baselines."""
    section = Section("figures", "Every figure, with its interval and baselines")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    rows = [
        (
            str(row["task"]),
            _metric_name(row),
            _better(row),
            number(row.get("twin")),
            interval_words(row.get("lower"), row.get("upper")),
            ", ".join(f"{_plain(name)} {number(value)}" for name, value in _baselines(row).items()) or "–",
            _difference(row),
            str(row.get("n", "")),
            str(row.get("note") or ""),
        )
        for row in found.evaluation.figures["rows"]
    ]
    columns = ("task", "figure", "better", "twin", "interval", "baselines", "twin − best baseline", "people", "note")
    table = Table("Held-out figures", columns, rows, frozenset({3, 7}))
    confidence = found.evaluation.figures.get("confidence")
    words = [
        (f"Intervals cover {confidence:.0%} of bootstrap draws over people. " if confidence else "")
        + "The best baseline was chosen on these very people, which favours the baselines; a difference counts if its "
        "interval leaves 0 out."
    ]
    return dataclasses.replace(section, words=words, tables=[table])


def interval_words(lower: float | None, upper: float | None) -> str:
    """Give an interval in words; a dash where there is none.

    Examples
    --------
    >>> interval_words(0.25, 0.5), interval_words(None, None)
    ('0.25 to 0.5', '–')
    """
    return "–" if lower is None or upper is None else f"{number(lower)} to {number(upper)}"


def _people_panel(
    name: str,
    task: str,
    rows: pd.DataFrame,
    evaluation: Evaluation,
    tasks: Sequence[str],
    *,
    column: str,
    metric: str,
    title: str,
    quantity: str,
) -> list[Panel]:
    """Draw one point a person, with the best baseline in grey; nothing where nobody has both values."""
    seen, told = f"observed_{column}", f"predicted_{column}"
    if seen not in rows or told not in rows or not (rows[seen].notna() & rows[told].notna()).any():
        return []
    best = next(
        (row.get("best_baseline") for row in _rows(evaluation) if (row["task"], row["metric"]) == (task, metric)),
        None,
    )
    others = [best] if best else ["group_mean"]
    baselines = {
        _plain(other): rows[f"{other}_{column}"].to_numpy(float)
        for other in others
        if f"{other}_{column}" in rows and rows[f"{other}_{column}"].notna().any()
    }
    svg = figures.predicted_against_observed(
        name,
        rows[seen].to_numpy(float),
        rows[told].to_numpy(float),
        colour=colour_of(task, tasks),
        title=title,
        quantity=quantity,
        baselines=baselines,
    )
    caption = f"{task}: one point a person, on held-out data; on the dashed line the prediction equals the observation."
    if baselines:
        caption += f" In grey {'the best baseline' if best else 'a baseline'}, {', '.join(baselines)}."
    return [Panel(svg, caption, new_row=True)]


def _estimate_panels(evaluation: Evaluation, section: str, task: str, tasks: Sequence[str]) -> list[tuple[str, Panel]]:
    """Draw the figures of one task that one section shows, each above its baselines; give each with its metric."""
    panels = []
    for index, row in enumerate(_rows(evaluation)):
        if str(row["task"]) != task or row["metric"] not in _DRAWN[section]:
            continue
        lower, upper, twin = row.get("lower"), row.get("upper"), row.get("twin")
        svg = figures.estimates(
            f"estimate-{index}",
            None if twin is None else float(twin),
            None if lower is None or upper is None else (float(lower), float(upper)),
            {_plain(name): value for name, value in _baselines(row).items()},
            colour=colour_of(task, tasks),
            title=str(row["metric"]) if task == "all" else f"{task}: {row['metric']}",
            quantity=f"{row.get('unit') or row['metric']}; {_better(row)} is better",
        )
        caption = f"{count(int(row.get('n') or 0), 'person', 'people')}; the bar is the twin's interval."
        if row.get("difference") is not None:
            caption += f" Twin minus {_plain(str(row.get('best_baseline')))}: {_difference(row)}."
        if row.get("note"):
            caption += f" Note: {row['note']}."
        panels.append((str(row["metric"]), Panel(svg, caption)))
    return panels


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return list(evaluation.figures["rows"])


def _baselines(row: dict[str, Any]) -> dict[str, float]:
    given = row.get("baselines") or {}
    return {str(name): float(value) for name, value in given.items() if value is not None}


def _difference(row: dict[str, Any]) -> str:
    if row.get("difference") is None:
        return "–"
    sign = "+" if row["difference"] > 0 else ""
    bounds = interval_words(row.get("difference_lower"), row.get("difference_upper"))
    return f"{sign}{number(row['difference'])}" + ("" if bounds == "–" else f" ({bounds})")


def _better(row: dict[str, Any]) -> str:
    return "higher" if row.get("higher_is_better", True) else "lower"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _metric_name(row: dict[str, Any]) -> str:
    unit = str(row.get("unit") or "")
    return str(row["metric"]) + (f" ({unit})" if unit else "")


def _held_out(evaluation: Evaluation) -> pd.DataFrame:
    subjects = evaluation.subjects
    return subjects[subjects["part"].astype(str) == "test"] if "part" in subjects else subjects


def _part_words(split: dict[str, Any] | Missing) -> str:
    if isinstance(split, Missing):
        return "Figures are of held-out data."
    if split.get("kind") == "temporal":
        return "Held out is the later part of each run of the same people."
    return f"Held out are {count(len(split['test']), 'person', 'people')} whom no part of the training saw."
