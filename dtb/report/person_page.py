"""A page for one person: their place and their twin's in the cohort, the twin's predictions, and the change that was found."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from markupsafe import Markup

from dtb.report.change import change_sections
from dtb.report.collected import Collected, Evaluation, Missing, People
from dtb.report.example_person import errors_of_people, twin_section
from dtb.report.figures import evaluation as figures
from dtb.report.interventions import indicator_name
from dtb.report.maps import Brain
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


def link_section(found: Collected, people: Sequence[str]) -> list[Section]:
    """Return the section with links to people's pages, with the error of each; none where nobody has one."""
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
    table = Table(
        "From the best to the worst predicted, then others", ("person", "error of mean RT (ms)"), rows, frozenset({1})
    )
    return [Section("people-pages", "People with a page of their own", tables=[table])]


def person_sentence(found: Collected, pseudonym: str, tasks: Mapping[str, str]) -> str:
    """Return what the page of a person says first: how long they and their twin take."""
    name = f"{pseudonym} and their twin"
    if isinstance(found.evaluation, Evaluation):
        subjects = found.evaluation.subjects
        own = subjects[subjects["pseudonym"].astype(str) == pseudonym]
        for task in tasks:
            both = own.loc[own["task"].astype(str) == task, ["observed_mean_rt", "predicted_mean_rt"]].to_numpy(float)
            if len(both) and np.isfinite(both[0]).all():
                return f"{name}: in {task} the person takes {both[0, 0]:.2f} s, the twin says {both[0, 1]:.2f} s."
    return f"{name}."


def person_questions(
    found: Collected, pseudonym: str, tasks: Mapping[str, str], brain: Brain | None
) -> list[tuple[str, str, Callable[[], Section | list[Section]]]]:
    """Return anchor and title of the parts of one person's page, with what makes each."""
    return [
        ("where", "Where does this person stand?", partial(standing_section, found, pseudonym, tasks)),
        ("what", "What does the twin do?", partial(_own_twin, found, pseudonym, tasks, brain)),
        ("change-question", "What would change it?", partial(search_sections, found, pseudonym, brain)),
    ]


def _own_twin(found: Collected, pseudonym: str, tasks: Mapping[str, str], brain: Brain | None) -> Section:
    return dataclasses.replace(twin_section(found, pseudonym, "", tasks, brain), title="The twin", words=[])


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
                f"{below:.0%} of {len(others)} others are below this person."
                if len(others)
                else "Nobody else has such a value."
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
        f" The twin's band ({reach:.3f} s either way) claims to hold nine in ten unseen people: here it held {(known <= reach).sum()} of "
        f"{len(known)}."
    )


def search_sections(found: Collected, pseudonym: str, brain: Brain | None) -> list[Section]:
    """Return the sections on the search for one person: every indicator before and after, and the change."""
    section = Section("search", "The search for a change of this connectome")
    if isinstance(found.interventions, Missing):
        return [dataclasses.replace(section, missing=[found.interventions.reason])]
    results = found.interventions.results
    own = results[results["pseudonym"].astype(str) == pseudonym]
    tables: list[Table] = []
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
        tables.append(Table(caption, columns, rows, frozenset(range(2, 6)), is_folded=True))
    words = [
        "What the search finds is how the model answers a changed connectome, not what would happen to the person."
    ]
    return [
        dataclasses.replace(section, words=words, tables=tables),
        *change_sections(found.interventions, pseudonym, found, brain),
    ]
