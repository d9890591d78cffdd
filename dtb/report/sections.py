"""The parts of the page: each function turns what was collected into one section of words, figures and tables, or says what is missing.

Text is plain text: the template escapes it. Only the SVG of `dtb.report.figures` is markup.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from dtb.report import figures
from dtb.report.collect import Collected, Evaluation, Missing, People
from dtb.report.style import QUIET, task_colour

_MAX_ROWS = 40
_REASONS_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Panel:
    """A figure, or several joined, and what they say; `new_row` sets it at the left, below the figures before."""

    svg: Markup
    caption: str
    new_row: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: `numeric` names the columns set flush right."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of the page, printed in this order: words, notices, figures, tables.

    Attributes
    ----------
    key : str
        Anchor, and beginning of its figures' identifiers.
    title : str
    words : sequence of str
        Paragraphs.
    missing : sequence of str
        Notices: what should be here and is not, and why.
    panels, tables : sequence
    results : bool
        Whether it shows results of the model, and so says "research use only".
    """

    key: str
    title: str
    words: Sequence[str] = ()
    missing: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    tables: Sequence[Table] = ()
    results: bool = True


def task_names(found: Collected) -> list[str]:
    """List the tasks in the order that decides their colours: that of the cohort's runs, or of the alphabet."""
    if isinstance(found.people, People):
        return [str(task) for task in found.people.runs["task"].unique()]
    if isinstance(found.evaluation, Evaluation):
        return sorted({str(row["task"]) for row in found.evaluation.figures["rows"]})
    return []


def colour_of(task: str, tasks: Sequence[str]) -> str:
    """Give a task's place-holder colour; grey for what concerns no single task."""
    return task_colour(tasks.index(task)) if task in tasks else QUIET


def people_section(found: Collected) -> Section:
    """Say who is in the cohort, and who was set aside and why."""
    section = Section("people", "Who is in the cohort", results=False)
    people = found.people
    if isinstance(people, Missing):
        return dataclasses.replace(section, missing=[people.reason])
    counts = people.manifest.counts
    regions = people.manifest.description.regions
    words = [
        f"{_count(len(people.cohort), 'person', 'people')} with {_count(counts.get('runs', len(people.runs)), 'task run')} and "
        f"{_count(counts.get('usable_trials', 0), 'usable trial')} of {counts.get('trials', 0)}. "
        f"Each connectome joins {len(regions)} regions. {people.manifest.description.connectome}",
        *_covariate_words(people.covariates),
        *_split_words(found.split),
    ]
    by_task = people.runs.groupby("task", sort=False)
    rows = [
        (
            str(task),
            str(runs["pseudonym"].nunique()),
            str(len(runs)),
            ", ".join(sorted(map(str, runs["label"].unique()))),
            _repetition(runs["repetition_time"]),
        )
        for task, runs in by_task
    ]
    tables = [Table("Tasks", ("task", "people", "runs", "BIDS labels", "task BOLD"), rows, frozenset({1, 2}))]
    aside = people.set_aside
    if aside.empty:
        words.append("Nobody was set aside.")
    else:
        share = len(aside) / (len(aside) + len(people.cohort))
        words.append(f"{_count(len(aside), 'person was', 'people were')} set aside ({share:.0%}); the tables say why.")
        tables += _set_aside_tables(aside)
    return dataclasses.replace(section, words=words, tables=tables)


