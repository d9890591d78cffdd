"""How far matrices are from being correlation matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def violation(matrix_SRR: Tensor) -> Tensor:
    """Return by how much matrices fail to be correlation matrices: the worst over symmetry,
    diagonal, range and spectrum, (S,)."""
    asymmetry_S = (matrix_SRR - matrix_SRR.mT).abs().amax(dim=(1, 2))
    diagonal_S = (matrix_SRR.diagonal(dim1=1, dim2=2) - 1.0).abs().amax(dim=1)
    range_S = (matrix_SRR.abs().amax(dim=(1, 2)) - 1.0).clamp_min(0.0)
    spectrum_S = (-torch.linalg.eigvalsh(matrix_SRR)[:, 0]).clamp_min(0.0)
    return torch.stack([asymmetry_S, diagonal_S, range_S, spectrum_S]).amax(dim=0)
