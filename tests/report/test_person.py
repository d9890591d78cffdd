"""A person's page shows the connectome in the units it has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dtb.evaluate.scores.coverage import half_width
from dtb.people.records import SubjectRecord
from dtb.report import figures
from dtb.report.example_person import _connectome_panels
from dtb.report.person_page import _of_band
from dtb.report.style import task_colour
from dtb.shards.manifest import CohortDescription


@pytest.mark.parametrize(
    ("made", "quantity", "largest"),
    [
        ({"kind": "pearson", "scale": "fisher_z"}, "correlation from", "0.995"),
        ({"kind": "partial", "scale": "fisher_z"}, "partial correlation from", "0.995"),
        ({"kind": "precomputed", "scale": "log of 1 + value"}, "connection, log of 1 + value from", "3"),
    ],
)
def test_a_connectome_is_shown_in_its_units(made, quantity, largest):
    record = SubjectRecord("p1", np.array([3.0, 0.5, np.nan, 0.1, np.nan, np.nan], np.float32), {}, ())
    (panel,) = _connectome_panels(record, CohortDescription(("a", "b", "c", "d"), {"specs": []}, made, "0" * 64), None)
    shown = " ".join(str(panel).split())
    assert quantity in shown
    assert f"to {largest}" in shown
    assert "1 regions are absent" in shown


def test_the_band_about_a_twin_is_drawn_and_counted_as_it_is():
    label = str(
        figures.standing(
            "f", np.array([0.6, 0.9]), 0.7, 0.8, colour=task_colour(0), title="t", quantity="q", reach=0.125
        )
    )
    assert "their twin 0.8 (band 0.675 to 0.925)" in label
    assert 'id="f-band"' in label
    without = str(figures.standing("f", np.array([0.6]), 0.7, 0.8, colour=task_colour(0), title="t", quantity="q"))
    assert "band" not in without
    assert "it held 2 of 3" in _of_band(pd.Series([0.1, -0.05, np.nan, 0.2]), 0.1)


def test_bands_on_pages_hold_85_to_95_of_a_hundred_unseen_people_of_a_cohort_that_is_known():
    """People's true speeds differ from what their twins say by a known law; twins' own sessions differ by less."""
    rng, held, in_sessions = np.random.default_rng(0), [], []
    for _ in range(300):
        error_S, sessions = 0.08 * rng.standard_t(6, 80), 0.3 / np.sqrt(60)
        held.append(np.mean(np.abs(error_S[40:]) <= half_width(error_S[:40], 0.9)))
        in_sessions.append(np.mean(np.abs(error_S[40:]) <= 1.645 * sessions))
    assert 0.85 < np.mean(held) < 0.95
    assert np.mean(in_sessions) < 0.7
