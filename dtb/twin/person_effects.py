"""What a connectome does not say about a person: the distribution of people's own effects on their latents.

A person's latent is what is read from the connectome plus an effect of the person's own, `z = f(c) + e`, with `e` from a normal
distribution of mean 0 over people. A person without a connectome has one from the cohort: `f` then has the mean and covariance that it
has over the training people.

Shape letters: `Z` latent, `R` BOLD region.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dtb.twin.hypernetwork import LATENT_START


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
