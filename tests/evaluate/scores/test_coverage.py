"""Bands that claim to hold people do: nine in ten of the unseen lie within what says nine in ten."""

import dataclasses

import numpy as np

from dtb.evaluate.scores.coverage import LEVELS, coverage_figures, half_width
from dtb.evaluate.scores.figure import TWIN
from tests.evaluate.certificate.test_certify import evidence, shifted_group  # noqa: F401


def test_bands_hold_their_share_of_unseen_people_whatever_the_law_of_errors():
    rng = np.random.default_rng(0)
    for draw in (rng.standard_normal, lambda n: rng.standard_t(3, n), lambda n: rng.exponential(1, n) - 1):
        for level in LEVELS:
            held = [np.mean(np.abs(draw(50)) <= half_width(draw(40), level)) for _ in range(400)]
            assert abs(np.mean(held) - level) < 0.03
    # The spread of a person's trials, over the root of their number, holds far fewer people than it says.
    people_S, trials_SJ = 0.1 * rng.standard_normal(400), 0.3 * rng.standard_normal((400, 60))
    mean_S = people_S + trials_SJ.mean(axis=1)
    assert np.mean(np.abs(mean_S) <= 1.645 * 0.3 / 60**0.5) < 0.7
    assert np.isnan(half_width(np.zeros(5), 0.9))


def test_coverage_is_a_row(evidence):  # noqa: F811
    twin = shifted_group(evidence, np.zeros(len(evidence.people)))
    error_S = (evidence.observed.mean_rt_ST - twin.summary.mean_rt_ST)[:, 0]
    errors_VT = error_S[:, None]
    predictions = {**evidence.predictions, TWIN: twin}
    told = dataclasses.replace(evidence, predictions=predictions, validation_error_VT=errors_VT)
    rows = coverage_figures(told, 0)
    assert [row.metric for row in rows] == [f"people within the {level:.0%} band" for level in LEVELS]
    for row, level in zip(rows, LEVELS, strict=True):
        reach = half_width(errors_VT[:, 0], level)
        assert row.twin.value == np.mean(np.abs(error_S) <= reach)
        assert abs(row.twin.value - level) < 0.05
        assert row.baselines == {}
    assert coverage_figures(dataclasses.replace(told, validation_error_VT=None), 0) == []
