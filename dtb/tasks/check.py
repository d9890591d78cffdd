"""`dtb task check`: a summary of events files as read by a task specification: trials, responses, times, and every unusable row with
its reason.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
from rich.table import Table as ScreenTable

from dtb import terminal
from dtb.errors import StageError, TaskError, UserError
from dtb.tasks.detection import d_prime
from dtb.tasks.onsets import onset_is_seen, warning
from dtb.tasks.read import EventsRead, read_trials
from dtb.tasks.spec import TaskSpec, load_task, shipped_tasks

_BAR = "▏▎▍▌▋▊▉█"
_WIDTH = 50
_NUM_BINS = 24
_LONGEST_SPACING_SECONDS = 60.0  # of trials that are no milliseconds


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts over some events files.

    Attributes
    ----------
    rows, not_trials, unusable, trials, omissions : int
        Rows in all; rows that are no trials; unusable rows; usable trials; those of them without a press.
    correct, scored : int
        Usable trials with a right answer, and those of them answered rightly for sure.
    go, missed, withhold, commissions : int
        Usable trials in which a press is right, those of them without one, those in which none is right, and those of them with one.
    unseen : int
        Usable trials whose onset does not show in the stimuli.
    taken_for_omission : Counter
        Presses that a rule takes for none, by the kind of reason.
    responses : Counter
        Usable trials by (condition, response); a response of several alternatives is written ``a or b``.
    """

    rows: int
    not_trials: int
    unusable: int
    trials: int
    omissions: int
    correct: int
    scored: int
    go: int
    missed: int
    withhold: int
    commissions: int
    unseen: int
    taken_for_omission: Counter[str]
    responses: Counter[tuple[str, str]]


def check_task(task: str, events: tuple[Path, ...]) -> None:
    """Print how `task` reads events files.

    Parameters
    ----------
    task : str
        Name of a shipped specification, or the path of a YAML file.
    events : tuple of Path
        `events.tsv` files.

    Raises
    ------
    TaskError
        The specification cannot be used, or none of the files can be read.
    StageError
        Some of the files cannot be read; what is in the others was printed.
    """
    spec = load_task(task)
    found: list[tuple[Path, EventsRead]] = []
    refused = []
    for path in events:
        try:
            found.append((path, read_trials(spec, path)))
        except UserError as error:
            refused.append(str(error))
            terminal.err.print(terminal.headed("Refused:", str(error)))
    if not found:
        raise TaskError(
            f"None of the {len(events)} events files could be read through {task}.\n" + "\n".join(refused[:3])
        )
    print_reading(spec, found)
    if refused:
        raise StageError(
            f"{len(refused)} of {len(events)} events files were refused, for the reasons above; the figures are of the others."
        )


def print_reading(spec: TaskSpec, found: list[tuple[Path, EventsRead]]) -> None:
    """Print what a specification made of some events files."""
    reads = [read for _, read in found]
    tally = tally_of(spec, reads)
    terminal.out.print(_headline(spec, tally, [read.trials.onset_seconds_J for read in reads]))
    terminal.out.print(_response_table(spec, tally))
    rt_J = np.concatenate([read.trials.rt_seconds_J for read in reads])
    terminal.out.print(histogram(rt_J[np.isfinite(rt_J)]))
    _print_unusable(found)
    if said := warning(spec, tally.unseen, tally.trials):
        terminal.err.print(f"Warning: {said}")


def list_tasks() -> None:
    """Print the task specifications that come with the package."""
    for name in shipped_tasks():
        spec = load_task(name)
        terminal.out.print(f"{name:12} {spec.domain:10} {' '.join(spec.description.split())}")


def tally_of(spec: TaskSpec, reads: list[EventsRead]) -> Tally:
    """Return counts over some events files."""
    responses: Counter[tuple[str, str]] = Counter()
    correct = scored = omissions = usable = 0
    go = missed = withhold = commissions = unseen = 0
    taken_for_omission: Counter[str] = Counter()
    for read in reads:
        trials = read.trials
        used_J = trials.usable_J
        usable += int(used_J.sum())
        omissions += int((used_J & ~trials.pressed_J).sum())
        right_J = (trials.response_JA == trials.correct_JA).all(axis=1)
        scored += int((used_J & trials.scored_J).sum())
        correct += int((used_J & trials.scored_J & right_J).sum())
        go_J, withhold_J = (
            used_J & trials.correct_JA.any(axis=1),
            used_J & trials.scored_J & ~trials.correct_JA.any(axis=1),
        )
        go, missed = go + int(go_J.sum()), missed + int((go_J & ~trials.pressed_J).sum())
        withhold, commissions = (
            withhold + int(withhold_J.sum()),
            commissions + int((withhold_J & trials.pressed_J).sum()),
        )
        unseen += int((~onset_is_seen(trials)).sum())
        taken_for_omission.update(read.taken_for_omission)
        for condition, row in zip(trials.condition_J[used_J], trials.response_JA[used_J], strict=True):
            names = " or ".join(name for name, pressed in zip(spec.alternatives, row, strict=True) if pressed)
            responses[spec.conditions[condition] if condition >= 0 else "(none)", names or "no press"] += 1
    return Tally(
        rows=sum(read.num_rows for read in reads),
        not_trials=sum(read.num_not_trials for read in reads),
        unusable=sum(len(read.unusable) for read in reads),
        trials=usable,
        omissions=omissions,
        correct=correct,
        scored=scored,
        go=go,
        missed=missed,
        withhold=withhold,
        commissions=commissions,
        unseen=unseen,
        taken_for_omission=taken_for_omission,
        responses=responses,
    )


