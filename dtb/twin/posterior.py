"""What is known of a person's latent: from the connectome alone, and after some of their own trials and BOLD.

The posterior is normal, by Laplace's method: its mean is the mode, found with the gradient of the twin's own likelihood, and its precision
is that of the prior plus the Fisher information of the data at the mode. All is reckoned in standard deviations of the prior, so that a
direction without any variance stays as it is.

Shape letters: `S` subject, `Z` latent, `E` connectome edge, `D` draw; a matrix of the second `Z` is in standard deviations of the prior.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dtb.twin.batch import Batch
from dtb.twin.evidence import Evidence, LivingTwin
from dtb.twin.noise import latent_noise
from dtb.twin.person_effects import PersonPrior

_CLOSE_ENOUGH = 1e-3
"""How far from the mode the search may end, in standard deviations of the posterior."""
_ROUNDING = 8.0
"""Relative differences of the loss below so many machine precisions of the network may be rounding."""
_MOST_STEPS = 60
_FIRST_DAMPING, _LEAST_DAMPING = 1.0, 1e-3
_LEAST_CURVATURE, _MOST_CURVATURE = 0.2, 1e8
"""Along a step, relative to what was expected. Less is taken for that much (Powell 1978, Lect Notes Math 630, 144): the matrix stays
positive definite, and still learns where it expects too much. More says that the step went far beyond the bowl, where hazards overflow; it
teaches nothing, and would make a matrix that cannot be inverted."""
_MEMORY_BYTES = 1 << 28
_NO_VARIANCE = 1e-12


class Latents(NamedTuple):
    """Normal distributions of people's latents.

    Attributes
    ----------
    mean_SZ : (S, Z) float64 Tensor
    covariance_SZZ : (S, Z, Z) float64 Tensor
    """

    mean_SZ: Tensor
    covariance_SZZ: Tensor

    def draw(self, num_draws: int, seed_S: Tensor) -> Tensor:
        """Return draws from each person's distribution, for `Hypernetwork.decode`.

        Parameters
        ----------
        num_draws : int
            More draws only append to fewer.
        seed_S : (S,) int64 Tensor
            Each person's seed; a person's draws depend on no other's. The same seed makes corresponding draws of two distributions.

        Returns
        -------
        (S, D, Z) float32 Tensor
        """
        noise_SDZ = latent_noise(seed_S, num_draws, self.mean_SZ.shape[1])
        # The symmetric root is the same whichever eigenvectors a library returns.
        values_SZ, vectors_SZZ = torch.linalg.eigh(self.covariance_SZZ)
        root_SZZ = (vectors_SZZ * values_SZ.clamp_min(0.0).sqrt()[:, None]) @ vectors_SZZ.mT
        return (self.mean_SZ[:, None] + noise_SDZ @ root_SZZ).float()

    def later(self, drift_ZZ: Tensor) -> Latents:
        """Return what is known of the same people one session later.

        Parameters
        ----------
        drift_ZZ : (Z, Z) Tensor
            Covariance of the change between two sessions: `PersonPrior.drift_ZZ`.
        """
        return Latents(self.mean_SZ, self.covariance_SZZ + drift_ZZ.to(self.covariance_SZZ))

    def take(self, people: Tensor | slice) -> Latents:
        """Return those of some of the people."""
        return Latents(self.mean_SZ[people], self.covariance_SZZ[people])


class Posterior(NamedTuple):
    """People's latents after data of their own.

    Attributes
    ----------
    latents : Latents
        The normal approximation at the mode.
    log_evidence_S : (S,) float64 Tensor
        Logarithm of the probability of the data under twin and prior, by Laplace's method.
    num_steps_S : (S,) int64 Tensor
        Steps of the search.
    converged_S : (S,) bool Tensor
        Whether the search ended at a mode.
    condition_number_S : (S,) float64 Tensor
        Ratio of the most to the least that the data narrowed the prior, as variances: 1 without data.
    """

    latents: Latents
    log_evidence_S: Tensor
    num_steps_S: Tensor
    converged_S: Tensor
    condition_number_S: Tensor

    @property
    def mean_SZ(self) -> Tensor:
        """(S, Z): the modes."""
        return self.latents.mean_SZ

    @property
    def covariance_SZZ(self) -> Tensor:
        """(S, Z, Z): the covariances."""
        return self.latents.covariance_SZZ


def _people_of(twin: LivingTwin) -> PersonPrior:
    """Return the twin's distribution of people, or refuse a twin that has none."""
    if twin.prior is None:
        raise ValueError(
            "This twin has no person effects, so that nobody's own data can be told from anybody's: it has `person_effects: false`, as "
            "the published model and twins of older versions have. Train one with `person_effects: true`."
        )
    return twin.prior


