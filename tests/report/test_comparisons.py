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


def test_nine_in_ten_sessions_lie_in_the_band_from_end_to_end_and_so_do_sessions_to_come():
    rng = np.random.default_rng(0)
    edges = np.linspace(0, 2, 25)
    curves = np.array([np.histogram(rng.gamma(9, 0.1, 60), edges)[0] for _ in range(600)], dtype=float)
    known, to_come = curves[:300], curves[300:]
    low, high = comparisons.band_of_whole_curves(known, 0.9)

    def share_within(some, low, high):
        return ((some >= low) & (some <= high)).all(axis=1).mean()

    assert 0.9 <= share_within(known, low, high) < 0.95
    assert share_within(to_come, low, high) > 0.8
    assert share_within(known, *np.percentile(known, (5, 95), axis=0)) < 0.6, "pointwise percentiles do not do it"


def test_right_answers_carry_the_interval_of_the_sessions():
    simulated = {"congruent": np.linspace(0.0, 1.0, 101)}
    svg = comparisons.right_answers("f", {"congruent": (0.25, 40)}, simulated, colour=task_colour(0), title="t")
    assert "congruent 25%, twin 50% (5% to 95%)" in _label(svg)
    assert "congruent (40)" in svg


def test_a_flat_or_absent_series_makes_no_figure_fail():
    flat = np.full(5, np.nan), np.ones(5), None
    label = _label(comparisons.time_course("f", np.arange(5.0), *flat, colour=task_colour(0), title="t"))
    assert "0 to 4 seconds" in label


def _time_course(observed_V, predicted_V, spread_V=None):
    seconds_V = np.arange(float(len(observed_V)))
    return _label(
        comparisons.time_course("f", seconds_V, observed_V, predicted_V, spread_V, colour=task_colour(0), title="t")
    )


@pytest.mark.parametrize(("spread", "wide"), [(None, 2 * 1.64 * 6 / 7), (7.0, 2 * 1.64 * 0.5)])
def test_a_series_is_drawn_in_the_units_of_what_was_observed_so_that_a_prediction_too_small_errs(spread, wide):
    signal_V = np.tile([-2.0, 2.0], 20)
    label = _time_course(7.0 * signal_V, signal_V, None if spread is None else np.full(40, spread))
    assert "the prediction's own is 0.14," in label, "a seventh"
    assert f"is {wide:.2g} wide on average" in label


def test_only_a_prediction_that_errs_nowhere_leaves_nothing_over():
    signal_V = np.tile([-2.0, 2.0], 20)
    assert "is 0 wide on average" in _time_course(signal_V, signal_V)
    assert "is 3.3 wide on average" in _time_course(signal_V, signal_V + 2.0), "an offset is an error"
