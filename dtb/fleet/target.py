"""From the names in a configuration to the indicator of one twin that is to change, and to the units of everything else."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from dtb.config import InterveneConfig, from_mapping
from dtb.errors import ConfigurationError, InputDataError, StageError
from dtb.fleet.support import Support, support_of
from dtb.fleet.twins import SharedTwin, outlines_of
from dtb.intervene.controls import pls_direction, ridge_weights
from dtb.intervene.indicators import TaskOutline, list_indicators
from dtb.intervene.kinds import INDICATORS, Indicator, names_of
from dtb.intervene.search import Goal, Moments, make_goal, wanted_with
from dtb.people.connectome_kinds import connectome_in_words, estimated_correlations, is_correlation
from dtb.people.networks import network_of
from dtb.people.reliability import load_reliability


@dataclasses.dataclass(frozen=True)
class SearchTarget:
    """What a search is after, in the terms of one twin.

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
        """Which indicators are the aim, and not off it."""
        return wanted_with(self.indicators, self.target)

    @property
    def name(self) -> str:
        """The target in words."""
        return self.name_of(self.target)

    def name_of(self, place: int) -> str:
        """Put an indicator into words."""
        one = self.indicators[place]
        what = self.where(one) or self.which(one)
        return f"{one.kind}{f' of {what}' if what else ''} in {self.tasks[one.task].name}"

    def which(self, one: Indicator) -> str | None:
        """Name the alternative of an indicator that is the choice of one."""
        return None if one.alternative is None else self.tasks[one.task].alternatives[one.alternative]

    def where(self, one: Indicator) -> str | None:
        """Name the region, or the network, of an indicator; None for behaviour."""
        if not one.regions:
            return None
        first = self.regions[one.regions[0]]
        return first if len(one.regions) == 1 else f"network {network_of(first)}"

    @property
    def sign(self) -> float:
        """1 to increase the target, -1 to decrease it."""
        return 1.0 if self.settings.direction == "increase" else -1.0

    def survey(self, people: Iterable[pa.Table], seen: Collection[str]) -> Survey:
        """Take, from the people who performed unchanged, the units of everything and the directions that are the same for all.

        Parameters
        ----------
        people : iterable of Table
            Parts of the surveyor's table; of each, little is kept but a few numbers a person.
        seen : collection of str
            Whom the twin was trained on.

        Raises
        ------
        StageError
            Nobody has the target.
        """
        before, rehearsed = Moments(len(self.indicators)), Moments(len(self.indicators))
        figures, samples = [], []
        for part in people:
            table = part.to_pandas()
            before_SM, excerpt_SM = (np.stack(table[column].to_list()) for column in ("before", "before_excerpt"))
            before.add(torch.from_numpy(before_SM))
            rehearsed.add(torch.from_numpy(excerpt_SM))
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
            make_goal(self.indicators, self.target, self.sign, moments) for moments in (before, rehearsed)
        )
        unseen_S = ~table["pseudonym"].isin(list(seen)).to_numpy()

        def support_for(simulated: str, observed: str) -> Support:
            pairs = (table[name].to_numpy(dtype=np.float64)[unseen_S] for name in (simulated, observed))
            return support_of(*pairs)

        support = support_for("target", "observed")
        second_support = None if self.second is None else support_for("second", "observed_second")
        table = sample[np.isfinite(sample["target"])]
        target_S = table["target"].to_numpy(dtype=np.float64)
        of_members = zip(*table["parameters"], strict=True)
        directions = [pls_direction(np.stack(parameters), target_S) for parameters in of_members]
        edges_QE = np.stack(table["edges"].to_list())
        ridge_E = ridge_weights(edges_QE, table["observed"].to_numpy(dtype=np.float64))
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


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What everybody's unchanged performance says: the units of every change, and where others would go to move the target.

    Attributes
    ----------
    goal : Goal
    support : Support
        Whether the target can be searched for.
    second_support : Support or None
        The same of the second aim, if there is one.
    excerpt_goal : Goal
        The same in units of what people do in the excerpts that searches perform: a contrast of few volumes varies more.
    retest_sd : float or None
        Standard deviation with which people's own figure would be found again, from odd and even trials; None where there are none.
    population_E : (E,) ndarray
        Mean gradient of people's correlations.
    parameters : list of ((P,) ndarray, float)
        For each member of the ensemble, the direction of its generated parameters, as in the published method, and the standard deviation
        of people along it.
    edges_QE : (Q, E) float32 ndarray
        Standardised edges of a sample of people, their mean removed.
    ridge_E : (E,) ndarray or None
        Weights of standardised edges in a regression on what people did; None where too few did it.
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


