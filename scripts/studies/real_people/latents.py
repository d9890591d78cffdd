"""How far apart the twins of one person's several scans are, beside two people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from dtb.api.twin import load_twin
from dtb.shards.read import open_cohort
from dtb.shards.split import Split
from dtb.twin.posterior import prior_of


def scans_of(shards: Path, people: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Return the connectome (E,) of each scan of each person, by pseudonym and the scan's entities."""
    records = open_cohort(shards, verify=False).records(people)
    return {
        record.pseudonym: {name: np.asarray(edges_E, float) for name, edges_E in record.rest_runs.items()}
        for record in records
    }


def read_by(trained: Path, scans: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Return the latents (Z,) that a twin reads of each scan, in standard deviations of what it reads of its training people."""
    twin = load_twin(trained)
    assert twin.prior is not None
    scale_Z = twin.prior.spread_ZZ.diagonal().double().clamp_min(1e-12).sqrt().numpy()
    found = {}
    for who, some in scans.items():
        read_KZ = prior_of(twin, torch.from_numpy(np.stack(list(some.values())).astype(np.float32))).mean_SZ.numpy()
        found[who] = dict(zip(some, read_KZ / scale_Z, strict=True))
    return found


def unseen_of(trained: Path) -> tuple[str, ...]:
    """Return the people whom a training has not seen."""
    return Split.load(trained / "split.json").test


def distances(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], *, by_correlation: bool
) -> dict[str, np.ndarray]:
    """Return, for each person with both scans: the distance of the two, the mean distance to others' second, and whether own is nearest.

    Parameters
    ----------
    first, second : mapping of str to array
        By person.
    by_correlation : bool
        1 - r, for connectomes; otherwise the root mean square difference, for latents.
    """
    people = [who for who in first if who in second]
    one_SX, other_SX = (np.stack([each[who] for who in people]) for each in (first, second))
    known_X = np.isfinite(one_SX).all(axis=0) & np.isfinite(other_SX).all(axis=0)
    one_SX, other_SX = one_SX[:, known_X], other_SX[:, known_X]
    if by_correlation:
        apart_SS = 1 - np.corrcoef(one_SX, other_SX)[: len(people), len(people) :]
    else:
        apart_SS = np.sqrt(((one_SX[:, None] - other_SX[None]) ** 2).mean(axis=2))
    own_S, others_SS = np.diagonal(apart_SS), np.where(np.eye(len(people), dtype=bool), np.nan, apart_SS)
    return {
        "own": own_S,
        "others": np.nanmean(others_SS, axis=1),
        "nearest": (own_S < np.nanmin(others_SS, axis=1)).astype(float),
    }
