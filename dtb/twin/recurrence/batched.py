"""The recurrence with a backward pass written by hand.

What it saves over differentiating the loop: each weight gradient is one matrix product over all steps instead of one a step, and nothing
is allocated inside the loop, so that on a GPU all of it is recorded once and replayed (`dtb.twin.recurrence.capture`). Buffers of full
weights are subject-major, (S, T, K, N), so that a person's steps lie together; those of a shared matrix are time-major, (T, S, K, N), so
that a step of all people is one plain matrix.

Shape letters: see `dtb.twin.recurrence.scan`. `X` stands for the two leading axes of a buffer in either order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dtb.twin.recurrence.capture import Tensors, is_recorded, padded_count, replayed
from dtb.twin.recurrence.cells import CellName
from dtb.twin.recurrence.weights import Recurrence


def fast_scan(
    cell: CellName,
    drive_SKTG: Tensor,
    recurrence: Recurrence,
    rate_SN: Tensor | None,
    noise_SKTN: Tensor | None,
    initial_SKN: Tensor | None,
) -> Tensor:
    """Run the recurrence; parameters and result as in `dtb.twin.recurrence.scan.scan`. Differentiable once."""
    num_segments = drive_SKTG.shape[1]
    more = padded_count(num_segments) - num_segments if is_recorded(drive_SKTG) else 0
    if more:
        # Segments of nothing, so that batches come in few shapes; they stay apart from the others, and no gradient comes from them.
        drive_SKTG = functional.pad(drive_SKTG, (0, 0, 0, 0, 0, more))
        noise_SKTN = None if noise_SKTN is None else functional.pad(noise_SKTN, (0, 0, 0, 0, 0, more))
        initial_SKN = None if initial_SKN is None else functional.pad(initial_SKN, (0, 0, 0, more))
    result: Tensor = _FastScan.apply(cell, drive_SKTG, *recurrence, rate_SN, noise_SKTN, initial_SKN)
    return result[:, :num_segments] if more else result


class _Full:
    """Each person's own matrix."""

    def __init__(self, full_SGN: Tensor) -> None:
        self.forward_SNG = full_SGN.mT
        self.backward_SGN = full_SGN

    def add_forward(self, _step: int, drive_SKG: Tensor, state_SKN: Tensor) -> None:
        drive_SKG.baddbmm_(state_SKN, self.forward_SNG)

    def add_backward(self, _step: int, gradient_SKN: Tensor, drive_gradient_SKG: Tensor) -> None:
        gradient_SKN.baddbmm_(drive_gradient_SKG, self.backward_SGN)

    def weight_gradients(self, drive_gradient_STKG: Tensor, before_STKN: Tensor) -> tuple[Tensor | None, ...]:
        gradient_SDG = drive_gradient_STKG.flatten(1, 2)
        return gradient_SDG.mT @ before_STKN.flatten(1, 2), None, None, None


class _LowRank:
    """One matrix for all, and a personal change of low rank."""

    def __init__(
        self,
        shared_GN: Tensor,
        left_SGQ: Tensor,
        right_SNQ: Tensor,
        num_steps: int,
        projection_TSKQ: Tensor | None,
        num_segments: int,
    ) -> None:
        self.shared_GN, self.shared_NG = shared_GN, shared_GN.t()
        self.left_SGQ, self.left_SQG = left_SGQ, left_SGQ.mT
        self.right_SNQ, self.right_SQN = right_SNQ, right_SNQ.mT
        shape = (num_steps, left_SGQ.shape[0], num_segments, left_SGQ.shape[-1])
        self.projection_TSKQ = left_SGQ.new_empty(shape) if projection_TSKQ is None else projection_TSKQ
        self.projections = self.projection_TSKQ.unbind(0)
        self.gradient_TSKQ = left_SGQ.new_empty(shape) if projection_TSKQ is not None else None
        self.gradients = () if self.gradient_TSKQ is None else self.gradient_TSKQ.unbind(0)

    def add_forward(self, step: int, drive_SKG: Tensor, state_SKN: Tensor) -> None:
        drive_SKG.flatten(0, 1).addmm_(state_SKN.flatten(0, 1), self.shared_NG)
        torch.bmm(state_SKN, self.right_SNQ, out=self.projections[step])
        drive_SKG.baddbmm_(self.projections[step], self.left_SQG)

    def add_backward(self, step: int, gradient_SKN: Tensor, drive_gradient_SKG: Tensor) -> None:
        gradient_SKN.flatten(0, 1).addmm_(drive_gradient_SKG.flatten(0, 1), self.shared_GN)
        torch.bmm(drive_gradient_SKG, self.left_SGQ, out=self.gradients[step])
        gradient_SKN.baddbmm_(self.gradients[step], self.right_SQN)

    def weight_gradients(self, drive_gradient_TSKG: Tensor, before_TSKN: Tensor) -> tuple[Tensor | None, ...]:
        assert self.gradient_TSKQ is not None
        shared_GN = drive_gradient_TSKG.flatten(0, 2).t() @ before_TSKN.flatten(0, 2)
        drive_SDG, before_SDN = _by_subject(drive_gradient_TSKG), _by_subject(before_TSKN)
        left_SGQ = drive_SDG.mT @ _by_subject(self.projection_TSKQ)
        right_SNQ = before_SDN.mT @ _by_subject(self.gradient_TSKQ)
        return None, shared_GN, left_SGQ, right_SNQ


