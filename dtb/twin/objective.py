"""The loss of training: per person, the negative log-likelihood of presses and the squared error of BOLD.

Each term is a mean over what was seen of a person (trials, volumes by regions), so that people with more data do not count for more.

With person effects a person counts whole: the bound on the log-likelihood of all of a person's trials weighs these against how far the
person's own effect is from other people's, and a mean over trials would make all effects alike, whatever the number of trials. The
bound is given per trial of a mean person. Out of training, losses are those of effects as they are known, and of none for people who were
not trained on: what a twin says of a person of whom nothing is known but the connectome.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `R` BOLD region, `A` response alternative.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtb.twin.batch import Batch
from dtb.twin.blocks import perform_in_blocks
from dtb.twin.host import on_host, sent
from dtb.twin.model import Twin
from dtb.twin.person_effects import PersonEffects
from dtb.twin.readouts.interpolation import target_at_steps
from dtb.twin.readouts.press_loss import count_trials, press_nll


class Term(NamedTuple):
    """One term of the loss, by segment, so that it can be reported by task.

    Attributes
    ----------
    sum_SK : (S, K) Tensor
        Summed over what was seen in each segment.
    count_SK : (S, K) Tensor
        How much that was: trials, or volumes by regions.
    """

    sum_SK: Tensor
    count_SK: Tensor

    @property
    def mean_S(self) -> Tensor:
        """Return the mean over all data of a person, (S,); 0 without data."""
        return self.sum_SK.sum(1) / self.count_SK.sum(1).clamp_min(1)


class Losses(NamedTuple):
    """Losses of one batch.

    Attributes
    ----------
    total : () Tensor
        ``sum_S weight_S * (press_weight * press_S + bold_weight * bold_S)``.
    press_S : (S,) Tensor
        Negative log-likelihood per trial, or binary cross-entropy per step with `press: sigmoid`; 0 for a person without any.
    bold_S : (S,) Tensor
        Mean squared error in units of `bold_scale_R`; 0 for a person without any BOLD.
    divergence_S : (S,) Tensor
        How far what is known of each person's own effect is from the distribution over people, in nats; 0 for people who are not trained
        on, and without person effects.
    parts_SKF : (S, K, 4) Tensor
        Of each segment the sum and the count of the press term, then those of the BOLD term; without gradient.
    """

    total: Tensor
    press_S: Tensor
    bold_S: Tensor
    divergence_S: Tensor
    parts_SKF: Tensor


class Objective(nn.Module):
    """The loss as a module around the twin, so that an engine can wrap both.

    Parameters
    ----------
    twin : Twin
    press_weight, bold_weight : float
        Weights of the two terms.
    recompute : bool
        Whether states are computed again for the gradient instead of kept; see `dtb.twin.blocks`.
    effects : PersonEffects or None
        The training people's own effects. People without one are as their connectomes say.
    """

    def __init__(
        self,
        twin: Twin,
        press_weight: float,
        bold_weight: float,
        *,
        recompute: bool = False,
        effects: PersonEffects | None = None,
    ) -> None:
        super().__init__()
        self.effects = effects
        self.twin = twin
        self.press_weight = press_weight
        self.bold_weight = bold_weight
        self.recompute = recompute

    def forward(self, batch: Batch) -> Losses:
        """Return the losses of a batch."""
        row_S = effect_SZ = given_SZ = None
        divergence_S = torch.zeros_like(batch.weight_S)
        if self.effects is not None:
            row_S = sent(self.effects.rows_of(batch.pseudonyms), batch.seed_S.device)
            has_connectome_S = sent(~on_host(batch.connectome_SE).isnan().all(1), batch.seed_S.device)
            effect_SZ, divergence_S = self.effects(row_S, batch.seed_S, has_connectome_S)
            given_SZ = torch.where(row_S[:, None] >= 0, self.effects.read_PZ[row_S.clamp_min(0)], torch.nan)
        generated = self.twin.generate(batch.connectome_SE, batch.seed_S, given_SZ=given_SZ, effect_SZ=effect_SZ)
        if self.recompute:
            press_SKTA, bold_SKVR = perform_in_blocks(
                self.twin, generated, batch.stimulus_SKTI, batch.seed_S, batch.volume_seconds_SKV
            )
        else:
            output = self.twin.perform(
                generated, batch.stimulus_SKTI, batch.seed_S, with_bold=batch.bold_SKVR.numel() > 0
            )
            press_SKTA = output.press_SKTA
            direct = self.twin.config.bold == "direct"
            bold_SKVR = self.twin.bold_at_steps(output) if direct else self.twin.bold(output, batch.volume_seconds_SKV)
        press, bold = press_term(self.twin, press_SKTA, batch), bold_term(self.twin, bold_SKVR, batch)
        press_S, bold_S = press.mean_S, bold.mean_S
        per_person_S = self.press_weight * press_S + self.bold_weight * bold_S
        if self.training and self.effects is not None and row_S is not None:
            whole_S = self.press_weight * press.sum_SK.sum(1) + divergence_S
            bound_S = whole_S / self.effects.num_observations + self.bold_weight * bold_S
            per_person_S = torch.where(row_S >= 0, bound_S, per_person_S)
        weighted_S = torch.where(batch.weight_S > 0, per_person_S * batch.weight_S, 0.0)
        parts_SKF = torch.stack([part_SK.detach().to(press_S.dtype) for part_SK in (*press, *bold)], dim=-1)
        return Losses(weighted_S.sum(), press_S, bold_S, divergence_S.detach(), parts_SKF)


def press_term(twin: Twin, press_SKTA: Tensor, batch: Batch) -> Term:
    """Return the loss of presses: per trial with `press: hazard`, per step and alternative with `press: sigmoid`."""
    if twin.config.press == "hazard":
        nll_SK = press_nll(press_SKTA, batch.press_SKTA, batch.at_risk_SKT, twin.config.step_seconds)
        return Term(nll_SK, count_trials(batch.trials, batch.at_risk_SKT))
    target_SKTA = batch.press_SKTA.to(press_SKTA.dtype)
    counted_SKTA = batch.counted_SKT[..., None].expand_as(target_SKTA)
    entropy_SKTA = functional.binary_cross_entropy_with_logits(press_SKTA, target_SKTA, reduction="none")
    return _masked(entropy_SKTA, counted_SKTA)


def bold_term(twin: Twin, bold_SKVR: Tensor, batch: Batch) -> Term:
    """Return the loss of BOLD: squared errors over the volumes and regions that are present and counted.

    With `bold: direct` they are the paper's: over all model steps, (S, K, T, R), against the series interpolated to them.
    """
    if batch.bold_SKVR.numel() == 0:
        nothing_SK = bold_SKVR.new_zeros(batch.task_SK.shape)
        return Term(nothing_SK, nothing_SK)
    if twin.config.bold == "direct":
        target_SKTR, counted_SKTR = target_at_steps(
            batch.bold_SKVR / twin.bold_scale_R,
            batch.bold_counted_SKV,
            batch.volume_seconds_SKV,
            bold_SKVR.shape[2],
            twin.config.step_seconds,
        )
        return _masked((bold_SKVR - target_SKTR).square(), counted_SKTR & batch.bold_steps_SKT[..., None])
    counted_SKVR = batch.bold_counted_SKV[..., None] & torch.isfinite(batch.bold_SKVR)
    # The target is cleaned before the difference is taken: NaN times 0 would be NaN in the gradient.
    target_SKVR = torch.where(counted_SKVR, batch.bold_SKVR / twin.bold_scale_R, 0.0)
    return _masked((bold_SKVR - target_SKVR).square(), counted_SKVR)


def _masked(values_SKTA: Tensor, counted_SKTA: Tensor) -> Term:
    return Term(torch.where(counted_SKTA, values_SKTA, 0.0).sum((2, 3)), counted_SKTA.sum((2, 3)))
