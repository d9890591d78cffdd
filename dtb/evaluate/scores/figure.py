"""One figure of an evaluation: a metric of a task for the twin and each baseline, with interval and ceilings.

Shape letters: see `dtb.evaluate.scores.observed`; `B` bootstrap draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtb.evaluate.scores.statistics import Estimate, Statistic, difference, estimate, mean_of
from dtb.evaluate.scores.strangers import LossBlock

TWIN, STRANGER = "twin", "stranger_connectome"
BLEND = "blend"
"""A predictor that holds the twin itself is nothing that the twin is compared with."""


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """One metric of one task.

    Attributes
    ----------
    task : str
        ``"all"`` for a metric over all tasks.
    metric, unit : str
    higher_is_better : bool
    twin : Estimate
    baselines : dict of str to float
        Value of each baseline that has one.
    best_baseline : str or None
        The best of them, as training people tell; on these very people, which favours the baselines, where they do not.
    difference : Estimate or None
        Twin minus best baseline, on the people and draws of both.
    note : str
        Why a value or an interval is absent, or what to know when reading it.
    ceilings : dict of str to float
        What the best possible predictor would reach: by `truth`, of a ground-truth cohort; by `halves`, how well people's odd trials agree
        with their even ones, or their BOLD in halves of a run; by `runs`, how well their first run agrees with the others; by `own_half`,
        what is reached by who knows half of the person's own trials. `between_halves` bounds nothing: how well one half of what people did
        finds the other.
    permuted : tuple of float
        What twins reach that were trained on permuted connectomes.
    permuted_p : float or None
        How rarely they would reach what the twin does, alone as they are.
    permuted_note : str
        Both in words.
    permuted_scores : tuple of (S,) or (N, S)
        What `permuted` was computed from.
    alone_S : (S,) or (N, S), or None
        The scores of the twin that is compared with them: without other members, where it is an ensemble.
    best : Estimate or None
        `best_baseline`'s own value, with its interval.
    is_best_picked : bool
        Whether `best_baseline` was picked on training people (`dtb.evaluate.scores.picked`).
    statistic : Statistic
    observed_S : (S,), or (N, S) with several trainings
    scores : dict of str to (S,) or (N, S)
        What `statistic` was computed from, for the twin and each baseline.
    added_S : (S,) or (N, S), or None
        What it is computed from for what people's own connectomes add to what the twin says from strangers'.
    leverage : float
        Columns that were taken out of what the scores are, over people.
    shared : float
        Share of the people whom a fold's training saw that are tested in other folds of the pool
        (`dtb.evaluate.scores.permutations.wider_where_shared`); 0 for one fold.
    loss_blocks : tuple of LossBlock
        The losses of people by connectome, where they are kept.
    """

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    twin: Estimate
    baselines: dict[str, float]
    best_baseline: str | None
    difference: Estimate | None
    note: str
    ceilings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    statistic: Statistic = mean_of
    observed_S: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0), repr=False)
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    added_S: np.ndarray | None = dataclasses.field(default=None, repr=False)
    leverage: float = 0.0
    shared: float = 0.0
    permuted: tuple[float, ...] = ()
    permuted_p: float | None = None
    permuted_note: str = ""
    permuted_scores: tuple[np.ndarray, ...] = dataclasses.field(default=(), repr=False)
    alone_S: np.ndarray | None = dataclasses.field(default=None, repr=False)
    loss_blocks: tuple[LossBlock, ...] = dataclasses.field(default=(), repr=False)
    is_best_picked: bool = False
    best: Estimate | None = None

    @property
    def ceiling(self) -> float | None:
        """Return the first ceiling that is known."""
        order = ("truth", "halves", "runs", "own_half")
        return next((self.ceilings[name] for name in order if name in self.ceilings), None)

    @property
    def is_bounded(self) -> bool:
        """Whether the ceiling bounds what can be reached."""
        return any(name in self.ceilings for name in ("truth", "halves", "runs"))

    @property
    def fraction_of_ceiling(self) -> float | None:
        """Return the twin's share of the ceiling; for a score that is better when lower, counted from the group mean.

        The share is at most 1, because ceilings are estimates. None if the ceiling is no upper bound, as that of half of a person's trials.
        """
        if not self.is_bounded or self.ceiling is None or not math.isfinite(self.twin.value):
            return None
        begin = 0.0 if self.higher_is_better else self.baselines.get("group_mean", math.nan)
        way = self.ceiling - begin if self.higher_is_better else begin - self.ceiling
        gone = self.twin.value - begin if self.higher_is_better else begin - self.twin.value
        return min(gone / way, 1.0) if way > 0 else None

    def to_plain(self) -> dict[str, Any]:
        """Return the figure as JSON values: null for what is absent."""
        gap = self.difference
        return {
            "task": self.task,
            "metric": self.metric,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "twin": number_or_none(self.twin.value),
            "lower": number_or_none(self.twin.lower),
            "upper": number_or_none(self.twin.upper),
            "baselines": {name: number_or_none(value) for name, value in self.baselines.items()},
            "best_baseline": self.best_baseline,
            "best_baseline_is_picked": self.is_best_picked,
            "best_lower": number_or_none(self.best.lower) if self.best else None,
            "best_upper": number_or_none(self.best.upper) if self.best else None,
            "difference": number_or_none(gap.value) if gap else None,
            "difference_lower": number_or_none(gap.lower) if gap else None,
            "difference_upper": number_or_none(gap.upper) if gap else None,
            "ceiling": self.ceiling,
            "ceilings": dict(self.ceilings),
            "fraction_of_ceiling": self.fraction_of_ceiling,
            "permuted": list(self.permuted),
            "permuted_p": self.permuted_p,
            "n": self.twin.num_people,
            "note": "; ".join(filter(None, [self.note, self.permuted_note])),
        }


def number_or_none(value: float) -> float | None:
    """Return a finite number, or None for one that JSON does not have."""
    return float(value) if math.isfinite(value) else None


def share_in_words(share: float | None, *, is_loss: bool) -> str:
    """Return a share of the ceiling in words; below 0 there is none.

    Examples
    --------
    >>> share_in_words(0.42, is_loss=False), share_in_words(-7.5, is_loss=True)
    ('42%', 'below the group mean')
    """
    if share is None:
        return "–"
    if share < 0:
        return "below the group mean" if is_loss else "below 0"
    return f"{share:.0%}"


def make_figure(
    task: str,
    metric: str,
    unit: str,
    statistic: Statistic,
    observed_S: np.ndarray,
    scores: Mapping[str, np.ndarray],
    weights_BS: np.ndarray,
    confidence: float,
    *,
    higher_is_better: bool = True,
    note: str = "",
    ceilings: Mapping[str, float] | None = None,
    added_S: np.ndarray | None = None,
    leverage: float = 0.0,
) -> Figure | None:
    """Return one figure from each predictor's scores; None if the twin does not predict it for anybody.

    Parameters are those of `Evidence.figure` and `Figure`.
    """
    known = {name: score_S for name, score_S in scores.items() if np.isfinite(score_S).any()}
    if TWIN not in known or not np.isfinite(observed_S).any():
        return None
    mine_S = known[TWIN]
    twin = estimate(statistic, observed_S, mine_S, weights_BS, confidence)
    one = np.ones((1, observed_S.shape[-1]))
    baselines = {name: float(statistic(observed_S, known[name], one)[0]) for name in known if name != TWIN}
    sign = 1 if higher_is_better else -1
    ranked = sorted(
        (name for name in baselines if math.isfinite(baselines[name]) and name != BLEND),
        key=lambda name: -sign * baselines[name],
    )
    best = ranked[0] if ranked else None
    gap = own = None
    if best is not None:
        gap = difference(statistic, observed_S, mine_S, known[best], weights_BS, confidence)
        own = estimate(statistic, observed_S, known[best], weights_BS, confidence)
    notes = "; ".join(dict.fromkeys(part for part in (note, twin.note) if part))
    return Figure(
        task,
        metric,
        unit,
        higher_is_better,
        twin,
        baselines,
        best,
        gap,
        notes,
        ceilings or {},
        statistic,
        observed_S,
        known,
        added_S=added_S,
        leverage=leverage,
        best=own,
    )


def beside_permuted(figure: Figure, mine_S: np.ndarray, permuted_scores: Sequence[np.ndarray]) -> Figure:
    """Return a figure with the results of twins trained on permuted connectomes.

    Parameters
    ----------
    figure : Figure
    mine_S : (S,) or (N, S)
        Scores of the twin alone, without other members of its ensemble: those that it is compared with have none.
    permuted_scores : sequence of (S,) or (N, S)
        Scores of each of them; one for which the figure is not defined does not count.
    """
    one = np.ones((1, figure.observed_S.shape[-1]))
    reached = [float(figure.statistic(figure.observed_S, score_S, one)[0]) for score_S in (mine_S, *permuted_scores)]
    known = [place for place, value in enumerate(reached[1:]) if math.isfinite(value)]
    mine, values_P = reached[0], np.array([reached[1 + place] for place in known])
    if not known or not math.isfinite(mine):
        return figure
    as_good = values_P >= mine if figure.higher_is_better else values_P <= mine
    best = values_P.max() if figure.higher_is_better else values_P.min()
    p = (1 + int(as_good.sum())) / (1 + len(values_P))
    words = (
        f"{len(values_P)} retrained on permuted connectomes: mean {values_P.mean():.3f}, best {best:.3f}, p = {p:.3f}"
    )
    if abs(mine - figure.twin.value) > 1e-9:
        words += f" for the first member alone, {mine:.3f}"
    return dataclasses.replace(
        figure,
        permuted_note=words,
        permuted=tuple(values_P.tolist()),
        permuted_p=p,
        permuted_scores=tuple(permuted_scores[place] for place in known),
        alone_S=mine_S,
    )
