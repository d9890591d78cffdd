"""GPUs that were reserved: whether they compute at all, and how much of a GPU's memory a share of it may take.

A CPU in place of a reserved GPU would be a hundred times slower, and nobody would be told. So a GPU multiplies before anything begins.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["bytes_of_share", "fault_of", "has_nvidia_driver", "keep_to_share"]

_SIZE = 256
_CONTEXT_BYTES = 512 * 2**20
"""What the driver itself takes of a GPU's memory for each process, roughly; PyTorch does not count it."""
FULL = "no memory of it is free"
"""What `fault_of` says of a GPU whose memory others have."""


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver is on this machine, whatever PyTorch can use."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def fault_of(device: torch.device) -> str:
    """Return why a device cannot multiply two matrices; empty if it can.

    Parameters
    ----------
    device : torch.device
    """
    import torch

    try:
        matrix_NN = torch.full((_SIZE, _SIZE), 0.5, device=device)
        product = float((matrix_NN @ matrix_NN).sum())
    except torch.OutOfMemoryError:
        return FULL
    # PyTorch without CUDA fails an assertion.
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    right = 0.25 * _SIZE**3
    return "" if product == right else f"a product of matrices came out as {product:g}, not {right:g}"


def bytes_of_share(total_bytes: int, share: float) -> int:
    """Return how many bytes of a GPU a process may take that reserved a share of it.

    Parameters
    ----------
    total_bytes : int
        The GPU's memory.
    share : float
        1 and more for whole GPUs.

    Examples
    --------
    >>> bytes_of_share(80 * 2**30, 1.0) / 2**30
    80.0
    >>> bytes_of_share(80 * 2**30, 0.25) / 2**30  # without the half GiB that the driver takes for each process
    19.5
    """
    return total_bytes if share >= 1 else max(int(total_bytes * share) - _CONTEXT_BYTES, 0)


def keep_to_share(device: torch.device, share: float) -> int:
    """Limit this process to its share of a GPU's memory; return how many bytes that is.

    What is more raises `torch.OutOfMemoryError` here, in place of taking it from others.

    Parameters
    ----------
    device : torch.device
        A GPU.
    share : float
    """
    import torch

    total = torch.cuda.get_device_properties(device).total_memory
    allowed = bytes_of_share(total, share)
    if share < 1:
        # PyTorch refuses a device without a number here.
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(allowed / total, index)
    return allowed
