"""The in-silico trial: a protocol that is fixed before anything is simulated, and the figures that it says are to be given.

Every person gets every arm at every dose, so that all comparisons are paired. Effects are in units of the spread between people, positive
the wanted way. Nothing here simulates: the figures are a function of a table of outcomes, one row a person, arm, dose and indicator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from dtb.config import InterveneConfig, NonNegative, OpenFraction, from_mapping, read_yaml

Arm = Literal["personalised", "population", "random", "ridge", "paper", "sham"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Protocol:
    """What is to be done and how it is to be judged; read from YAML, and named by its hash in every result."""

    title: str
    """What the trial is about."""
    search: InterveneConfig = dataclasses.field(default_factory=InterveneConfig)
    """The indicator, the budget and the search, as in `dtb intervene`."""
    arms: Annotated[tuple[Arm, ...], Field(min_length=2)] = ("personalised", "population", "random", "sham")
    """`personalised`: each person's own search. The others go as far as that one: in the mean gradient's direction, at random, along a
    ridge regression's weights, along the published method's gradient; `sham` changes nothing."""
    doses: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the full change."""
    primary: Arm = "personalised"
    """The arm that the primary outcome is about, at the full dose."""
    comparator: Arm = "population"
    """What it is compared with."""
    responder_spreads: NonNegative = 0.2
    """A responder's target moves the wanted way by at least this, in spreads between people,"""
    max_off_target_spreads: NonNegative = 0.5
    """and no other indicator by more than this."""
    confidence: OpenFraction = 0.95
    """Coverage of the intervals, by bootstrap over people."""
    num_draws: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap draws, and sign flips of the primary test."""

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if list(self.doses) != sorted(set(self.doses)) or self.doses[-1] != 1.0:
            raise ValueError("`doses` must grow and end with 1, the full change")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError("`arms` names one arm twice")
        if self.primary == self.comparator or not {self.primary, self.comparator} <= set(self.arms):
            raise ValueError("`primary` and `comparator` must be two different ones of `arms`")
        return self


def load_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Parameters
    ----------
    path : Path
        YAML file.

    Raises
    ------
    ConfigurationError
        The file is absent, is not YAML, or has unknown keys or values that are not allowed.
    """
    values = read_yaml(path, "a trial needs a protocol such as configs/trials/stroop_speed.yaml")
    return from_mapping(Protocol, {} if values is None else values, str(path))


@dataclasses.dataclass(frozen=True)
class TrialFigures:
    """What a trial found; each table has one row as named.

    Attributes
    ----------
    primary : dict
        The primary outcome: mean paired difference, interval, p-value, how many people are better off, how many there are, and how many
        were left out for want of a figure in both arms.
    doses : DataFrame
        An arm at a dose: mean effect on the target, in spreads between people and in test-retest standard deviations, spread over people,
        and share of responders, each with its interval; standardised mean.
    matrix : DataFrame
        An arm and an indicator, at the full dose: mean change, and mean size of it, with their intervals.
    slopes : DataFrame
        An arm: how the effect grows with the dose.
    """

    primary: dict[str, Any]
    doses: pd.DataFrame
    matrix: pd.DataFrame
    slopes: pd.DataFrame


def analyse(
    outcomes: pd.DataFrame, protocol: Protocol, seed: int, spread_in_retest_sd: float | None = None
) -> TrialFigures:
    """Return the figures of a trial.

    Parameters
    ----------
    outcomes : DataFrame
        Columns `pseudonym`, `arm`, `dose`, `indicator`, `task`, `is_target` and `moved`: the change in spreads between people, for the
        target positive the wanted way, NaN where a person has no such indicator.
    protocol : Protocol
    seed : int
        For bootstrap and sign flips.
    spread_in_retest_sd : float, optional
        How many test-retest standard deviations of the target its spread between people is.

    Returns
    -------
    TrialFigures
    """
    target = (
        outcomes[outcomes["is_target"]].pivot(index="pseudonym", columns=["arm", "dose"], values="moved").sort_index()
    )
    rng = np.random.default_rng([seed, 7])
    weights = rng.multinomial(len(target), np.full(len(target), 1 / len(target)), protocol.num_draws) / len(target)
    worst = (
        outcomes[~outcomes["is_target"]]
        .assign(moved=lambda table: table["moved"].abs())
        .groupby(["pseudonym", "arm", "dose"])["moved"]
        .max()
    )
    in_retest = np.nan if spread_in_retest_sd is None else spread_in_retest_sd
    rows = []
    for arm in protocol.arms:
        for dose in protocol.doses:
            effect_S = target[arm, dose].to_numpy()
            aside_S = np.array([worst.get((who, arm, dose), 0.0) for who in target.index])
            responds_S = (effect_S >= protocol.responder_spreads) & ~(aside_S > protocol.max_off_target_spreads)
            effect = _named("effect", effect_S, weights, protocol)
            spread = _named("sd_between_people", effect_S, weights, protocol, _deviations)
            deviation = spread["sd_between_people"]
            rows.append(
                {"arm": arm, "dose": dose}
                | effect
                | {name.replace("effect", "effect_in_retest_sd"): value * in_retest for name, value in effect.items()}
                | spread
                | {"standardised_mean": effect["effect"] / deviation if deviation else np.nan}
                | _named("responders", np.where(np.isfinite(effect_S), responds_S, np.nan), weights, protocol)
            )
    return TrialFigures(
        primary=_primary(target, weights, protocol, rng),
        doses=pd.DataFrame(rows),
        matrix=_matrix(outcomes, target.index, weights, protocol),
        slopes=_slopes(target, weights, protocol),
    )


