"""The figures of an in-silico trial, as its protocol says that they are to be given.

Effects are in units of the spread between people, positive the wanted way, and are those of members of the ensemble that were not searched.
Intervals hold the differences between people, between these members, and between a person's two scans. Nothing here simulates: the figures
are a function of a table of outcomes, one row a person, arm, dose and indicator.

Shape letters: `S` subject, `B` member that was not searched, `D` bootstrap draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from dtb.intervene.arms import ARMS
from dtb.intervene.protocol import Protocol


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
        target positive the wanted way, NaN where a person has no such indicator, by the mean over the members that were not searched;
        `moved_searched`: the same over those that were; `member_moved`: a list of what each that was not says; `scans_apart`: by how much
        more the target moves from a person's first scan than from the second, NaN where there are no two.
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
    num_members = max((len(values) for values in outcomes["member_moved"]), default=1)
    drawn = Drawn(weights, member_weights(rng, num_members, protocol.num_draws), rng.choice([-0.5, 0.5], weights.shape))
    full = Effects.of(outcomes[outcomes["is_target"]], target.index)
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
            effect = _mean_named("effect", *full[arm, dose], drawn, protocol)
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
        primary=_primary(target, full, drawn, protocol, rng),
        doses=pd.DataFrame(rows),
        matrix=_matrix(outcomes, target.index, drawn, protocol),
        slopes=_slopes(target, full, drawn, protocol),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Bootstrap draws.

    Attributes
    ----------
    people_DS : (D, S) float64
        How often each person was drawn, over their number.
    members_DB : (D, B) float64
        Weights of members; see `member_weights`.
    scans_DS : (D, S) float64
        Half, with the sign that says which of a person's scans was drawn.
    """

    people_DS: np.ndarray
    members_DB: np.ndarray
    scans_DS: np.ndarray


def member_weights(rng: np.random.Generator, num_members: int, num_draws: int) -> np.ndarray:
    """Draw members (D, B): a bootstrap about equal weights, so much wider that its variance is that of a mean of few.

    Of B members a bootstrap's mean varies by (B - 1) / B of the squared standard error; of one it does not vary at all.
    """
    equal = 1 / num_members
    drawn_DB = rng.multinomial(num_members, np.full(num_members, equal), num_draws) / num_members
    wider = np.sqrt(num_members / (num_members - 1)) if num_members > 1 else 1.0
    return np.asarray(equal + wider * (drawn_DB - equal))


class Effects(dict[tuple[str, float], tuple[np.ndarray, np.ndarray]]):
    """By arm and dose: what each member says of each person (S, B), and how far apart people's two scans are (S,), 0 where unknown."""

    @classmethod
    def of(cls, rows: pd.DataFrame, people: pd.Index) -> Effects:
        """Read them from the rows of one indicator."""
        found = cls()
        for (arm, dose), group in rows.groupby(["arm", "dose"], sort=False):
            table = group.set_index("pseudonym")
            found[str(arm), float(str(dose))] = (
                _of_members(table["member_moved"], people),
                table["scans_apart"].reindex(people).fillna(0.0).to_numpy(np.float64),
            )
        return found


def _of_members(moved: pd.Series, people: pd.Index) -> np.ndarray:
    num = max((len(values) for values in moved), default=1)
    rows = [values if isinstance(values, list | np.ndarray) else [np.nan] * num for values in moved.reindex(people)]
    return np.array(rows, np.float64).reshape(len(people), num)


def _primary(
    target: pd.DataFrame, full: Effects, drawn: Drawn, protocol: Protocol, rng: np.random.Generator
) -> dict[str, Any]:
    ours, theirs = full[protocol.primary, 1.0], full[protocol.comparator, 1.0]
    named = _mean_named("difference", ours[0] - theirs[0], ours[1] - theirs[1], drawn, protocol)
    difference_S = (target[protocol.primary, 1.0] - target[protocol.comparator, 1.0]).to_numpy()
    complete_S = np.isfinite(difference_S)
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
        "num_with_two_scans": int((ours[1][complete_S] != 0.0).sum()),
    }


