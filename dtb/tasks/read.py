"""From an `events.tsv` to trials and stimulus pulses, through a task specification, with every row accounted for.

A row is a trial, or it is not meant to be one (`trials.where`), or it is unusable and listed with its reason. Nothing is guessed and
nothing is dropped in silence.

Shape letters: `J` trial, `A` response alternative, `Q` stimulus pulse.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from dtb.errors import TaskError
from dtb.tasks.cells import Cells, shown_text
from dtb.tasks.parts import Level, Stimulus, Time
from dtb.tasks.responses import learn_mapping, read_correct, read_responses
from dtb.tasks.spec import TaskSpec, columns_needed, response_columns
from dtb.tasks.tables import line_of, read_tsv
from dtb.tasks.trials import ROUNDING_SECONDS, Trials

_LONG_SECONDS, _SHORT_SECONDS = 60.0, 0.005  # what is rarely a trial's length, and never what a person sees
_MANY_TRIALS = 20  # that nothing lasts as long as
_SAME_PRESS_SECONDS = 5e-4  # of one press, written with a millisecond's precision


@dataclasses.dataclass(frozen=True)
class UnusableRow:
    """A row that could not be used.

    Attributes
    ----------
    row : int
        Line of the file; the header is line 1.
    reason : str
    kind : str
        The kind of reason: the same words for all rows of the kind, without what their cells hold.
    """

    row: int
    reason: str
    kind: str


@dataclasses.dataclass(frozen=True, eq=False)
class EventsRead:
    """The content of an events file.

    Attributes
    ----------
    trials : Trials
        Ordered by onset. An unusable row of which at least the onset and window are known is among them, with `usable_J` False.
    unusable : list of UnusableRow
    num_rows : int
        Rows of the file: usable trials, unusable rows and rows that are not trials.
    num_not_trials : int
        Rows that are not meant to be trials, and in which nothing is wrong.
    line_J : (J,) int
        Line of the file of each trial.
    notes : list of str
        What a person should know about the file beyond single rows.
    taken_for_omission : dict
        How many presses the specification's rules take for none, by the kind of reason.
    """

    trials: Trials
    unusable: list[UnusableRow]
    num_rows: int
    num_not_trials: int
    line_J: np.ndarray
    notes: list[str]
    taken_for_omission: dict[str, int]


def read_trials(spec: TaskSpec, events: Path, *, responses: bool = True) -> EventsRead:
    """Read one run's events.

    Parameters
    ----------
    spec : TaskSpec
    events : Path
        A BIDS `events.tsv`.
    responses : bool
        Whether the columns of what a person did are needed. If not, as for a design that nobody has performed, no trial has a press, and a
        counterbalanced mapping is learnt only where the columns are there all the same.

    Raises
    ------
    InputDataError
        The file is not a tab-separated table.
    TaskError
        A column is missing, no row is a trial, or a reaction time is invalid and the specification says that this is an error.
    """
    table = read_tsv(events)
    where = f"{events}, task {spec.name}"
    missing = [name for name in columns_needed(spec, responses=responses) if name not in table.columns]
    if missing:
        raise TaskError(
            f"{where}: no column {' and no column '.join(map(repr, missing))}. "
            f"Found: {', '.join(table.columns)}. Name the file's own columns in the task specification."
        )
    cells = Cells(table, spec)
    is_trial = cells.fits(spec.trials.where)
    if not is_trial.any():
        raise TaskError(
            f"{where}: none of the {table.num_rows} rows is a trial; the specification's `trials.where` fits no row."
        )
    onset = cells.times(spec.trials.onset, is_trial, "onset") + spec.clock_offset_seconds
    window = cells.times(spec.trials.window, is_trial, "response window")
    cells.problem(is_trial & (window <= 0), "the response window is {} s long", window)
    _require_lengths(spec.trials.window, window[is_trial], onset[is_trial], "response windows", "trials.window", where)
    placed = np.flatnonzero(is_trial & np.isfinite(onset) & (window > 0))
    rows = placed[np.argsort(onset[placed], kind="stable")]
    window = _windows(spec, cells, rows, onset, window)

    can_learn = responses or set(response_columns(spec)) <= {*table.columns, *spec.derive}
    mapping, notes = learn_mapping(spec, cells, rows) if can_learn else ({}, [])
    cells.add_mapped(spec, mapping if can_learn else None)
    correct = read_correct(spec, cells, rows, mapping)
    if responses:
        response_JA, rt_J, omissions = read_responses(spec, cells, rows, correct, window[rows], where)
        _note_presses_told_twice(cells, rows, onset[rows] + rt_J)
    else:
        response_JA, rt_J, omissions = np.zeros_like(correct.correct_JA), np.full(len(rows), np.nan), {}
    pulses = [_pulses(spec, cells, place, where) for place in range(len(spec.stimuli))]
    condition_J = _conditions(spec, cells)[rows]

    # Last of all: each of the above may find that a row cannot be used.
    usable_J = np.array([row not in cells.problems for row in rows], dtype=bool)
    response_JA[~usable_J] = False
    rt_J[~usable_J] = np.nan
    channel, pulse_onset, duration, value = (np.concatenate(parts) for parts in zip(*pulses, strict=True))
    order = _without_repeats(channel, pulse_onset)
    trials = Trials(
        onset_seconds_J=onset[rows],
        window_seconds_J=window[rows],
        rt_seconds_J=rt_J,
        response_JA=response_JA,
        correct_JA=correct.correct_JA,
        scored_J=correct.scored_J,
        usable_J=usable_J,
        condition_J=condition_J,
        pulse_channel_Q=channel[order].astype(np.int16),
        pulse_onset_seconds_Q=pulse_onset[order],
        pulse_duration_seconds_Q=duration[order],
        pulse_value_Q=value[order].astype(np.float32),
    )
    unusable = [
        UnusableRow(line_of(row), "; ".join(cells.problems[row]), cells.kinds[row]) for row in sorted(cells.problems)
    ]
    taken = collections.Counter(kind for row, kind in omissions.items() if row not in cells.problems)
    num_not_trials = int((~is_trial).sum()) - sum(not is_trial[row] for row in cells.problems)
    return EventsRead(
        trials, unusable, table.num_rows, num_not_trials, np.asarray(rows) + line_of(0), notes, dict(taken)
    )


def _windows(spec: TaskSpec, cells: Cells, rows: np.ndarray, onset: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return response windows, ended at the next onset if the specification says so or if they exceed it only by rounding."""
    ended, spacing = window.copy(), np.diff(onset[rows])
    touching = window[rows[:-1]] < spacing + ROUNDING_SECONDS
    ended[rows[:-1]] = np.where(
        touching | spec.trials.until_next_onset, np.minimum(window[rows[:-1]], spacing), window[rows[:-1]]
    )
    together = np.zeros(len(window), dtype=bool)
    together[rows[:-1]] = np.diff(onset[rows]) <= 0
    cells.problem(together, "another trial has the same onset, {} s", onset)
    return ended


