"""How many floating-point operations a twin's matrix products take, for the throughput that training tells."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from dtb.twin.model import Twin
from dtb.twin.recurrence.cells import num_rows

Count = TypeVar("Count", float, Tensor)


def forward_flops(twin: Twin, num_people: Count, num_steps: Count) -> Count:
    """Count the operations of the matrix products of a forward pass: two for each weight that a number meets.

    Parameters
    ----------
    twin : Twin
    num_people : float or () Tensor
        How many networks are made.
    num_steps : float or () Tensor
        Model steps of all their segments together.

    Returns
    -------
    float or () Tensor
        Without the haemodynamic convolution, the likelihood and all that is done element by element; low-rank weights count as multiplied
        out.
    """
    config, sizes = twin.config, twin.sizes
    encoder = twin.hypernetwork.encoder
    per_person = sum(layer.weight.numel() for layer in twin.hypernetwork.modules() if isinstance(layer, nn.Linear))
    for matrix in (encoder.components_EC, encoder.reader_EZ):
        per_person += 0 if matrix is None else matrix.numel()
    rows, hidden = num_rows(config.cell, config.num_hidden), config.num_hidden
    per_step = rows * (hidden + sizes.num_channels + 1) + sizes.num_outputs * hidden
    return num_people * (2.0 * per_person) + num_steps * (2.0 * per_step)
