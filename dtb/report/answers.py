"""The six questions of a report, each with its answer in a line."""

from __future__ import annotations

import dataclasses

import pandas as pd

from dtb.evaluate.certificate.verdict import verdict_of
from dtb.report.collected import OPTIONAL, Collected, Evaluation, Interventions, Missing, People
from dtb.report.interventions import indicator_name, num_abstained
from dtb.report.own_data import worth_in_words
from dtb.report.parts import count, number


@dataclasses.dataclass(frozen=True)
class Answer:
    """A question's title, its answer, and its verdict (`yes`, `no`, `undecided`, or empty)."""

    title: str
    words: str
    verdict: str = ""


def answers_of(found: Collected) -> dict[str, Answer]:
    """Return the questions in order, by anchor."""
    return {
        "fit": _fit(found),
        "personal-question": _personal(found),
        "scan-question": _scan(found),
        "change-question": _change(found),
        "people-question": _people(found),
        "methods-question": _made(found),
    }


def _fit(found: Collected) -> Answer:
    title = "Does it fit?"
    if isinstance(found.evaluation, Missing):
        return Answer(title, found.evaluation.reason, "undecided")
    fit = found.evaluation.certificate.get("fit") or {}
    worse = [test for test in fit.get("tests") or [] if test["is_worse"]]
    if fit.get("fits") is False:
        where = ", ".join(dict.fromkeys(str(test["task"]) for test in worse))
        return Answer(title, f"Worse than the group mean in {where}.", "no")
    if fit.get("fits"):
        return Answer(title, "Nowhere worse than the group mean.", "yes")
    return Answer(title, "Nothing could be compared.", "undecided")


def _personal(found: Collected) -> Answer:
    title = "Is it personal?"
    if isinstance(found.evaluation, Missing):
        return Answer(title, found.evaluation.reason, "undecided")
    certificate = found.evaluation.certificate
    kinds = {"connectome": "connectome of use", "person": "a person's own", "baseline": "beats the best baseline"}
    parts = []
    for kind, words in kinds.items():
        mine = [test for test in certificate["tests"] if test["kind"] == kind]
        if mine:
            parts.append(f"{words}: {sum(test['verdict'] == 'yes' for test in mine)} of {count(len(mine), 'test')}")
    # As the badge has it: of people who were seen, or of few, no test says no.
    verdict = {"personal": "yes", "provisional": "yes", "not-personal": "no"}.get(
        verdict_of(certificate).key, "undecided"
    )
    said = "; ".join(parts)
    return Answer(title, f"{said[:1].upper()}{said[1:]}." if said else "Nothing could be tested.", verdict)


def _scan(found: Collected) -> Answer:
    title = "What does a scan add?"
    if isinstance(found.evaluation, Missing):
        return Answer(title, found.evaluation.reason)
    worths = found.evaluation.certificate.get("worths") or []
    if not worths:
        return Answer(title, "Not asked: this twin is not updated by people's own trials.")
    return Answer(title, f"As much as {'; '.join(worth_in_words(worth) for worth in worths)}.")


def _change(found: Collected) -> Answer:
    title = "What would change it?"
    if not isinstance(found.interventions, Interventions):
        return Answer(title, found.interventions.reason)
    results = found.interventions.results
    done = results[results["is_target"].astype(bool)]
    if done.empty:
        return Answer(title, "The search succeeded for nobody.")
    moved, by_chance = ((done[column] - done["before"]).median() for column in ("after", "random_after"))
    unit = str(done["unit"].iloc[0])
    return Answer(
        title,
        f"The search moves the twins' {indicator_name(done.iloc[0])} by {number(moved, 2)} {unit}, a random change by "
        f"{number(by_chance, 2)}.{_doubt(done)}",
    )


def _doubt(done: pd.DataFrame) -> str:
    """Return from how many people the search abstains, as a further sentence; empty if from none."""
    abstained = num_abstained(done)
    if not abstained:
        return ""
    return f" It abstains from {'everybody: do not rely on it' if abstained == len(done) else f'{abstained} of {len(done)} people'}."


def _people(found: Collected) -> Answer:
    title = "Who are these people?"
    if not isinstance(found.people, People):
        return Answer(title, found.people.reason)
    covariates = found.people.covariates
    parts = [count(len(found.people.cohort), "person", "people")]
    if "age" in covariates and len(age := pd.to_numeric(covariates["age"], errors="coerce").dropna()):
        parts.append(f"{age.min():.0f} to {age.max():.0f} years")
    if "site" in covariates and covariates["site"].notna().any():
        parts.append(count(covariates["site"].nunique(), "site"))
    parts.append(f"{len(found.people.set_aside)} left out")
    return Answer(title, f"{', '.join(parts)}.")


def _made(found: Collected) -> Answer:
    title = "How was it made?"
    version = next((state.version for state in found.stages.values() if state.version), "")
    stages = [state for state in found.stages.values() if state.name not in OPTIONAL]
    done = sum(state.state == "done" for state in stages)
    held = found.evaluation.figures.get("split") if isinstance(found.evaluation, Evaluation) else None
    seeds = len((held or {}).get("seeds") or [0])
    return Answer(title, f"dtb {version}, {count(seeds, 'training')}; {done} of {count(len(stages), 'stage')} done.")
