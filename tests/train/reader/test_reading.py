"""Latents are read from connectomes as well as unseen people show, by a stack that is one matrix, and chance has no size."""

from __future__ import annotations

import numpy as np
import pytest

from dtb.train.reader.edges import EdgeRows
from dtb.train.reader.readers import READERS, Readers, products
from dtb.train.reader.reading import Figures, Reading, read

NUM_EDGES = 300


def rows_of(edges_SE: np.ndarray, **options) -> EdgeRows:
    rows = EdgeRows(edges_SE.shape[1], **options)
    for edges_E in edges_SE:
        rows.add(edges_E)
    rows.standardise_by(np.nanmean(edges_SE, axis=0), np.nanstd(edges_SE, axis=0))
    return rows


def reading_of(edges_SE, figures_SY, num_latents=5, family_S=None, halves=None, **options) -> Reading | None:
    rows = rows_of(edges_SE, **options)
    family_S = np.arange(len(edges_SE)) if family_S is None else family_S
    kinds = [Figures("behaviour", figures_SY, halves, np.full(len(figures_SY), 50.0))]
    return read(rows, products(rows), np.ones(len(edges_SE), bool), kinds, family_S, num_latents)


def world(num_people: int, signal: float = 1.0, *, is_sparse: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two traits that some or all edges carry, behind six figures of which two share a large error that no connectome shows."""
    rng = np.random.default_rng(3)
    traits_S2 = rng.standard_normal((num_people, 2))
    weights_2E = rng.standard_normal((2, NUM_EDGES)) * 0.25
    if is_sparse:
        weights_2E = np.zeros((2, NUM_EDGES))
        weights_2E[0, :12], weights_2E[1, 12:24] = 1.2, -1.2
    edges_SE = traits_S2 @ weights_2E + rng.standard_normal((num_people, NUM_EDGES))
    figures_SY = signal * traits_S2 @ rng.standard_normal((2, 6)) + 0.5 * rng.standard_normal((num_people, 6))
    figures_SY[:, :2] += 2.0 * rng.standard_normal((num_people, 1))
    return edges_SE, traits_S2, figures_SY


@pytest.mark.parametrize("is_sparse", [True, False])
def test_latents_are_the_traits_behind_the_figures_for_unseen_people(is_sparse):
    edges_SE, traits_S2, figures_SY = world(500, is_sparse=is_sparse)
    found = reading_of(edges_SE[:200], figures_SY[:200])
    latents_SZ = ((edges_SE - edges_SE[:200].mean(0)) / edges_SE[:200].std(0)) @ found.reader_EZ
    for trait_S in traits_S2[200:].T:
        explained_S = latents_SZ[200:, :2] @ np.linalg.lstsq(latents_SZ[200:, :2], trait_S, rcond=None)[0]
        assert np.corrcoef(explained_S, trait_S)[0, 1] > 0.93
    # Beyond the two traits there is nothing to know.
    assert (found.size_Z[:2] > 0.5).all()
    assert (found.size_Z[2:] < 0.3).all()
    np.testing.assert_allclose(latents_SZ[200:, :2].std(0), found.size_Z[:2], atol=0.12)


def test_sizes_are_what_unseen_people_show():
    edges_SE, _, figures_SY = world(1200, signal=0.4)
    found = reading_of(edges_SE[:200], figures_SY[:200])
    read_SZ = ((edges_SE - edges_SE[:200].mean(0)) / edges_SE[:200].std(0)) @ found.reader_EZ
    for latent, axis in enumerate(found.axes[: int((found.size_Z > 0).sum())]):
        r = np.corrcoef(axis.scores(figures_SY[200:])[:, 0], read_SZ[200:, latent])[0, 1]
        assert abs(r - found.size_Z[latent]) < 0.12


def test_what_is_read_of_training_people_is_no_closer_to_them_than_to_unseen_ones():
    edges_SE, _, figures_SY = world(700, signal=0.4)
    found = reading_of(edges_SE[:150], figures_SY[:150])
    standard_SE = (edges_SE - edges_SE[:150].mean(0)) / edges_SE[:150].std(0)
    axis = found.axes[0]
    own_S = axis.scores(figures_SY)[:, 0]
    read_S, refitted_S = found.read_SZ[:, 0], (standard_SE @ found.reader_EZ)[:, 0]
    unseen = np.corrcoef(own_S[150:], refitted_S[150:])[0, 1]
    assert abs(np.corrcoef(own_S[:150], read_S)[0, 1] - unseen) < 0.12
    assert np.corrcoef(own_S[:150], refitted_S[:150])[0, 1] > unseen + 0.04


def test_the_matrix_says_what_the_stack_of_fits_says():
    """In one fit to people without a fold, the predictions of the fold, and those of the matrix, are the same."""
    edges_SE, _, figures_SY = world(120)
    rows = rows_of(edges_SE[:100])
    everybody = Readers(rows, np.zeros(100, np.int64), products(rows))
    joined = rows_of(edges_SE[:100])
    for edges_E in edges_SE[100:]:
        joined.add(edges_E)
    fold_S = np.repeat([0, 1], [100, 20])
    nested = Readers(joined, fold_S, products(joined))
    scores_SY = figures_SY - figures_SY[:100].mean(0)
    said = nested.fit({frozenset([1]): scores_SY})[frozenset([1])].said
    unseen_SE = (edges_SE[100:] - edges_SE[:100].mean(0)) / edges_SE[:100].std(0)
    for reader in READERS:
        weight = {name: np.full(6, float(name == reader)) for name in READERS}
        for setting in range(3):
            weights_EY = everybody.weights(scores_SY[:100], dict.fromkeys(READERS, np.full(6, setting)), weight)
            np.testing.assert_allclose(unseen_SE @ weights_EY, said[reader][setting], atol=2e-3)


def test_rows_in_a_file_and_small_blocks_change_nothing(monkeypatch):
    edges_SE, _, figures_SY = world(100)
    whole = reading_of(edges_SE, figures_SY)
    monkeypatch.setattr("dtb.train.reader.edges._MOST_EDGES", 64)
    spilt = reading_of(edges_SE, figures_SY, in_memory_bytes=40 * 4 * NUM_EDGES)
    np.testing.assert_allclose(spilt.reader_EZ, whole.reader_EZ, atol=1e-4)
    np.testing.assert_allclose(spilt.read_SZ, whole.read_SZ, atol=1e-4)


def test_more_people_than_landmarks_are_read_as_well(monkeypatch):
    edges_SE, _, figures_SY = world(400)
    monkeypatch.setattr("dtb.train.reader.readers.MOST_LANDMARKS", 150)
    found = reading_of(edges_SE, figures_SY)
    whole = (found.size_Z[:2]).copy()
    monkeypatch.undo()
    np.testing.assert_allclose(whole, reading_of(edges_SE, figures_SY).size_Z[:2], atol=0.05)


def test_on_null_data_the_sizes_are_zero():
    """Axes and weights that were fitted to the same people claimed .27 to .35."""
    sizes = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sizes.append(reading_of(rng.standard_normal((100, 200)), rng.standard_normal((100, 8)), 4).size_Z.max())
    assert np.sum(np.array(sizes) > 0) <= 2


def test_what_sisters_share_gives_no_size():
    """Twins alike in brain and behaviour predict each other across folds that divide them, though brains say nothing of behaviour."""
    sizes, family_S = {"together": 0, "divided": 0}, np.repeat(np.arange(60), 2)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        edges_SE, figures_SY = rng.standard_normal((60, 200))[family_S], rng.standard_normal((60, 6))[family_S]
        for name, numbers in (("together", family_S), ("divided", None)):
            sizes[name] += bool(reading_of(edges_SE, figures_SY, 3, numbers).size_Z.max() > 0)
    assert sizes["together"] <= 1
    assert sizes["divided"] == 3


def test_absent_figures_edges_and_people_do_not_break_it():
    edges_SE, traits_S2, figures_SY = world(300)
    edges_SE[::7, 5] = np.nan
    figures_SY[::3, 2], figures_SY[10:, 3], figures_SY[:, 4] = np.nan, np.nan, 1.0
    figures_SY[17] = np.nan
    found = reading_of(edges_SE, figures_SY, 3)
    assert np.isfinite(found.reader_EZ).all()
    assert np.isnan(found.own_SZ[17]).all()
    assert max(abs(np.corrcoef(found.read_SZ[:, 0], trait_S)[0, 1]) for trait_S in traits_S2.T) > 0.7
    assert reading_of(edges_SE, np.full((300, 6), np.nan)) is None
    assert reading_of(edges_SE[:8], figures_SY[:8]) is None


def test_where_connectomes_say_nothing_latents_are_what_people_keep_between_halves():
    rng = np.random.default_rng(1)
    trait_S = rng.standard_normal(150)
    halves = tuple(trait_S[:, None] * [1.0, 1.0, 0.0] + 0.4 * rng.standard_normal((150, 3)) for _ in range(2))
    figures_SY = (halves[0] + halves[1]) / 2
    found = reading_of(rng.standard_normal((150, 100)), figures_SY, 3, halves=halves)
    assert found.size_Z.max() == 0
    assert abs(np.corrcoef(found.own_SZ[:, 0], trait_S)[0, 1]) > 0.95
    assert np.nanvar(found.own_SZ[:, 0]) == pytest.approx(1.0, abs=1e-6)
    # The mean of two figures of two halves each has an error of .4^2 / 4 beside the trait's variance of 1.
    assert found.own_variance_SZ[:, 0].mean() == pytest.approx(0.04, abs=0.03)
    assert np.isnan(found.own_SZ[:, 2]).all()


def test_people_with_fewer_trials_have_larger_errors():
    rng = np.random.default_rng(1)
    trait_S = rng.standard_normal(150)
    halves = tuple(trait_S[:, None] * [1.0, 1.0] + 0.4 * rng.standard_normal((150, 2)) for _ in range(2))
    rows = rows_of(rng.standard_normal((150, 100)))
    figures = Figures("behaviour", (halves[0] + halves[1]) / 2, halves, np.repeat([10.0, 40.0], 75))
    found = read(rows, products(rows), np.ones(150, bool), [figures], np.arange(150), 2)
    np.testing.assert_allclose(found.own_variance_SZ[0, 0], 4 * found.own_variance_SZ[-1, 0])
    assert found.summary[0]["figures"] == "behaviour"
    assert found.summary[0]["own_error_variance"] == pytest.approx(found.own_variance_SZ[:, 0].mean(), abs=1e-4)
