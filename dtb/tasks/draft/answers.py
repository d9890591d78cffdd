"""What would have been right in each trial, as far as events files say it.

In this order: a column of right answers; a column, or two together, whose values the accurate presses agree about; two columns of which one
equals a reference; the key and its accuracy, with two alternatives. Shape letters: `W` row of the pooled files, `A` alternative.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dtb.tasks.draft.columns import MOST_LEVELS, Pool, has_word, identifier, is_counter, is_time, words_of
from dtb.tasks.draft.presses import Accuracy, Responses, Times, Where, is_response_name, sides

WITHHELD_WORDS = {"nogo", "stop", "withhold", "inhibit", "nontarget", "lure"}
_PURE = 0.95
_MOST_MAPPED = 16
_FEWEST_VOTES = 3
_FEWEST_LEAKING = 5
_SURE = 0.02
_RARER = 0.85  # presses, where none is asked for


@dataclasses.dataclass(frozen=True)
class Answers:
    """Which alternative is right.

    Attributes
    ----------
    how : {"column", "learnt", "mapping", "match", "other_key", "accuracy", "none"}
        Where it is known from.
    correct : dict
        `trials.correct` of the specification, without `withhold`.
    withhold : dict
        Rows in which withholding is right.
    derive : dict
        Columns that have to be made first.
    sources : tuple of str
        Columns that say it.
    agreement : float
        Share of the accurate presses that agree.
    """

    how: str
    correct: dict[str, Any] = dataclasses.field(default_factory=dict)
    withhold: Where = dataclasses.field(default_factory=dict)
    derive: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    sources: tuple[str, ...] = ()
    agreement: float = 1.0


def find_answers(
    pool: Pool,
    times: Times,
    trial_W: np.ndarray,
    responses: Responses | None,
    accuracy: Accuracy | None,
    withhold: Where,
    shown: Sequence[str],
) -> Answers:
    """Return which alternative is right, with the rows in which a press is wrong that are known already."""
    if responses is None:
        return dataclasses.replace(_without_responses(pool, trial_W, accuracy), withhold=withhold)
    column = _answer_column(pool, trial_W, responses)
    if column is not None:
        values: dict[str, str | None] = {
            level: responses.codes.get(level)
            for level in pool.sorted_levels(column, trial_W)
            if level in responses.codes
        }
        if not pool.is_complete(column, trial_W):
            values["n/a"] = None
        return Answers("column", {"column": column, "values": values}, withhold, sources=(column,))
    if accuracy is None:
        return Answers("none", withhold=withhold)
    learnt = _learnt(pool, times, trial_W, responses, accuracy, withhold, shown)
    if learnt is not None:
        return learnt
    if len(responses.alternatives) == 2 and not responses.derive and not shown:
        return _other_key(responses, accuracy, withhold)
    return Answers("none", withhold=withhold)


def _answer_column(pool: Pool, trial_W: np.ndarray, responses: Responses) -> str | None:
    """Return the column of right answers: its name says so, and its cells are codes of responses."""
    for name in filter(_names_answer, pool.columns):
        counts = pool.levels(name, trial_W)
        coded = sum(count for level, count in counts.items() if level in responses.press_codes)
        if counts and coded >= 0.9 * sum(counts.values()):
            return name
    return None


def _names_answer(name: str) -> bool:
    """Return whether a column's name says that it holds right answers."""
    words = set(words_of(name))
    asked = words & {"response", "resp", "answer", "ans", "key", "button", "choice"}
    return bool("cresp" in words or (asked and words & {"correct", "corr", "expected"}))


def could_be_shown(
    pool: Pool, trial_W: np.ndarray, times: Times, responses: Responses | None, accuracy: Accuracy | None
) -> list[str]:
    """Return the columns that may say what a person saw: few values, and neither times, counts, presses nor what came of them."""
    found = []
    for name in pool.columns:
        told = has_word(
            name,
            {"feedback", "outcome", "reward", "points", "stopped", "success", "cumulative", "exploded", "accuracy"},
        )
        own = {times.column, accuracy.column if accuracy else times.column}
        if name in own or told or is_response_name(name) or is_time(name) or is_counter(name):
            continue
        if has_word(name, {"correct", "corr", "correctness", "acc", "chosen", "selected", "response", "resp"}):
            continue
        if is_stop_delay(name) or pool.counts_up(name, trial_W) or not pool.varies_within_files(name, trial_W):
            continue
        if pool.is_categorical(name, trial_W) and not _tells_what_was_done(pool, name, trial_W, responses, accuracy):
            found.append(name)
    return found


