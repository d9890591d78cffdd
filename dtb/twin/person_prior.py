"""The distribution of people's own effects, and how much observations are worth, measured on training people after training.

Each training person's likelihood is taken for normal around the mode of their posterior. With it the covariance of effects that makes the
data of all people most probable is found by expectation and maximisation, in closed form and without performing anything again. From people
with several sessions follows likewise how far latents drift from one session to the next.

Shape letters: `S` person, `K` segment, `Z` latent, `D` direction, `R` BOLD region, `C` session.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from dtb.twin.batch import Batch
from dtb.twin.evidence import Evidence
from dtb.twin.model import Twin
from dtb.twin.own_data import OwnData, restricted
from dtb.twin.posterior import Latents, condition

MOST_PEOPLE = 200
"""So many training people tell enough of a covariance."""
FEWEST_OF_SEVERAL_SESSIONS = 5
"""A drift is learnt from so many people, or more."""
_LEAST_VARIANCE = 1e-6
_MOST_ROUNDS, _CLOSE_ENOUGH = 500, 1e-5
_LEAST_EVIDENCE = 1e-3
_LEAST_SHARE = 1e-6
_LOG_SHARES = (math.log(1e-4), math.log(10.0))
Known = tuple[Batch, Tensor, Tensor]
"""Some people's data, what their connectomes say of their latents, and their latents as training found them, both (S, Z) float64."""


@torch.no_grad()
def measure_prior(
    twin: Twin, people: Iterable[Known], covariance_ZZ: Tensor, gathered: Callable[[list[Any]], list[Any]] = list
) -> None:
    """Set a twin's distribution of people and the worth of observations from people that it was trained on.

    Parameters
    ----------
    twin : Twin
        With its final weights.
    people : iterable of Known
        A few people at a time; it is gone through several times.
    covariance_ZZ : (Z, Z) float64 Tensor
        Of their effects, as training found it; positive definite.
    gathered : function
        Returns what everybody who measures with this one found, in one order.
    """
    assert twin.prior is not None
    twin.eval()
    errors = gathered([squared_errors(twin, batch, latent_SZ) for batch, _, latent_SZ in people])
    squares_R, count_R = (torch.stack(column).sum(0) for column in zip(*errors, strict=True))
    variance_R = torch.where(count_R > 0, squares_R / count_R.clamp_min(1.0), 1.0)
    twin.prior.set(bold_variance_R=variance_R.clamp_min(_LEAST_VARIANCE))

    worths = gathered([Worth.of(twin, batch, latent_SZ, covariance_ZZ) for batch, _, latent_SZ in people])
    press, bold = Worth.joined(worths).evidence
    twin.prior.set(press_evidence=press, bold_evidence=bold)

    told = Told.joined(gathered([Told.of(twin, batch, read_SZ, covariance_ZZ) for batch, read_SZ, _ in people]))
    has_S = torch.cat(gathered([~batch.connectome_SE.isnan().all(1) for batch, _, _ in people]))
    if has_S.any():
        # Effects of the others are not what a connectome leaves open, but all that people differ by.
        told = told.take(has_S)
    effects_ZZ = fit_covariance(told, covariance_ZZ)
    away_SZ = told.read_SZ - told.read_SZ.mean(0)
    spread_ZZ = away_SZ.mT @ away_SZ / max(len(away_SZ) - 1, 1)
    twin.prior.set(covariance_ZZ=effects_ZZ, mean_Z=told.read_SZ.mean(0), spread_ZZ=spread_ZZ)

    several = gathered([_by_session(twin, batch, read_SZ, effects_ZZ) for batch, read_SZ, _ in people])
    sessions = [person for part in several for person in part]
    if len(sessions) >= FEWEST_OF_SEVERAL_SESSIONS:
        twin.prior.set(drift_ZZ=drift_share(sessions, effects_ZZ) * effects_ZZ)


def _by_session(twin: Twin, batch: Batch, read_SZ: Tensor, covariance_ZZ: Tensor) -> list[Told]:
    """Return of each person with several sessions what each of these tells, the sessions in place of people."""
    num_sessions = int(batch.session_SK.max()) + 1
    if num_sessions == 1:
        return []
    parts = [restricted(batch, OwnData(sessions=(session,))) for session in range(num_sessions)]
    seen_SC = torch.stack(
        [(part.at_risk_SKT > 0).flatten(1).any(1) | part.bold_counted_SKV.flatten(1).any(1) for part in parts], dim=1
    )
    told = [Told.of(twin, part, read_SZ, covariance_ZZ) for part in parts]
    return [
        Told.joined([told[session].take(torch.tensor([person])) for session in seen_C.nonzero()[:, 0].tolist()])
        for person, seen_C in enumerate(seen_SC)
        if int(seen_C.sum()) > 1
    ]


def drift_share(people: Sequence[Told], covariance_ZZ: Tensor) -> float:
    """Return the variance of the change from one session to the next, relative to that of effects over people.

    It is one number for all latents: few people have several sessions.

    Parameters
    ----------
    people : sequence of Told
        One a person; of each, what the sessions tell in their order, in place of people.
    covariance_ZZ : (Z, Z) float64 Tensor
        Of effects over people.
    """
    # Takes as long to import as a fifth of PyTorch, in every process that holds a twin.
    from scipy.optimize import minimize_scalar

    prior_ZZ = torch.linalg.inv(covariance_ZZ)

    def loss(log_share: float) -> float:
        """Return minus the log probability of all sessions, but for constants."""
        total = 0.0
        for told in people:
            size, num_latents = told.read_SZ.shape
            # Sessions are a chain: the first is drawn from the prior, each other from the one before.
            steps_CC = torch.eye(size, dtype=prior_ZZ.dtype)
            steps_CC[torch.arange(1, size), torch.arange(size - 1)] = -1.0
            weight_C = torch.full((size,), math.exp(-log_share), dtype=prior_ZZ.dtype)
            weight_C[0] = 1.0
            chain_CC = (steps_CC.mT @ (weight_C[:, None] * steps_CC)).contiguous()
            factor = torch.linalg.cholesky(
                torch.kron(chain_CC, prior_ZZ.contiguous()) + torch.block_diag(*told.precision_SZZ)
            )
            shift = told.shift_SZ.flatten().clone()
            shift[:num_latents] += prior_ZZ @ told.read_SZ[0]
            half = torch.linalg.solve_triangular(factor, shift[:, None], upper=False)
            changes = 0.5 * num_latents * (size - 1) * log_share
            total += changes + float(factor.diagonal().log().sum() - 0.5 * half.square().sum())
        return total

    return math.exp(minimize_scalar(loss, bounds=_LOG_SHARES, method="bounded").x)


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
