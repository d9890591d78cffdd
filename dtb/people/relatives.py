"""Possible unknown relatives: people whose connectomes are more similar than strangers' on the same scanner.

Shape letters: `S` subject, `E` edge, `P` pair.
"""

from __future__ import annotations

import numpy as np

FURTHEST = 6.5
"""Robust standard deviations of strangers' similarity beyond which a pair is called alike. Of 201 adolescents, among them 95 pairs of twins
or siblings, no unrelated pair lies beyond it, and the most similar twins do."""
FEWEST_PEOPLE = 10
_ROWS_AT_ONCE = 500


def alike_pairs(edges_SE: np.ndarray, family_S: np.ndarray) -> np.ndarray:
    """Return pairs whose connectomes are as similar as relatives' and who are not known to be of one family.

    Parameters
    ----------
    edges_SE : (S, E)
        NaN where absent; people without any are in no pair.
    family_S : (S,) int
        From `dtb.people.covariates.family_numbers`.

    Returns
    -------
    (P, 2) int
        Places of both; the correlation over edges of what is left when the mean over people is taken out is far above that of others.
    """
    there_S = np.flatnonzero(np.isfinite(edges_SE).any(axis=1))
    if len(there_S) < FEWEST_PEOPLE:
        return np.zeros((0, 2), np.int64)
    edges_SE, family_S = edges_SE[there_S], family_S[there_S]
    present_SE = np.isfinite(edges_SE)
    mean_E = np.where(present_SE, edges_SE, 0.0).sum(axis=0) / np.maximum(present_SE.sum(axis=0), 1)
    rest_SE = np.where(present_SE, edges_SE - mean_E, 0.0).astype(np.float32)
    rest_SE /= np.maximum(np.sqrt((rest_SE**2).mean(axis=0)), 1e-12)
    rest_SE -= rest_SE.mean(axis=1, keepdims=True)
    rest_SE /= np.maximum(np.sqrt((rest_SE**2).sum(axis=1, keepdims=True)), 1e-12)
    found, limit = [], np.inf
    for begin in range(0, len(rest_SE), _ROWS_AT_ONCE):
        r_SS = rest_SE[begin : begin + _ROWS_AT_ONCE] @ rest_SE.T
        row_P, column_P = np.nonzero(np.arange(begin, begin + len(r_SS))[:, None] < np.arange(len(rest_SE)))
        r_P = r_SS[row_P, column_P]
        if begin == 0:
            middle = float(np.median(r_P))
            limit = middle + FURTHEST * 1.4826 * float(np.median(np.abs(r_P - middle)))
        pairs_P2 = np.stack([row_P + begin, column_P], axis=1)[r_P > limit]
        found.append(pairs_P2[family_S[pairs_P2[:, 0]] != family_S[pairs_P2[:, 1]]])
    return np.asarray(there_S[np.concatenate(found)])