def _tells_what_was_done(
    pool: Pool, name: str, trial_W: np.ndarray, responses: Responses | None, accuracy: Accuracy | None
) -> bool:
    """Return whether a column is a copy of the press, or of whether it was right, which no stimulus of any length is."""
    has_errors = accuracy is not None and bool((trial_W & accuracy.wrong_W(pool)).sum() >= _FEWEST_VOTES)
    if has_errors and accuracy is not None and pool.determines([name], accuracy.column, trial_W):
        return True
    if responses is None:
        return False
    pressed_W = trial_W & (responses.alternative_W != "")
    pressed = dataclasses.replace(pool, columns={name: pool.columns[name], "": responses.alternative_W})
    is_copy = pressed.determines([name], "", pressed_W) and pressed.determines([""], name, pressed_W)
    other_when_silent = not set(pool.levels(name, trial_W & ~pressed_W)) <= set(pool.levels(name, pressed_W))
    return is_copy and len(responses.alternatives) > 1 and (has_errors or accuracy is None or other_when_silent)


def is_stop_delay(name: str) -> bool:
    """Whether a column's name says how long after the onset a stop signal came."""
    words = set(words_of(name))
    return "ssd" in words or ("delay" in words and bool(words & {"ss", "stop", "signal"}))


def outcomes(pool: Pool, times: Times, trial_W: np.ndarray, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return, for columns whose values tell what a person did (`stop_success`, `stop_failure`), the value that each should have instead.

    A family of values with the same first word, of which one is never pressed and one always, is one value: its first word.
    """
    found = {}
    for name in names:
        share = {
            level: float(times.pressed_W[trial_W & (pool.columns[name] == level)].mean())
            for level in pool.levels(name, trial_W)
        }
        families: dict[str, list[str]] = {}
        for level in sorted(share):
            families.setdefault("_".join(words_of(level)[:-1]) or level, []).append(level)
        told = {
            stem: members
            for stem, members in families.items()
            if len(members) > 1
            and min(share[each] for each in members) < 0.02
            and max(share[each] for each in members) > 0.98
        }
        if told:
            stem_of = {level: stem for stem, members in told.items() for level in members}
            found[name] = {level: stem_of.get(level, level) for level in sorted(share)}
    return found


def withheld(pool: Pool, times: Times, trial_W: np.ndarray, accuracy: Accuracy | None, names: Iterable[str]) -> Where:
    """Return rows in which withholding is right: a press is an error there and none is accurate, or the value is called so."""
    fits: list[tuple[int, str, list[str]]] = []
    for order, name in enumerate(names):
        levels = pool.sorted_levels(name, trial_W)
        chosen = [level for level in levels if _asks_for_none(pool, times, trial_W, accuracy, name, level)]
        if 0 < len(chosen) < len(levels):
            fits.append((len(levels) * 100 + order, name, chosen))
    if not fits:
        return {}
    _, name, chosen = min(fits)
    return {name: chosen}


def _asks_for_none(
    pool: Pool, times: Times, trial_W: np.ndarray, accuracy: Accuracy | None, name: str, level: str
) -> bool:
    own_W = trial_W & (pool.columns[name] == level)
    pressed_W = times.pressed_W
    words = words_of(level)
    called = bool({*words, "".join(words)} & WITHHELD_WORDS) or words[:2] == ["no", "go"]
    if called and pressed_W[own_W].mean() < _RARER * pressed_W[trial_W & ~own_W].mean():
        return True  # whatever an accuracy says: some files mark every press as correct
    if accuracy is None:
        return False
    right_W, wrong_W = accuracy.right_W(pool), accuracy.wrong_W(pool)
    silent_right, silent_wrong = (own_W & ~pressed_W & right_W).sum(), (own_W & ~pressed_W & wrong_W).sum()
    press_right, press_wrong = (own_W & pressed_W & right_W).sum(), (own_W & pressed_W & wrong_W).sum()
    return bool(silent_right >= _FEWEST_VOTES and silent_right > 9 * silent_wrong and press_wrong >= 9 * press_right)


def leaks(pool: Pool, times: Times, trial_W: np.ndarray, names: Iterable[str], withhold: Where) -> list[str]:
    """Return columns with a value that is never pressed and one that always is, beyond what is asked for: they tell what was done."""
    found = []
    for name in names:
        if name in withhold or any(pool.determines([held], name, trial_W) for held in withhold):
            continue
        shares = [
            float(times.pressed_W[own_W].mean())
            for level in pool.levels(name, trial_W)
            if (own_W := trial_W & (pool.columns[name] == level)).sum() >= _FEWEST_LEAKING
        ]
        if shares and min(shares) < _SURE and max(shares) > 1 - _SURE:
            found.append(name)
    return found


def _learnt(
    pool: Pool,
    times: Times,
    trial_W: np.ndarray,
    responses: Responses,
    accuracy: Accuracy,
    withhold: Where,
    shown: Sequence[str],
) -> Answers | None:
    """Return what the accurate presses agree about: one column's values, or those of two together."""
    held_W = np.zeros(pool.num_rows, dtype=bool)
    for name, levels in withhold.items():
        held_W |= np.isin(pool.columns[name], levels)
    judged_W = trial_W & times.pressed_W & ~held_W
    expected = [name for name in pool.columns if _names_answer(name) and pool.is_categorical(name, trial_W)]
    names = [name for name in (*shown, *expected) if pool.is_complete(name, judged_W) and name != accuracy.column]
    if len(responses.alternatives) == 1:  # all presses agree, so that only what asks for none says anything
        names = [name for name in withhold if name in names] or names[:1]
    pairs = list(itertools.combinations(names, 2))
    for choices in ([(name,) for name in names], pairs):
        fits = [
            (len(found[0]), keys, *found)
            for keys in choices
            if (found := _agreed(pool, judged_W, responses, accuracy, keys))
        ]
        if fits:
            break
    else:
        return _mapping(pool, judged_W, responses, accuracy, withhold, [*((name,) for name in names), *pairs])
    _, keys, answers, agreement = min(fits, key=lambda each: each[0])
    if len(keys) == 1:
        values = {key[0]: name for key, name in sorted(answers.items())}
        return Answers("learnt", {"column": keys[0], "values": values}, withhold, sources=keys, agreement=agreement)
    first, second = keys
    derive: dict[str, dict[str, Any]] = {}
    choose = {}
    for level in sorted({key[0] for key in answers}):
        place = identifier(f"asked_{level}")
        derive[place] = {
            "recode": second,
            "values": {key[1]: name for key, name in sorted(answers.items()) if key[0] == level},
        }
        choose[level] = place
    derive["asked"] = {"select_by": first, "columns": choose}
    same = {name: name for name in responses.alternatives}
    return Answers("learnt", {"column": "asked", "values": same}, withhold, derive, keys, agreement)


def _agreed(
    pool: Pool,
    judged_W: np.ndarray,
    responses: Responses,
    accuracy: Accuracy,
    keys: tuple[str, ...],
    most: int = MOST_LEVELS,
) -> tuple[dict[tuple[str, ...], str], float] | None:
    """Return the right alternative for each combination of some columns' values, and how far the presses agree; None if they do not."""
    votes: dict[tuple[str, ...], Counter[str]] = {}
    cells = [pool.columns[name] for name in keys]
    for row in np.flatnonzero(judged_W & accuracy.right_W(pool)):
        key = tuple(cell[row] for cell in cells)
        votes.setdefault(key, Counter())[responses.alternative_W[row]] += 1
    if not votes or len(votes) > most or min(counts.total() for counts in votes.values()) < _FEWEST_VOTES:
        return None
    answers = {key: counts.most_common(1)[0][0] for key, counts in votes.items()}
    agree = sum(counts.most_common(1)[0][1] for counts in votes.values())
    total = sum(counts.total() for counts in votes.values())
    for row in np.flatnonzero(judged_W & accuracy.wrong_W(pool)):  # an error is a press of another alternative
        total += answers.get(tuple(cell[row] for cell in cells)) == responses.alternative_W[row]
    if agree < _PURE * total or len(set(answers.values())) < len(responses.alternatives):
        return None
    return answers, agree / total


def _mapping(
    pool: Pool,
    judged_W: np.ndarray,
    responses: Responses,
    accuracy: Accuracy,
    withhold: Where,
    choices: Iterable[tuple[str, ...]],
) -> Answers | None:
    """Return columns whose values mean another alternative in each file: a mapping that is learnt from each run's presses."""
    files = np.unique(pool.file_W)
    if len(files) == 1 or len(responses.alternatives) != 2:
        return None
    for keys in choices:
        found = [
            _agreed(pool, judged_W & (pool.file_W == file), responses, accuracy, keys, _MOST_MAPPED) for file in files
        ]
        agreeing = [each[1] for each in found if each is not None]
        if len(agreeing) > 0.7 * len(files):
            marks = {"column": accuracy.column, "correct": list(accuracy.correct), "error": list(accuracy.error)}
            rule = {"by": list(keys), "accuracy": marks}
            return Answers("mapping", {"mapping": rule}, withhold, sources=keys, agreement=float(np.mean(agreeing)))
    return None


def _other_key(responses: Responses, accuracy: Accuracy, withhold: Where) -> Answers:
    """Return what the key and its accuracy say: an accurate key was asked for, an error asked for the other."""
    by_name: dict[str, list[str]] = {}
    for code, name in responses.codes.items():
        if name is not None:
            by_name.setdefault(name, []).append(code)
    (one, ones), (two, twos) = by_name.items()
    derive: dict[str, dict[str, Any]] = {
        "other_key": {
            "recode": responses.column,
            "values": {**dict.fromkeys(ones, twos[0]), **dict.fromkeys(twos, ones[0])},
        },
        "asked": {
            "select_by": accuracy.column,
            "columns": {
                **dict.fromkeys(accuracy.correct, responses.column),
                **dict.fromkeys(accuracy.error, "other_key"),
            },
        },
    }
    values = {**dict.fromkeys(ones, one), **dict.fromkeys(twos, two)}
    return Answers(
        "other_key", {"column": "asked", "values": values}, withhold, derive, (responses.column, accuracy.column)
    )


def _without_responses(pool: Pool, trial_W: np.ndarray, accuracy: Accuracy | None) -> Answers:
    """Return answers where no column has the response: a choice that equals a reference, or only whether the press was right."""
    if accuracy is None:
        return Answers("none")
    for left, right, left_word, right_word in sides(pool, trial_W):
        for name in pool.columns:
            if name in (left, right) or not set(pool.levels(name, trial_W)) & set(pool.levels(left, trial_W)):
                continue
            equal = (pool.columns[name] == pool.columns[left]) ^ (pool.columns[name] == pool.columns[right])
            if equal[trial_W].mean() > _PURE and len(pool.levels(name, trial_W)) > 1:
                choices = {
                    identifier(word, "side" if word.isdigit() else ""): column
                    for word, column in ((left_word, left), (right_word, right))
                }
                return Answers("match", {"match": name, "choices": choices}, sources=(name, left, right))
    complete = [
        name
        for name in pool.columns
        if pool.is_complete(name, trial_W) and len(pool.levels(name, trial_W)) <= MOST_LEVELS
    ]
    if not complete:
        return Answers("none")
    column = min(
        (name for name in complete if name != accuracy.column),
        key=lambda name: (is_time(name), is_counter(name)),
        default=accuracy.column,
    )
    values = dict.fromkeys(pool.sorted_levels(column, trial_W), "right_key")
    return Answers("accuracy", {"column": column, "values": values}, sources=(accuracy.column,))
