"""Which columns of events files hold reaction times, presses and their accuracy, and which rows are trials.

Names decide first; cells must bear them out: a response is there where a reaction time is, an accuracy has two values.

Shape letters: `W` row of the pooled files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtb.errors import TaskError
from dtb.tasks.draft.columns import MOST_LEVELS, Pool, has_word, identifier, is_counter, is_time, words_of
from dtb.tasks.plain_text import ABSENT

Where = dict[str, list[str]]

_RT_WORDS = {"rt", "latency", "reactiontime", "responsetime"}
_RESPONSE_WORDS = {
    *("key", "keys", "response", "resp", "button", "press", "pressed", "keypress", "choice", "chosen", "selected"),
    *("answer", "answered", "action", "decision"),
}
_NO_RESPONSE = {
    *("time", "rt", "correct", "corr", "acc", "accuracy", "correctness", "expected", "interval", "onset", "duration"),
    *("count", "latency", "type", "trial", "stimulus", "stop", "cresp", "mapping"),
}
_ACCURACY_WORDS = {"acc", "accuracy", "correct", "correctness", "corr", "iscorrect", "error", "score"}
CORRECT_CELLS = {"1", "true", "correct", "yes", "right", "hit", "correctresponse"}
ERROR_CELLS = {"0", "false", "incorrect", "wrong", "error", "miss", "no", "incorrectresponse"}
NO_TRIAL_WORDS = {
    *("fixation", "fix", "cross", "blank", "blankscreen", "iti", "isi", "rest", "null", "cue", "feedback", "break"),
    *("pause", "trigger", "countdown", "end"),
}
"""Values of rows that are no trials if there is never a press."""
BESIDE_WORDS = {
    *("practice", "practise", "training", "demo", "tutorial", "instruction", "instructions", "preload", "survey"),
    *("fullscreen", "consent", "welcome", "goodbye", "browser", "call"),
}
"""Values of rows that are no trials though there may be presses."""
_MS_FROM = 60.0  # a median of reaction times that is longer is in milliseconds
_FEW_PRESSES = 0.02
_OTHER_KEY = 0.1
_SIDES = ({"left", "right"}, {"1", "2"}, {"a", "b"}, {"up", "down"}, {"l", "r"}, {"one", "two"})


@dataclasses.dataclass(frozen=True)
class Times:
    """The column of reaction times.

    Attributes
    ----------
    column, unit : str
    omitted : tuple of str
        Cells that seem to mean "no press".
    seconds_W : (W,) float
        NaN where there is no reaction time above 0.
    others : tuple of str
        Further columns that could be meant.
    """

    column: str
    unit: str
    omitted: tuple[str, ...]
    seconds_W: np.ndarray
    others: tuple[str, ...]

    @property
    def pressed_W(self) -> np.ndarray:
        """(W,) bool: whether there is a reaction time."""
        return np.isfinite(self.seconds_W)


@dataclasses.dataclass(frozen=True)
class Responses:
    """The column of responses.

    Attributes
    ----------
    column : str
    codes : dict of str to (str or None)
        Alternative that each cell stands for; None for no press.
    left_out : dict of str to int
        Cells that stand for a press so rarely that they are taken for other keys.
    derive : dict
        Columns that have to be made first.
    alternative_W : (W,) object
        Alternative that was pressed; empty for none.
    """

    column: str
    codes: dict[str, str | None]
    left_out: dict[str, int]
    derive: dict[str, dict[str, Any]]
    alternative_W: np.ndarray

    @property
    def press_codes(self) -> set[str]:
        """Cells that stand for a press."""
        return {code for code, name in self.codes.items() if name is not None}

    @property
    def alternatives(self) -> tuple[str, ...]:
        """What can be pressed, in the order of the codes."""
        return tuple(dict.fromkeys(name for name in self.codes.values() if name is not None))


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The column of accuracies, and the cells that mean correct and error."""

    column: str
    correct: tuple[str, ...]
    error: tuple[str, ...]

    def right_W(self, pool: Pool) -> np.ndarray:
        """(W,) bool."""
        return np.isin(pool.columns[self.column], self.correct)

    def wrong_W(self, pool: Pool) -> np.ndarray:
        """(W,) bool."""
        return np.isin(pool.columns[self.column], self.error)


