"""The recurrent cells: pure functions from a drive and a state to the next state.

Shape letters: `N` hidden unit, `G` rows of the recurrent weights: N, or 2N for the gated cell (gate rows, then candidate rows).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

CellName = Literal["elman", "leaky", "gated"]


def num_rows(cell: CellName, num_hidden: int) -> int:
    """How many rows (G) the cell's recurrent and input weights have."""
    return 2 * num_hidden if cell == "gated" else num_hidden


def next_state(cell: CellName, drive_G: Tensor, state_N: Tensor, rate_N: Tensor | None) -> Tensor:
    """Take one step.

    Parameters
    ----------
    cell : {"elman", "leaky", "gated"}
        ``elman``: ``tanh(drive)``. ``leaky``: ``(1 - rate) * state + rate * tanh(drive)``. ``gated``: the same, with
        ``rate = sigmoid(first half of the drive)`` anew at each step.
    drive_G : (..., G) Tensor
        ``W @ state + input + bias``.
    state_N : (..., N) Tensor
        State before the step.
    rate_N : (..., N) Tensor or None
        Share of the way to the new value that a unit goes in a step; for the leaky cell alone.

    Returns
    -------
    (..., N) Tensor
    """
    if cell == "elman":
        return torch.tanh(drive_G)
    if cell == "leaky":
        assert rate_N is not None
        return torch.lerp(state_N, torch.tanh(drive_G), rate_N.expand_as(state_N))
    gate_N, candidate_N = drive_G.chunk(2, dim=-1)
    return torch.lerp(state_N, torch.tanh(candidate_N), torch.sigmoid(gate_N))
