"""Randomness that belongs to a person: the same draws for the same seed, whatever else is in the batch, on any device.

Shape letters: `S` subject, `K` segment, `T` model step, `N` hidden unit, `E` connectome edge.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DROPOUT, _PROCESS = 1, 2
_BLOCK = 16
"""torch draws normals in blocks of this many; whole blocks make a shorter draw the beginning of a longer one."""


def dropout_mask(seed_S: Tensor, num_edges: int, share: float) -> Tensor:
    """Draw which edges each person's encoder sees.

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
    for row_E, seed in zip(mask_SE, seed_S.tolist(), strict=True):
        row_E.uniform_(generator=_generator(seed, _DROPOUT, 0))
    return (mask_SE >= share).float().div_(1.0 - share).to(seed_S.device)


def process_noise(seed_S: Tensor, num_segments: int, num_steps: int, num_hidden: int) -> Tensor:
    """Draw standard normal noise for each person's states; longer or more segments only append to it.

    Parameters
    ----------
    seed_S : (S,) int64 Tensor
        Each person's seed.
    num_segments, num_steps, num_hidden : int

    Returns
    -------
    (S, K, T, N) float32 Tensor
    """
    size = num_steps * num_hidden
    noise_SKD = torch.empty(len(seed_S), num_segments, -(-size // _BLOCK) * _BLOCK)
    for noise_KD, seed in zip(noise_SKD, seed_S.tolist(), strict=True):
        for segment, row_D in enumerate(noise_KD):
            row_D.normal_(generator=_generator(seed, _PROCESS, segment))
    noise_SKTN = noise_SKD[..., :size].reshape(len(seed_S), num_segments, num_steps, num_hidden)
    return noise_SKTN.to(seed_S.device)


def performance_seeds(seed: int, draw: int, num_subjects: int) -> Tensor:
    """Give people, who have no name but their place, seeds of the noise of one performance of several.

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
    return torch.tensor([_mixed(seed, draw, place) for place in range(num_subjects)], dtype=torch.int64)


def _generator(seed: int, stream: int, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(_mixed(seed, stream, index))


def _mixed(*parts: int) -> int:
    """Make one seed of several numbers, so that neighbouring ones share nothing (SplitMix64, Steele et al. 2014)."""
    value = 0
    for part in parts:
        value = (value ^ part) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 31
    return value & 0x7FFFFFFFFFFFFFFF
