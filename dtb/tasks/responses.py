"""Responses, correct responses and reaction times, from the cells of trial rows.

Shape letters: `J` trial, `A` response alternative.
"""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from dtb.errors import TaskError
from dtb.tasks.cells import Cells, shown_text
from dtb.tasks.parts import FromAccuracy
from dtb.tasks.plain_text import ABSENT
from dtb.tasks.spec import TaskSpec
from dtb.tasks.tables import hint_of, line_of, number_or_none

_UNIT = {"s": 1.0, "ms": 1e-3}
LATE = "press after the response window"
LOST = {"late": LATE, "invalid": "reaction time that is not positive"}
_FASTEST_SECONDS, _SLOWEST_SECONDS = 0.02, 60.0  # that a median of reaction times can be
_FEWEST_TIMES = 5  # of which a median says something
NO_PRESS = -1
UNKNOWN = -2


@dataclasses.dataclass(frozen=True, eq=False)
class CorrectResponses:
    """Correct alternatives.

    Attributes
    ----------
    correct_JA : (J, A) bool
        None where withholding is correct, or where nothing is.
    withhold_J : (J,) bool
    scored_J : (J,) bool
        Whether there is a right answer.
    """

    correct_JA: np.ndarray
    withhold_J: np.ndarray
    scored_J: np.ndarray


def learn_mapping(spec: TaskSpec, cells: Cells, rows: np.ndarray) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """Return a counterbalanced mapping, learnt from presses and their accuracy.

    Every press says which of two alternatives is correct: the one that was pressed if it was accurate, the other if not. What a
    share of `min_agreement` of a key's presses say is taken.

    Returns
    -------
    mapping : dict
        The correct alternative for each combination of the columns in `by`.
    notes : list of str
        One for each combination that could not be learnt.
    """
    rule = spec.trials.correct.mapping
    if rule is None:
        return {}, []
    votes: dict[tuple[str, ...], collections.Counter[int]] = collections.defaultdict(collections.Counter)
    keys = list(zip(*(cells.column(name) for name in rule.by), strict=True))
    pressed = _coded(spec, cells)
    accuracy = cells.column(rule.accuracy.column)
    for row in rows:
        if ABSENT in keys[row]:
            continue
        counts = votes[keys[row]]
        if pressed[row] >= 0 and accuracy[row] in rule.accuracy.correct:
            counts[int(pressed[row])] += 1
        elif pressed[row] >= 0 and accuracy[row] in rule.accuracy.error:
            counts[1 - int(pressed[row])] += 1
    mapping, notes = {}, []
    for key, counts in sorted(votes.items()):
        num = counts.total()
        place, most = counts.most_common(1)[0] if num else (0, 0)
        if num and most / num >= rule.min_agreement:
            mapping[key] = spec.alternatives[place]
        else:
            notes.append(
                f"which press is correct for {', '.join(key)} is unclear: {num} presses, at best {most} agree; "
                "these trials have no right answer"
            )
    return mapping, notes


def read_correct(
    spec: TaskSpec, cells: Cells, rows: np.ndarray, mapping: dict[tuple[str, ...], str]
) -> CorrectResponses:
    """Return the correct alternatives of the trials in `rows`."""
    rule = spec.trials.correct
    answers = np.full(cells.num_rows, ABSENT, dtype=object)
    wanted = np.zeros(cells.num_rows, dtype=bool)
    wanted[rows] = True
    withhold = cells.fits(rule.withhold) if rule.withhold else np.zeros(cells.num_rows, dtype=bool)
    if rule.column is not None:
        source = cells.column(rule.column)
        answers[:] = [rule.values.get(cell) or ABSENT for cell in source]
        unknown = wanted & ~withhold & ~np.isin(source, list(rule.values))
        cells.problem(
            unknown, f"column {rule.column!r} has {{!r}}, for which no alternative is correct", shown_text(source)
        )
    elif rule.match is not None:
        reference = cells.column(rule.match)
        matches = np.stack([cells.column(name) == reference for name in rule.choices.values()])
        names = np.array(list(rule.choices), dtype=object)
        answers[:] = np.where(matches.sum(axis=0) == 1, names[matches.argmax(axis=0)], ABSENT)
        unclear = wanted & ~withhold & (answers == ABSENT)
        cells.problem(
            unclear, f"{{}} of the choices equal column {rule.match!r}; exactly one should", matches.sum(axis=0)
        )
    elif rule.mapping is not None:
        keys = zip(*(cells.column(name) for name in rule.mapping.by), strict=True)
        answers[:] = [mapping.get(key, ABSENT) for key in keys]
    correct_JA = np.stack([answers[rows] == name for name in spec.alternatives], axis=1).astype(bool)
    correct_JA[withhold[rows]] = False
    return CorrectResponses(correct_JA, withhold[rows], correct_JA.any(axis=1) | withhold[rows])


