"""Excerpts for searching: a few segments of each task, evenly spaced over it.

A search simulates at every step. Expected reaction times and choices hardly depend on which trials they are averaged over, so a few
segments give the direction at a fraction of the cost. Reported results are always measured on all segments.

Shape letters: see `dtb.twin.batch`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from dtb.twin.batch import Batch, TrialTensors


def excerpt(batch: Batch, segments_per_task: int, whole_S: np.ndarray | None = None) -> Batch:
    """Return at most `segments_per_task` segments of each task of each person, evenly spaced.

    Parameters
    ----------
    batch : Batch
    segments_per_task : int
    whole_S : (S,) bool ndarray, optional
        Whose segments are all kept.

    Returns
    -------
    Batch
        The same people, with the trials and volumes of the segments kept.
    """
    task_SK = batch.task_SK.cpu().numpy()
    kept = []
    for subject, task_K in enumerate(task_SK):
        if whole_S is not None and whole_S[subject]:
            kept.append(np.flatnonzero(task_K >= 0).tolist())
            continue
        mine: list[int] = []
        for task in np.unique(task_K[task_K >= 0]):
            places = np.flatnonzero(task_K == task)
            num = min(segments_per_task, len(places))
            # The middles of equal parts: neither the first nor the last minute of a run alone.
            mine.extend(places[((np.arange(num) + 0.5) * len(places) / num).astype(int)].tolist())
        kept.append(sorted(mine))
    return keep_segments(batch, kept)


def keep_segments(batch: Batch, kept: Sequence[Sequence[int]]) -> Batch:
    """Return the batch with the named segments only, and their trials and volumes.

    Parameters
    ----------
    batch : Batch
    kept : sequence of sequence of int
        One for each person: places among the segments of the batch.

    Returns
    -------
    Batch
    """
    num_people, num_segments = batch.task_SK.shape
    num_kept = max(1, *(len(mine) for mine in kept))
    chosen_SK = np.zeros((num_people, num_kept), dtype=np.int64)
    is_real_SK = np.zeros((num_people, num_kept), dtype=bool)
    new_place_SK = np.full((num_people, num_segments), -1, dtype=np.int64)
    for subject, mine in enumerate(kept):
        chosen_SK[subject, : len(mine)] = mine
        is_real_SK[subject, : len(mine)] = True
        new_place_SK[subject, list(mine)] = np.arange(len(mine))
    device = batch.task_SK.device
    chosen, is_real = torch.from_numpy(chosen_SK).to(device), torch.from_numpy(is_real_SK).to(device)
    person_S1 = torch.arange(num_people, device=device)[:, None]
    rows = {name: getattr(batch, name)[person_S1, chosen] for name in _BY_SEGMENT}
    for name in ("task_SK", "run_SK"):
        rows[name] = torch.where(is_real, rows[name], -1)
    rows["bold_counted_SKV"] = rows["bold_counted_SKV"] & is_real[..., None]
    rows["bold_steps_SKT"] = rows["bold_steps_SKT"] & is_real[..., None]
    rows["press_SKTA"] = rows["press_SKTA"] & is_real[..., None, None]
    rows["counted_SKT"] = rows["counted_SKT"] & is_real[..., None]
    rows["at_risk_SKT"] = torch.where(is_real[..., None], rows["at_risk_SKT"], 0.0)
    return dataclasses.replace(
        batch, trials=_trials_of(batch.trials, torch.from_numpy(new_place_SK).to(device)), **rows
    )


_BY_SEGMENT = (
    "run_SK",
    "session_SK",
    "start_seconds_SK",
    "stimulus_SKTI",
    "task_SK",
    "press_SKTA",
    "at_risk_SKT",
    "counted_SKT",
    "bold_SKVR",
    "bold_counted_SKV",
    "bold_steps_SKT",
    "volume_seconds_SKV",
)


def _trials_of(trials: TrialTensors, new_place_SK: torch.Tensor) -> TrialTensors:
    place_J = new_place_SK[trials.subject_J, trials.segment_J]
    values = {field.name: getattr(trials, field.name)[place_J >= 0] for field in dataclasses.fields(trials)}
    return TrialTensors(**values | {"segment_J": place_J[place_J >= 0]})
