"""The table of a certificate's tests: one set of columns and one way to write each cell, for the certificate's pages and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtb.evaluate.scores.figure import share_in_words

HEADINGS = (
    "claim",
    "verdict",
    "task",
    "figure",
    "twin",
    "of what is possible",
    "compared with",
    "gain",
    "best baseline",
    "people",
    "p",
    "what would decide",
)
ROW_HEADINGS = ("", "asked", "task", "twin", "best baseline", "ceiling", "gain and its interval")
ROW_NUMBERS = frozenset({"twin", "ceiling", "gain and its interval"})
"""Of the few rows that a certificate begins with."""
NUMBERS = frozenset({"twin", "of what is possible", "gain", "people", "p"})
"""Headings of the columns that hold numbers."""


def cells(test: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a test as a row of the table, a cell for each of `HEADINGS`.

    Parameters
    ----------
    test : mapping
        As `CertificateTest.to_plain` makes it and `certificate.json` holds it.

    Examples
    --------
    >>> test = {"claim": "c", "verdict": "no", "task": "t", "metric": "m", "twin": 0.5, "against": "ridge", "against_value": 0.75}
    >>> cells(test | {"gain": -0.25, "gain_lower": -0.5, "gain_upper": -0.1, "best": "", "n": 30, "p_corrected": 1.0, "needs": ""})
    ('c', 'no', 't', 'm', '0.500', '–', 'ridge: 0.750', '−0.250 [−0.500, −0.100]', '–', '30', '1.000', '')
    """
    against, lower, upper = test.get("against_value"), test.get("gain_lower"), test.get("gain_upper")
    interval = "" if lower is None or upper is None else f" [{number(lower)}, {number(upper)}]"
    return (
        str(test["claim"]),
        str(test["verdict"]),
        str(test["task"]),
        str(test["metric"]),
        number(test.get("twin")),
        share_in_words(test.get("share"), is_loss=bool(test.get("is_loss"))),
        str(test["against"]) + ("" if against is None else f": {number(against)}"),
        number(test.get("gain"), "+") + interval,
        f"{test['best']}: {number(test.get('best_value'))}" if test.get("best") else "–",
        str(test.get("n", "")),
        _p(test.get("p_corrected")),
        str(test.get("needs") or ""),
    )


def number(value: float | None, sign: str = "") -> str:
    """Return a figure with three decimals, or a dash where there is none."""
    return "–" if value is None else f"{value + 0.0:{sign}.3f}".replace("-", "−")


def _p(value: float | None) -> str:
    return "–" if value is None else "< .001" if value < 0.001 else f"{value:.3f}"
