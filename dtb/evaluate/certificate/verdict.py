"""The verdict in a word and one short sentence, and the one thing to do next: the same on every page and in the live twin.

Everything is read from the content of `certificate.json`, so that a page can be made long after the evaluation.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dtb.evaluate.certificate.wording import FEWEST_FOR_A_CLAIM, SEEDS_FOR_A_CLAIM
from dtb.shards.split import SEEN_KINDS

MOST_WORDS = 20
"""No sentence of a verdict is longer."""
_WHAT = {
    "mean RT partial r": "who is slow",
    "condition effect partial r": "whose condition effect is large",
    "BOLD map partial r": "how brain maps differ",
}
_PLAN = "dtb plan planned --people 50 100 200"
_LOSSES = {"choice log-loss": "choices", "RT CRPS": "reaction times"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a page says first.

    Attributes
    ----------
    key : str
        `personal`, `provisional`, `not-shown`, `not-personal`, `misfit`, `few` or `unknown`: the class of the badge, for its colour.
    badge : str
        In a word or two.
    mark : str
        A sign that tells verdicts apart without colour.
    sentence : str
        In at most 20 words.
    step : str
        What to do next, in a sentence.
    command : str
        By which command, from within the folder of the run.
    """

    key: str
    badge: str
    mark: str
    sentence: str
    step: str
    command: str

    @property
    def in_a_line(self) -> str:
        """Return the badge and the sentence, as a terminal says them."""
        return f"{self.mark} {self.badge}: {self.sentence}"


def verdict_of(certificate: Mapping[str, Any] | None) -> Verdict:
    """Return the verdict of a certificate.

    Parameters
    ----------
    certificate : mapping or None
        As `certificate.json` holds it; None where nothing was evaluated.

    Examples
    --------
    >>> verdict_of(None).sentence
    'Nothing can be claimed: the twin has not been evaluated.'
    """
    if certificate is None:
        return Verdict(
            "unknown",
            "not evaluated",
            "–",
            "Nothing can be claimed: the twin has not been evaluated.",
            "Compare the twin with people whom it has not seen.",
            "dtb evaluate shards train evaluate",
        )
    fit, about = certificate.get("fit") or {}, certificate.get("about") or {}
    tests = list(certificate.get("tests") or [])
    number = int((about.get("people") or {}).get("number") or _most_people(tests, fit))
    are_seen = about.get("kind") in SEEN_KINDS
    if fit.get("fits") is False:
        return _misfit(fit, number, are_seen=are_seen)
    if are_seen:
        people = f"The {number} people were" if number != 1 else "The one person was"
        return Verdict(
            "not-shown",
            "not shown",
            "?",
            f"{people} seen in training; only unseen people show what a connectome says.",
            "Hold people out of the training.",
            "dtb run train/config.yaml unseen --split.kind subjects",
        )
    if number < FEWEST_FOR_A_CLAIM:
        people = f"{number} people are" if number != 1 else "One person is"
        return Verdict(
            "few",
            "too few",
            "…",
            f"{people} too few for a claim between people: at least {FEWEST_FOR_A_CLAIM} unseen ones are needed.",
            "Ask how many people a claim needs.",
            _PLAN,
        )
    if certificate["verdict"] in {"yes", "provisional"}:
        return _personal(tests, number, is_sure=certificate["verdict"] == "yes")
    return _refused(tests, number, is_ruled_out=certificate["verdict"] == "no")


