"""Principal components of connectomes, as `dtb.twin.components.principal_components` has them, from blocks of edges.

Shape letters: `M` landmark person, `E` connectome edge, `C` component.
"""

from __future__ import annotations

import numpy as np

from dtb.train.reader.edges import EdgeRows


def components_of(edges: EdgeRows, product_SM: np.ndarray, num_components: int) -> np.ndarray:
    """Return the principal components (E, C) float32 of the landmark people's standardised edges.

    Parameters
    ----------
    edges : EdgeRows
    product_SM : (S, M) float64
        From `dtb.train.reader.readers.products`.
    num_components : int
        Those beyond the number of people, or without any variance, are 0.
    """
    found_EC = np.zeros((edges.num_edges, num_components), np.float32)
    num_landmarks = product_SM.shape[1]
    if not num_landmarks or not num_components:
        return found_EC
    variance_M, vectors_MM = np.linalg.eigh(product_SM[:num_landmarks] / num_landmarks)
    variance_M, vectors_MM = variance_M[::-1], vectors_MM[:, ::-1]
    kept = min(num_components, int((variance_M > 1e-6 * max(variance_M[0], 1e-30)).sum()))
    weights_MC = vectors_MM[:, :kept] / np.sqrt(variance_M[:kept] * num_landmarks * variance_M[0])
    for block, values_SB in edges.blocks():
        found_EC[block, :kept] = values_SB[:num_landmarks].T @ weights_MC.astype(np.float32)
    return found_EC