def read_responses(
    spec: TaskSpec, cells: Cells, rows: np.ndarray, correct: CorrectResponses, window_J: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Return the responses and reaction times of the trials in `rows`.

    Returns
    -------
    response_JA : (J, A) bool
        See `dtb.tasks.trials.Trials`.
    rt_J : (J,) float
        Seconds; NaN without a press.
    taken_for_omission : dict
        Rows whose press a rule of the specification takes for none, each with the kind of reason.
    """
    rt_J, taken_for_omission = _reaction_times(spec, cells, rows, window_J, where)
    taken_for_omission_J = np.array([int(row) in taken_for_omission for row in rows], dtype=bool)
    response_JA = np.zeros((len(rows), len(spec.alternatives)), dtype=bool)
    has_rt_J = np.isfinite(rt_J)
    accuracy = spec.trials.response.from_accuracy
    if accuracy is not None:
        _respond_by_accuracy(accuracy, cells, rows, correct, has_rt_J, taken_for_omission_J, response_JA)
        return response_JA, rt_J, taken_for_omission
    pressed_J = _coded(spec, cells)[rows]
    source = spec.trials.response.from_codes
    assert source is not None
    codes = cells.column(source.column)
    shown = shown_text(codes)
    column = repr(source.column)
    _problem_J(
        cells, rows, pressed_J == UNKNOWN, f"column {column} has {{!r}}, which is not among the response codes", shown
    )
    contradiction_J = (pressed_J >= 0) & ~has_rt_J & ~taken_for_omission_J
    _problem_J(
        cells, rows, contradiction_J, f"column {column} has the press {{!r}}, but there is no reaction time", shown
    )
    _problem_J(
        cells,
        rows,
        (pressed_J == NO_PRESS) & has_rt_J,
        f"a reaction time, but column {column} has no press: {{!r}}",
        shown,
    )
    seen_J = np.flatnonzero((pressed_J >= 0) & has_rt_J)
    response_JA[seen_J, pressed_J[seen_J]] = True
    return response_JA, rt_J, taken_for_omission


def _respond_by_accuracy(
    source: FromAccuracy,
    cells: Cells,
    rows: np.ndarray,
    correct: CorrectResponses,
    has_rt_J: np.ndarray,
    taken_for_omission_J: np.ndarray,
    response_JA: np.ndarray,
) -> None:
    marks = cells.column(source.column)
    shown = shown_text(marks)
    right_J, wrong_J = np.isin(marks[rows], list(source.correct)), np.isin(marks[rows], list(source.error))
    column = repr(source.column)
    _problem_J(cells, rows, ~right_J & ~wrong_J, f"column {column} has {{!r}}, neither correct nor error", shown)
    silent_J = right_J & ~has_rt_J & ~correct.withhold_J & ~taken_for_omission_J
    _problem_J(cells, rows, silent_J, f"column {column} says correct ({{!r}}), but there is no reaction time", shown)
    false_alarm_J = right_J & has_rt_J & correct.withhold_J
    _problem_J(
        cells, rows, false_alarm_J, f"column {column} says that no press was correct ({{!r}}), but there is one", shown
    )
    response_JA[right_J & has_rt_J] = correct.correct_JA[right_J & has_rt_J]
    response_JA[wrong_J & has_rt_J] = ~correct.correct_JA[wrong_J & has_rt_J]
    response_JA[(right_J | wrong_J) & has_rt_J & ~correct.scored_J] = True  # a press, and nothing says which


def _coded(spec: TaskSpec, cells: Cells) -> np.ndarray:
    """(rows,) int: index of the alternative that was pressed, `NO_PRESS` or `UNKNOWN`."""
    source = spec.trials.response.from_codes
    if source is None:
        return np.full(cells.num_rows, UNKNOWN)
    places = {code: NO_PRESS if name is None else spec.alternatives.index(name) for code, name in source.codes.items()}
    return np.array([places.get(cell, UNKNOWN) for cell in cells.column(source.column)], dtype=int)


def _reaction_times(
    spec: TaskSpec, cells: Cells, rows: np.ndarray, window_J: np.ndarray, where: str
) -> tuple[np.ndarray, dict[int, str]]:
    """Return reaction times in seconds, NaN without a press, and in which rows a rule made an omission of one, and why."""
    rule = spec.trials.reaction_time
    column = cells.column(rule.column)
    rt_J = np.full(len(rows), np.nan)
    omissions: dict[int, str] = {}
    _require_unit(spec, column[rows], where)
    for place, row in enumerate(rows):
        cell = column[row]
        if cell in rule.omitted or int(row) in cells.problems:
            continue
        number = number_or_none(cell)
        if number is None:
            problem = f"column {rule.column!r} has {cell or 'n/a'!r}, which is neither a number nor listed under `omitted`{hint_of(cell)}"
            cells.note(int(row), problem, f"column {rule.column!r} has …, which is not a reaction time")
            continue
        seconds = number * _UNIT[rule.unit]
        if 0 < seconds <= window_J[place]:
            rt_J[place] = seconds
            continue
        kind, choice = ("invalid", rule.invalid) if seconds <= 0 else ("late", rule.late)
        expected = (
            "a reaction time is positive" if kind == "invalid" else f"the response window is {window_J[place]:g} s"
        )
        problem = f"column {rule.column!r} has {seconds:g} s; {expected}"
        if choice == "error":
            raise TaskError(
                f"{where}: {problem} (line {line_of(row)}). Set `trials.reaction_time.{kind}: omit` (or `drop`) in the task "
                "specification to take such trials for omissions (or leave them out)."
            )
        if choice == "omit":
            omissions[int(row)] = LOST[kind]
        else:
            cells.note(int(row), problem, LOST[kind])
    return rt_J, omissions


def _require_unit(spec: TaskSpec, cells: np.ndarray, where: str) -> None:
    """Refuse reaction times of which most are too short, or too long, for the unit that the specification says they have."""
    rule = spec.trials.reaction_time
    numbers = [number_or_none(cell) for cell in cells if cell not in rule.omitted]
    seconds = [number * _UNIT[rule.unit] for number in numbers if number is not None and number > 0]
    if len(seconds) < _FEWEST_TIMES or _FASTEST_SECONDS <= np.median(seconds) <= _SLOWEST_SECONDS:
        return
    other = "s" if rule.unit == "ms" else "ms"
    factor = _UNIT[other] / _UNIT[rule.unit]
    fits = _FASTEST_SECONDS <= factor * np.median(seconds) <= _SLOWEST_SECONDS
    raise TaskError(
        f"{where}: half of the reaction times in the column {rule.column!r} are "
        f"{'shorter' if np.median(seconds) < _FASTEST_SECONDS else 'longer'} than {np.median(seconds):.3g} s. "
        + (
            f"Their unit seems to be {other}: set `trials.reaction_time.unit: {other}` in the task specification."
            if fits
            else "Do they count from the trial's onset, as a reaction time does? Some programs count from the beginning of the experiment."
        )
    )


def _problem_J(cells: Cells, rows: np.ndarray, trials_J: np.ndarray, reason: str, shown: np.ndarray) -> None:
    """Note a problem of some trials, unless their row has one already: the first reason is the cause."""
    at_row = np.zeros(cells.num_rows, dtype=bool)
    at_row[[row for row in rows[trials_J] if int(row) not in cells.problems]] = True
    cells.problem(at_row, reason, shown)
