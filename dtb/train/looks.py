"""Looking at whether people's losses and gradients are finite, one batch late, so that a step waits for no number of its own.

To read a number of a GPU, the processor waits until everything before it is computed, and the GPU then waits for the processor. When the
flags of one batch are read, those of the next have been launched. What a broken batch did to the weights in between is not kept: the ranks
end, and begin again from a checkpoint, before which everything is looked at.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dtb.errors import StageError

SetAside = Callable[[dict[str, str]], None]


class Looks:
    """The batches that nobody has looked at yet.

    Parameters
    ----------
    set_aside : callable
        Called with people whose numbers are not finite, and the reasons, on the rank that has them.
    """

    def __init__(self, set_aside: SetAside) -> None:
        self._set_aside = set_aside
        self._waiting: deque[tuple[Sequence[str], list[str], Tensor, Any]] = deque()

    def later(self, pseudonyms: Sequence[str], finite: Mapping[str, Tensor | None]) -> None:
        """Look at the batch before this one, and at this one later.

        Parameters
        ----------
        pseudonyms : sequence of str
            People of the batch's rows; empty for a row without anybody.
        finite : mapping of str to Tensor or None
            For each quantity, whether it is finite for each row, (S,) bool.

        Raises
        ------
        StageError
            Somebody's number in the batch before is not finite.
        """
        found = {what: finite_S for what, finite_S in finite.items() if finite_S is not None}
        finite_FS = torch.stack(list(found.values()))
        copied = None
        if finite_FS.is_cuda:
            finite_FS, copied = finite_FS.to("cpu", non_blocking=True), torch.cuda.Event()
            copied.record()
        self._waiting.append((pseudonyms, list(found), finite_FS, copied))
        if len(self._waiting) > 1:
            self._look()

    def now(self) -> None:
        """Look at every batch.

        Raises
        ------
        StageError
            Somebody's number is not finite.
        """
        while self._waiting:
            self._look()

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Raise what is found of numbers that are not finite before whatever they broke within the block."""
        try:
            yield
        except Exception:
            self.now()
            raise
        self.now()

    def _look(self) -> None:
        pseudonyms, names, finite_FS, copied = self._waiting.popleft()
        if copied is not None:
            copied.synchronize()
        if finite_FS.all():
            return
        self._waiting.clear()  # what comes after somebody's number was not finite is nobody's fault
        what, finite_S = next((what, row_S) for what, row_S in zip(names, finite_FS, strict=True) if not row_S.all())
        people = [who for who, is_finite in zip(pseudonyms, finite_S.tolist(), strict=True) if who and not is_finite]
        self._set_aside(dict.fromkeys(people, f"the {what} is not a finite number"))
        raise StageError(
            f"The {what} of {', '.join(people)} is not a finite number. If it is everybody's, training diverged: a smaller "
            "train.learning_rate is the first thing to try."
        )
