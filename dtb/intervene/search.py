"""The search: change a connectome by the gradient of the simulated twin, step by step, until one indicator has moved.

Projected gradient ascent on the change `D` of each person's correlation matrix, with a step length of each person's own. After every
step `C + D` is a correlation matrix within the budget and the space of allowed changes (`dtb.intervene.spaces`), so every point on the
way could be returned, and the best one of several restarts is. Other indicators hold it back through a penalty in units of their spread
between people. What comes back is measured by full simulation of the changed connectome, beside controls of the same norm.

Shape letters: `S` subject, `R` region, `E` connectome edge, `M` indicator, `P` parameter of the change, `G` step of the search,
`D` dose, `B` member of an ensemble of twins, `U` restart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dtb.config import InterveneConfig
from dtb.intervene.goal import Goal
from dtb.intervene.spaces import Reach, ReferenceCohort, Space, Start, make_space
from dtb.twin.edges import edges_of

DOSES = (0.25, 0.5, 0.75, 1.0)
"""Shares of a change after which everything is measured: each is valid, for it lies between two valid matrices."""

AT_ONCE = 4
"""Changes that people perform side by side where no gradient is asked for: together they are cheaper, and take the memory of a step."""
_LONGER, _SHORTER = 1.3, 0.4
_SQRT2 = 2.0**0.5

Simulate = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes
    ----------
    change_SE : (S, E) float64 Tensor
        Change of the correlations.
    before_SM, after_SM : (S, M) float64 Tensor
        Every indicator, by full simulation; the mean over the ensemble's members.
    at_doses_SDM : (S, D, M) float64 Tensor
        Every indicator after the shares `DOSES` of the change.
    moved_SB : (S, B) float64 Tensor
        How far each member's target moved in the wanted direction.
    target_SG : (S, G) float64 Tensor
        The target after each step of the best restart.
    controls_SM : dict of str to (S, M) float64 Tensor
        Every indicator after each control's change.
    norm_S : (S,) float64 Tensor
        Frobenius norm of the change.
    control_norms_S : dict of str to (S,) float64 Tensor
        That of the controls' changes: the same, unless a direction leads out of the valid matrices before.
    restarts_alike_S : (S,) float64 Tensor
        Mean cosine between the changes that the restarts found; NaN for a single one.
    """

    change_SE: Tensor
    before_SM: Tensor
    after_SM: Tensor
    at_doses_SDM: Tensor
    moved_SB: Tensor
    target_SG: Tensor
    controls_SM: dict[str, Tensor]
    norm_S: Tensor
    control_norms_S: dict[str, Tensor]
    restarts_alike_S: Tensor


