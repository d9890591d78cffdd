"""What the page says of a search is what was asked of it."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from dtb.config import InterveneConfig, to_plain
from dtb.report.interventions import _indicators_table, _setting_words


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (InterveneConfig(budget=0.05), "held to 0.05 times the norm of the person's own connectome and within"),
        (
            InterveneConfig(budget=0.5, budget_unit="retest_sd"),
            "held to 0.5 times the norm of what a second scan would change",
        ),
        (InterveneConfig(max_distance=1.25), "no farther from the cohort's mean than 1.25 standard deviations"),
        (InterveneConfig(space="sparse", max_edges=7), "at most 7 edges were changed"),
    ],
)
def test_the_bounds_of_a_change_are_told_in_their_units(settings: InterveneConfig, words: str) -> None:
    stage = SimpleNamespace(settings={"intervene": to_plain(settings)})
    (told,) = _setting_words(SimpleNamespace(stages={"intervene": stage}))  # type: ignore[arg-type]
    assert words in told


def test_the_regions_of_a_network_that_is_to_change_are_not_listed_as_what_should_stay() -> None:
    common = {"indicator": "bold_contrast", "task": "hammer", "unit": "SD of BOLD", "spread": 1.0}
    moved = {"before": 0.0, "after": 1.0, "random_after": 0.1}
    rows = [
        {"region": "network Vis", "is_target": True, "is_wanted": True},
        {"region": "Vis_1", "is_target": False, "is_wanted": True},
        {"region": "Lim_1", "is_target": False, "is_wanted": False},
    ]
    table = _indicators_table(pd.DataFrame([common | moved | row for row in rows]))
    assert [(cells[0].split(", ")[1], cells[1]) for cells in table.rows] == [
        ("network Vis (SD of BOLD)", "wanted"),
        ("Lim_1 (SD of BOLD)", "should stay"),
    ]