def require_correlations(shared_twin: SharedTwin) -> None:
    """Refuse a twin whose connectomes cannot be changed.

    Raises
    ------
    InputDataError
        They are no correlation matrices.
    """
    made = shared_twin.card.connectome
    if not is_correlation(made):
        raise InputDataError(
            f"This twin reads connectomes that are {connectome_in_words(made)}. An intervention changes a correlation matrix into another "
            f"valid one, and these are none. Train a twin on a cohort ingested with `connectome: {estimated_correlations()}."
        )


def make_search_target(settings: InterveneConfig, shared_twin: SharedTwin) -> SearchTarget:
    """Find the indicator that the configuration names.

    Raises
    ------
    ConfigurationError
        There is none; the message lists what there is.
    InputDataError
        The twin does not read correlation matrices.
    """
    require_correlations(shared_twin)
    regions = shared_twin.card.bold_region_names
    tasks = outlines_of(shared_twin.taskset)
    indicators = list_indicators(tasks, len(regions))
    target = _place(indicators, settings, tasks, regions)
    second, second_sign = None, 1.0
    if settings.against is not None:
        other = _in_words(settings)
        second, second_sign = _place(indicators, other, tasks, regions), 1.0 if other.direction == "increase" else -1.0
        if second == target:
            raise ConfigurationError(f"intervene.against is {settings.against!r}, which is the first aim itself.")
    return SearchTarget(
        settings=settings,
        tasks=tuple(tasks),
        indicators=tuple(indicators),
        target=target,
        regions=tuple(regions),
        retest_sd_E=_retest_sd(settings, shared_twin),
        second=second,
        second_sign=second_sign,
        among_R=_stimulable(settings, shared_twin.card.region_names),
    )


def _stimulable(settings: InterveneConfig, names: Sequence[str]) -> np.ndarray | None:
    """Find the regions of the connectome that the configuration names."""
    if not settings.regions:
        return None
    if settings.space != "regions":
        raise ConfigurationError(
            f"intervene.regions names {', '.join(settings.regions)}, but intervene.space is {settings.space!r}; they go with "
            "`space: regions`."
        )
    if unknown := [name for name in settings.regions if name not in names]:
        raise ConfigurationError(
            f"intervene.regions names {', '.join(unknown)}; the connectome has {len(names)} regions: {_some(names)}"
        )
    return np.isin(np.array(names), settings.regions)


_WORDS = re.compile(
    r"(?P<direction>increase|decrease) (?P<indicator>\S+)(?: of (?:network (?P<network>\S+)|(?P<name>\S+)))? in (?P<task>\S+)"
)


def _in_words(settings: InterveneConfig) -> InterveneConfig:
    """Read the second aim."""
    found = _WORDS.fullmatch(settings.against or "")
    if found is None:
        raise ConfigurationError(
            f"intervene.against is {settings.against!r}; expected words such as 'increase accuracy in stroop', 'decrease mean_rt in "
            "hammer', 'increase choice of left in hammer' or 'decrease bold_contrast of network VisCent in hammer'."
        )
    given = {name: value for name, value in found.groupdict().items() if value is not None}
    if given["indicator"] not in INDICATORS:
        raise ConfigurationError(
            f"intervene.against is {settings.against!r}; there is no indicator {given['indicator']!r}: "
            f"{INDICATORS.advice(given['indicator'])}."
        )
    if "name" in given:
        is_choice = INDICATORS[given["indicator"]].of == "alternative"
        given["alternative" if is_choice else "region"] = given.pop("name")
    return from_mapping(InterveneConfig, given, "intervene.against")


