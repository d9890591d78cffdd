"""Random numbers by person: the same draws for the same seed, in any batch and on any device.

Shape letters: `S` subject, `K` segment, `T` model step, `N` hidden unit, `E` connectome edge, `D` draw,
`Z` latent.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dtb.twin.host import on_host, sent

_DROPOUT, _PROCESS, _LATENT = 1, 2, 3


def dropout_mask(seed_S: Tensor, num_edges: int, share: float) -> Tensor:
    """Return the mask of edges that each person's encoder sees.

    Parameters
    ----------
    seed_S : (S,) int64 Tensor
        Each person's seed.
    num_edges : int
    share : float
        Share of the edges to hide.

    Returns
    -------
    (S, E) float32 Tensor
        0 for hidden edges, ``1 / (1 - share)`` for the others.
    """
    mask_SE = torch.empty(len(seed_S), num_edges)
    for row_E, seed in zip(mask_SE.numpy(), on_host(seed_S).tolist(), strict=True):
        _generator(seed, _DROPOUT, 0).random(dtype=np.float32, out=row_E)
    return sent((mask_SE >= share).float().div_(1.0 - share), seed_S.device)


def process_noise(seed_S: Tensor, num_segments: int, num_steps: int, num_hidden: int) -> Tensor:
    """Return standard normal noise for each person's states; longer or more segments only append to it.

    Parameters
    ----------
    seed_S : (S,) int64 Tensor
        Each person's seed.
    num_segments, num_steps, num_hidden : int

    Returns
    -------
    (S, K, T, N) float32 Tensor
    """
    noise_SKTN = torch.empty(len(seed_S), num_segments, num_steps, num_hidden)
    for noise_KTN, seed in zip(noise_SKTN.numpy(), on_host(seed_S).tolist(), strict=True):
        for segment, noise_TN in enumerate(noise_KTN):
            _generator(seed, _PROCESS, segment).standard_normal(dtype=np.float32, out=noise_TN)
    return sent(noise_SKTN, seed_S.device)


def latent_noise(seed_S: Tensor, num_draws: int, latent_size: int) -> Tensor:
    """Return standard normal numbers for draws of each person's latent; more draws only append to them.

    Parameters
    ----------
    seed_S : (S,) int64 Tensor
        Each person's seed.
    num_draws, latent_size : int

    Returns
    -------
    (S, D, Z) float64 Tensor
    """
    noise_SDZ = torch.empty(len(seed_S), num_draws, latent_size, dtype=torch.float64)
    for noise_DZ, seed in zip(noise_SDZ.numpy(), on_host(seed_S).tolist(), strict=True):
        _generator(seed, _LATENT, 0).standard_normal(out=noise_DZ)
    return sent(noise_SDZ, seed_S.device)


def performance_seeds(seed: int, draw: int, num_subjects: int) -> Tensor:
    """Return the seeds of people's noise in one of several simulations, by their place.

    Parameters
    ----------
    seed : int
    draw : int
        Which performance, from 0.
    num_subjects : int

    Returns
    -------
    (S,) int64 Tensor
        Each depends on seed, draw and place alone.
    """
    words = [_sequence(seed, draw, place).generate_state(1, np.uint64)[0] for place in range(num_subjects)]
    return torch.tensor([int(word) >> 1 for word in words], dtype=torch.int64)


def _generator(seed: int, stream: int, index: int) -> np.random.Generator:
    return np.random.default_rng(_sequence(seed, stream, index))


def _sequence(seed: int, *key: int) -> np.random.SeedSequence:
    """Return numbers with all bits mixed: torch's generator reads only 32 bits of a seed, so people would share draws."""
    return np.random.SeedSequence(seed % 2**64, spawn_key=key)
