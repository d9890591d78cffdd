"""d' and the chance level of pressing, by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from dtb.tasks.detection import chance_of_right, d_prime


def test_d_prime_has_half_a_trial_more_of_each_count():
    wanted = norm.ppf(45.5 / 51) - norm.ppf(3.5 / 11)
    assert float(d_prime(45, 50, 3, 10)) == pytest.approx(wanted)
    assert np.isfinite(d_prime([50, 0], 50, [0, 10], 10)).all()
    assert float(d_prime(50, 50, 0, 10)) == pytest.approx(-float(d_prime(0, 50, 10, 10)))
    assert float(d_prime(25, 50, 5, 10)) == pytest.approx(0.0)
    assert np.isnan(d_prime([5, 5], [10, 0], [0, 0], [0, 10])).all()


def test_chance_is_what_pressing_as_often_without_looking_reaches():
    rng = np.random.default_rng(0)
    go_J = np.arange(1000) % 10 > 0
    press_J = rng.random(1000) < 0.8
    shuffled = np.mean([np.mean(rng.permutation(press_J) == go_J) for _ in range(2000)])
    assert chance_of_right(press_J, go_J) == pytest.approx(shuffled, abs=2e-3)
    assert chance_of_right([True] * 10, [True] * 9 + [False]) == pytest.approx(0.9)
