"""The general linear model of a run in torch: a region's effect and t value as differentiable functions of its series.

So an indicator such as "t of the right amygdala, face > shape" can be followed back through the twin to the connectome. Equal to
nilearn's ordinary least squares.

Shape letters: `V` volume, `R` region, `X` column of the design.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor


class ContrastResult(NamedTuple):
    """A contrast in each region.

    Attributes
    ----------
    effect_R : (..., R) Tensor
        Size of the contrast, in units of the series.
    t_R : (..., R) Tensor
        Effect over its standard error.
    degrees_of_freedom : int
    """

    effect_R: Tensor
    t_R: Tensor
    degrees_of_freedom: int


def fit_contrast(series_VR: Tensor, design: pd.DataFrame, contrast: Mapping[str, float]) -> ContrastResult:
    """Fit a design by ordinary least squares and test a contrast.

    Parameters
    ----------
    series_VR : (..., V, R) Tensor
        Series; the design is the same for all leading axes.
    design : DataFrame, (V, X)
        From `dtb.people.glm.design_matrix`.
    contrast : mapping
        Weight of each condition.

    Returns
    -------
    ContrastResult

    Raises
    ------
    ValueError
        The design lacks a condition of the contrast, or has no volumes to spare.
    """
    missing = sorted(set(contrast) - {str(column) for column in design.columns})
    if missing:
        raise ValueError(f"the design has no column {', '.join(missing)}; it has {', '.join(map(str, design.columns))}")
    # In float64 whatever the series are: the design's condition number is squared in the inverse.
    matrix_VX = design.to_numpy(dtype=np.float64)
    degrees_of_freedom = len(matrix_VX) - int(np.linalg.matrix_rank(matrix_VX))
    if degrees_of_freedom < 1:
        raise ValueError(
            f"the design has {design.shape[1]} columns for {len(design)} volumes; a t value needs volumes to spare"
        )
    inverse_XV = np.linalg.pinv(matrix_VX)
    weights_X = np.array([contrast.get(str(column), 0.0) for column in design.columns])
    variance = float(weights_X @ inverse_XV @ inverse_XV.T @ weights_X)
    series = series_VR.double()
    row_V = torch.from_numpy(weights_X @ inverse_XV).to(series)
    residual_VV = torch.from_numpy(np.eye(len(matrix_VX)) - matrix_VX @ inverse_XV).to(series)
    effect_R = torch.einsum("v,...vr->...r", row_V, series)
    squares_R = (residual_VV @ series).square().sum(-2)
    error_R = (squares_R / degrees_of_freedom * variance).clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    return ContrastResult(effect_R.to(series_VR.dtype), (effect_R / error_R).to(series_VR.dtype), degrees_of_freedom)