def training_section(found: Collected) -> Section:
    """Draw the learning curves, with the epoch that was kept."""
    section = Section("training", "How it learned", results=False)
    learning = found.learning
    if isinstance(learning, Missing):
        return dataclasses.replace(section, missing=[learning.reason])
    missing = [found.stages["train"].reason] if found.stages["train"].reason else []
    epochs = learning["epoch"].to_numpy()
    validation = learning["validation_loss"].to_numpy(float)
    best = int(epochs[np.nanargmin(validation)]) if np.isfinite(validation).any() else None
    panels = [
        Panel(
            figures.learning_curves(
                "training-loss",
                epochs,
                {
                    "training": learning["train_loss"].to_numpy(float),
                    "validation": validation,
                },
                title="Loss",
                quantity="loss",
                best_epoch=best,
            ),
            "Training and validation loss. The twin that is used has the weights of the epoch with the lowest validation loss.",
        )
    ]
    for column, title, caption in (
        ("press", "Presses", "The part of the validation loss that asks when each person pressed, and which button."),
        ("bold", "BOLD", "The part of the validation loss that asks what each region's BOLD signal did."),
    ):
        values = pd.to_numeric(learning[column], errors="coerce") if column in learning else pd.Series(dtype=float)
        if values.notna().any() and (values.fillna(0) != 0).any():
            panels.append(
                Panel(
                    figures.learning_curves(
                        f"training-{column}",
                        epochs,
                        {"": values.to_numpy(float)},
                        title=title,
                        quantity="loss",
                        best_epoch=best,
                    ),
                    caption,
                )
            )
        elif column == "bold":
            missing.append("The BOLD term was zero in every epoch: this cohort has no task BOLD to learn from.")
    words = [
        f"{_count(len(learning), 'epoch')}" + (f"; the weights of epoch {best} were kept." if best is not None else ".")
    ]
    if "seconds" in learning:
        words[0] += f" {learning['seconds'].sum() / 60:.1f} minutes in all"
        if "subjects_per_second" in learning:
            words[0] += f", {learning['subjects_per_second'].median():.1f} people a second"
        words[0] += "."
    return dataclasses.replace(section, words=words, missing=missing, panels=panels)


def reaction_time_section(found: Collected, tasks: Sequence[str]) -> Section:
    """Draw predicted against observed mean reaction times of held-out data, and each figure beside its baselines."""
    section = Section("reaction-times", "Reaction times, predicted and observed")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    subjects = _held_out(found.evaluation)
    panels = []
    for index, (task, rows) in enumerate(subjects.groupby("task", sort=False)):
        panels.append(
            Panel(
                figures.predicted_against_observed(
                    f"rt-{index}",
                    rows["observed_mean_rt"].to_numpy(float),
                    rows["predicted_mean_rt"].to_numpy(float),
                    colour=colour_of(str(task), tasks),
                    title=str(task),
                    quantity="mean RT (s)",
                    baselines=_baselines_of(rows, "mean_rt"),
                ),
                f"{task}: one point a person, on held-out data. On the dashed line the prediction equals the observation.",
                new_row=True,
            )
        )
        if _has(rows, "observed_condition_rt", "predicted_condition_rt"):
            panels.append(
                Panel(
                    figures.predicted_against_observed(
                        f"rt-condition-{index}",
                        rows["observed_condition_rt"].to_numpy(float),
                        rows["predicted_condition_rt"].to_numpy(float),
                        colour=colour_of(str(task), tasks),
                        title=f"{task}: condition effect",
                        quantity="effect on RT (s)",
                        baselines=_baselines_of(rows, "condition_rt"),
                    ),
                    f"{task}: each person's difference of mean RT between the conditions of the task's contrast.",
                )
            )
        panels += _estimate_panel(found.evaluation, "rt", str(task), tasks)
    missing = [] if panels else ["The evaluation holds no person with a mean reaction time."]
    return dataclasses.replace(section, words=[_part_words(found.split)], missing=missing, panels=panels)


def choice_section(found: Collected, tasks: Sequence[str]) -> Section:
    """Draw predicted against observed accuracy, and the choice figures beside an agent that is always correct."""
    section = Section("choices", "Choices, predicted and observed")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    subjects = _held_out(found.evaluation)
    panels = []
    for index, (task, rows) in enumerate(subjects.groupby("task", sort=False)):
        if _has(rows, "observed_accuracy", "predicted_accuracy"):
            panels.append(
                Panel(
                    figures.predicted_against_observed(
                        f"choice-{index}",
                        rows["observed_accuracy"].to_numpy(float),
                        rows["predicted_accuracy"].to_numpy(float),
                        colour=colour_of(str(task), tasks),
                        title=str(task),
                        quantity="accuracy",
                        baselines=_baselines_of(rows, "accuracy"),
                    ),
                    f"{task}: one point a person, the share of correct choices.",
                    new_row=True,
                )
            )
        panels += _estimate_panel(found.evaluation, "choice", str(task), tasks)
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
        panels.append(
            Panel(
                figures.predicted_against_observed(
                    f"bold-{index}",
                    rows["observed"].to_numpy(float),
                    rows["predicted"].to_numpy(float),
                    colour=colour_of(str(task), tasks),
                    title=str(task),
                    quantity="contrast",
                    each="regions",
                ),
                f"{task}: one point a region, the mean over held-out people of the task's contrast. A map of group means is also "
                "predicted by a model that knows no single person.",
                new_row=True,
            )
        )
        largest = rows.loc[rows["observed"].abs().sort_values(ascending=False).index[:8]]
        tables.append(
            Table(
                f"{task}: the largest observed responses",
                ("region", "observed", "predicted"),
                [(str(r.region), f"{r.observed:.3g}", f"{r.predicted:.3g}") for r in largest.itertuples()],
                frozenset({1, 2}),
            )
        )
        panels += _estimate_panel(found.evaluation, "bold", str(task), tasks)
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


