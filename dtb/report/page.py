"""The pages: the verdict first, then the questions of a reader in order, as self-contained HTML files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from markupsafe import Markup

from dtb.config import Config
from dtb.pages.render import PageLink, render
from dtb.report.answers import answers_of
from dtb.report.carpet import scan_section
from dtb.report.collected import OPTIONAL, Collected, People
from dtb.report.example_person import choose_person, twin_section
from dtb.report.first_screen import FirstScreen, first_screen
from dtb.report.in_silico_trial import trial_section
from dtb.report.interventions import intervention_section
from dtb.report.maps import Brain, brain_of, map_parts
from dtb.report.methods import REFERENCE, made_with, methods_section
from dtb.report.own_data import own_data_section
from dtb.report.parts import Question, Section, task_colours
from dtb.report.person_page import FOLDER, chosen_people, link_section, person_questions, person_sentence
from dtb.report.results import bold_section, choice_section, fit_section, personal_section, reaction_time_section
from dtb.report.sections import failures_section, people_section, training_section
from dtb.terminal import err, in_a_line

MAIN = "index.html"
Maker = Callable[[], Section | list[Section]]


def pages(found: Collected, config: Config, others: Mapping[str, str]) -> dict[str, str]:
    """Return the HTML of the main page and of people's pages, by path within the report's folder.

    Parameters
    ----------
    found : Collected
        Outputs of the stages.
    config : Config
        Reads `name` and `report`.
    others : mapping of str to str
        Titles of other stages' pages, and their paths within the report's folder.

    Raises
    ------
    ConfigurationError
        `report.subject` is not in the cohort.
    """
    tasks = task_colours(found)
    example, why = choose_person(found, config.report.subject)
    people = chosen_people(found, config.report.person_pages, example)
    brain = _brain(found)
    makers: dict[str, dict[str, Maker]] = {
        "fit": {
            "whether the twin fits": partial(fit_section, found),
            "how the twin learned": partial(training_section, found),
            "reaction times": partial(reaction_time_section, found, tasks, people),
            "choices": partial(choice_section, found, tasks, people),
        },
        "personal-question": {
            "whether the twin is personal": partial(personal_section, found, tasks),
            "BOLD": partial(bold_section, found, tasks, brain),
        },
        "scan-question": {"own data": partial(own_data_section, found, tasks)},
        "change-question": {
            "interventions": partial(intervention_section, found, example, tasks, brain),
            "the in-silico trial": partial(trial_section, found, tasks),
        },
        "people-question": {
            "who is in the cohort": partial(people_section, found),
            "people's own pages": partial(link_section, found, people),
            "one person's twin": partial(twin_section, found, example, why, tasks, brain),
            "what the scanner saw": partial(scan_section, found, example, tasks),
        },
        "methods-question": {
            "methods": partial(methods_section, found),
            "what failed": partial(failures_section, found),
        },
    }
    answers = answers_of(found)
    questions = [
        Question(key, answer.title, answer.words, answer.verdict, _sections(makers[key]))
        for key, answer in answers.items()
    ]
    troubles = [state.reason for state in found.stages.values() if state.state != "done" and state.name not in OPTIONAL]
    links = [PageLink("Report", MAIN), *(PageLink(words, place) for words, place in others.items())]
    screen = first_screen(found, tasks, brain)
    parts = map_parts(brain)
    made = {MAIN: _html(config.name, links, MAIN, questions, parts, screen=screen, troubles=troubles)}
    away = [PageLink(link.words, f"../{link.place}") for link in links]
    for person in people:
        own = person_questions(found, person, tasks, brain)
        made[f"{FOLDER}/{person}.html"] = _html(
            config.name,
            [*away, PageLink(person, f"{person}.html")],
            f"{person}.html",
            [
                Question(key, title, "", "", _sections({f"the page of {person}": maker}), is_open=True)
                for key, title, maker in own
            ],
            parts,
            headline=person_sentence(found, person, tasks),
            made_with=made_with(found),
        )
    return made


def _brain(found: Collected) -> Brain | None:
    try:
        return (
            brain_of(found.people.manifest.description.regions, found.places_R3)
            if isinstance(found.people, People)
            else None
        )
    except Exception as error:  # noqa: BLE001, whatever it is, the rest of the page is worth having
        err.print(f"Warning: No map of a brain is drawn ({in_a_line(error)}).")
        return None


def _sections(makers: Mapping[str, Maker]) -> list[Section]:
    return [section for what, make in makers.items() for section in _made_or_said(what, make)]


def _made_or_said(what: str, make: Maker) -> list[Section]:
    """Return sections or, if making them fails, one that says why, so that the rest of the page is still shown."""
    try:
        made = make()
    except Exception as error:  # noqa: BLE001, whatever it is, the rest of the page is worth having
        words = f"Not shown: {what}. Making it failed ({in_a_line(error)})."
        err.print(f"Warning: {words}")
        key = re.sub(r"[^a-z]+", "-", what.lower()).strip("-")
        return [Section(f"failed-{key}", f"Not shown: {what}", missing=[words])]
    return made if isinstance(made, list) else [made]


def _html(
    name: str,
    links: Sequence[PageLink],
    here: str,
    questions: Sequence[Question],
    parts: Markup,
    *,
    screen: FirstScreen | None = None,
    headline: str = "",
    troubles: Sequence[str] = (),
    made_with: Sequence[str] = (),
) -> str:
    return render(
        "report",
        name=name,
        links=links,
        here=here,
        screen=screen,
        headline=headline,
        troubles=troubles,
        questions=questions,
        parts=parts,
        reference=REFERENCE,
        made_with=made_with,
    )
