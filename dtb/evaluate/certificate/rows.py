"""The few rows that a certificate begins with; every test is behind them.

Each question has one row, whatever the number of tasks: of those that ask it, the task that comes nearest to a yes. Its p is corrected for
all of them, and the row says of how many tasks how many say yes. The last rows are no tests. One says what a connectome adds to own trials
of people (`dtb.evaluate.certificate.own_data`). The other says how many unseen people lie within the bands that claim to hold half, eight
and nine tenths of them, in the task in which the last is furthest from what it claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dtb.evaluate.certificate.certificate import CertificateTest, Verdict
from dtb.evaluate.certificate.own_data import row_of
from dtb.evaluate.certificate.table import number
from dtb.evaluate.living.worth import Worth
from dtb.evaluate.scores.coverage import LEVELS, Coverage
from dtb.evaluate.scores.figure import number_or_none

MARKS: dict[Verdict, str] = {"yes": "✓ yes", "no": "✗ no", "undecided": "? undecided"}
MOST_ROWS = 7
_ASKED = {
    ("connectome", "RT CRPS"): "reaction times: own connectome against strangers'",
    ("connectome", "choice log-loss"): "choices: own connectome against strangers'",
    ("person", "mean RT partial r"): "who is slow, beyond covariates",
    ("person", "condition effect partial r"): "whose condition effect is large, beyond covariates",
    ("person", "BOLD map partial r"): "what is particular to a BOLD map, beyond covariates",
    ("baseline", "RT CRPS"): "reaction times: against the best baseline",
    ("baseline", "mean RT r"): "who is slow: against the best baseline",
}


def first_rows(
    tests: Sequence[CertificateTest], coverage: Sequence[Coverage] = (), worths: Sequence[Worth] = ()
) -> list[tuple[Verdict, tuple[str, ...]]]:
    """Return the verdict of each of at most seven rows, and the row's cells, one for each of `ROW_HEADINGS`."""
    found: list[tuple[Verdict, tuple[str, ...]]] = []
    for (kind, metric), asked in _ASKED.items():
        mine = [test for test in tests if (test.kind, test.metric) == (kind, metric)]
        if not mine:
            continue
        nearest = min(mine, key=lambda test: test.p_corrected if math.isfinite(test.p_corrected) else math.inf)
        found.append((nearest.verdict, _cells(nearest, asked, mine)))
    further = [row_of(worths, MARKS)] if worths else []
    further += [_of_coverage(coverage)] if coverage else []
    return found[: MOST_ROWS - len(further)] + further


def _of_coverage(coverage: Sequence[Coverage]) -> tuple[Verdict, tuple[str, ...]]:
    worst = max(coverage, key=lambda each: (each.level == LEVELS[-1], abs(each.share - each.level)))
    mine = [each for each in coverage if each.task == worst.task]
    verdict: Verdict = "yes" if all(each.is_kept for each in mine) else "no"
    first = ", ".join(f"{each.level:.0%}" for each in mine[:-1])
    levels = " and ".join([*filter(None, [first]), f"{mine[-1].level:.0%}"])
    shares = ", ".join(f"{each.share:.0%}" for each in mine)
    held = f"{worst.share:.0%} [{worst.lower:.0%}, {worst.upper:.0%}] within {worst.level:.0%}"
    return verdict, (MARKS[verdict], f"unseen people within the bands of {levels}", worst.task, shares, "–", "–", held)


def _cells(test: CertificateTest, asked: str, all_tasks: Sequence[CertificateTest]) -> tuple[str, ...]:
    num_tasks, num_yes = len({each.task for each in all_tasks}), sum(each.verdict == "yes" for each in all_tasks)
    gain = [number(number_or_none(each), "+") for each in (test.gain.value, test.gain.lower, test.gain.upper)]
    return (
        MARKS[test.verdict],
        asked,
        test.task if num_tasks == 1 else f"{test.task} (yes in {num_yes} of {num_tasks} tasks)",
        number(number_or_none(test.twin)),
        f"{number(test.best_value)} ({test.best})" if test.best else "–",
        number(test.ceiling),
        f"{gain[0]} [{gain[1]}, {gain[2]}]",
    )
