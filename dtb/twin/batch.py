"""The twin's input: some people's connectomes, stimuli, responses and BOLD, padded to one shape.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `I` stimulus channel, `A` response alternative, `R` BOLD
region, `E` connectome edge, `J` trial (over the whole batch).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dtb.twin.host import sent


@dataclasses.dataclass(frozen=True, eq=False)
class TrialTensors:
    """The trials of a batch, one row a trial, for metrics and simulation; the loss needs only the dense targets.

    Attributes
    ----------
    subject_J, segment_J : (J,) int64
        Where the trial lies in the batch.
    run_J, trial_J : (J,) int64
        The trial's place in its person's record: `record.runs[run].trials` and row within it.
    onset_steps_J, window_steps_J : (J,) float64
        Onset and length of the response window within the segment, in model steps, not rounded.
    rt_seconds_J : (J,) float64
        NaN without a press.
    response_JA, correct_JA : (J, A) bool
    scored_J, usable_J, held_out_J : (J,) bool
        See `dtb.tasks.trials.Trials`; `held_out_J` says whether the trial tests, of a split that tests the people it trains on.
    condition_J, task_J : (J,) int64
        Index of the condition within its task, and of the task within the task set.
    """

    subject_J: Tensor
    segment_J: Tensor
    run_J: Tensor
    trial_J: Tensor
    onset_steps_J: Tensor
    window_steps_J: Tensor
    rt_seconds_J: Tensor
    response_JA: Tensor
    correct_JA: Tensor
    scored_J: Tensor
    usable_J: Tensor
    held_out_J: Tensor
    condition_J: Tensor
    task_J: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Some people's data. Step `t` of a segment covers the seconds from `t * step` to `(t + 1) * step` after its beginning.

    Attributes
    ----------
    pseudonyms : list of str
        One a person.
    seed_S : (S,) int64
        Seed of what is random about each person (dropout, noise): depends on person, epoch and configuration alone.
    weight_S : (S,) float32
        Weight in the loss; 0 for padding.
    connectome_SE : (S, E) float32
        Fisher z, NaN where absent.
    run_SK : (S, K) int64
        The segment's run in its person's record, `record.runs[run]`; -1 for a padded segment.
    session_SK : (S, K) int64
        Place of the run's session among its person's, from 0; 0 where there is but one.
    start_seconds_SK : (S, K) float64
        When the segment begins, in its run's seconds; negative where the burn-in lies before the run.
    stimulus_SKTI : (S, K, T, I) float32
        Mean stimulus over each step.
    task_SK : (S, K) int64
        Index of the segment's task in the task set; -1 for a padded segment.
    press_SKTA : (S, K, T, A) bool
        True at the step of a press for each alternative that agrees with it.
    at_risk_SKT : (S, K, T) float32
        Share of the step during which a press was possible and had not happened; 0 where nothing is known or no loss is wanted.
    counted_SKT : (S, K, T) bool
        Whether it is known, and wanted, if there was a press in the step at all, between trials too: what the paper's loss per step counts.
    bold_SKVR : (S, K, V, R) float32
        NaN where absent.
    bold_counted_SKV : (S, K, V) bool
        Whether the volume exists and carries loss (it does not in the burn-in); with `bold: direct`, whether the spline goes through it.
    bold_steps_SKT : (S, K, T) bool
        Whether BOLD is wanted in the step: what the paper's loss per step counts, between the first and the last volume.
    volume_seconds_SKV : (S, K, V) float32
        Time of each volume after the segment's beginning.
    trials : TrialTensors
    step_seconds : float
        Length of a model step.
    """

    pseudonyms: list[str]
    seed_S: Tensor
    weight_S: Tensor
    connectome_SE: Tensor
    run_SK: Tensor
    session_SK: Tensor
    start_seconds_SK: Tensor
    stimulus_SKTI: Tensor
    task_SK: Tensor
    press_SKTA: Tensor
    at_risk_SKT: Tensor
    counted_SKT: Tensor
    bold_SKVR: Tensor
    bold_counted_SKV: Tensor
    bold_steps_SKT: Tensor
    volume_seconds_SKV: Tensor
    trials: TrialTensors
    step_seconds: float

    def __len__(self) -> int:
        """Number of people."""
        return len(self.pseudonyms)

    def __getitem__(self, people: int | slice | ArrayLike) -> Batch:
        """Return some of the people, with their trials.

        Parameters
        ----------
        people : int, slice, or array of int or bool
            Places in the batch; somebody may be taken twice. One number gives a batch of one person.

        Returns
        -------
        Batch
            Weights are scaled to the sum that they have in the whole batch, so that the loss of a part is a mean over its people.

        Raises
        ------
        IndexError
            There is no such place.

        Examples
        --------
        >>> from dtb.config import TwinConfig
        >>> from dtb.twin import Twin, TwinSizes, batch_from_arrays
        >>> twin = Twin(TwinConfig(num_hidden=4), TwinSizes(num_regions=3, num_channels=1, num_alternatives=1, num_bold_regions=0))
        >>> batch = batch_from_arrays(twin, np.zeros((5, 3)), np.zeros((5, 1, 20, 1)), press_SKTA=np.zeros((5, 1, 20, 1)))
        >>> batch[3].pseudonyms, batch[1:3].pseudonyms, batch[[4, 0]].pseudonyms
        (['3'], ['1', '2'], ['4', '0'])
        """
        places_S = np.arange(len(self))
        chosen_S = torch.from_numpy(np.atleast_1d(places_S[_index(people)]).copy())
        chosen_on_device_S = chosen_S.to(self.seed_S.device)
        rows: dict[str, Any] = {
            name: value[chosen_on_device_S] for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        share = self.weight_S.sum() / rows["weight_S"].sum()
        rows["weight_S"] = torch.where(rows["weight_S"] > 0, rows["weight_S"] * share, 0.0)
        # Each trial of each chosen person, in the order of the people: a person taken twice has each trial twice.
        place_D, trial_D = (chosen_on_device_S[:, None] == self.trials.subject_J).nonzero(as_tuple=True)
        trials = TrialTensors(**{name: value[trial_D] for name, value in vars(self.trials).items()})
        trials = dataclasses.replace(trials, subject_J=place_D)
        return dataclasses.replace(self, pseudonyms=[self.pseudonyms[who] for who in chosen_S], trials=trials, **rows)

    def to(self, device: torch.device | str) -> Batch:
        """Move every tensor to `device`."""
        return _moved(self, device)

    def repeat(self, times: int) -> Batch:
        """Return several copies of the people, one after another."""
        if times == 1:
            return self
        num_people = len(self.pseudonyms)
        rows: dict[str, Any] = {
            name: value.repeat(times, *[1] * (value.ndim - 1))
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        table = {name: value.repeat(times, *[1] * (value.ndim - 1)) for name, value in vars(self.trials).items()}
        rounds_J = torch.arange(times, device=self.trials.subject_J.device).repeat_interleave(
            len(self.trials.subject_J)
        )
        table["subject_J"] = table["subject_J"] + num_people * rounds_J
        return dataclasses.replace(self, pseudonyms=self.pseudonyms * times, trials=TrialTensors(**table), **rows)


def _index(people: int | slice | ArrayLike) -> int | slice | np.ndarray:
    """Return an index for NumPy; an empty list chooses nobody."""
    if isinstance(people, int | slice):
        return people
    chosen = np.asarray(people)
    return chosen.astype(np.int64) if chosen.size == 0 else chosen


def _moved(table, device):  # type: ignore[no-untyped-def]
    values = {field.name: getattr(table, field.name) for field in dataclasses.fields(table)}
    for name, value in values.items():
        if isinstance(value, Tensor):
            values[name] = sent(value, device)
        elif isinstance(value, TrialTensors):
            values[name] = _moved(value, device)
    return dataclasses.replace(table, **values)