def figures_section(found: Collected) -> Section:
    """List every figure of the evaluation with its interval and baselines."""
    section = Section("figures", "Every figure, with its interval and baselines")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    rows = [
        (
            str(row["task"]),
            _metric_name(row),
            number(row.get("twin")),
            interval_words(row),
            "; ".join(f"{name} {number(value)}" for name, value in (row.get("baselines") or {}).items()) or "–",
            str(row.get("n", "")),
            str(row.get("note") or ""),
        )
        for row in found.evaluation.figures["rows"]
    ]
    table = Table(
        "Held-out figures", ("task", "figure", "twin", "interval", "baselines", "n", "note"), rows, frozenset({2, 5})
    )
    return dataclasses.replace(section, tables=[table])


def failures_section(found: Collected) -> Section:
    """Say how far each stage came, and for whom the simulation or the search failed."""
    rows = [
        (state.name, state.state, state.reason or "–", state.version or "–", state.config_hash[:12] or "–")
        for state in found.stages.values()
    ]
    tables = [Table("Stages", ("stage", "state", "reason", "dtb", "settings"), rows)]
    words = []
    for stage, status in (
        ("simulate", None if isinstance(found.simulations, Missing) else found.simulations.status),
        ("intervene", None if isinstance(found.interventions, Missing) else found.interventions.status),
    ):
        if status is None:
            continue
        failed = status[status["status"].astype(str) != "ok"]
        words.append(f"`dtb {stage}`: {len(status) - len(failed)} of {_count(len(status), 'person', 'people')} done.")
        if len(failed):
            tables.append(_reasons(failed["reason"].astype(str), f"`dtb {stage}`: why it failed"))
    return Section("stages", "What ran, and what failed", words=words, tables=tables, results=False)


def number(value: Any) -> str:
    """Give a figure with three significant digits; a dash where there is none.

    Examples
    --------
    >>> number(0.123456), number(None), number(1234.5)
    ('0.123', '–', '1234')
    """
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interval_words(row: dict[str, Any]) -> str:
    """Give the interval of a row of figures.json in words; a dash where there is none."""
    lower, upper = row.get("lower"), row.get("upper")
    return "–" if lower is None or upper is None else f"{number(lower)} to {number(upper)}"


def _estimate_panel(evaluation: Evaluation, group: str, task: str, tasks: Sequence[str]) -> list[Panel]:
    """Draw the rows of figures.json of one task that belong to one group, each above its baselines, in one panel."""
    drawn, notes = [], []
    for index, row in enumerate(evaluation.figures["rows"]):
        if str(row["task"]) != task or metric_group(str(row["metric"])) != group or not row.get("baselines"):
            continue
        lower, upper, twin = row.get("lower"), row.get("upper"), row.get("twin")
        drawn.append(
            figures.estimates(
                f"estimate-{index}",
                None if twin is None else float(twin),
                None if lower is None or upper is None else (float(lower), float(upper)),
                {str(name): float(value) for name, value in row["baselines"].items() if value is not None},
                colour=colour_of(task, tasks),
                title=f"{task}: {_metric_name(row)}",
                quantity=f"n = {row.get('n', 'unknown')}",
            )
        )
        notes += [str(row["note"])] if row.get("note") else []
    if not drawn:
        return []
    caption = f"{task}: the twin's figure on held-out data, the bar its interval, beside baselines. "
    return [Panel(Markup("").join(drawn), caption + " ".join(dict.fromkeys(notes)))]


def metric_group(metric: str) -> str:
    """Say which section a metric belongs to: ``rt``, ``choice``, ``bold`` or ``other``.

    Examples
    --------
    >>> metric_group("mean RT, r"), metric_group("BOLD map r"), metric_group("choice log-loss")
    ('rt', 'bold', 'choice')
    """
    words = metric.lower().replace("_", " ").replace(",", " ").replace(":", " ").split()
    if "bold" in words:
        return "bold"
    if {"rt", "reaction", "crps", "rts"} & set(words):
        return "rt"
    if {"choice", "choices", "accuracy", "agreement"} & set(words):
        return "choice"
    return "other"


