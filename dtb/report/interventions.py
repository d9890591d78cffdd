"""The search for a change of the connectome: everybody's indicator before and after, beside controls of the same norm."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dtb.intervene.arms import controls
from dtb.intervene.kinds import INDICATORS
from dtb.report.change import change_sections
from dtb.report.collected import Collected, Missing
from dtb.report.figures import changes as figures
from dtb.report.maps import Brain
from dtb.report.parts import Panel, Section, Table, colour_of, count, number

_REGIONS_SHOWN = 6
_SHORT = 0.99


def intervention_section(
    found: Collected, pseudonym: str | None, tasks: Mapping[str, str], brain: Brain | None
) -> list[Section]:
    """Return the sections on the indicator before and after for everybody, and on the example person's change."""
    section = Section("intervention", "A search for a change of the connectome")
    interventions = found.interventions
    if isinstance(interventions, Missing):
        return [dataclasses.replace(section, missing=[interventions.reason])]
    missing = [found.stages["intervene"].reason] if found.stages["intervene"].reason else []
    results = interventions.results
    done = results[results["is_target"].astype(bool)].reset_index(drop=True)
    if done.empty:
        reason = "The search did not succeed for anybody; the reasons stand further down."
        return [dataclasses.replace(section, missing=[*missing, reason])]
    task, name = str(done["task"].iloc[0]), indicator_name(done.iloc[0])
    unit = str(done["unit"].iloc[0])
    example = np.flatnonzero(done["pseudonym"].astype(str) == pseudonym)
    svg = figures.before_and_after(
        "intervention-people",
        done["before"].to_numpy(float),
        done["after"].to_numpy(float),
        done["random_after"].to_numpy(float),
        colour=colour_of(task, tasks),
        title="Before and after",
        quantity=f"{name} ({unit})",
        example=int(example[0]) if len(example) else None,
    )
    caption = "One line a person, from before (open) to after (filled); the bar is a random change of equal norm. All simulated anew."
    panels = [Panel(svg, caption), _effects_panel(done, name, unit, colour_of(task, tasks))]
    tables = [_indicators_table(results)]
    words = [_effect_words(done, name, unit), *_abstained_words(done), *_setting_words(found)]
    everybody = dataclasses.replace(section, words=words, missing=missing, panels=panels, tables=tables)
    own = [] if pseudonym is None else change_sections(interventions, pseudonym, found, brain)
    return [everybody, *own]


def _effects_panel(done: pd.DataFrame, name: str, unit: str, colour: str) -> Panel:
    changes = {"the search": (done["after"] - done["before"]).to_numpy(float)}
    for control in controls():
        if f"{control.name}_after" in done and done[f"{control.name}_after"].notna().any():
            changes[control.words] = (done[f"{control.name}_after"] - done["before"]).to_numpy(float)
    svg = figures.effects(
        "intervention-effects", changes, colour=colour, title="Beside controls", quantity=f"change ({unit})"
    )
    caption = (
        f"Change of the twin's {name}: one point a person, the line is the median. All have the search's norm; the search alone is held to "
        "leave the other indicators as they are."
    )
    short = {
        control.words: int((done[f"{control.name}_norm"] < _SHORT * done["change_norm"]).sum())
        for control in controls()
        if f"{control.name}_norm" in done
    }
    if any(short.values()):
        told = ", ".join(f"{words} for {count(num, 'person', 'people')}" for words, num in short.items() if num)
        caption += f" The valid matrices stopped some controls before that norm: {told}."
    return Panel(svg, caption)


def indicator_name(row: pd.Series) -> str:
    """Return the name of an indicator, a row of the search's results."""
    region, alternative = row.get("region"), row.get("alternative")
    kind = str(row["indicator"])
    kind = INDICATORS[kind].words if kind in INDICATORS else kind
    name = f"{kind}{f' {alternative}' if isinstance(alternative, str) else ''} in {row['task']}"
    return name + (f", {region}" if isinstance(region, str) else "")


