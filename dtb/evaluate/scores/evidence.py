"""The evidence of an evaluation: observed data, and the predictions of the twin and each baseline.

Shape letters: see `dtb.evaluate.scores.observed`; `B` bootstrap draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from dtb.evaluate.predictors.blend import Blend
from dtb.evaluate.predictors.predictions import Prediction, Summary, TrialPrediction, mean_over_people
from dtb.evaluate.scores.covariates import Covariates
from dtb.evaluate.scores.figure import STRANGER, TWIN, Figure, make_figure
from dtb.evaluate.scores.observed import People
from dtb.evaluate.scores.statistics import Statistic, mean_of
from dtb.evaluate.scores.strangers import LossBlock, loss_blocks, scores_from_strangers
from dtb.tasks.taskset import TaskSet


@dataclasses.dataclass(frozen=True, eq=False)
class Strangers:
    """The twin's predictions from strangers' connectomes.

    Attributes
    ----------
    predictions : tuple of Prediction
        One a deal.
    donor_DS : (D, S) int
        Whose connectome was used (`dtb.evaluate.scores.strangers.deals`).
    block_S, family_S : (S,) int
        Numbers of people's blocks and families.
    """

    predictions: tuple[Prediction, ...]
    donor_DS: np.ndarray
    block_S: np.ndarray
    family_S: np.ndarray

    def mean_of(self, values: Callable[[Prediction], np.ndarray]) -> np.ndarray:
        """Return the mean over strangers of each person's predictions, (S, ...)."""
        return mean_over_people(np.array([values(each) for each in self.predictions]))[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Observations and predictions from which figures are computed.

    Attributes
    ----------
    taskset : TaskSet
    people : People
        Those whose held-out data are predicted.
    observed : Summary
        What they did.
    halves : (Summary, Summary)
        What they did in odd and in even trials, and in the first and second half of what is looked at of their BOLD.
    predictions : mapping of str to Prediction
        The twin's under ``"twin"``, and the baselines'.
    group_maps_TR : (T, R)
        Mean contrast maps of training people.
    training_scale : Summary
        Standard deviation over training people of each figure, by task, as arrays (1, T) and (1, T, R).
    weights_BS : (B, S)
        Bootstrap draws.
    confidence : float
    retest : (Summary, Summary) or None
        What they did in the first run of each task, and in the others.
    own_half : TrialPrediction or None
        What is said of each trial from half of the person's own.
    from_rest_runs : (Summary, Summary) or None
        The twin's predictions from the connectome of people's first rest run alone, and of their second.
    covariates : Covariates
        The covariates that are regressed out of figures.
    covariates_SC : (S, C) or None
        Basis of what they can explain (`dtb.evaluate.scores.covariates.covariate_basis`); None if none are known.
    strangers : Strangers or None
    group_left_in_SC : (S, C) or None
        The basis without the group, where that is known (`dtb.evaluate.scores.covariates.basis_with_group`).
    validation_error_VT : (V, T) or None
        How much slower validation people were, on average, than the twin says; None where there are none who test it.
    true_ceilings : mapping of (task, metric) to float
        See `dtb.evaluate.scores.ceilings.true_ceilings`; empty where no truth is known.
    blend : Blend or None
        How much of the twin and how much of the stack of regressions is best for validation people.
    picks : mapping of (task, metric) to str
        The best baseline on training people (`dtb.evaluate.scores.picked`); empty where they cannot tell.
    """

    taskset: TaskSet
    people: People
    observed: Summary
    halves: tuple[Summary, Summary]
    predictions: Mapping[str, Prediction]
    group_maps_TR: np.ndarray
    training_scale: Summary
    weights_BS: np.ndarray
    confidence: float
    retest: tuple[Summary, Summary] | None = None
    own_half: TrialPrediction | None = None
    from_rest_runs: tuple[Summary, Summary] | None = None
    covariates: Covariates = dataclasses.field(default_factory=Covariates)
    covariates_SC: np.ndarray | None = None
    strangers: Strangers | None = None
    group_left_in_SC: np.ndarray | None = None
    validation_error_VT: np.ndarray | None = None
    true_ceilings: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    blend: Blend | None = None
    picks: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)

    def figure(
        self,
        task: str,
        metric: str,
        unit: str,
        statistic: Statistic,
        observed_S: np.ndarray,
        score: Callable[[Prediction], np.ndarray | None],
        *,
        higher_is_better: bool = True,
        note: str = "",
        ceilings: Mapping[str, float] | None = None,
        further: Mapping[str, np.ndarray] | None = None,
        added_S: np.ndarray | None = None,
        leverage: float = 0.0,
        with_matrix: bool = False,
        with_strangers: bool = True,
    ) -> Figure | None:
        """Return one figure; None if the twin does not predict it for anybody.

        Parameters
        ----------
        task, metric, unit : str
        statistic : Statistic
        observed_S : (S,)
            First argument of the statistic; 0 for `mean_of`, which does not look at it.
        score : function
            Gives the statistic's second argument (S,) from a prediction, or None where the prediction has none.
        higher_is_better, note, ceilings, added_S, leverage
            See `Figure`.
        further : mapping of str to (S,), optional
            The score of what is compared with the twin in this figure alone.
        with_matrix : bool
            Whether the losses of people by connectome are kept, for a permutation of connectomes.
        with_strangers : bool
            Whether strangers' twins stand beside the own.
        """
        given = {name: score(prediction) for name, prediction in self.predictions.items()}
        scores = {name: score_S for name, score_S in given.items() if score_S is not None} | dict(further or {})
        blocks: tuple[LossBlock, ...] = ()
        # Correlations over people are not defined for what is said of nobody in particular: there `added_S` says what strangers' lack.
        if with_strangers and self.strangers is not None and statistic is mean_of and TWIN in scores:
            dealt = [score_S for each in self.strangers.predictions if (score_S := score(each)) is not None]
            if dealt and with_matrix:
                theirs = self.strangers
                blocks = loss_blocks(scores[TWIN], np.array(dealt), theirs.donor_DS, theirs.block_S, theirs.family_S)
            if blocks:
                scores[STRANGER] = scores_from_strangers(blocks, len(observed_S))
            elif dealt:
                scores[STRANGER] = mean_over_people(np.array(dealt))[0]
        figure = make_figure(
            task,
            metric,
            unit,
            statistic,
            observed_S,
            scores,
            self.weights_BS,
            self.confidence,
            higher_is_better=higher_is_better,
            note=note,
            ceilings=dict(ceilings or {}) | self._true_ceiling(task, metric),
            added_S=added_S,
            leverage=leverage,
        )
        return None if figure is None else dataclasses.replace(figure, loss_blocks=blocks)

    def _true_ceiling(self, task: str, metric: str) -> dict[str, float]:
        return {"truth": self.true_ceilings[task, metric]} if (task, metric) in self.true_ceilings else {}