def _by_subject(values_TSKN: Tensor) -> Tensor:
    return values_TSKN.transpose(0, 1).flatten(1, 2)


class _FastScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: CellName, *tensors: Tensor | None) -> Tensor:
        saved = replayed(_forward, cell, tensors)
        ctx.save_for_backward(*tensors[1:-1], *saved)
        ctx.cell = cell
        state_XKN, time = saved[0], _time_axis(tensors[1])
        assert state_XKN is not None
        return _output(state_XKN.narrow(time, 1, state_XKN.shape[time] - 1), time)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_SKTN: Tensor) -> tuple[Tensor | None, ...]:
        *gradients, initial_SKN = replayed(_backward, ctx.cell, (gradient_SKTN, *ctx.saved_tensors))
        return None, *gradients, None, initial_SKN if ctx.needs_input_grad[8] else None


def _weights_of(
    weights: Tensors, num_segments: int, num_steps: int, projection_TSKQ: Tensor | None = None
) -> _Full | _LowRank:
    """Choose by what is given of full, shared, left and right; the backward pass brings the projections of the forward one."""
    full_SGN, shared_GN, left_SGQ, right_SNQ = weights
    if full_SGN is not None:
        return _Full(full_SGN)
    assert shared_GN is not None
    assert left_SGQ is not None
    assert right_SNQ is not None
    return _LowRank(shared_GN, left_SGQ, right_SNQ, num_steps, projection_TSKQ, num_segments)


def _time_axis(full_SGN: Tensor | None) -> int:
    """Where time stands in a buffer."""
    return 0 if full_SGN is None else 1


def _forward(cell: CellName, tensors: Tensors) -> Tensors:
    """From drive, weights (four), rate, noise and initial state to states, activations and low-rank projections."""
    drive_SKTG, full_SGN, *_, rate_SN, noise_SKTN, initial_SKN = tensors
    assert drive_SKTG is not None
    num_subjects, num_segments, num_steps, num_rows = drive_SKTG.shape
    num_hidden = num_rows // 2 if cell == "gated" else num_rows
    time = _time_axis(full_SGN)

    def buffer(steps: int, width: int) -> Tensor:
        leading = (steps, num_subjects) if time == 0 else (num_subjects, steps)
        return drive_SKTG.new_empty(*leading, num_segments, width)

    weights = _weights_of(tensors[1:5], num_segments, num_steps)
    state_XKN = buffer(num_steps + 1, num_hidden)
    states = state_XKN.unbind(time)
    if initial_SKN is None:
        states[0].zero_()
    else:
        states[0].copy_(initial_SKN)
    # The elman cell's activation is its state; the others keep theirs beside it for the backward pass.
    active_XKG = None if cell == "elman" else buffer(num_steps, num_rows)
    actives = states[1:] if active_XKG is None else active_XKG.unbind(time)
    rate_SKN = None if rate_SN is None else rate_SN[:, None].expand(-1, num_segments, -1)
    noises = None if noise_SKTN is None else noise_SKTN.unbind(2)
    # With time as the second axis a step's slice is not contiguous, and in-place products on such are slow.
    scratch_SKG = drive_SKTG.new_empty(num_subjects, num_segments, num_rows)
    for step, drive_SKG in enumerate(drive_SKTG.unbind(2)):
        before_SKN, active_SKG, state_SKN = states[step], actives[step], states[step + 1]
        scratch_SKG.copy_(drive_SKG)
        weights.add_forward(step, scratch_SKG, before_SKN)
        if cell == "gated":
            torch.sigmoid(scratch_SKG[..., :num_hidden], out=active_SKG[..., :num_hidden])
            torch.tanh(scratch_SKG[..., num_hidden:], out=active_SKG[..., num_hidden:])
            torch.lerp(before_SKN, active_SKG[..., num_hidden:], active_SKG[..., :num_hidden], out=state_SKN)
        else:
            torch.tanh(scratch_SKG, out=active_SKG)
            if rate_SKN is not None:
                torch.lerp(before_SKN, active_SKG, rate_SKN, out=state_SKN)
        if noises is not None:
            # The elman cell's activation must stay free of the noise.
            state_SKN.add_(noises[step])
    return state_XKN, active_XKG, weights.projection_TSKQ if isinstance(weights, _LowRank) else None


