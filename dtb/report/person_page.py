"""A page for one person: their place and their twin's in the cohort, the twin's predictions, and the change that was found."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from dtb.report import figures
from dtb.report.change import add_change
from dtb.report.collected import Collected, Missing, People
from dtb.report.example_person import errors_of_people, twin_section
from dtb.report.interventions import indicator_name
from dtb.report.parts import Panel, Section, Table, colour_of, number

FOLDER = "people"
_INDICATORS_SHOWN = 20


def chosen_people(found: Collected, num_pages: int, example: str | None) -> list[str]:
    """Return the people who get a page: held-out people, evenly from the best to the worst predicted, then others, and the example.

    Parameters
    ----------
    found : Collected
    num_pages : int
        Largest number of pages.
    example : str or None
        Pseudonym of the person on the main page.
    """
    if not isinstance(found.people, People) or not num_pages:
        return []
    known = set(found.people.cohort.pseudonyms)
    ranked = [str(name) for name in errors_of_people(found).index if name in known]
    others = sorted(known - set(ranked))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(num_pages, len(ranked))).round().astype(int))
    chosen = [ranked[place] for place in places] + others[: num_pages - len(places)]
    if example in known and example not in chosen:
        chosen[len(chosen) // 2] = str(example)
    order = {name: place for place, name in enumerate([*ranked, *others])}
    return sorted(chosen, key=order.__getitem__)


def link_table(found: Collected, people: Sequence[str]) -> list[Table]:
    """Return the table of links to people's pages, with the error of each."""
    if not people:
        return []
    errors = errors_of_people(found)
    rows = [
        (
            Markup('<a href="{}/{}.html">{}</a>').format(FOLDER, person, person),
            number(1000 * errors[person] if person in errors else None),
        )
        for person in people
    ]
    caption = "People with a page of their own: those held out from the best to the worst predicted, then others"
    return [Table(caption, ("person", "error of mean RT (ms)"), rows, frozenset({1}))]


def person_sections(found: Collected, pseudonym: str, tasks: Mapping[str, str]) -> list[Section]:
    """Return the sections of one person's page."""
    twin = twin_section(found, pseudonym, "", tasks)
    return [
        standing_section(found, pseudonym, tasks),
        dataclasses.replace(twin, title="The twin", words=[]),
        search_section(found, pseudonym),
    ]


def standing_section(found: Collected, pseudonym: str, tasks: Mapping[str, str]) -> Section:
    """Return the section on a person's and their twin's place among all."""
    section = Section("standing", "Where this person stands")
    if isinstance(found.evaluation, Missing):
        return dataclasses.replace(section, missing=[found.evaluation.reason])
    panels = []
    subjects = found.evaluation.subjects
    measures = (
        ("mean_rt", "mean reaction time", "s"),
        ("condition_rt", "condition effect", "s"),
        ("accuracy", "accuracy", "share"),
    )
    for place, task in enumerate(tasks):
        rows = subjects[subjects["task"].astype(str) == task]
        own = rows[rows["pseudonym"].astype(str) == pseudonym]
        for column, words, unit in measures:
            seen, told = f"observed_{column}", f"predicted_{column}"
            if own.empty or seen not in own or own[seen].isna().all():
                continue
            reach = f"{told}_reach"
            has_band = reach in own and np.isfinite(own[reach].iloc[0])
            svg = figures.standing(
                f"standing-{place}-{column.replace('_', '-')}",
                rows[seen].to_numpy(float),
                float(own[seen].iloc[0]),
                float(own[told].iloc[0]),
                colour=colour_of(task, tasks),
                title=f"{task}: {words}",
                quantity=f"{words} ({unit})",
                reach=float(own[reach].iloc[0]) if has_band else math.nan,
            )
            others = rows.loc[(rows["pseudonym"].astype(str) != pseudonym), seen].dropna()
            below = (others < own[seen].iloc[0]).mean()
            caption = (
                f"{below:.0%} of {len(others)} others in the held-out data are below this person."
                if len(others)
                else "Nobody else in the held-out data has such a value."
            )
            if has_band:
                caption += _of_band(rows[seen] - rows[told], float(own[reach].iloc[0]))
            panels.append(Panel(svg, caption, new_row=column == "mean_rt"))
    missing = [] if panels else ["This person is not in the held-out data."]
    return dataclasses.replace(section, panels=panels, missing=missing)


def _of_band(errors: pd.Series, reach: float) -> str:
    """Return what the band about a twin's value claims, and of how many people held out it is true."""
    known = errors.dropna().abs()
    return (
        f" The band about the twin's mark is {reach:.3f} s to either side, as the errors on validation people ask for. It claims to hold "
        f"nine in ten unseen people: here it held {(known <= reach).sum()} of {len(known)}."
    )


def search_section(found: Collected, pseudonym: str) -> Section:
    """Return the section on the search for one person: every indicator before and after, and the change."""
    section = Section("search", "The search for a change of this connectome")
    if isinstance(found.interventions, Missing):
        return dataclasses.replace(section, missing=[found.interventions.reason])
    results = found.interventions.results
    own = results[results["pseudonym"].astype(str) == pseudonym]
    panels: list[Panel] = []
    tables: list[Table] = []
    missing: list[str] = []
    add_change(found.interventions, pseudonym, found, panels, tables, missing)
    if len(own):
        moved = ((own["after"] - own["before"]) / own["spread"]).abs()
        order = np.lexsort((-moved.fillna(0.0), ~own["is_target"].astype(bool)))[:_INDICATORS_SHOWN]
        rows = [
            (
                f"{indicator_name(row)} ({row['unit']})",
                "wanted" if row["is_wanted"] else "should stay",
                number(row["before"]),
                number(row["after"]),
                number(row["random_after"]),
                number((row["after"] - row["before"]) / row["spread"] if row["spread"] else None, 2),
            )
            for _, row in own.iloc[order].iterrows()
        ]
        columns = ("indicator", "role", "before", "after", "after random", "change (SD between people)")
        caption = "Indicators of this person" + (f", the {len(rows)} that moved most" if len(own) > len(rows) else "")
        tables.insert(0, Table(caption, columns, rows, frozenset(range(2, 6))))
    words = [
        "What the search finds is how the model answers a changed connectome. It says nothing of what would happen to the person."
    ]
    return dataclasses.replace(section, words=words, panels=panels, tables=tables, missing=missing)
