"""The length of a training in optimizer steps, and its batch size: chosen to fit the cohort unless they are given.

What a twin learns depends on the number of steps, not on how often people are seen: ten people in one batch make one step per epoch. So
a small cohort gets small batches and many epochs, and a large one enough passes to see everybody often.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dtb.config import TrainConfig, read_yaml
from dtb.files import readable
from dtb.stages import CONFIG_FILE

FEWEST_STEPS = 1500
"""A training makes at least so many steps, if nobody says how many."""
FEWEST_EPOCHS = 60
"""And sees everybody at least so often."""
PATIENCE_SHARE, PATIENCE_EPOCHS = 0.25, 15
"""It waits this share of all steps for a better validation loss, and at least so many epochs."""
NUM_CHECKPOINTS = 12
SMALLEST_BATCH, LARGEST_BATCH = 4, 16
STEPS_PER_EPOCH = 12
"""Batches are halved until an epoch has so many, or they are the smallest."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most that a training may do.

    Attributes
    ----------
    steps_per_epoch : int
        Global batches in an epoch.
    max_steps : int
        Training ends after this number of steps, also within an epoch.
    patience_steps : int
        Training ends earlier if the validation loss has not improved for this number of steps.
    """

    steps_per_epoch: int
    max_steps: int
    patience_steps: int

    @property
    def max_epochs(self) -> int:
        """Return the largest number of epochs that are begun."""
        return -(-self.max_steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Return the number of steps in epoch `epoch`, from 0; the last epoch may have fewer.

        Examples
        --------
        >>> [Budget(steps_per_epoch=5, max_steps=12, patience_steps=12).steps_in(epoch) for epoch in (0, 1, 2)]
        [5, 5, 2]
        """
        return min(self.steps_per_epoch, self.max_steps - epoch * self.steps_per_epoch)

    def steps_after(self, num_epochs: int) -> int:
        """Return the number of steps in this number of finished epochs."""
        return min(num_epochs * self.steps_per_epoch, self.max_steps)


def default_batch_size(num_people: int, num_workers: int) -> int:
    """Return the default number of people in a global batch: a power of two, so that 2 and 4 ranks share it evenly.

    Examples
    --------
    >>> [default_batch_size(num_people, 2) for num_people in (8, 60, 112, 228, 8000)]
    [4, 4, 8, 16, 16]
    >>> default_batch_size(40, 8)  # one for each rank
    8
    """
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and num_people < size * STEPS_PER_EPOCH:
        size //= 2
    while size < num_workers and size < num_people:
        size *= 2
    return size


def budget_of(config: TrainConfig, num_people: int) -> Budget:
    """Return the budget of the settings for a number of training people; the batch size must be given.

    Examples
    --------
    >>> budget_of(TrainConfig(batch_size=50, max_epochs=800), 228)
    Budget(steps_per_epoch=5, max_steps=4000, patience_steps=1000)
    """
    assert config.batch_size is not None
    per_epoch = max(-(-num_people // config.batch_size), 1)

    def fewer(steps: int | None, epochs: int | None) -> int | None:
        given = [steps, None if epochs is None else epochs * per_epoch]
        return min((one for one in given if one is not None), default=None)

    most = fewer(config.max_steps, config.max_epochs) or max(FEWEST_STEPS, FEWEST_EPOCHS * per_epoch)
    patience = fewer(config.patience_steps, config.patience_epochs)
    return Budget(per_epoch, most, patience or max(-int(-PATIENCE_SHARE * most // 1), PATIENCE_EPOCHS * per_epoch))


def fitted(config: TrainConfig, num_people: int, begun: int | None = None) -> TrainConfig:
    """Return the settings with every number that was left open chosen.

    Parameters
    ----------
    config : TrainConfig
    num_people : int
        In the training part of the split.
    begun : int, optional
        The batch size that this training was begun with, which a resumed training keeps.
    """
    size = config.batch_size or begun or default_batch_size(num_people, config.num_workers)
    config = dataclasses.replace(config, batch_size=size)
    budget = budget_of(config, num_people)
    return dataclasses.replace(
        config,
        max_steps=budget.max_steps,
        patience_steps=budget.patience_steps,
        checkpoint_every_epochs=config.checkpoint_every_epochs or -(-budget.max_epochs // NUM_CHECKPOINTS),
    )


def begun_batch_size(out: Path) -> int | None:
    """Read the batch size of the training that was begun in a folder; None if there is none."""
    path = out / CONFIG_FILE
    if not path.is_file():
        return None
    found = read_yaml(path, "`dtb train` wrote one there")
    with readable(path, "Give another output folder."):
        size = (found or {}).get("train", {}).get("batch_size")
    return size if isinstance(size, int) else None