def _backward(cell: CellName, tensors: Tensors) -> Tensors:
    """From the states' gradient and what `_forward` took and gave to the gradients of drive, weights, rate and initial state."""
    gradient_SKTN, full_SGN, *_, rate_SN, noise_SKTN, state_XKN, active_XKG, projection_TSKQ = tensors
    assert gradient_SKTN is not None
    assert state_XKN is not None
    time = _time_axis(full_SGN)
    num_subjects, num_segments, num_steps, num_hidden = gradient_SKTN.shape
    weights = _weights_of(tensors[1:5], num_segments, num_steps, projection_TSKQ)
    before_XKN = state_XKN.narrow(time, 0, num_steps)
    befores = before_XKN.unbind(time)
    if active_XKG is None:
        active_XKG = state_XKN.narrow(time, 1, num_steps)
        if noise_SKTN is not None:
            active_XKG = active_XKG - _input(noise_SKTN, time)
    actives = active_XKG.unbind(time)
    drive_gradient_XKG = torch.empty_like(active_XKG, memory_format=torch.contiguous_format)
    drive_gradients = drive_gradient_XKG.unbind(time)
    # The gradient with respect to every state is kept only where the rate's gradient needs it at the end.
    kept_steps = 1 if rate_SN is None else num_steps
    state_gradient_XKN = torch.empty_like(before_XKN.narrow(time, 0, kept_steps), memory_format=torch.contiguous_format)
    state_gradients = state_gradient_XKN.unbind(time)
    outer = gradient_SKTN.unbind(2)
    scratch_SKN = gradient_SKTN.new_zeros(num_subjects, num_segments, num_hidden)
    other_SKN = torch.empty_like(scratch_SKN)
    keep_SKN = None if rate_SN is None else (1.0 - rate_SN)[:, None].expand(-1, num_segments, -1)
    rate_SKN = None if rate_SN is None else rate_SN[:, None].expand(-1, num_segments, -1)
    for step in reversed(range(num_steps)):
        active_SKG, gradient_SKG = actives[step], drive_gradients[step]
        state_gradient_SKN = state_gradients[step % kept_steps]
        torch.add(outer[step], scratch_SKN, out=state_gradient_SKN)
        if cell == "gated":
            gate_SKN, candidate_SKN = active_SKG.split(num_hidden, -1)
            torch.sub(candidate_SKN, befores[step], out=other_SKN)
            other_SKN.mul_(state_gradient_SKN)
            torch.ops.aten.sigmoid_backward.grad_input(other_SKN, gate_SKN, grad_input=gradient_SKG[..., :num_hidden])
            torch.mul(state_gradient_SKN, gate_SKN, out=other_SKN)
            torch.ops.aten.tanh_backward.grad_input(other_SKN, candidate_SKN, grad_input=gradient_SKG[..., num_hidden:])
            torch.sub(state_gradient_SKN, other_SKN, out=scratch_SKN)
        elif rate_SKN is not None and keep_SKN is not None:
            torch.mul(state_gradient_SKN, rate_SKN, out=other_SKN)
            torch.ops.aten.tanh_backward.grad_input(other_SKN, active_SKG, grad_input=gradient_SKG)
            torch.mul(state_gradient_SKN, keep_SKN, out=scratch_SKN)
        else:
            torch.ops.aten.tanh_backward.grad_input(state_gradient_SKN, active_SKG, grad_input=gradient_SKG)
            scratch_SKN.zero_()
        weights.add_backward(step, scratch_SKN, gradient_SKG)
    rate_gradient_SN = None
    if rate_SN is not None:
        rate_gradient_SN = (active_XKG - before_XKN).mul_(state_gradient_XKN).sum((time, 2))
    return (
        _output(drive_gradient_XKG, time),
        *weights.weight_gradients(drive_gradient_XKG, before_XKN),
        rate_gradient_SN,
        scratch_SKN,
    )


def _output(values_XKN: Tensor, time: int) -> Tensor:
    """From a buffer's axes to (S, K, T, N)."""
    return values_XKN.permute(1, 2, 0, 3) if time == 0 else values_XKN.transpose(1, 2)


def _input(values_SKTN: Tensor, time: int) -> Tensor:
    """From (S, K, T, N) to a buffer's axes."""
    return values_SKTN.permute(2, 0, 1, 3) if time == 0 else values_SKTN.transpose(1, 2)
