"""What an intervention is judged by: figures of a simulated performance that are differentiable in the connectome.

Nothing is sampled and nothing is counted: reaction times and choices are expectations under the press-time distribution, BOLD
contrasts are the effect sizes of a general linear model. Each is one number a person.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `A` response alternative, `R` BOLD region, `E` connectome edge,
`J` trial, `M` indicator, `N` run of a person, `P` column of a linear model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dtb.twin.batch import Batch
from dtb.twin.model import Twin, TwinOutput
from dtb.twin.readouts.press import PressDistribution, windows

Kind = Literal["mean_rt", "condition_rt", "accuracy", "choice", "bold_contrast", "bold_t"]
UNITS: dict[Kind, str] = {
    "mean_rt": "s",
    "condition_rt": "s",
    "accuracy": "probability",
    "choice": "probability",
    "bold_contrast": "SD of BOLD",
    "bold_t": "t",
}


@dataclasses.dataclass(frozen=True)
class TaskOutline:
    """What indicators need to know of a task.

    Attributes
    ----------
    name : str
    domain : str
        ``affective`` or ``cognitive``.
    contrast : tuple of float
        Weight of each condition in the task's contrast, in the order of its conditions; all 0 for a task without contrast.
    alternatives : tuple of str
        Those of the response slots that the task uses.
    """

    name: str
    domain: str
    contrast: tuple[float, ...]
    alternatives: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Indicator:
    """One figure a person.

    Attributes
    ----------
    kind : {"mean_rt", "condition_rt", "accuracy", "choice", "bold_contrast", "bold_t"}
        `mean_rt`: expected reaction time, given a press, over trials in which a press is right. `condition_rt`: its contrast between
        conditions. `accuracy`: probability of the right answer, withholding included. `choice`: probability of one alternative over all
        trials. `bold_contrast`: effect of the task's contrast on the BOLD of regions. `bold_t`: the same over its standard error in the
        linear model, which for a twin is what the model does not explain of a signal without noise.
    task : int
        Index into the task set.
    regions : tuple of int
        Indices among the BOLD regions: one, or those of a network, whose signals are averaged. Empty for behaviour.
    alternative : int or None
        Of `choice`, which of the task's alternatives.
    """

    kind: Kind
    task: int
    regions: tuple[int, ...] = ()
    alternative: int | None = None

    @property
    def unit(self) -> str:
        """Unit of the figure."""
        return UNITS[self.kind]


def list_indicators(tasks: Sequence[TaskOutline], num_bold_regions: int) -> list[Indicator]:
    """List what is looked at in every task; single choices, networks and t values are looked at only where they are the aim.

    Examples
    --------
    >>> tasks = [TaskOutline("stroop", "cognitive", (-1.0, 1.0), ("1", "2")), TaskOutline("rating", "affective", (), ("1", "2"))]
    >>> [(one.kind, one.task) for one in list_indicators(tasks, 0)]
    [('mean_rt', 0), ('condition_rt', 0), ('accuracy', 0), ('mean_rt', 1), ('accuracy', 1)]
    """
    found = []
    for index, task in enumerate(tasks):
        has_contrast = any(task.contrast)
        found.append(Indicator("mean_rt", index))
        if has_contrast:
            found.append(Indicator("condition_rt", index))
        found.append(Indicator("accuracy", index))
        if has_contrast:
            found.extend(Indicator("bold_contrast", index, (region,)) for region in range(num_bold_regions))
    return found


def press_distribution(twin: Twin, output: TwinOutput, batch: Batch, tasks: Sequence[TaskOutline]) -> PressDistribution:
    """Return the distribution of each trial's press; response slots that its task does not use cannot be pressed."""
    hazard_JWA, covered_JW = windows(twin.hazards(output), batch.trials)
    slots_A = torch.arange(hazard_JWA.shape[-1], device=hazard_JWA.device)
    num_slots_J = torch.tensor([len(task.alternatives) for task in tasks], device=hazard_JWA.device)[
        batch.trials.task_J
    ]
    usable_JA = slots_A < num_slots_J[:, None]
    hazard_JWA = torch.where(usable_JA[:, None], hazard_JWA, 0.0)
    return PressDistribution.of(hazard_JWA, covered_JW, batch.trials, twin.config.step_seconds)


