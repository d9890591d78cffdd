"""Replies of the HTTP interface, made from tensors.

Shape letters: see `dtb.view.scene`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dtb.intervene.spaces import Start
from dtb.people.records import Run
from dtb.tasks.spec import TaskSpec
from dtb.twin.batch import Batch
from dtb.view import api
from dtb.view.scene import ManualChange, Move, Scene, edge_place

_DIGITS = 4


def plain(values: Tensor, digits: int = _DIGITS) -> list[Any]:
    """Return nested lists of rounded numbers, None for a missing one."""

    def without_nan(one: Any) -> Any:
        if isinstance(one, list):
            return [without_nan(each) for each in one]
        return round(one, digits) if math.isfinite(one) else None

    return list(without_nan(values.double().tolist()))


def trials_of(block: Batch, run: Run, spec: TaskSpec) -> list[api.BlockTrial]:
    """Return the trials of a block, with the person's responses."""
    table = block.trials

    def named(flags_A: Tensor) -> list[str]:
        return [name for name, is_it in zip(spec.alternatives, flags_A.tolist(), strict=False) if is_it]

    found = []
    for place, row in enumerate(table.trial_J.tolist()):
        condition = int(table.condition_J[place])
        found.append(
            api.BlockTrial(
                onset=round(float(run.trials.onset_seconds_J[row]), _DIGITS),
                window=round(float(run.trials.window_seconds_J[row]), _DIGITS),
                condition=spec.conditions[condition] if condition >= 0 else None,
                correct=named(table.correct_JA[place]),
                choice=named(table.response_JA[place]),
                rt=plain(table.rt_seconds_J[place : place + 1])[0],
                usable=bool(table.usable_J[place]),
            )
        )
    return found


def connectome_of(wanted: ManualChange, start: Start, move: Move, distances: tuple[float, ...]) -> api.Connectome:
    """Return the size of the change of one person's connectome; `distances` are from the training people's mean, before and after."""
    num_regions = start.present_SR.shape[1]
    edges = []
    for first, second, _ in wanted.edges:
        before = float(start.base_SRR[0, first, second])
        after = before + float(move.change_SE[0, edge_place(first, second, num_regions)])
        edges.append((round(before, _DIGITS), round(after, _DIGITS)))
    return api.Connectome(
        asked=round(float(move.asked_S[0]), 6),
        made=round(float(move.made_S[0]), 6),
        distance_before=round(distances[0], _DIGITS),
        distance_after=round(distances[1], _DIGITS),
        edges=edges,
    )


def performer(
    person: str,
    connectome: api.Connectome,
    scene: Scene,
    bold_VR: Tensor,
    column: int | None,
    num_alternatives: int,
) -> api.Performer:
    """Return the simulation of a scene with one twin; `column` is the region whose BOLD is drawn."""
    return api.Performer(
        person=person,
        connectome=connectome,
        figures=figures(scene.indicators, scene.figures_SM[0]),
        choice=plain(scene.choice_SJA[0, :, :num_alternatives]),
        omission=plain(scene.omission_SJ[0]),
        mean_rt=plain(scene.mean_rt_SJ[0]),
        density=plain(scene.density_SJG[0]),
        bold=plain(_column(bold_VR, column)),
        bold_map=plain(bold_VR.T),
    )


def bold_of(bold_VR: Tensor, column: int | None) -> dict[str, list[Any]]:
    """Return the fields of measured BOLD."""
    return {"bold": plain(_column(bold_VR, column)), "bold_map": plain(bold_VR.T)}


def _column(bold_VR: Tensor, column: int | None) -> Tensor:
    return torch.zeros(0) if column is None else bold_VR[:, column]


def figures(indicators: Sequence[Any], values_M: Tensor) -> dict[str, float | None]:
    """Return figures by their indicators' kinds."""
    return dict(zip((one.kind for one in indicators), plain(values_M), strict=True))