def _note_presses_told_twice(cells: Cells, rows: np.ndarray, press_J: np.ndarray) -> None:
    """Mark trials as unusable whose press belongs to an earlier trial too: some loggers write a press into each open window."""
    (pressed,) = np.nonzero(np.isfinite(press_J))
    order = pressed[np.argsort(press_J[pressed], kind="stable")]
    repeated = order[1:][np.diff(press_J[order]) < _SAME_PRESS_SECONDS]
    told_twice = np.zeros(cells.num_rows, dtype=bool)
    told_twice[rows[repeated]] = True
    seconds = np.zeros(cells.num_rows)
    seconds[rows] = press_J
    cells.problem(told_twice, "the press at {} s stands in the row of an earlier trial too", seconds)


def _without_repeats(channel: np.ndarray, onset: np.ndarray) -> np.ndarray:
    """Return the order of pulses in time, one of each channel and onset: files repeat rows, and a stimulus is not twice as bright for that.

    As among trials with the same onset, the last is taken.
    """
    order = np.lexsort((channel, onset))
    repeated = (np.diff(onset[order]) == 0) & (np.diff(channel[order]) == 0)
    return order[np.append(~repeated, True)] if len(order) else order


def _conditions(spec: TaskSpec, cells: Cells) -> np.ndarray:
    found = np.full(cells.num_rows, -1, dtype=np.int16)
    for place, rows in reversed(list(enumerate(spec.trials.conditions.values()))):
        found[cells.fits(rows)] = place
    return found


