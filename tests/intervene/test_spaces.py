"""Whatever parameters are asked for, what is admitted is valid, within the budget and touches no more than it may."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dtb.config import InterveneConfig
from dtb.intervene.constraints import TOLERANCE, correlations, nearest_supported_change
from dtb.intervene.goal import Goal
from dtb.intervene.search import search
from dtb.intervene.spaces import EdgeSpace, GainSpace, Reach, ReferenceCohort, Start, make_space
from dtb.twin.edges import edges_of, matrix_of
from tests.intervene.matrices import violation
from tests.intervene.test_search import EDGES, REGIONS, goal, linear, people

SETTINGS = [
    InterveneConfig(space="edges", budget=0.1),
    InterveneConfig(space="sparse", max_edges=7, budget=0.1),
    InterveneConfig(space="regions", max_regions=2, budget=0.1),
    InterveneConfig(space="regions", max_regions=5, budget=0.6),
]


def check(start: Start, change_SE: Tensor, settings: InterveneConfig) -> None:
    change_SRR = matrix_of(change_SE, REGIONS, diagonal=0.0)
    assert violation(start.base_SRR + change_SRR).max() < TOLERANCE
    assert (torch.linalg.matrix_norm(change_SRR) <= start.budget_S + TOLERANCE).all()
    if settings.space == "sparse":
        assert ((change_SE != 0).sum(1) <= settings.max_edges).all()
    if settings.space == "regions":
        # Without its `max_regions` busiest regions, nothing of the change is left.
        touched_SR = (change_SRR != 0).sum(2)
        busiest = touched_SR.topk(settings.max_regions, dim=1).indices
        for rest_RR, ends in zip(change_SRR.clone(), busiest, strict=True):
            rest_RR[ends] = 0
            rest_RR[:, ends] = 0
            assert (rest_RR == 0).all()


@pytest.mark.parametrize("chosen", SETTINGS, ids=lambda one: f"{one.space}-{one.budget}")
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), length=st.floats(0.01, 20.0), volumes=st.sampled_from([8, 60]))
def test_admitted_parameters_are_allowed_and_stay_where_they_are(
    chosen: InterveneConfig, seed: int, length: float, volumes: int
) -> None:
    connectome_SE = people(num=3, volumes=volumes, seed=seed)
    rows, columns = torch.triu_indices(REGIONS, REGIONS, 1)
    connectome_SE[0, (rows == 4) | (columns == 4)] = torch.nan
    start = Start.of(connectome_SE, REGIONS, chosen.budget)
    space = make_space(start, chosen)
    noise = torch.randn(3, space.num_parameters, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    admitted_SP = space.admit(length * noise)
    check(start, space.change(admitted_SP), chosen)
    assert (space.change(admitted_SP)[0, (rows == 4) | (columns == 4)] == 0).all()
    check(start, space.change(space.admit(admitted_SP)), chosen)


@pytest.mark.parametrize("chosen", SETTINGS, ids=lambda one: f"{one.space}-{one.budget}")
def test_a_search_in_each_space_returns_what_is_allowed_and_moves_the_target(chosen: InterveneConfig) -> None:
    start = Start.of(people(volumes=9), REGIONS, chosen.budget)
    found = search([linear], start, goal(), chosen, {}, range(4))
    check(start, found.change_SE, chosen)
    assert (found.after_SM[:, 0] < found.before_SM[:, 0]).all()


def test_the_sparse_search_finds_the_edges_that_matter() -> None:
    weights = torch.zeros(EDGES, 1, dtype=torch.float64)
    causal = [3, 17, 30, 44]
    weights[causal, 0] = torch.tensor([1.0, -1.0, 0.7, -0.8], dtype=torch.float64)
    start = Start.of(people(volumes=200), REGIONS, 0.05)
    alone = Goal(0, 1.0, torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    sparse = InterveneConfig(space="sparse", max_edges=4, budget=0.05)
    found = search([lambda given_SE: given_SE.tanh() @ weights], start, alone, sparse, {}, range(4))
    for change_E in found.change_SE:
        assert sorted(torch.nonzero(change_E).flatten().tolist()) == causal


def test_gains_scale_the_correlations_of_their_regions() -> None:
    start = Start.of(people(), REGIONS, 0.5)
    space = GainSpace(start, 2)
    parameter_SP = torch.zeros(4, REGIONS, dtype=torch.float64)
    parameter_SP[:, 3], parameter_SP[:, 7] = -0.4, -0.2
    gains_SR = space.gains(parameter_SP)
    changed_SRR = start.base_SRR + matrix_of(space.change(parameter_SP), REGIONS, diagonal=0.0)
    expected_SRR = start.base_SRR * gains_SR[:, :, None] * gains_SR[:, None]
    torch.testing.assert_close(edges_of(changed_SRR), edges_of(expected_SRR))
    assert (gains_SR[:, [0, 1, 2, 4]] == 1).all()


@pytest.mark.parametrize("make", [EdgeSpace, lambda start: GainSpace(start, 3)], ids=["edges", "gains"])
def test_parameters_are_in_units_of_the_norm_of_the_change(make) -> None:  # type: ignore[no-untyped-def]
    start = Start.of(people(), REGIONS, 0.5)
    space = make(start)
    parameter_SP = torch.zeros(4, space.num_parameters, dtype=torch.float64)
    parameter_SP[:, 5] = 1e-4
    norm_S = torch.linalg.matrix_norm(matrix_of(space.change(parameter_SP), REGIONS, diagonal=0.0))
    torch.testing.assert_close(norm_S, torch.full((4,), 1e-4, dtype=torch.float64), rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 3.0))
def test_a_supported_projection_changes_free_entries_only_and_is_near(seed: int, scale: float) -> None:
    start = Start.of(people(num=2, volumes=9, seed=seed), REGIONS, 1.0)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, REGIONS, REGIONS, generator=generator, dtype=torch.float64) * scale
    free = torch.rand(2, REGIONS, REGIONS, generator=generator) < 0.2
    free_SRR = free | free.mT
    change_SRR = nearest_supported_change(start.base_SRR, noise + noise.mT, free_SRR)
    assert (change_SRR[~free_SRR] == 0).all()
    assert violation(start.base_SRR + change_SRR).max() < TOLERANCE


def test_the_cohorts_metric_goes_where_people_differ_and_ignores_where_they_do_not() -> None:
    """A model with a true weight on one pattern, and a large accidental one on a pattern that nobody has."""
    generator = torch.Generator().manual_seed(0)
    pattern_E = torch.zeros(EDGES, dtype=torch.float64)
    pattern_E[[2, 9, 31]] = 1.0
    accident_E = torch.zeros(EDGES, dtype=torch.float64)
    accident_E[[5, 20, 50]] = 3.0
    edges_QE = torch.randn(40, 1, generator=generator, dtype=torch.float64) * pattern_E
    cohort = ReferenceCohort(edges_QE - edges_QE.mean(0), torch.ones(EDGES, dtype=torch.float64))
    start = Start.of(people(volumes=200), REGIONS, 0.05)
    alone = Goal(0, 1.0, torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    weights = (pattern_E + accident_E)[:, None]
    shares = {}
    for metric in ("cohort", "euclidean"):
        chosen = InterveneConfig(budget=0.05, metric=metric)
        found = search([lambda given_SE: given_SE @ weights], start, alone, chosen, {}, range(4), cohort=cohort)
        shares[metric] = (found.change_SE[:, pattern_E > 0].square().sum(1) / found.change_SE.square().sum(1)).min()
        assert (found.after_SM > found.before_SM).all()
    assert shares["cohort"] > 0.95
    assert shares["euclidean"] < 0.3


@pytest.mark.parametrize("chosen", SETTINGS, ids=lambda one: f"{one.space}-{one.budget}")
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000), volumes=st.sampled_from([8, 60]))
def test_what_is_valid_on_the_repaired_matrix_is_valid_on_the_persons_own(
    chosen: InterveneConfig, seed: int, volumes: int
) -> None:
    """Also where fewer volumes than regions make the own matrix singular, and it went through float32."""
    connectome_SE = people(num=2, volumes=volumes, seed=seed).float()
    start = Start.of(connectome_SE, REGIONS, chosen.budget)
    space = make_space(start, chosen)
    noise = torch.randn(2, space.num_parameters, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    change_SE = space.change(space.admit(noise)).float().double()
    own_SRR, _ = correlations(connectome_SE, REGIONS)
    assert violation(own_SRR + matrix_of(change_SE, REGIONS, diagonal=0.0)).max() < TOLERANCE
    assert (start.repair_norm_S < 1e-5).all()
    # With as few volumes as these every matrix is singular; with more one may be, by chance.
    assert volumes == 60 or start.is_singular().all()


def distance(connectome_SE: Tensor) -> Tensor:
    """Root mean square Fisher z, as if the cohort's mean were 0 and its standard deviations 1."""
    return connectome_SE.nan_to_num().square().mean(1).sqrt()


