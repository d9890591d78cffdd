"""Lost trials, counted by reason and by person: a response window that is too short loses slow people's presses first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from dtb.cohort.quality import PersonQuality
from dtb.errors import InputDataError
from dtb.files import write_table

TABLE = "lost_trials.tsv"
MANY = 0.05
"""Whoever lost a larger share of the trials of a task is named on the quality page."""
_SHOWN = 5


def write_lost(folder: Path, people: Sequence[tuple[str, PersonQuality]]) -> None:
    """Write `lost_trials.tsv`: for each run and reason, how many of its trials were lost."""
    rows = [["pseudonym", "task", "label", "session", "run", "reason", "lost", "trials"]]
    for pseudonym, person in people:
        for run in person.runs:
            place = [pseudonym, run.task, run.label, run.session or "n/a", run.run or "n/a"]
            total = run.num_usable + sum(run.lost.values())
            rows += [[*place, reason, str(num), str(total)] for reason, num in sorted(run.lost.items())]
    write_table(folder / TABLE, rows)


def lost_by_reason(people: Sequence[tuple[str, PersonQuality]]) -> list[tuple[str, str, int, int, str]]:
    """Return, by task and reason, how many trials were lost, of how many people, and who lost how many most; the commonest first."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for pseudonym, person in people:
        for run in person.runs:
            for reason, num in run.lost.items():
                found[run.task, reason][pseudonym] += num
    rows = []
    for (task, reason), by_person in found.items():
        ((who, most),) = by_person.most_common(1)
        rows.append((task, reason, by_person.total(), len(by_person), f"{most} of {who}"))
    return sorted(rows, key=lambda row: -row[2])


def who_lost_many(people: Sequence[tuple[str, PersonQuality]]) -> list[tuple[str, str, int, int, str]]:
    """Return who lost more than `MANY` of the trials of a task, the task, how many of how many, and the commonest reason.

    Largest shares come first. Nobody who was set aside is among them.
    """
    rows = []
    for pseudonym, person in people:
        for task in () if person.set_aside else dict.fromkeys(run.task for run in person.runs):
            runs = [run for run in person.runs if run.task == task]
            lost = sum((Counter(run.lost) for run in runs), Counter[str]())
            total = lost.total() + sum(run.num_usable for run in runs)
            if lost.total() > MANY * total:
                rows.append((pseudonym, task, lost.total(), total, lost.most_common(1)[0][0]))
    return sorted(rows, key=lambda row: -row[2] / row[3])


def refuse_if_slow_are_cut(people: Sequence[tuple[str, PersonQuality]], limit: float, out: Path) -> None:
    """Stop where anybody lost more than a share of the presses of a task because they came after the response window.

    Raises
    ------
    InputDataError
        It names those who lost most.
    """
    late: Counter[tuple[str, str]] = Counter()
    presses: Counter[tuple[str, str]] = Counter()
    for pseudonym, person in people:
        for run in person.runs:
            late[pseudonym, run.task] += run.num_late
            presses[pseudonym, run.task] += run.num_late + run.num_presses
    cut = sorted((late[key] / presses[key], key) for key in late if late[key] > limit * presses[key])[::-1]
    if not cut:
        return
    listed = "\n".join(
        f"  {task}, {who}: {late[who, task]} of {presses[who, task]} presses" for _, (who, task) in cut[:_SHOWN]
    )
    raise InputDataError(
        f"{len({who for _, (who, _) in cut})} people lost more than ingest.max_late_fraction {limit:g} of their presses in a task because "
        f"these came after the response window. Such a window cuts slow people, and moves their mean. Make `trials.window` of the task's "
        f"specification longer (it may reach beyond the next onset), or raise ingest.max_late_fraction. {out / TABLE} counts them all; "
        f"most lost:\n{listed}"
    )
