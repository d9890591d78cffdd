"""From tensors to what goes over the wire.

Shape letters: see `dtb.view.scene`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dtb.cohort.records import Run
from dtb.intervene.spaces import Start
from dtb.tasks.spec import TaskSpec
from dtb.twin.batch import Batch
from dtb.view import api
from dtb.view.scene import Move, Scene, Wish, edge_place

_DIGITS = 4


def plain(values: Tensor, digits: int = _DIGITS) -> list[Any]:
    """Give nested lists of rounded numbers, None where there is none."""

    def without_nan(one: Any) -> Any:
        if isinstance(one, list):
            return [without_nan(each) for each in one]
        return round(one, digits) if math.isfinite(one) else None

    return list(without_nan(values.double().tolist()))


def trials_of(block: Batch, run: Run, spec: TaskSpec) -> list[api.BlockTrial]:
    """Describe the trials of a block, and what the person did in them."""
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


def connectome_of(
    place: int, wish: Wish, start: Start, move: Move, distance_2S: tuple[Tensor, Tensor]
) -> api.Connectome:
    """Say how far one performer's connectome was moved."""
    num_regions = start.present_SR.shape[1]
    base_RR, change_E = start.base_SRR[place], move.change_SE[place]
    edges = []
    for first, second, _ in wish.edges:
        before = float(base_RR[first, second])
        edges.append((before, before + float(change_E[edge_place(first, second, num_regions)])))
    return api.Connectome(
        asked=round(float(move.asked_S[place]), 6),
        made=round(float(move.made_S[place]), 6),
        distance_before=round(float(distance_2S[0][place]), _DIGITS),
        distance_after=round(float(distance_2S[1][place]), _DIGITS),
        edges=[(round(before, _DIGITS), round(after, _DIGITS)) for before, after in edges],
    )


def performer(
    place: int, person: str, connectome: api.Connectome, scene: Scene, bold_V: Tensor, num_alternatives: int
) -> api.Performer:
    """Say what one performer did."""
    return api.Performer(
        person=person,
        connectome=connectome,
        figures=figures(scene.indicators, scene.figures_SM[place]),
        choice=plain(scene.choice_SJA[place, :, :num_alternatives]),
        omission=plain(scene.omission_SJ[place]),
        mean_rt=plain(scene.mean_rt_SJ[place]),
        density=plain(scene.density_SJG[place]),
        bold=plain(bold_V),
    )


def figures(indicators: Sequence[Any], values_M: Tensor) -> dict[str, float | None]:
    """Name figures by their indicators' kinds."""
    return dict(zip((one.kind for one in indicators), plain(values_M), strict=True))


def silent() -> Tensor:
    """Give a series without any volume."""
    return torch.zeros(0)
