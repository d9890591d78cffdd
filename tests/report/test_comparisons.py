"""A person beside the twin: what is drawn is what the numbers say, with the twin's own uncertainty."""

from xml.etree import ElementTree

import numpy as np
import pytest

from dtb.report import comparisons
from dtb.report.style import task_colour


def _label(svg):
    return ElementTree.fromstring(svg).attrib["aria-label"]


@pytest.mark.parametrize("observed", [np.array([]), np.array([np.nan, np.nan]), np.array([0.4])])
def test_people_without_presses_are_drawn_as_such(observed):
    svg = comparisons.rt_distribution(
        "f", observed, np.array([0.5, np.nan]), np.zeros(2, int), colour=task_colour(0), title="t"
    )
    assert ("no presses" in _label(svg)) == (not np.isfinite(observed).any())
    assert 'id="f-band"' not in svg, "one session says nothing of how sessions differ"


def test_sessions_have_a_band():
    rng = np.random.default_rng(0)
    svg = comparisons.rt_distribution(
        "f", rng.gamma(9, 0.1, 50), rng.gamma(9, 0.1, 500), np.arange(500) % 10, colour=task_colour(0), title="t"
    )
    assert 'id="f-band"' in svg
    assert "twin (10 sessions)" in svg


def test_right_answers_carry_the_interval_of_the_sessions():
    simulated = {"congruent": np.linspace(0.0, 1.0, 101)}
    svg = comparisons.right_answers("f", {"congruent": (0.25, 40)}, simulated, colour=task_colour(0), title="t")
    assert "congruent 25%, twin 50% (5% to 95%)" in _label(svg)
    assert "congruent (40)" in svg


def test_a_flat_or_absent_series_makes_no_figure_fail():
    flat = np.full(5, np.nan), np.ones(5), None
    label = _label(comparisons.time_course("f", np.arange(5.0), *flat, colour=task_colour(0), title="t"))
    assert "0 to 4 seconds" in label


@pytest.mark.parametrize(("spread", "wide"), [(None, 0.0), (0.5, 2 * 1.64 * 0.5)])
def test_the_band_of_a_series_is_the_spread_of_performances_or_else_of_the_residuals(spread, wide):
    signal_V = np.tile([-2.0, 2.0], 20)
    spread_V = None if spread is None else np.full(40, 2.0 * spread)
    svg = comparisons.time_course(
        "f", np.arange(40.0), 7.0 * signal_V, signal_V, spread_V, colour=task_colour(0), title="t"
    )
    assert f"is {wide:.2g} wide on average" in _label(svg), "a prediction that errs nowhere leaves nothing over"
