"""The sections on held-out data: predictions of the twin and of the baselines, and observations."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtb.evaluate.certificate.table import HEADINGS, NUMBERS, cells
from dtb.evaluate.predictors.table import predictor_heading, predictor_in_words
from dtb.report import figures
from dtb.report.collected import Collected, Evaluation, Missing, People
from dtb.report.parts import Panel, Section, Table, colour_of, count, number
from dtb.shards.split import SEEN_KINDS, held_out_in_words

# The rows of figures.json that are drawn, section by section; the table has all of them.
_DRAWN = {
    "reaction-times": ("mean RT r", "RT CRPS", "condition effect r"),
    "choices": ("choice log-loss", "accuracy above chance", "d' r"),
    "bold": ("BOLD map r", "BOLD map r without the group map", "BOLD series r"),
    "personal": (
        "identification by behaviour",
        "own minus others, behaviour",
        "identification by BOLD map",
        "own minus others, BOLD map",
    ),
}
_REGIONS_SHOWN = 8
# By kind of ceiling, in the order in which an evaluation takes the first that there is: its mark in a figure, and what may be said of it.
_CEILINGS = {
    "truth": (
        "truth",
        "By the truth of this made-up cohort, perfect knowledge would reach about {} on average; few people may show more by chance.",
    ),
    "halves": (
        "ceiling, est.",
        "From how well people's own halves agree, about {} is the most to expect with data this noisy; that is itself an estimate.",
    ),
    "runs": (
        "ceiling, est.",
        "From how well people's own runs agree, about {} is the most to expect with data this noisy; that is itself an estimate.",
    ),
    "own_half": ("own half", "About {} is reached by who knows the other half of each person's own trials."),
}
_OF_OWN_PERSON = ("identification by ", "own minus others")
_BETWEEN_HALVES = ("own half", "One half of each person's own data, taken as a twin of the other half, reaches {}.")


def reaction_time_section(found: Collected, tasks: Mapping[str, str]) -> Section:
    """Return the section on predicted and observed mean reaction times of held-out data, with baselines."""
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
            new_row=not drawn,
        )
        estimates = _estimate_panels(evaluation, "reaction-times", str(task), tasks)
        of_mean = _stacked([panel for metric, panel in estimates if metric != "condition effect r"])
        of_effect = [panel for metric, panel in estimates if metric == "condition effect r"]
        panels += [*drawn, *of_mean, *_stacked([*effect, *of_effect])]
    missing = [] if panels else ["The evaluation holds no person with a mean reaction time."]
    return dataclasses.replace(section, words=[_part_words(found.split)], missing=missing, panels=panels)


def choice_section(found: Collected, tasks: Mapping[str, str]) -> Section:
    """Return the section on predicted and observed accuracy, with an agent that is always correct."""
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


def bold_section(found: Collected, tasks: Mapping[str, str]) -> Section:
    """Return the section on predicted and observed task responses, region by region."""
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
            quantity="contrast (units of the signal)",
            each="regions",
        )
        caption = (
            f"{task}: one point a region, the mean over held-out people of the task's contrast. Such a map of means is predicted "
            "as well by a model that knows no single person."
        )
        panels.append(Panel(svg, caption, new_row=True))
        estimates = [panel for _, panel in _estimate_panels(found.evaluation, "bold", str(task), tasks)]
        panels += [*_stacked(estimates[:2]), *estimates[2:]]
        largest = rows.loc[rows["observed"].abs().sort_values(ascending=False).index[:_REGIONS_SHOWN]]
        tables.append(
            Table(
                f"{task}: the largest observed responses",
                ("region", "observed", "predicted"),
                [
                    (str(row["region"]), _fixed(row["observed"]), _fixed(row["predicted"]))
                    for row in largest.to_dict("records")
                ],
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


def personal_section(found: Collected, tasks: Mapping[str, str]) -> Section:
    """Return the section on the certificate: whether the twin is personal, test by test, and how well it identifies its person."""
    section = Section("personal", "Is the twin personal?")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    certificate = found.evaluation.certificate
    rows = [cells(test) for test in certificate["tests"]]
    numeric = frozenset(place for place, heading in enumerate(HEADINGS) if heading in NUMBERS)
    tables = [Table("The certificate", HEADINGS, rows, numeric)] if rows else []
    panels = [
        panel for task in ("all", *tasks) for _, panel in _estimate_panels(found.evaluation, "personal", task, tasks)
    ]
    words = [
        with_minus(f"{str(certificate['verdict']).capitalize()}. {certificate['sentence']}"),
        "Below: how often a twin's behaviour (or BOLD map) is nearer to its own person's than to anybody else's, and by how much.",
    ]
    missing = [f"Not tested: {line}" for line in certificate["not_tested"]]
    return dataclasses.replace(
        section,
        words=words if panels else words[:1],
        missing=missing,
        panels=panels,
        tables=tables,
        notes=certificate["notes"],
    )


def figures_section(found: Collected) -> Section:
    """Return the section with every figure of the evaluation, its interval and baselines."""
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
            number(row.get("ceiling")) + (f" ({_ceiling(row)[0]})" if row.get("ceiling") is not None else ""),
            ", ".join(f"{_plain(name)} {number(value)}" for name, value in _baselines(row).items()) or "–",
            _difference(row),
            str(row.get("n", "")),
            with_minus(str(row.get("note") or "")),
        )
        for row in found.evaluation.figures["rows"]
    ]
    columns = (
        "task",
        "figure",
        "better",
        "twin",
        "interval",
        "ceiling",
        "baselines",
        "twin − best baseline",
        "people",
        "note",
    )
    table = Table("Held-out figures", columns, rows, frozenset({3, 5, 8}))
    confidence = found.evaluation.figures.get("confidence")
    words = [
        (f"Intervals cover {confidence:.0%} of bootstrap draws over people. " if confidence else "")
        + "The best baseline is the one that predicts training people best, each from others; where they cannot tell, the best "
        "on these very people, which favours the baselines. A difference counts if its interval leaves 0 out."
    ]
    named = dict.fromkeys(name for row in _rows(found.evaluation) for name in _baselines(row))
    notes = (
        ["Baselines: " + "; ".join(f"{_plain(name)}: {predictor_in_words(name)}" for name in named) + "."]
        if named
        else []
    )
    return dataclasses.replace(section, words=words, tables=[table], notes=notes)


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
    *,
    column: str,
    metric: str,
    title: str,
    quantity: str,
    new_row: bool = True,
) -> list[Panel]:
    """Return a panel with one point per person, and the best baseline in grey; None if nobody has both values."""
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
            {_plain(name): value for name, value in _baselines(row).items()},
            colour=colour_of(task, tasks),
            title=str(row["metric"]) if task == "all" else f"{task}: {row['metric']}",
            quantity=f"{row.get('unit') or row['metric']}; {_better(row)} is better",
            ceiling=row.get("ceiling"),
            ceiling_name=_ceiling(row)[0],
            chance=_chance(row),
        )
        caption = count(int(row.get("n") or 0), "person", "people")
        caption += "." if lower is None or upper is None else "; the bar is the twin's interval."
        if row.get("difference") is not None:
            caption += f" Twin minus {_plain(str(row.get('best_baseline')))}: {_difference(row)}."
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


def _stacked(panels: list[Panel]) -> list[Panel]:
    """Return the figures, the others below the first."""
    return [dataclasses.replace(panel, below=place > 0) for place, panel in enumerate(panels)]


def _difference(row: dict[str, Any]) -> str:
    return _signed(row.get("difference"), row.get("difference_lower"), row.get("difference_upper"))


def _signed(value: float | None, lower: float | None, upper: float | None) -> str:
    if value is None:
        return "–"
    bounds = interval_words(lower, upper)
    return ("+" if value > 0 else "") + number(value) + ("" if bounds == "–" else f" ({bounds})")


def _fixed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _better(row: dict[str, Any]) -> str:
    return "higher" if row.get("higher_is_better", True) else "lower"


def _plain(name: str) -> str:
    return predictor_heading(name)


def _metric_name(row: dict[str, Any]) -> str:
    unit = str(row.get("unit") or "")
    return str(row["metric"]) + (f" ({unit})" if unit else "")


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
