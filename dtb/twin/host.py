"""What a GPU holds and main memory holds too: it is looked at there, without a wait for all that the GPU has still to do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_here_of = WeakTensorKeyDictionary()


def sent(here: Tensor, device: torch.device | str) -> Tensor:
    """Send a tensor that nobody writes to any more to a device, and remember that it lies here too for as long as it lies there.

    Parameters
    ----------
    here : Tensor
        In main memory; on any other device it is only moved.
    device : torch.device or str

    Returns
    -------
    Tensor
        `here` itself if it lies there.
    """
    device = torch.device(device)
    if here.device.type != "cpu" or device.type == "cpu":
        return here.to(device)
    if device.type == "cuda":
        here = here.pin_memory()  # from such memory a GPU takes it while this process goes on
    there = here.to(device, non_blocking=device.type == "cuda")
    _here_of[there] = here
    return there


def on_host(tensor: Tensor) -> Tensor:
    """Return a tensor in main memory: as it was `sent`, or else brought from its device, which waits for it."""
    if tensor.device.type == "cpu":
        return tensor
    here: Tensor | None = _here_of.get(tensor)
    return tensor.cpu() if here is None else here