def _indicators_table(results: pd.DataFrame) -> Table:
    """Return the medians over people: of the searched indicator, of behaviour that should have stayed, and
    of the regions that moved most."""
    # The regions of a network that is to change move with it: they are the aim, not beside it.
    shown = results[results["is_target"].astype(bool) | ~results["is_wanted"].astype(bool)]
    named = shown.assign(name=[indicator_name(row) for _, row in shown.iterrows()])
    rows = []
    for (_, name), group in named.groupby(["is_target", "name"], sort=False):
        spread, is_target = group["spread"].median(), bool(group["is_target"].iloc[0])
        in_spreads = [
            (group[column] - group["before"]).median() / spread if spread else np.nan
            for column in ("after", "random_after")
        ]
        cells = (
            f"{name} ({group['unit'].iloc[0]})",
            "wanted" if is_target else "should stay",
            *(number(group[column].median()) for column in ("before", "after", "random_after")),
            *(number(moved, 2) for moved in in_spreads),
        )
        kind = str(group["indicator"].iloc[0])
        is_bold = not is_target and kind in INDICATORS and INDICATORS[kind].is_map
        rows.append((not is_target, is_bold, -abs(in_spreads[0]) if is_bold else 0.0, cells))
    rows.sort(key=lambda row: row[:3])
    num_bold = sum(is_bold for _, is_bold, _, _ in rows)
    kept = rows[: len(rows) - num_bold + _REGIONS_SHOWN]
    caption = "Indicators: medians over people, and median changes in standard deviations between people"
    if num_bold > _REGIONS_SHOWN:
        caption += f"; of {num_bold} BOLD contrasts, the {_REGIONS_SHOWN} that moved most"
    columns = ("indicator", "role", "before", "after", "after random", "change (SD)", "random change (SD)")
    return Table(caption, columns, [cells for *_, cells in kept], frozenset(range(2, 7)), is_folded=True)


def _effect_words(done: pd.DataFrame, name: str, unit: str) -> str:
    change, by_chance = done["after"] - done["before"], done["random_after"] - done["before"]
    farther = int((change.abs() > by_chance.abs()).sum())
    return (
        f"For each of {count(len(done), 'person', 'people')}, the search looked for a small change of the connectome that moves the twin's "
        f"{name}: by {number(change.median())} {unit} (median), a random change of equal norm by {number(by_chance.median())} {unit}; "
        f"farther than that in {farther} of {len(done)}. This is a property of the model, not of the people."
    )


def num_abstained(done: pd.DataFrame) -> int:
    """Return from how many people the search abstains; 0 for tables that do not say it."""
    return int(done["abstained"].fillna(False).sum()) if "abstained" in done else 0


def _abstained_words(done: pd.DataFrame) -> list[str]:
    abstained = num_abstained(done)
    if not abstained:
        return []
    if abstained == len(done) and not done["members_agreeing"].lt(1.0).all():
        return [
            "The search abstains: it is not shown that the twin knows this figure of people whom training did not see (correlation with "
            f"what they did: {number(done['support'].iloc[0], 2)}). Do not rely on these changes."
        ]
    return [
        f"For {abstained} of {len(done)} the members of the ensemble disagree about the direction of the effect: for them, the "
        "search abstains."
    ]


def _setting_words(found: Collected) -> list[str]:
    settings = found.stages["intervene"].settings.get("intervene") or {}
    if "budget" not in settings:
        return []
    spaces = {
        "sparse": f"; at most {settings.get('max_edges')} edges were changed",
        "regions": f"; at most {settings.get('max_regions')} regions' gains were changed",
    }
    norm = (
        f"{settings['budget']:.3g} times the norm of what a second scan would change by itself (every edge by its test-retest standard "
        "deviation)"
        if settings.get("budget_unit") == "retest_sd"
        else f"{settings['budget']:.3g} times the norm of the person's own connectome"
    )
    reach = settings.get("max_distance")
    near = (
        f", no farther from the cohort's mean than {reach:.3g} standard deviations (or than they were)" if reach else ""
    )
    return [
        f"The wanted direction was to {settings.get('direction', 'change')} it. The change was held to {norm} and within the valid "
        f"correlation matrices{near}{spaces.get(str(settings.get('space')), '')}."
    ]
