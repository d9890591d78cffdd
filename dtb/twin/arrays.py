"""From plain arrays to a batch, for whoever has trials and series at hand and needs no BIDS tree, shards or cluster.

Shape letters: see `dtb.twin.batch`; here `J` is a trial within a segment.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from dtb.twin.batch import Batch, TrialTable


def batch_from_arrays(
    connectome_SE: ArrayLike,
    stimulus_SKTI: ArrayLike,
    *,
    step_seconds: float,
    num_alternatives: int,
    onset_seconds_SKJ: ArrayLike,
    window_seconds: float,
    choice_SKJ: ArrayLike,
    rt_seconds_SKJ: ArrayLike,
    correct_SKJ: ArrayLike | None = None,
    bold_SKVR: ArrayLike | None = None,
    volume_seconds_V: ArrayLike | None = None,
    burn_in_seconds: float = 0.0,
    seed: int = 0,
) -> Batch:
    """Lay people's data out for `dtb.twin.objective.Objective` and `Twin.simulate`.

    Parameters
    ----------
    connectome_SE : (S, E) array
        Fisher z of the upper triangle; NaN where absent.
    stimulus_SKTI : (S, K, T, I) array
        Mean stimulus over each step.
    step_seconds : float
        Length of a step; that of the twin.
    num_alternatives : int
    onset_seconds_SKJ : (S, K, J) array
        When each trial's stimulus appeared, after its segment's beginning; NaN for no trial.
    window_seconds : float
        How long a press is possible.
    choice_SKJ : (S, K, J) int array
        Chosen alternative, from 0; -1 for an omission.
    rt_seconds_SKJ : (S, K, J) array
        Not read for omissions.
    correct_SKJ : (S, K, J) int array, optional
        Right alternative; -1 for none.
    bold_SKVR : (S, K, V, R) array, optional
        NaN where absent.
    volume_seconds_V : (V,) array, optional
        Times of the volumes after a segment's beginning.
    burn_in_seconds : float
        Volumes before this carry no loss.
    seed : int
        Of what is random about each person.

    Returns
    -------
    Batch
        Each person weighs the same.

    Raises
    ------
    ValueError
        Shapes do not fit, or a press lies outside its window or its segment.
    """
    connectome, stimulus = np.asarray(connectome_SE, np.float32), np.asarray(stimulus_SKTI, np.float32)
    people, segments, steps = stimulus.shape[:3]
    onset, choice = np.asarray(onset_seconds_SKJ, float), np.asarray(choice_SKJ, np.int64)
    rt = np.where(choice >= 0, np.asarray(rt_seconds_SKJ, float), np.nan)
    if len(connectome) != people or onset.shape != choice.shape or onset.shape[:2] != (people, segments):
        raise ValueError(
            f"connectome {connectome.shape}, stimulus {stimulus.shape}, onsets {onset.shape} and choices {choice.shape}"
        )
    there = np.isfinite(onset)
    pressed = there & (choice >= 0)
    if (
        not (rt[pressed] > 0).all()
        or (rt[pressed] > window_seconds).any()
        or choice.max(initial=-1) >= num_alternatives
    ):
        raise ValueError(f"reaction times must lie in (0, {window_seconds}] s and choices below {num_alternatives}")
    begin = onset / step_seconds
    end = np.where(pressed, onset + np.nan_to_num(rt), onset + window_seconds) / step_seconds
    if (end[pressed] >= steps).any() or (begin[there] < 0).any():
        raise ValueError(f"an onset or a press lies outside the {steps} steps of its segment")
    press = np.zeros((people, segments, steps, num_alternatives), bool)
    at_risk = np.zeros((people, segments, steps), np.float32)
    edges_T = np.arange(steps + 1)
    for place in np.argwhere(there):
        person, segment, _ = place
        at_risk[person, segment] += np.diff(np.clip(edges_T, begin[tuple(place)], end[tuple(place)]))
        if pressed[tuple(place)]:
            press[person, segment, int(end[tuple(place)]), choice[tuple(place)]] = True
    subject_J, segment_J, trial_J = (torch.from_numpy(axis) for axis in np.nonzero(there))
    right = np.full_like(choice, -1) if correct_SKJ is None else np.asarray(correct_SKJ, np.int64)
    num_trials = len(subject_J)
    volumes = np.zeros(0) if volume_seconds_V is None else np.asarray(volume_seconds_V, float)
    bold = np.zeros((people, segments, 0, 0)) if bold_SKVR is None else np.asarray(bold_SKVR)
    every_volume = np.broadcast_to(volumes, (people, segments, len(volumes)))
    return Batch(
        pseudonyms=[str(person) for person in range(people)],
        seed_S=torch.arange(people) + seed * people,
        weight_S=torch.full((people,), 1.0 / max(people, 1)),
        connectome_SE=torch.from_numpy(connectome),
        run_SK=torch.arange(segments).expand(people, -1).clone(),
        start_seconds_SK=torch.zeros(people, segments, dtype=torch.float64),
        stimulus_SKTI=torch.from_numpy(stimulus),
        task_SK=torch.zeros(people, segments, dtype=torch.int64),
        press_SKTA=torch.from_numpy(press),
        at_risk_SKT=torch.from_numpy(at_risk),
        counted_SKT=torch.ones(people, segments, steps, dtype=torch.bool),
        bold_SKVR=torch.from_numpy(bold.astype(np.float32)),
        bold_counted_SKV=torch.from_numpy(every_volume >= burn_in_seconds),
        bold_steps_SKT=torch.ones(people, segments, steps, dtype=torch.bool),
        volume_seconds_SKV=torch.from_numpy(every_volume.astype(np.float32)),
        trials=TrialTable(
            subject_J=subject_J,
            segment_J=segment_J,
            run_J=segment_J,
            trial_J=trial_J,
            onset_steps_J=torch.from_numpy(begin[there]),
            window_steps_J=torch.full((num_trials,), window_seconds / step_seconds, dtype=torch.float64),
            rt_seconds_J=torch.from_numpy(rt[there]),
            response_JA=torch.from_numpy(choice[there][:, None] == np.arange(num_alternatives)),
            correct_JA=torch.from_numpy(right[there][:, None] == np.arange(num_alternatives)),
            scored_J=torch.from_numpy(right[there] >= 0),
            usable_J=torch.ones(num_trials, dtype=torch.bool),
            held_out_J=torch.zeros(num_trials, dtype=torch.bool),
            condition_J=torch.full((num_trials,), -1),
            task_J=torch.zeros(num_trials, dtype=torch.int64),
        ),
    )
