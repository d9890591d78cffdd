"""Training without a cluster: a twin, a training batch, and a validation batch that says when to stop.

What `dtb train` adds to this: shards that need not fit in memory, several workers, checkpoints, and latents that begin at regressions.

Shape letters: see `dtb.twin.batch`; `C` is a component, `D` a volume of any person and segment.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import torch

from dtb.twin.batch import Batch
from dtb.twin.components import principal_components
from dtb.twin.model import Twin
from dtb.twin.objective import Objective
from dtb.twin.person_effects import EFFECTS_RATE, Beginning, PersonEffects
from dtb.twin.person_prior import MOST_PEOPLE, Known, measure_prior
from dtb.twin.tangent import fit_reference

_AT_ONCE = 4


@dataclasses.dataclass(frozen=True)
class Fit:
    """The result of `fit`.

    Attributes
    ----------
    training_losses : tuple of float
        Mean loss of the people that the twin learnt from, one an epoch.
    validation_losses : tuple of float
        Likewise of those who were held out of it.
    best_epoch : int
        Whose weights the twin has now, from 0.
    """

    training_losses: tuple[float, ...]
    validation_losses: tuple[float, ...]
    best_epoch: int


def fit(
    twin: Twin,
    batch: Batch,
    validation: Batch,
    *,
    max_epochs: int = 200,
    patience: int = 20,
    people_per_step: int = 16,
    learning_rate: float = 4e-3,
    press_weight: float = 1.0,
    bold_weight: float = 1.0,
    seed: int = 0,
) -> Fit:
    """Train a twin until other people's loss no longer falls, and leave it with the weights of its best epoch, in evaluation mode.

    Connectomes and BOLD are standardised with figures of `batch` first (`standardise_by`). A twin with person effects learns those of the
    people of `batch`, and afterwards how they are spread over people: `twin.prior`.

    Parameters
    ----------
    twin : Twin
        Trained in place, on the device where it and the batches are.
    batch, validation : Batch
        People to learn from, and others who say when to stop. Neither can judge the twin afterwards.
    max_epochs : int
        Passes over `batch` at most.
    patience : int
        Epochs without a lower validation loss after which to stop.
    people_per_step : int
        People in one step of the optimiser (AdamW, slopes clipped to a norm of 1).
    learning_rate : float
    press_weight, bold_weight : float
        Weights of the two terms of the loss; see `dtb.twin.objective.Objective`.
    seed : int
        Of the order of people, of dropout and of process noise.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        A loss is not finite: data or learning rate are out of range.
    """
    standardise_by(twin, batch)
    effects = None
    if twin.prior is not None:
        beginning = Beginning.of_nothing(batch.pseudonyms, twin.config.latent_size)
        effects = PersonEffects(beginning, _observations(batch)).to(batch.connectome_SE.device)
    objective = Objective(twin, press_weight, bold_weight, effects=effects)
    groups: list[dict[str, Any]] = [{"params": list(twin.parameters())}]
    if effects is not None:
        groups.append({"params": list(effects.parameters()), "lr": EFFECTS_RATE * learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    rng = np.random.default_rng(seed)
    training_losses: list[float] = []
    validation_losses: list[float] = []
    best, best_epoch = copy.deepcopy(objective.state_dict()), 0
    for epoch in range(max_epochs):
        objective.train()
        loss = 0.0
        for who in np.array_split(rng.permutation(len(batch)), math.ceil(len(batch) / people_per_step)):
            some = batch[who]
            some = dataclasses.replace(some, seed_S=some.seed_S + (seed + epoch) * len(batch))
            optimizer.zero_grad()
            total = objective(some).total
            total.backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimizer.step()
            loss += total.item() * len(who) / len(batch)
        objective.eval()
        with torch.no_grad():
            validation_losses.append(objective(validation).total.item())
        training_losses.append(loss)
        if not math.isfinite(loss + validation_losses[-1]):
            raise ValueError(
                f"the loss of epoch {epoch} is not finite (training {loss}, validation {validation_losses[-1]}). Look for values out of "
                f"range in the batches, or lower learning_rate ({learning_rate:g})."
            )
        if validation_losses[-1] == min(validation_losses):
            best, best_epoch = copy.deepcopy(objective.state_dict()), epoch
        if epoch - best_epoch >= patience:
            break
    objective.load_state_dict(best)
    objective.eval()
    if effects is not None:
        measure_prior(twin, _known(twin, effects, batch), effects.covariance_ZZ().detach().double())
    return Fit(tuple(training_losses), tuple(validation_losses), best_epoch)


def _observations(batch: Batch) -> float:
    """Return the mean number of trials of a person; of volumes, where there are no trials."""
    counted = batch.trials.usable_J.sum() if batch.trials.usable_J.any() else batch.bold_counted_SKV.sum()
    return max(float(counted) / max(len(batch), 1), 1.0)


@torch.no_grad()
def _known(twin: Twin, effects: PersonEffects, batch: Batch) -> list[Known]:
    """Return people with what their connectomes say and their latents as training found them, a few at a time."""
    found = []
    for begin in range(0, min(len(batch), MOST_PEOPLE), _AT_ONCE):
        some = batch[begin : begin + _AT_ONCE]
        read_SZ = twin.hypernetwork.encoder(twin.encoder_input(some.connectome_SE), None).double()
        found.append((some, read_SZ, read_SZ + effects.centred_PZ()[effects.rows_of(some.pseudonyms)].double()))
    return found


@torch.no_grad()
def standardise_by(twin: Twin, batch: Batch) -> None:
    """Set what the twin standardises connectomes and BOLD with, and the components that it reads, from these people alone.

    Parameters
    ----------
    twin : Twin
    batch : Batch
        The training people.
    """
    mean_E, scale_E = _moments(batch.connectome_SE)
    read_SE, read_mean_E, read_scale_E = batch.connectome_SE, mean_E, scale_E
    if twin.tangent is not None:
        reference_RR, _ = fit_reference(batch.connectome_SE.cpu(), twin.sizes.num_regions)
        twin.tangent.set_reference(reference_RR.to(batch.connectome_SE.device))
        read_SE = twin.tangent(batch.connectome_SE)
        read_mean_E, read_scale_E = _moments(read_SE)
        twin.tangent.set_reference(reference_RR.to(batch.connectome_SE.device), read_mean_E, read_scale_E)
    components_EC = None
    if twin.config.connectome_components:
        standard_SE = ((read_SE - read_mean_E) / read_scale_E).nan_to_num(0.0)
        components_EC = principal_components(standard_SE, twin.config.connectome_components)
    counted_SKVR = batch.bold_counted_SKV[..., None] & torch.isfinite(batch.bold_SKVR)
    _, bold_scale_R = _moments(torch.where(counted_SKVR, batch.bold_SKVR, torch.nan).flatten(0, 2))
    twin.set_normalisation(mean_E, scale_E, bold_scale_R, components_EC)


def _moments(values_SE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of each column over the rows that have it; 0 and 1 where nothing is known or nothing varies."""
    known_SE = ~values_SE.isnan()
    count_E = known_SE.sum(0)
    mean_E = torch.where(known_SE, values_SE, 0.0).double().sum(0) / count_E.clamp_min(1)
    squares_E = torch.where(known_SE, values_SE.double() - mean_E, 0.0).square().sum(0)
    scale_E = (squares_E / (count_E - 1).clamp_min(1)).sqrt()
    varies_E = (count_E > 1) & (scale_E > 1e-6)
    return mean_E.to(values_SE), torch.where(varies_E, scale_E, 1.0).to(values_SE)
