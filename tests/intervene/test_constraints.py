"""Properties that every returned change of a connectome has, to 1e-6."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtb.intervene.constraints import (
    TOLERANCE,
    change_along,
    correlations,
    fisher_z,
    nearest_correlation,
    off_diagonal_norm,
    retract,
    within_budget,
)
from dtb.people.records import matrix_from_edges
from dtb.twin.edges import edges_of, matrix_of
from tests.intervene.matrices import violation

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(2, 14)


def symmetric(seed: int, size: int, num: int = 3, scale: float = 1.0) -> torch.Tensor:
    """Symmetric noise around the identity."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(num, size, size))) * scale
    return torch.eye(size, dtype=torch.float64) + 0.5 * (noise + noise.mT)


def correlation_matrices(seed: int, size: int, num: int = 3, volumes: int = 40) -> torch.Tensor:
    """Correlations of random series, rank-deficient where there are fewer volumes than regions."""
    series = np.random.default_rng(seed).normal(size=(num, volumes, size)) + 0.3
    return torch.from_numpy(np.stack([np.corrcoef(one, rowvar=False) for one in series]))


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, size=SIZES, floor=st.sampled_from([0.0, 1e-3, 0.05]))
def test_projection_is_a_correlation_matrix_above_the_bound(seed: int, size: int, floor: float) -> None:
    projected = nearest_correlation(symmetric(seed, size), smallest_eigenvalue=floor)
    assert violation(projected).max() < TOLERANCE
    assert (projected.diagonal(dim1=1, dim2=2) == 1.0).all()
    assert (projected == projected.mT).all()
    assert torch.linalg.eigvalsh(projected).min() > floor - TOLERANCE


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, size=st.integers(2, 8))
def test_no_correlation_matrix_lies_nearer(seed: int, size: int) -> None:
    matrix = symmetric(seed, size, num=1)
    projected = nearest_correlation(matrix, tolerance=1e-12, max_iterations=5000)
    others = correlation_matrices(seed + 1, size, num=20)
    # At the projection onto a convex set, no feasible direction makes an acute angle with the residual.
    toward = ((matrix - projected) * (others - projected)).sum(dim=(1, 2))
    assert toward.max() < 1e-5


def test_higham_2002_example() -> None:
    matrix = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]], dtype=torch.float64)
    expected = torch.tensor([[1.0, 0.7607, 0.1573], [0.7607, 1.0, 0.7607], [0.1573, 0.7607, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(nearest_correlation(matrix)[0], expected, atol=5e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, size=SIZES)
def test_valid_matrices_are_left_alone(seed: int, size: int) -> None:
    matrix = correlation_matrices(seed, size, volumes=60)
    torch.testing.assert_close(nearest_correlation(matrix), matrix, atol=1e-12, rtol=0)
    torch.testing.assert_close(retract(matrix), matrix, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, size=SIZES, budget=st.floats(1e-4, 3.0), volumes=st.integers(3, 30))
def test_budget_and_validity_hold_together(seed: int, size: int, budget: float, volumes: int) -> None:
    base = nearest_correlation(correlation_matrices(seed, size, volumes=volumes))
    proposed = retract(base + symmetric(seed + 1, size, scale=0.5) - torch.eye(size, dtype=torch.float64))
    budgets = torch.full((3,), budget, dtype=torch.float64)
    change = within_budget(base, proposed, budgets)
    assert (torch.linalg.matrix_norm(change) <= budgets * (1 + 1e-12)).all()
    assert violation(base + change).max() < TOLERANCE
    assert (change.diagonal(dim1=1, dim2=2) == 0.0).all()


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, size=st.integers(4, 12), floor=st.sampled_from([0.0, 1e-3]))
def test_change_along_reaches_the_wanted_norm(seed: int, size: int, floor: float) -> None:
    base = nearest_correlation(correlation_matrices(seed, size), smallest_eigenvalue=floor)
    norm = torch.tensor([0.0, 0.05, 0.2], dtype=torch.float64)
    change = change_along(base, symmetric(seed + 1, size), norm, smallest_eigenvalue=floor)
    torch.testing.assert_close(torch.linalg.matrix_norm(change), norm, atol=1e-9, rtol=0)
    assert violation(base + change).max() < TOLERANCE


def test_a_person_is_projected_the_same_alone_and_in_company() -> None:
    matrix = symmetric(3, 9, num=5)
    together = nearest_correlation(matrix, smallest_eigenvalue=1e-3)
    for place in range(5):
        alone = nearest_correlation(matrix[place : place + 1], smallest_eigenvalue=1e-3)
        torch.testing.assert_close(together[place], alone[0], atol=1e-12, rtol=0)


def test_absent_regions_stay_apart() -> None:
    fisher = np.arctanh(matrix_from_edges(np.linspace(-0.9, 0.9, 15))).astype(np.float32)
    fisher[2, :] = fisher[:, 2] = np.nan
    edges = torch.from_numpy(fisher[np.triu_indices(6, 1)])[None]
    matrix, present = correlations(edges, 6)
    assert present[0].tolist() == [True, True, False, True, True, True]
    projected = nearest_correlation(matrix)
    others = [0, 1, 3, 4, 5]
    assert projected[0, 2, others].abs().max() < 1e-14
    alone = nearest_correlation(matrix[:, others][:, :, others])
    torch.testing.assert_close(projected[:, others][:, :, others], alone, atol=1e-7, rtol=0)
    back = fisher_z(edges_of(projected), present)
    assert torch.equal(back.isnan(), edges.isnan())


def test_fisher_z_returns_and_passes_gradients() -> None:
    matrix = correlation_matrices(5, 7, num=2)
    present = torch.ones(2, 7, dtype=torch.bool)
    present[1, 4] = False
    edges = edges_of(matrix).requires_grad_()
    fisher = fisher_z(edges, present)
    back, found = correlations(fisher.detach(), 7)
    assert torch.equal(found, present)
    torch.testing.assert_close(back[0], matrix[0], atol=1e-12, rtol=0)
    fisher.nan_to_num().sum().backward()
    assert edges.grad is not None
    assert edges.grad.isfinite().all()
    assert (edges.grad[1][fisher[1].isnan()] == 0.0).all()


def test_a_hole_between_present_regions_is_refused() -> None:
    edges = torch.zeros(1, 6)
    edges[0, 2] = torch.nan
    with pytest.raises(ValueError, match="edge without a value"):
        correlations(edges, 4)


def test_off_diagonal_norm_counts_each_edge_twice() -> None:
    edges = torch.tensor([[3.0, 0.0, 4.0]], dtype=torch.float64)
    assert off_diagonal_norm(matrix_of(edges, 3)).item() == pytest.approx(50**0.5)
