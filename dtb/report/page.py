"""The pages: sections put in order, the claim first, and self-contained HTML files made of them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup, escape

import dtb
from dtb.config import Config
from dtb.report.collect import OPTIONAL, Collected, Evaluation, People
from dtb.report.individual import FOLDER, chosen_people, link_table, person_sections
from dtb.report.interventions import intervention_section
from dtb.report.parts import Section, Table, task_colours
from dtb.report.person import choose_person, twin_section
from dtb.report.results import bold_section, choice_section, figures_section, personal_section, reaction_time_section
from dtb.report.scan import scan_section
from dtb.report.sections import connectome_words, failures_section, people_section, training_section
from dtb.report.tried import trial_section

RESEARCH_USE = (
    "Research use only. What stands here are properties of a model and hypotheses about people: no medical advice, no diagnosis, and "
    "no basis for a treatment."
)
REFERENCE = {
    "text": "Takahashi Y, Soda T, Tomita H, Yamashita Y. Digital Twin Brain. BME Frontiers 2026.",
    "doi": "10.34133/bmef.0231",
}
MAIN = "index.html"
_PACKAGES = ("torch", "deepspeed", "ray", "webdataset", "nilearn", "numpy")


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
            config.name, claim, person_sections(found, person, tasks), back=f"../{MAIN}"
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
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dtb.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    source = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    return environment.get_template("page.html.jinja").render(
        name=name,
        claim=claim[0],
        details=claim[1:],
        research_use=RESEARCH_USE,
        facts=facts,
        others=others or {},
        troubles=troubles,
        sections=sections,
        reference=REFERENCE,
        version=dtb.__version__,
        back=back,
        css=Markup(source),  # our own file
    )


def prose(text: str) -> Markup:
    """Escape text, and set what stands between backticks as code.

    Examples
    --------
    >>> prose("`dtb train` of <b>")
    Markup('<code>dtb train</code> of &lt;b&gt;')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def claims_of(found: Collected) -> list[str]:
    """Give what the page opens with: what the certificate comes to and then what the figures do, or that there is no claim."""
    if isinstance(found.evaluation, Evaluation):
        return [str(found.evaluation.certificate["sentence"]), str(found.evaluation.figures["claim"])]
    return [f"No claim can be made: {found.evaluation.reason}"]


def methods_section(found: Collected) -> Section:
    """Describe in words what was done, with which versions and settings."""
    train = found.stages["train"].settings
    twin, segments, training = (train.get(part) or {} for part in ("twin", "segments", "train"))
    words = []
    if isinstance(found.people, People):
        words.append(
            f"Choices, reaction times and, where there are any, parcellated BOLD series of {len(found.people.cohort)} people were read "
            f"through task specifications. {connectome_words(found.people.manifest)} Absent regions, runs and responses were masked, "
            "never filled."
        )
    if twin:
        words.append(_model_words(twin, segments, training))
    evaluate = found.stages["evaluate"].settings.get("evaluate") or {}
    if evaluate:
        words.append(
            f"Held-out figures carry {evaluate.get('confidence', 0.95):.0%} intervals from {evaluate.get('num_bootstrap', 0):,} bootstrap "
            "draws over people. Everything that was fitted, normalisation and baselines among it, was fitted on training data alone."
        )
    words.append(
        f"The model follows {REFERENCE['text']} doi:{REFERENCE['doi']}, with the departures named above; dtb {dtb.__version__} "
        "did the work. Cite both."
    )
    return Section("methods", "Methods and versions", words=words, tables=[_versions(found)], results=False)


def _model_words(twin: dict[str, Any], segments: dict[str, Any], training: dict[str, Any]) -> str:
    generation = {
        "low_rank": f"a change of rank {twin.get('rank')} to weights that all people share",
        "additive": "a constant input",
    }.get(str(twin.get("generation")), "every weight")
    latent = f" through a latent of {twin['latent_size']} numbers" if twin.get("latent_size") else ""
    press = (
        "Presses have a hazard for each alternative, so that the loss is the likelihood of each observed choice and reaction time"
        if twin.get("press") == "hazard"
        else "Presses were trained by binary cross-entropy at each step"
    )
    bold = (
        f"BOLD is a readout convolved with the {twin.get('hrf')} haemodynamic response and compared at the scanner's own volumes"
        if twin.get("bold") == "hrf"
        else "BOLD is read out directly at each step"
    )
    step = 1000 * float(twin.get("step_seconds", 0))
    return (
        f"A hypernetwork reads a person's connectome and generates{latent} {generation} of a recurrent network of "
        f"{twin.get('num_hidden')} {twin.get('cell')} units, stepping by {step:g} ms. {press}. {bold}. Runs were cut into segments "
        f"of {segments.get('segment_seconds')} s, of which the first {segments.get('burn_in_seconds')} s carry no loss. Training "
        f"used batches of {training.get('batch_size')} people, Adam with a learning rate of {training.get('learning_rate')}, and "
        f"stopped after {training.get('patience_epochs')} epochs without a better validation loss, or "
        f"{training.get('max_epochs')} in all."
    )


def _versions(found: Collected) -> Table:
    rows = [("dtb", dtb.__version__), ("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            rows.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((package, "not installed where this page was made"))
    if isinstance(found.people, People):
        rows.append(("cohort hash", found.people.manifest.cohort_hash))
    if isinstance(found.split, dict) and found.split.get("split_hash"):
        rows.append(("split hash", str(found.split["split_hash"])))
    rows += [(f"settings of {state.name}", state.config_hash) for state in found.stages.values() if state.config_hash]
    seed = found.stages["train"].settings.get("seed")
    if seed is not None:
        rows.append(("seed", str(seed)))
    return Table("Versions and hashes", ("what", "which"), rows)


def _facts(found: Collected) -> list[tuple[str, str]]:
    """Give the few figures that stand under the claim."""
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
