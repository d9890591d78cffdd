"""The sections on the cohort, the training, and what ran or failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dtb.people.connectome_kinds import kind_in_words
from dtb.people.covariates import labels
from dtb.report.collected import OPTIONAL, Collected, Missing
from dtb.report.figures import evaluation as figures
from dtb.report.parts import Panel, Section, Table, count, number, task_colours, task_domains
from dtb.shards.manifest import Manifest
from dtb.shards.split import SEEN_KINDS, held_out_in_words

_MAX_ROWS = 40
_REASONS_SHOWN = 12
_QUALITY_CAPTION = "Quality of those who stayed"
_QUALITY_OF_PEOPLE = {
    "motion": "head motion (mm)",
    "rest_seconds": "usable rest (s)",
    "region_fraction": "share of regions present",
}
_QUALITY_OF_RUNS = {
    "accuracy": "share of right answers",
    "median_rt": "median reaction time (s)",
    "omission_fraction": "share of trials without a press",
    "commission_fraction": "share of presses where none was right",
    "d_prime": "d' of pressing",
    "late_fraction": "share of presses lost after the response window",
    "rt_outlier_fraction": "share of reaction times that are outliers",
    "volumes_fraction": "share of volumes left",
}


def people_section(found: Collected) -> Section:
    """Return the section on the people in the cohort, and on those set aside, with the reasons."""
    section = Section("people", "Who is in the cohort")
    people = found.people
    if isinstance(people, Missing):
        return dataclasses.replace(section, missing=[people.reason])
    counts = people.manifest.counts
    regions = people.manifest.description.regions
    words = [
        f"{count(len(people.cohort), 'person', 'people')} with {count(counts.get('runs', len(people.runs)), 'task run')} and "
        f"{count(counts.get('usable_trials', 0), 'usable trial')} of {counts.get('trials', 0)}. "
        f"Each connectome joins {len(regions)} regions. {connectome_words(people.manifest)}",
        *_covariate_words(people.covariates),
        *_split_words(found.split),
    ]
    by_task = people.runs.groupby("task", sort=False)
    tasks, domains = list(task_colours(found)), task_domains(people.manifest)
    rows = [
        (
            str(task),
            domains[str(task)],
            str(runs["pseudonym"].nunique()),
            str(len(runs)),
            ", ".join(sorted(map(str, runs["label"].unique()))),
            _repetition(runs["repetition_time"]),
        )
        for task, runs in sorted(by_task, key=lambda pair: tasks.index(str(pair[0])))
    ]
    tables = [
        Table(
            "Tasks: cognitive ones in cool colours, affective ones in warm",
            ("task", "domain", "people", "runs", "BIDS labels", "task BOLD"),
            rows,
            frozenset({2, 3}),
        )
    ]
    aside = people.set_aside
    if aside.empty:
        words.append("Nobody was set aside.")
    else:
        share = len(aside) / (len(aside) + len(people.cohort))
        words.append(f"{count(len(aside), 'person was', 'people were')} set aside ({share:.0%}); the tables say why.")
        tables += _set_aside_tables(aside)
    if len(people.left_out):
        words.append(
            f"{count(len(people.left_out), 'run or row of events', 'runs and rows of events')} of the people above could not be used."
        )
        tables.append(_reasons(people.left_out["reason"], "Runs and rows left out", "times"))
    return dataclasses.replace(section, words=words, tables=[*tables, *_quality_tables(people.quality)])


def _quality_tables(quality: pd.DataFrame) -> list[Table]:
    """Return the tables of medians and ranges of the quality page, and of the runs that it flags."""
    if quality.empty:
        return []
    per_person = quality.drop_duplicates("pseudonym")
    measures = [("all", per_person, column, words) for column, words in _QUALITY_OF_PEOPLE.items()]
    for task, runs in quality.groupby("task", sort=False):
        measures += [(str(task), runs, column, words) for column, words in _QUALITY_OF_RUNS.items()]
    rows = []
    for name, of, column, words in measures:
        values = pd.to_numeric(of[column], errors="coerce").dropna() if column in of else pd.Series(dtype=float)
        if len(values):
            cells = (number(values.median()), f"{number(values.min())} to {number(values.max())}", str(len(values)))
            rows.append((name, words, *cells))
    tables = [
        Table(_QUALITY_CAPTION, ("task", "measure", "median", "range", "n"), rows, frozenset({2, 4}), is_folded=True)
    ]
    flagged = quality[quality["flag"].notna()] if "flag" in quality else quality.head(0)
    if len(flagged):
        to_see = [
            (str(row["pseudonym"]), f"{row['label']} {row['run']}", number(row["accuracy"], 2), str(row["flag"]))
            for row in flagged.head(_MAX_ROWS).to_dict("records")
        ]
        tables.append(Table("Runs to look at", ("person", "run", "right answers", "why"), to_see, frozenset({2})))
    return tables


def connectome_words(manifest: Manifest) -> str:
    """Return how the connectomes were made, in a sentence."""
    made: Mapping[str, Any] = manifest.description.connectome
    kind = kind_in_words(made)
    matrix = f" ({made['matrix']})" if made.get("matrix") else ""
    scale = {"fisher_z": ", as Fisher's z", "as it is": ""}.get(
        str(made.get("scale", "as it is")), f", as {made.get('scale')}"
    )
    runs = f"; of several rest runs: {made['runs']}" if made.get("runs") else ""
    return f"Connectomes are {kind}{matrix}{scale}{runs}."


def training_section(found: Collected) -> Section:
    """Return the section on the learning curves, with the epoch whose weights are used."""
    section = Section("training", "How it learned")
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
            "The weights of the epoch with the lowest validation loss are used.",
        )
    ]
    for column, title, caption in (
        ("press", "Presses", "When each person pressed, and which button."),
        ("bold", "BOLD", "What each region's BOLD signal did."),
    ):
        lines = {
            name: pd.to_numeric(learning[key], errors="coerce").to_numpy(float)
            for name, key in (("training", column), ("validation", f"validation_{column}"))
            if key in learning
        }
        if any(np.nan_to_num(values).any() for values in lines.values()):
            svg = figures.learning_curves(
                f"training-{column}", epochs, lines, title=title, quantity="loss", best_epoch=best
            )
            panels.append(Panel(svg, caption))
        elif column == "bold":
            missing.append("The BOLD term was zero in every epoch: this cohort has no task BOLD to learn from.")
    words = [
        f"{count(len(learning), 'epoch')}" + (f"; the weights of epoch {best} were kept." if best is not None else ".")
    ]
    if "seconds" in learning:
        words[0] += f" {learning['seconds'].sum() / 60:.1f} minutes in all"
        if "subjects_per_second" in learning:
            words[0] += f", {learning['subjects_per_second'].median():.1f} people a second"
        words[0] += "."
    if too_early := (found.stages["train"].summary.get("ending") or {}).get("sentence"):
        words.append(too_early)
    tables = []
    if isinstance(found.untrained, pd.DataFrame) and len(found.untrained):
        num_aside = len(found.untrained)
        words.append(
            f"Training set {count(num_aside, 'person', 'people')} aside; the rest of the cohort was trained on."
        )
        tables.append(_reasons(found.untrained["reason"], "Why training set people aside"))
    return dataclasses.replace(section, words=words, missing=missing, panels=panels, tables=tables)


def failures_section(found: Collected) -> Section:
    """Return the section on the state of each stage, and on failed simulations and searches."""
    rows = [
        (state.name, state.state, state.reason or "–", state.version or "–", state.config_hash[:12] or "–")
        for state in found.stages.values()
        if state.state != "absent" or state.name not in OPTIONAL
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
        words.append(f"`dtb {stage}`: {len(status) - len(failed)} of {count(len(status), 'person', 'people')} done.")
        if len(failed):
            tables.append(_reasons(failed["reason"].astype(str), f"`dtb {stage}`: why it failed"))
    return Section("stages", "What ran, and what failed", words=words, tables=tables)


def _has(rows: pd.DataFrame, *columns: str) -> bool:
    return all(column in rows and rows[column].notna().any() for column in columns)


def _covariate_words(covariates: pd.DataFrame) -> list[str]:
    words = []
    if _has(covariates, "age"):
        age = pd.to_numeric(covariates["age"], errors="coerce").dropna()
        words.append(f"Age {age.min():.0f} to {age.max():.0f} years, median {age.median():.0f}")
    for column in labels():
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
    if split.get("kind") in SEEN_KINDS:
        return [
            f"The same {count(sizes['train'], 'person', 'people')} train and test the twin: "
            f"{held_out_in_words(split['kind'], split.get('held_out', ''))} is held out. "
            "This says whether the twin predicts the same people further, not whether it predicts people it never saw."
        ]
    return [
        f"{sizes['train']} train the twin, {sizes['validation']} decide when to stop, and {sizes['test']} are never seen before the "
        f"evaluation{', and neither is anybody at the task ' + split['held_out'] if split.get('held_out') else ''}."
    ]


def _set_aside_tables(aside: pd.DataFrame) -> list[Table]:
    tables = []
    if "reason" in aside:
        tables.append(_reasons(aside["reason"], "Why people were set aside"))
    shown = aside.head(_MAX_ROWS)
    more = f" (the first {_MAX_ROWS} of {len(aside)}; quarantine.tsv has all)" if len(aside) > _MAX_ROWS else ""
    rows = [tuple(map(str, row)) for row in shown.itertuples(index=False)]
    return [*tables, Table(f"Set aside{more}", tuple(map(str, aside.columns)), rows, is_folded=True)]


def _reasons(reasons: pd.Series, caption: str, what: str = "people") -> Table:
    # Figures differ from person to person ("31 of 60 regions"), so equal reasons are counted with figures left out.
    kinds = reasons.str.replace(r"\d+(\.\d+)?", "#", regex=True)
    counts = kinds.value_counts().head(_REASONS_SHOWN)
    rows = [(str(reasons[kinds == kind].iloc[0]), str(count)) for kind, count in counts.items()]
    return Table(caption, ("reason (an example of each kind)", what), rows, frozenset({1}))


def _repetition(values: pd.Series) -> str:
    known = sorted({float(value) for value in values.dropna()})
    return "none" if not known else "TR " + ", ".join(f"{value:g} s" for value in known)
