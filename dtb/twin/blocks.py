"""Simulation of long runs in little memory: the states of one block of steps at a time, recomputed for the gradient.

What stays from each block is its last state, its press readouts and what it adds to BOLD. The price is one more forward pass.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `N` hidden unit, `R` BOLD region, `I` stimulus channel, `A`
response alternative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dtb.twin.hypernetwork import Generated
from dtb.twin.model import Twin

SHORTEST_BLOCK = 128
"""Below this many steps what each block costs once (weights laid out anew, their gradients added up) outweighs the steps themselves."""


def block_steps(num_steps: int) -> int:
    """Return the length of a block: about the square root of the number of steps, which minimises memory."""
    return max(SHORTEST_BLOCK, math.isqrt(max(num_steps - 1, 0)) + 1)


def perform_in_blocks(
    twin: Twin, generated: Generated, stimulus_SKTI: Tensor, seed_S: Tensor | None, volume_seconds_SKV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output of networks from `Twin.generate`, simulated block by block.

    Parameters
    ----------
    twin : Twin
    generated : Generated
    stimulus_SKTI : (S, K, T, I) Tensor
    seed_S : (S,) int64 Tensor or None
    volume_seconds_SKV : (S, K, V) Tensor

    Returns
    -------
    press_SKTA : (S, K, T, A) Tensor
        As in `TwinOutput`.
    bold_SKVR : (S, K, V, R) Tensor
        As `Twin.bold` gives it; with `bold: direct` (S, K, T, R), as from `Twin.bold_at_steps`.
    """
    delayed_SKTI, noise_SKTN = twin.inputs(stimulus_SKTI, seed_S)
    num_steps = delayed_SKTI.shape[2]
    length = block_steps(num_steps)

    def block(begin: int, state_SKN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        part = slice(begin, begin + length)
        noise = None if noise_SKTN is None else noise_SKTN[:, :, part]
        output = twin.advance(generated, delayed_SKTI[:, :, part], noise, state_SKN, with_bold=True)
        # A copy: a view would keep the block's states in memory.
        last_SKN = output.hidden_SKTN[:, :, -1].clone() if num_steps else state_SKN
        if twin.config.bold == "direct":
            return output.press_SKTA, twin.bold_at_steps(output), last_SKN
        if begin > 0:
            # BOLD is a sum over the steps of all blocks, and a constant that comes in once.
            output = output._replace(bold_bias_SR=torch.zeros_like(output.bold_bias_SR))
        return output.press_SKTA, twin.bold(output, volume_seconds_SKV - begin * twin.config.step_seconds), last_SKN

    state_SKN = generated.bias_SG.new_zeros(*delayed_SKTI.shape[:2], twin.config.num_hidden)
    presses, bolds = [], []
    for begin in range(0, max(num_steps, 1), length):
        press_SKTA, bold, state_SKN = checkpoint(block, begin, state_SKN, use_reentrant=False, preserve_rng_state=False)
        presses.append(press_SKTA)
        bolds.append(bold)
    if twin.config.bold == "direct":
        return torch.cat(presses, dim=2), torch.cat(bolds, dim=2)
    return torch.cat(presses, dim=2), torch.stack(bolds).sum(0)