def find_times(pool: Pool) -> Times:
    """Return the column of reaction times: by its name, or else by its cells.

    Raises
    ------
    TaskError
        No column can be it.
    """
    by_name = [name for name in pool.columns if _names_reaction_time(name)]
    numeric = [name for name in by_name or pool.columns if _is_numeric(pool, name)]
    if not by_name:
        numeric = [
            name
            for name in numeric
            if not (is_time(name) or is_counter(name) or pool.is_categorical(name, pool.every_row))
            and not pool.counts_up(name, pool.every_row)
        ]
    presses = {name: int((pool.numbers(name) > 0).sum()) for name in numeric}
    if not presses or not max(presses.values()):
        raise TaskError(
            f"No column looks like reaction times (a name such as `rt` or `response_time`, and numbers). Found: {', '.join(pool.columns)}. "
            "Give the column such a name, or write the task file by hand (docs/tasks.md)."
        )
    column = max(presses, key=lambda name: presses[name])
    number_W = pool.numbers(column)
    unit = "ms" if np.median(number_W[number_W > 0]) >= _MS_FROM else "s"
    seconds_W = np.where(number_W > 0, number_W * (0.001 if unit == "ms" else 1.0), np.nan)
    omitted = ["n/a"]
    for cell, count in pool.levels(column).items():
        number = pool_number(cell)
        if number is None or (number <= 0 and (count > 1 or number in (0, -1))):
            omitted.append(cell)
    return Times(column, unit, tuple(omitted), seconds_W, tuple(name for name in presses if name != column))


def pool_number(cell: str) -> float | None:
    """Return a cell as a number; None for a word."""
    try:
        return float(cell)
    except ValueError:
        return None


def _names_reaction_time(name: str) -> bool:
    words = set(words_of(name))
    if words & _RT_WORDS and not words & {"time", "onset", "offset"}:
        return True
    return (
        "time" in words and bool(words & {"reaction", "response", "resp"}) and not words & {"onset", "offset", "window"}
    )


def _is_numeric(pool: Pool, name: str) -> bool:
    counts = pool.levels(name)
    numeric = sum(count for cell, count in counts.items() if pool_number(cell) is not None)
    return len(counts) > 2 and numeric > 0.5 * sum(counts.values())


def find_trials(pool: Pool, times: Times) -> tuple[Where, np.ndarray]:
    """Return which rows are trials, as `trials.where` has it and as (W,) bool: fixation, cues, instructions and practice are none."""
    where: Where = {}
    trial_W = pool.every_row
    for name in pool.columns:
        counts = pool.levels(name, trial_W)
        if (
            name == times.column
            or is_time(name)
            or not 1 < len(counts) <= 2 * MOST_LEVELS
            or not pool.is_complete(name, trial_W)
        ):
            continue
        kept = [
            level for level in pool.sorted_levels(name, trial_W) if not _is_no_trial(pool, times, name, level, trial_W)
        ]
        kept_W = trial_W & np.isin(pool.columns[name], kept)
        if 0 < len(kept) < len(counts) and (kept_W & times.pressed_W).any():
            where[name] = kept
            trial_W = kept_W
    return where, trial_W


def _is_no_trial(pool: Pool, times: Times, name: str, level: str, trial_W: np.ndarray) -> bool:
    if has_word(level, BESIDE_WORDS):
        return True
    own_W = trial_W & (pool.columns[name] == level)
    is_named = has_word(level, NO_TRIAL_WORDS) or level == "+"
    return is_named and times.pressed_W[own_W].mean() <= _FEW_PRESSES


def find_responses(pool: Pool, times: Times, trial_W: np.ndarray) -> Responses | None:
    """Return the column of responses, whose cells stand for a press where there is a reaction time; None if there is none."""
    by_side = _response_by_side(pool, times, trial_W)
    if by_side is not None:
        return by_side
    pressed_W = times.pressed_W
    found: list[tuple[float, int, str, dict[str, bool]]] = []
    for order, name in enumerate(pool.columns):
        if name == times.column or not is_response_name(name):
            continue
        counts = pool.levels(name, trial_W)
        if not 0 < len(counts) <= MOST_LEVELS:
            continue
        cells = pool.columns[name]
        is_press = {
            level: bool(pressed_W[trial_W & (cells == level)].mean() >= 0.5)
            for level in [*counts, ABSENT]
            if (trial_W & (cells == level)).any()
        }
        said_W = np.array([is_press.get(cell, False) for cell in cells], dtype=bool)
        consistency = float((said_W == pressed_W)[trial_W].mean())
        if any(is_press[level] for level in counts):
            found.append((round(consistency, 2), -order, name, is_press))
    found = [each for each in found if each[0] > 0.9]
    if not found:
        return None
    _, _, name, is_press = max(found)
    counts = pool.levels(name, trial_W)
    num_presses = sum(count for level, count in counts.items() if is_press[level])
    rare = {level: count for level, count in counts.items() if is_press[level] and count < _FEW_PRESSES * num_presses}
    codes: dict[str, str | None] = {}
    for level in pool.sorted_levels(name, trial_W):
        if level not in rare:
            codes[level] = _press_name(name, level) if is_press[level] else None
    if (
        is_press.get(ABSENT) is False and None not in codes.values()
    ):  # else an absent cell is no answer, and "no press" has its own
        codes["n/a"] = None
    if len({each for each in codes.values() if each}) == 1:
        codes = {level: each and "press" for level, each in codes.items()}
    by_cell = {("" if level == "n/a" else level): each or "" for level, each in codes.items()}
    alternative_W = np.array([by_cell.get(cell, "") for cell in pool.columns[name]], dtype=object)
    return Responses(name, codes, rare, {}, np.where(pressed_W, alternative_W, ""))


