"""The pages: sections put in order, the claim first, and self-contained HTML files made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dtb.config import Config
from dtb.pages.render import render
from dtb.report.carpet import scan_section
from dtb.report.collect import OPTIONAL, Collected, Evaluation, People
from dtb.report.example_person import choose_person, twin_section
from dtb.report.in_silico_trial import trial_section
from dtb.report.interventions import intervention_section
from dtb.report.methods import REFERENCE, made_with, methods_section
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

RESEARCH_USE = (
    "Research use only. What stands here are properties of a model and hypotheses about people: no medical advice, no diagnosis, and "
    "no basis for a treatment."
)
MAIN = "index.html"


def pages(found: Collected, config: Config, others: Mapping[str, str]) -> dict[str, str]:
    """Make the HTML of the main page and of people's own pages, by path within the report's folder.

    Parameters
    ----------
    found : Collected
        What the stages left.
    config : Config
        Reads `name` and `report`.
    others : mapping of str to str
        Pages of other stages that the main page links to: what they are, and where.

    Raises
    ------
    ConfigurationError
        `report.subject` is nobody in the cohort.
    """
    tasks = task_colours(found)
    example, why = choose_person(found, config.report.subject)
    people = chosen_people(found, config.report.person_pages, example)
    twin = twin_section(found, example, why, tasks)
    sections = [
        people_section(found),
        scan_section(found, example, tasks),
        training_section(found),
        personal_section(found, tasks),
        reaction_time_section(found, tasks),
        choice_section(found, tasks),
        bold_section(found, tasks),
        dataclasses.replace(twin, tables=[*twin.tables, *link_table(found, people)]),
        intervention_section(found, example, tasks),
        *trial_section(found, tasks),
        figures_section(found),
        failures_section(found),
        methods_section(found),
    ]
    claim = [sentence.rstrip(".") + "." for words in claims_of(found) for sentence in words.split(". ")]
    troubles = [state.reason for state in found.stages.values() if state.state != "done" and state.name not in OPTIONAL]
    made = {MAIN: _html(config.name, claim, sections, troubles=troubles, facts=_facts(found), others=others)}
    for person in people:
        claim = [f"{person} and their twin."]
        made[f"{FOLDER}/{person}.html"] = _html(
            config.name, claim, person_sections(found, person, tasks), back=f"../{MAIN}", made_with=made_with(found)
        )
    return made


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
    """Return what the page opens with: what the certificate comes to and then what the figures do, or that there is no claim."""
    if isinstance(found.evaluation, Evaluation):
        return [
            with_minus(str(words))
            for words in (found.evaluation.certificate["sentence"], found.evaluation.figures["claim"])
        ]
    return [f"No claim can be made: {found.evaluation.reason}"]


def _facts(found: Collected) -> list[tuple[str, str]]:
    """Return the few figures that stand under the claim."""
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
