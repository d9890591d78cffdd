"""Conditioning and learning of a Gaussian over figures that are seen with noise, against closed forms."""

import numpy as np
import pytest

from dtb.evaluate.living.gaussian import Gaussian, fitted

COVARIANCE = np.array([[1.0, 0.6, 0.2], [0.6, 2.0, -0.3], [0.2, -0.3, 0.5]])
MEAN = np.array([1.0, -1.0, 0.5])


def test_conditioning_is_that_of_the_joint_normal_law():
    seen_F, noise_F = np.array([2.0, np.nan, 0.0]), np.array([0.5, np.nan, 0.1])
    mean_SF, covariance_SFF = Gaussian(MEAN, COVARIANCE).condition(seen_F[None], noise_F[None])
    known = [0, 2]
    gain = COVARIANCE[:, known] @ np.linalg.inv(COVARIANCE[np.ix_(known, known)] + np.diag(noise_F[known]))
    assert mean_SF[0] == pytest.approx(MEAN + gain @ (seen_F[known] - MEAN[known]), abs=1e-6)
    assert covariance_SFF[0] == pytest.approx(COVARIANCE - gain @ COVARIANCE[known], abs=1e-6)


def test_one_figure_after_many_trials_is_the_own_mean_and_after_none_the_groups():
    one = Gaussian(np.array([1.0]), np.array([[0.04]]))
    seen_SF = np.array([[1.7], [1.7], [np.nan]])
    mean_SF, covariance_SFF = one.condition(seen_SF, np.array([[1e-9], [0.04], [np.nan]]))
    assert mean_SF[:, 0] == pytest.approx([1.7, 1.35, 1.0], abs=1e-6)
    assert covariance_SFF[:, 0, 0] == pytest.approx([0.0, 0.02, 0.04], abs=1e-6)


def test_what_is_learnt_from_noisy_figures_is_the_law_of_the_true_ones():
    rng = np.random.default_rng(0)
    noise_SF = rng.uniform(0.2, 2.0, (4000, 3))
    seen_SF = rng.multivariate_normal(MEAN, COVARIANCE, 4000) + rng.normal(0, np.sqrt(noise_SF))
    seen_SF[rng.random(seen_SF.shape) < 0.2] = np.nan
    found = fitted(seen_SF, noise_SF)
    assert found.mean_F == pytest.approx(MEAN, abs=0.1)
    assert found.covariance_FF == pytest.approx(COVARIANCE, abs=0.15)


def test_shrinkage_draws_together_only_figures_of_one_group():
    rng = np.random.default_rng(1)
    seen_SF, noise_SF = rng.multivariate_normal(MEAN, COVARIANCE, 200), np.zeros((200, 3))
    free, drawn = fitted(seen_SF, noise_SF), fitted(seen_SF, noise_SF, 200.0, np.array([0, 0, 1]))
    assert drawn.covariance_FF[0, 1] == pytest.approx(free.covariance_FF[0, 1], rel=1e-3)
    assert drawn.covariance_FF[0, 2] == pytest.approx(free.covariance_FF[0, 2] / 2, rel=1e-3)


@pytest.mark.filterwarnings("error")
def test_of_nobody_nothing_is_learnt_and_nothing_said():
    nobody = fitted(np.zeros((0, 2)), np.zeros((0, 2)))
    mean_SF, covariance_SFF = nobody.condition(np.ones((3, 2)), np.ones((3, 2)))
    assert np.isnan(mean_SF).all()
    assert np.isnan(covariance_SFF).all()
