"""What validation people tell of a living twin: a level that is wrong for all is not taken for width, and few people move little."""

import numpy as np
import pytest

from dtb.evaluate.living.baselines import Said
from dtb.evaluate.living.blend import calibrated, shift_of, variance_scale_of


def said(mean, num_people=500, variance=1.0):
    return Said(np.full((num_people, 1), mean), np.full((num_people, 1), variance))


def test_an_error_that_all_share_moves_the_figures_and_widens_nothing():
    did_VY = 3.0 + np.random.default_rng(0).standard_normal((500, 1))
    points = [said(0.0), said(0.0)]
    shift_Y = shift_of(did_VY, points)
    assert shift_Y == pytest.approx([3.0], abs=0.15)
    moved = [calibrated(each, shift_Y, np.ones(1)) for each in points]
    assert variance_scale_of(did_VY, points) == pytest.approx([10.0], abs=0.6)
    assert variance_scale_of(did_VY, moved) == pytest.approx([1.0], abs=0.15)


def test_nobody_moves_nothing_and_few_move_little():
    nobody = said(1.0, num_people=0)
    assert shift_of(np.zeros((0, 1)), [nobody]) == [0.0]
    assert variance_scale_of(np.zeros((0, 1)), [nobody]) == [1.0]
    assert shift_of(np.zeros((2, 1)), [said(1.0, num_people=2)]) == pytest.approx([-1 / 6])
    unknown_VY = np.array([[np.nan], [0.0]])
    assert shift_of(unknown_VY, [said(1.0, num_people=2)]) == pytest.approx([-1 / 11])


def test_single_trials_are_left_as_they_are():
    one = Said(np.zeros((2, 1)), np.ones((2, 1)), np.arange(3.0), np.arange(3.0), np.ones((3, 2)))
    other = calibrated(one, np.ones(1), np.full(1, 4.0))
    assert other.mean_QY.tolist() == [[1.0], [1.0]]
    assert other.variance_QY.tolist() == [[4.0], [4.0]]
    assert other.crps_J is one.crps_J
    assert other.outcome_JO is one.outcome_JO
