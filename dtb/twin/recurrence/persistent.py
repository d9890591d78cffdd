"""The recurrence on a GPU as one kernel: a person's weights stay on the chip for all steps, where they fit.

A step of a captured loop reads every person's weights from memory again; this reads them once. They fit where one segment's program
can hold them in the registers of one multiprocessor, which are 256 KB: up to 128 units. Larger networks (400 units are 640 KB)
take the loop of batched products, recorded as a CUDA graph (`dtb.twin.recurrence.batched`).

Shape letters: see `dtb.twin.recurrence.scan`.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dtb.twin.precision import ieee
from dtb.twin.recurrence.cells import CellName

MOST_UNITS = 128
_CELLS = {"elman": 0, "leaky": 1, "gated": 2}


def fits(drive_SKTG: Tensor, num_hidden: int) -> bool:
    """Whether the kernel can run this: float32 on a GPU, weights that fit on the chip, and kernels that start there."""
    return (
        drive_SKTG.device.type == "cuda"
        and drive_SKTG.dtype == torch.float32
        and num_hidden <= MOST_UNITS
        and starts(drive_SKTG.device)
    )


@functools.cache
def starts(device: torch.device) -> bool:
    """Try the smallest network there is, once in a process and device; where that fails, warn with the reason.

    That Triton is installed says too little: it builds its link to the driver at the first launch, with a C compiler.
    """
    one = torch.ones(1, 1, 1, 1, device=device)
    try:
        with torch.no_grad():
            persistent_scan("elman", one, one[0], None, None)
    except Exception as error:  # noqa: BLE001 - compilers and drivers fail in many ways, and there is another path
        warnings.warn(
            f"Triton's kernels do not start on {device} ({type(error).__name__}: {error}), so networks of up to {MOST_UNITS} units "
            "take the slower path of recorded batched products. Triton needs a C compiler and the headers of libc and Python: "
            "`apt-get install gcc libc6-dev python3-dev`, or name a compiler in CC.",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def persistent_scan(
    cell: CellName,
    drive_SKTG: Tensor,
    full_SGN: Tensor,
    rate_SN: Tensor | None,
    noise_SKTN: Tensor | None,
    initial_SKN: Tensor | None = None,
) -> Tensor:
    """Run the recurrence of full weights; parameters and result as in `dtb.twin.recurrence.scan.scan`. Differentiable once."""
    result: Tensor = _PersistentScan.apply(cell, drive_SKTG, full_SGN, rate_SN, noise_SKTN, initial_SKN)
    return result


class _PersistentScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: CellName, *tensors: Tensor | None) -> Tensor:
        from dtb.twin.recurrence.kernels import forward_kernel

        given = [None if tensor is None else tensor.contiguous() for tensor in tensors]
        drive_SKTG, weights_SGN, rate_SN, _, _ = given
        assert drive_SKTG is not None
        assert weights_SGN is not None
        num_subjects, num_segments, num_steps, _ = drive_SKTG.shape
        num_hidden = weights_SGN.shape[-1]
        state_SKTN = drive_SKTG.new_empty(num_subjects, num_segments, num_steps + 1, num_hidden)
        # The elman cell's activation is its state, unless noise was added to that.
        active_SKTG = None if cell == "elman" and tensors[3] is None else torch.empty_like(drive_SKTG)
        transposed_SNG = weights_SGN.mT.contiguous()
        _launch(forward_kernel, cell, state_SKTN, drive_SKTG, transposed_SNG, *given[2:], state_SKTN, active_SKTG)
        ctx.save_for_backward(weights_SGN, rate_SN, state_SKTN, active_SKTG)
        ctx.cell = cell
        return state_SKTN[:, :, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_SKTN: Tensor) -> tuple[Tensor | None, ...]:
        from dtb.twin.recurrence.kernels import backward_kernel

        weights_SGN, rate_SN, state_SKTN, active_SKTG = ctx.saved_tensors
        outer_SKTN = gradient_SKTN.contiguous()
        drive_gradient_SKTG = outer_SKTN.new_empty(*outer_SKTN.shape[:3], weights_SGN.shape[1])
        rate_gradient_SKN, initial_gradient_SKN = state_SKTN.new_empty(2, *state_SKTN[:, :, 0].shape)
        given = (outer_SKTN, weights_SGN, rate_SN, state_SKTN, active_SKTG)
        _launch(
            backward_kernel, ctx.cell, state_SKTN, *given, drive_gradient_SKTG, rate_gradient_SKN, initial_gradient_SKN
        )
        with ieee(outer_SKTN.device.type):
            weight_gradient_SGN = drive_gradient_SKTG.flatten(1, 2).mT @ state_SKTN[:, :, :-1].flatten(1, 2)
        return (
            None,
            drive_gradient_SKTG,
            weight_gradient_SGN,
            None if rate_SN is None else rate_gradient_SKN.sum(1),
            None,
            initial_gradient_SKN if ctx.needs_input_grad[5] else None,
        )


def _launch(kernel: Any, cell: CellName, state_SKTN: Tensor, *arrays: Tensor | None) -> None:
    """Start one program a segment."""
    num_subjects, num_segments, num_states, num_hidden = state_SKTN.shape
    block = max(16, 1 << (num_hidden - 1).bit_length())
    # 64 weights a thread, and twice as many for the gated cell: they stay in registers.
    num_warps = max(1, block * block // (32 * 64))
    with torch.cuda.device(state_SKTN.device) if state_SKTN.is_cuda else contextlib.nullcontext():
        kernel[(num_subjects * num_segments,)](
            *arrays, num_segments, num_states - 1, num_hidden, CELL=_CELLS[cell], BLOCK=block, num_warps=num_warps
        )
