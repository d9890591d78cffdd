"""The target of a search for one twin, and the survey of everybody's unchanged simulation, which gives the units of change."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import torch

from dtb.config import InterveneConfig
from dtb.errors import StageError
from dtb.evaluate.predictors.leave_out import ridge_in_kernel
from dtb.fleet.support import Support, support_of
from dtb.intervene.controls import pls_direction
from dtb.intervene.goal import Goal, Moments, make_goal, wanted_with
from dtb.intervene.indicators import TaskOutline
from dtb.intervene.kinds import Indicator
from dtb.people.covariates import family_numbers
from dtb.people.networks import network_of

_PENALTIES = np.logspace(-3, 3, 13)
"""Over the mean squared length of a person's edges."""


@dataclasses.dataclass(frozen=True)
class SearchTarget:
    """The target of a search for one twin.

    Attributes
    ----------
    settings : InterveneConfig
    tasks : tuple of TaskOutline
    indicators : tuple of Indicator
        All that the twin has.
    target : int
        Which of them is to change.
    regions : tuple of str
        Names of the BOLD regions.
    retest_sd_E : (E,) ndarray or None
        Standard deviation of each edge, in Fisher z, from one rest run to another; None where the budget does not need it.
    second : int or None
        Which indicator is weighed against the target.
    second_sign : float
        1 to increase it, -1 to decrease it.
    among_R : (R,) bool ndarray or None
        Regions of the connectome whose gains may change; all of them if None.
    """

    settings: InterveneConfig
    tasks: tuple[TaskOutline, ...]
    indicators: tuple[Indicator, ...]
    target: int
    regions: tuple[str, ...]
    retest_sd_E: np.ndarray | None = None
    second: int | None = None
    second_sign: float = 1.0
    among_R: np.ndarray | None = None

    @property
    def wanted(self) -> list[bool]:
        """Mask of the indicators that belong to the target."""
        return wanted_with(self.indicators, self.target)

    @property
    def name(self) -> str:
        """The target in words."""
        return self.name_of(self.target)

    def name_of(self, place: int) -> str:
        """Return an indicator in words."""
        one = self.indicators[place]
        what = self.where(one) or self.which(one)
        return f"{one.kind}{f' of {what}' if what else ''} in {self.tasks[one.task].name}"

    def which(self, one: Indicator) -> str | None:
        """Return the alternative of an indicator of choice."""
        return None if one.alternative is None else self.tasks[one.task].alternatives[one.alternative]

    def where(self, one: Indicator) -> str | None:
        """Return the region, or the network, of an indicator; None for behaviour."""
        if not one.regions:
            return None
        first = self.regions[one.regions[0]]
        return first if len(one.regions) == 1 else f"network {network_of(first)}"

    @property
    def sign(self) -> float:
        """1 to increase the target, -1 to decrease it."""
        return 1.0 if self.settings.direction == "increase" else -1.0

    def survey(self, people: Iterable[pa.Table], seen: Collection[str]) -> Survey:
        """Return, from people's unchanged simulations, the units of change and the directions that are the same for all.

        Parameters
        ----------
        people : iterable of Table
            Parts of the survey's table; only a few numbers per person are kept in memory.
        seen : collection of str
            People whom the twin was trained on, or whose data decided when its training ended.

        Raises
        ------
        StageError
            Nobody has the target.
        """
        # Its import takes a second, for which actors would wait, who make no table.
        import pandas as pd

        before, excerpts = Moments(len(self.indicators)), Moments(len(self.indicators))
        figures, samples = [], []
        for part in people:
            table = part.to_pandas()
            before_SM, excerpt_SM = (np.stack(table[column].to_list()) for column in ("before", "before_excerpt"))
            before.add(torch.from_numpy(before_SM))
            excerpts.add(torch.from_numpy(excerpt_SM))
            table = table.drop(columns=["before", "before_excerpt"]).assign(target=before_SM[:, self.target])
            if self.second is not None:
                table["second"] = before_SM[:, self.second]
            samples.append(table[table["slope"].notna()])
            figures.append(table.drop(columns=["slope", "edges", "parameters"]))
        if not before.num_M[self.target]:
            raise StageError(
                f"Nobody has {self.name}: no run of the cohort has trials or volumes that it could be measured on."
            )
        table = pd.concat(figures).sort_values("pseudonym")
        sample = pd.concat(samples).sort_values("pseudonym")
        halves_S = table["halves_apart"].to_numpy(dtype=np.float64)
        halves_S = halves_S[np.isfinite(halves_S)]
        goal, excerpt_goal = (
            make_goal(self.indicators, self.target, self.sign, moments) for moments in (before, excerpts)
        )
        unseen_S = ~table["pseudonym"].isin(list(seen)).to_numpy()

        def support_for(simulated: str, observed: str) -> Support:
            said_S, did_S = (table[name].to_numpy(dtype=np.float64)[unseen_S] for name in (simulated, observed))
            return support_of(said_S, did_S, [json.loads(facts) for facts in table["covariates"][unseen_S]])

        support = support_for("target", "observed")
        second_support = None if self.second is None else support_for("second", "observed_second")
        table = sample[np.isfinite(sample["target"])]
        target_S = table["target"].to_numpy(dtype=np.float64)
        of_members = zip(*table["parameters"], strict=True)
        directions = [pls_direction(np.stack(parameters), target_S) for parameters in of_members]
        edges_QE = np.stack(table["edges"].to_list())
        family_Q = family_numbers(json.loads(facts) for facts in table["covariates"])
        ridge_E = behaviour_weights(edges_QE, table["observed"].to_numpy(dtype=np.float64), family_Q)
        return Survey(
            goal=goal,
            support=support,
            second_support=second_support,
            excerpt_goal=excerpt_goal,
            # Two halves differ by twice the error of the whole.
            retest_sd=float(halves_S.std(ddof=1)) / 2 if len(halves_S) > 1 else None,
            population_E=np.stack(table["slope"].to_list()).mean(0, dtype=np.float64),
            parameters=[(self.sign * along_P, spread) for along_P, spread in directions],
            edges_QE=edges_QE - edges_QE.mean(0),
            ridge_E=None if ridge_E is None else self.sign * ridge_E,
        )


