"""The recurrence in compiled code: all steps of one person before the next, so that the weights stay in that core's cache.

People whose weights are a shared matrix and a change of low rank go in groups, so that each step is a product of many rows.

The library is built from `dtb/twin/recurrence/native` when dtb is installed and there is a C++ compiler. Without it, and for what it does
not do (float64, other devices), `dtb.twin.recurrence.scan` takes the path of batched torch operations, which gives the same numbers.

Shape letters: see `dtb.twin.recurrence.scan`.
"""

from __future__ import annotations

import ctypes
import functools
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dtb.twin.precision import ieee
from dtb.twin.recurrence.cells import CellName
from dtb.twin.recurrence.weights import Recurrence

_CELLS = {"elman": 0, "leaky": 1, "gated": 2}
_VERSION = 3
LEVELS = ("plain", "AVX2", "AVX-512")


class _Sizes(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("subjects", "steps", "segments", "hidden", "rows", "rank")),
        ("cell", ctypes.c_int),
    )


_WEIGHTS = ("weights", "shared", "left", "right")


class _ForwardArrays(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p) for name in ("drive", *_WEIGHTS, "rate", "noise", "initial", "state", "active")
    )


class _BackwardArrays(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            "outer",
            *_WEIGHTS,
            "rate",
            "state",
            "active",
            "drive_gradient",
            "rate_gradient",
            "initial_gradient",
        )
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the compiled library; None where it was not built, or from another version's source."""
    folder = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"_scan{suffix}"
        if path.is_file():
            found = ctypes.CDLL(str(path))
            return found if hasattr(found, "dtb_scan_version") and found.dtb_scan_version() == _VERSION else None
    return None


def level() -> int:
    """Return the best instruction set that this processor has: an index into `LEVELS`; -1 without the library."""
    found = library()
    return -1 if found is None else int(found.dtb_scan_level())


def is_usable(drive_SKTG: Tensor) -> bool:
    """Whether compiled code can run this, and runs it faster: float32, on a CPU whose vectors it uses."""
    return drive_SKTG.device.type == "cpu" and drive_SKTG.dtype == torch.float32 and level() > 0


def native_scan(
    cell: CellName,
    drive_SKTG: Tensor,
    recurrence: Recurrence,
    rate_SN: Tensor | None,
    noise_SKTN: Tensor | None,
    initial_SKN: Tensor | None,
) -> Tensor:
    """Run the recurrence; parameters and result as in `dtb.twin.recurrence.scan.scan`. Differentiable once."""
    result: Tensor = _NativeScan.apply(cell, level(), drive_SKTG, *recurrence, rate_SN, noise_SKTN, initial_SKN)
    return result


class _NativeScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: CellName, instructions: int, drive_SKTG: Tensor, *tensors: Tensor | None) -> Tensor:
        num_subjects, num_segments, num_steps, num_rows = drive_SKTG.shape
        num_hidden = num_rows // 2 if cell == "gated" else num_rows
        *given, noise_SKTN, initial_SKN = [None if tensor is None else tensor.contiguous() for tensor in tensors]
        left_SGQ = given[2]
        rank = 0 if left_SGQ is None else left_SGQ.shape[-1]
        drive_STKG = drive_SKTG.transpose(1, 2).contiguous()
        noise_STKN = None if noise_SKTN is None else noise_SKTN.transpose(1, 2).contiguous()
        state_STKN = drive_SKTG.new_empty(num_subjects, num_steps + 1, num_segments, num_hidden)
        # The elman cell's activation is its state, unless noise was added to that.
        active_STKG = None if cell == "elman" and noise_SKTN is None else torch.empty_like(drive_STKG)
        sizes = _Sizes(num_subjects, num_steps, num_segments, num_hidden, num_rows, rank, _CELLS[cell])
        arrays = (drive_STKG, *given, noise_STKN, initial_SKN, state_STKN, active_STKG)
        _call("dtb_scan_forward", instructions, sizes, _ForwardArrays(*map(_address, arrays)))
        ctx.save_for_backward(*given, state_STKN, active_STKG)
        ctx.sizes, ctx.instructions = sizes, instructions
        return state_STKN[:, 1:].transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_SKTN: Tensor) -> tuple[Tensor | None, ...]:
        *given, state_STKN, active_STKG = ctx.saved_tensors
        full_SGN, _, left_SGQ, right_SNQ, rate_SN = given
        num_subjects, num_segments, num_steps, _ = gradient_SKTN.shape
        outer_STKN = gradient_SKTN.transpose(1, 2).contiguous()
        drive_gradient_STKG = outer_STKN.new_empty(num_subjects, num_steps, num_segments, ctx.sizes.rows)
        rate_gradient_SN = None if rate_SN is None else torch.empty_like(rate_SN)
        initial_gradient_SKN = torch.empty_like(state_STKN[:, 0]) if ctx.needs_input_grad[9] else None
        gradients = (drive_gradient_STKG, rate_gradient_SN, initial_gradient_SKN)
        arrays = (outer_STKN, *given, state_STKN, active_STKG, *gradients)
        _call("dtb_scan_backward", ctx.instructions, ctx.sizes, _BackwardArrays(*map(_address, arrays)))
        drive_SDG, before_SDN = drive_gradient_STKG.flatten(1, 2), state_STKN[:, :-1].flatten(1, 2)
        weights: tuple[Tensor | None, ...]
        with ieee("cpu"):
            if full_SGN is not None:
                weights = (drive_SDG.mT @ before_SDN, None, None, None)
            else:
                shared_GN = drive_SDG.flatten(0, 1).t() @ before_SDN.flatten(0, 1)
                left_gradient_SGQ = drive_SDG.mT @ (before_SDN @ right_SNQ)
                weights = (None, shared_GN, left_gradient_SGQ, before_SDN.mT @ (drive_SDG @ left_SGQ))
        drive_gradient_SKTG = drive_gradient_STKG.transpose(1, 2)
        return None, None, drive_gradient_SKTG, *weights, rate_gradient_SN, None, initial_gradient_SKN


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _call(name: str, instructions: int, sizes: _Sizes, arrays: ctypes.Structure) -> None:
    found = library()
    assert found is not None
    status = getattr(found, name)(instructions, torch.get_num_threads(), ctypes.byref(sizes), ctypes.byref(arrays))
    if status:
        raise MemoryError(f"{name}: no memory for the packed weights of one person per thread")
