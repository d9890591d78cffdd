"""What a connectome does not say about a person: the distribution of people's own effects on their latents.

A person's latent is what is read from the connectome plus an effect of the person's own, `z = f(c) + e`, with `e` from a normal
distribution of mean 0 over people. A person without a connectome has one from the cohort: `f` then has the mean and covariance that it
has over the training people.

Shape letters: `S` subject of a batch, `P` training person, `Z` latent, `R` BOLD region.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dtb.twin.host import on_host
from dtb.twin.hypernetwork import LATENT_START
from dtb.twin.noise import latent_noise

EFFECTS_RATE = 10.0
"""Learning rate of people's own effects, relative to that of the weights: each is seen once an epoch, and the weights in every step."""
_START_SCALE = 0.3
"""Standard deviation of what is known of an effect at the beginning, relative to that over people, if nothing else says."""
_LEAST_VARIANCE, _LEAST_KNOWN = 0.05, 0.01
"""Of effects over people, and of what is known of one relative to that, at the beginning."""


class PersonPrior(nn.Module):
    """The distribution of latents over people, given their connectomes, and how much observations of a person say.

    All of it is measured on training people and exported with the twin. Before that it is that of a fresh twin's latents.

    Parameters
    ----------
    latent_size : int
    num_bold_regions : int

    Attributes
    ----------
    covariance_ZZ : (Z, Z) Tensor
        Of people's own effects, beside what their connectomes say.
    drift_ZZ : (Z, Z) Tensor
        Covariance of the change of a person's latent from one session to the next; 0 if nobody was seen in several.
    mean_Z : (Z,) Tensor
        Mean over training people of what connectomes say.
    spread_ZZ : (Z, Z) Tensor
        Its covariance over training people.
    bold_variance_R : (R,) Tensor
        Variance of BOLD around the twin's prediction, in units of `bold_scale_R`.
    bold_evidence, press_evidence : () Tensor
        How many independent observations one value of BOLD, or one trial, is worth. Volumes that follow each other and regions beside
        each other repeat one another, so a value of BOLD is worth less than 1.
    """

    covariance_ZZ: Tensor
    drift_ZZ: Tensor
    mean_Z: Tensor
    spread_ZZ: Tensor
    bold_variance_R: Tensor
    bold_evidence: Tensor
    press_evidence: Tensor

    def __init__(self, latent_size: int, num_bold_regions: int) -> None:
        super().__init__()
        self.register_buffer("covariance_ZZ", LATENT_START**2 * torch.eye(latent_size))
        self.register_buffer("drift_ZZ", torch.zeros(latent_size, latent_size))
        self.register_buffer("mean_Z", torch.zeros(latent_size))
        self.register_buffer("spread_ZZ", LATENT_START**2 * torch.eye(latent_size))
        self.register_buffer("bold_variance_R", torch.ones(num_bold_regions))
        self.register_buffer("bold_evidence", torch.tensor(1.0))
        self.register_buffer("press_evidence", torch.tensor(1.0))

    @torch.no_grad()
    def set(self, **measured: Tensor) -> None:
        """Set attributes from what was measured.

        Raises
        ------
        ValueError
            A name or a shape is not this prior's.
        """
        for name, value in measured.items():
            own = dict(self.named_buffers()).get(name)
            if own is None or value.shape != own.shape:
                wanted = "no such attribute" if own is None else f"it has shape {tuple(own.shape)} here"
                raise ValueError(f"{name} of shape {tuple(value.shape)} is not of this prior: {wanted}")
            own.copy_(value)


