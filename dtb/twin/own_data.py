"""Which of a person's own data are given: the first trials, the first minutes of BOLD, some tasks, some sessions.

A batch is divided into what is given (`restricted`) and all the rest (`remaining`): the twin is conditioned on the one and compared with
the other. Only what counts is divided. Stimuli stay, for the network must see what the person saw before.

Shape letters: see `dtb.twin.batch`; `P` is a trial in the order of time, and `Q` a volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dtb.twin.batch import Batch

_ROUNDING_STEPS = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnData:
    """Which of their own data people are known by. What is not restricted is given whole.

    Attributes
    ----------
    trials : int or None
        First usable trials of each task, in the order of sessions, runs and onsets; None for all, 0 for none.
    bold_seconds : float or None
        First seconds of BOLD, summed over runs in that order; None for all, 0 for none.
    tasks : tuple of str or None
        Names of the tasks.
    sessions : tuple of int or None
        Places of the sessions among the person's own, from 0.
    """

    trials: int | None = None
    bold_seconds: float | None = None
    tasks: tuple[str, ...] | None = None
    sessions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse negative amounts."""
        for name in ("trials", "bold_seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"`{name}` is {value}; give 0 or more, or None for all")


def restricted(batch: Batch, own: OwnData, tasks: Sequence[str] = ()) -> Batch:
    """Return the batch with only those presses and volumes counted that are given.

    Parameters
    ----------
    batch : Batch
    own : OwnData
    tasks : sequence of str
        Names of the tasks in the order of the task set; needed where `own` names tasks.

    Returns
    -------
    Batch
        Of each given trial its time at risk and its press; a trial that is not given is not usable.

    Raises
    ------
    ValueError
        `own` names a task that is not among `tasks`.
    """
    return _counting(batch, *_given(batch, own, tasks), complement=False)


def remaining(batch: Batch, own: OwnData, tasks: Sequence[str] = ()) -> Batch:
    """Return the batch with only those presses and volumes counted that are not given.

    Parameters
    ----------
    batch : Batch
    own : OwnData
    tasks : sequence of str
        As for `restricted`.

    Returns
    -------
    Batch
        What counts in `batch` and not in ``restricted(batch, own)``.
    """
    return _counting(batch, *_given(batch, own, tasks), complement=True)


def only(batch: Batch, given_J: Tensor, given_SKV: Tensor) -> Batch:
    """Return the batch with only some of its trials and volumes counted.

    Parameters
    ----------
    batch : Batch
    given_J : (J,) bool Tensor
        Rows of `batch.trials`.
    given_SKV : (S, K, V) bool Tensor
    """
    return _counting(batch, given_J & batch.trials.usable_J, given_SKV, complement=False)


def _given(batch: Batch, own: OwnData, tasks: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return which trials (J,) and which counted volumes (S, K, V) are given."""
    given_SK = _given_segments(batch, own, tasks)
    trials = batch.trials
    given_J = trials.usable_J & given_SK[trials.subject_J, trials.segment_J]
    if own.trials is not None:
        given_J = given_J & (_place_within_task(batch, given_J) < own.trials)
    given_SKV = batch.bold_counted_SKV & given_SK[..., None]
    if own.bold_seconds is not None:
        given_SKV = given_SKV & (_seconds_before(batch, given_SKV) < own.bold_seconds - _ROUNDING_STEPS)
    return given_J, given_SKV


def _given_segments(batch: Batch, own: OwnData, tasks: Sequence[str]) -> Tensor:
    given_SK = batch.task_SK >= 0
    if own.tasks is not None:
        unknown = [name for name in own.tasks if name not in tasks]
        if unknown:
            known = ", ".join(tasks) or "none were named"
            raise ValueError(f"task {unknown[0]!r} is not among the batch's tasks ({known})")
        wanted = torch.tensor([list(tasks).index(name) for name in own.tasks], device=batch.task_SK.device)
        given_SK = given_SK & torch.isin(batch.task_SK, wanted)
    if own.sessions is not None:
        wanted = torch.tensor(own.sessions, device=batch.session_SK.device)
        given_SK = given_SK & torch.isin(batch.session_SK, wanted)
    return given_SK


def _place_within_task(batch: Batch, among_J: Tensor) -> Tensor:
    """Return the place in time, from 0, of each trial of `among_J` among those of its person and task."""
    trials = batch.trials
    session_J = batch.session_SK[trials.subject_J, trials.segment_J]
    keys = (trials.trial_J, trials.run_J, session_J, trials.task_J, trials.subject_J)
    order_P = torch.from_numpy(np.lexsort([key.cpu().numpy() for key in keys])).to(among_J.device)
    counted_P = among_J[order_P].long()
    before_P = counted_P.cumsum(0) - counted_P
    group_P = trials.subject_J[order_P] * (trials.task_J.max() + 1 if len(order_P) else 1) + trials.task_J[order_P]
    begins_P = torch.ones_like(among_J)
    begins_P[1:] = group_P[1:] != group_P[:-1]
    at_group_P = torch.where(begins_P, before_P, 0).cummax(0).values if len(order_P) else before_P
    place_J = torch.empty_like(before_P)
    place_J[order_P] = before_P - at_group_P
    return place_J


def _seconds_before(batch: Batch, among_SKV: Tensor) -> Tensor:
    """Return how many seconds of BOLD a person has before each volume of `among_SKV`, over sessions and runs in their order."""
    before_SKV = torch.zeros(among_SKV.shape, dtype=torch.float64)
    seconds_SKV = (batch.start_seconds_SK[..., None] + batch.volume_seconds_SKV.double()).cpu()
    session_SK, run_SK, among_cpu_SKV = batch.session_SK.cpu(), batch.run_SK.cpu(), among_SKV.cpu()
    for person in range(len(batch)):
        segment_Q, volume_Q = among_cpu_SKV[person].nonzero(as_tuple=True)
        when_Q = seconds_SKV[person, segment_Q, volume_Q].numpy()
        keys = session_SK[person, segment_Q].numpy(), run_SK[person, segment_Q].numpy()
        order_Q = np.lexsort([when_Q, keys[1], keys[0]])
        same_run_Q = (np.diff(keys[0][order_Q]) == 0) & (np.diff(keys[1][order_Q]) == 0)
        apart_Q = np.diff(when_Q[order_Q])
        # A volume lasts until the next one of its run; where a run ends or volumes are left out, as long as they usually do.
        usual = float(np.median(apart_Q[same_run_Q])) if same_run_Q.any() else 0.0
        lasts_Q = np.where(same_run_Q, np.minimum(apart_Q, usual), usual)
        places = torch.from_numpy(order_Q)
        before_SKV[person, segment_Q[places], volume_Q[places]] = torch.from_numpy(
            np.concatenate([np.zeros(min(1, len(order_Q))), np.cumsum(lasts_Q)])
        )
    return before_SKV.to(among_SKV.device)


def _counting(batch: Batch, given_J: Tensor, given_SKV: Tensor, *, complement: bool) -> Batch:
    """Return the batch with the given trials and volumes counted, or all the others that count."""
    given_SKT, pressed_SKT = _waiting(batch, given_J)
    given_SKT = torch.minimum(given_SKT, batch.at_risk_SKT)
    trials, at_risk_SKT = batch.trials, given_SKT
    if complement:
        at_risk_SKT = batch.at_risk_SKT - given_SKT
        # What is left of rounding would be a risk where nobody waits.
        at_risk_SKT = torch.where(at_risk_SKT > _ROUNDING_STEPS, at_risk_SKT, 0.0)
        given_J, given_SKV, pressed_SKT = ~given_J, ~given_SKV, ~pressed_SKT
    press_SKTA = batch.press_SKTA & pressed_SKT[..., None]
    return dataclasses.replace(
        batch,
        press_SKTA=press_SKTA,
        at_risk_SKT=at_risk_SKT,
        counted_SKT=batch.counted_SKT & ((at_risk_SKT > 0) | press_SKTA.any(-1)),
        bold_counted_SKV=batch.bold_counted_SKV & given_SKV,
        trials=dataclasses.replace(trials, usable_J=trials.usable_J & given_J),
    )


def _waiting(batch: Batch, given_J: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of each step in which a given trial waits for its press, and the steps of their presses, both (S, K, T).

    No moment counts for two trials, by the rule of `dtb.tasks.trials.Trials.at_risk_seconds`.
    """
    trials, at_risk_SKT = batch.trials, batch.at_risk_SKT
    num_segments, num_steps = at_risk_SKT.shape[1:]
    place_J = trials.subject_J * num_segments + trials.segment_J
    order_P = torch.from_numpy(np.lexsort([trials.onset_steps_J.cpu().numpy(), place_J.cpu().numpy()]))
    order_P = order_P.to(place_J.device)
    place_P, onset_P, given_P = place_J[order_P], trials.onset_steps_J[order_P], given_J[order_P]
    pressed_P = trials.response_JA[order_P].any(-1)
    rt_P = trials.rt_seconds_J[order_P].nan_to_num(0.0) / batch.step_seconds
    answered_P = onset_P + torch.where(pressed_P, rt_P, 0.0)
    window_end_P = onset_P + trials.window_steps_J[order_P]
    same_P = place_P[1:] == place_P[:-1]
    next_onset_P = torch.full_like(onset_P, torch.inf)
    next_onset_P[:-1] = torch.where(same_P, onset_P[1:], torch.inf)
    cut_P = ~pressed_P & (next_onset_P < window_end_P - _ROUNDING_STEPS)
    end_P = torch.where(pressed_P, answered_P, torch.where(cut_P, next_onset_P, window_end_P))
    # The latest answer before each trial in its segment; segments are told apart by far larger numbers.
    counts_P = pressed_P & trials.usable_J[order_P]
    apart = 2.0 * (num_steps + float(window_end_P.max() if len(order_P) else 0.0) + 1.0)
    latest_P = torch.where(counts_P, answered_P, -torch.inf) + place_P * apart
    earlier_P = torch.full_like(onset_P, -torch.inf)
    if len(order_P) > 1:
        earlier_P[1:] = latest_P.cummax(0).values[:-1] - place_P[1:] * apart
    waits_P = earlier_P > onset_P + _ROUNDING_STEPS
    from_P = torch.where(waits_P, earlier_P, onset_P)

    step_T = torch.arange(num_steps, dtype=onset_P.dtype, device=onset_P.device)
    place_Q, from_Q, end_Q = place_P[given_P], from_P[given_P], end_P[given_P]
    share_QT = torch.minimum(step_T + 1, end_Q[:, None]) - torch.maximum(step_T, from_Q[:, None])
    given_DT = at_risk_SKT.new_zeros(at_risk_SKT[..., 0].numel(), num_steps)
    given_DT.index_add_(0, place_Q, share_QT.clamp_min(0.0).to(given_DT))

    presses_DT = batch.press_SKTA.any(-1).flatten(0, 1)
    pressed_DT = torch.zeros_like(presses_DT)
    chosen_P = given_P & pressed_P
    place_Q, end_Q, waited_Q = place_P[chosen_P], end_P[chosen_P], waits_P[chosen_P]
    # Rounding may put an answer at a step's edge into either; an answer in the step of the one waited for counts in the next.
    for shift, allowed_Q in ((-_ROUNDING_STEPS, None), (_ROUNDING_STEPS, None), (1.0, waited_Q)):
        step_Q = (end_Q + shift).floor().long()
        inside_Q = (step_Q >= 0) & (step_Q < num_steps)
        if allowed_Q is not None:
            inside_Q = inside_Q & allowed_Q
        pressed_DT[place_Q[inside_Q], step_Q[inside_Q]] = True
    shape = at_risk_SKT.shape
    return given_DT.view(shape), (pressed_DT & presses_DT).view(shape)