def _place(
    indicators: list[Indicator], settings: InterveneConfig, tasks: Sequence[TaskOutline], regions: Sequence[str]
) -> int:
    """Find the indicator that is meant; that of a network is added."""
    task = _task_index(settings, [task.name for task in tasks])
    alternative = _alternative(settings, tasks[task])
    wanted = Indicator(settings.indicator, task, _target_regions(settings, regions), alternative)
    if INDICATORS[wanted.kind].needs_contrast and not any(tasks[task].contrast):
        raise ConfigurationError(
            f"intervene.indicator is {settings.indicator!r}, but the task {tasks[task].name!r} has no contrast between conditions. "
            "Name another task in intervene.task, or add `contrast` to the task's specification."
        )
    if wanted not in indicators:
        indicators.append(wanted)
    return indicators.index(wanted)


def _retest_sd(settings: InterveneConfig, shared_twin: SharedTwin) -> np.ndarray | None:
    if settings.budget_unit == "norm":
        return None
    found = load_reliability(shared_twin.shards).get("retest_sd_E")
    if found is None or not np.isfinite(found).any():
        raise ConfigurationError(
            "intervene.budget_unit is 'retest_sd', but nobody in the cohort has two rest runs, so that it is not known how well an edge is "
            "measured. Give the budget as a share of the connectome's norm: --budget-unit norm"
        )
    return found.astype(np.float64)


def _alternative(settings: InterveneConfig, task: TaskOutline) -> int | None:
    """Find the alternative that the configuration names."""
    if INDICATORS[settings.indicator].of != "alternative":
        if settings.alternative is not None:
            raise ConfigurationError(
                f"intervene.alternative is {settings.alternative!r}, but intervene.indicator is {settings.indicator!r}; an alternative "
                f"goes with {names_of('alternative')} only."
            )
        return None
    if settings.alternative not in task.alternatives:
        raise ConfigurationError(
            f"intervene.indicator is {settings.indicator!r} and intervene.alternative {settings.alternative!r}; expected one of those of "
            f"{task.name}: {', '.join(task.alternatives)}"
        )
    return task.alternatives.index(settings.alternative)


def _target_regions(settings: InterveneConfig, regions: Sequence[str]) -> tuple[int, ...]:
    """Find the region, or the regions of the network, that the configuration names."""
    if INDICATORS[settings.indicator].of != "regions":
        for name in ("region", "network"):
            if getattr(settings, name) is not None:
                raise ConfigurationError(
                    f"intervene.{name} is {getattr(settings, name)!r}, but intervene.indicator is {settings.indicator!r}; a {name} goes "
                    f"with {names_of('regions')} only."
                )
        return ()
    if not regions:
        raise ConfigurationError(
            f"intervene.indicator is {settings.indicator!r}, but the twin was trained without task BOLD."
        )
    if (settings.region is None) == (settings.network is None):
        raise ConfigurationError(
            f"intervene.indicator is {settings.indicator!r}: give either intervene.region or intervene.network. Regions: "
            f"{_some(regions)}. Networks: {_some(sorted({network_of(name) for name in regions}))}"
        )
    if settings.region is not None:
        found = [place for place, name in enumerate(regions) if name == settings.region]
        if not found:
            raise ConfigurationError(
                f"intervene.region is {settings.region!r}; `{settings.indicator}` needs one of the {len(regions)} regions: {_some(regions)}"
            )
        return tuple(found)
    networks = [network_of(name) for name in regions]
    found = [place for place, name in enumerate(networks) if name == settings.network]
    if not found:
        raise ConfigurationError(
            f"intervene.network is {settings.network!r}; the names of the regions know of {_some(sorted(set(networks)))}"
        )
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _task_index(settings: InterveneConfig, names: Sequence[str]) -> int:
    if settings.task is None:
        return 0
    if settings.task not in names:
        raise ConfigurationError(f"intervene.task is {settings.task!r}; the twin performs {', '.join(names)}.")
    return list(names).index(settings.task)
