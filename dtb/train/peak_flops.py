"""The peak operations per second of a rank's device, to which a training's throughput is compared.

For GPUs with a known data sheet it is the data sheet's figure. For others, and for the CPU, it is the rate at which this rank multiplies
large matrices, measured by all ranks at once, so that ranks which share cores do not each count all of them.
"""

from __future__ import annotations

import math
import time

import torch

from dtb.config import TrainConfig

# By a part of the name that torch gives: operations a second in float32 and in bf16 without sparsity, from NVIDIA's data sheets.
# Recurrences run in IEEE float32, so TF32's rates are nobody's peak here.
_DATA_SHEETS = {
    "A100": (19.5e12, 312e12),
    "H100 PCIe": (51e12, 756e12),
    "H100 80GB HBM3": (67e12, 989e12),
    "H200": (67e12, 989e12),
    "L40S": (91.6e12, 362e12),
}
_CPU_SIZE, _GPU_SIZE, _NUM_PRODUCTS = 1024, 8192, 3


def peak_flops(device: torch.device, precision: str) -> float:
    """Return the peak operations per second of this rank's device in a precision; see the module.

    Parameters
    ----------
    device : torch.device
    precision : {"float32", "bf16"}

    Returns
    -------
    float
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for part, (float32, bf16) in _DATA_SHEETS.items():
        if part in name:
            return bf16 if precision == "bf16" else float32
    return _measured(device, torch.bfloat16 if precision == "bf16" else torch.float32)


def peak_of_all(device: torch.device, config: TrainConfig) -> float:
    """Return the sum of `peak_flops` over the ranks, which measure at the same time; every rank must call it."""
    torch.distributed.barrier()
    peak = torch.tensor([peak_flops(device, config.precision)], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(peak)
    return float(peak)


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    size = _CPU_SIZE if device.type == "cpu" else _GPU_SIZE
    matrix_NN = torch.ones(size, size, dtype=dtype, device=device)
    best = math.inf
    for _ in range(1 + _NUM_PRODUCTS):
        began = time.perf_counter()
        # Reading a number waits for the device.
        float((matrix_NN @ matrix_NN)[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best
