"""The recurrence as one would write it without dtb: what `scripts/bench/scan.py` compares with.

Shape letters: `S` subject, `K` segment, `T` model step, `N` hidden unit, `I` stimulus channel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NUM_CHANNELS = 9
Run = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From stimulus (S, K, T, I), input weights (S, N, I), recurrent weights (S, N, N) and biases (S, N) to states (S, K, T, N)."""


def drive_of(stimulus_SKTI: Tensor, input_SNI: Tensor, bias_SN: Tensor) -> Tensor:
    num_segments, num_steps = stimulus_SKTI.shape[1:3]
    by_time_SDI = stimulus_SKTI.transpose(1, 2).flatten(1, 2)
    drive_SDN = torch.baddbmm(bias_SN[:, None], by_time_SDI, input_SNI.mT)
    return drive_SDN.unflatten(1, (num_steps, num_segments)).transpose(1, 2)


def vmapped_cell(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    num_people, num_segments, num_steps, num_channels = stimulus_SKTI.shape
    cell = torch.nn.RNNCell(num_channels, recurrent_SNN.shape[1], device="meta")
    weights = {
        "weight_ih": input_SNI,
        "weight_hh": recurrent_SNN,
        "bias_ih": bias_SN,
        "bias_hh": torch.zeros_like(bias_SN),
    }
    step = torch.func.vmap(lambda own, x, h: torch.func.functional_call(cell, own, (x, h)))
    state_SKN = stimulus_SKTI.new_zeros(num_people, num_segments, recurrent_SNN.shape[1])
    states_SKTN = stimulus_SKTI.new_empty(num_people, num_segments, num_steps, recurrent_SNN.shape[1])
    for index in range(num_steps):
        state_SKN = step(weights, stimulus_SKTI[:, :, index], state_SKN)
        states_SKTN[:, :, index] = state_SKN
    return states_SKTN


def baddbmm_loop(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    state_SKN = stimulus_SKTI.new_zeros(*stimulus_SKTI.shape[:2], recurrent_SNN.shape[1])
    states, weights_SNN = [], recurrent_SNN.mT
    for drive_SKN in drive_of(stimulus_SKTI, input_SNI, bias_SN).unbind(2):
        state_SKN = torch.tanh(torch.baddbmm(drive_SKN, state_SKN, weights_SNN))
        states.append(state_SKN)
    return torch.stack(states, dim=2)


def rnn_by_person(stimulus_SKTI: Tensor, input_SNI: Tensor, recurrent_SNN: Tensor, bias_SN: Tensor) -> Tensor:
    network = torch.nn.RNN(stimulus_SKTI.shape[-1], recurrent_SNN.shape[1], batch_first=True, device="meta")
    nothing_N = torch.zeros_like(bias_SN[0])
    states = []
    for person in range(len(stimulus_SKTI)):
        own = {
            "weight_ih_l0": input_SNI[person],
            "weight_hh_l0": recurrent_SNN[person],
            "bias_ih_l0": bias_SN[person],
            "bias_hh_l0": nothing_N,
        }
        states.append(torch.func.functional_call(network, own, (stimulus_SKTI[person],))[0])
    return torch.stack(states)


REFERENCES: dict[str, Run] = {
    "vmap RNNCell": vmapped_cell,
    "baddbmm loop": baddbmm_loop,
    "nn.RNN by person": rnn_by_person,
}
