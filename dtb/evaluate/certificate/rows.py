"""The few rows that a certificate begins with; every test is behind them.

There are seven questions, and each has one row, whatever the number of tasks: of those that ask it, the task that comes nearest to a yes.
Its p is corrected for all of them, and the row says of how many tasks how many say yes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dtb.evaluate.certificate.certificate import CertificateTest, Verdict
from dtb.evaluate.certificate.table import number
from dtb.evaluate.scores.figure import number_or_none

MARKS: dict[Verdict, str] = {"yes": "✓ yes", "no": "✗ no", "undecided": "? undecided"}
ROW_HEADINGS = ("", "asked", "task", "twin", "best baseline", "ceiling", "gain and its interval")
ROW_NUMBERS = frozenset({"twin", "ceiling", "gain and its interval"})
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
assert len(_ASKED) <= MOST_ROWS


def first_rows(tests: Sequence[CertificateTest]) -> list[tuple[CertificateTest, tuple[str, ...]]]:
    """Return the test of each of at most seven rows, and the row's cells, one for each of `ROW_HEADINGS`."""
    found = []
    for (kind, metric), asked in _ASKED.items():
        mine = [test for test in tests if (test.kind, test.metric) == (kind, metric)]
        if not mine:
            continue
        nearest = min(mine, key=lambda test: test.p_corrected if math.isfinite(test.p_corrected) else math.inf)
        found.append((nearest, _cells(nearest, asked, mine)))
    return found


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
