"""The answers in a line: they promise no more than the pages behind them."""

from __future__ import annotations

import pandas as pd
import pytest

from dtb.report.answers import _doubt


@pytest.mark.parametrize(
    ("abstained", "said"),
    [
        ([False, False], ""),
        ([True, False], " It abstains from 1 of 2 people."),
        ([True, True], " It abstains from everybody: do not rely on it."),
    ],
)
def test_what_a_search_moves_is_not_told_without_whom_it_abstains_from(abstained: list[bool], said: str) -> None:
    assert _doubt(pd.DataFrame({"abstained": abstained})) == said
