"""The goal of a search: which indicator is to move, which others hold it back, and in what units: their spread between people.

Shape letters: `S` subject, `M` indicator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from dtb.intervene.kinds import Indicator


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
    """What to change, and what to leave.

    Attributes
    ----------
    target : int
        Which indicator.
    sign : float
        1 to increase it, -1 to decrease it.
    spread_M : (M,) float64 Tensor
        Spread of each indicator between people; NaN where it has none, and such an indicator is not penalised.
    penalty_M : (M,) float64 Tensor
        Share of each indicator in the penalty; 0 for the target.
    second : int or None
        A second indicator that is wanted too.
    second_sign : float
    second_share : float
        What a spread of the second counts, 0 to 1; a spread of the target counts the rest.
    """

    target: int
    sign: float
    spread_M: Tensor
    penalty_M: Tensor
    second: int | None = None
    second_sign: float = 1.0
    second_share: float = 0.0

    def to(self, device: torch.device) -> Goal:
        """Move the tensors to `device`."""
        return dataclasses.replace(self, spread_M=self.spread_M.to(device), penalty_M=self.penalty_M.to(device))

    def against(self, second: int, sign: float, share: float) -> Goal:
        """Return the goal with a second indicator, so that neither is penalised."""
        penalty_M = self.penalty_M.clone()
        penalty_M[second] = 0.0
        return dataclasses.replace(self, penalty_M=penalty_M, second=second, second_sign=sign, second_share=share)

    def off_target(self, values_SM: Tensor, before_SM: Tensor) -> Tensor:
        """Return (S,) the mean squared unwanted change, in units of spread."""
        # An indicator without a spread is divided by 1: by NaN, even a gradient of 0 would not be finite.
        moved_SM = (values_SM - before_SM) / self.spread_M.nan_to_num(1.0)
        counted_SM = (self.penalty_M > 0) & moved_SM.isfinite()
        return (torch.where(counted_SM, moved_SM, 0.0) ** 2 * self.penalty_M).sum(1)

    def score(self, values_SM: Tensor, before_SM: Tensor, off_target_weight: float) -> Tensor:
        """Return what the search maximises: (S,) wanted change, less the mean squared unwanted one, both in units of spread."""
        moved_SM = (values_SM - before_SM) / self.spread_M.nan_to_num(1.0)
        wanted_S = self.sign * moved_SM[:, self.target]
        if self.second is not None:
            second_S = self.second_sign * moved_SM[:, self.second]
            wanted_S = (1.0 - self.second_share) * wanted_S + self.second_share * second_S
        return wanted_S - off_target_weight * self.off_target(values_SM, before_SM)


@dataclasses.dataclass(eq=False)
class Moments:
    """Mean and spread of each indicator over people, added part by part to save memory.

    Parameters
    ----------
    num_indicators : int
    """

    num_indicators: int

    def __post_init__(self) -> None:
        self.num_M, self.mean_M, self._squares_M = torch.zeros(3, self.num_indicators, dtype=torch.float64)

    def add(self, values_SM: Tensor) -> Moments:
        """Take further people in (S, M); NaN where there is no value (Chan, Golub & LeVeque, 1979)."""
        num_M = values_SM.isfinite().sum(0)
        mean_M = torch.where(num_M > 0, torch.where(values_SM.isfinite(), values_SM, torch.nan).nanmean(0), 0.0)
        squares_M = torch.where(values_SM.isfinite(), (values_SM - mean_M) ** 2, 0.0).sum(0)
        total_M, apart_M = self.num_M + num_M, mean_M - self.mean_M
        share_M = num_M / total_M.clamp_min(1)
        self._squares_M += squares_M + apart_M**2 * self.num_M * share_M
        self.mean_M += apart_M * share_M
        self.num_M = total_M
        return self

    @property
    def spread_M(self) -> Tensor:
        """Standard deviation of each indicator."""
        return (self._squares_M / (self.num_M - 1).clamp_min(1)).sqrt()


def make_goal(indicators: Sequence[Indicator], target: int, sign: float, people: Tensor | Moments) -> Goal:
    """Return the goal of a search, with each indicator's spread between people before any change.

    The regions of one task's BOLD contrast count as one indicator in the penalty, so that they do not drown the others; those that are part
    of the aim are not held back.

    Parameters
    ----------
    indicators : sequence of Indicator
    target : int
    sign : float
    people : (S, M) float64 Tensor, or Moments
        Everybody's indicators, NaN where there are none; or their moments.
    """
    moments = people if isinstance(people, Moments) else Moments(people.shape[1]).add(people)
    mean_M, spread_M = moments.mean_M, moments.spread_M
    varies_M = (moments.num_M > 1) & (spread_M > 1e-6 * mean_M.abs())
    spread_M = torch.where(varies_M, spread_M, torch.nan)
    if not varies_M[target]:
        # One person, or people without differences: the target is then measured in tenths of itself.
        spread_M[target] = (0.1 * mean_M[target].abs()).clamp_min(1e-6)
    groups = [(one.kind, one.task) for one in indicators]
    is_wanted = wanted_with(indicators, target)
    counted = [place for place in range(len(indicators)) if not is_wanted[place] and bool(varies_M[place])]
    penalty_M = torch.zeros_like(spread_M)
    num_groups = len({groups[place] for place in counted})
    for place in counted:
        members = sum(groups[other] == groups[place] for other in counted)
        penalty_M[place] = 1.0 / (members * num_groups)
    return Goal(target, sign, spread_M, penalty_M)


def wanted_with(indicators: Sequence[Indicator], target: int) -> list[bool]:
    """Return for each indicator whether it is part of the target: the target itself, and effects of its contrast on its regions.

    Examples
    --------
    >>> network, inside, outside = (Indicator("bold_contrast", 0, regions) for regions in ((1, 2), (1,), (3,)))
    >>> wanted_with([network, inside, outside, Indicator("mean_rt", 0)], 0)
    [True, True, False, False]
    """
    sought = indicators[target]
    return [
        place == target or (one.task == sought.task and not set(one.regions).isdisjoint(sought.regions))
        for place, one in enumerate(indicators)
    ]
