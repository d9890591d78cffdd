"""From plain arrays to a batch, for whoever has trials and series at hand and needs no BIDS tree, shards or cluster.

Shape letters: see `dtb.twin.batch`; here `J` is a trial within a segment.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.model import Twin
from dtb.twin.sizes import check_shape


def batch_from_arrays(
    twin: Twin,
    connectome_SE: ArrayLike,
    stimulus_SKTI: ArrayLike,
    *,
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
    twin : Twin
        Whose data they are: its steps, edges, channels, alternatives and BOLD regions.
    connectome_SE : (S, E) array
        Fisher z of the upper triangle; NaN where absent.
    stimulus_SKTI : (S, K, T, I) array
        Mean stimulus over each of the twin's steps.
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
        Times of the volumes after a segment's beginning; needed where there is BOLD.
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
        A shape does not fit, a press lies outside its window or its segment, or a trial begins while another waits for its press.
    """
    sizes, step_seconds, num_alternatives = twin.sizes, twin.config.step_seconds, twin.sizes.num_alternatives
    connectome, stimulus = np.asarray(connectome_SE, np.float32), np.asarray(stimulus_SKTI, np.float32)
    check_shape("stimulus_SKTI", stimulus.shape, (None, None, None, sizes.num_channels))
    people, segments, steps, _ = stimulus.shape
    check_shape("connectome_SE", connectome.shape, (people, sizes.num_edges))
    onset, choice = np.asarray(onset_seconds_SKJ, float), np.asarray(choice_SKJ, np.int64)
    check_shape("onset_seconds_SKJ", onset.shape, (people, segments, None))
    right = np.full(onset.shape, -1) if correct_SKJ is None else np.asarray(correct_SKJ, np.int64)
    for name, array in (("choice_SKJ", choice), ("rt_seconds_SKJ", rt_seconds_SKJ), ("correct_SKJ", right)):
        check_shape(name, np.shape(array), onset.shape, "as the onsets")
    volumes = np.zeros(0) if volume_seconds_V is None else np.asarray(volume_seconds_V, float)
    check_shape("volume_seconds_V", volumes.shape, (None,))
    volume_shape = (people, segments, len(volumes), sizes.num_bold_regions)
    bold = np.full(volume_shape, np.nan) if bold_SKVR is None else np.asarray(bold_SKVR)
    check_shape("bold_SKVR", bold.shape, volume_shape, "with one volume for each of volume_seconds_V")
    rt = np.where(choice >= 0, np.asarray(rt_seconds_SKJ, float), np.nan)
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
    _refuse_overlaps(begin, end, step_seconds)
    press = np.zeros((people, segments, steps, num_alternatives), bool)
    at_risk = np.zeros((people, segments, steps), np.float32)
    edges_T = np.arange(steps + 1)
    for place in np.argwhere(there):
        person, segment, _ = place
        at_risk[person, segment] += np.diff(np.clip(edges_T, begin[tuple(place)], end[tuple(place)]))
        if pressed[tuple(place)]:
            press[person, segment, int(end[tuple(place)]), choice[tuple(place)]] = True
    subject_J, segment_J, trial_J = (torch.from_numpy(axis) for axis in np.nonzero(there))
    num_trials = len(subject_J)
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
        trials=TrialTensors(
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


def _refuse_overlaps(begin_SKJ: np.ndarray, end_SKJ: np.ndarray, step_seconds: float) -> None:
    """Refuse a trial that begins while a press would still belong to another: in both it would count."""
    order_SKJ = np.argsort(begin_SKJ, axis=2)
    begins_SKJ, ends_SKJ = (np.take_along_axis(steps, order_SKJ, axis=2) for steps in (begin_SKJ, end_SKJ))
    # Less than rounding is no overlap: windows may follow one another without a gap.
    early_SKJ = begins_SKJ[:, :, 1:] < ends_SKJ[:, :, :-1] - 1e-6
    if early_SKJ.any():
        person, segment, place = np.argwhere(early_SKJ)[0]
        first, second = order_SKJ[person, segment, place : place + 2]
        raise ValueError(
            f"person {person}, segment {segment}: trial {second} begins at {begins_SKJ[person, segment, place + 1] * step_seconds:.3f} s, "
            f"before a press can no longer belong to trial {first} ({ends_SKJ[person, segment, place] * step_seconds:.3f} s); "
            f"{early_SKJ.sum()} trials do so. Shorten window_seconds, or leave such trials out."
        )