def histogram(rt_J: np.ndarray) -> str:
    """Return a histogram of reaction times in seconds as text, with their quartiles.

    Examples
    --------
    >>> print(histogram(np.array([0.51, 0.52, 0.58, 0.61])).splitlines()[0])
    Reaction time: 4 presses, quartiles 0.52, 0.55 and 0.59 s, from 0.510 to 0.610 s
    """
    if not len(rt_J):
        return "Reaction time: no presses"
    quartiles = np.percentile(rt_J, [25, 50, 75])
    lines = [
        f"Reaction time: {len(rt_J)} presses, quartiles {quartiles[0]:.2f}, {quartiles[1]:.2f} and {quartiles[2]:.2f} s, "
        f"from {rt_J.min():.3f} to {rt_J.max():.3f} s"
    ]
    # The longest of self-paced tasks would leave one bar: the last row holds all beyond the 99.5th percentile.
    top = float(np.percentile(rt_J, 99.5)) if len(rt_J) >= _NUM_BINS else float(rt_J.max())
    counts, edges = np.histogram(np.minimum(rt_J, top), bins=_NUM_BINS, range=(0.0, top * (1 + 1e-9)))
    for count, edge in zip(counts, edges[:-1], strict=True):
        eighths = round(8 * _WIDTH * count / counts.max())
        bar = _BAR[-1] * (eighths // 8) + (_BAR[eighths % 8 - 1] if eighths % 8 else "")
        lines.append(f"{edge:6.2f} s {bar} {count or ''}".rstrip())
    return "\n".join(lines)


def _headline(spec: TaskSpec, tally: Tally, onsets: list[np.ndarray]) -> str:
    adaptive = spec.stimuli_depend_on_responses
    lines = [
        f"Task {spec.name} ({spec.domain}): {len(onsets)} file{'' if len(onsets) == 1 else 's'}, {tally.rows} rows",
        f"  {_times(onsets)}",
        f"  {tally.trials} usable trials, {tally.omissions} of them without a press",
        f"  {tally.not_trials} rows that are no trials, {tally.unusable} unusable rows",
        *(["  What is shown depends on what the person did before (stimuli_depend_on_responses)"] * adaptive),
    ]
    if tally.scored:
        share = tally.correct / tally.scored
        lines.append(
            f"  {tally.correct} of {tally.scored} trials with a right answer were answered rightly ({share:.1%})"
        )
    else:
        lines.append("  no trial has a right answer")
    if tally.withhold:
        found = d_prime(tally.go - tally.missed, tally.go, tally.commissions, tally.withhold)
        lines.append(
            f"  {tally.commissions} of {tally.withhold} trials in which no press is right have one, {tally.missed} of {tally.go} in which "
            f"one is have none; d' {float(found):.2f}"
        )
    lines += [f"  {num} x {kind}, counted as an omission" for kind, num in sorted(tally.taken_for_omission.items())]
    lines.append(f"  stimulus channels: {', '.join(spec.channels)}")
    return "\n".join(lines)


def _times(onsets: list[np.ndarray]) -> str:
    """Return a summary of trials' onsets in each file, which shows a wrong unit or clock."""
    if not any(map(len, onsets)):
        return "no trial has an onset"
    onset_J, spacing_J = np.concatenate(onsets), np.concatenate([np.diff(each) for each in onsets])
    between = f", one every {np.median(spacing_J):.3g} s (median)" if len(spacing_J) else ""
    if len(spacing_J) and np.median(spacing_J) > _LONGEST_SPACING_SECONDS:
        between += "; if these are milliseconds, say so in the specification: `onset: {columns: {onset: ms}}`"
    return f"trials begin from {onset_J.min():.1f} to {onset_J.max():.1f} s{between}"


def _response_table(spec: TaskSpec, tally: Tally) -> ScreenTable:
    """Responses below one another: there may be many, such as `red or green`, and conditions are few."""
    seen = {response for _, response in tally.responses}
    known = [name for name in (*spec.alternatives, "no press") if name in seen]
    conditions = [name for name in (*spec.conditions, "(none)") if any(tally.responses[name, each] for each in seen)]
    table = terminal.table("Trials by response and condition", "response", *conditions)
    for response in [*known, *sorted(seen - set(known))]:
        table.add_row(response, *(str(tally.responses[name, response]) for name in conditions))
    return table


def _print_unusable(found: list[tuple[Path, EventsRead]]) -> None:
    """Print every unusable row, those of a file with the same reason together."""
    for path, read in found:
        for note in read.notes:
            terminal.out.print(f"{path.name}: {note}")
    num_rows = sum(len(read.unusable) for _, read in found)
    if not num_rows:
        terminal.out.print("Every row could be used.")
        return
    terminal.out.print(f"{num_rows} unusable rows:")
    for path, read in found:
        lines: dict[str, list[int]] = {}
        for row in read.unusable:
            lines.setdefault(row.reason, []).append(row.row)
        if lines:
            terminal.out.print(f"  {path.name}")
        for reason, numbers in lines.items():
            word = "line" if len(numbers) == 1 else "lines"
            terminal.out.print(f"    {word} {ranges(numbers)}: {reason}")


def ranges(numbers: list[int]) -> str:
    """Return increasing numbers in words, with ranges.

    Examples
    --------
    >>> ranges([2, 3, 4, 7, 9, 10])
    '2-4, 7, 9-10'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
