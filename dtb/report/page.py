"""The pages: sections in order, the claim first, as self-contained HTML files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dtb.config import Config
from dtb.pages.render import render
from dtb.report.carpet import scan_section
from dtb.report.collected import OPTIONAL, Collected, Evaluation, People
from dtb.report.example_person import choose_person, twin_section
from dtb.report.in_silico_trial import trial_section
from dtb.report.interventions import intervention_section
from dtb.report.methods import REFERENCE, made_with, methods_section
from dtb.report.own_data import own_data_section
from dtb.report.parts import Section, task_colours
from dtb.report.person_page import FOLDER, chosen_people, link_table, person_sections
from dtb.report.results import (
    bold_section,
    choice_section,
    figures_section,
    personal_section,
    reaction_time_section,
    with_minus,
)
from dtb.report.sections import failures_section, people_section, training_section
from dtb.terminal import err, in_a_line

RESEARCH_USE = (
    "Research use only. The results are properties of a model and hypotheses about people: no medical advice, no diagnosis, and no "
    "basis for a treatment."
)
MAIN = "index.html"


def pages(found: Collected, config: Config, others: Mapping[str, str]) -> dict[str, str]:
    """Return the HTML of the main page and of people's pages, by path within the report's folder.

    Parameters
    ----------
    found : Collected
        Outputs of the stages.
    config : Config
        Reads `name` and `report`.
    others : mapping of str to str
        Titles and paths of other stages' pages that the main page links to.

    Raises
    ------
    ConfigurationError
        `report.subject` is not in the cohort.
    """
    tasks = task_colours(found)
    example, why = choose_person(found, config.report.subject)
    people = chosen_people(found, config.report.person_pages, example)
    twin = partial(_twin_with_links, found, example, why, tasks, people)
    makers: dict[str, Callable[[], Section | list[Section]]] = {
        "who is in the cohort": partial(people_section, found),
        "what the scanner saw": partial(scan_section, found, example, tasks),
        "how the twin learned": partial(training_section, found),
        "whether the twin is personal": partial(personal_section, found, tasks),
        "reaction times": partial(reaction_time_section, found, tasks),
        "own data": partial(own_data_section, found, tasks),
        "choices": partial(choice_section, found, tasks),
        "BOLD": partial(bold_section, found, tasks),
        "one person's twin": twin,
        "interventions": partial(intervention_section, found, example, tasks),
        "the in-silico trial": partial(trial_section, found, tasks),
        "all figures": partial(figures_section, found),
        "what failed": partial(failures_section, found),
        "methods": partial(methods_section, found),
    }
    sections = [section for what, make in makers.items() for section in _made_or_said(what, make)]
    claim = [sentence.rstrip(".") + "." for words in claims_of(found) for sentence in words.split(". ")]
    troubles = [state.reason for state in found.stages.values() if state.state != "done" and state.name not in OPTIONAL]
    made = {MAIN: _html(config.name, claim, sections, troubles=troubles, facts=_facts(found), others=others)}
    for person in people:
        claim = [f"{person} and their twin."]
        own = _made_or_said(f"the page of {person}", partial(person_sections, found, person, tasks))
        made[f"{FOLDER}/{person}.html"] = _html(config.name, claim, own, back=f"../{MAIN}", made_with=made_with(found))
    return made


def _made_or_said(what: str, make: Callable[[], Section | list[Section]]) -> list[Section]:
    """Return sections or, if making them fails, one that says why, so that the rest of the page is still shown."""
    try:
        made = make()
    except Exception as error:  # noqa: BLE001, whatever it is, the rest of the page is worth having
        words = f"Not shown: {what}. Making it failed ({in_a_line(error)})."
        err.print(f"Warning: {words}")
        key = re.sub(r"[^a-z]+", "-", what.lower()).strip("-")
        return [Section(f"failed-{key}", f"Not shown: {what}", missing=[words], results=False)]
    return made if isinstance(made, list) else [made]


def _twin_with_links(
    found: Collected, example: str | None, why: str, tasks: Mapping[str, str], people: Sequence[str]
) -> Section:
    """Return the section of one person's twin, with links to people's own pages."""
    twin = twin_section(found, example, why, tasks)
    return dataclasses.replace(twin, tables=[*twin.tables, *link_table(found, people)])


def _html(
    name: str,
    claim: Sequence[str],
    sections: Sequence[Section],
    *,
    troubles: Sequence[str] = (),
    facts: Sequence[tuple[str, str]] = (),
    others: Mapping[str, str] | None = None,
    back: str | None = None,
    made_with: Sequence[str] = (),
) -> str:
    return render(
        "report",
        name=name,
        claim=claim[0],
        details=claim[1:],
        research_use=RESEARCH_USE,
        facts=facts,
        others=others or {},
        troubles=troubles,
        sections=sections,
        reference=REFERENCE,
        back=back,
        made_with=made_with,
    )


def claims_of(found: Collected) -> list[str]:
    """Return the opening of the page: that the twin does not fit, if so; the conclusions of the certificate and of the figures; or that
    no claim can be made."""
    if isinstance(found.evaluation, Evaluation):
        evaluation = found.evaluation
        words = (evaluation.headline, evaluation.certificate["sentence"], evaluation.figures["claim"])
        return [with_minus(str(one)) for one in words if one is not None]
    return [f"No claim can be made: {found.evaluation.reason}"]


def _facts(found: Collected) -> list[tuple[str, str]]:
    """Return the few figures below the claim."""
    facts = []
    if isinstance(found.people, People):
        facts.append((f"{len(found.people.cohort):,}", "people in the cohort"))
        facts.append((f"{len(found.people.set_aside):,}", "set aside"))
        facts.append((f"{len(found.people.manifest.description.regions):,}", "regions"))
    if isinstance(found.split, dict):
        kind = found.split.get("kind")
        facts.append(
            (
                f"{len(found.split['test']):,}",
                {"temporal": "people, later part held out", "runs": "people, runs of theirs held out"}.get(
                    str(kind), "people never seen in training"
                ),
            )
        )
    return facts
