"""The recurrence over time: the hot loop of the whole system, behind one function.

`scan` takes what enters each unit at each step and the recurrent weights, and returns every state. There are a plain reference, which
anyone can read and autograd differentiates, and fast paths that agree with it: compiled code for the CPU
(`dtb.twin.recurrence.compiled`); for a GPU a kernel that keeps a person's weights on the chip where they fit
(`dtb.twin.recurrence.persistent`); and for all else batched torch operations with a backward pass written by hand
(`dtb.twin.recurrence.batched`).

Shape letters: `S` subject, `K` segment, `T` model step, `N` hidden unit, `G` row of the recurrent weights (see
`dtb.twin.recurrence.cells`), `Q` rank.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dtb.twin.precision import ieee
from dtb.twin.recurrence.batched import fast_scan
from dtb.twin.recurrence.cells import CellName, next_state
from dtb.twin.recurrence.compiled import is_usable, native_scan
from dtb.twin.recurrence.persistent import fits, persistent_scan
from dtb.twin.recurrence.weights import Recurrence

DENSE_BYTES = 2**18
"""Low-rank weights are multiplied out where one person's matrix is no larger: it stays in cache, and is no dearer than its factors."""


def scan(
    cell: CellName,
    drive_SKTG: Tensor,
    recurrence: Recurrence,
    rate_SN: Tensor | None = None,
    noise_SKTN: Tensor | None = None,
    *,
    initial_SKN: Tensor | None = None,
    method: Literal["fast", "reference"] = "fast",
) -> Tensor:
    """Run the network of each person over their segments.

    Everything is computed in float32 (float64 if given float64), whatever the precision around it: rounding errors of a long
    recurrence add up.

    Parameters
    ----------
    cell : {"elman", "leaky", "gated"}
        See `dtb.twin.recurrence.cells.next_state`.
    drive_SKTG : (S, K, T, G) Tensor
        Input and biases at each step.
    recurrence : Recurrence
    rate_SN : (S, N) Tensor or None
        Rates of the leaky cell, in (0, 1].
    noise_SKTN : (S, K, T, N) Tensor or None
        Added to the state after each step; a constant, no gradient reaches it.
    initial_SKN : (S, K, N) Tensor or None
        State before the first step; zero without one.
    method : {"fast", "reference"}
        Two ways to the same numbers.

    Returns
    -------
    (S, K, T, N) Tensor
        State after each step.

    Raises
    ------
    ValueError
        An argument does not fit the drive.
    """
    with ieee(drive_SKTG.device.type):
        drive_SKTG = exact(drive_SKTG)
        recurrence = Recurrence(*(None if weight is None else exact(weight) for weight in recurrence))
        rate_SN = None if rate_SN is None else exact(rate_SN)
        noise_SKTN = None if noise_SKTN is None else noise_SKTN.to(drive_SKTG.dtype)
        initial_SKN = None if initial_SKN is None else initial_SKN.to(drive_SKTG.dtype)
        rest = (rate_SN, noise_SKTN, initial_SKN)
        _check(cell, drive_SKTG, recurrence, *rest)
        if method == "reference" or drive_SKTG.numel() == 0:
            return _reference_scan(cell, drive_SKTG, recurrence.dense(), *rest)
        if recurrence.left_SGQ is not None and recurrence.left_SGQ.shape[-1] == 0:
            recurrence = Recurrence(recurrence.dense())
        if is_usable(drive_SKTG):
            small = recurrence.full_SGN is None and recurrence.dense_bytes <= DENSE_BYTES
            return native_scan(cell, drive_SKTG, Recurrence(recurrence.dense()) if small else recurrence, *rest)
        if fits(drive_SKTG, recurrence.num_hidden):
            return persistent_scan(cell, drive_SKTG, recurrence.dense(), *rest)
        return fast_scan(cell, drive_SKTG, recurrence, *rest)


def _check(
    cell: CellName,
    drive_SKTG: Tensor,
    recurrence: Recurrence,
    rate_SN: Tensor | None,
    noise_SKTN: Tensor | None,
    initial_SKN: Tensor | None,
) -> None:
    """Refuse what does not fit together: compiled code is given addresses, and would read whatever lies there."""
    if drive_SKTG.ndim != 4 or (cell == "gated" and drive_SKTG.shape[3] % 2):
        raise ValueError(
            f"drive_SKTG has shape {tuple(drive_SKTG.shape)}; it has four axes (subject, segment, step, row), "
            "and for the gated cell two rows a unit"
        )
    if [weight is not None for weight in recurrence] not in ([True, False, False, False], [False, True, True, True]):
        raise ValueError("recurrence needs either full_SGN, or shared_GN, left_SGQ and right_SNQ")
    if (rate_SN is not None) != (cell == "leaky"):
        raise ValueError(
            f"rate_SN {'is missing' if rate_SN is None else 'is given'}: the leaky cell has rates, no other"
        )
    subjects, segments, steps, rows = drive_SKTG.shape
    hidden = rows // 2 if cell == "gated" else rows
    rank = 0 if recurrence.left_SGQ is None else recurrence.left_SGQ.shape[-1]
    for name, tensor, shape in (
        ("recurrence.full_SGN", recurrence.full_SGN, (subjects, rows, hidden)),
        ("recurrence.shared_GN", recurrence.shared_GN, (rows, hidden)),
        ("recurrence.left_SGQ", recurrence.left_SGQ, (subjects, rows, rank)),
        ("recurrence.right_SNQ", recurrence.right_SNQ, (subjects, hidden, rank)),
        ("rate_SN", rate_SN, (subjects, hidden)),
        ("noise_SKTN", noise_SKTN, (subjects, segments, steps, hidden)),
        ("initial_SKN", initial_SKN, (subjects, segments, hidden)),
    ):
        if tensor is None:
            continue
        found = (tuple(tensor.shape), tensor.dtype, tensor.device)
        wanted = (shape, drive_SKTG.dtype, drive_SKTG.device)
        if found != wanted:
            raise ValueError(
                "{} has shape {}, type {} and device {}; ".format(name, *found)
                + "with this drive_SKTG it needs shape {}, type {} and device {}".format(*wanted)
            )


def exact(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is where that is more precise already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _reference_scan(
    cell: CellName,
    drive_SKTG: Tensor,
    weights_SGN: Tensor,
    rate_SN: Tensor | None,
    noise_SKTN: Tensor | None,
    initial_SKN: Tensor | None,
) -> Tensor:
    state_SKN = drive_SKTG.new_zeros(*drive_SKTG.shape[:2], weights_SGN.shape[-1])
    if initial_SKN is not None:
        state_SKN = initial_SKN
    rate_SKN = None if rate_SN is None else rate_SN[:, None]
    states = []
    # Unbinding once: a slice per step would cost a full-size gradient per step in the backward pass.
    noises = [None] * drive_SKTG.shape[2] if noise_SKTN is None else noise_SKTN.unbind(2)
    for drive_SKG, noise_SKN in zip(drive_SKTG.unbind(2), noises, strict=True):
        state_SKN = next_state(cell, drive_SKG + state_SKN @ weights_SGN.mT, state_SKN, rate_SKN)
        if noise_SKN is not None:
            state_SKN = state_SKN + noise_SKN
        states.append(state_SKN)
    if not states:
        return drive_SKTG[..., : weights_SGN.shape[-1]]
    return torch.stack(states, dim=2)
