"""A connectome as its edges, the upper triangle row by row, and as a matrix.

Shape letters: `S` subject, `R` region, `E` connectome edge.
"""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_of(edges_SE: Tensor, num_regions: int, diagonal: float = 1.0) -> Tensor:
    """Make the symmetric (S, R, R) matrices whose upper triangles are `edges_SE`; gradients pass through."""
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=edges_SE.device)
    matrix_SRR = edges_SE.new_zeros(len(edges_SE), num_regions, num_regions)
    matrix_SRR[:, rows, columns] = edges_SE
    matrix_SRR[:, columns, rows] = edges_SE
    return matrix_SRR + diagonal * torch.eye(num_regions, dtype=edges_SE.dtype, device=edges_SE.device)


def edges_of(matrix_SRR: Tensor) -> Tensor:
    """Take the (S, E) upper triangles, row by row."""
    num_regions = matrix_SRR.shape[-1]
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=matrix_SRR.device)
    return matrix_SRR[:, rows, columns]


def spectrum_exceeds(matrix_SRR: Tensor, bound: float) -> Tensor:
    """(S,) bool: whether all eigenvalues of symmetric matrices exceed a bound, by a Cholesky factorisation (a tenth of an eigh)."""
    identity_RR = torch.eye(matrix_SRR.shape[-1], dtype=matrix_SRR.dtype, device=matrix_SRR.device)
    return torch.linalg.cholesky_ex(matrix_SRR - bound * identity_RR).info == 0


def present_regions(known_SE: Tensor, num_regions: int) -> Tensor:
    """(S, R) bool: whether a region has any known edge."""
    rows, columns = torch.triu_indices(num_regions, num_regions, 1, device=known_SE.device)
    present_SR = torch.zeros(len(known_SE), num_regions, dtype=torch.bool, device=known_SE.device)
    for ends in (rows, columns):
        present_SR |= torch.zeros_like(present_SR, dtype=torch.int64).index_add_(1, ends, known_SE.long()) > 0
    return present_SR