def search(
    members: Sequence[Simulate],
    start: Start,
    goal: Goal,
    settings: InterveneConfig,
    control_directions_SE: Mapping[str, Tensor],
    seeds: Sequence[int],
    excerpts: Sequence[Simulate] | None = None,
    cohort: ReferenceCohort | None = None,
    distance: Simulate | None = None,
    among_R: Tensor | None = None,
) -> Found:
    """Return the change found for each person of a batch.

    Parameters
    ----------
    members : sequence of callable
        Twins, each from connectomes (S, E) to indicators (S, M), differentiable. A person's row depends on that person alone, and given
        2S or more connectomes the people repeat in the same order. What is searched moves the target in the mean over them.
    start : Start
    goal : Goal
    settings : InterveneConfig
    control_directions_SE : mapping of str to (S, E) Tensor
        Directions to go by the same norm, for comparison.
    seeds : sequence of int
        One a person: where the restarts begin.
    excerpts : sequence of callable, optional
        What the search performs at every step in the members' place, if that is cheaper; what is returned is measured with the members,
        except for the target's way through the search.
    cohort : ReferenceCohort, optional
        How people differ, for `metric: cohort`.
    distance : callable, optional
        From connectomes (S, E) to how far they lie from the cohort's, (S,): what `max_distance` bounds.
    among_R : (R,) bool Tensor, optional
        Regions whose gains may change, for `space: regions`.

    Returns
    -------
    Found
        People whose score is not finite, or for whom nothing was better than no change, get no change.
    """
    num_people, times = len(start.budget_S), settings.num_restarts
    excerpts = members if excerpts is None else excerpts
    several = start.repeat(times)
    reach = None
    if settings.max_distance is not None:
        assert distance is not None
        reach = Reach.of(several, distance, settings.max_distance)
    space = make_space(several, settings, cohort, reach, among_R)
    unchanged_SE = start.connectome(torch.zeros_like(edges_of(start.base_SRR)))
    with torch.no_grad():
        before = [simulate(unchanged_SE).double() for simulate in members]
        on_excerpt = before if excerpts is members else [simulate(unchanged_SE).double() for simulate in excerpts]
    on_excerpt = [values_SM.repeat(times, 1) for values_SM in on_excerpt]
    best_SP = _beginnings(space, several, times, seeds)
    _, best_S, slope_SP = _ascent(excerpts, several, space, goal, settings, best_SP, on_excerpt)
    length_S = settings.step_size * several.budget_S
    path = []
    for _ in range(settings.num_steps):
        next_SP = space.admit(best_SP + length_S[:, None] * slope_SP)
        values_SM, score_S, next_slope_SP = _ascent(excerpts, several, space, goal, settings, next_SP, on_excerpt)
        path.append(values_SM[:, goal.target])
        # Not finite is not better, so that such people keep what they had.
        better_S = score_S > best_S
        best_S = torch.where(better_S, score_S, best_S)
        best_SP = torch.where(better_S[:, None], next_SP, best_SP)
        slope_SP = torch.where(better_S[:, None], next_slope_SP, slope_SP)
        # Each step begins at the best point so far: longer after a success, shorter after a failure.
        length_S = (length_S * torch.where(better_S, _LONGER, _SHORTER)).minimum(2.0 * several.budget_S)
    changes_USE = space.change(best_SP).unflatten(0, (times, num_people))
    # A restart that begins at a change may never do better than none.
    best_S = torch.where(best_S > 0, best_S, 0.0)
    changes_USE = torch.where((best_S > 0).unflatten(0, (times, num_people))[..., None], changes_USE, 0.0)
    winner_S = best_S.unflatten(0, (times, num_people)).argmax(0)
    people_S = torch.arange(num_people, device=winner_S.device)
    change_SE = changes_USE[winner_S, people_S]
    path_USG = torch.stack(path, 1).unflatten(0, (times, num_people))
    return _measured(
        members, start, goal, change_SE, before, control_directions_SE, path_USG[winner_S, people_S], changes_USE
    )


def not_dominated(gain_GC: Tensor) -> Tensor:
    """Return the Pareto front as a mask (G,): no other point is better in one aim and at least as good in all.

    Examples
    --------
    >>> not_dominated(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.4, 0.5], [0.0, 1.0]])).tolist()
    [True, True, False, True]
    """
    as_good_GG = (gain_GC[None] >= gain_GC[:, None]).all(-1)
    better_GG = (gain_GC[None] > gain_GC[:, None]).any(-1)
    # Of a gain that is not known it cannot be said that no other betters it.
    return ~(as_good_GG & better_GG).any(1) & gain_GC.isfinite().all(1)


def slope(members: Sequence[Simulate], start: Start, goal: Goal) -> tuple[Tensor, Tensor]:
    """Return everybody's indicators before any change (S, M), and the gradient in the wanted direction (S, E), of norm 1.

    The mean of the gradients over people is the direction that helps the population, a control for the personal one.
    """
    nothing_SE = torch.zeros_like(edges_of(start.base_SRR)).requires_grad_()
    values_SM = torch.stack([simulate(start.connectome(nothing_SE)).double() for simulate in members]).mean(0)
    wanted_S = goal.sign * values_SM[:, goal.target]
    return values_SM.detach(), _unit_gradient(wanted_S, nothing_SE) / _SQRT2


