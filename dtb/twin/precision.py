"""IEEE float32 arithmetic, also if the surrounding program allows less: rounding errors of a long recurrence add up.

Shape letters: `S` subject, `D` row, `N` what is summed over, `O` column.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def ieee(device_type: str) -> Iterator[None]:
    """Multiply float32 matrices as float32: no TF32, no bfloat16, no autocast on this type of device.

    It holds for programs that choose precision by PyTorch's present switches (``fp32_precision``) and by its older ones
    (``allow_tf32``, `torch.set_float32_matmul_precision`), and leaves both as they were.
    """
    backends = _backends()
    before = [_own_precision(backend) for backend in backends]
    # The older switch can be read only while it does not contradict the present ones, and setting it sets those too.
    older = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(older)
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def _backends() -> list[Any]:
    """Return what has a switch of its own; nothing before torch 2.9."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return []
    return [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # type: ignore[attr-defined]


def _own_precision(backend: Any) -> str:
    """Return what is set for this backend, ``"none"`` where it follows the settings above it; afterwards float32 is set."""
    effective: str = backend.fp32_precision
    backend.fp32_precision = "none"
    inherited: str = backend.fp32_precision
    backend.fp32_precision = "ieee"
    return "none" if inherited == effective else effective


def product(left_SDN: Tensor, right_SNO: Tensor) -> Tensor:
    """Multiply people's matrices in IEEE arithmetic, in the backward pass too, wherever that is called."""
    result: Tensor = _Product.apply(left_SDN, right_SNO)
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left_SDN: Tensor, right_SNO: Tensor) -> Tensor:
        ctx.save_for_backward(left_SDN, right_SNO)
        with ieee(left_SDN.device.type):
            return left_SDN @ right_SNO

    @staticmethod
    def backward(ctx: Any, gradient_SDO: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left_SDN, right_SNO = ctx.saved_tensors
        left_gradient_SDN = right_gradient_SNO = None
        with ieee(gradient_SDO.device.type):
            if ctx.needs_input_grad[0]:
                left_gradient_SDN = gradient_SDO @ right_SNO.mT
            if ctx.needs_input_grad[1]:
                # With few columns, on a CPU the product of the transposed takes a third to a half of the time.
                few = gradient_SDO.shape[-1] < left_SDN.shape[-1]
                right_gradient_SNO = (gradient_SDO.mT @ left_SDN).mT if few else left_SDN.mT @ gradient_SDO
        return left_gradient_SDN, right_gradient_SNO