def behaviour_weights(edges_SE: np.ndarray, indicator_S: np.ndarray, family_S: np.ndarray) -> np.ndarray | None:
    """Return the weights of a ridge regression of an indicator on standardised edges, whose penalty is judged on left-out families.

    Parameters
    ----------
    edges_SE : (S, E) ndarray
        Standardised; NaN where absent.
    indicator_S : (S,) ndarray
        NaN for people who have none.
    family_S : (S,) int ndarray
        Relatives have the same number.

    Returns
    -------
    (E,) float64 ndarray or None
        Weights of the standardised edges; None with fewer than three people or without differences between them.
    """
    known_S = np.isfinite(indicator_S)
    if known_S.sum() < 3 or np.ptp(indicator_S[known_S]) == 0.0:
        return None
    features_SE = np.nan_to_num(edges_SE[known_S].astype(np.float64))
    kernel_SS = features_SE @ features_SE.T
    typical = float(np.diag(kernel_SS - kernel_SS.mean(axis=0)).mean())
    if typical <= 0.0:
        return None
    predicted_S1, _ = ridge_in_kernel(
        kernel_SS, kernel_SS, indicator_S[known_S, None], _PENALTIES * typical, family_S[known_S]
    )
    # Weights of a ridge regression are those of least norm that predict what it predicts.
    centred_SE = features_SE - features_SE.mean(axis=0)
    return np.asarray(np.linalg.lstsq(centred_SE, predicted_S1[:, 0] - predicted_S1.mean(), rcond=None)[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """Results of the first pass: the units of every change, and the directions of the controls.

    Attributes
    ----------
    goal : Goal
    support : Support
        Whether the target can be searched for.
    second_support : Support or None
        The same for the second aim, if there is one.
    excerpt_goal : Goal
        The same in units of the excerpts that searches use: a contrast of few volumes varies more.
    retest_sd : float or None
        Test-retest standard deviation of people's own indicator, from odd and even trials; None if unknown.
    population_E : (E,) ndarray
        Mean gradient of people's correlations.
    parameters : list of ((P,) ndarray, float)
        For each member of the ensemble, the direction of its generated parameters, as in the published method, and the standard deviation
        of people along it.
    edges_QE : (Q, E) float32 ndarray
        Standardised edges of a sample of people, their mean removed.
    ridge_E : (E,) ndarray or None
        Weights of standardised edges in a regression of people's behaviour; None if too few are known.
    """

    goal: Goal
    support: Support
    second_support: Support | None
    excerpt_goal: Goal
    retest_sd: float | None
    population_E: np.ndarray
    parameters: list[tuple[np.ndarray, float]]
    edges_QE: np.ndarray
    ridge_E: np.ndarray | None