def benefit_of(outcomes: pd.DataFrame, protocol: Protocol, seed: int) -> dict[str, Any] | None:
    """Return whether the personal change is better than those of the population, on the members that were searched and on the others.

    Returns
    -------
    dict or None
        For `searched` and `unsearched` the least gain over any arm of the population, with its interval; whether personalising `helped`
        on the members that were searched, whether this `replicated` on the others, and a `sentence`. None without such arms.
    """
    arms = [arm for arm in ARMS if arm.name in protocol.arms]
    own = [arm.name for arm in arms if arm.is_search]
    others = [arm.name for arm in arms if arm.is_of_population]
    if not own or not others:
        return None
    rows = outcomes[outcomes["is_target"] & (outcomes["dose"] == 1.0)]
    people = pd.Index(sorted(rows["pseudonym"].unique()))
    # Members that were searched are no sample of all: what they say together is taken as it is.
    searched = rows.assign(member_moved=rows["moved_searched"].map(lambda value: [value]))
    rng = np.random.default_rng([seed, 8])
    gains: dict[str, dict[str, float]] = {}
    against: dict[str, str] = {}
    people_DS = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), protocol.num_draws) / len(people)
    for where, table in (("searched", searched), ("unsearched", rows)):
        full = Effects.of(table, people)
        mine_SB, apart_S = full[own[0], 1.0]
        members_DB = member_weights(rng, mine_SB.shape[1], protocol.num_draws)
        drawn = Drawn(people_DS, members_DB, rng.choice([-0.5, 0.5], people_DS.shape))
        over = {
            arm: _mean_named("gain", mine_SB - full[arm, 1.0][0], apart_S - full[arm, 1.0][1], drawn, protocol)
            for arm in others
        }
        least = min(over, key=lambda arm: over[arm]["gain_lower"])
        gains[where], against[where] = over[least], least.replace("_", " ")
    helped, replicated = (bool(gains[where]["gain_lower"] > 0) for where in ("searched", "unsearched"))
    said = {
        where: f"{gain['gain']:.2f} [{gain['gain_lower']:.2f}, {gain['gain_upper']:.2f}]"
        for where, gain in gains.items()
    }
    if helped and replicated:
        first = "Personalising helped, and this replicated on members that were not searched"
    elif helped:
        first = "Personalising helped on the members that were searched and did not replicate on others: no personal benefit is shown"
    else:
        first = "Personalising did not help: no personal benefit is shown"
    gain = f"gain over {against['unsearched']}: {said['unsearched']} spreads between people; on those searched {said['searched']}"
    sentence = f"{first} ({gain})."
    return {**gains, "comparator": against, "helped": helped, "replicated": helped and replicated, "sentence": sentence}


def _matrix(outcomes: pd.DataFrame, people: pd.Index, drawn: Drawn, protocol: Protocol) -> pd.DataFrame:
    """Return what each arm did to every indicator at the full dose."""
    full = outcomes[outcomes["dose"] == 1.0]
    keys = ["arm", "task", "indicator", "is_target"]
    rows = []
    for names, group in full.groupby(keys, sort=False):
        table = group.set_index("pseudonym")
        moved_S, apart_S = (table[name].reindex(people).to_numpy(np.float64) for name in ("moved", "scans_apart"))
        members = _of_members(table["member_moved"], people)
        rows.append(
            dict(zip(keys, names, strict=True))
            | _mean_named("mean_change", members, np.nan_to_num(apart_S), drawn, protocol)
            | _named("mean_size", np.abs(moved_S), drawn.people_DS, protocol)
        )
    return pd.DataFrame(rows)


def _slopes(target: pd.DataFrame, full: Effects, drawn: Drawn, protocol: Protocol) -> pd.DataFrame:
    """Fit each person's effect as proportional to the dose, and say how often it grows with every step."""
    dose_D = np.array(protocol.doses)
    share_D = dose_D / (dose_D @ dose_D)
    rows = []
    for arm in protocol.arms:
        effect_SD = target[arm][list(protocol.doses)].to_numpy()
        pairs = [full[arm, dose] for dose in protocol.doses]
        slope_SB, apart_S = (
            sum(share * pair[side] for share, pair in zip(share_D, pairs, strict=True)) for side in (0, 1)
        )
        grows = np.diff(effect_SD, axis=1, prepend=0.0) > 0
        rows.append(
            {"arm": arm}
            | _mean_named("slope", slope_SB, apart_S, drawn, protocol)
            | {"share_growing": float(grows.all(1).mean())}
        )
    return pd.DataFrame(rows)


def _mean_named(
    name: str, moved_SB: np.ndarray, apart_S: np.ndarray, drawn: Drawn, protocol: Protocol
) -> dict[str, float]:
    """Return a mean over people and members; its interval holds differences between people, members and a person's scans."""
    known_S = np.isfinite(moved_SB).all(axis=1)
    moved_SB, apart_S, people_DS = moved_SB[known_S], apart_S[known_S], drawn.people_DS[:, known_S]
    total_D = people_DS.sum(axis=1)
    if not len(moved_SB):
        return dict.fromkeys((name, f"{name}_lower", f"{name}_upper"), np.nan)
    people_DS = people_DS[total_D > 0] / total_D[total_D > 0, None]
    found_D = ((people_DS @ moved_SB) * drawn.members_DB[total_D > 0]).sum(axis=1)
    # A person who is drawn twice is drawn with the same scan: what differs between scans belongs to the person.
    found_D = found_D + (people_DS * drawn.scans_DS[total_D > 0][:, known_S]) @ apart_S
    tail = 50.0 * (1.0 - protocol.confidence)
    lower, upper = np.percentile(found_D, [tail, 100.0 - tail])
    return {name: float(moved_SB.mean()), f"{name}_lower": float(lower), f"{name}_upper": float(upper)}


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