def _metric_name(row: dict[str, Any]) -> str:
    unit = str(row.get("unit") or "")
    return str(row["metric"]) + (f" ({unit})" if unit and unit not in {"1", "-", "none"} else "")


def _held_out(evaluation: Evaluation) -> pd.DataFrame:
    subjects = evaluation.subjects
    return subjects[subjects["part"].astype(str) == "test"] if "part" in subjects else subjects


def _has(rows: pd.DataFrame, *columns: str) -> bool:
    return all(column in rows and rows[column].notna().any() for column in columns)


def _baselines_of(rows: pd.DataFrame, suffix: str) -> dict[str, np.ndarray]:
    """Find columns named `<baseline>_<suffix>` that hold other predictions of the same values."""
    own = {f"observed_{suffix}", f"predicted_{suffix}"}
    return {
        column.removesuffix(f"_{suffix}").replace("_", " "): rows[column].to_numpy(float)
        for column in map(str, rows.columns)
        if column.endswith(f"_{suffix}") and column not in own and rows[column].notna().any()
    }


def _covariate_words(covariates: pd.DataFrame) -> list[str]:
    words = []
    if _has(covariates, "age"):
        age = pd.to_numeric(covariates["age"], errors="coerce").dropna()
        words.append(f"Age {age.min():.0f} to {age.max():.0f} years, median {age.median():.0f}")
    for column in ("sex", "site", "group"):
        if _has(covariates, column):
            counts = covariates[column].fillna("unknown").astype(str).value_counts()
            words.append(f"{column}: " + ", ".join(f"{value} {count}" for value, count in counts.items()))
    if _has(covariates, "rest_seconds"):
        rest = pd.to_numeric(covariates["rest_seconds"], errors="coerce").dropna() / 60
        bounds = sorted({f"{rest.min():.1f}", f"{rest.max():.1f}"}, key=float)
        words.append(f"usable rest {' to '.join(bounds)} minutes")
    return ["; ".join(words) + "."] if words else []


def _split_words(split: dict[str, Any] | Missing) -> list[str]:
    if isinstance(split, Missing):
        return []
    sizes = {part: len(split[part]) for part in ("train", "validation", "test")}
    if split.get("kind") == "temporal":
        return [
            f"The same {_count(sizes['train'], 'person', 'people')} train and test the twin: the later part of each run is held "
            "out. This says whether a twin goes on as it began, not whether it foresees people it never saw."
        ]
    return [
        f"{sizes['train']} train the twin, {sizes['validation']} decide when to stop, and {sizes['test']} are never seen before the "
        "evaluation."
    ]


def _part_words(split: dict[str, Any] | Missing) -> str:
    if isinstance(split, Missing):
        return "Figures are of held-out data."
    if split.get("kind") == "temporal":
        return "Held out is the later part of each run of the same people."
    return f"Held out are {_count(len(split['test']), 'person', 'people')} whom no part of the training saw."


def _set_aside_tables(aside: pd.DataFrame) -> list[Table]:
    tables = []
    if "reason" in aside:
        tables.append(_reasons(aside["reason"], "Why people were set aside"))
    shown = aside.head(_MAX_ROWS)
    more = f" (the first {_MAX_ROWS} of {len(aside)}; quarantine.tsv has all)" if len(aside) > _MAX_ROWS else ""
    rows = [tuple(map(str, row)) for row in shown.itertuples(index=False)]
    return [*tables, Table(f"Set aside{more}", tuple(map(str, aside.columns)), rows)]


def _reasons(reasons: pd.Series, caption: str) -> Table:
    # Figures differ from person to person ("31 of 60 regions"), so equal reasons are counted with figures left out.
    kinds = reasons.str.replace(r"\d+(\.\d+)?", "#", regex=True)
    counts = kinds.value_counts().head(_REASONS_SHOWN)
    rows = [(str(reasons[kinds == kind].iloc[0]), str(count)) for kind, count in counts.items()]
    return Table(caption, ("reason (an example of each kind)", "people"), rows, frozenset({1}))


def _repetition(values: pd.Series) -> str:
    known = sorted({float(value) for value in values.dropna()})
    return "none" if not known else "TR " + ", ".join(f"{value:g} s" for value in known)


def _count(value: int, one: str, many: str | None = None) -> str:
    return f"{value:,} {one if value == 1 else many or one + 's'}"
