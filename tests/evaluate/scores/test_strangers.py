"""People are compared with many strangers, in matrices that no seed decides, and permuting connectomes is a valid and a better test."""

import numpy as np
import pytest

from dtb.evaluate.scores.permutations import sign_flip_p
from dtb.evaluate.scores.strangers import (
    NUM_STRANGERS,
    LossBlock,
    block_of_people,
    deals,
    loss_blocks,
    own_connectome_p,
    scores_from_strangers,
)


def names(num_people: int) -> list[str]:
    return [f"p{number:04d}" for number in range(num_people)]


@pytest.mark.parametrize("num_people", [2, 20, 41, 42, 43, 150, 301])
def test_everybody_has_at_least_twenty_strangers_or_all_there_are(num_people):
    block_S = block_of_people(names(num_people))
    donor_DS = deals(block_S)
    strangers_S = (donor_DS >= 0).sum(axis=0)
    assert strangers_S.min() >= min(NUM_STRANGERS, num_people - 1)
    assert strangers_S.max() <= 2 * NUM_STRANGERS
    for place in range(num_people):
        told = donor_DS[donor_DS[:, place] >= 0, place]
        assert place not in told
        assert len(set(told)) == len(told)


def test_relatives_are_in_one_block_and_never_each_others_strangers():
    family_S = np.repeat(np.arange(60), 2)
    block_S = block_of_people(names(120), family_S)
    assert len(set(block_S)) > 1
    assert (block_S.reshape(60, 2)[:, 0] == block_S.reshape(60, 2)[:, 1]).all()
    donor_DS = deals(block_S, family_S)
    assert (family_S[donor_DS] != family_S)[donor_DS >= 0].all()
    assert (donor_DS >= 0).sum(axis=0).min() >= NUM_STRANGERS


def blocks_of(loss_SS: np.ndarray, family_S: np.ndarray | None = None) -> tuple[LossBlock, ...]:
    num_people = len(loss_SS)
    family_S = np.arange(num_people) if family_S is None else family_S
    block_S = block_of_people(names(num_people), family_S)
    donor_DS = deals(block_S, family_S)
    dealt_DS = np.where(donor_DS >= 0, loss_SS[np.arange(num_people), donor_DS], np.nan)
    return loss_blocks(np.diag(loss_SS).copy(), dealt_DS, donor_DS, block_S, family_S)


def test_a_strangers_score_is_the_mean_off_the_diagonal_and_knows_hard_people_and_bad_connectomes():
    rng = np.random.default_rng(0)
    loss_SS = rng.normal(size=(30, 30))
    found_S = scores_from_strangers(blocks_of(loss_SS), 30)
    assert found_S.mean() == pytest.approx(loss_SS[~np.eye(30, dtype=bool)].mean())
    # Where a loss is nothing but a person's and a connectome's, own and strangers' are the same.
    additive_SS = rng.normal(size=(30, 1)) + rng.normal(size=30)
    np.testing.assert_allclose(scores_from_strangers(blocks_of(additive_SS), 30), np.diag(additive_SS))
    assert own_connectome_p(blocks_of(additive_SS), 500) == 1.0


def test_people_without_a_loss_are_left_out_and_too_few_deals_make_no_matrix():
    loss_SS = np.random.default_rng(0).normal(size=(12, 12))
    loss_SS[3] = np.nan
    (block,) = blocks_of(loss_SS)
    kept = np.delete(np.arange(12), 3)
    np.testing.assert_array_equal(block.loss_nn, loss_SS[np.ix_(kept, kept)])
    one_S = np.zeros(12, int)
    donor_DS = deals(one_S)[:3]
    assert loss_blocks(np.diag(loss_SS).copy(), np.zeros((3, 12)), donor_DS, one_S, np.arange(12)) == ()


def losses(rng: np.random.Generator, num_people: int, r: float) -> np.ndarray:
    """Return the squared errors of what is said of people, with that correlation, from each one's connectome."""
    trait_S = rng.normal(size=num_people)
    said_S = (
        r * (r * trait_S + np.sqrt(1 - r**2) * rng.normal(size=num_people)) if r else 0.3 * rng.normal(size=num_people)
    )
    return (trait_S[:, None] - said_S) ** 2


def test_where_connectomes_say_nothing_the_permutation_passes_as_seldom_as_it_should():
    rng = np.random.default_rng(1)
    p = np.array([own_connectome_p(blocks_of(losses(rng, 60, 0.0)), 199) for _ in range(400)])
    # 0.05 of 400 is 20; a binomial exceeds 34 less than once in a thousand.
    assert 7 <= (p <= 0.05).sum() <= 34


def test_families_are_dealt_as_wholes():
    """Sisters who are alike in brain and in speed are no evidence twice: dealt one by one they pass far too often, as families they do not."""
    rng = np.random.default_rng(2)
    family_S = np.repeat(np.arange(30), 2)
    own, one_by_one = [], []
    for _ in range(200):
        trait_F, said_F = rng.normal(size=(2, 30))
        loss_SS = (trait_F[family_S][:, None] - 0.3 * said_F[family_S]) ** 2
        own.append(own_connectome_p(blocks_of(loss_SS, family_S), 199))
        one_by_one.append(own_connectome_p(blocks_of(loss_SS), 199))
    # 0.05 of 200 is 10; a binomial exceeds 20 less than once in a thousand.
    assert np.sum(np.array(own) <= 0.05) <= 20 < np.sum(np.array(one_by_one) <= 0.05)


def test_the_matrix_finds_what_one_deal_of_strangers_misses():
    rng = np.random.default_rng(0)
    by_deal, by_matrix = [], []
    for seed in range(100):
        loss_SS = losses(rng, 150, 0.3)
        stranger_S = np.roll(np.diag(np.roll(loss_SS, 1, axis=1)), 0)
        by_deal.append(sign_flip_p(stranger_S - np.diag(loss_SS), 999, seed))
        by_matrix.append(own_connectome_p(blocks_of(loss_SS), 999))
    power = [np.mean(np.array(p) < 0.005) for p in (by_deal, by_matrix)]
    print(power)
    assert power[1] > power[0] + 0.2
