"""The scales of people who are in memory, found as a training finds those of people in shards."""

from __future__ import annotations

from collections.abc import Sequence

from dtb.people.records import SubjectRecord
from dtb.shards.split import Split
from dtb.tasks.taskset import TaskSet
from dtb.train.start import normalise
from dtb.train.start.summaries import Asked, summarise


def measure(
    records: Sequence[SubjectRecord],
    split: Split,
    num_edges: int,
    bold_regions: Sequence[int],
    *sizes,
    taskset: TaskSet | None = None,
    num_latents: int = 0,
    bold_of_cohort: bool = False,
) -> normalise.Normalisation:
    asked = Asked(split, tuple(bold_regions), bold_of_cohort, None if taskset is None else taskset.to_plain())
    return normalise.measure(
        ((record.connectome_E, summarise(record, asked)) for record in records),
        num_edges,
        len(bold_regions),
        *sizes,
        num_latents=num_latents,
        bold_of_cohort=bold_of_cohort,
    )
