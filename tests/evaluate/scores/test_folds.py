"""What is taken out of folds before they are pooled, and p-values of pooled folds where connectomes say nothing of what people do."""

import numpy as np
import pytest
from scipy import stats

from dtb.evaluate.scores.folds import residuals_in_folds, standardised_in_folds, with_fold_means
from dtb.evaluate.scores.permutations import freedman_lane_p, sign_flip_p
from dtb.evaluate.scores.statistics import PartialCorrelation, orthonormal
from dtb.evaluate.scores.strangers import LossBlock, own_connectome_p

NUM_PEOPLE, NUM_FOLDS, NUM_COHORTS, NUM_DRAWS = 60, 5, 400, 299
LEVEL = 0.05
FOLD_S = np.arange(NUM_PEOPLE) % NUM_FOLDS


def null_cohorts():
    """Yield what people did and what ridge regressions say of them, each fitted to the other folds; their connectomes are noise."""
    rng = np.random.default_rng(7)
    edges_SE = rng.normal(size=(NUM_PEOPLE, 200))
    alike_SS = edges_SE @ edges_SE.T
    for _ in range(NUM_COHORTS):
        did_S, said_S = rng.normal(size=NUM_PEOPLE), np.empty(NUM_PEOPLE)
        for fold in range(NUM_FOLDS):
            rest, fit = fold == FOLD_S, fold != FOLD_S
            within = alike_SS[np.ix_(fit, fit)] + 200 * np.eye(fit.sum())
            said_S[rest] = alike_SS[np.ix_(rest, fit)] @ np.linalg.solve(within, did_S[fit] - did_S[fit].mean())
        yield did_S, said_S


@pytest.fixture(scope="module")
def cohorts():
    return list(null_cohorts())


def interval_of(p_values) -> tuple[float, float]:
    hits = int((np.array(p_values) < LEVEL).sum())
    found = stats.binomtest(hits, len(p_values)).proportion_ci(0.99)
    return found.low, found.high


def partial_p(did_S, said_S, shared: float) -> float:
    basis_SC = with_fold_means(np.full((NUM_PEOPLE, 1), NUM_PEOPLE**-0.5), FOLD_S)
    said_S = residuals_in_folds(said_S[:, None], basis_SC, FOLD_S)[:, 0]
    return freedman_lane_p(PartialCorrelation(basis_SC), did_S, said_S, NUM_DRAWS, 0, shared=shared)


def loss_p(did_S, said_S, shared: float) -> float:
    blocks = []
    for fold in range(NUM_FOLDS):
        here = np.flatnonzero(fold == FOLD_S)
        blocks.append(LossBlock(here, np.arange(len(here)), (did_S[here, None] - said_S[here]) ** 2))
    return own_connectome_p(blocks, NUM_DRAWS, shared)


def nearer_p(did_S, said_S, shared: float) -> float:
    """Return the p-value of how much nearer own predictions are than others' of the fold."""
    gain_S = np.empty(NUM_PEOPLE)
    for fold in range(NUM_FOLDS):
        here = fold == FOLD_S
        near = -((said_S[here, None] - did_S[here]) ** 2)
        gain_S[here] = np.diag(near) - (near.sum(axis=0) - np.diag(near)) / (here.sum() - 1)
    return sign_flip_p(gain_S, NUM_DRAWS, 0, shared=shared)


@pytest.mark.slow
@pytest.mark.parametrize("p_of", [partial_p, loss_p])
def test_pooled_p_values_are_calibrated_where_nothing_is_predicted(cohorts, p_of):
    low, high = interval_of([p_of(*cohort, 1.0) for cohort in cohorts])
    assert low < LEVEL < high
    # As if no fold's people had taught another's predictions, which is what was done: at least half as many again are below.
    assert interval_of([p_of(*cohort, 0.0) for cohort in cohorts])[0] > 1.5 * LEVEL


def test_pooled_sign_flips_are_below_the_level_no_more_often_than_they_say(cohorts):
    assert interval_of([nearer_p(*cohort, 1.0) for cohort in cohorts])[0] < LEVEL
    assert interval_of([nearer_p(*cohort, 0.0) for cohort in cohorts])[0] > LEVEL


def test_residuals_lose_covariates_folds_and_the_folds_spread():
    rng = np.random.default_rng(0)
    age_S = rng.normal(size=NUM_PEOPLE)
    own_S = rng.normal(size=NUM_PEOPLE)
    basis_SC = with_fold_means(orthonormal(np.column_stack([np.ones(NUM_PEOPLE), age_S])), FOLD_S)
    said_SX = np.stack([own_S + 3 * age_S + 5 * FOLD_S, 2 + 3 * age_S + FOLD_S], axis=1)
    rest_SX = residuals_in_folds(said_SX, basis_SC, FOLD_S)
    design = np.column_stack([age_S, *(fold == FOLD_S for fold in range(NUM_FOLDS))])
    left_S = own_S - design @ np.linalg.lstsq(design, own_S)[0]
    expected_S = standardised_in_folds(left_S[:, None], FOLD_S)[:, 0]
    np.testing.assert_allclose(rest_SX[:, 0], expected_S, atol=1e-9)
    np.testing.assert_allclose([rest_SX[fold == FOLD_S, 0].std() for fold in range(NUM_FOLDS)], 1.0)
    # Of what covariates explain wholly nothing is left, and no rounding is made to look like something.
    assert not rest_SX[:, 1].any()
