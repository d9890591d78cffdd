"""The indicators of an intervention: figures of a simulation, differentiable with respect to the connectome.

Nothing is sampled and nothing is counted: reaction times and choices are expectations under the press-time distribution, BOLD
contrasts are the effect sizes of a general linear model. Each is one number a person; which kinds there are says `dtb.intervene.kinds`.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `A` response alternative, `R` BOLD region, `E` connectome edge,
`J` trial, `M` indicator, `N` run of a person, `P` column of a linear model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from dtb.intervene.kinds import INDICATORS, Indicator
from dtb.intervene.measures import LinearModel, Observed, Simulated, TaskTrials
from dtb.twin.batch import Batch
from dtb.twin.model import Twin, TwinOutput
from dtb.twin.readouts.press import PressDistribution, windows


@dataclasses.dataclass(frozen=True)
class TaskOutline:
    """What indicators need to know about a task.

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


def list_indicators(tasks: Sequence[TaskOutline], num_bold_regions: int) -> list[Indicator]:
    """Return the indicators of every task; single choices, networks and t values are included only if they are the target.

    Examples
    --------
    >>> tasks = [TaskOutline("stroop", "cognitive", (-1.0, 1.0), ("1", "2")), TaskOutline("rating", "affective", (), ("1", "2"))]
    >>> [(one.kind, one.task) for one in list_indicators(tasks, 0)]
    [('mean_rt', 0), ('condition_rt', 0), ('accuracy', 0), ('mean_rt', 1), ('accuracy', 1)]
    """
    found = []
    for index, task in enumerate(tasks):
        for kind in INDICATORS:
            if not kind.is_watched or (kind.needs_contrast and not any(task.contrast)):
                continue
            places = [(region,) for region in range(num_bold_regions)] if kind.of == "regions" else [()]
            found += [Indicator(kind.name, index, regions) for regions in places]
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
    effect_SZ : (S, Z) Tensor, optional
        What is added to the latents that are read from connectomes: these people's own effects, or a draw of them.
    """

    def __init__(
        self,
        twin: Twin,
        batch: Batch,
        contrast_SKV: Tensor,
        tasks: Sequence[TaskOutline],
        indicators: Sequence[Indicator],
        basis_SKVP: Tensor | None = None,
        effect_SZ: Tensor | None = None,
    ) -> None:
        self._twin = twin
        self._effect_SZ = effect_SZ
        self._once = batch, contrast_SKV
        self._basis_SKVP = basis_SKVP
        self._indicators = list(indicators)
        self._tasks = list(tasks)
        self._with_bold = any(one.regions for one in indicators)
        self._lay_out(1)

    def _lay_out(self, times: int) -> None:
        """Prepare for several copies of the people; what depends on the design alone is made once for a whole search."""
        batch, contrast_SKV = self._once
        self._times = times
        self._batch, self._contrast_SKV = batch.repeat(times), contrast_SKV.repeat(times, 1, 1)
        self._model = LinearModel(self._batch, self._contrast_SKV, self._basis_SKVP)
        self._weights = {
            (one.kind, one.task): weights(self._shown(self._batch, one.task))
            for one in self._indicators
            if (weights := INDICATORS[one.kind].weights) is not None
        }

    def _shown(self, batch: Batch, task: int) -> TaskTrials:
        return TaskTrials(batch, self._tasks[task].contrast, batch.trials.task_J == task)

    def has(self, place: int) -> Tensor:
        """Return who has the data for an indicator, (S,) bool."""
        one = self._indicators[place]
        if (one.kind, one.task) in self._weights:
            return self._weights[one.kind, one.task][1]
        return self._model.has(one.task)

    def __call__(self, connectome_SE: Tensor) -> Tensor:
        """Return the indicators (S, M) of a simulation; NaN if a person has no data on the task.

        Given 2S or more connectomes, the people repeat in the same order.
        """
        output, batch = self.perform(connectome_SE)
        return self.measure(output, press_distribution(self._twin, output, batch, self._tasks))

    def perform(self, connectome_SE: Tensor) -> tuple[TwinOutput, Batch]:
        """Return a simulation, as for a call, and the batch with one copy of the people for each connectome."""
        times = len(connectome_SE) // len(self._once[0].pseudonyms)
        if times != self._times:
            self._lay_out(times)
        batch = self._batch
        given_SE = connectome_SE.to(batch.stimulus_SKTI.dtype)
        generated = self._twin.generate(given_SE, batch.seed_S)
        if self._effect_SZ is not None and generated.latent_SZ is not None:
            own_SZ = self._effect_SZ.repeat(times, 1).to(generated.latent_SZ)
            generated = self._twin.hypernetwork.decode(generated.latent_SZ + own_SZ)
        output = self._twin.perform(generated, batch.stimulus_SKTI, batch.seed_S, with_bold=self._with_bold)
        return output, batch

    def measure(self, output: TwinOutput, presses: PressDistribution) -> Tensor:
        """Return the indicators (S, M) of a simulation from `perform`; `presses` is its `press_distribution`."""
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
        nothing = rt_J.new_zeros(0)
        found = []
        for one in self._indicators:
            weights_J, has_S = self._weights.get((one.kind, one.task), (nothing, nothing))
            does = Simulated(self._model, weights_J, has_S, presses, rt_J, choice_JA, right_J, bold_SKVR, bold_SKR)
            found.append(INDICATORS[one.kind].simulated(does, one))
        return torch.stack(found, dim=1)

    def halves_apart(self, indicator: Indicator) -> Tensor:
        """Return what people did in even minus what they did in odd trials, (S,); NaN where it cannot be told, and for BOLD, whose trials
        overlap."""
        if indicator.regions:
            return torch.full((len(self._once[0].pseudonyms),), torch.nan, dtype=torch.float64)
        even_J = self._once[0].trials.trial_J % 2 == 0
        return self.observed(indicator, even_J) - self.observed(indicator, ~even_J)

    def observed(self, indicator: Indicator, among_J: Tensor | None = None) -> Tensor:
        """Return people's observed indicator, (S,); NaN if a person has no data on the task.

        Parameters
        ----------
        indicator : Indicator
        among_J : (J,) bool Tensor, optional
            Which trials to look at; not for BOLD.
        """
        batch, contrast_SKV = self._once
        shown = self._shown(batch, indicator.task)
        used_J = shown.of_task_J & batch.trials.usable_J
        if among_J is not None:
            used_J = used_J & among_J
        model = LinearModel(batch, contrast_SKV, self._basis_SKVP)
        did = Observed(shown, used_J, model, self._twin.bold_scale_R)
        return INDICATORS[indicator.kind].observed(did, indicator)
