"""The certificate's row on own data: what it says, and that rows stay few."""

import dataclasses

import pytest

from dtb.evaluate.certificate.certificate import Certificate
from dtb.evaluate.certificate.own_data import row_of
from dtb.evaluate.certificate.page import reading_notes, to_html, to_markdown
from dtb.evaluate.certificate.rows import MARKS, first_rows
from dtb.evaluate.certificate.table import ROW_HEADINGS
from dtb.evaluate.living.worth import Worth
from dtb.evaluate.scores.statistics import Estimate


def worth(task: str, gain: tuple[float, float, float], trials=(12.0, 4.0, 25.0)) -> Worth:
    nothing = Estimate(0.0, -0.1, 0.1, 40)
    return Worth(
        task,
        Estimate(*trials, 40),
        40,
        (0, 5, 10, 40),
        ((0.05, 0.06), (0.04, 0.05), (0.035, 0.045), (0.03, 0.03)),
        (nothing, nothing, Estimate(*gain, 40), nothing),
    )


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [((0.01, 0.002, 0.02), "yes"), ((0.01, -0.002, 0.02), "undecided"), ((-0.01, -0.02, -0.001), "no")],
)
def test_the_row_says_what_is_added_after_ten_trials(gain, verdict):
    found, cells = row_of([worth("stroop", gain)], MARKS)
    assert (found, cells[0]) == (verdict, MARKS[verdict])
    assert len(cells) == len(ROW_HEADINGS)
    assert "adds to 10 own trials; a scan is worth 12 trials [4, 25]" in cells[1]
    assert cells[3] == "0.035"
    assert cells[4].startswith("0.045")


def test_of_several_tasks_the_clearest_is_shown():
    some = [worth("one", (0.01, -0.01, 0.03)), worth("other", (0.008, 0.004, 0.012))]
    assert row_of(some, MARKS)[1][2] == "other (yes in 1 of 2 tasks)"


def test_the_page_has_the_row_the_note_and_the_figures():
    empty = Certificate("undecided", "Nothing was tested.", (), ())
    certificate = dataclasses.replace(empty, worths=(worth("stroop", (0.01, 0.002, 0.02)),))
    notes = reading_notes(certificate, confidence=0.95, num_draws=100, num_permutations=100)
    for page in (to_markdown(certificate, notes), to_html(certificate, notes)):
        assert "a scan is worth 12 trials" in page
        assert "before any trial; 0 where they make nothing better" in page
    plain = certificate.to_plain()["worths"][0]
    assert plain["trials"] == [12.0, 4.0, 25.0]
    assert plain["points"][2]["gain"] == [0.01, 0.002, 0.02]
    assert first_rows((), (), ()) == []
