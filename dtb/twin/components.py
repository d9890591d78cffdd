"""Principal components of people's connectomes: the encoder's input if there are many more edges than people.

A linear layer on all edges has more weights than there are people, and an adaptive optimiser moves each of them equally far, whether
its edge says anything or not. On principal components, scaled as they vary, the same optimiser moves most where people differ
most, as ridge regression does.

Shape letters: `S` subject, `E` connectome edge, `C` component.
"""

from __future__ import annotations

import torch
from torch import Tensor


def principal_components(edges_SE: Tensor, num_components: int) -> Tensor:
    """Return the principal components of standardised connectomes.

    Parameters
    ----------
    edges_SE : (S, E) Tensor
        Standardised edges of the training people, 0 where absent.
    num_components : int
        How many to give; those beyond the number of people, or without any variance, are 0.

    Returns
    -------
    (E, C) Tensor
        ``edges_SE @ components`` has uncorrelated columns in falling order of variance, the first of variance 1.

    Examples
    --------
    >>> edges = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> (edges @ principal_components(edges, 3)).abs().round(decimals=3)
    tensor([[1.4140, 0.0000, 0.0000],
            [1.4140, 0.0000, 0.0000],
            [0.0000, 0.4710, 0.0000],
            [0.0000, 0.4710, 0.0000]])
    """
    num_people, num_edges = edges_SE.shape
    components_EC = edges_SE.new_zeros(num_edges, num_components)
    if num_people == 0 or num_components == 0:
        return components_EC
    exact_SE = edges_SE.double()
    # Fewer people than edges: the eigenvectors of people by people give those of edges by edges.
    variance_C, directions_SC = torch.linalg.eigh(exact_SE @ exact_SE.T / num_people)
    variance_C, directions_SC = variance_C.flip(0), directions_SC.flip(1)
    kept = min(num_components, int((variance_C > 1e-9 * variance_C[0].clamp_min(1e-30)).sum()))
    unscaled_EC = exact_SE.T @ directions_SC[:, :kept] / (variance_C[:kept] * num_people).sqrt()
    components_EC[:, :kept] = (unscaled_EC / variance_C[0].sqrt()).to(components_EC)
    return components_EC
