"""The search target that a configuration names, for one twin."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dtb.config import InterveneConfig, from_mapping
from dtb.errors import ConfigurationError, InputDataError
from dtb.fleet.target import SearchTarget
from dtb.fleet.twins import SharedTwin, outlines_of
from dtb.intervene.indicators import TaskOutline, list_indicators
from dtb.intervene.kinds import INDICATORS, Indicator, names_of
from dtb.people.connectome_kinds import connectome_in_words, estimated_correlations, is_correlation
from dtb.people.networks import network_of
from dtb.people.reliability import load_reliability


def require_correlations(shared_twin: SharedTwin) -> None:
    """Refuse a twin whose connectomes cannot be changed.

    Raises
    ------
    InputDataError
        They are not correlation matrices.
    """
    made = shared_twin.card.connectome
    if not is_correlation(made):
        raise InputDataError(
            f"This twin reads connectomes that are {connectome_in_words(made)}. An intervention changes a correlation matrix into another "
            f"valid one, and these are not correlation matrices. Train a twin on a cohort ingested with `connectome: "
            f"{estimated_correlations()}."
        )


def make_search_target(settings: InterveneConfig, shared_twin: SharedTwin) -> SearchTarget:
    """Return the search target that the configuration names.

    Raises
    ------
    ConfigurationError
        There is no such indicator; the message lists those that exist.
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
        other = _parse_second_aim(settings)
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
    """Return the regions of the connectome that the configuration names."""
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


def _parse_second_aim(settings: InterveneConfig) -> InterveneConfig:
    """Return the settings of the second aim, read from the words in the configuration."""
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
    """Return the place of the named indicator; that of a network is added."""
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
    """Return the alternative that the configuration names."""
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
    """Return the region, or the regions of the network, that the configuration names."""
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
            f"intervene.network is {settings.network!r}; the names of the regions have the networks {_some(sorted(set(networks)))}"
        )
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _task_index(settings: InterveneConfig, names: Sequence[str]) -> int:
    if settings.task is None:
        return 0
    if settings.task not in names:
        raise ConfigurationError(f"intervene.task is {settings.task!r}; the twin was trained on {', '.join(names)}.")
    return list(names).index(settings.task)
