"""What is chosen among training people is chosen without their relatives: penalties, widths, thresholds, and the folds of all of them."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_kernels

from dtb.evaluate.predictors import regressions as fits
from dtb.evaluate.predictors.leave_out import balanced_folds, ridge_in_kernel


def pairs_of_twins(rng, num_pairs=60, num_edges=200):
    """Make twins who share their connectome and their speed, of which the connectome says nothing but who is whose twin."""
    edges_FE, speed_F = rng.normal(size=(num_pairs, num_edges)), rng.normal(size=num_pairs)
    edges_SE = np.repeat(edges_FE, 2, axis=0) + 0.1 * rng.normal(size=(2 * num_pairs, num_edges))
    return edges_SE, np.repeat(speed_F, 2)[:, None] + 0.1 * rng.normal(size=(2 * num_pairs, 1))


def test_the_error_of_families_left_out_is_that_of_fits_without_them():
    rng = np.random.default_rng(0)
    features_SE, targets_SY = rng.normal(size=(30, 50)), rng.normal(size=(30, 2)) + 4
    family_S = np.repeat(np.arange(14), [1, 2, 3, 2, 1, 4, 1, 2, 2, 3, 2, 2, 3, 2])[rng.permutation(30)]
    penalties = np.array([3.0, 40.0, 500.0])
    errors_PY = np.zeros((3, 2))
    for place, penalty in enumerate(penalties):
        for family in np.unique(family_S):
            mine_S = family_S == family
            model = Ridge(alpha=penalty).fit(features_SE[~mine_S], targets_SY[~mine_S])
            errors_PY[place] += ((model.predict(features_SE[mine_S]) - targets_SY[mine_S]) ** 2).sum(axis=0)
    new_QE = rng.normal(size=(4, 50))
    kernel_SS, kernel_QS = features_SE @ features_SE.T, new_QE @ features_SE.T
    said_QY, error_Y = ridge_in_kernel(kernel_SS, kernel_QS, targets_SY, penalties, family_S)
    np.testing.assert_allclose(error_Y, errors_PY.min(axis=0), rtol=1e-8)
    for column, place in enumerate(errors_PY.argmin(axis=0)):
        wanted_Q = Ridge(alpha=penalties[place]).fit(features_SE, targets_SY[:, column]).predict(new_QE)
        np.testing.assert_allclose(said_QY[:, column], wanted_Q, rtol=1e-8)


@pytest.mark.parametrize("name", ["ridge", "kernel_ridge", "latents_quadratic"])
def test_a_sister_in_training_is_no_reason_to_trust_a_connectome(name):
    """What is said of strangers varies where twins are taken for strangers, and hardly where they are known as twins."""
    fit = next(one.fit for one in fits.REGRESSIONS if one.name == name)
    spread = {"known": [], "unknown": []}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        edges_SE, targets_SY = pairs_of_twins(rng)
        strangers_QE, pair_S = rng.normal(size=(40, 200)), np.repeat(np.arange(60), 2)
        for word, family_S in (("known", pair_S), ("unknown", np.arange(120))):
            spread[word].append(float(fit(edges_SE, strangers_QE, targets_SY, family_S).std()))
    assert np.mean(spread["known"]) < 0.6 * np.mean(spread["unknown"])


def test_no_threshold_of_edges_is_chosen_by_twins_of_those_fitted_to(monkeypatch):
    edges_SE, targets_SY = pairs_of_twins(np.random.default_rng(0))
    nearest, plain = [], fits._cpm_at_each_p

    def watched(fit_SE, rest_SE, some_SY):
        nearest.append(np.sqrt(((fit_SE[:, None] - rest_SE) ** 2).mean(axis=2)).min())
        return plain(fit_SE, rest_SE, some_SY)

    monkeypatch.setattr(fits, "_cpm_at_each_p", watched)
    fits._cpm(edges_SE, edges_SE[:3] + 5, targets_SY, np.repeat(np.arange(60), 2))
    assert len(nearest) == 6
    assert min(nearest) > 1.0  # twins are .14 apart


def test_folds_are_of_one_size_and_divide_no_family():
    family_S = np.random.default_rng(1).integers(0, 40, 120)
    fold_S = balanced_folds(family_S)
    assert all(len(set(fold_S[family_S == family])) == 1 for family in np.unique(family_S))
    assert np.ptp(np.bincount(fold_S)) <= np.bincount(family_S).max()
    np.testing.assert_array_equal(balanced_folds(family_S + 7), fold_S)


def test_an_unpenalised_mean_makes_shifts_of_kernel_and_target_harmless():
    rng = np.random.default_rng(2)
    features_SE, new_QE, targets_SY = rng.normal(size=(25, 6)), rng.normal(size=(3, 6)), rng.normal(size=(25, 1))
    kernels = [pairwise_kernels(some, features_SE, metric="rbf") for some in (features_SE, new_QE)]
    said, again = (
        ridge_in_kernel(*(kernel + shift for kernel in kernels), targets_SY + shift, np.array([0.1]), np.arange(25))[0]
        for shift in (0.0, 7.0)
    )
    np.testing.assert_allclose(again, said + 7.0)
