"""The sections on held-out data: predictions of the twin and of the baselines, and observations."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from dtb.evaluate.certificate.table import ROW_HEADINGS, ROW_NUMBERS
from dtb.evaluate.certificate.table import number as thousandths
from dtb.evaluate.predictors.table import predictor_heading
from dtb.report.collected import Collected, Evaluation, Missing, People
from dtb.report.figures import evaluation as figures
from dtb.report.maps import Brain, limit_of, region_map, values_of
from dtb.report.parts import Panel, Section, Table, colour_of, count, number
from dtb.report.person_page import FOLDER
from dtb.shards.split import SEEN_KINDS, held_out_in_words

# The rows of figures.json that are drawn, section by section; the certificate has all of them.
_DRAWN = {
    "reaction-times": ("mean RT r", "condition effect r"),
    "choices": ("choice log-loss", "d' r"),
    "bold": ("BOLD map r", "BOLD map r without the group map"),
    "personal": ("identification by behaviour", "identification by BOLD map"),
}
# By kind of ceiling, in the order in which an evaluation takes the first that there is: its mark in a figure, and what may be said of it.
_CEILINGS = {
    "truth": ("truth", "Perfect knowledge of this made-up cohort would reach about {}."),
    "halves": (
        "ceiling, est.",
        "From how well people's own halves agree, about {} is the most to expect (an estimate).",
    ),
    "runs": ("ceiling, est.", "From how well people's own runs agree, about {} is the most to expect (an estimate)."),
    "own_half": ("own half", "Whoever knows the other half of each person's trials reaches {}."),
}
_OF_OWN_PERSON = ("identification by ", "own minus others")
_BETWEEN_HALVES = ("own half", "One half of each person's own data, taken as a twin of the other half, reaches {}.")
_LOSSES = {"choice log-loss": "choices (log-loss, nats)", "RT CRPS": "reaction times (CRPS, s)"}


def fit_section(found: Collected) -> Section:
    """Return the section on whether the twin is as good as the group mean."""
    section = Section("beside-group-mean", "Beside the group mean")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    fit = found.evaluation.certificate.get("fit") or {}
    rows = [
        (
            "no" if test["is_worse"] else "yes",
            str(test["task"]),
            _LOSSES.get(test["metric"], str(test["metric"])),
            thousandths(test["twin"]),
            thousandths(test["group_mean"]),
            f"{thousandths(test['difference'], '+')} [{thousandths(test['lower'])}, {thousandths(test['upper'])}]",
        )
        for test in fit.get("tests") or []
    ]
    columns = ("verdict", "task", "error in", "twin", "group mean", "difference")
    words = [f"Likely because {one['words']}: {one['remedy']}." for one in fit.get("reasons") or []]
    tables = (
        [Table("Lower is better; no: worse than the group mean", columns, rows, frozenset({3, 4, 5}))] if rows else []
    )
    missing = [] if rows else ["The evaluation did not compare the twin with the group mean."]
    return dataclasses.replace(section, words=words, tables=tables, missing=missing)


def reaction_time_section(found: Collected, tasks: Mapping[str, str], pages: Collection[str] = ()) -> Section:
    """Return the section on predicted and observed mean reaction times of held-out data; points of people with a page lead there."""
    section = Section("reaction-times", "Reaction times")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    evaluation, panels = found.evaluation, []
    for index, (task, rows) in enumerate(_held_out(evaluation).groupby("task", sort=False)):
        panel = partial(_people_panel, task=str(task), rows=rows, evaluation=evaluation, tasks=tasks, pages=pages)
        drawn = panel(f"rt-{index}", column="mean_rt", metric="mean RT r", title=str(task), quantity="mean RT (s)")
        effect = panel(
            f"effect-{index}",
            column="condition_rt",
            metric="condition effect r",
            title=f"{task}: condition effect",
            quantity="effect on RT (s)",
            new_row=not drawn,
        )
        estimates = [panel for _, panel in _estimate_panels(evaluation, "reaction-times", str(task), tasks)]
        panels += [*drawn, *effect, *estimates[-1:]]  # of mean reaction times the first screen has the figure
    missing = [] if panels else ["The evaluation holds no person with a mean reaction time."]
    words = [f"{_part_words(found.split)} One point a person; on the dashed line the prediction is right."]
    return dataclasses.replace(section, words=words, missing=missing, panels=panels)


def choice_section(found: Collected, tasks: Mapping[str, str], pages: Collection[str] = ()) -> Section:
    """Return the section on predicted and observed accuracy."""
    section = Section("choices", "Choices")
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
            pages,
            column="accuracy",
            metric="accuracy r",
            title=str(task),
            quantity="accuracy",
        )
        panels += [panel for _, panel in _estimate_panels(evaluation, "choices", str(task), tasks)]
    words = ["Who never errs agrees with nearly every choice: only what goes beyond that says something of a person."]
    missing = [] if panels else ["The evaluation holds no choice that has a right answer."]
    return dataclasses.replace(section, words=words, missing=missing, panels=panels)


def bold_section(found: Collected, tasks: Mapping[str, str], brain: Brain | None) -> Section:
    """Return the section on task responses, region by region: observed, predicted, and what is between them."""
    section = Section("bold", "BOLD")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    panels = []
    maps = found.evaluation.bold_map
    for index, (task, rows) in enumerate(maps.groupby("task", sort=False) if len(maps) else ()):
        estimates = [panel for _, panel in _estimate_panels(found.evaluation, "bold", str(task), tasks)]
        if brain is None:
            panels.append(_scatter_of_regions(index, str(task), rows, tasks))
        else:
            panels += _three_maps(index, found, str(task), rows, brain)
        panels += [dataclasses.replace(panel, new_row=not place) for place, panel in enumerate(estimates)]
    missing = []
    if not panels:
        has_bold = isinstance(found.people, People) and found.people.manifest.counts.get("volumes", 0) > 0
        missing.append(
            "The evaluation holds no BOLD figures, though the cohort has task BOLD."
            if has_bold
            else "This cohort has no task BOLD, so the twin was trained on choices and reaction times alone."
        )
    words = [
        "The mean over people is predicted as well by a model that knows no single person: what is a person's stands below."
    ]
    return dataclasses.replace(section, words=words if panels else [], missing=missing, panels=panels)


def _three_maps(index: int, found: Collected, task: str, rows: pd.DataFrame, brain: Brain) -> list[Panel]:
    observed_R, predicted_R = (values_of(rows, column, brain.regions) for column in ("observed", "predicted"))
    limit = limit_of(np.concatenate([observed_R, predicted_R]))
    told = (
        ("observed", observed_R, contrast_in_words(found, task)),
        ("twin", predicted_R, "What the twins say of the same people."),
        ("twin minus observed", predicted_R - observed_R, "Where they err."),
    )
    return [
        Panel(
            region_map(
                f"bold-{index}-{place}", value_R, brain, limit=limit, title=f"{task}: {what}", quantity="contrast"
            ),
            caption,
            new_row=not place,
        )
        for place, (what, value_R, caption) in enumerate(told)
    ]


def _scatter_of_regions(index: int, task: str, rows: pd.DataFrame, tasks: Mapping[str, str]) -> Panel:
    svg = figures.predicted_against_observed(
        f"bold-{index}",
        rows["observed"].to_numpy(float),
        rows["predicted"].to_numpy(float),
        colour=colour_of(task, tasks),
        title=task,
        quantity="contrast (units of the signal)",
        each="regions",
        told=[str(region) for region in rows["region"]],
    )
    return Panel(svg, "One point a region, mean over held-out people.", new_row=True)


def contrast_in_words(found: Collected, task: str) -> str:
    """Return what the contrast of a task compares, and over whom it is averaged."""
    contrast: Mapping[str, Any] = {}
    if isinstance(found.people, People):
        specs = found.people.manifest.description.taskset["specs"]
        contrast = next((spec.get("contrast") or {} for spec in specs if spec["name"] == task), {})
    sides = [" and ".join(name for name, weight in contrast.items() if weight * sign > 0) for sign in (1, -1)]
    return f"{task}: {' minus '.join(filter(None, sides)) or 'contrast'}, mean over held-out people."


def personal_section(found: Collected, tasks: Mapping[str, str]) -> Section:
    """Return the section on the certificate in short, and on how well the twin finds its person."""
    section = Section("personal", "The certificate in short")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    certificate = found.evaluation.certificate
    rows = [tuple(row["cells"]) for row in certificate.get("rows") or []]
    columns = ("verdict", *ROW_HEADINGS[1:])
    numeric = frozenset(place for place, heading in enumerate(ROW_HEADINGS) if heading in ROW_NUMBERS)
    tables = (
        [Table("The task that comes nearest to a yes; the certificate has every test", columns, rows, numeric)]
        if rows
        else []
    )
    panels = [
        panel for task in ("all", *tasks) for _, panel in _estimate_panels(found.evaluation, "personal", task, tasks)
    ]
    notes = [f"Not tested: {line}." for line in certificate["not_tested"]]
    words = [with_minus(str(certificate["sentence"]))]
    return dataclasses.replace(section, words=words, panels=panels, tables=tables, notes=notes)


def interval_words(lower: float | None, upper: float | None) -> str:
    """Return an interval in words; a dash if there is none.

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
    tasks: Mapping[str, str],
    pages: Collection[str],
    *,
    column: str,
    metric: str,
    title: str,
    quantity: str,
    new_row: bool = True,
) -> list[Panel]:
    """Return a panel with one point per person, and the best baseline in grey; none if nobody has both values."""
    seen, told = f"observed_{column}", f"predicted_{column}"
    if seen not in rows or told not in rows or not (rows[seen].notna() & rows[told].notna()).any():
        return []
    best = next(
        (row.get("best_baseline") for row in _rows(evaluation) if (row["task"], row["metric"]) == (task, metric)),
        None,
    )
    others = [best] if best else ["group_mean"]
    baselines = {
        baseline_heading(other): rows[f"{other}_{column}"].to_numpy(float)
        for other in others
        if f"{other}_{column}" in rows and rows[f"{other}_{column}"].notna().any()
    }
    people = rows["pseudonym"].astype(str).tolist()
    svg = figures.predicted_against_observed(
        name,
        rows[seen].to_numpy(float),
        rows[told].to_numpy(float),
        colour=colour_of(task, tasks),
        title=title,
        quantity=quantity,
        baselines=baselines,
        told=people,
        links=[f"{FOLDER}/{who}.html" if who in pages else None for who in people],
    )
    caption = f"Grey: the best baseline, {', '.join(baselines)}." if baselines else ""
    return [Panel(svg, caption, new_row=new_row)]


