"""The recurrence as Triton kernels: one program runs all steps of one segment with its person's weights in registers.

Sums are float32 additions and multiplications written out, so no reduced precision can enter. Imported only where Triton is; with
``TRITON_INTERPRET=1`` it runs on a CPU, slowly, for tests.

Arrays are C-contiguous float32. Shape letters: `S` subject, `K` segment, `T` step, `N` hidden unit, `G` row of the recurrent weights.
"""

import triton
import triton.language as tl

LEAKY = tl.constexpr(1)
GATED = tl.constexpr(2)


@triton.jit
def _tanh(x):
    # As in native/scan_body.h: a polynomial near 0, where the closed form would cancel (Cephes).
    z = x * x
    p = -5.70498872745e-3 * z + 2.06390887954e-2
    p = p * z - 5.37397155531e-2
    p = p * z + 1.33314422036e-1
    p = p * z - 3.33332819422e-1
    e = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - e) / (1.0 + e)
    return tl.where(tl.abs(x) < 0.625, p * z * x + x, tl.where(x < 0.0, -large, large))


@triton.jit
def forward_kernel(
    drive_SKTG,
    weights_SNG,
    rate_SN,
    noise_SKTN,
    initial_SKN,
    state_SKTN,
    active_SKTG,
    K,
    T,
    N,
    CELL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write states (T + 1 of them, the first is the initial one) and activations (None where the state tells them).

    The weights come transposed: summed over the first axis, most of a sum stays within a thread and needs few registers.
    """
    segment = tl.program_id(0).to(tl.int64)
    subject = segment // K
    G = N * 2 if CELL == GATED else N
    n = tl.arange(0, BLOCK)
    inside = n < N
    places = n[:, None] * G + n[None, :]
    both = inside[:, None] & inside[None, :]
    weights = tl.load(weights_SNG + subject * G * N + places, mask=both, other=0.0)
    if CELL == GATED:
        candidate_weights = tl.load(weights_SNG + subject * G * N + N + places, mask=both, other=0.0)
    if CELL == LEAKY:
        rate = tl.load(rate_SN + subject * N + n, mask=inside, other=0.0)
    state = tl.zeros([BLOCK], tl.float32)
    if initial_SKN is not None:
        state = tl.load(initial_SKN + segment * N + n, mask=inside, other=0.0)
    states = state_SKTN + segment * (T + 1) * N + n
    tl.store(states, state, mask=inside)
    for step in range(T):
        drives = drive_SKTG + (segment * T + step) * G + n
        total = tl.load(drives, mask=inside, other=0.0) + tl.sum(weights * state[:, None], axis=0)
        if CELL == GATED:
            gate = 1.0 / (1.0 + tl.exp(-total))
            value = _tanh(
                tl.load(drives + N, mask=inside, other=0.0) + tl.sum(candidate_weights * state[:, None], axis=0)
            )
            tl.store(active_SKTG + (segment * T + step) * G + n, gate, mask=inside)
            tl.store(active_SKTG + (segment * T + step) * G + N + n, value, mask=inside)
            state += gate * (value - state)
        else:
            value = _tanh(total)
            if active_SKTG is not None:
                tl.store(active_SKTG + (segment * T + step) * G + n, value, mask=inside)
            if CELL == LEAKY:
                state += rate * (value - state)
            else:
                state = value
        if noise_SKTN is not None:
            state += tl.load(noise_SKTN + (segment * T + step) * N + n, mask=inside, other=0.0)
        tl.store(states + (step + 1) * N, state, mask=inside)


@triton.jit
def backward_kernel(
    outer_SKTN,
    weights_SGN,
    rate_SN,
    state_SKTN,
    active_SKTG,
    drive_gradient_SKTG,
    rate_gradient_SKN,
    initial_gradient_SKN,
    K,
    T,
    N,
    CELL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the gradients of drive, rate (per segment) and initial state from that of the states."""
    segment = tl.program_id(0).to(tl.int64)
    subject = segment // K
    G = N * 2 if CELL == GATED else N
    n = tl.arange(0, BLOCK)
    inside = n < N
    places = n[:, None] * N + n[None, :]
    both = inside[:, None] & inside[None, :]
    weights = tl.load(weights_SGN + subject * G * N + places, mask=both, other=0.0)
    if CELL == GATED:
        candidate_weights = tl.load(weights_SGN + subject * G * N + N * N + places, mask=both, other=0.0)
    if CELL == LEAKY:
        rate = tl.load(rate_SN + subject * N + n, mask=inside, other=0.0)
        rate_gradient = tl.zeros([BLOCK], tl.float32)
    carry = tl.zeros([BLOCK], tl.float32)
    for back in range(T):
        step = T - 1 - back
        gradient = carry + tl.load(outer_SKTN + (segment * T + step) * N + n, mask=inside, other=0.0)
        befores = state_SKTN + (segment * (T + 1) + step) * N + n
        place = (segment * T + step) * G + n
        if CELL == GATED:
            gate = tl.load(active_SKTG + place, mask=inside, other=0.0)
            value = tl.load(active_SKTG + place + N, mask=inside, other=0.0)
            moved = gradient * gate
            of_gate = gradient * (value - tl.load(befores, mask=inside, other=0.0)) * gate * (1.0 - gate)
            of_value = moved * (1.0 - value * value)
            tl.store(drive_gradient_SKTG + place, of_gate, mask=inside)
            tl.store(drive_gradient_SKTG + place + N, of_value, mask=inside)
            carry = gradient - moved + tl.sum(weights * of_gate[:, None], axis=0)
            carry += tl.sum(candidate_weights * of_value[:, None], axis=0)
        else:
            if active_SKTG is not None:
                value = tl.load(active_SKTG + place, mask=inside, other=0.0)
            else:
                value = tl.load(befores + N, mask=inside, other=0.0)
            moved = gradient
            if CELL == LEAKY:
                moved = gradient * rate
                rate_gradient += gradient * (value - tl.load(befores, mask=inside, other=0.0))
            of_value = moved * (1.0 - value * value)
            tl.store(drive_gradient_SKTG + place, of_value, mask=inside)
            carry = gradient - moved + tl.sum(weights * of_value[:, None], axis=0)
    tl.store(initial_gradient_SKN + segment * N + n, carry, mask=inside)
    if CELL == LEAKY:
        tl.store(rate_gradient_SKN + segment * N + n, rate_gradient, mask=inside)
