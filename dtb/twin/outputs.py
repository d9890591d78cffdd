"""Outputs of twins.

Shape letters: see `dtb.twin.model`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TwinOutput(NamedTuple):
    """Output of some people's twins.

    Attributes
    ----------
    hidden_SKTN : (S, K, T, N) Tensor
        State at the end of each model step.
    press_SKTA : (S, K, T, A) Tensor
        Press readout: before the softplus that makes a hazard of it, or the sigmoid that makes a probability.
    latent_SZ : (S, Z) Tensor or None
        Explicit latent, where the configuration has one.
    bold_readout_SRN, bold_bias_SR : Tensor
        From states at volume times to BOLD; see `Twin.bold`.
    hrf_weight_SD : (S, 2) Tensor or None
        Each person's weights of the response's time and dispersion derivatives, where the configuration has them.
    bold_steps_SKTR : (S, K, T, R) Tensor or None
        The BOLD readout of each state, without its bias, where it was made along with the presses.
    """

    hidden_SKTN: Tensor
    press_SKTA: Tensor
    latent_SZ: Tensor | None
    bold_readout_SRN: Tensor
    bold_bias_SR: Tensor
    hrf_weight_SD: Tensor | None
    bold_steps_SKTR: Tensor | None = None


class Simulation(NamedTuple):
    """Simulated trials.

    Attributes
    ----------
    choice_DJ : (D, J) int64 Tensor
        Chosen alternative of each draw and trial; -1 for an omission.
    rt_seconds_DJ : (D, J) Tensor
        NaN for an omission.
    bold_SKVR : (S, K, V, R) Tensor or None
        In the units of the training data; with process noise, the mean over the draws.
    """

    choice_DJ: Tensor
    rt_seconds_DJ: Tensor
    bold_SKVR: Tensor | None