@pytest.mark.parametrize("chosen", SETTINGS, ids=lambda one: f"{one.space}-{one.budget}")
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000), length=st.floats(0.01, 20.0), farther=st.floats(0.0, 0.05))
def test_nobody_is_taken_farther_from_the_cohort_than_allowed(
    chosen: InterveneConfig, seed: int, length: float, farther: float
) -> None:
    start = Start.of(people(num=3, seed=seed), REGIONS, chosen.budget)
    own_S = distance(start.connectome(torch.zeros(3, EDGES, dtype=torch.float64)))
    allowed = float(own_S.median()) + farther
    space = make_space(start, chosen, reach=Reach.of(start, distance, allowed))
    noise = torch.randn(3, space.num_parameters, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    change_SE = space.change(space.admit(length * noise))
    check(start, change_SE, chosen)
    # Whoever was farther away before may stay so, and go nowhere that is farther still.
    assert (distance(start.connectome(change_SE)) <= own_S.clamp_min(allowed)).all()


@pytest.mark.parametrize("chosen", SETTINGS[:3], ids=lambda one: one.space)
def test_a_search_with_a_bound_on_the_distance_moves_the_target_within_it(chosen: InterveneConfig) -> None:
    start = Start.of(people(), REGIONS, chosen.budget)
    own_S = distance(start.connectome(torch.zeros(4, EDGES, dtype=torch.float64)))
    bound = dataclasses.replace(chosen, max_distance=float(own_S.max()) + 1e-3)
    found = search([linear], start, goal(), bound, {}, range(4), distance=distance)
    free = search([linear], start, goal(), chosen, {}, range(4))
    assert (distance(start.connectome(found.change_SE)) <= bound.max_distance).all()
    assert (distance(start.connectome(free.change_SE)) > bound.max_distance).any()
    assert (found.after_SM[:, 0] < found.before_SM[:, 0]).all()


def test_only_the_named_regions_are_scaled() -> None:
    chosen = InterveneConfig(space="regions", max_regions=2, budget=0.3)
    start = Start.of(people(), REGIONS, 0.3)
    among_R = torch.zeros(REGIONS, dtype=torch.bool)
    among_R[[2, 5, 6]] = True
    found = search([linear], start, goal(), chosen, {}, range(4), among_R=among_R)
    change_SRR = matrix_of(found.change_SE, REGIONS, diagonal=0.0)
    others = torch.nonzero(~among_R).flatten()
    assert (change_SRR[:, others][:, :, others] == 0).all()
    assert (found.norm_S > 0).all()


@pytest.mark.skipif("DTB_REAL_DATA" not in os.environ, reason="DTB_REAL_DATA is not set")
def test_on_a_real_short_scan_the_own_matrix_with_the_change_is_valid() -> None:
    """Two people of the CNP sample, 200 of their regions, 152 volumes."""
    files = sorted(
        Path(os.environ["DTB_REAL_DATA"]).glob("cnp/derivatives/halfpipe/sub-*/func/*Matrix4*timeseries.tsv.gz")
    )
    series = [np.loadtxt(path, delimiter="\t", usecols=range(200)) for path in files[:2]]
    edges_SE = np.stack([np.corrcoef(one, rowvar=False)[np.triu_indices(200, 1)] for one in series])
    connectome_SE = torch.from_numpy(np.arctanh(edges_SE)).float()
    own_SRR, _ = correlations(connectome_SE, 200)
    weights_E1 = torch.randn(edges_SE.shape[1], 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alone = Goal(0, 1.0, torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    for space in ("edges", "regions"):
        chosen = InterveneConfig(space=space, metric="euclidean", num_steps=6)
        start = Start.of(connectome_SE, 200, chosen.budget)
        found = search([lambda given_SE: given_SE.tanh().nan_to_num() @ weights_E1], start, alone, chosen, {}, range(2))
        assert violation(own_SRR + matrix_of(found.change_SE, 200, diagonal=0.0)).max() < TOLERANCE
        assert (found.norm_S > 0.9 * start.budget_S).all()
        assert start.is_singular().all()