class Performance:
    """Simulates some people and measures every indicator, as a differentiable function of their connectomes.

    Parameters
    ----------
    twin : Twin
        In evaluation mode.
    batch : Batch
        The people's own stimuli and trials.
    contrast_SKV : (S, K, V) Tensor
        Weights with which a run's volumes enter the contrast of its task, as in a general linear model; 0 where they do not.
    tasks : sequence of TaskOutline
    indicators : sequence of Indicator
    basis_SKVP : (S, K, V, P) Tensor, optional
        Orthonormal basis of what the linear model of each volume's run explains; needed for `bold_t`.
    """

    def __init__(
        self,
        twin: Twin,
        batch: Batch,
        contrast_SKV: Tensor,
        tasks: Sequence[TaskOutline],
        indicators: Sequence[Indicator],
        basis_SKVP: Tensor | None = None,
    ) -> None:
        self._twin = twin
        self._once = batch, contrast_SKV
        self._basis_SKVP = basis_SKVP
        self._indicators = list(indicators)
        self._tasks = list(tasks)
        self._with_bold = any(one.regions for one in indicators)
        self._lay_out(1)

    def _lay_out(self, times: int) -> None:
        """Prepare for people that come several times over; what depends on the design alone is made once for a whole search."""
        batch, contrast_SKV = self._once
        self._times = times
        self._batch, self._contrast_SKV = batch.repeat(times), contrast_SKV.repeat(times, 1, 1)
        self._rows = {task: self._trial_weights(task) for task in {one.task for one in self._indicators}}

    def has(self, place: int) -> Tensor:
        """(S,) bool: who has the data for an indicator."""
        one = self._indicators[place]
        if one.regions:
            return self._has_contrast(one.task)
        return self._rows[one.task][one.kind][1]

    def _has_contrast(self, task: int) -> Tensor:
        of_task_SK = self._batch.task_SK == task
        return (of_task_SK[..., None] & (self._contrast_SKV != 0)).any(-1).any(-1)

    def __call__(self, connectome_SE: Tensor) -> Tensor:
        """Simulate, and give the (S, M) indicators; NaN where a person has no data on the task.

        Given 2S or more connectomes, the people repeat in the same order.
        """
        output, batch = self.perform(connectome_SE)
        return self.measure(output, press_distribution(self._twin, output, batch, self._tasks))

    def perform(self, connectome_SE: Tensor) -> tuple[TwinOutput, Batch]:
        """Simulate as for a call, and give what the twins did, and the batch with the people as often as they performed."""
        times = len(connectome_SE) // len(self._once[0].pseudonyms)
        if times != self._times:
            self._lay_out(times)
        batch = self._batch
        given_SE = connectome_SE.to(batch.stimulus_SKTI.dtype)
        output = self._twin(given_SE, batch.stimulus_SKTI, batch.seed_S, with_bold=self._with_bold)
        return output, batch

    def measure(self, output: TwinOutput, presses: PressDistribution) -> Tensor:
        """Return the (S, M) indicators of what `perform` gave; `presses` is its `press_distribution`."""
        batch = self._batch
        rt_J = presses.mean_rt_J()
        choice_JA = presses.choice_probability_JA()
        right_J = torch.where(
            batch.trials.correct_JA.any(-1),
            (choice_JA * batch.trials.correct_JA).sum(-1),
            presses.omission_probability_J(),
        )
        bold_SKVR = bold_SKR = None
        if self._with_bold:
            bold_SKVR = self._twin.bold(output, batch.volume_seconds_SKV)
            bold_SKR = torch.einsum("skv,skvr->skr", self._contrast_SKV.to(bold_SKVR.dtype), bold_SKVR)
        found = []
        for one in self._indicators:
            if one.kind == "bold_t":
                assert bold_SKVR is not None
                series_SKV = bold_SKVR[..., list(one.regions)].mean(-1)
                found.append(self._t(one.task, series_SKV, batch, self._contrast_SKV).to(rt_J.dtype))
            elif one.kind == "choice":
                found.append(self._measure(one, rt_J, choice_JA[:, one.alternative], None))
            else:
                found.append(self._measure(one, rt_J, right_J, bold_SKR))
        return torch.stack(found, dim=1)

    def _t(self, task: int, series_SKV: Tensor, batch: Batch, contrast_SKV: Tensor) -> Tensor:
        """Return the effect of a contrast on a signal over its standard error, (S,) float64; NaN where a person has none."""
        assert self._basis_SKVP is not None
        times = len(series_SKV) // len(self._basis_SKVP)
        of_task_SK = batch.task_SK == task
        weight_SKV = torch.where(of_task_SK[..., None], contrast_SKV, 0.0).double()
        has_S = (weight_SKV != 0).any(-1).any(-1)
        basis_SKVP = torch.where(of_task_SK[..., None, None], self._basis_SKVP.repeat(times, 1, 1, 1), 0.0)
        used_SKV = basis_SKVP.square().sum(-1)
        series_SKV = torch.where(used_SKV > 0, series_SKV.double(), 0.0)
        runs = torch.arange(max(1, int(batch.run_SK.max()) + 1), device=series_SKV.device)
        in_run_SKN = (batch.run_SK[..., None] == runs).double()
        fitted_SNP = torch.einsum("skvp,skv,skn->snp", basis_SKVP, series_SKV, in_run_SKN)
        total_SN = torch.einsum("skv,skn->sn", series_SKV.square(), in_run_SKN)
        # The squares of an orthonormal basis sum to its number of columns.
        freedom_SN = torch.einsum("skv,skn->sn", (used_SKV > 0).double() - used_SKV, in_run_SKN)
        error_SN = (total_SN - fitted_SNP.square().sum(-1)).clamp_min(0.0) / freedom_SN.clamp_min(1.0)
        variance_S = (error_SN * torch.einsum("skv,skn->sn", weight_SKV.square(), in_run_SKN)).sum(1)
        effect_S = (weight_SKV * series_SKV).sum((1, 2))
        return torch.where(has_S, effect_S / variance_S.clamp_min(1e-24).sqrt(), torch.nan)

    def halves_apart(self, indicator: Indicator) -> Tensor:
        """Return what people did in even minus what they did in odd trials, (S,); NaN where it cannot be told, and for BOLD, whose trials
        overlap."""
        if indicator.regions:
            return torch.full((len(self._once[0].pseudonyms),), torch.nan, dtype=torch.float64)
        even_J = self._once[0].trials.trial_J % 2 == 0
        return self.observed(indicator, even_J) - self.observed(indicator, ~even_J)

    def observed(self, indicator: Indicator, among_J: Tensor | None = None) -> Tensor:
        """Return what people did themselves, (S,); NaN where a person has no data on the task.

        Parameters
        ----------
        indicator : Indicator
        among_J : (J,) bool Tensor, optional
            Which trials to look at; not for BOLD.
        """
        batch, contrast_SKV = self._once
        trials, num_people = batch.trials, len(batch.pseudonyms)
        if indicator.regions:
            chosen = list(indicator.regions)
            series_SKVR = (batch.bold_SKVR[..., chosen] / self._twin.bold_scale_R[chosen]).nan_to_num()
            series_SKV = series_SKVR.mean(-1)
            if indicator.kind == "bold_t":
                return self._t(indicator.task, series_SKV, batch, contrast_SKV)
            of_task_SK = batch.task_SK == indicator.task
            effect_S = (torch.where(of_task_SK[..., None], contrast_SKV, 0.0) * series_SKV).sum((1, 2)).double()
            has_S = (of_task_SK[..., None] & (contrast_SKV != 0)).any(-1).any(-1)
            return torch.where(has_S, effect_S, torch.nan)
        of_task_J = (trials.task_J == indicator.task) & trials.usable_J
        if among_J is not None:
            of_task_J = of_task_J & among_J
        if indicator.kind == "accuracy":
            right_J = (trials.response_JA & trials.correct_JA).any(-1)
            withheld_J = ~trials.response_JA.any(-1) & ~trials.correct_JA.any(-1)
            return _mean(of_task_J & trials.scored_J, (right_J | withheld_J).double(), trials.subject_J, num_people)
        if indicator.kind == "choice":
            chosen_J = trials.response_JA[:, indicator.alternative].double()
            return _mean(of_task_J, chosen_J, trials.subject_J, num_people)
        pressed_J = of_task_J & trials.rt_seconds_J.isfinite() & (trials.correct_JA.any(-1) | ~trials.scored_J)
        if indicator.kind == "mean_rt":
            return _mean(pressed_J, trials.rt_seconds_J, trials.subject_J, num_people)
        return sum(
            (
                share
                * _mean(pressed_J & (trials.condition_J == place), trials.rt_seconds_J, trials.subject_J, num_people)
                for place, share in enumerate(self._tasks[indicator.task].contrast)
                if share
            ),
            start=torch.zeros(num_people, dtype=torch.float64, device=pressed_J.device),
        )

    def _measure(self, indicator: Indicator, rt_J: Tensor, right_J: Tensor, bold_SKR: Tensor | None) -> Tensor:
        if indicator.kind == "bold_contrast":
            assert bold_SKR is not None
            of_task_SK = self._batch.task_SK == indicator.task
            effect_SK = bold_SKR[..., list(indicator.regions)].mean(-1)
            effect_S = torch.where(of_task_SK, effect_SK, 0.0).sum(1)
            return torch.where(self._has_contrast(indicator.task), effect_S, torch.nan)
        weight_J, has_S = self._rows[indicator.task][indicator.kind]
        value_J = right_J if indicator.kind in {"accuracy", "choice"} else rt_J
        # Trials without weight are left out by selection, so that no gradient comes of them.
        weighted_J = torch.where(weight_J != 0, value_J, 0.0) * weight_J.to(value_J.dtype)
        sum_S = weighted_J.new_zeros(len(has_S)).index_add(0, self._batch.trials.subject_J, weighted_J)
        return torch.where(has_S, sum_S, torch.nan)

    def _trial_weights(self, task: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Give, for each kind, the weight of each trial in its person's figure, and who has one."""
        trials, num_people = self._batch.trials, len(self._batch.pseudonyms)
        of_task_J = trials.task_J == task
        to_press_J = of_task_J & (trials.correct_JA.any(-1) | ~trials.scored_J)
        rows = {
            "mean_rt": _mean_weights(to_press_J, trials.subject_J, num_people),
            "accuracy": _mean_weights(of_task_J & trials.scored_J, trials.subject_J, num_people),
            "choice": _mean_weights(of_task_J, trials.subject_J, num_people),
        }
        weight_J, has_S = rows["mean_rt"][0].new_zeros(len(of_task_J)), None
        for condition, share in enumerate(self._tasks[task].contrast):
            if share:
                mean_J, has_condition_S = _mean_weights(
                    to_press_J & (trials.condition_J == condition), trials.subject_J, num_people
                )
                weight_J = weight_J + share * mean_J
                has_S = has_condition_S if has_S is None else has_S & has_condition_S
        if has_S is not None:
            rows["condition_rt"] = weight_J, has_S
        return rows


def _mean(chosen_J: Tensor, value_J: Tensor, subject_J: Tensor, num_people: int) -> Tensor:
    """Average each person's chosen trials; NaN for those who have none."""
    weight_J, has_S = _mean_weights(chosen_J, subject_J, num_people)
    weighted_J = torch.where(chosen_J, value_J.double(), 0.0) * weight_J
    sum_S = torch.zeros(num_people, dtype=torch.float64, device=chosen_J.device).index_add(0, subject_J, weighted_J)
    return torch.where(has_S, sum_S, torch.nan)


def _mean_weights(chosen_J: Tensor, subject_J: Tensor, num_people: int) -> tuple[Tensor, Tensor]:
    """Return weights that average each person's chosen trials, and who has any."""
    count_S = torch.zeros(num_people, dtype=torch.float64, device=chosen_J.device).index_add(
        0, subject_J, chosen_J.double()
    )
    return chosen_J.double() / count_S.clamp_min(1.0)[subject_J], count_S > 0
