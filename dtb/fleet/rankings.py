"""Rankings of the regions, and of the pairs of networks, that a change of the connectome affects most.

Shape letters: `S` subject, `R` region, `E` connectome edge, `N` network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dtb.fleet.actors.ledger import column_of
from dtb.people.networks import network_of


def rank_regions(keys: Sequence[str], change_SE: np.ndarray, regions: Sequence[str]) -> pa.Table:
    """Return each person's regions, ranked by their share of the change.

    Parameters
    ----------
    keys : sequence of str
        Pseudonyms.
    change_SE : (S, E) ndarray
        Changes of the correlations, upper triangle row by row.
    regions : sequence of str
        Names.

    Returns
    -------
    Table
        A row for each person and region whose edges change: `rank` from 1; `share` of the squared change that lies on the region's edges,
        each edge counted half for each end; `strength_change`, the sum of the changes of the region's correlations.
    """
    rows, columns = np.triu_indices(len(regions), 1)
    networks = np.array([network_of(name) for name in regions], dtype=object)
    names = np.array(regions, dtype=object)
    parts = []
    for key, change_E in zip(keys, change_SE, strict=True):
        square_R, strength_R = np.zeros(len(regions)), np.zeros(len(regions))
        for ends in (rows, columns):
            np.add.at(square_R, ends, change_E**2)
            np.add.at(strength_R, ends, change_E)
        order = np.argsort(-square_R, kind="stable")
        order = order[square_R[order] > 0]
        share = square_R[order] / max(square_R.sum(), 1e-300)
        parts.append(
            {
                "pseudonym": np.full(len(order), key, dtype=object),
                "rank": np.arange(1, len(order) + 1, dtype=np.int32),
                "region": names[order],
                "network": networks[order],
                "share": share.astype(np.float32),
                "strength_change": strength_R[order].astype(np.float32),
            }
        )
    return _table(parts)


def rank_networks(keys: Sequence[str], change_SE: np.ndarray, regions: Sequence[str]) -> pa.Table:
    """Return each person's pairs of networks (a network with itself included), ranked by their share of the change.

    Returns
    -------
    Table
        A row for each person and pair whose edges change: `rank` from 1; `network` and `other`, in alphabetical order; `share` of the
        squared change; `mean_change` of the correlations over the pair's edges.
    """
    rows, columns = np.triu_indices(len(regions), 1)
    names, network_R = np.unique([network_of(name) for name in regions], return_inverse=True)
    pair_E = np.minimum(network_R[rows], network_R[columns]) * len(names) + np.maximum(
        network_R[rows], network_R[columns]
    )
    pairs, place_E = np.unique(pair_E, return_inverse=True)
    num_edges = np.bincount(place_E)
    parts = []
    for key, change_E in zip(keys, change_SE, strict=True):
        square = np.bincount(place_E, weights=change_E**2)
        mean = np.bincount(place_E, weights=change_E) / num_edges
        order = np.argsort(-square, kind="stable")
        order = order[square[order] > 0]
        parts.append(
            {
                "pseudonym": np.full(len(order), key, dtype=object),
                "rank": np.arange(1, len(order) + 1, dtype=np.int32),
                "network": names[pairs[order] // len(names)].astype(object),
                "other": names[pairs[order] % len(names)].astype(object),
                "share": (square[order] / max(square.sum(), 1e-300)).astype(np.float32),
                "mean_change": mean[order].astype(np.float32),
            }
        )
    return _table(parts)


def _table(parts: Sequence[dict[str, np.ndarray]]) -> pa.Table:
    if not parts:
        return pa.table({})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return pa.table({name: column_of(values) for name, values in columns.items()})