def _primary(target: pd.DataFrame, weights: np.ndarray, protocol: Protocol, rng: np.random.Generator) -> dict[str, Any]:
    difference_S = (target[protocol.primary, 1.0] - target[protocol.comparator, 1.0]).to_numpy()
    complete_S = np.isfinite(difference_S)
    named = _named("difference", difference_S, weights, protocol)
    # Compared with NaN nothing is extreme: a pair that lacks a figure would make every p-value the smallest.
    difference_S = difference_S[complete_S]
    flips = rng.choice([-1.0, 1.0], (protocol.num_draws, len(difference_S)))
    # As many as the observed one, itself among them: a p-value of 0 is never given.
    extreme = (np.abs(flips @ difference_S) >= np.abs(difference_S.sum()) - 1e-12).sum()
    return {
        "arm": protocol.primary,
        "comparator": protocol.comparator,
        **named,
        "p_value": float((extreme + 1) / (protocol.num_draws + 1)),
        "share_better": float((difference_S > 0).mean()) if len(difference_S) else np.nan,
        "num_people": len(difference_S),
        "num_incomplete": int((~complete_S).sum()),
    }


def _matrix(outcomes: pd.DataFrame, people: pd.Index, weights: np.ndarray, protocol: Protocol) -> pd.DataFrame:
    """Return what each arm did to every indicator at the full dose."""
    full = outcomes[outcomes["dose"] == 1.0]
    keys = ["arm", "task", "indicator", "is_target"]
    rows = []
    for names, group in full.groupby(keys, sort=False):
        moved_S = group.set_index("pseudonym")["moved"].reindex(people).to_numpy()
        rows.append(
            dict(zip(keys, names, strict=True))
            | _named("mean_change", moved_S, weights, protocol)
            | _named("mean_size", np.abs(moved_S), weights, protocol)
        )
    return pd.DataFrame(rows)


def _slopes(target: pd.DataFrame, weights: np.ndarray, protocol: Protocol) -> pd.DataFrame:
    """Fit each person's effect as proportional to the dose, and say how often it grows with every step."""
    dose_D = np.array(protocol.doses)
    rows = []
    for arm in protocol.arms:
        effect_SD = target[arm][list(protocol.doses)].to_numpy()
        slope_S = effect_SD @ dose_D / (dose_D @ dose_D)
        grows = np.diff(effect_SD, axis=1, prepend=0.0) > 0
        rows.append(
            {"arm": arm} | _named("slope", slope_S, weights, protocol) | {"share_growing": float(grows.all(1).mean())}
        )
    return pd.DataFrame(rows)


def _named(
    name: str,
    values_S: np.ndarray,
    weights: np.ndarray,
    protocol: Protocol,
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda weights, values_S: weights @ values_S,
) -> dict[str, float]:
    """Return a figure of the people who have a value, if not said otherwise their mean, with its bootstrap interval; NaN for nobody."""
    known_S = np.isfinite(values_S)
    values_S, weights = values_S[known_S], weights[:, known_S]
    drawn = weights.sum(1)
    if not len(values_S):
        return dict.fromkeys((name, f"{name}_lower", f"{name}_upper"), np.nan)
    found = statistic(weights[drawn > 0] / drawn[drawn > 0, None], values_S)
    whole = statistic(np.full((1, len(values_S)), 1 / len(values_S)), values_S)
    tail = 50.0 * (1.0 - protocol.confidence)
    lower, upper = np.nanpercentile(found, [tail, 100.0 - tail]) if np.isfinite(found).any() else (np.nan, np.nan)
    return {name: float(whole[0]), f"{name}_lower": float(lower), f"{name}_upper": float(upper)}


def _deviations(weights: np.ndarray, values_S: np.ndarray) -> np.ndarray:
    """Return the standard deviation over people under each row of weights; NaN for one person."""
    num_people = len(values_S)
    if num_people < 2:
        return np.full(len(weights), np.nan)
    centred_S = values_S - values_S.mean()
    variance = weights @ centred_S**2 - (weights @ centred_S) ** 2
    return np.asarray(np.sqrt(variance.clip(min=0.0) * num_people / (num_people - 1)))
