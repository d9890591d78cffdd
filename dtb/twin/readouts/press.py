"""The distribution of presses: hazards per second that are constant within a model step.

With hazards `lambda_a(t)` the probability of no press in a step of length `dt` is `exp(-sum_a lambda_a dt)`. A trial's log-likelihood
is the log density of its press, or the log probability of surviving the response window. Choice probabilities, densities, means and
quantiles of reaction times and the omission probability follow in closed form, for a hazard that is constant within each step. Where
response windows overlap, a press belongs to the first trial that still waits for one (`dtb.twin.readouts.queue`).

Shape letters: `S` subject, `K` segment, `T` model step, `A` response alternative, `J` trial, `W` step of a response window,
`D` draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from dtb.twin.batch import TrialTensors
from dtb.twin.readouts.queue import Queue, expm1_over, queue_of, waiting_hazards


def windows(hazard_SKTA: Tensor, trials: TrialTensors) -> tuple[Tensor, Tensor]:
    """Return the response window of each trial in its segment.

    Parameters
    ----------
    hazard_SKTA : (S, K, T, A) Tensor
    trials : TrialTensors

    Returns
    -------
    hazard_JWA : (J, W, A) Tensor
        From the step of the onset on; W is that of the longest window.
    covered_JW : (J, W) Tensor
        Share of each step that lies in the trial's window, and in the segment.
    """
    num_steps = hazard_SKTA.shape[2]
    onset_J = trials.onset_steps_J.to(hazard_SKTA.dtype)
    end_J = onset_J + trials.window_steps_J.to(hazard_SKTA.dtype)
    first_J = onset_J.floor()
    longest = int((end_J.ceil() - first_J).max().clamp_min(1)) if len(onset_J) else 1
    step_JW = first_J.long()[:, None] + torch.arange(longest, device=hazard_SKTA.device)
    covered_JW = (torch.minimum(step_JW + 1, end_J[:, None]) - torch.maximum(step_JW, onset_J[:, None])).clamp(0.0, 1.0)
    covered_JW = torch.where((step_JW >= 0) & (step_JW < num_steps), covered_JW, 0.0)
    if num_steps == 0:
        return hazard_SKTA.new_zeros(len(onset_J), longest, hazard_SKTA.shape[-1]), covered_JW
    hazard_JWA = hazard_SKTA[trials.subject_J[:, None], trials.segment_J[:, None], step_JW.clamp(0, num_steps - 1)]
    return hazard_JWA, covered_JW


@dataclasses.dataclass(frozen=True, eq=False)
class PressDistribution:
    """The joint distribution of choice and reaction time of each trial, in closed form.

    Attributes
    ----------
    hazard_JWA : (J, W, A) Tensor
        Hazard of each alternative per second, in each step of the window.
    covered_JW : (J, W) Tensor
        Share of each step that lies in the window.
    step_seconds : float
    queued : (Tensor, Queue) or None
        Where windows overlap, the hazards that a trial would have if it waited for nobody, (J, W, A), and who waits for whom: `sample`
        needs both. `hazard_JWA` is what follows from them for each trial by itself.
    """

    hazard_JWA: Tensor
    covered_JW: Tensor
    step_seconds: float
    queued: tuple[Tensor, Queue] | None = None

    @classmethod
    def of(cls, hazard_JWA: Tensor, covered_JW: Tensor, trials: TrialTensors, step_seconds: float) -> PressDistribution:
        """Return the distribution of trials with these hazards in their windows (`windows` cuts them out), which may overlap."""
        queue = queue_of(trials, step_seconds)
        if queue is None:
            return cls(hazard_JWA, covered_JW, step_seconds)
        own_JWA = waiting_hazards(hazard_JWA, covered_JW, queue, step_seconds)
        return cls(own_JWA, covered_JW, step_seconds, (hazard_JWA, queue))

    def of_rows(self, rows_J: Tensor) -> PressDistribution:
        """Return the distribution of some trials, with steps as far as one of them has any."""
        covered_JW = self.covered_JW[rows_J]
        longest = int(covered_JW.any(0).nonzero().max()) + 1
        queued = None
        if self.queued is not None:
            queued = self.queued[0][rows_J, :longest], self.queued[1].of(rows_J)
        return PressDistribution(self.hazard_JWA[rows_J, :longest], covered_JW[:, :longest], self.step_seconds, queued)

    @cached_property
    def _total_JW(self) -> Tensor:
        return self.hazard_JWA.sum(-1)

    @cached_property
    def _length_JW(self) -> Tensor:
        return self.covered_JW * self.step_seconds

    @cached_property
    def _start_JW(self) -> Tensor:
        """Seconds from the onset to the beginning of each step's share of the window."""
        return self._length_JW.cumsum(-1) - self._length_JW

    @cached_property
    def _integrated_JW(self) -> Tensor:
        """Integral of the total hazard over each step's share of the window."""
        return self._total_JW * self._length_JW

    @cached_property
    def _survival_JW(self) -> Tensor:
        """Probability of no press until each step begins."""
        integrated_JW = self._integrated_JW
        return torch.exp(-(integrated_JW.cumsum(-1) - integrated_JW))

    @classmethod
    def mean_of(cls, members: Sequence[PressDistribution]) -> PressDistribution:
        """Return the mean of an ensemble's distributions of the same trials; its probabilities in each step are exact.

        Its hazard is lower than the mean of theirs the later it is: who has not pressed yet is more likely a member that presses late.
        """
        first = members[0]
        if len(members) == 1:
            return first
        mass_JWA = torch.stack([member._mass_JWA for member in members]).mean(0)
        survival_JW = torch.stack([member._survival_JW for member in members]).mean(0)
        tiny, most = torch.finfo(mass_JWA.dtype).tiny, 1 - torch.finfo(mass_JWA.dtype).eps
        mass_JW = mass_JWA.sum(-1)
        integrated_JW = -torch.log1p(-(mass_JW / survival_JW.clamp_min(tiny)).clamp_max(most))
        total_JW = integrated_JW / first._length_JW.clamp_min(tiny)
        hazard_JWA = total_JW[..., None] * mass_JWA / mass_JW.clamp_min(tiny)[..., None]
        return cls(hazard_JWA, first.covered_JW, first.step_seconds)

    def choice_probability_JA(self) -> Tensor:
        """(J, A): probability of each choice; the rest to 1 is that of an omission."""
        return self._mass_JWA.sum(1)

    @cached_property
    def _exposed_JW(self) -> Tensor:
        """Mean seconds without a press within each step: (1 - exp(-Lambda d)) / Lambda, written so that Lambda may be 0."""
        return self._survival_JW * self._length_JW * expm1_over(self._integrated_JW)

    @cached_property
    def _mass_JWA(self) -> Tensor:
        """Probability of each choice within each step."""
        return self.hazard_JWA * self._exposed_JW[..., None]

    def press_probability_J(self) -> Tensor:
        """(J,): probability of any press within the window."""
        return -torch.expm1(-self._integrated_JW.sum(-1))

    def omission_probability_J(self) -> Tensor:
        """(J,): probability of no press within the window."""
        return torch.exp(-self._integrated_JW.sum(-1))

    def mean_rt_J(self) -> Tensor:
        """(J,): mean reaction time in seconds, given a press within the window."""
        return self.mean_rt_of_choice_JA(summed=True)[:, 0]

    def mean_rt_of_choice_JA(self, *, summed: bool = False) -> Tensor:
        """(J, A): mean reaction time in seconds given each choice; (J, 1) over all choices where `summed`."""
        hazard_JWA = self._total_JW[..., None] if summed else self.hazard_JWA
        # Of a press within the step: its probability times when the step begins, plus how far into the step it comes.
        within_JW = self._survival_JW * self._length_JW**2 * _first_moment_over(self._integrated_JW)
        probability_JA = torch.einsum("jwa,jw->ja", hazard_JWA, self._exposed_JW)
        first_moment_JA = torch.einsum("jwa,jw->ja", hazard_JWA, self._exposed_JW * self._start_JW + within_JW)
        return first_moment_JA / probability_JA.clamp_min(torch.finfo(probability_JA.dtype).tiny)

    def rt_quantile_J(self, share: float | Tensor) -> Tensor:
        """(J,): time in seconds before which this share of the presses come, given a press within the window."""
        share_J = torch.as_tensor(share, dtype=self.hazard_JWA.dtype, device=self.hazard_JWA.device)
        share_J = share_J.expand(self.hazard_JWA.shape[0])
        return self._time_of(-torch.log1p(-share_J * self.press_probability_J()))[0]

    def density_JA(self, rt_seconds_J: Tensor) -> Tensor:
        """(J, A): joint density, per second, of each choice at each trial's given reaction time; 0 outside the window."""
        step_J, into_J, inside_J = self._locate(rt_seconds_J)
        trial_J = torch.arange(len(rt_seconds_J), device=rt_seconds_J.device)
        before_J = self._integrated_JW.cumsum(-1)[trial_J, step_J] - self._integrated_JW[trial_J, step_J]
        survival_J = torch.exp(-before_J - self._total_JW[trial_J, step_J] * into_J)
        density_JA = self.hazard_JWA[trial_J, step_J] * survival_J[:, None]
        return torch.where(inside_J[:, None], density_JA, 0.0)

    def log_likelihood_J(self, rt_seconds_J: Tensor, response_JA: Tensor) -> Tensor:
        """(J,): log density of each trial's press, or log probability of its omission where no response is given.

        Parameters
        ----------
        rt_seconds_J : (J,) Tensor
            Not read where there was no press.
        response_JA : (J, A) bool Tensor
            Alternatives that agree with the press; none for an omission.
        """
        pressed_J = response_JA.any(-1)
        step_J, into_J, inside_J = self._locate(torch.where(pressed_J, rt_seconds_J, 0.0))
        trial_J = torch.arange(len(step_J), device=step_J.device)
        integrated_JW = self._integrated_JW
        before_J = integrated_JW.cumsum(-1)[trial_J, step_J] - integrated_JW[trial_J, step_J]
        tiny = torch.finfo(self.hazard_JWA.dtype).tiny
        agreeing_J = torch.where(response_JA, self.hazard_JWA[trial_J, step_J], 0.0).sum(-1).clamp_min(tiny)
        density_J = agreeing_J.log() - before_J - self._total_JW[trial_J, step_J] * into_J
        density_J = torch.where(inside_J, density_J, -torch.inf)
        return torch.where(pressed_J, density_J, -integrated_JW.sum(-1))

    def sample(self, generator: torch.Generator, num_draws: int = 1) -> tuple[Tensor, Tensor]:
        """Draw choices and reaction times.

        Parameters
        ----------
        generator : torch.Generator
            On the CPU: draws are the same on every device.
        num_draws : int

        Returns
        -------
        choice_DJ : (D, J) int64 Tensor
            -1 for an omission.
        rt_seconds_DJ : (D, J) Tensor
            NaN for an omission.
        """
        num_trials = self.hazard_JWA.shape[0]
        uniform_2DJ = torch.rand(2, num_draws, num_trials, generator=generator, dtype=torch.float64)
        if self.queued is None:
            return self._draw(uniform_2DJ)
        hazard_JWA, queue = self.queued
        choice_DJ = torch.full((num_draws, num_trials), -1, device=hazard_JWA.device)
        rt_seconds_DJ = hazard_JWA.new_full((num_draws, num_trials), torch.nan)
        done_DJ = torch.zeros_like(rt_seconds_DJ)  # seconds after the onset
        window_J = (self.covered_JW.sum(-1) * self.step_seconds).to(done_DJ)
        spacing_J = (queue.spacing_steps_J * self.step_seconds).to(done_DJ)
        for rows_L in queue.levels():
            before_L = queue.previous_J[rows_L]
            wait_DL = (done_DJ[:, before_L.clamp_min(0)] - spacing_J[rows_L]).clamp_min(0.0)
            wait_DL = torch.where(before_L >= 0, wait_DL, 0.0)
            each = PressDistribution(hazard_JWA[rows_L], self.covered_JW[rows_L], self.step_seconds)
            choice_DL, rt_DL = each._draw(uniform_2DJ[:, :, rows_L.cpu()], wait_DL)
            choice_DJ[:, rows_L], rt_seconds_DJ[:, rows_L] = choice_DL, rt_DL
            done_DJ[:, rows_L] = torch.where(choice_DL >= 0, rt_DL, torch.maximum(window_J[rows_L], wait_DL))
        return choice_DJ, rt_seconds_DJ

    def _draw(self, uniform_2DJ: Tensor, wait_DJ: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn numbers from U[0, 1) into choices and reaction times, those after a wait where it is given."""
        num_trials = self.hazard_JWA.shape[0]
        needed_DJ = -torch.log1p(-uniform_2DJ[0]).to(self.hazard_JWA)
        if wait_DJ is not None:
            needed_DJ = needed_DJ + self._integrated_until(wait_DJ)
        time_DJ, step_DJ = self._time_of(needed_DJ)
        trial_J = torch.arange(num_trials, device=step_DJ.device)
        cumulative_DJA = self.hazard_JWA[trial_J, step_DJ].cumsum(-1)
        threshold_DJ = uniform_2DJ[1].to(self.hazard_JWA) * cumulative_DJA[..., -1]
        choice_DJ = (cumulative_DJA <= threshold_DJ[..., None]).sum(-1).clamp_max(self.hazard_JWA.shape[-1] - 1)
        omitted_DJ = needed_DJ >= self._integrated_JW.sum(-1)
        return choice_DJ.masked_fill(omitted_DJ, -1), time_DJ.masked_fill(omitted_DJ, torch.nan)

    def _time_of(self, integrated_DJ: Tensor) -> tuple[Tensor, Tensor]:
        """When the integrated hazard reaches the given values, and in which step of the window."""
        step_integrated_JW = self._integrated_JW
        reached_JW = step_integrated_JW.cumsum(-1)
        leading = integrated_DJ.shape[:-1]
        wanted_JD = integrated_DJ.reshape(-1, integrated_DJ.shape[-1]).T.contiguous()
        step_JD = torch.searchsorted(reached_JW.detach().contiguous(), wanted_JD.detach())
        step_JD = step_JD.clamp_max(reached_JW.shape[-1] - 1)
        before_JD = (reached_JW - step_integrated_JW).gather(1, step_JD)
        tiny = torch.finfo(reached_JW.dtype).tiny
        share_JD = ((wanted_JD - before_JD) / step_integrated_JW.gather(1, step_JD).clamp_min(tiny)).clamp(0.0, 1.0)
        time_JD = self._start_JW.gather(1, step_JD) + share_JD * self._length_JW.gather(1, step_JD)
        return time_JD.T.reshape(*leading, -1), step_JD.T.reshape(*leading, -1)

    def _integrated_until(self, seconds_DJ: Tensor) -> Tensor:
        """Integrate the total hazard from the window's beginning to the given times; to its end for later ones."""
        spent_JD = seconds_DJ.new_zeros(seconds_DJ.shape[::-1])
        for begin_J, length_J, hazard_J in zip(self._start_JW.T, self._length_JW.T, self._total_JW.T, strict=True):
            within_JD = torch.minimum((seconds_DJ.T - begin_J[:, None]).clamp_min(0.0), length_J[:, None])
            spent_JD = spent_JD + hazard_J[:, None] * within_JD
        return spent_JD.T

    def _locate(self, rt_seconds_J: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step of the window, seconds since its beginning, and whether the time lies within the window at all, its end included."""
        length_JW = self._length_JW
        end_JW = length_JW.detach().cumsum(-1).contiguous()
        last_J = end_JW[:, -1].contiguous()
        rt_seconds_J = rt_seconds_J.to(length_JW.dtype)
        # A sum over steps may end a rounding error before the window does.
        rounding = length_JW.shape[1] * torch.finfo(length_JW.dtype).eps
        inside_J = (rt_seconds_J >= 0) & (rt_seconds_J <= last_J * (1 + rounding)) & (last_J > 0)
        rt_seconds_J = torch.minimum(rt_seconds_J, last_J)
        step_J = torch.searchsorted(end_JW, rt_seconds_J.detach()[:, None], right=True)[:, 0]
        # The very end belongs to the last step that the window covers.
        step_J = torch.minimum(step_J, torch.searchsorted(end_JW, last_J[:, None])[:, 0])
        into_J = rt_seconds_J - self._start_JW[torch.arange(len(step_J), device=step_J.device), step_J]
        return step_J, into_J, inside_J


def first_press(
    press_probability_JWA: Tensor, covered_JW: Tensor, step_seconds: float, queue: Queue | None = None
) -> tuple[Tensor, Tensor]:
    """Return presses decoded as in the paper: the first step after the onset whose press output exceeds 0.5.

    Parameters
    ----------
    press_probability_JWA : (J, W, A) Tensor
        Sigmoid of the readout, in the response window (`windows` cuts it out).
    covered_JW : (J, W) Tensor
    step_seconds : float
    queue : Queue, optional
        Where windows overlap: the step at which one trial is answered does not answer the next one too.

    Returns
    -------
    choice_J : (J,) int64 Tensor
        Alternative with the largest output at that step; -1 where there is no press.
    rt_seconds_J : (J,) Tensor
        From the onset to that step's end within the window; NaN where there is no press.
    """
    over_JW = (press_probability_JWA.amax(-1) > 0.5) & (covered_JW > 0)
    end_JW = covered_JW.cumsum(-1) * step_seconds
    if queue is not None:
        done_J = torch.zeros_like(end_JW[:, 0])
        for rows_L in queue.levels():
            before_L = queue.previous_J[rows_L]
            spacing_L = queue.spacing_steps_J[rows_L].to(end_JW) * step_seconds
            wait_L = torch.where(before_L >= 0, done_J[before_L.clamp_min(0)] - spacing_L, 0.0).clamp_min(0.0)
            start_LW = end_JW[rows_L] - covered_JW[rows_L] * step_seconds
            over_JW[rows_L] &= start_LW >= wait_L[:, None] - 1e-6
            found_L = over_JW[rows_L].any(-1)
            pressed_L = end_JW[rows_L, over_JW[rows_L].int().argmax(-1)]
            done_J[rows_L] = torch.where(found_L, pressed_L, torch.maximum(end_JW[rows_L, -1], wait_L))
    any_J = over_JW.any(-1)
    step_J = over_JW.int().argmax(-1)
    trial_J = torch.arange(len(step_J), device=step_J.device)
    choice_J = press_probability_JWA[trial_J, step_J].argmax(-1)
    rt_seconds_J = end_JW[trial_J, step_J]
    return choice_J.masked_fill(~any_J, -1), rt_seconds_J.masked_fill(~any_J, torch.nan)


def _first_moment_over(values: Tensor) -> Tensor:
    """(1 - exp(-x) (1 + x)) / x^2, 1/2 at x = 0."""
    safe = values.clamp_min(0.03)
    small = values.clamp_max(0.03)
    series = 0.5 - small / 3 + small**2 / 8 - small**3 / 30 + small**4 / 144 - small**5 / 840
    return torch.where(values < 0.03, series, (-torch.expm1(-safe) - safe * torch.exp(-safe)) / safe**2)