@dataclasses.dataclass(frozen=True, eq=False)
class Beginning:
    """Where the effects of training people begin.

    Attributes
    ----------
    pseudonyms : tuple of str
        The training people.
    read_PZ : (P, Z) Tensor
        What is read from the connectome of each by readers that were not fitted to them; NaN where that is not known, 0 for people
        without a connectome.
    mean_PZ, variance_PZ : (P, Z) Tensor
        What is known of each one's effect.
    variance_Z : (Z,) Tensor
        Variance of effects over people.
    is_known : bool
        Whether people's own figures say what is known of each.
    """

    pseudonyms: tuple[str, ...]
    read_PZ: Tensor
    mean_PZ: Tensor
    variance_PZ: Tensor
    variance_Z: Tensor
    is_known: bool = False

    @classmethod
    def of_nothing(cls, pseudonyms: Sequence[str], latent_size: int) -> Beginning:
        """Return effects of which nothing is known yet."""
        shape = (len(pseudonyms), latent_size)
        variance_Z = torch.full((latent_size,), LATENT_START**2)
        return cls(
            tuple(pseudonyms),
            torch.full(shape, torch.nan),
            torch.zeros(shape),
            _START_SCALE**2 * variance_Z.expand(shape),
            variance_Z,
        )

    @classmethod
    def of_scores(
        cls, pseudonyms: Sequence[str], people: Sequence[str], read_PZ: Tensor, own_PZ: Tensor, own_variance_PZ: Tensor
    ) -> Beginning:
        """Return effects as far as people's own scores differ from what their connectomes say, drawn towards 0 by the scores' errors.

        Parameters
        ----------
        pseudonyms : sequence of str
            The training people.
        people : sequence of str
            Who stands in the rows of the following.
        read_PZ : (P, Z) Tensor
            What readers say that were not fitted to them.
        own_PZ, own_variance_PZ : (P, Z) Tensor
            What people's own figures say, and the variance of its error; NaN where that is not known.
        """
        nothing = cls.of_nothing(pseudonyms, read_PZ.shape[1])
        difference_PZ = (own_PZ - read_PZ).double()
        known_PZ = torch.isfinite(difference_PZ) & torch.isfinite(own_variance_PZ)
        count_Z = known_PZ.sum(0).clamp_min(1)
        difference_PZ = torch.where(known_PZ, difference_PZ, 0.0)
        error_PZ = torch.where(known_PZ, own_variance_PZ.double(), torch.inf)
        mean_error_Z = torch.where(known_PZ, error_PZ, 0.0).sum(0) / count_Z
        variance_Z = difference_PZ.square().sum(0) / count_Z - mean_error_Z
        variance_Z = torch.where(known_PZ.any(0), variance_Z.clamp_min(_LEAST_VARIANCE), nothing.variance_Z.double())
        share_PZ = variance_Z / (variance_Z + error_PZ)
        place = {who: row for row, who in enumerate(people)}
        rows = [row for row, who in enumerate(pseudonyms) if who in place]
        taken = [place[pseudonyms[row]] for row in rows]
        mean_PZ, read_of_PZ = nothing.mean_PZ.clone(), nothing.read_PZ.clone()
        variance_PZ = variance_Z.float().repeat(len(pseudonyms), 1)
        mean_PZ[rows] = (share_PZ * difference_PZ)[taken].float()
        read_of_PZ[rows] = read_PZ[taken].float()
        variance_PZ[rows] = (variance_Z * (1.0 - share_PZ)).clamp_min(_LEAST_KNOWN * variance_Z)[taken].float()
        return cls(tuple(pseudonyms), read_of_PZ, mean_PZ, variance_PZ, variance_Z.float(), is_known=True)

    def spread_ZZ(self) -> Tensor:
        """(Z, Z): covariance over people of what connectomes say; 0 where nothing is known of that."""
        told_P = torch.isfinite(self.read_PZ).all(1) & (self.read_PZ != 0).any(1)
        if int(told_P.sum()) < 2:
            return torch.zeros(self.read_PZ.shape[1], self.read_PZ.shape[1])
        return torch.atleast_2d(self.read_PZ[told_P].T.cov())