def random_directions(seeds: Sequence[int], num_edges: int) -> Tensor:
    """Return a random direction for each person, from the person's seed, (S, E) float64."""
    rows = [
        torch.randn(num_edges, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds
    ]
    return torch.stack(rows) if rows else torch.zeros(0, num_edges, dtype=torch.float64)


def _beginnings(space: Space, several: Start, times: int, seeds: Sequence[int]) -> Tensor:
    """Return the starting points: no change and, for restarts, random changes of half the budget."""
    num = space.num_parameters
    rounds = [torch.zeros(len(seeds), num, dtype=torch.float64)]
    # Neighbouring seeds give unrelated draws, for torch's generator mixes them.
    rounds += [random_directions([seed ^ number for seed in seeds], num) for number in range(1, times)]
    drawn_SP = torch.cat(rounds).to(several.budget_S)
    length_S = 0.5 * several.budget_S / drawn_SP.norm(dim=1).clamp_min(1e-300)
    return space.admit(length_S[:, None] * drawn_SP) if times > 1 else drawn_SP


def _ascent(
    members: Sequence[Simulate],
    several: Start,
    space: Space,
    goal: Goal,
    settings: InterveneConfig,
    parameter_SP: Tensor,
    before: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return indicators, score and the direction of steepest ascent of the score, the mean over the members of each."""
    at_SP = parameter_SP.detach().requires_grad_()
    values, scores, slope_SP = [], [], torch.zeros_like(parameter_SP)
    for simulate, before_SM in zip(members, before, strict=True):
        values_SM = simulate(several.connectome(space.change(at_SP))).double()
        score_S = goal.score(values_SM, before_SM, settings.off_target_weight)
        slope_SP = slope_SP + _gradient(score_S, at_SP)
        values.append(values_SM.detach())
        scores.append(score_S.detach())
    slope_SP = space.steer(parameter_SP, slope_SP)
    length_S = slope_SP.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return torch.stack(values).mean(0), torch.stack(scores).mean(0), slope_SP / length_S


def _measured(
    members: Sequence[Simulate],
    start: Start,
    goal: Goal,
    change_SE: Tensor,
    before: Sequence[Tensor],
    control_directions_SE: Mapping[str, Tensor],
    target_SG: Tensor,
    changes_USE: Tensor,
) -> Found:
    """Return the indicators after the change, shares of it, and the controls, on all trials."""
    norm_S = _SQRT2 * change_SE.norm(dim=1)
    controls = {name: start.along(direction_SE, norm_S) for name, direction_SE in control_directions_SE.items()}
    values_BCSM = simulate_all(members, start, [*(dose * change_SE for dose in DOSES), *controls.values()])
    after_BSM, values_CSM = values_BCSM[:, len(DOSES) - 1], values_BCSM.mean(0)
    moved = [
        goal.sign * (late_SM - early_SM)[:, goal.target] for late_SM, early_SM in zip(after_BSM, before, strict=True)
    ]
    return Found(
        change_SE=change_SE,
        before_SM=torch.stack(list(before)).mean(0),
        after_SM=values_CSM[len(DOSES) - 1],
        at_doses_SDM=values_CSM[: len(DOSES)].transpose(0, 1),
        moved_SB=torch.stack(moved, 1),
        target_SG=target_SG,
        controls_SM=dict(zip(controls, values_CSM[len(DOSES) :], strict=True)),
        norm_S=norm_S,
        control_norms_S={name: _SQRT2 * control_SE.norm(dim=1) for name, control_SE in controls.items()},
        restarts_alike_S=_alike(changes_USE),
    )


def simulate_all(members: Sequence[Simulate], start: Start, changes_SE: Sequence[Tensor]) -> Tensor:
    """Return the indicators of every member after each of some changes: (B, C, S, M) float64, without gradients."""
    with torch.no_grad():
        found = []
        for simulate in members:
            parts = []
            for first in range(0, len(changes_SE), AT_ONCE):
                some = changes_SE[first : first + AT_ONCE]
                given_SE = torch.cat([start.connectome(change_SE) for change_SE in some])
                parts.append(simulate(given_SE).double().unflatten(0, (len(some), -1)))
            found.append(torch.cat(parts))
        return torch.stack(found)


def _alike(changes_USE: Tensor) -> Tensor:
    """Return the mean cosine between different restarts' changes, (S,)."""
    times = len(changes_USE)
    unit_USE = changes_USE / changes_USE.norm(dim=2, keepdim=True).clamp_min(1e-300)
    if times == 1:
        return torch.full_like(unit_USE[0, :, 0], torch.nan)
    sum_SE = unit_USE.sum(0)
    return (sum_SE.square().sum(1) - unit_USE.square().sum((0, 2))) / (times * (times - 1))


def _gradient(score_S: Tensor, at_SP: Tensor) -> Tensor:
    """Return the gradient of each person's score; 0 if it, or the score, is not finite."""
    finite_S = score_S.isfinite()
    (slope_SP,) = torch.autograd.grad(torch.where(finite_S, score_S, 0.0).sum(), at_SP)
    return torch.where((finite_S & slope_SP.isfinite().all(1))[:, None], slope_SP, 0.0)


def _unit_gradient(score_S: Tensor, at_SP: Tensor) -> Tensor:
    slope_SP = _gradient(score_S, at_SP)
    return slope_SP / slope_SP.norm(dim=1, keepdim=True).clamp_min(1e-300)