def is_response_name(name: str) -> bool:
    """Whether a column's name says that it holds what a person did."""
    return has_word(name, _RESPONSE_WORDS) and not has_word(name, _NO_RESPONSE)


_LETTERS = {
    **{str(code): chr(code).lower() for code in range(65, 91)},
    "32": "space",
    "37": "left",
    "38": "up",
    "39": "right",
    "40": "down",
}


def _press_name(column: str, code: str) -> str:
    """Return a name for what a code stands for: a word is its own, a number of a key is the key's where browsers number keys so."""
    if pool_number(code) is None:
        return identifier(code)
    if code in _LETTERS and has_word(column, {"key"}):
        name = _LETTERS[code]
        return name if len(name) > 1 else f"key_{name}"
    return identifier(code, "button")


def sides(pool: Pool, trial_W: np.ndarray) -> Iterator[tuple[str, str, str, str]]:
    """Yield pairs of columns whose names differ in a side alone, with the words of the sides: left and right, 1 and 2."""
    for left in pool.columns:
        for right in pool.columns:
            ours, theirs = words_of(left), words_of(right)
            differ = [(one, two) for one, two in zip(ours, theirs, strict=False) if one != two]
            is_pair = len(ours) == len(theirs) and len(differ) == 1 and set(differ[0]) in _SIDES and left < right
            if is_pair and not is_time(left) and len(pool.levels(left, trial_W)) > 1:
                yield left, right, *differ[0]


def _response_by_side(pool: Pool, times: Times, trial_W: np.ndarray) -> Responses | None:
    """Return responses that are written as what was chosen, where two other columns say what stood on each side."""
    pressed_W = trial_W & times.pressed_W
    for left, right, left_word, right_word in sides(pool, trial_W):
        for name in pool.columns:
            if not is_response_name(name) or name in (left, right):
                continue
            cells = pool.columns[name]
            is_left_W, is_right_W = cells == pool.columns[left], cells == pool.columns[right]
            if (is_left_W ^ is_right_W)[pressed_W].mean() < 0.95:
                continue
            one, two = (
                identifier(left_word, "side" if left_word.isdigit() else ""),
                identifier(right_word, "side" if right_word.isdigit() else ""),
            )
            derive: dict[str, dict[str, Any]] = {
                "is_first": {"same": [name, left]},
                "is_second": {"same": [name, right]},
                "first_word": {"recode": "is_first", "values": {"same": one}},
                "pressed": {"select_by": "is_first", "columns": {"same": "first_word", "different": "is_second"}},
            }
            alternative_W = np.where(is_left_W, one, np.where(is_right_W, two, "")).astype(object)
            codes: dict[str, str | None] = {one: one, "same": two, "different": None}
            return Responses("pressed", codes, {}, derive, np.where(times.pressed_W, alternative_W, ""))
    return None


def find_accuracy(pool: Pool, times: Times, responses: Responses | None, trial_W: np.ndarray) -> Accuracy | None:
    """Return the column of accuracies: its name says so, and its cells mean correct or error, or stand where there is no press."""
    for name in pool.columns:
        if not has_word(name, _ACCURACY_WORDS) or has_word(name, {"ans", "answer"}):
            continue
        levels = pool.levels(name, trial_W)
        correct = [level for level in levels if "".join(words_of(level)) in CORRECT_CELLS]
        error = [level for level in levels if "".join(words_of(level)) in ERROR_CELLS]
        silent = [level for level in levels if level not in (*correct, *error)]
        in_silence = not (trial_W & times.pressed_W & np.isin(pool.columns[name], silent)).any()
        is_code = responses is not None and has_word(name, _RESPONSE_WORDS) and set(levels) <= responses.press_codes
        if correct and error and in_silence and not is_code:
            return Accuracy(name, tuple(correct), (*error, *silent))
    return None


def without_other_keys(pool: Pool, trial_W: np.ndarray, responses: Responses, accuracy: Accuracy) -> Responses:
    """Return responses without the alternatives that few presses chose and that were never right: other keys, hit by mistake."""
    pressed_W = trial_W & (responses.alternative_W != "")
    right_W = accuracy.right_W(pool)
    counts = {name: int((pressed_W & (responses.alternative_W == name)).sum()) for name in responses.alternatives}
    other = {
        name
        for name, count in counts.items()
        if count < _OTHER_KEY * pressed_W.sum() and not (right_W & pressed_W & (responses.alternative_W == name)).any()
    }
    if not other or len(counts) - len(other) < 1:
        return responses
    codes = {code: name for code, name in responses.codes.items() if name not in other}
    left_out = responses.left_out | {code: counts[name] for code, name in responses.codes.items() if name in other}
    kept_W = np.where(np.isin(responses.alternative_W, list(other)), "", responses.alternative_W)
    return dataclasses.replace(responses, codes=codes, left_out=left_out, alternative_W=kept_W)
