"""What events files cannot say of a task, and what was taken from them on thin evidence, in words for the person who knows the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtb.tasks.draft.build import stop_delay
from dtb.tasks.draft.columns import has_word, is_counter, is_time, words_of
from dtb.tasks.draft.found import Found, kind_of

_FEW = 8
_OF_PRESSES = {"resp", "response", "key", "button", "press", "answer", "acc", "accuracy", "correct", "rt"}
"""Words of columns that say what a person did, which nobody saw."""


@dataclasses.dataclass(frozen=True)
class Question:
    """What a person has to look at.

    Attributes
    ----------
    key : str
        Part of the specification that it is about.
    text : str
        What was taken, from what, and what else it could be.
    is_open : bool
        Whether the files cannot say it; else they bear it out, and a look is enough.
    """

    key: str
    text: str
    is_open: bool = True


def questions_about(found: Found, values: dict[str, Any]) -> list[Question]:
    """Return what to ask about a drafted specification, what is open first."""
    questions = [
        *_about_trials(found),
        *_about_times(found, values),
        *_about_responses(found, values),
        *_about_answers(found),
        *_about_stimuli(found, values),
        *_about_conditions(found, values),
    ]
    return sorted(questions, key=lambda question: not question.is_open)


def _about_trials(found: Found) -> Iterator[Question]:
    for name, kept in found.where.items():
        left = [level for level in found.pool.sorted_levels(name) if level not in kept]
        num = int((~np.isin(found.pool.columns[name], kept)).sum())
        yield Question(
            "trials.where",
            f"{num} rows are no trials, by their {name}: {listed(left)}. Trials: {listed(kept)}.",
            is_open=False,
        )
    if (found.numbers("onset")[found.trial_W] < 0).any():
        yield Question(
            "clock_offset_seconds",
            "Some onsets are negative. Do they count from the first volume? What has to be added to them otherwise goes here.",
        )


def _about_times(found: Found, values: dict[str, Any]) -> Iterator[Question]:
    times, rt_J = found.times, found.rt_J
    spacing = found.spacing_seconds
    follow = "" if spacing is None else f", and trials follow each other after {spacing:.3g} s"
    yield Question(
        "trials.window",
        f"How long does a press count? {values['trials']['window']['seconds']:g} s was taken: presses come until {rt_J.max():.3g} s after "
        f"the onset, 99% of them within {np.percentile(rt_J, 99):.3g} s{follow}. What comes later is dropped.",
    )
    onsets = [name for name in found.pool.columns if _is_other_onset(name)]
    if onsets:
        yield Question(
            "trials.onset",
            f"Does {times.column} count from `onset`? It was taken to. There is also {listed(onsets)}: if it counts from there, give "
            f"`onset: {{columns: {{{onsets[0]}: s}}}}`, or a sum of columns.",
        )
    silent = [cell for cell in times.omitted if cell != "n/a"]
    also = f" The cells {listed(silent)} of it mean no press." if silent else ""
    others = f" Not read: {listed(times.others)}." if times.others else ""
    yield Question(
        "trials.reaction_time",
        f"{times.column}, in {times.unit}, has a median of {np.median(rt_J):.3g} s.{also}{others}",
        is_open=False,
    )


def _is_other_onset(name: str) -> bool:
    words = words_of(name)
    return (
        "onset" in words
        and len(words) > 1
        and has_word(name, {"probe", "target", "stim", "stimulus", "go", "response"})
    )


def _about_responses(found: Found, values: dict[str, Any]) -> Iterator[Question]:
    if found.responses is not None:
        codes = found.responses.codes
        if found.responses.derive:
            first = next(iter(found.responses.derive.values()))["same"]
            text = f"What was chosen stands in {first[0]} and equals one of two columns, which say what stood on each side."
            yield Question("trials.response", text, is_open=False)
        elif not set(codes) & set(values["alternatives"]):
            named = ", ".join(f"{code} is {name or 'no press'}" for code, name in codes.items())
            yield Question(
                "alternatives", f"What do the codes of {found.responses.column} stand for? Taken: {named}. Rename them."
            )
        if found.responses.left_out:
            rare = ", ".join(f"{code} ({count} times)" for code, count in found.responses.left_out.items())
            text = f"Rare codes of {found.responses.column} count as other keys, and their rows are unusable: {rare}."
            yield Question("trials.response", text, is_open=False)
    elif found.accuracy is not None and found.answers.how == "accuracy":
        candidates = [name for name in found.shown if found.pool.is_complete(name, found.trial_W)]
        hint = (
            f" If one of {listed(candidates)} does, name the alternatives and give it as `correct.column`."
            if candidates
            else ""
        )
        text = f"Which key was pressed? {found.accuracy.column} says only whether it was the right one, so that the alternatives are "
        yield Question(
            "trials.response", f"{text}`right_key` and `wrong_key`. Does a column say which was right?{hint}"
        )
    elif found.accuracy is None:
        text = "No column has the response or whether it was right: only that there was a press is read. Is there a column for it?"
        yield Question("trials.response", text)


def _about_answers(found: Found) -> Iterator[Question]:
    how, sources = found.answers.how, listed(found.answers.sources)
    if how == "column":
        yield Question("trials.correct", f"Right answers are read from {sources}.", is_open=False)
    elif how == "learnt":
        share = f"{found.answers.agreement:.1%}"
        text = f"Which answer is right follows from {sources}: {share} of the accurate presses agree."
        yield Question("trials.correct", text, is_open=False)
    elif how == "mapping":
        text = (
            f"Which answer is right follows from {sources}, but otherwise in each file: a counterbalanced mapping, learnt from each run's "
            "presses. A twin is told it only through a column made with `mapping_of` (docs/tasks.md): which stimuli should tell it?"
        )
        yield Question("trials.correct.mapping", text)
    elif how == "other_key":
        text = "What was shown is not in the files. What was asked for follows from the key and its accuracy, so trials without a press "
        yield Question("stimuli", f"{text}cannot be used. Is there a file with the stimuli?")
    elif how == "none" and found.responses is not None:
        yield Question("trials.correct", "No column says what was right. Trials have no right answer; are there any?")
    if found.answers.withhold:
        held = "; ".join(f"{name} {listed(levels)}" for name, levels in found.answers.withhold.items())
        yield Question(
            "trials.correct.withhold",
            f"Is no press right where {held}? It was taken so.",
            is_open=found.accuracy is None,
        )


def _about_stimuli(found: Found, values: dict[str, Any]) -> Iterator[Question]:
    for name, kinds in found.told.items():
        merged = listed(sorted({level for level, kind in kinds.items() if level != kind}))
        text = f"{name} tells what the person did ({merged}); the twin is shown what was asked for, without it."
        yield Question("derive", text, is_open=False)
    shown = list(dict.fromkeys(each["column"] for each in values["stimuli"] if "column" in each))
    used = {*shown, *found.told, *map(kind_of, found.told), *found.answers.sources, *found.where, stop_delay(found)}
    used |= {found.times.column, *found.times.others, *found.answers.withhold}
    used |= {each.column for each in (found.accuracy, found.responses) if each is not None}
    hidden = [
        name
        for name in found.pool.columns
        if name not in used
        and not is_time(name)
        and not is_counter(name)
        and not has_word(name, _OF_PRESSES)
        and len(found.pool.levels(name, found.trial_W)) > 1
    ]
    what = (
        f"The twin is shown {listed(shown)}."
        if shown
        else "No column says what a person saw: the twin is shown onsets alone."
    )
    more = (
        f" Not shown: {listed(hidden)}. Does one of these say what a person saw?"
        if hidden
        else " Is that what a person saw?"
    )
    yield Question("stimuli", f"{what}{more} And for how long was it seen?")
    if stop_delay(found) is not None:
        text = f"The stop signal comes {stop_delay(found)} after the onset, and lasts 0.3 s. Its delay was taken for a staircase."
        yield Question("stimuli_depend_on_responses", text)
    else:
        text = "Does what is shown, or when, depend on earlier presses (a staircase, a self-paced task)? It was taken not to."
        yield Question("stimuli_depend_on_responses", text)


def _about_conditions(found: Found, values: dict[str, Any]) -> Iterator[Question]:
    conditions = values["trials"].get("conditions", {})
    if not conditions:
        text = (
            "No column looks like conditions. Which rows are to be compared? None need be; then no effect is reported."
        )
        yield Question("trials.conditions", f"{text}{_conditions_by_answer(found)}")
    elif not values.get("contrast"):
        one, other = list(conditions)[-1], next(iter(conditions))
        text = f"Which condition minus which is the effect of interest? Among {listed(list(conditions))}; nothing was taken, and then no "
        yield Question(
            "contrast",
            f"{text}effect is reported. For example, as a line at the end: `contrast: {{{one}: 1, {other}: -1}}`.",
        )
    other = "cognitive" if values["domain"] == "affective" else "affective"
    yield Question("domain", f"Taken for {values['domain']}; the other is {other}.", is_open=False)


def _conditions_by_answer(found: Found) -> str:
    """Return the conditions that the column with the right answers would make, as a line to copy."""
    if found.answers.how not in ("column", "learnt") or len(found.answers.sources) != 1:
        return ""
    (source,) = found.answers.sources
    levels = found.pool.sorted_levels(source)[:_FEW]
    line = ", ".join(f"{source}_{level}: {{{source}: ['{level}']}}" for level in levels)
    return f" By the right answer they would be `conditions: {{{line}}}`, under `trials`."


def listed(names: Any) -> str:
    """Return names in a row, the first eight of them.

    Examples
    --------
    >>> listed(("rt", "acc"))
    '`rt`, `acc`'
    """
    names = list(names)
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(f"`{name}`" for name in names[:_FEW]) + more
