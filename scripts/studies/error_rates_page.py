"""The page about the certificate's error rates, from what came of each cohort.

Shape letters: `N` cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

LEVELS = (0.05, 0.005)
PERSONAL = ("yes", "provisional")
METRICS = {
    "RT CRPS": "reaction times, strangers'",
    "choice log-loss": "choices, strangers'",
    "mean RT partial r": "who is slow",
    "condition effect partial r": "condition effects",
    "own minus others, behaviour": "nearer to the own person",
}
"""Tests of the connectome's use and of what is a person's own, in words of a table's head."""
CONFOUNDED = ("RT CRPS", "choice log-loss", "own minus others, behaviour")
"""What a connectome that carries age, say, is of use for: these tests may pass where only covariates are behind them."""
Row = Mapping[str, Any]


def page(found: Sequence[Row], num_people: int, first_seed: int) -> str:
    """Return the page.

    Parameters
    ----------
    found : sequence of mapping
        What came of each cohort.
    num_people : int
        Of a cohort.
    first_seed : int
    """
    null = [row for row in found if not row["kind"].startswith("true")]
    true = [row for row in found if row["kind"].startswith("true")]
    return TEXT.format(
        num_people=num_people,
        first_seed=first_seed,
        num_null=len(null),
        pooled=_table_of_levels(null),
        kinds=_table_of_kinds(null),
        truths=_table_of_truths(true),
        seconds=np.mean([row["cpu_seconds"] for row in [*null, *true]]) if null else np.nan,
    )


def p_values(rows: Sequence[Row], reader: str, metric: str) -> np.ndarray:
    """Return the p-values (N,) of one test before correction; what was not defined or identical is left out."""
    found = [
        test["p"]
        for row in rows
        for test in row["certificates"].get(reader, {"tests": []})["tests"]
        if test["kind"] != "baseline" and test["metric"] == metric and test["p"] is not None
    ]
    return np.array(found, np.float64)


def _counts(metric: str, kind: str) -> bool:
    """Return whether nothing is behind a test in cohorts of a kind, so that it may pass as often as its level says, no more."""
    return metric not in CONFOUNDED or kind == "plain" or kind.startswith("family")


def share(count: int, total: int) -> str:
    """Return a share in percent with its exact (Clopper and Pearson) interval.

    Examples
    --------
    >>> share(1, 200)
    '0.5 [0.0, 2.8]'
    """
    if not total:
        return "–"
    interval = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{100 * count / total:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _below(rows: Sequence[Row], reader: str, metric: str, level: float) -> str:
    values = p_values([row for row in rows if _counts(metric, row["kind"])], reader, metric)
    return share(int((values < level).sum()), len(values))


def _table_of_levels(null: Sequence[Row]) -> str:
    lines = ["| test | p-values | below .05, % | below .005, % |", "|---|---|---|---|"]
    for metric, words in METRICS.items():
        num = len(p_values([row for row in null if _counts(metric, row["kind"])], "stack", metric))
        cells = [_below(null, "stack", metric, level) for level in LEVELS]
        lines.append(f"| {words} | {num} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _table_of_kinds(null: Sequence[Row]) -> str:
    head = "| behind both | cohorts | called personal, % | a wrong test passed, % | who is slow: p below .05, % | below .005, % |"
    lines = [head, "|---|---|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in null):
        mine = [row for row in null if row["kind"] == kind]
        verdicts = [row["certificates"]["stack"]["verdict"] for row in mine]
        cells = [
            "nothing" if kind == "plain" else kind,
            str(len(mine)),
            share(sum(verdict in PERSONAL for verdict in verdicts), len(mine)),
            share(sum(map(_is_wrong, mine)), len(mine)),
            *(_below(mine, "stack", "mean RT partial r", level) for level in LEVELS),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _is_wrong(row: Row) -> bool:
    """Return whether a certificate has a test with the verdict yes where nothing is behind it."""
    return any(
        test["verdict"] == "yes" and test["kind"] != "baseline" and _counts(test["metric"], row["kind"])
        for test in row["certificates"]["stack"]["tests"]
    )


def _table_of_truths(true: Sequence[Row]) -> str:
    head = "| effect | cohorts | partial r that is reached | called personal, % | who is slow: p below .005, % |"
    lines = [head, "|---|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in true):
        mine = [row for row in true if row["kind"] == kind]
        reached = [
            test["twin"]
            for row in mine
            for test in row["certificates"]["stack"]["tests"]
            if test["metric"] == "mean RT partial r" and test["twin"] is not None
        ]
        called = sum(row["certificates"]["stack"]["verdict"] in PERSONAL for row in mine)
        below = _below(mine, "stack", "mean RT partial r", LEVELS[1])
        cells = [
            kind.removeprefix("true, "),
            str(len(mine)),
            f"{np.mean(reached):.2f}",
            share(called, len(mine)),
            below,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


TEXT = """# How often the certificate is wrong

In {num_null} null cohorts of {num_people} people nothing of a connectome acts on what its person does. Five folds are pooled. In the place
of a twin stands a stack of regressions, fitted without the people that it predicts, in closed form; figures, pooling, permutations,
covariates, families and Holm's correction are the certificate's. Brackets hold exact (Clopper and Pearson) 95% intervals.

Of each kind of third thing there are as many cohorts on few edges as on all. Trained twins were held to the closed form in 60 of these
cohorts (`python -m scripts.studies.trained_beside_closed_form OUT --num-null 40 --num-true 20`: 300 trainings of a twin of 16 units on the
trials themselves, a quarter of the null cohorts of each of four kinds). They are wrong no more often, and find less: what this page says of
a twin is said of the best that a stack can do in its place.

| cohorts | in a twin's place | called personal | p below .05 | p below .005 | mean partial r, who is slow |
|---|---|---|---|---|---|
| 40 null | stack | 0 of 40 | 5 of 70 | 0 of 70 | -0.01 |
| 40 null | trained twin | 0 of 40 | 0 of 80 | 0 of 80 | -0.04 |
| 20 with an effect | stack | 7 of 20 | 14 of 37 | 7 of 37 | 0.28 |
| 20 with an effect | trained twin | 3 of 20 | 10 of 40 | 4 of 40 | 0.23 |

P-values are those of "who is slow" and of condition effects, where a prediction varies; ranks of both readers' go together at .56.

Earlier versions counted pooled p-values too small, because people of one fold train the twin that predicts those of another: among 3,000
null outcomes of 120 people, 1.8% of the p-values of a ridge regression with a fixed penalty lay below .005, and 0.1% do now (1.1 and 0.2%
with a penalty by leave-one-out). Before that, 80 small twins of one fold each had been trained on other cohorts: 20 of 20 with traits
were called personal, and none of 60 without [0, 6%].

## P-values before correction

{pooled}

Where a third thing is behind connectome and behaviour, a connectome that carries it is of use; there only what is tested beyond
covariates counts.

## By what is behind both connectome and behaviour

On few edges (sparse) or on all (dense).

{kinds}

## Where there is an effect

{truths}

Made by `python -m scripts.studies.certificate_error_rates OUT` (cohort seeds from {first_seed} on; {seconds:.1f} s of one core a cohort;
two cores of a shared machine).
"""