def _estimate_panels(
    evaluation: Evaluation, section: str, task: str, tasks: Mapping[str, str]
) -> list[tuple[str, Panel]]:
    """Return the panels of one task's figures in a section, each with its metric and baselines."""
    panels = []
    wanted = _DRAWN[section]
    chosen = [
        (wanted.index(row["metric"]), index)
        for index, row in enumerate(_rows(evaluation))
        if str(row["task"]) == task and row["metric"] in wanted
    ]
    for _, index in sorted(chosen):
        row = _rows(evaluation)[index]
        lower, upper, twin = row.get("lower"), row.get("upper"), row.get("twin")
        svg = figures.estimates(
            f"estimate-{index}",
            None if twin is None else float(twin),
            None if lower is None or upper is None else (float(lower), float(upper)),
            {baseline_heading(name): value for name, value in _baselines(row).items()},
            colour=colour_of(task, tasks),
            title=str(row["metric"]) if task == "all" else f"{task}: {row['metric']}",
            quantity=f"{row.get('unit') or row['metric']}; {_better(row)} is better",
            ceiling=row.get("ceiling"),
            ceiling_name=_ceiling(row)[0],
            chance=_chance(row),
        )
        caption = count(int(row.get("n") or 0), "person", "people") + "."
        if row.get("difference") is not None:
            caption += f" Twin minus {baseline_heading(str(row.get('best_baseline')))}: {_difference(row)}."
        if row.get("ceiling") is not None:
            caption += " " + _ceiling(row)[1].format(number(row["ceiling"]))
        if row.get("note"):
            caption += f" Note: {with_minus(row['note'])}."
        panels.append((str(row["metric"]), Panel(svg, caption)))
    return panels


