"""Finding the people whose gradient is not finite, at their generated weights, before the optimizer sums over people.

A finite loss does not imply a finite gradient (a state that saturates at an infinite input has a gradient of 0 times infinity), and
DeepSpeed does not check gradients in float32. Shape letter: `S` subject.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dtb.twin.hypernetwork import Generated
from dtb.twin.model import Twin


class NonFiniteGradients:
    """Watches the gradients that reach each person's generated weights.

    Parameters
    ----------
    twin : Twin
    """

    def __init__(self, twin: Twin) -> None:
        self._seen: list[Tensor] = []
        twin.hypernetwork.register_forward_hook(self._watch)

    def finite_S(self) -> Tensor | None:
        """Return for each person whether all gradients since the last call were finite, (S,) bool; None if there were none."""
        seen, self._seen = self._seen, []
        return torch.stack(seen).all(0) if seen else None

    def _watch(self, _module: Any, _inputs: Any, generated: Generated) -> None:
        recurrence = generated.recurrence
        personal = (
            generated.input_SGI,
            generated.bias_SG,
            generated.rate_SN,
            generated.readout_SON,
            generated.readout_bias_SO,
            recurrence.full_SGN,
            recurrence.left_SGQ,
            recurrence.right_SNQ,
        )
        for tensor in personal:
            if tensor is not None and tensor.requires_grad:
                tensor.register_hook(self._see)

    def _see(self, gradient: Tensor) -> None:
        self._seen.append(torch.isfinite(gradient).flatten(1).all(1))