@torch.no_grad()
def prior_of(twin: LivingTwin, connectome_SE: Tensor) -> Latents:
    """Return what connectomes say of people's latents.

    Parameters
    ----------
    twin : Twin
    connectome_SE : (S, E) Tensor
        A row that is wholly NaN is a person without a connectome, who is anyone of the cohort.

    Returns
    -------
    Latents

    Raises
    ------
    ValueError
        The twin has no person effects.
    """
    prior = _people_of(twin)
    own_ZZ, spread_ZZ = prior.covariance_ZZ.double(), prior.spread_ZZ.double()
    mean_SZ = prior.mean_Z.double().repeat(len(connectome_SE), 1)
    covariance_SZZ = (own_ZZ + spread_ZZ).repeat(len(connectome_SE), 1, 1)
    there_S = ~connectome_SE.isnan().all(1)
    if there_S.any():
        read_SZ = twin.hypernetwork.encoder(twin.encoder_input(connectome_SE[there_S]), None)
        mean_SZ[there_S], covariance_SZZ[there_S] = read_SZ.double(), own_ZZ
    return Latents(mean_SZ, covariance_SZZ)


@torch.no_grad()
def condition(twin: LivingTwin, batch: Batch, prior: Latents, *, evidence_weight: float | None = None) -> Posterior:
    """Return people's latents after the presses and volumes that a batch counts.

    Each trial and each volume counts whole. What counts is where `at_risk_SKT` is above 0 and `bold_counted_SKV` is true; see
    `dtb.twin.own_data.restricted`. Process noise, if the twin has any, is left out.

    Parameters
    ----------
    twin : Twin
    batch : Batch
    prior : Latents
        Of the same people: `prior_of`, or an earlier posterior's `latents`, perhaps some sessions `later`.
    evidence_weight : float, optional
        How many independent observations one trial is worth; by default the twin's own `prior.press_evidence`.

    Returns
    -------
    Posterior
        Without any data it is exactly the prior. The mean of a person whose prior or likelihood is not finite is NaN.

    Raises
    ------
    ValueError
        The twin has no person effects, or prior and batch differ in their numbers of people.
    """
    people = _people_of(twin)
    if len(prior.mean_SZ) != len(batch):
        raise ValueError(
            f"prior has {len(prior.mean_SZ)} people and the batch {len(batch)}; give the same people to both"
        )
    if evidence_weight is None:
        evidence_weight = float(people.press_evidence)
    evidence = Evidence.of(twin, batch, evidence_weight, float(people.bold_evidence))
    at_once = max(1, _MEMORY_BYTES // (evidence.bytes_per_network * (1 + prior.mean_SZ.shape[1])))
    parts = [
        _condition(evidence[slice(begin, begin + at_once)], prior.take(slice(begin, begin + at_once)))
        for begin in range(0, len(batch), at_once)
    ]
    mean_SZ, covariance_SZZ, *rest = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Posterior(Latents(mean_SZ, covariance_SZZ), *rest)


def _condition(evidence: Evidence, prior: Latents) -> tuple[Tensor, ...]:
    """Return mean, covariance, log evidence, number of steps, whether it converged, and condition number of a few people."""
    values_SZ, vectors_SZZ = torch.linalg.eigh(prior.covariance_SZZ)
    values_SZ = torch.where(values_SZ > _NO_VARIANCE * values_SZ[:, -1:], values_SZ, 0.0)
    root_SZZ = vectors_SZZ * values_SZ.sqrt()[:, None]
    found = _Search(evidence, prior.mean_SZ, root_SZZ).run()
    is_there_S = evidence.is_there_S
    eye_ZZ = torch.eye(root_SZZ.shape[-1], dtype=root_SZZ.dtype, device=root_SZZ.device)
    factor_SZZ = torch.linalg.cholesky(found.precision_SZZ)
    covariance_SZZ = root_SZZ @ torch.cholesky_solve(root_SZZ.mT.contiguous(), factor_SZZ)
    covariance_SZZ = 0.5 * (covariance_SZZ + covariance_SZZ.mT)
    log_evidence_S = -found.loss_S - factor_SZZ.diagonal(dim1=1, dim2=2).log().sum(1)
    precisions_SZ = torch.linalg.eigvalsh(torch.where(is_there_S[:, None, None], found.precision_SZZ, eye_ZZ))
    return (
        prior.mean_SZ + (root_SZZ @ found.place_SZ[..., None])[..., 0],
        torch.where(is_there_S[:, None, None], covariance_SZZ, prior.covariance_SZZ),
        log_evidence_S,
        found.num_steps_S,
        found.converged_S,
        precisions_SZ[:, -1] / precisions_SZ[:, 0],
    )


class _Search:
    """The modes of several people at once, in standard deviations of the prior from its mean, by a quasi-Newton method.

    The curvature begins as the Fisher information and learns from the gradients what that lacks (Broyden, Fletcher, Goldfarb and Shanno). A
    step that would make the loss larger is not taken: its successor is damped (Levenberg).
    """

    def __init__(self, evidence: Evidence, mean_SZ: Tensor, root_SZZ: Tensor) -> None:
        self._evidence, self._mean_SZ, self._root_SZZ = evidence, mean_SZ, root_SZZ
        self._everyone_S = torch.arange(len(mean_SZ), device=mean_SZ.device)
        self.place_SZ = torch.zeros_like(mean_SZ)
        self._eye_ZZ = torch.eye(mean_SZ.shape[1], dtype=mean_SZ.dtype, device=mean_SZ.device)
        self.loss_S = mean_SZ.new_zeros(len(mean_SZ))
        self.precision_SZZ = torch.zeros_like(root_SZZ)
        self.num_steps_S = torch.zeros(len(mean_SZ), dtype=torch.int64, device=mean_SZ.device)
        self.converged_S = torch.zeros(len(mean_SZ), dtype=torch.bool, device=mean_SZ.device)

    def run(self) -> _Search:
        """Search from the prior's mean; afterwards `place_SZ`, `loss_S` and `precision_SZZ` are those of the modes."""
        self.loss_S, gradient_SZ = self._loss_and_gradient(self._everyone_S, self.place_SZ)
        self.precision_SZZ = self._precision(self._everyone_S)
        # Whose prior or data overflow is set aside: nobody else's matrices are to fail with theirs.
        finite_S = self.loss_S.isfinite() & gradient_SZ.isfinite().all(1) & self.precision_SZZ.isfinite().all((1, 2))
        gradient_SZ = torch.where(finite_S[:, None], gradient_SZ, 0.0)
        self.precision_SZZ = torch.where(finite_S[:, None, None], self.precision_SZZ, self._eye_ZZ)
        curvature_SZZ, damping_S = self.precision_SZZ.clone(), torch.zeros_like(self.loss_S)
        rounding = _ROUNDING * torch.finfo(self._evidence.stimulus_SKTI.dtype).eps
        for _ in range(_MOST_STEPS):
            distance_S = _squared_length(torch.linalg.inv(curvature_SZZ), gradient_SZ)
            self.converged_S |= distance_S < _CLOSE_ENOUGH**2
            who = self._everyone_S[~self.converged_S]
            if len(who) == 0:
                break
            damped_SZZ = curvature_SZZ[who] + torch.diag_embed(damping_S[who, None].expand_as(self.place_SZ[who]))
            step_SZ = -torch.linalg.solve(damped_SZZ, gradient_SZ[who])
            tried_SZ = self.place_SZ[who] + step_SZ
            loss_S, tried_gradient_SZ = self._loss_and_gradient(who, tried_SZ)
            self.num_steps_S[who] += 1
            curvature_SZZ[who] = _updated(curvature_SZZ[who], step_SZ, tried_gradient_SZ - gradient_SZ[who])
            # Differences that rounding hides are not looked at: there the gradient says what is nearer to the mode.
            rounding_S = rounding * (1.0 + self.loss_S[who].abs())
            nearer_S = _squared_length(torch.linalg.inv(curvature_SZZ[who]), tried_gradient_SZ) < distance_S[who]
            higher_S = loss_S - self.loss_S[who]
            better_S = (higher_S < 0) | ((higher_S < rounding_S) & nearer_S)
            taken, refused = who[better_S], who[~better_S]
            self.place_SZ[taken], self.loss_S[taken] = tried_SZ[better_S], loss_S[better_S]
            gradient_SZ[taken] = tried_gradient_SZ[better_S]
            self.converged_S[refused] |= distance_S[refused] < rounding_S[~better_S]
            damping_S[taken] = torch.where(damping_S[taken] > _LEAST_DAMPING, 0.25 * damping_S[taken], 0.0)
            damping_S[refused] = (4.0 * damping_S[refused]).clamp_min(_FIRST_DAMPING)
        moved = self._everyone_S[self.num_steps_S > 0]
        if len(moved):
            self.precision_SZZ[moved] = self._precision(moved)
            finite_S &= self.precision_SZZ.isfinite().all((1, 2))
            self.precision_SZZ = torch.where(finite_S[:, None, None], self.precision_SZZ, self._eye_ZZ)
        self.place_SZ = torch.where(finite_S[:, None], self.place_SZ, torch.nan)
        self.converged_S &= finite_S
        return self

    def _latent(self, who: Tensor, place_SZ: Tensor) -> Tensor:
        return self._mean_SZ[who] + (self._root_SZZ[who] @ place_SZ[..., None])[..., 0]

    def _loss_and_gradient(self, who: Tensor, place_SZ: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus the log of likelihood times prior density, but for the prior's constant, and its gradient."""
        loss_S, gradient_SZ = self._evidence[who].gradient(self._latent(who, place_SZ))
        gradient_SZ = (self._root_SZZ[who].mT @ gradient_SZ[..., None])[..., 0]
        return loss_S + 0.5 * place_SZ.square().sum(1), gradient_SZ + place_SZ

    def _precision(self, who: Tensor) -> Tensor:
        return self._eye_ZZ + self._evidence[who].information(
            self._latent(who, self.place_SZ[who]), self._root_SZZ[who]
        )


def _squared_length(matrix_SZZ: Tensor, vector_SZ: Tensor) -> Tensor:
    """Return the squared length of each vector under a matrix: of a gradient under the inverse curvature, how far the mode is."""
    return (vector_SZ * (matrix_SZZ @ vector_SZ[..., None])[..., 0]).sum(1)


def _updated(curvature_SZZ: Tensor, step_SZ: Tensor, change_SZ: Tensor) -> Tensor:
    """Return the curvature that agrees with how the gradient changed along a step; as it was where that is no bowl."""
    before_SZ = (curvature_SZZ @ step_SZ[..., None])[..., 0]
    expected_S, found_S = (step_SZ * before_SZ).sum(1), (step_SZ * change_SZ).sum(1)
    share_S = (1.0 - _LEAST_CURVATURE) * expected_S / (expected_S - found_S).clamp_min(torch.finfo(found_S.dtype).tiny)
    share_S1 = torch.where(found_S < _LEAST_CURVATURE * expected_S, share_S, 1.0)[:, None]
    change_SZ = share_S1 * change_SZ + (1.0 - share_S1) * before_SZ
    found_S = (step_SZ * change_SZ).sum(1)
    found_S1, expected_S1 = (
        each[:, None, None].clamp_min(torch.finfo(each.dtype).tiny) for each in (found_S, expected_S)
    )
    updated_SZZ = (
        curvature_SZZ
        - before_SZ[:, :, None] * before_SZ[:, None] / expected_S1
        + change_SZ[:, :, None] * change_SZ[:, None] / found_S1
    )
    is_bowl_S = (found_S > 0) & (found_S < _MOST_CURVATURE * expected_S)
    return torch.where(is_bowl_S[:, None, None], updated_SZZ, curvature_SZZ)
