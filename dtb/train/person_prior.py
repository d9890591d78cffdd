"""The distribution of people's own effects, and how much observations are worth, measured on training people after training.

Each training person's likelihood is taken for normal around the mode of their posterior. With it the covariance of effects that makes the
data of all people most probable is found by expectation and maximisation, in closed form and without performing anything again.

Shape letters: `S` person, `K` segment, `Z` latent, `D` direction, `R` BOLD region.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from dtb.twin.batch import Batch
from dtb.twin.evidence import Evidence
from dtb.twin.model import Twin
from dtb.twin.posterior import Latents, condition

MOST_PEOPLE = 200
"""So many training people tell enough of a covariance."""
_MOST_ROUNDS, _CLOSE_ENOUGH = 500, 1e-5
_LEAST_EVIDENCE = 1e-3
_LEAST_SHARE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """What people's own data tell of their latents, apart from any prior: normal in the latent, up to a constant.

    Attributes
    ----------
    read_SZ : (S, Z) float64 Tensor
        What their connectomes say.
    precision_SZZ : (S, Z, Z) float64 Tensor
    shift_SZ : (S, Z) float64 Tensor
        Precision times mean; also where the precision is singular.
    """

    read_SZ: Tensor
    precision_SZZ: Tensor
    shift_SZ: Tensor

    @classmethod
    def of(cls, twin: Twin, batch: Batch, read_SZ: Tensor, covariance_ZZ: Tensor) -> Told:
        """Take it from posteriors under some covariance of effects, whose choice matters little."""
        prior = Latents(read_SZ, covariance_ZZ.repeat(len(read_SZ), 1, 1))
        found = condition(twin, batch, prior)
        prior_ZZ, posterior_SZZ = torch.linalg.inv(covariance_ZZ), torch.linalg.inv(found.covariance_SZZ)
        values_SZ, vectors_SZZ = torch.linalg.eigh(posterior_SZZ - prior_ZZ)
        shift_SZ = (posterior_SZZ @ found.mean_SZ[..., None] - prior_ZZ @ read_SZ[..., None])[..., 0]
        return cls(read_SZ, (vectors_SZZ * values_SZ.clamp_min(0.0)[:, None]) @ vectors_SZZ.mT, shift_SZ)

    def take(self, people_S: Tensor) -> Told:
        """Return that of some of the people."""
        return Told(self.read_SZ[people_S], self.precision_SZZ[people_S], self.shift_SZ[people_S])

    @classmethod
    def joined(cls, parts: Sequence[Told]) -> Told:
        """Put several groups of people together."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(cls)))


def fit_covariance(told: Told, begin_ZZ: Tensor) -> Tensor:
    """Return the covariance of effects under which people's data are most probable.

    Parameters
    ----------
    told : Told
    begin_ZZ : (Z, Z) float64 Tensor
        Where to begin; positive definite.

    Returns
    -------
    (Z, Z) float64 Tensor
    """
    covariance_ZZ = begin_ZZ
    for _ in range(_MOST_ROUNDS):
        prior_ZZ = torch.linalg.inv(covariance_ZZ)
        after_SZZ = torch.linalg.inv(told.precision_SZZ + prior_ZZ)
        effect_SZ = (after_SZZ @ (told.shift_SZ - (told.precision_SZZ @ told.read_SZ[..., None])[..., 0])[..., None])[
            ..., 0
        ]
        before_ZZ = covariance_ZZ
        covariance_ZZ = effect_SZ.mT @ effect_SZ / len(effect_SZ) + after_SZZ.mean(0)
        # What falls to nothing falls ever more slowly, and may stay.
        least = _LEAST_SHARE * float(covariance_ZZ.diagonal().max())
        covariance_ZZ = covariance_ZZ + least * torch.eye(len(covariance_ZZ), dtype=covariance_ZZ.dtype)
        if (covariance_ZZ - before_ZZ).abs().max() < _CLOSE_ENOUGH * covariance_ZZ.diagonal().max():
            break
    return covariance_ZZ


@dataclasses.dataclass(frozen=True, eq=False)
class Worth:
    """Sums over people that say how much an observation is worth; those of several groups may be added.

    Attributes
    ----------
    press_2, bold_2 : (2,) float64 Tensor
        Information that would be expected, and the squares of slopes that there are.
    """

    press_2: Tensor
    bold_2: Tensor

    @classmethod
    def of(cls, twin: Twin, batch: Batch, latent_SZ: Tensor, covariance_ZZ: Tensor) -> Worth:
        """Measure it at people's modes, by the spread of slopes over segments.

        Of independent observations the squared slope of the loss in a segment is, on average, the Fisher information. It is more where
        observations repeat one another, by as much as they are fewer than they seem (the sandwich of Huber and White).
        """
        root_SZZ = torch.linalg.cholesky(covariance_ZZ).expand(len(latent_SZ), -1, -1)
        scores = Evidence.of(twin, batch, 1.0, 1.0).scores(latent_SZ, root_SZZ)
        return cls(_spread(scores.press_DSK, scores.press_told_SK), _spread(scores.bold_DSK, scores.bold_told_SK))

    @classmethod
    def joined(cls, parts: Sequence[Worth]) -> Worth:
        """Put several groups of people together."""
        return cls(
            *(torch.stack([getattr(part, field.name) for part in parts]).sum(0) for field in dataclasses.fields(cls))
        )

    @property
    def evidence(self) -> tuple[Tensor, Tensor]:
        """How many independent observations a trial, and a value of BOLD, is worth: at most 1; 1 where there are none."""
        press, bold = (
            (sums[0] / sums[1]).clamp(_LEAST_EVIDENCE, 1.0)
            if float(sums[1]) > 0
            else torch.ones((), dtype=torch.float64)
            for sums in (self.press_2, self.bold_2)
        )
        return press, bold


def _spread(slope_DSK: Tensor, told_SK: Tensor) -> Tensor:
    """Return the information of people's segments and the squares of their slopes around each person's mean slope, summed."""
    there_SK = told_SK > 0
    count_S1 = there_SK.sum(1, keepdim=True)
    several_SK = there_SK & (count_S1 > 1)
    mean_DS1 = torch.where(several_SK, slope_DSK, 0.0).sum(2, keepdim=True) / count_S1.clamp_min(1)
    # Slopes around their own mean are a little less than around the true one.
    squares_DSK = (slope_DSK - mean_DS1).square() * (count_S1 / (count_S1 - 1).clamp_min(1))
    return torch.stack([told_SK[several_SK].sum(), squares_DSK[:, several_SK].sum()])


@torch.no_grad()
def squared_errors(twin: Twin, batch: Batch, latent_SZ: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared errors of BOLD at people's latents, summed over people and volumes by region, and their count, both (R,)."""
    evidence = Evidence.of(twin, batch, 1.0, 1.0)
    counted_SKVR = evidence.bold_counted_SKVR
    if counted_SKVR.numel() == 0:
        nothing_R = torch.zeros(twin.sizes.num_bold_regions, dtype=torch.float64)
        return nothing_R, nothing_R
    output = twin.perform(twin.hypernetwork.decode(latent_SZ), evidence.stimulus_SKTI, with_bold=True)
    errors_SKVR = (twin.bold(output, evidence.volume_seconds_SKV) - evidence.bold_SKVR).double()
    squares_SKVR = torch.where(counted_SKVR, errors_SKVR.square(), 0.0)
    return squares_SKVR.sum((0, 1, 2)), counted_SKVR.double().sum((0, 1, 2))
