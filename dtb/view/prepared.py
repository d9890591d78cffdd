"""A person of a run, prepared for simulation.

Shape letters: `S` subject, `E` connectome edge, `K` segment.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dtb.intervene.spaces import Start
from dtb.people.records import Run, SubjectRecord
from dtb.twin.batch import Batch


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedPerson:
    """A person, prepared for simulation.

    Attributes
    ----------
    record : SubjectRecord
    batch : Batch
        All of the person's segments.
    start : Start
    found_SE : (1, E) Tensor or None
        The change that `dtb intervene` found.
    """

    record: SubjectRecord
    batch: Batch
    start: Start
    found_SE: Tensor | None

    def places(self, task: int) -> list[int]:
        """Return the places of a task's segments in the batch."""
        return list(torch.nonzero(self.batch.task_SK[0] == task).flatten().tolist())

    def found(self) -> Tensor:
        """Return the change (1, E) that was found; 0 if none was."""
        return self.start.budget_S.new_zeros(1, self.start.num_edges) if self.found_SE is None else self.found_SE

    def run_of(self, place: int) -> Run:
        """Return the run that a segment is cut from."""
        return self.record.runs[int(self.batch.run_SK[0, place])]

    def label(self, place: int, burn_in_seconds: float) -> str:
        """Return a block's label: its run and the seconds that it counts."""
        run = self.run_of(place)
        parts = [run.label, *(f"{kind} {name}" for kind, name in (("session", run.session), ("run", run.run)) if name)]
        begin_K = self.batch.start_seconds_SK[0] + burn_in_seconds
        is_last = place + 1 == len(begin_K) or self.batch.run_SK[0, place + 1] != self.batch.run_SK[0, place]
        end = run.duration_seconds if is_last else float(begin_K[place + 1])
        return f"{', '.join(parts)}: {float(begin_K[place]):.0f} to {end:.0f} s"
