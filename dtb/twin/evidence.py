"""What people's own presses and volumes say about their latents: the likelihood, and how it changes with each latent.

The likelihood is the twin's own: of presses by their hazards, of BOLD by normal errors around the prediction. Its gradient is
exact. Its curvature is the Fisher information, from differences of hazards and BOLD between networks whose latents differ a little: all
directions of all people are performed at once, as if they were more people. It is never negative, so a mode can be searched with it.

Shape letters: see `dtb.twin.batch`; `Z` latent, `D` direction between latents, `M` what is observed of a person at all.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from dtb.config import TwinConfig
from dtb.twin.batch import Batch
from dtb.twin.hypernetwork import Generated, Hypernetwork
from dtb.twin.outputs import TwinOutput
from dtb.twin.person_effects import PersonPrior
from dtb.twin.readouts.press_loss import press_nll

_DIFFERENCE = {torch.float32: 1e-2, torch.float64: 1e-4}
"""Step of the differences, in standard deviations of the prior."""
_SMALLEST_HAZARD = 1e-30


class Scores(NamedTuple):
    """How fast the loss changes along directions between latents, in each segment, and how fast it should by chance.

    Attributes
    ----------
    press_DSK, bold_DSK : (D, S, K) float64 Tensor
        Slopes of minus the log likelihood of presses, and of BOLD.
    press_told_SK, bold_told_SK : (S, K) float64 Tensor
        Fisher information, summed over the directions: the sum of squared slopes to be expected if all observations are independent.
    """

    press_DSK: Tensor
    press_told_SK: Tensor
    bold_DSK: Tensor
    bold_told_SK: Tensor


class _Slopes(NamedTuple):
    here_SKTA: Tensor
    press_DSKTA: Tensor
    bold_SKVR: Tensor | None
    bold_DSKVR: Tensor | None


class LivingTwin(Protocol):
    """What is used of a twin here, for `dtb.twin.model.Twin` stands above this file."""

    config: TwinConfig
    hypernetwork: Hypernetwork
    bold_scale_R: Tensor

    @property
    def prior(self) -> PersonPrior | None:
        """The distribution of people's own effects."""

    def encoder_input(self, connectome_SE: Tensor) -> Tensor:
        """Return what the encoder reads of connectomes."""

    def perform(
        self,
        generated: Generated,
        stimulus_SKTI: Tensor,
        seed_S: Tensor | None = None,
        *,
        with_bold: bool = False,
    ) -> TwinOutput:
        """Return the simulation of networks."""

    def bold(self, output: TwinOutput, volume_seconds_SKV: Tensor) -> Tensor:
        """Predict BOLD at volume times."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Some people's counted data, without the segments and steps in which nothing counts.

    Attributes
    ----------
    twin : LivingTwin
    stimulus_SKTI, press_SKTA, at_risk_SKT, bold_SKVR, volume_seconds_SKV : Tensor
        As in `Batch`; BOLD in units of `bold_scale_R`, 0 where it does not count.
    bold_counted_SKVR : (S, K, V, R) bool Tensor
    press_weight, bold_weight : float
        How many independent observations a trial, or a value of BOLD, is worth.
    """

    twin: LivingTwin
    stimulus_SKTI: Tensor
    press_SKTA: Tensor
    at_risk_SKT: Tensor
    bold_SKVR: Tensor
    bold_counted_SKVR: Tensor
    volume_seconds_SKV: Tensor
    press_weight: float
    bold_weight: float

    @classmethod
    def of(cls, twin: LivingTwin, batch: Batch, press_weight: float, bold_weight: float) -> Evidence:
        """Take from a batch what counts."""
        pressed_SKT = batch.press_SKTA.any(-1) | (batch.at_risk_SKT > 0)
        counted_SKVR = batch.bold_counted_SKV[..., None] & torch.isfinite(batch.bold_SKVR)
        seen_SKV = counted_SKVR.any(-1) & (bold_weight > 0)
        needed_SK = pressed_SKT.any(-1) | seen_SKV.any(-1)
        num_segments = max(1, int(needed_SK.sum(1).max())) if needed_SK.numel() else 1
        order_SK = torch.argsort(needed_SK.int(), dim=1, descending=True, stable=True)[:, :num_segments]
        person_S1 = torch.arange(len(order_SK), device=order_SK.device)[:, None]
        pressed_SKT, seen_SKV, volume_seconds_SKV = (
            each[person_S1, order_SK] for each in (pressed_SKT, seen_SKV, batch.volume_seconds_SKV)
        )
        last_press = int(pressed_SKT.any(0).any(0).nonzero().max()) if pressed_SKT.any() else 0
        last_volume = float(volume_seconds_SKV[seen_SKV].max()) if seen_SKV.any() else 0.0
        num_steps = min(batch.stimulus_SKTI.shape[2], max(last_press, math.ceil(last_volume / batch.step_seconds)) + 1)
        num_volumes = int(seen_SKV.any(0).any(0).nonzero().max()) + 1 if seen_SKV.any() else 0
        dtype = twin.hypernetwork.head.weight.dtype
        counted_SKVR = counted_SKVR[person_S1, order_SK, :num_volumes]
        bold_SKVR = batch.bold_SKVR[person_S1, order_SK, :num_volumes].to(dtype) / twin.bold_scale_R
        return cls(
            twin,
            batch.stimulus_SKTI[person_S1, order_SK, :num_steps].to(dtype),
            batch.press_SKTA[person_S1, order_SK, :num_steps],
            batch.at_risk_SKT[person_S1, order_SK, :num_steps].double(),
            torch.where(counted_SKVR, bold_SKVR, 0.0),
            counted_SKVR,
            volume_seconds_SKV[..., :num_volumes].to(dtype),
            press_weight,
            bold_weight,
        )

    def __getitem__(self, people: Tensor | slice) -> Evidence:
        """Return that of some of the people."""
        rows: dict[str, Any] = {name: value[people] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **rows)

    @property
    def is_there_S(self) -> Tensor:
        """(S,) bool: whether anything of a person counts."""
        return (
            (self.at_risk_SKT > 0).any(2).any(1)
            | self.press_SKTA.flatten(1).any(1)
            | self.bold_counted_SKVR.flatten(1).any(1)
        )

    @property
    def bytes_per_network(self) -> int:
        """Memory for the performance of one person's network, about."""
        _, segments, steps, channels = self.stimulus_SKTI.shape
        return segments * steps * (3 * self.twin.config.num_hidden + channels) * self.stimulus_SKTI.element_size()

    def loss_S(self, latent_SZ: Tensor) -> Tensor:
        """Return minus the log likelihood of each person's data at these latents, (S,) float64; differentiable."""
        press_SKTA, bold_SKVR = self._performed(latent_SZ, 1)
        nll_SK = press_nll(press_SKTA.double(), self.press_SKTA, self.at_risk_SKT, self.twin.config.step_seconds)
        loss_S = self.press_weight * nll_SK.sum(1)
        if bold_SKVR is not None:
            loss_S = loss_S + self.bold_weight * self._bold_loss_S(bold_SKVR)
        return loss_S

    def gradient(self, latent_SZ: Tensor) -> tuple[Tensor, Tensor]:
        """Return `loss_S` and its gradient (S, Z), both in float64."""
        with torch.enable_grad():
            free_SZ = latent_SZ.detach().double().requires_grad_()
            loss_S = self.loss_S(free_SZ)
            if not loss_S.requires_grad:
                return loss_S, torch.zeros_like(free_SZ)
            (gradient_SZ,) = torch.autograd.grad(loss_S.sum(), free_SZ)
        return loss_S.detach(), gradient_SZ

    @torch.no_grad()
    def information(self, latent_SZ: Tensor, directions_SZD: Tensor) -> Tensor:
        """Return the Fisher information about steps along some directions.

        Of presses it is that of a point process: summed over the time at risk, ``hazard * (d log hazard)^2``. Where presses agree with
        several alternatives, it is that of their total hazard.

        Parameters
        ----------
        latent_SZ : (S, Z) Tensor
        directions_SZD : (S, Z, D) Tensor
            Of the length of a standard deviation of the prior, or less.

        Returns
        -------
        (S, D, D) float64 Tensor
        """
        slopes = self._slopes(latent_SZ, directions_SZD)
        observed_SDM = self._told_by_presses(slopes).mul(self.press_weight**0.5).flatten(2).transpose(0, 1)
        if slopes.bold_DSKVR is not None:
            bold_SDM = self._told_by_bold(slopes.bold_DSKVR).mul(self.bold_weight**0.5).flatten(2).transpose(0, 1)
            observed_SDM = torch.cat([observed_SDM, bold_SDM], dim=2)
        return observed_SDM @ observed_SDM.mT

    @torch.no_grad()
    def scores(self, latent_SZ: Tensor, directions_SZD: Tensor) -> Scores:
        """Return, segment by segment, how fast the loss changes along some directions and how fast it should; parameters as above.

        Trials and volumes are as many independent observations as they are, whatever the weights.
        """
        slopes = self._slopes(latent_SZ, directions_SZD)
        here_SKTA = slopes.here_SKTA
        hazard_SKTA, rise_SKTA = functional.softplus(here_SKTA), torch.sigmoid(here_SKTA)
        total_SKT1 = torch.where(self.press_SKTA, hazard_SKTA, 0.0).sum(-1, keepdim=True).clamp_min(_SMALLEST_HAZARD)
        exposure_SKT1 = (self.at_risk_SKT * self.twin.config.step_seconds)[..., None]
        change_SKTA = rise_SKTA * (exposure_SKT1 - self.press_SKTA / total_SKT1)
        press_DSK = (change_SKTA * slopes.press_DSKTA).sum((3, 4))
        press_told_SK = self._told_by_presses(slopes).square().sum((0, 3, 4))
        bold_DSK, bold_told_SK = torch.zeros_like(press_DSK), torch.zeros_like(press_told_SK)
        if slopes.bold_DSKVR is not None and slopes.bold_SKVR is not None:
            rest_SKVR = torch.where(self.bold_counted_SKVR, slopes.bold_SKVR - self.bold_SKVR, 0.0) / self._variance_R()
            bold_DSK = (rest_SKVR * slopes.bold_DSKVR).sum((3, 4))
            bold_told_SK = self._told_by_bold(slopes.bold_DSKVR).square().sum((0, 3, 4))
        return Scores(press_DSK, press_told_SK, bold_DSK, bold_told_SK)

    def _slopes(self, latent_SZ: Tensor, directions_SZD: Tensor) -> _Slopes:
        """Return press readouts and BOLD, and how they change along each direction."""
        num_people, _, num_directions = directions_SZD.shape
        difference = _DIFFERENCE[self.stimulus_SKTI.dtype]
        moved_DSZ = latent_SZ + difference * directions_SZD.permute(2, 0, 1)
        all_SZ = torch.cat([latent_SZ[None], moved_DSZ]).flatten(0, 1)
        press_SKTA, bold_SKVR = self._performed(all_SZ, 1 + num_directions)

        def slopes(values: Tensor) -> tuple[Tensor, Tensor]:
            values = values.unflatten(0, (1 + num_directions, num_people))
            return values[0].double(), (values[1:] - values[0]).double() / difference

        return _Slopes(*slopes(press_SKTA), *((None, None) if bold_SKVR is None else slopes(bold_SKVR)))

    def _told_by_presses(self, slopes: _Slopes) -> Tensor:
        """(D, S, K, T, A): its products, summed over all but the directions, are the Fisher information of presses."""
        hazard_SKTA = functional.softplus(slopes.here_SKTA)
        change_DSKTA = torch.sigmoid(slopes.here_SKTA) * slopes.press_DSKTA
        exposure_SKT1 = (self.at_risk_SKT * self.twin.config.step_seconds)[..., None]
        one_by_one = change_DSKTA * (exposure_SKT1 / hazard_SKTA.clamp_min(_SMALLEST_HAZARD)).sqrt()
        several_SK = (self.press_SKTA.sum(-1) > 1).any(-1)
        if not several_SK.any():
            return one_by_one
        total_SKT1 = hazard_SKTA.sum(-1, keepdim=True).clamp_min(_SMALLEST_HAZARD)
        together = change_DSKTA.sum(-1, keepdim=True) * (exposure_SKT1 / total_SKT1).sqrt()
        together = functional.pad(together, (0, hazard_SKTA.shape[-1] - 1))
        return torch.where(several_SK[..., None, None], together, one_by_one)

    def _told_by_bold(self, slope_DSKVR: Tensor) -> Tensor:
        """(D, S, K, V, R): likewise, of BOLD."""
        return slope_DSKVR * self.bold_counted_SKVR / self._variance_R().sqrt()

    def _performed(self, latent_SZ: Tensor, copies: int) -> tuple[Tensor, Tensor | None]:
        """Return press readouts and, where any counts, BOLD of so many networks of each person, one round of people after another."""
        twin, has_bold = self.twin, self.bold_counted_SKVR.numel() > 0
        generated = twin.hypernetwork.decode(latent_SZ)
        stimulus_SKTI = self.stimulus_SKTI.repeat(copies, 1, 1, 1)
        output = twin.perform(generated, stimulus_SKTI, with_bold=has_bold)
        bold_SKVR = twin.bold(output, self.volume_seconds_SKV.repeat(copies, 1, 1)) if has_bold else None
        return output.press_SKTA, bold_SKVR

    def _bold_loss_S(self, bold_SKVR: Tensor) -> Tensor:
        variance_R = self._variance_R()
        squares_SKVR = (bold_SKVR - self.bold_SKVR).double().square() / variance_R
        density_SKVR = 0.5 * (squares_SKVR + (2 * math.pi * variance_R).log())
        return torch.where(self.bold_counted_SKVR, density_SKVR, 0.0).sum((1, 2, 3))

    def _variance_R(self) -> Tensor:
        assert self.twin.prior is not None
        return self.twin.prior.bold_variance_R.double()
