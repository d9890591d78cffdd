"""The data of indicators: the trials, the twins' simulations, and people's observed responses.

Shape letters: `S` subject, `K` segment, `V` volume, `A` response alternative, `R` BOLD region, `J` trial, `N` run of a person, `P` column
of a linear model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from dtb.twin.batch import Batch
from dtb.twin.readouts.press import PressDistribution


@dataclasses.dataclass(frozen=True, eq=False)
class TaskTrials:
    """The trials of one task, as designed.

    Attributes
    ----------
    batch : Batch
    contrast : tuple of float
        Weight of each condition in the task's contrast.
    of_task_J : (J,) bool Tensor
        Which of the batch's trials are the task's.
    """

    batch: Batch
    contrast: tuple[float, ...]
    of_task_J: Tensor

    @property
    def scored_J(self) -> Tensor:
        """(J,) bool: the task's trials that have a right answer, withholding included."""
        return self.of_task_J & self.batch.trials.scored_J

    @property
    def to_press_J(self) -> Tensor:
        """(J,) bool: the task's trials in which a press is right, or nothing is wrong."""
        return self.of_task_J & (self.batch.trials.correct_JA.any(-1) | ~self.batch.trials.scored_J)

    def mean(self, chosen_J: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (J,) that average each person's chosen trials, and the mask (S,) of people who have any."""
        return _mean_weights(chosen_J, self.batch.trials.subject_J, len(self.batch.pseudonyms))

    def difference(self, chosen_J: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (J,) of the task's contrast between the chosen trials' conditions, and who (S,) has all of these."""
        weight_J = torch.zeros(len(chosen_J), dtype=torch.float64, device=chosen_J.device)
        has_S = torch.ones(len(self.batch.pseudonyms), dtype=torch.bool, device=chosen_J.device)
        for condition, share in enumerate(self.contrast):
            if share:
                mean_J, has_condition_S = self.mean(chosen_J & (self.batch.trials.condition_J == condition))
                weight_J = weight_J + share * mean_J
                has_S = has_S & has_condition_S
        return weight_J, has_S


@dataclasses.dataclass(frozen=True, eq=False)
class LinearModel:
    """The general linear model of people's runs.

    Attributes
    ----------
    batch : Batch
    contrast_SKV : (S, K, V) Tensor
        Weights with which a run's volumes enter the contrast of its task; 0 where they do not.
    basis_SKVP : (S, K, V, P) Tensor or None
        Orthonormal basis of what the model of each volume's run explains; needed for `t`.
    """

    batch: Batch
    contrast_SKV: Tensor
    basis_SKVP: Tensor | None

    def has(self, task: int) -> Tensor:
        """(S,) bool: who has the task's contrast."""
        of_task_SK = self.batch.task_SK == task
        return (of_task_SK[..., None] & (self.contrast_SKV != 0)).any(-1).any(-1)

    def t(self, task: int, series_SKV: Tensor) -> Tensor:
        """Return the effect of the task's contrast on a signal over its standard error, (S,) float64; NaN where a person has none."""
        assert self.basis_SKVP is not None
        batch, contrast_SKV = self.batch, self.contrast_SKV
        times = len(series_SKV) // len(self.basis_SKVP)
        of_task_SK = batch.task_SK == task
        weight_SKV = torch.where(of_task_SK[..., None], contrast_SKV, 0.0).double()
        has_S = (weight_SKV != 0).any(-1).any(-1)
        basis_SKVP = torch.where(of_task_SK[..., None, None], self.basis_SKVP.repeat(times, 1, 1, 1), 0.0)
        used_SKV = basis_SKVP.square().sum(-1)
        series_SKV = torch.where(used_SKV > 0, series_SKV.double(), 0.0)
        runs = torch.arange(max(1, int(batch.run_SK.max()) + 1), device=series_SKV.device)
        in_run_SKN = (batch.run_SK[..., None] == runs).double()
        fitted_SNP = torch.einsum("skvp,skv,skn->snp", basis_SKVP, series_SKV, in_run_SKN)
        total_SN = torch.einsum("skv,skn->sn", series_SKV.square(), in_run_SKN)
        # The squares of an orthonormal basis sum to its number of columns.
        freedom_SN = torch.einsum("skv,skn->sn", (used_SKV > 0).double() - used_SKV, in_run_SKN)
        error_SN = (total_SN - fitted_SNP.square().sum(-1)).clamp_min(0.0) / freedom_SN.clamp_min(1.0)
        variance_S = (error_SN * torch.einsum("skv,skn->sn", weight_SKV.square(), in_run_SKN)).sum(1)
        effect_S = (weight_SKV * series_SKV).sum((1, 2))
        return torch.where(has_S, effect_S / variance_S.clamp_min(1e-24).sqrt(), torch.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class Simulated:
    """Simulations of twins, differentiable with respect to their connectomes.

    Attributes
    ----------
    model : LinearModel
    weights_J, has_S : (J,) and (S,) Tensor
        What the indicator's kind made of the task's trials; empty for an indicator of BOLD.
    presses : PressDistribution
        Of each trial's press.
    rt_J, choice_JA, right_J : Tensor
        Expected reaction time given a press; probability of each alternative, and of the right answer, withholding included.
    bold_SKVR, bold_SKR : Tensor or None
        BOLD, and its contrast in each segment; None where no indicator is of BOLD.
    """

    model: LinearModel
    weights_J: Tensor
    has_S: Tensor
    presses: PressDistribution
    rt_J: Tensor
    choice_JA: Tensor
    right_J: Tensor
    bold_SKVR: Tensor | None
    bold_SKR: Tensor | None

    def weighted(self, value_J: Tensor) -> Tensor:
        """Return each person's weighted sum of a value that every trial has, (S,); NaN for people without such trials."""
        # Trials without weight are left out by selection, so that no gradient comes of them.
        weighted_J = torch.where(self.weights_J != 0, value_J, 0.0) * self.weights_J.to(value_J.dtype)
        subject_J = self.model.batch.trials.subject_J
        sum_S = weighted_J.new_zeros(len(self.has_S)).index_add(0, subject_J, weighted_J)
        return torch.where(self.has_S, sum_S, torch.nan)

    def contrast(self, task: int, regions: Sequence[int]) -> Tensor:
        """Return the effect of the task's contrast on regions' mean BOLD, (S,); NaN where a person has none."""
        assert self.bold_SKR is not None
        effect_SK = self.bold_SKR[..., list(regions)].mean(-1)
        effect_S = torch.where(self.model.batch.task_SK == task, effect_SK, 0.0).sum(1)
        return torch.where(self.model.has(task), effect_S, torch.nan)

    def contrast_t(self, task: int, regions: Sequence[int]) -> Tensor:
        """Return the same over its standard error."""
        assert self.bold_SKVR is not None
        return self.model.t(task, self.bold_SKVR[..., list(regions)].mean(-1)).to(self.rt_J.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Observed:
    """Observed data of people.

    Attributes
    ----------
    shown : TaskTrials
        The task's trials.
    used_J : (J,) bool Tensor
        Those of them that can be used and are looked at.
    model : LinearModel
    bold_scale_R : (R,) Tensor
        Over which BOLD is taken.
    """

    shown: TaskTrials
    used_J: Tensor
    model: LinearModel
    bold_scale_R: Tensor

    @property
    def pressed_J(self) -> Tensor:
        """(J,) bool: used trials with a reaction time in which a press is right, or nothing is wrong."""
        trials = self.shown.batch.trials
        return self.used_J & trials.rt_seconds_J.isfinite() & (trials.correct_JA.any(-1) | ~trials.scored_J)

    def mean(self, chosen_J: Tensor, value_J: Tensor) -> Tensor:
        """Average each person's chosen trials, (S,) float64; NaN for those who have none."""
        batch = self.shown.batch
        return _mean(chosen_J, value_J, batch.trials.subject_J, len(batch.pseudonyms))

    def difference(self, chosen_J: Tensor, value_J: Tensor) -> Tensor:
        """Return the task's contrast between the means of the conditions, (S,) float64; NaN for those who lack one."""
        condition_J = self.shown.batch.trials.condition_J
        found_S = torch.zeros(len(self.shown.batch.pseudonyms), dtype=torch.float64, device=chosen_J.device)
        for condition, share in enumerate(self.shown.contrast):
            if share:
                found_S = found_S + share * self.mean(chosen_J & (condition_J == condition), value_J)
        return found_S

    def series(self, regions: Sequence[int]) -> Tensor:
        """Return the mean BOLD of regions, (S, K, V)."""
        chosen = list(regions)
        return (self.shown.batch.bold_SKVR[..., chosen] / self.bold_scale_R[chosen]).nan_to_num().mean(-1)

    def contrast(self, task: int, regions: Sequence[int]) -> Tensor:
        """Return the effect of the task's contrast on regions' mean BOLD, (S,) float64; NaN where a person has none."""
        of_task_SK = self.shown.batch.task_SK == task
        weight_SKV = torch.where(of_task_SK[..., None], self.model.contrast_SKV, 0.0)
        effect_S = (weight_SKV * self.series(regions)).sum((1, 2)).double()
        return torch.where(self.model.has(task), effect_S, torch.nan)

    def contrast_t(self, task: int, regions: Sequence[int]) -> Tensor:
        """Return the same over its standard error."""
        return self.model.t(task, self.series(regions))


def _mean(chosen_J: Tensor, value_J: Tensor, subject_J: Tensor, num_people: int) -> Tensor:
    weight_J, has_S = _mean_weights(chosen_J, subject_J, num_people)
    weighted_J = torch.where(chosen_J, value_J.double(), 0.0) * weight_J
    sum_S = torch.zeros(num_people, dtype=torch.float64, device=chosen_J.device).index_add(0, subject_J, weighted_J)
    return torch.where(has_S, sum_S, torch.nan)


def _mean_weights(chosen_J: Tensor, subject_J: Tensor, num_people: int) -> tuple[Tensor, Tensor]:
    count_S = torch.zeros(num_people, dtype=torch.float64, device=chosen_J.device).index_add(
        0, subject_J, chosen_J.double()
    )
    return chosen_J.double() / count_S.clamp_min(1.0)[subject_J], count_S > 0
