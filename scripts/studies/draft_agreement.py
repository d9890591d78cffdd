"""How far drafted task files agree with those that people wrote for the same events, trial by trial.

    python scripts/studies/draft_agreement.py TASK.yaml EVENTS.tsv ...

Two specifications read a file alike if the same rows are usable trials, the same of them have a press, at the same reaction time, and the
presses fall into the same alternatives, whatever these are called.
"""

from __future__ import annotations

import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dtb.tasks.draft import draft_of
from dtb.tasks.read import EventsRead, read_trials
from dtb.tasks.spec import TaskSpec, load_task, task_from_mapping
from dtb.tasks.tables import read_tsv


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Counts over the rows of some files, by a person's specification and by the draft.

    Attributes
    ----------
    rows, trials, presses, omissions : int
        Rows, and what the person's specification makes of them.
    same_trials, same_presses, same_omissions : int
        Of these, those that the draft reads as the same.
    more_trials : int
        Rows that are usable for the draft alone.
    same_alternative : int
        Presses whose alternative the draft has too, under whatever name.
    scored, same_right : int
        Trials with a right answer, and those of them of which the draft says the same about the press: right or wrong.
    """

    rows: int
    trials: int
    presses: int
    omissions: int
    same_trials: int
    same_presses: int
    same_omissions: int
    more_trials: int
    same_alternative: int
    scored: int
    same_right: int


def agreement(written: TaskSpec, drafted: TaskSpec, files: Sequence[Path]) -> Agreement:
    """Return how far two specifications read some events files alike."""
    counts: collections.Counter[str] = collections.Counter()
    pairs: collections.Counter[tuple[tuple[bool, ...], tuple[bool, ...]]] = collections.Counter()
    for path in files:
        ours, theirs = _by_line(read_trials(written, path)), _by_line(read_trials(drafted, path))
        counts["rows"] += read_tsv(path).num_rows
        for line in {*ours, *theirs}:
            one, two = ours.get(line), theirs.get(line)
            if one is None:
                counts["more_trials"] += 1
                continue
            kind = "omissions" if one.rt is None else "presses"
            counts["trials"] += 1
            counts[kind] += 1
            counts["scored"] += one.right is not None
            if two is None:
                continue
            counts["same_trials"] += 1
            same = (one.rt is None) == (two.rt is None) and (one.rt is None or bool(np.isclose(one.rt, two.rt or 0.0)))
            counts[f"same_{kind}"] += same
            counts["same_right"] += one.right is not None and one.right == two.right
            if kind == "presses" and same:
                pairs[one.response, two.response] += 1
    best = collections.defaultdict(int)
    for (_, theirs_pressed), count in pairs.items():
        best[theirs_pressed] = max(best[theirs_pressed], count)
    counts["same_alternative"] = sum(best.values())
    return Agreement(**{field.name: counts[field.name] for field in dataclasses.fields(Agreement)})


@dataclasses.dataclass(frozen=True)
class _Trial:
    rt: float | None
    response: tuple[bool, ...]
    right: bool | None


def _by_line(read: EventsRead) -> dict[int, _Trial]:
    trials = read.trials
    return {
        int(line): _Trial(
            float(trials.rt_seconds_J[place]) if np.isfinite(trials.rt_seconds_J[place]) else None,
            tuple(trials.response_JA[place].tolist()),
            bool(trials.right_J[place]) if trials.scored_J[place] else None,
        )
        for place, line in enumerate(read.line_J)
        if trials.usable_J[place]
    }


def main(arguments: list[str]) -> None:
    """Print a row of the table in docs/tasks.md."""
    written, files = load_task(arguments[0]), [Path(each) for each in arguments[1:]]
    draft = draft_of([read_tsv(path) for path in files], written.matches[0])
    found = agreement(written, task_from_mapping(draft.values, "the draft"), files)
    shares = [
        f"{same} of {all_}" if same != all_ else f"all {all_}"
        for same, all_ in (
            (found.same_trials, found.trials),
            (found.same_presses, found.presses),
            (found.same_omissions, found.omissions),
            (found.same_alternative, found.same_presses),
            (found.same_right, found.scored),
        )
    ]
    print(f"| `{written.name}` | {len(files)} | {' | '.join(shares)} | {found.more_trials} |")


if __name__ == "__main__":
    main(sys.argv[1:])
