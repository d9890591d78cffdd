"""The in-silico trial, if there is one: dose-response curves of every arm, and the primary outcome of the protocol."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtb.report.collected import Collected, Missing
from dtb.report.figures import changes as figures
from dtb.report.parts import Panel, Section, Table, colour_of, count, number

_INDICATORS = {"bold_map": "BOLD contrasts, all regions"}


def trial_section(found: Collected, tasks: Mapping[str, str]) -> list[Section]:
    """Return the section on the trial; None if there was none."""
    if found.stages["trial"].state == "absent":
        return []
    section = Section("trial", "The in-silico trial")
    tried = found.trial
    if isinstance(tried, Missing):
        return [dataclasses.replace(section, missing=[tried.reason])]
    protocol, primary = tried.result["protocol"], tried.result["primary"]
    target = tried.matrix[tried.matrix["is_target"].astype(bool)]
    task = str(target["task"].iloc[0]) if len(target) else ""
    svg = figures.dose_response(
        "trial-doses",
        {
            str(arm): rows[["dose", "effect", "effect_lower", "effect_upper"]].to_numpy(float)
            for arm, rows in tried.doses.groupby("arm", sort=False)
        },
        primary=str(primary["arm"]),
        colour=colour_of(task, tasks),
        title=f"Dose and response: {tried.result['target']}",
    )
    caption = (
        f"The mean effect over {primary['num_people']} people's twins, in standard deviations between people, positive the wanted way; the "
        f"bands are {protocol['confidence']:.0%} intervals over people, members of the ensemble and, where there are two, "
        "a person's scans. A dose of 1 is the full change."
    )
    words = [
        *_doubts(tried.result),
        *([tried.result["benefit"]["sentence"]] if tried.result.get("benefit") else []),
        f"{protocol['title']}: everybody's twin went through every arm at every dose, under a protocol that was written before "
        f"({str(tried.result['protocol_hash'])[:12]}), to {protocol['search']['direction']} {tried.result['target']}.",
        f"The primary outcome: {primary['arm']} against {primary['comparator']}, at the full dose, differ by "
        f"{_interval(primary, 'difference')} standard deviations between people (p = {number(primary['p_value'], 2)} by sign flips; "
        f"{primary['share_better']:.0%} of {primary['num_people']} people are better off{_left_out(primary)}). It is a trial of models, "
        "not of people.",
    ]
    full = tried.doses[tried.doses["dose"] == 1.0]
    in_retest = bool(full["effect_in_retest_sd"].notna().any())
    slopes = tried.slopes.set_index("arm")
    rows = [
        (
            str(row["arm"]),
            _interval(row, "effect"),
            *([_interval(row, "effect_in_retest_sd")] if in_retest else []),
            _interval(row, "sd_between_people"),
            _interval(row, "responders", share=True),
            _interval(slopes.loc[row["arm"]], "slope"),
            f"{slopes.loc[row['arm'], 'share_growing']:.0%}",
        )
        for _, row in full.iterrows()
    ]
    columns = (
        "arm",
        "effect at the full dose",
        *(["the same in test-retest SD"] if in_retest else []),
        "SD over people",
        "responders",
        "slope by dose",
        "effect grows with every dose",
    )
    effects = Table("Arms, with intervals", columns, rows)
    return [
        dataclasses.replace(section, words=words, panels=[Panel(svg, caption)], tables=[effects, _matrix(tried.matrix)])
    ]


def _doubts(result: Mapping[str, Any]) -> list[str]:
    """Return the notices on where the search abstains."""
    support, num = result["support"], int(result["num_abstained"])
    if not support["is_shown"]:
        return [
            "The search abstains: it is not shown that the twin knows this figure of people whom training did not see (correlation with "
            f"what they did: {number(support['r'] if support['r'] is not None else math.nan, 2)}). Do not rely on this trial."
        ]
    if num:
        return [
            f"For {count(num, 'person', 'people')} the members of the ensemble disagree about the effect of the personal change: from them "
            "the search abstains. They are in the figures all the same."
        ]
    return []


def _left_out(primary: Mapping[str, Any]) -> str:
    num = int(primary["num_incomplete"])
    return f"; {count(num, 'person', 'people')} without a figure in both arms left out" if num else ""


def _matrix(matrix: pd.DataFrame) -> Table:
    """Return the effects of each arm on every indicator."""
    arms = list(dict.fromkeys(matrix["arm"].astype(str)))
    rows = []
    for (task, indicator, is_target), group in matrix.groupby(["task", "indicator", "is_target"], sort=False):
        sizes = {str(row["arm"]): _interval(row, "mean_size") for _, row in group.iterrows()}
        name = _INDICATORS.get(str(indicator), str(indicator).replace("_", " "))
        rows.append(
            (f"{task}: {name}", "wanted" if is_target else "should stay", *(sizes.get(arm, "") for arm in arms))
        )
    return Table(
        "How far each arm moves each indicator at the full dose, either way, in standard deviations between people, with intervals",
        ("indicator", "role", *arms),
        rows,
        frozenset(range(2, 2 + len(arms))),
    )


def _interval(row: object, name: str, *, share: bool = False) -> str:
    values = [float(row[key]) for key in (name, f"{name}_lower", f"{name}_upper")]  # type: ignore[index]
    middle, lower, upper = (f"{value:.0%}" if share else number(value) for value in values)
    return f"{middle} ({lower} to {upper})"