def _require_lengths(time: Time, length: np.ndarray, onset: np.ndarray, what: str, key: str, where: str) -> None:
    """Refuse lengths in columns that are as long as many trials, or of no length anywhere: they have another unit, or none was written."""
    known = np.isfinite(length) & np.isfinite(onset)
    if not time.columns or not known.any():
        return
    columns = " + ".join(map(repr, time.columns))
    longest = length[known].max()
    if longest == 0:
        raise TaskError(
            f"{where}: the {what} (column {columns}) are all 0 s long. Say how long they are in the task specification: "
            f"`{key}: {{seconds: 1.0}}`, for example."
        )
    middle, spacing = float(np.median(length[known])), np.diff(np.unique(onset[known]))
    if middle > _LONG_SECONDS and len(spacing) and middle > _MANY_TRIALS * np.median(spacing):
        raise TaskError(
            f"{where}: half of the {what} (column {columns}) are {middle:g} s long or more, and one begins every "
            f"{np.median(spacing):.3g} s. Their unit seems to be ms: say so in the task specification, "
            f"`{key}: {{columns: {{{next(iter(time.columns))}: ms}}}}`."
        )
    if 0 < longest < _SHORT_SECONDS and "ms" in time.columns.values():
        raise TaskError(
            f"{where}: none of the {what} (column {columns}) is longer than {longest:g} s. Their unit seems to be s: say so in the task "
            f"specification, `{key}: {{columns: {{{next(iter(time.columns))}: s}}}}`."
        )


def _pulses(
    spec: TaskSpec, cells: Cells, place: int, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return channel, onset, duration and height of the pulses of stimulus `place` of the specification."""
    stimulus = spec.stimuli[place]
    what = f"stimulus {stimulus.channels[0]}"
    shown = cells.fits(stimulus.where)
    if stimulus.optional:
        shown &= cells.present(tuple(stimulus.onset.columns))
    onset = cells.times(stimulus.onset, shown, f"onset of {what}") + spec.clock_offset_seconds
    duration = cells.times(stimulus.duration, shown, f"duration of {what}")
    cells.problem(shown & (duration < 0), f"the duration of {what} is {{}} s", duration)
    _require_lengths(stimulus.duration, duration[shown], onset[shown], f"durations of {what}", "duration", where)
    height_rows = _heights(spec, cells, place, shown)
    channels = [spec.channels.index(name) for name in stimulus.channels]
    row, column = np.nonzero(height_rows)
    kept = np.isfinite(onset[row]) & (duration[row] > 0)
    row, column = row[kept], column[kept]
    return np.array(channels)[column], onset[row], duration[row], height_rows[row, column]


def _heights(spec: TaskSpec, cells: Cells, place: int, shown: np.ndarray) -> np.ndarray:
    """Return the height of each channel in each row, 0 where nothing is shown."""
    stimulus = spec.stimuli[place]
    heights = np.zeros((cells.num_rows, len(stimulus.channels)))
    if stimulus.constant is not None:
        heights[shown] = stimulus.constant
        return heights
    assert stimulus.column is not None
    if stimulus.divide_by is not None:
        numbers = cells.numbers(stimulus.column, shown, f"stimulus {stimulus.channels[0]}")
        heights[shown] = np.nan_to_num(numbers[shown] / stimulus.divide_by)[:, None]
        return heights
    values = cells.column(stimulus.column)
    for value, levels in _codes(stimulus).items():
        for column, level in enumerate(levels):
            if isinstance(level, tuple):
                low, high = level
                drawn = low + (high - low) * _uniform(spec.name, place, column, cells.num_rows)
                heights[:, column] = np.where(shown & (values == value), drawn, heights[:, column])
            else:
                heights[shown & (values == value), column] = level
    unknown = shown & ~np.isin(values, list(_codes(stimulus))) & ~cells.unlearnt(stimulus.column)
    cells.problem(unknown, f"column {stimulus.column!r} has {{!r}}, which no stimulus stands for", shown_text(values))
    return heights


def _codes(stimulus: Stimulus) -> dict[str, tuple[Level, ...]]:
    if stimulus.codes is not None:
        return dict(stimulus.codes)
    assert stimulus.one_hot is not None
    return {
        value: tuple(float(i == place) for i in range(len(stimulus.one_hot)))
        for place, value in enumerate(stimulus.one_hot)
    }


def _uniform(task: str, stimulus: int, channel: int, num_rows: int) -> np.ndarray:
    """Return numbers from U[0, 1) that depend only on the task and the row."""
    key = hashlib.sha256(f"{task}/{stimulus}/{channel}".encode()).digest()[:8]
    return np.random.default_rng(int.from_bytes(key, "big")).random(num_rows)
