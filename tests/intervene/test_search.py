"""What a search returns is valid, within the budget, better than chance and each person's own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from dtb.config import InterveneConfig
from dtb.intervene.constraints import TOLERANCE
from dtb.intervene.goal import Goal, Moments, make_goal
from dtb.intervene.kinds import Indicator
from dtb.intervene.search import DOSES, Found, not_dominated, random_directions, search, slope
from dtb.intervene.spaces import Start
from dtb.twin.edges import edges_of, matrix_of
from tests.intervene.matrices import violation

REGIONS, EDGES = 12, 66
SETTINGS = InterveneConfig(budget=0.1, num_steps=25)
WEIGHTS = torch.randn(EDGES, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def people(num: int = 4, volumes: int = 60, seed: int = 0) -> Tensor:
    """Fisher z of correlated random series."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(REGIONS, REGIONS, generator=generator, dtype=torch.float64)
    series = torch.randn(num, volumes, REGIONS, generator=generator, dtype=torch.float64) @ mixing
    return torch.stack([edges_of(torch.corrcoef(one.T)[None])[0] for one in series]).atanh()


def linear(connectome_SE: Tensor) -> Tensor:
    """Three indicators that are linear in the correlations."""
    return connectome_SE.tanh().nan_to_num() @ WEIGHTS


def goal(off_target: bool = False) -> Goal:
    share = 0.5 if off_target else 0.0
    return Goal(0, -1.0, torch.ones(3, dtype=torch.float64), torch.tensor([0.0, share, share], dtype=torch.float64))


def find(connectome_SE: Tensor, settings: InterveneConfig = SETTINGS, to: Goal | None = None) -> tuple[Start, Found]:
    start = Start.of(connectome_SE, REGIONS, settings.budget)
    directions = {"random": random_directions(range(len(connectome_SE)), EDGES)}
    return start, search([linear], start, to or goal(), settings, directions, range(len(connectome_SE)))


@pytest.mark.parametrize("volumes", [60, 8])
def test_the_change_is_valid_within_budget_and_of_the_controls_norm(volumes: int) -> None:
    start, found = find(people(volumes=volumes))
    change_SRR = matrix_of(found.change_SE, REGIONS, diagonal=0.0)
    assert violation(start.base_SRR + change_SRR).max() < TOLERANCE
    norm_S = torch.linalg.matrix_norm(change_SRR)
    assert (norm_S <= start.budget_S * (1 + 1e-12)).all()
    torch.testing.assert_close(norm_S, found.norm_S, atol=1e-12, rtol=0)
    control_SE = start.along(random_directions(range(4), EDGES), norm_S)
    torch.testing.assert_close(2**0.5 * control_SE.norm(dim=1), norm_S, atol=1e-9, rtol=0)
    assert violation(start.base_SRR + matrix_of(control_SE, REGIONS, diagonal=0.0)).max() < TOLERANCE


def test_the_target_moves_as_wanted_and_further_than_by_chance() -> None:
    _, found = find(people())
    moved = found.before_SM[:, 0] - found.after_SM[:, 0]
    by_chance = (found.before_SM[:, 0] - found.controls_SM["random"][:, 0]).abs()
    assert (moved > 2 * by_chance).all()


def test_a_free_linear_target_is_moved_as_far_as_the_budget_allows() -> None:
    # Independent regions: the constraint does not bind, and the best change goes along the weights.
    start = Start.of(people() * 0.0, REGIONS, SETTINGS.budget)
    start = dataclasses.replace(start, budget_S=start.budget_S + 0.3)
    found = search([linear], start, goal(), SETTINGS, {}, range(len(start.budget_S)))
    best = WEIGHTS[:, 0].norm() * 0.3 / 2**0.5
    torch.testing.assert_close(found.before_SM[:, 0] - found.after_SM[:, 0], best.expand(4), rtol=0.01, atol=0)


def test_before_and_after_are_what_simulation_gives() -> None:
    start, found = find(people())
    torch.testing.assert_close(linear(start.connectome(found.change_SE)), found.after_SM)
    torch.testing.assert_close(linear(start.connectome(found.change_SE * 0)), found.before_SM)
    assert found.target_SG.shape == (4, SETTINGS.num_steps)


