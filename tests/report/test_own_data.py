"""The report's section on own data: what it draws and says of curves, and of a twin that has none."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest

from dtb.report.own_data import LINES, own_data_section

AMOUNTS = {"0": 0, "10": 10, "half a run": 39}
ERROR = {
    "living_twin": 0.03,
    "living_twin_no_connectome": 0.04,
    "living_blend": 0.029,
    "own_mean": 0.05,
    "linear_mix": 0.035,
}


def found(rows: pd.DataFrame, worths=()):
    evaluation = SimpleNamespace(living=rows, certificate={"worths": list(worths)})
    return SimpleNamespace(evaluation=evaluation)


def curve(kind: str = "later", given: str = "stroop", judged: str = "stroop") -> pd.DataFrame:
    rows = [
        (kind, given, judged, amount, number, "mean RT", predictor, metric, error / (1 + number), 0.01, 0.06, 30)
        for amount, number in AMOUNTS.items()
        for predictor, error in ERROR.items()
        for metric in ("CRPS", "R2")
    ]
    names = [
        "kind",
        "given",
        "judged",
        "amount",
        "num_given",
        "figure",
        "predictor",
        "metric",
        "value",
        "lower",
        "upper",
    ]
    return pd.DataFrame(rows, columns=[*names, "num_people"])


def test_a_curve_is_drawn_with_all_lines_and_what_a_scan_is_worth():
    worth = {"task": "stroop", "trials": [12.0, 3.0, 25.0], "most": 40}
    section = own_data_section(found(curve(), [worth]), {"stroop": "#020000"})
    (panel,) = section.panels
    for words in LINES.values():
        assert words in panel.svg
    # The best baseline begins at the linear mix's 35 ms, the twin at 30.
    assert "twin and connectome from 30 to 0.75 ms" in panel.svg
    assert "best baseline from 35 to" in panel.svg
    assert any("A scan is worth 12 own trials of stroop [3, 25]." in words for words in section.words)
    (table,) = section.tables
    assert table.columns == ("predictor", "0", "10", "half a run")


def test_where_nobody_has_a_connectome_there_is_one_twin():
    rows = curve()
    alone = rows["predictor"] == "living_twin_no_connectome"
    rows.loc[alone, "value"] = rows.loc[rows["predictor"] == "living_twin", "value"].to_numpy()
    (panel,) = own_data_section(found(rows), {"stroop": "#020000"}).panels
    assert "twin from 30 to 0.75 ms" in panel.svg
    assert "connectome" not in panel.svg


@pytest.mark.parametrize(
    ("kind", "judged", "words"),
    [("other task", "hammer", "in the other task"), ("next session", "stroop", "in the next session")],
)
def test_other_questions_say_what_was_asked(kind, judged, words):
    section = own_data_section(found(curve(kind, "stroop", judged)), {})
    assert words in section.panels[0].caption
    assert words in section.tables[0].caption


def test_a_twin_without_curves_says_so():
    section = own_data_section(found(pd.DataFrame()), {})
    assert "no person effects" in section.missing[0]
    assert not section.panels
    assert dataclasses.is_dataclass(section)
