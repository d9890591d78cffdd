"""The likelihood of presses that training maximises, and how many trials it is over.

The hazards are those of `dtb.twin.readouts.press`.

Shape letters: `S` subject, `K` segment, `T` model step, `A` response alternative, `J` trial, `D` segment of any person.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dtb.twin.batch import TrialTensors
from dtb.twin.host import on_host, sent

_SMALL = -15.0
"""Below this softplus(x) is exp(x) to within float32's precision, and its logarithm is x."""


def log_softplus(values: Tensor) -> Tensor:
    """Return log(softplus(x)) with the right value and gradient even where softplus(x) underflows."""
    safe = values.clamp_min(_SMALL)
    # exp(x) (1 - exp(x) / 2) is softplus there to second order.
    return torch.where(
        values < _SMALL, values - 0.5 * torch.exp(values.clamp_max(_SMALL)), functional.softplus(safe).log()
    )


def press_nll(press_SKTA: Tensor, observed_SKTA: Tensor, at_risk_SKT: Tensor, step_seconds: float) -> Tensor:
    """Sum the negative log-likelihood of the presses and omissions of each segment.

    Parameters
    ----------
    press_SKTA : (S, K, T, A) Tensor
        Readout before the softplus that makes a hazard of it.
    observed_SKTA : (S, K, T, A) bool Tensor
        True at the step of a press for each alternative that agrees with it.
    at_risk_SKT : (S, K, T) Tensor
        Share of each step during which a press was possible and had not happened, at most 1: windows that overlap share their time.
    step_seconds : float

    Returns
    -------
    (S, K) Tensor
        Minus the log of the summed hazards of compatible alternatives at each press, plus the integral of all hazards over the
        time at risk.
    """
    hazard_SKT = functional.softplus(press_SKTA).sum(-1)
    # Steps without risk are left out by selection: 0 times an infinite hazard would be no number.
    exposed_SKT = torch.where(at_risk_SKT > 0, hazard_SKT * at_risk_SKT, 0.0) * step_seconds
    exposure_SK = exposed_SKT.sum(2)
    places_J3 = on_host(observed_SKTA).any(-1).nonzero()
    subject_J, segment_J, step_J = sent(places_J3, observed_SKTA.device).unbind(1)
    log_hazard_JA = log_softplus(press_SKTA[subject_J, segment_J, step_J])
    compatible_JA = observed_SKTA[subject_J, segment_J, step_J]
    log_density_J = log_hazard_JA.masked_fill(~compatible_JA, -torch.inf).logsumexp(-1)
    segment_of_J = subject_J * exposure_SK.shape[1] + segment_J
    return exposure_SK.flatten().index_add(0, segment_of_J, log_density_J, alpha=-1).view_as(exposure_SK)


def count_trials(trials: TrialTensors, at_risk_SKT: Tensor) -> Tensor:
    """Count the trials of each segment that carry loss: the usable ones that begin before its last step ends.

    Windows may touch, so that what is at risk does not say where one trial ends and the next begins; the table does.

    Parameters
    ----------
    trials : TrialTensors
    at_risk_SKT : (S, K, T) Tensor
        Of the same batch; only its shape is read.

    Returns
    -------
    (S, K) int64 Tensor
    """
    num_subjects, num_segments, num_steps = at_risk_SKT.shape
    counted_J = trials.usable_J & (trials.onset_steps_J < num_steps)
    count_D = torch.zeros(num_subjects * num_segments, dtype=torch.int64, device=at_risk_SKT.device)
    place_J = trials.subject_J * num_segments + trials.segment_J
    return count_D.index_add(0, place_J, counted_J.long()).view(num_subjects, num_segments)