def test_the_penalty_protects_the_other_indicators() -> None:
    connectome_SE = people()
    _, free = find(connectome_SE)
    _, held = find(connectome_SE, dataclasses.replace(SETTINGS, off_target_weight=20.0), goal(off_target=True))
    unwanted = [(found.after_SM - found.before_SM)[:, 1:].square().sum(1) for found in (free, held)]
    assert (unwanted[1] < 0.1 * unwanted[0]).all()
    assert (held.after_SM[:, 0] < held.before_SM[:, 0]).all()


def test_a_person_gets_the_same_change_alone_and_in_company() -> None:
    connectome_SE = people(volumes=9)
    _, together = find(connectome_SE)
    start = Start.of(connectome_SE[2:3], REGIONS, SETTINGS.budget)
    alone = search([linear], start, goal(), SETTINGS, {}, range(len(start.budget_S)))
    torch.testing.assert_close(alone.change_SE[0], together.change_SE[2], atol=1e-6, rtol=0)


def test_absent_regions_are_not_changed() -> None:
    connectome_SE = people()
    rows, columns = torch.triu_indices(REGIONS, REGIONS, 1)
    absent = (rows == 5) | (columns == 5)
    connectome_SE[1, absent] = torch.nan
    _, found = find(connectome_SE)
    assert (found.change_SE[1, absent] == 0.0).all()
    assert found.change_SE[1].norm() > 0


def test_someone_who_cannot_be_simulated_changes_nobody_else() -> None:
    connectome_SE = people()

    def broken(given_SE: Tensor) -> Tensor:
        values_SM = linear(given_SE)
        return torch.where(torch.arange(len(given_SE))[:, None] % 4 == 3, torch.nan, values_SM)

    start = Start.of(connectome_SE, REGIONS, SETTINGS.budget)
    found = search([broken], start, goal(), SETTINGS, {}, range(4))
    _, whole = find(connectome_SE)
    assert (found.change_SE[3] == 0.0).all()
    torch.testing.assert_close(found.change_SE[:3], whole.change_SE[:3])


def test_the_slope_is_the_gradient_in_correlation_units() -> None:
    start = Start.of(people(), REGIONS, 0.1)
    values_SM, slope_SE = slope([linear], start, goal())
    torch.testing.assert_close(values_SM, linear(start.connectome(torch.zeros(4, EDGES, dtype=torch.float64))))
    expected = -WEIGHTS[:, 0] / (2**0.5 * WEIGHTS[:, 0].norm())
    torch.testing.assert_close(slope_SE, expected.expand(4, EDGES))


def test_regions_of_one_contrast_count_as_one_indicator() -> None:
    indicators = [
        Indicator("mean_rt", 0),
        Indicator("accuracy", 0),
        *(Indicator("bold_contrast", 0, (r,)) for r in range(5)),
    ]
    values_SM = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = make_goal(indicators, 0, 1.0, values_SM)
    assert made.penalty_M[0] == 0
    assert made.penalty_M[1] == pytest.approx(0.5)
    assert made.penalty_M[2:].sum() == pytest.approx(0.5)
    torch.testing.assert_close(made.spread_M, values_SM.std(0))


def test_without_differences_between_people_nothing_is_penalised() -> None:
    indicators = [Indicator("mean_rt", 0), Indicator("accuracy", 0)]
    made = make_goal(indicators, 0, 1.0, torch.tensor([[0.6, 0.9]], dtype=torch.float64))
    assert (made.penalty_M == 0).all()
    assert made.spread_M[0] == pytest.approx(0.06)
    assert made.score(torch.tensor([[0.66, 0.1]]), torch.tensor([[0.6, 0.9]]), 1.0).item() == pytest.approx(1.0)


def test_an_indicator_that_does_not_vary_spoils_no_gradient() -> None:
    to = dataclasses.replace(goal(), spread_M=torch.tensor([1.0, torch.nan, 1.0], dtype=torch.float64))
    _, found = find(people(), to=to)
    _, without = find(people())
    torch.testing.assert_close(found.change_SE, without.change_SE)


