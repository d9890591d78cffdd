"""The progress of a training: all that resuming needs beside the weights and the optimizer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from dtb.train.budget import Budget


@dataclasses.dataclass
class Progress:
    """The place in training.

    Attributes
    ----------
    epoch : int
        Epochs that are finished.
    step : int
        Global batches of the next epoch that are done.
    sums : dict
        Running sums over all ranks of that epoch, for its mean loss.
    best_loss : float
        Smallest validation loss so far.
    best_epoch : int
        The epoch (from 1) that reached it; 0 before the first.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    best_loss: float = math.inf
    best_epoch: int = 0

    def is_over(self, budget: Budget) -> bool:
        """Whether all steps are made, or the validation loss has not fallen for too long."""
        waited = (self.epoch - self.best_epoch) * budget.steps_per_epoch
        return self.epoch >= budget.max_epochs or (self.best_epoch > 0 and waited >= budget.patience_steps)

    def add(self, sums: Mapping[str, float]) -> None:
        """Add to the running sums of this epoch."""
        self.sums |= {name: self.sums.get(name, 0.0) + value for name, value in sums.items()}

    def to_plain(self) -> dict[str, Any]:
        """Return the progress as plain values."""
        return dataclasses.asdict(self)
