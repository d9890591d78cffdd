"""Simulation of one block of a task by a few twins: pure functions of tensors, without files and web.

A block is one segment of a person's run, as in training. All twins see the same stimuli, so that two people, or one person before and
after a change, differ only by their connectomes.

Shape letters: `S` twin, `T` model step, `V` volume, `A` response alternative, `E` connectome edge, `J` trial of the block,
`G` point of the reaction-time axis, `M` indicator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dtb.intervene.constraints import nearest_correlation, off_diagonal_norm
from dtb.intervene.indicators import Performance, TaskOutline, list_indicators, press_distribution
from dtb.intervene.kinds import Indicator
from dtb.intervene.spaces import SMALLEST_EIGENVALUE, Start
from dtb.twin.batch import Batch
from dtb.twin.edges import edges_of, matrix_of
from dtb.twin.model import Twin
from dtb.twin.readouts.press import PressDistribution

_RT_SECONDS, _MAX_RT_POINTS = 0.04, 200
_PROJECTIONS = 1
"""Alternating projections of a change that leaves the valid matrices. One, and the rescaling that ends it, is near enough to the nearest to
look at, and the answer must come while a hand is still on the slider."""


@dataclasses.dataclass(frozen=True)
class ManualChange:
    """A requested change of connectomes.

    Attributes
    ----------
    edges : tuple of (int, int, float)
        Two regions, and the number added to their correlation.
    gains : tuple of (int, float)
        A region, and the factor of its correlations.
    dose : float
        Share of the change that a search found for each person; 1 is all of it.
    """

    edges: tuple[tuple[int, int, float], ...] = ()
    gains: tuple[tuple[int, float], ...] = ()
    dose: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """The valid change of connectomes.

    Attributes
    ----------
    change_SE : (S, E) float64 Tensor
        The change of the correlations, which leaves a valid correlation matrix.
    asked_S, made_S : (S,) float64 Tensor
        Frobenius norm of the requested and of the valid change, as a share of the norm of the person's own correlations.
    """

    change_SE: Tensor
    asked_S: Tensor
    made_S: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Simulations of a block.

    Attributes
    ----------
    indicators : tuple of Indicator
    figures_SM : (S, M) Tensor
        NaN where the block has no trial for it.
    choice_SJA : (S, J, A) Tensor
        Probability of each alternative.
    omission_SJ, mean_rt_SJ : (S, J) Tensor
    rt_seconds_G : (G,) Tensor
    density_SJG : (S, J, G) Tensor
        Density of any press, per second.
    bold_SVR : (S, V, R) Tensor
        In standard deviations over the training people.
    """

    indicators: tuple[Indicator, ...]
    figures_SM: Tensor
    choice_SJA: Tensor
    omission_SJ: Tensor
    mean_rt_SJ: Tensor
    rt_seconds_G: Tensor
    density_SJG: Tensor
    bold_SVR: Tensor


def valid_change(wanted: ManualChange, start: Start, found_SE: Tensor) -> Move:
    """Return the requested change of connectomes, reduced until the correlation matrices are valid.

    Parameters
    ----------
    wanted : ManualChange
    start : Start
    found_SE : (S, E) Tensor
        The change that was found for each person; 0 if none was.

    Returns
    -------
    Move
    """
    num_regions = start.present_SR.shape[1]
    gains_SR = start.budget_S.new_ones(len(start.budget_S), num_regions)
    for region, gain in wanted.gains:
        gains_SR[:, region] *= gain
    wanted_SE = start.scaled(gains_SR) + wanted.dose * found_SE
    for first, second, by in wanted.edges:
        wanted_SE[:, edge_place(first, second, num_regions)] += by
    wanted_SE = start.masked(wanted_SE)
    if not wanted_SE.any():
        nothing_S = torch.zeros_like(start.budget_S)
        return Move(wanted_SE, nothing_S, nothing_S)
    wanted_SRR = matrix_of(wanted_SE, num_regions, diagonal=0.0)
    near_SRR = nearest_correlation(
        start.base_SRR + wanted_SRR, smallest_eigenvalue=SMALLEST_EIGENVALUE, max_iterations=_PROJECTIONS
    )
    change_SRR = near_SRR - start.base_SRR
    own_S = off_diagonal_norm(start.base_SRR).clamp_min(1e-12)
    norm_of = torch.linalg.matrix_norm
    return Move(start.masked(edges_of(change_SRR)), norm_of(wanted_SRR) / own_S, norm_of(change_SRR) / own_S)


def edge_place(first: int, second: int, num_regions: int) -> int:
    """Return the place of an edge among those of the upper triangle, row by row.

    Examples
    --------
    >>> [edge_place(*pair, 4) for pair in ((0, 1), (0, 3), (2, 1), (3, 2))]
    [0, 2, 3, 5]
    """
    low, high = sorted((first, second))
    return low * num_regions - low * (low + 1) // 2 + high - low - 1


def judge(twin: Twin, block: Batch, tasks: Sequence[TaskOutline]) -> tuple[tuple[Indicator, ...], Performance]:
    """Return the indicators of a block's task, without BOLD, and the function that measures them.

    Parameters
    ----------
    twin : Twin
        In evaluation mode.
    block : Batch
        A batch with one segment of one person.
    tasks : sequence of TaskOutline
        Tasks of the twin's task set.
    """
    indicators = tuple(one for one in list_indicators(tasks, 0) if one.task == int(block.task_SK[0, 0]))
    return indicators, Performance(twin, block, torch.zeros_like(block.volume_seconds_SKV), tasks, indicators)


@torch.no_grad()
def perform(twin: Twin, block: Batch, connectome_SE: Tensor, tasks: Sequence[TaskOutline]) -> Scene:
    """Return the simulation of a block by some twins.

    Parameters
    ----------
    twin, block, tasks
        As for `judge`.
    connectome_SE : (S, E) Tensor
        One per twin, as the twin reads them.

    Returns
    -------
    Scene
    """
    indicators, performance = judge(twin, block, tasks)
    output, batch = performance.perform(connectome_SE)
    presses = press_distribution(twin, output, batch, tasks)
    shape = (len(connectome_SE), len(block.trials.task_J))
    longest = float(presses.covered_JW.sum(-1).amax()) * presses.step_seconds if shape[1] else 1.0
    num_points = min(_MAX_RT_POINTS, math.ceil(longest / _RT_SECONDS))
    rt_seconds_G = torch.linspace(0.0, longest, num_points + 1).to(presses.hazard_JWA)[:-1]
    return Scene(
        indicators,
        performance.measure(output, presses),
        presses.choice_probability_JA().unflatten(0, shape),
        presses.omission_probability_J().unflatten(0, shape),
        presses.mean_rt_J().unflatten(0, shape),
        rt_seconds_G,
        _density(presses, rt_seconds_G).unflatten(0, shape),
        twin.bold(output, batch.volume_seconds_SKV)[:, 0],
    )


def _density(presses: PressDistribution, rt_seconds_G: Tensor) -> Tensor:
    """Return the density of any press at the given times, (J, G)."""
    num_trials, num_points = len(presses.covered_JW), len(rt_seconds_G)
    at_each_point = PressDistribution(
        presses.hazard_JWA.repeat_interleave(num_points, dim=0),
        presses.covered_JW.repeat_interleave(num_points, dim=0),
        presses.step_seconds,
    )
    return at_each_point.density_JA(rt_seconds_G.repeat(num_trials)).sum(-1).view(num_trials, num_points)