def test_everything_is_measured_at_shares_of_the_change() -> None:
    start, found = find(people())
    for place, dose in enumerate(DOSES):
        torch.testing.assert_close(linear(start.connectome(dose * found.change_SE)), found.at_doses_SDM[:, place])


def curved(connectome_SE: Tensor) -> Tensor:
    """An indicator with several hills, so that where a search begins matters."""
    along = connectome_SE.tanh().nan_to_num() @ WEIGHTS
    return torch.cos(4 * along[:, :1]) + torch.cos(5 * along[:, 1:2]) + 0.2 * along[:, :1]


def test_restarts_only_help_and_are_searched_as_if_alone() -> None:
    start = Start.of(people(), REGIONS, 0.3)
    to = Goal(0, 1.0, torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    settings = dataclasses.replace(SETTINGS, budget=0.3)
    once = search([curved], start, to, settings, {}, range(4))
    several = search([curved], start, to, dataclasses.replace(settings, num_restarts=4), {}, range(4))
    assert (several.after_SM >= once.after_SM - 1e-9).all()
    assert (several.after_SM > once.after_SM + 1e-3).any()
    assert once.restarts_alike_S.isnan().all()
    assert (several.restarts_alike_S.abs() <= 1).all()
    alone = Start.of(people()[2:3], REGIONS, 0.3)
    second = search([curved], alone, to, dataclasses.replace(settings, num_restarts=4), {}, [2])
    torch.testing.assert_close(second.change_SE[0], several.change_SE[2], atol=1e-6, rtol=0)


def test_an_ensemble_is_moved_in_the_mean_and_each_member_reported() -> None:
    def opposed(connectome_SE: Tensor) -> Tensor:
        return -0.5 * linear(connectome_SE)

    start = Start.of(people(), REGIONS, SETTINGS.budget)
    found = search([linear, opposed], start, goal(), SETTINGS, {}, range(4))
    assert found.moved_SB.shape == (4, 2)
    assert (found.moved_SB[:, 0] > 0).all()
    assert (found.moved_SB[:, 1] < 0).all()
    torch.testing.assert_close(
        found.before_SM - found.after_SM,
        0.25 * (linear(start.connectome(torch.zeros(4, EDGES))) - linear(start.connectome(found.change_SE))),
    )


def test_a_gain_that_is_not_known_is_on_no_front() -> None:
    gains_GC = torch.tensor([[1.0, 0.0], [2.0, torch.nan], [torch.nan, torch.nan], [0.0, 1.0]])
    assert not_dominated(gains_GC).tolist() == [True, False, False, True]


def test_the_norms_that_controls_reached_are_told() -> None:
    start = Start.of(people(), REGIONS, 2.0)
    own_SE = edges_of(start.base_SRR)
    settings = dataclasses.replace(SETTINGS, budget=2.0)
    # Away from a person's own matrix the valid ones end soon; towards independence they do not.
    found = search([linear], start, goal(), settings, {"away": own_SE, "towards": -own_SE}, range(4))
    assert (found.control_norms_S["away"] < 0.99 * found.norm_S).any()
    for name, direction_SE in (("away", own_SE), ("towards", -own_SE)):
        norm_S = 2**0.5 * start.along(direction_SE, found.norm_S).norm(dim=1)
        torch.testing.assert_close(found.control_norms_S[name], norm_S)


def test_people_who_come_in_parts_have_the_spread_of_all() -> None:
    values_SM = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 100.0
    values_SM[:9, 1] = torch.nan
    values_SM[:, 2] = torch.nan
    moments = Moments(3)
    for part_SM in values_SM.split(6):
        moments.add(part_SM)
    assert moments.num_M.tolist() == [20, 11, 0]
    torch.testing.assert_close(moments.mean_M[:2], values_SM[:, :2].nanmean(0))
    for column in (0, 1):
        known_S = values_SM[values_SM[:, column].isfinite(), column]
        torch.testing.assert_close(moments.spread_M[column], known_S.std())
