"""What people tell of a living twin's figures: what all share moves them, what people change by widens them, and few people say little."""

import numpy as np
import pytest

from dtb.evaluate.living.baselines import Said
from dtb.evaluate.living.blend import change_of, level_of, moved, widened


def said(variance, num_people=2000):
    return Said(np.zeros((num_people, 1)), np.full((num_people, 1), variance))


def test_a_change_of_people_is_found_however_little_their_trials_leave_open():
    rng, changed_V1 = np.random.default_rng(0), 3.0
    surprise = rng.standard_normal((2000, 1)) * np.sqrt(changed_V1)
    points = []
    for variance in (8.0, 2.0, 0.1):
        apart_V1 = rng.standard_normal((2000, 1)) * np.sqrt(variance)
        points.append(Said(apart_V1, np.full((2000, 1), variance)))
    assert change_of(surprise, points) == pytest.approx([changed_V1], rel=0.1)
    within = [
        np.mean(np.abs(surprise - one.mean_QY) < 1.645 * np.sqrt(widened(one, np.full(1, 3.0)).variance_QY))
        for one in points
    ]
    assert within == pytest.approx([0.9] * 3, abs=0.02)


def test_an_error_that_all_share_moves_figures_and_one_that_may_be_chance_does_not():
    rng = np.random.default_rng(0)
    error_VY = np.stack([3.0 + rng.standard_normal(500), rng.standard_normal(500) - 0.0], axis=1)
    error_VY[:, 1] -= error_VY[:, 1].mean()
    assert level_of(error_VY) == pytest.approx([3.0, 0.0], abs=0.15)
    assert moved(said(1.0), np.array([3.0])).mean_QY == pytest.approx(3.0)
    nobody = np.full((4, 2), np.nan)
    assert level_of(nobody).tolist() == [0.0, 0.0]
    nobody[0] = 5.0
    assert level_of(nobody).tolist() == [0.0, 0.0]


def test_drawing_towards_nothing_costs_less_than_a_plain_mean_where_there_is_nothing():
    rng = np.random.default_rng(1)
    many = [rng.standard_normal((20, 1)) for _ in range(400)]
    plain, drawn = (
        np.mean([float(each[0] ** 2) for each in found])
        for found in ([one.mean(axis=0) for one in many], [level_of(one) for one in many])
    )
    assert drawn < 0.7 * plain


def test_people_who_do_not_change_and_nobody_at_all_add_nothing():
    did_VY = np.random.default_rng(0).standard_normal((2000, 1))
    assert change_of(did_VY, [said(1.0), said(1.0)]) == pytest.approx([0.0], abs=0.05)
    assert change_of(np.zeros((0, 1)), [said(1.0, num_people=0)]) == [0.0]
    assert change_of(np.full((5, 1), np.nan), [said(1.0, num_people=5)]) == [0.0]


def test_few_people_say_little():
    few, many = (change_of(np.full((count, 1), 2.0), [said(1.0, num_people=count)]) for count in (10, 1000))
    assert many == pytest.approx([3.0], rel=0.1)
    assert few == pytest.approx(many / 2, rel=0.02)


def test_single_trials_are_left_as_they_are():
    one = Said(np.zeros((2, 1)), np.ones((2, 1)), np.arange(3.0), np.arange(3.0), np.ones((3, 2)))
    other = widened(one, np.full(1, 4.0))
    assert other.variance_QY.tolist() == [[5.0], [5.0]]
    assert other.mean_QY is one.mean_QY
    assert other.crps_J is one.crps_J
    assert other.outcome_JO is one.outcome_JO