class PersonEffects(nn.Module):
    """What is known of training people's own effects while a twin is trained: a normal distribution each.

    It belongs to the training, not to the twin. Where people's own figures say what is known of each, one rule for all, it stays as they
    say; otherwise each row is learnt, as parameters, so that an engine divides them over ranks and a checkpoint holds them. Rows that begin
    at what figures say and are learnt further made twins say less of people who are not among them, with 150 to 10,000 people; with 50 they
    said more after 40 trials (`scripts/studies/person_effects_study.py`).

    Parameters
    ----------
    beginning : Beginning
    num_observations : float
        Mean number of trials of a person: divergences are given in shares of it, as losses are.

    Attributes
    ----------
    mean_PZ, log_scale_PZ : (P, Z) Parameter, or Tensor
        Mean, up to a constant that all share, and logarithm of the standard deviation of each effect; parameters where they are learnt.
    log_size_Z : (Z,) Parameter
        Diagonal of the Cholesky factor of the effects' covariance over people, as logarithms.
    below_ZZ : (Z, Z) Parameter
        What is below it, in units of the row's diagonal.
    read_PZ : (P, Z) Tensor
        See `Beginning`.
    spread_ZZ : (Z, Z) Tensor
        Covariance over people of what connectomes say: so much wider are the effects of people without one.
    """

    mean_PZ: Tensor
    log_scale_PZ: Tensor
    read_PZ: Tensor
    spread_ZZ: Tensor

    def __init__(self, beginning: Beginning, num_observations: float) -> None:
        super().__init__()
        self.pseudonyms = beginning.pseudonyms
        self.num_observations = num_observations
        self._row_of = {who: row for row, who in enumerate(beginning.pseudonyms)}
        for name, value_PZ in (("mean_PZ", beginning.mean_PZ), ("log_scale_PZ", 0.5 * beginning.variance_PZ.log())):
            if beginning.is_known:
                self.register_buffer(name, value_PZ.clone())
            else:
                self.register_parameter(name, nn.Parameter(value_PZ.clone()))
        self.log_size_Z = nn.Parameter(0.5 * beginning.variance_Z.log())
        self.below_ZZ = nn.Parameter(torch.zeros(len(beginning.variance_Z), len(beginning.variance_Z)))
        self.register_buffer("read_PZ", beginning.read_PZ.clone())
        self.register_buffer("spread_ZZ", beginning.spread_ZZ())

    def centred_PZ(self) -> Tensor:
        """(P, Z): the means of effects.

        Their mean over people is 0: what all share belongs to the twin, which knows it of people whom training has not seen, too.
        """
        return self.mean_PZ - self.mean_PZ.mean(0)

    def rows_of(self, pseudonyms: Sequence[str]) -> Tensor:
        """(S,) int64: the row of each person; -1 for people who are none of the training's."""
        return torch.tensor([self._row_of.get(who, -1) for who in pseudonyms], dtype=torch.int64)

    def forward(self, row_S: Tensor, seed_S: Tensor, has_connectome_S: Tensor) -> tuple[Tensor, Tensor]:
        """Draw people's effects in training, and take their means otherwise.

        Parameters
        ----------
        row_S : (S,) int64 Tensor
            From `rows_of`.
        seed_S : (S,) int64 Tensor
            Each person's seed.
        has_connectome_S : (S,) bool Tensor

        Returns
        -------
        effect_SZ : (S, Z) Tensor
            0 for people without a row.
        divergence_S : (S,) Tensor
            Kullback-Leibler divergence, in nats, of what is known of each person from the distribution over people; 0 without a row.
        """
        known_S, place_S = row_S >= 0, row_S.clamp_min(0)
        mean_SZ, log_scale_SZ = self.centred_PZ()[place_S].float(), self.log_scale_PZ[place_S].float()
        effect_SZ = mean_SZ
        if self.training:
            noise_SZ = latent_noise(seed_S, 1, mean_SZ.shape[1])[:, 0].to(mean_SZ)
            effect_SZ = mean_SZ + log_scale_SZ.exp() * noise_SZ
        factor_ZZ = self._factor()
        divergence_S = _divergence(mean_SZ, log_scale_SZ, factor_ZZ)
        if not bool(on_host(has_connectome_S).all()):
            wider_ZZ = torch.linalg.cholesky(factor_ZZ @ factor_ZZ.mT + self.spread_ZZ.float())
            divergence_S = torch.where(has_connectome_S, divergence_S, _divergence(mean_SZ, log_scale_SZ, wider_ZZ))
        return torch.where(known_S[:, None], effect_SZ, 0.0), torch.where(known_S, divergence_S, 0.0)

    def _factor(self) -> Tensor:
        size_Z = self.log_size_Z.float().exp()
        return torch.diag_embed(size_Z) + size_Z[:, None] * self.below_ZZ.float().tril(-1)

    def covariance_ZZ(self) -> Tensor:
        """(Z, Z): the covariance of effects over people as it is now."""
        factor_ZZ = self._factor()
        return factor_ZZ @ factor_ZZ.mT


def _divergence(mean_SZ: Tensor, log_scale_SZ: Tensor, factor_ZZ: Tensor) -> Tensor:
    """Return the divergence of normal distributions with independent elements from one of mean 0, whose covariance's factor is given."""
    # |L^-1 m|^2 and the trace of (L L^T)^-1 diag(s^2) are sums over the columns of L^-1.
    inverse_ZZ = torch.linalg.solve_triangular(
        factor_ZZ, torch.eye(len(factor_ZZ), dtype=factor_ZZ.dtype, device=factor_ZZ.device), upper=False
    )
    distance_S = (mean_SZ @ inverse_ZZ.mT).square().sum(1)
    trace_S = (2 * log_scale_SZ).exp() @ inverse_ZZ.square().sum(0)
    log_ratio_S = factor_ZZ.diagonal().log().sum() - log_scale_SZ.sum(1)
    return 0.5 * (distance_S + trace_S - mean_SZ.shape[1]) + log_ratio_S