def _misfit(fit: Mapping[str, Any], number: int, *, are_seen: bool) -> Verdict:
    worse = [test for test in fit.get("tests") or [] if test.get("is_worse")]
    number = max((int(test["num_people"]) for test in worse), default=number)
    whom = f"held-out data of {number} people" if are_seen else _people(number)
    what = " and ".join(dict.fromkeys(_LOSSES.get(test["metric"], test["metric"]) for test in worse)) or "the task"
    where = _in_tasks([test["task"] for test in worse])
    reason = next(iter(fit.get("reasons") or []), None)
    step, command = "Look at how it learned.", "dtb watch train"
    if reason is not None:
        found = re.search(r"`([^`]+)`", reason["remedy"])
        step = _sentence(re.sub(r" \([^()]*`[^`]+`[^()]*\)", "", reason["remedy"]))
        longer = found and re.search(r"--(max-\w+ \d+)$", found[1])
        command = f"dtb run train/config.yaml again --train.{longer[1]}" if longer else found[1] if found else command
        command = _PLAN if command == "dtb plan" else command
    return Verdict(
        "misfit",
        "does not fit",
        "✗",
        f"In {whom}, the twin predicts {what}{where} worse than the group mean.",
        step,
        command,
    )


def _personal(tests: Sequence[Mapping[str, Any]], number: int, *, is_sure: bool) -> Verdict:
    passed = [test for test in tests if test["kind"] == "person" and test["verdict"] == "yes"]
    metric = next((name for name in _WHAT if any(test["metric"] == name for test in passed)), None)
    what = _WHAT.get(str(metric), "who is who")
    where = _in_tasks([test["task"] for test in passed if test["metric"] == metric])
    if is_sure:
        return Verdict(
            "personal",
            "personal",
            "✓",
            f"It knows {what}{where}, from {number} unseen people's own connectomes and not from strangers'.",
            "Change a connectome, and watch what its twin does.",
            "dtb view .",
        )
    seeds = " ".join(map(str, range(SEEDS_FOR_A_CLAIM)))
    return Verdict(
        "provisional",
        "personal, provisionally",
        "✓",
        f"One training suggests it knows {what}{where}, from {number} unseen people's connectomes, not strangers'.",
        f"Train {SEEDS_FOR_A_CLAIM} seeds, evaluate each, and pool them.",
        f"dtb sweep shards swept --config train/config.yaml --seeds {seeds}",
    )


def _refused(tests: Sequence[Mapping[str, Any]], number: int, *, is_ruled_out: bool) -> Verdict:
    is_of_use = any(test["kind"] == "connectome" and test["verdict"] == "yes" for test in tests)
    if is_ruled_out:
        sentence = (
            f"What it says of {_people(number)} holds no better from own than from strangers' connectomes."
            if is_of_use
            else f"In {_people(number)}, own connectomes serve the twin no better than strangers' do."
        )
        step = "Let people's own trials tell the twin what connectomes do not."
        return Verdict("not-personal", "not personal", "✗", sentence, step, "dtb update train shards updated")
    sentence = (
        f"In {_people(number)} it is not shown that what the twin says of somebody is theirs."
        if is_of_use
        else f"In {_people(number)} it is not shown that connectomes are of use to the twin."
    )
    needs = [
        int(found[1].replace(",", ""))
        for test in tests
        if test["kind"] in {"connectome", "person"}
        if (found := re.match(r"about ([\d,]+) people", str(test.get("needs") or "")))
    ]
    step, command = "Ask how many people would decide it.", _PLAN
    if needs:
        step, command = f"About {min(needs):,} people would decide a test.", f"dtb plan planned --people {min(needs)}"
    return Verdict("not-shown", "not shown", "?", sentence, step, command)


def _people(number: int) -> str:
    return f"{number} unseen people" if number != 1 else "one unseen person"


def _in_tasks(tasks: Sequence[str]) -> str:
    named = list(dict.fromkeys(map(str, tasks)))
    if not named:
        return ""
    return f" in {named[0]}" if len(named) == 1 else f" in {len(named)} tasks"


def _most_people(tests: Sequence[Mapping[str, Any]], fit: Mapping[str, Any]) -> int:
    numbers = [test.get("n") for test in tests] + [test.get("num_people") for test in fit.get("tests") or []]
    return max((int(number) for number in numbers if number), default=0)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