def _ceiling(row: dict[str, Any]) -> tuple[str, str]:
    """Return a figure's ceiling, and the sentence on it, with a gap for its value."""
    kind = next((name for name in _CEILINGS if name in (row.get("ceilings") or {})), None)
    if kind == "halves" and str(row["metric"]).startswith(_OF_OWN_PERSON):
        return _BETWEEN_HALVES
    return _CEILINGS[kind] if kind else ("ceiling", "Its ceiling is about {}.")


def _chance(row: dict[str, Any]) -> float | None:
    """Return the chance level of figures on identification; None for all others."""
    if not str(row["metric"]).startswith(_OF_OWN_PERSON):
        return None
    by_identification = re.search(r"chance is 1 in (\d+)", str(row.get("note") or ""))
    return 1 / int(by_identification[1]) if by_identification else 0.0


def with_minus(text: str) -> str:
    """Return the text with minus signs before numbers, which stages write with a hyphen.

    Examples
    --------
    >>> with_minus("difference -0.242 [-0.567, -0.050] in a one-sided test of 3-4 people")
    'difference −0.242 [−0.567, −0.050] in a one-sided test of 3-4 people'
    """
    return re.sub(r"(?<![\w.)-])-(?=\.?\d)", "−", text)


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return list(evaluation.figures["rows"])


def _baselines(row: dict[str, Any]) -> dict[str, float]:
    given = row.get("baselines") or {}
    return {str(name): float(value) for name, value in given.items() if value is not None}


def _difference(row: dict[str, Any]) -> str:
    return _signed(row.get("difference"), row.get("difference_lower"), row.get("difference_upper"))


def _signed(value: float | None, lower: float | None, upper: float | None) -> str:
    if value is None:
        return "–"
    bounds = interval_words(lower, upper)
    return ("+" if value > 0 else "") + number(value) + ("" if bounds == "–" else f" ({bounds})")


def _better(row: dict[str, Any]) -> str:
    return "higher" if row.get("higher_is_better", True) else "lower"


def baseline_heading(name: str) -> str:
    """Return the short name of a baseline."""
    return predictor_heading(name)


def _held_out(evaluation: Evaluation) -> pd.DataFrame:
    subjects = evaluation.subjects
    return subjects[subjects["part"].astype(str) == "test"] if "part" in subjects else subjects


def _part_words(split: dict[str, Any] | Missing) -> str:
    if isinstance(split, Missing):
        return "Figures are of held-out data."
    if split.get("kind") in SEEN_KINDS:
        return f"Held out is {held_out_in_words(split['kind'], split.get('held_out', ''))} of the same people."
    task = f", and a task that nobody was trained on, {split['held_out']}" if split.get("held_out") else ""
    return f"Held out are {count(len(split['test']), 'person', 'people')} whom no part of the training saw{task}."
