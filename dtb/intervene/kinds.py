"""The kinds of indicator: their words and units, and how each is computed from simulated and from observed data.

The configuration, the sentence of `intervene.against`, the stages, the report and the documentation read this table. It imports nothing
heavy, for the configuration looks at its names.

Shape letters: `S` subject, `J` trial, `A` response alternative.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from dtb.kinds import Kinds

if TYPE_CHECKING:
    from torch import Tensor

    from dtb.intervene.measures import Observed, Simulated, TaskTrials


@dataclasses.dataclass(frozen=True)
class Indicator:
    """One figure a person.

    Attributes
    ----------
    kind : str
        Name of an `IndicatorKind`.
    task : int
        Index into the task set.
    regions : tuple of int
        Indices among the BOLD regions: one, or those of a network, whose signals are averaged. Empty for behaviour.
    alternative : int or None
        Of a kind that needs one, which of the task's alternatives.
    """

    kind: str
    task: int
    regions: tuple[int, ...] = ()
    alternative: int | None = None

    @property
    def unit(self) -> str:
        """Unit of the figure."""
        return INDICATORS[self.kind].unit


@dataclasses.dataclass(frozen=True)
class IndicatorKind:
    """One kind of indicator.

    Attributes
    ----------
    name : str
        As `intervene.indicator` names it.
    words : str
        What it is, as the report calls it.
    unit : str
    explanation : str
        How it is computed, for the documentation.
    simulated : function
        The figure (S,) of what twins do, differentiable in the connectome.
    observed : function
        The same (S,) float64 of what people did; both are NaN for people without data.
    weights : function or None
        For behaviour, the weight (J,) of each trial of a task in its person's figure, and who (S,) has one; it is made once for a whole
        search, and `Simulated.weighted` uses it. None for BOLD.
    of : {"", "alternative", "regions"}
        Whether it is of one alternative, or of a region or network.
    needs_contrast : bool
        Whether it is there only in tasks with a contrast between conditions.
    is_watched : bool
        Whether it is measured in every task (and every region), and should not change unless it is the target.
    needs_basis : bool
        Whether it needs the basis of the linear model (`LinearModel.t`).
    has_halves : bool
        Of BOLD: whether halves of people's runs say how well their own figure would be found again.
    """

    name: str
    words: str
    unit: str
    explanation: str
    simulated: Callable[[Simulated, Indicator], Tensor]
    observed: Callable[[Observed, Indicator], Tensor]
    weights: Callable[[TaskTrials], tuple[Tensor, Tensor]] | None = None
    of: Literal["", "alternative", "regions"] = ""
    needs_contrast: bool = False
    is_watched: bool = False
    needs_basis: bool = False
    has_halves: bool = False

    @property
    def is_map(self) -> bool:
        """Whether it is looked at in every region, and tables gather it."""
        return self.of == "regions" and self.is_watched


def _was_right(did: Observed, _one: Indicator) -> Tensor:
    trials = did.shown.batch.trials
    right_J = (trials.response_JA & trials.correct_JA).any(-1)
    withheld_J = ~trials.response_JA.any(-1) & ~trials.correct_JA.any(-1)
    return did.mean(did.used_J & trials.scored_J, (right_J | withheld_J).double())


INDICATORS: Kinds[IndicatorKind] = Kinds(
    "indicator",
    [
        IndicatorKind(
            name="mean_rt",
            words="mean reaction time",
            unit="s",
            explanation="Expected reaction time, given a press, over trials in which a press is right.",
            weights=lambda shown: shown.mean(shown.to_press_J),
            simulated=lambda does, _one: does.weighted(does.rt_J),
            observed=lambda did, _one: did.mean(did.pressed_J, did.shown.batch.trials.rt_seconds_J),
            is_watched=True,
        ),
        IndicatorKind(
            name="condition_rt",
            words="condition effect on reaction time",
            unit="s",
            explanation="The task's contrast between the mean reaction times of its conditions.",
            weights=lambda shown: shown.difference(shown.to_press_J),
            simulated=lambda does, _one: does.weighted(does.rt_J),
            observed=lambda did, _one: did.difference(did.pressed_J, did.shown.batch.trials.rt_seconds_J),
            needs_contrast=True,
            is_watched=True,
        ),
        IndicatorKind(
            name="accuracy",
            words="accuracy",
            unit="probability",
            explanation="Probability of the right answer, withholding included.",
            weights=lambda shown: shown.mean(shown.scored_J),
            simulated=lambda does, _one: does.weighted(does.right_J),
            observed=_was_right,
            is_watched=True,
        ),
        IndicatorKind(
            name="choice",
            words="probability of choosing",
            unit="probability",
            explanation="Probability of one alternative over all trials.",
            weights=lambda shown: shown.mean(shown.of_task_J),
            simulated=lambda does, one: does.weighted(does.choice_JA[:, one.alternative]),
            observed=lambda did, one: did.mean(
                did.used_J, did.shown.batch.trials.response_JA[:, one.alternative].double()
            ),
            of="alternative",
        ),
        IndicatorKind(
            name="bold_contrast",
            words="BOLD contrast",
            unit="SD of BOLD",
            explanation="Effect of the task's contrast on the BOLD of a region, or on the mean of a network's regions.",
            simulated=lambda does, one: does.contrast(one.task, one.regions),
            observed=lambda did, one: did.contrast(one.task, one.regions),
            of="regions",
            needs_contrast=True,
            is_watched=True,
            has_halves=True,
        ),
        IndicatorKind(
            name="bold_t",
            words="t of the BOLD contrast",
            unit="t",
            explanation=(
                "That effect over its standard error in the linear model, which for a twin is what the model does not explain of a signal "
                "without noise."
            ),
            simulated=lambda does, one: does.contrast_t(one.task, one.regions),
            observed=lambda did, one: did.contrast_t(one.task, one.regions),
            of="regions",
            needs_contrast=True,
            needs_basis=True,
        ),
    ],
)


def names_of(of: str) -> str:
    """Name the kinds that are of an alternative, or of regions, for a message."""
    return " and ".join(f"`{kind.name}`" for kind in INDICATORS if kind.of == of)
