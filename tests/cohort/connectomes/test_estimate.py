"""Connectomes of series: numpy's and nilearn's numbers, runs combined or kept apart, and regions that are absent leave the others alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.connectome import ConnectivityMeasure
from sklearn.covariance import LedoitWolf

from dtb.cohort.connectomes.estimate import averaged, concatenated, description, fisher_z
from dtb.cohort.series.read import Series
from dtb.config import IngestConfig
from dtb.people.connectome_kinds import connectome_in_words, is_correlation
from dtb.people.records import edges_from_matrix, matrix_from_edges

KINDS = ("pearson", "ledoit_wolf", "partial")


def make_series(seed: int = 0, volumes: int = 120, regions: int = 10) -> Series:
    rng = np.random.default_rng(seed)
    values_VR = rng.standard_normal((volumes, regions)) @ rng.standard_normal((regions, regions)) * 50 + 10_000
    return Series(values_VR, 2.0, None)


def standardised(values_VR: np.ndarray) -> np.ndarray:
    return (values_VR - values_VR.mean(axis=0)) / values_VR.std(axis=0)


def test_pearson_is_numpys():
    series = make_series()
    expected_E = np.arctanh(edges_from_matrix(np.corrcoef(series.values_VR.T)))
    np.testing.assert_allclose(fisher_z(series), expected_E, atol=1e-6)


@pytest.mark.parametrize(("kind", "nilearns"), [("ledoit_wolf", "correlation"), ("partial", "partial correlation")])
def test_shrunk_and_partial_correlations_are_nilearns(kind, nilearns):
    series = make_series(volumes=40)
    measure = ConnectivityMeasure(
        cov_estimator=LedoitWolf(store_precision=False), kind=nilearns, standardize=False, verbose=0
    )
    expected_RR = measure.fit_transform([standardised(series.values_VR)])[0]
    np.testing.assert_allclose(np.tanh(fisher_z(series, kind)), edges_from_matrix(expected_RR), atol=1e-9)


def test_partial_correlation_of_a_chain_joins_neighbours_only():
    rng = np.random.default_rng(0)
    values_VR = rng.standard_normal((20_000, 5))
    for region in range(1, 5):
        values_VR[:, region] += values_VR[:, region - 1]
    found_RR = matrix_from_edges(np.tanh(fisher_z(Series(values_VR, 2.0, None), "partial")))
    apart_RR = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    assert np.abs(found_RR[apart_RR > 1]).max() < 0.03
    assert found_RR[apart_RR == 1].min() > 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_an_absent_region_leaves_the_others_as_if_it_were_not_there(kind):
    series = make_series()
    values_VR = series.values_VR.copy()
    values_VR[:, 3] = np.nan
    values_VR[:, 7] = 5.0
    found_RR = matrix_from_edges(fisher_z(Series(values_VR, 2.0, None), kind), diagonal=0.0)
    others = [region for region in range(10) if region not in {3, 7}]
    alone = Series(np.ascontiguousarray(series.values_VR[:, others]), 2.0, None)
    np.testing.assert_allclose(edges_from_matrix(found_RR[np.ix_(others, others)]), fisher_z(alone, kind), atol=1e-9)
    assert np.isnan(np.delete(found_RR[3], 3)).all()
    assert np.isnan(np.delete(found_RR[7], 7)).all()


def test_concatenated_runs_weigh_each_volume_and_no_runs_scale():
    first, second = make_series(0), make_series(1, volumes=60)
    louder = Series(second.values_VR * 100 - 7, 2.0, None)
    joined = concatenated([first, louder])
    assert joined.values_VR.shape == (180, 10)
    expected_RR = (120 * np.corrcoef(first.values_VR.T) + 60 * np.corrcoef(second.values_VR.T)) / 180
    np.testing.assert_allclose(np.tanh(fisher_z(joined)), edges_from_matrix(expected_RR), atol=1e-9)


def test_a_region_that_one_run_lacks_is_absent_when_runs_are_concatenated():
    first, second = make_series(0), make_series(1)
    second.values_VR[:, 4] = np.nan
    first.values_VR[10] = np.nan
    joined = concatenated([first, second])
    assert np.flatnonzero(~joined.present_R).tolist() == [4]
    assert joined.kept_V.sum() == 239


@settings(deadline=None, max_examples=60)
@given(
    volumes=st.integers(1, 12),
    regions=st.integers(2, 6),
    seed=st.integers(0, 2**16),
    kind=st.sampled_from(KINDS),
    holes=st.floats(0, 0.5),
)
def test_whatever_the_series_every_edge_is_a_number_or_absent(volumes, regions, seed, kind, holes):
    rng = np.random.default_rng(seed)
    values_VR = rng.choice([0.0, 1.0, 1e-12, 1e12, rng.standard_normal()], (volumes, regions))
    values_VR[rng.random((volumes, regions)) < holes] = np.nan
    series = Series(values_VR, 2.0, None)
    edges_E = fisher_z(series, kind)
    assert not np.isinf(edges_E).any()
    present_R = series.present_R
    rows, columns = np.triu_indices(regions, 1)
    assert np.isnan(edges_E[~(present_R[rows] & present_R[columns])]).all()
    both_E = averaged(np.stack([edges_E, edges_E]), np.array([volumes, 1]))
    np.testing.assert_allclose(both_E, edges_E, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings_", "is_one", "words"),
    [
        ({}, True, "pearson (fisher_z)"),
        ({"connectome": "ledoit_wolf"}, True, "ledoit_wolf (fisher_z)"),
        ({"connectome": "partial"}, False, "partial (fisher_z)"),
        ({"connectome": "precomputed", "matrix_key": "sift"}, False, "precomputed (sift, log of 1 + value)"),
        ({"connectome": "precomputed", "matrix_transform": "none"}, False, "precomputed (as it is)"),
        ({"connectome": "precomputed", "matrix_transform": "fisher_z"}, True, "precomputed (fisher_z)"),
    ],
)
def test_what_is_a_correlation_matrix_is_known_from_its_description(settings_, is_one, words):
    described = description(IngestConfig(**settings_))
    assert is_correlation(described) == is_one
    assert connectome_in_words(described) == words
