"""A batch from plain arrays of trials and series, without a BIDS tree, shards or cluster.

Shape letters: see `dtb.twin.batch`; here `J` is a trial within a segment.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import ArrayLike

from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.model import Twin
from dtb.twin.sizes import check_shape

_ROUNDING_STEPS = 1e-6


def batch_from_arrays(
    twin: Twin,
    connectome_SE: ArrayLike,
    stimulus_SKTI: ArrayLike,
    *,
    onset_seconds_SKJ: ArrayLike | None = None,
    window_seconds: float | None = None,
    choice_SKJ: ArrayLike | None = None,
    rt_seconds_SKJ: ArrayLike | None = None,
    press_SKTA: ArrayLike | None = None,
    correct_SKJ: ArrayLike | None = None,
    bold_SKVR: ArrayLike | None = None,
    volume_seconds: ArrayLike | None = None,
    burn_in_seconds: float = 0.0,
    seed: int = 0,
) -> Batch:
    """Return people's data as a batch for `fit`, `dtb.twin.objective.Objective` and `Twin.simulate`.

    What people pressed comes in one of three ways: trials (`onset_seconds_SKJ` and `window_seconds`) with a choice and a reaction time
    each; trials with `press_SKTA`; or `press_SKTA` alone, where a press is possible at any time and each stretch from one press to the
    next counts as a trial. Without any of them, BOLD alone is learnt.

    Parameters
    ----------
    twin : Twin
        Whose data they are: its steps, edges, channels, alternatives and BOLD regions.
    connectome_SE : (S, E) array
        Fisher z of the upper triangle, or features; NaN where absent.
    stimulus_SKTI : (S, K, T, I) array
        Mean stimulus over each of the twin's steps.
    onset_seconds_SKJ : (S, K, J) array, optional
        When each trial's stimulus appeared, after its segment's beginning; NaN for no trial.
    window_seconds : float, optional
        How long a press is possible after an onset. Windows may overlap: a press is its own trial's, and no moment counts for two.
    choice_SKJ : (S, K, J) int array or (S, K, J, A) array of 0 and 1, optional
        Chosen alternative, from 0, and -1 for an omission. Or 1 at each alternative that was pressed, several at once or none.
    rt_seconds_SKJ : (S, K, J) array, optional
        Not read for omissions.
    press_SKTA : (S, K, T, A) array of 0 and 1, optional
        1 at the step of a press, at several alternatives where they were pressed at once. Of a press, its step's middle is taken as its
        time. Within a trial, one press counts.
    correct_SKJ : (S, K, J) int array, optional
        Right alternative; -1 for none.
    bold_SKVR : (S, K, V, R) array, optional
        NaN where absent.
    volume_seconds : (V,) or (S, K, V) array, optional
        When each volume was measured, after its segment's beginning: of a segment that begins at 12 s of a run whose volumes come every
        0.8 s from 0 on, 0, 0.8, 1.6. Needed where there is BOLD; for a series that was interpolated to the steps' ends, those.
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
        A shape does not fit, a press lies outside its window or its segment, or arrays that belong together are not given together.
    """
    sizes = twin.sizes
    connectome, stimulus = np.asarray(connectome_SE, np.float32), np.asarray(stimulus_SKTI, np.float32)
    check_shape("stimulus_SKTI", stimulus.shape, (None, None, None, sizes.num_channels))
    people, segments, steps, _ = stimulus.shape
    check_shape("connectome_SE", connectome.shape, (people, sizes.num_edges), sizes.edges_in_words)
    pressed_SKTA = None
    if press_SKTA is not None:
        pressed_SKTA = np.asarray(press_SKTA)
        check_shape("press_SKTA", pressed_SKTA.shape, (people, segments, steps, sizes.num_alternatives))
        if not np.isin(pressed_SKTA, (0, 1)).all():
            raise ValueError("press_SKTA holds values other than 0 and 1; give 1 at the step of each press")
        pressed_SKTA = pressed_SKTA.astype(bool)
    trials = _trials_of(
        (people, segments, steps, sizes.num_alternatives),
        twin.config.step_seconds,
        onset_seconds_SKJ,
        window_seconds,
        choice_SKJ,
        rt_seconds_SKJ,
        pressed_SKTA,
    )
    right_SKJ = np.full(trials.begin_SKJ.shape, -1) if correct_SKJ is None else np.asarray(correct_SKJ, np.int64)
    check_shape("correct_SKJ", right_SKJ.shape, trials.begin_SKJ.shape, "as the onsets")
    volume_SKV, bold = _volumes(twin, bold_SKVR, volume_seconds, (people, segments))

    press, at_risk_SKT = _dense(trials, (people, segments, steps, sizes.num_alternatives))
    there = np.isfinite(trials.begin_SKJ)
    subject_J, segment_J, trial_J = (torch.from_numpy(axis) for axis in np.nonzero(there))
    num_trials = len(subject_J)
    return Batch(
        pseudonyms=[str(person) for person in range(people)],
        seed_S=torch.arange(people) + seed * people,
        weight_S=torch.full((people,), 1.0 / max(people, 1)),
        connectome_SE=torch.from_numpy(connectome),
        run_SK=torch.arange(segments).expand(people, -1).clone(),
        session_SK=torch.zeros(people, segments, dtype=torch.int64),
        start_seconds_SK=torch.zeros(people, segments, dtype=torch.float64),
        stimulus_SKTI=torch.from_numpy(stimulus),
        task_SK=torch.zeros(people, segments, dtype=torch.int64),
        press_SKTA=torch.from_numpy(press),
        at_risk_SKT=torch.from_numpy(at_risk_SKT),
        counted_SKT=torch.full((people, segments, steps), trials.are_known),
        bold_SKVR=torch.from_numpy(bold),
        bold_counted_SKV=torch.from_numpy(volume_SKV >= burn_in_seconds),
        bold_steps_SKT=torch.ones(people, segments, steps, dtype=torch.bool),
        volume_seconds_SKV=torch.from_numpy(volume_SKV.astype(np.float32)),
        trials=TrialTensors(
            subject_J=subject_J,
            segment_J=segment_J,
            run_J=segment_J,
            trial_J=trial_J,
            onset_steps_J=torch.from_numpy(trials.begin_SKJ[there]),
            window_steps_J=torch.from_numpy(trials.window_SKJ[there]),
            rt_seconds_J=torch.from_numpy(trials.rt_SKJ[there]),
            response_JA=torch.from_numpy(trials.response_SKJA[there]),
            correct_JA=torch.from_numpy(right_SKJ[there][:, None] == np.arange(sizes.num_alternatives)),
            scored_J=torch.from_numpy(right_SKJ[there] >= 0),
            usable_J=torch.ones(num_trials, dtype=torch.bool),
            held_out_J=torch.zeros(num_trials, dtype=torch.bool),
            condition_J=torch.full((num_trials,), -1),
            task_J=torch.zeros(num_trials, dtype=torch.int64),
        ),
        step_seconds=twin.config.step_seconds,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Trials:
    """Trials as they count: when each begins and ends (in steps), and what was pressed; NaN where there is no trial."""

    begin_SKJ: np.ndarray
    end_SKJ: np.ndarray
    window_SKJ: np.ndarray
    rt_SKJ: np.ndarray
    response_SKJA: np.ndarray
    are_known: bool  # whether anything is known of presses, and be it that there were none

    @property
    def pressed_SKJ(self) -> np.ndarray:
        return np.asarray(self.response_SKJA.any(-1))


def _trials_of(
    shape: tuple[int, int, int, int],
    step_seconds: float,
    onset_seconds_SKJ: ArrayLike | None,
    window_seconds: float | None,
    choice_SKJ: ArrayLike | None,
    rt_seconds_SKJ: ArrayLike | None,
    press_SKTA: np.ndarray | None,
) -> _Trials:
    people, segments, steps, alternatives = shape
    have_trials, have_choices = onset_seconds_SKJ is not None, choice_SKJ is not None
    if have_trials != (window_seconds is not None):
        raise ValueError("onset_seconds_SKJ and window_seconds belong together: give both, or neither")
    if have_choices != (rt_seconds_SKJ is not None):
        raise ValueError("choice_SKJ and rt_seconds_SKJ belong together: give both, or press_SKTA in their place")
    if have_choices and press_SKTA is not None:
        raise ValueError("choice_SKJ and press_SKTA both say what was pressed: leave one out")
    if have_choices and not have_trials:
        raise ValueError("choice_SKJ needs trials: give onset_seconds_SKJ and window_seconds")
    if have_trials and not have_choices and press_SKTA is None:
        raise ValueError("the trials have no answers: give choice_SKJ and rt_seconds_SKJ, or press_SKTA")
    if not have_trials:
        return _stretches(
            np.zeros((people, segments, 0, alternatives), bool) if press_SKTA is None else press_SKTA,
            step_seconds,
            press_SKTA is not None,
        )
    onset_SKJ = np.asarray(onset_seconds_SKJ, float)
    check_shape("onset_seconds_SKJ", onset_SKJ.shape, (people, segments, None))
    begin_SKJ, window = onset_SKJ / step_seconds, float(window_seconds or 0.0)
    there_SKJ = np.isfinite(onset_SKJ)
    if press_SKTA is not None:
        response_SKJA, rt_SKJ = _answers_within(press_SKTA, begin_SKJ, window, step_seconds)
    else:
        response_SKJA, rt_SKJ = _answers(choice_SKJ, rt_seconds_SKJ, onset_SKJ.shape, alternatives)
    response_SKJA &= there_SKJ[..., None]
    pressed_SKJ = response_SKJA.any(-1)
    rt_SKJ = np.where(pressed_SKJ, rt_SKJ, np.nan)
    if not (rt_SKJ[pressed_SKJ] > 0).all() or (rt_SKJ[pressed_SKJ] > window).any():
        raise ValueError(f"reaction times must lie in (0, {window}] s")
    end_SKJ = np.where(pressed_SKJ, onset_SKJ + np.nan_to_num(rt_SKJ), onset_SKJ + window) / step_seconds
    if (end_SKJ[pressed_SKJ] >= steps).any() or (begin_SKJ[there_SKJ] < 0).any():
        raise ValueError(f"an onset or a press lies outside the {steps} steps of its segment")
    return _Trials(begin_SKJ, end_SKJ, np.full_like(begin_SKJ, window / step_seconds), rt_SKJ, response_SKJA, True)


def _answers(
    choice_SKJ: ArrayLike | None, rt_seconds_SKJ: ArrayLike | None, shape: tuple[int, ...], alternatives: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which alternatives were pressed in each trial, and when."""
    choice = np.asarray(choice_SKJ)
    rt_SKJ = np.array(rt_seconds_SKJ, float)
    check_shape("rt_seconds_SKJ", rt_SKJ.shape, shape, "as the onsets")
    if choice.ndim == len(shape) + 1:
        check_shape("choice_SKJA", choice.shape, (*shape, alternatives), "as the onsets")
        if not np.isin(choice, (0, 1)).all():
            raise ValueError("choice_SKJ with an axis of alternatives holds values other than 0 and 1")
        return choice.astype(bool), rt_SKJ
    check_shape("choice_SKJ", choice.shape, shape, "as the onsets")
    if choice.max(initial=-1) >= alternatives:
        raise ValueError(f"choice_SKJ holds {choice.max()}; choices lie below {alternatives}, and -1 is an omission")
    return choice[..., None] == np.arange(alternatives), rt_SKJ


def _answers_within(
    press_SKTA: np.ndarray, begin_SKJ: np.ndarray, window_seconds: float, step_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find each trial's press in a dense array: it lies in a step that the trial's window touches."""
    response_SKJA = np.zeros((*begin_SKJ.shape, press_SKTA.shape[-1]), bool)
    rt_SKJ = np.full(begin_SKJ.shape, np.nan)
    unused_SKT = np.asarray(press_SKTA.any(-1))
    window = window_seconds / step_seconds
    for place in zip(*np.nonzero(np.isfinite(begin_SKJ)), strict=True):
        person, segment, _ = place
        begin, end = begin_SKJ[place], begin_SKJ[place] + window
        steps = np.flatnonzero(unused_SKT[person, segment, max(int(begin), 0) : int(np.ceil(end - 1e-9))]) + max(
            int(begin), 0
        )
        if len(steps):
            response_SKJA[place] = press_SKTA[person, segment, steps[0]]
            # The middle of what the step and the window have in common.
            middle = (max(begin, steps[0]) + min(end, steps[0] + 1)) / 2
            rt_SKJ[place] = (middle - begin) * step_seconds
            unused_SKT[person, segment, steps[0]] = False
    if unused_SKT.any():
        person, segment, step = np.argwhere(unused_SKT)[0]
        raise ValueError(
            f"person {person}, segment {segment}: the press in step {step} ({step * step_seconds:.3f} s) is no trial's first; "
            f"{unused_SKT.sum()} presses are none. Make window_seconds longer, take such presses out, or leave the onsets out."
        )
    return response_SKJA, rt_SKJ


def _stretches(press_SKTA: np.ndarray, step_seconds: float, are_known: bool) -> _Trials:
    """Make a trial of each stretch up to a press, and of the one after the last: a press is possible all the time."""
    people, segments, steps, alternatives = press_SKTA.shape
    any_SKT = np.asarray(press_SKTA.any(-1))
    most = int(any_SKT.sum(-1).max(initial=0)) + 1 if are_known else 0
    shape = (people, segments, most)
    begin_SKJ, end_SKJ = np.full(shape, np.nan), np.full(shape, np.nan)
    response_SKJA = np.zeros((*shape, alternatives), bool)
    for person, segment in np.ndindex(people, segments if are_known else 0):
        at = np.flatnonzero(any_SKT[person, segment])
        begin_SKJ[person, segment, : len(at) + 1] = [0.0, *(at + 0.5)]
        end_SKJ[person, segment, : len(at) + 1] = [*(at + 0.5), float(steps)]
        response_SKJA[person, segment, : len(at)] = press_SKTA[person, segment, at]
    rt_SKJ = np.where(response_SKJA.any(-1), (end_SKJ - begin_SKJ) * step_seconds, np.nan)
    return _Trials(begin_SKJ, end_SKJ, steps - begin_SKJ, rt_SKJ, response_SKJA, are_known)


def _dense(trials: _Trials, shape: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Lay trials out over steps: where each press lies, and which share of each step a press was possible in."""
    people, segments, steps, alternatives = shape
    press_SKTA = np.zeros((people, segments, steps, alternatives), bool)
    at_risk_SKT = np.zeros((people, segments, steps), np.float32)
    edges_T = np.arange(steps + 1)
    pressed_SKJ = trials.pressed_SKJ
    from_SKJ, to_SKJ = _at_risk(trials)
    for place in zip(*np.nonzero(np.isfinite(trials.begin_SKJ)), strict=True):
        person, segment, _ = place
        begin, end = from_SKJ[place], to_SKJ[place]
        if end > begin:
            at_risk_SKT[person, segment] += np.diff(np.clip(edges_T, begin, end))
        if pressed_SKJ[place]:
            step = int(trials.end_SKJ[place])
            if begin > trials.begin_SKJ[place] and step < steps - 1 and press_SKTA[person, segment, step].any():
                step += 1  # the press that this trial waited for is in the same step: each counts
            press_SKTA[person, segment, step] |= trials.response_SKJA[place]
    return press_SKTA, at_risk_SKT


def _volumes(
    twin: Twin, bold_SKVR: ArrayLike | None, volume_seconds: ArrayLike | None, people_by_segments: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of all volumes (S, K, V) and BOLD (S, K, V, R) float32."""
    if bold_SKVR is not None and volume_seconds is None:
        raise ValueError(
            "bold_SKVR needs volume_seconds: when each volume was measured, in seconds after its segment's beginning"
        )
    times = np.zeros(0) if volume_seconds is None else np.asarray(volume_seconds, float)
    if times.ndim == 3:
        check_shape("volume_seconds_SKV", times.shape, (*people_by_segments, None))
    else:
        check_shape("volume_seconds_V", times.shape, (None,))
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(
            "volume_seconds must rise from volume to volume; for a volume that is absent, give BOLD of NaN at its time"
        )
    times_SKV = np.broadcast_to(times, (*people_by_segments, times.shape[-1]))
    shape = (*times_SKV.shape, twin.sizes.num_bold_regions)
    bold = np.full(shape, np.nan) if bold_SKVR is None else np.asarray(bold_SKVR)
    check_shape("bold_SKVR", bold.shape, shape, "with one volume for each of volume_seconds")
    return times_SKV, bold.astype(np.float32)


def _at_risk(trials: _Trials) -> tuple[np.ndarray, np.ndarray]:
    """Return from which step to which each trial waits for its press (S, K, J), so that no moment counts for two: see
    `dtb.tasks.trials.Trials.at_risk_seconds`.
    """
    order_SKJ = np.argsort(trials.begin_SKJ, axis=2, kind="stable")
    begin_SKJ, end_SKJ, pressed_SKJ = (
        np.take_along_axis(values_SKJ, order_SKJ, axis=2)
        for values_SKJ in (trials.begin_SKJ, trials.end_SKJ, trials.pressed_SKJ)
    )
    # Less than rounding is no overlap: windows may follow one another without a gap.
    next_SKJ = np.concatenate([begin_SKJ[..., 1:], np.full_like(begin_SKJ[..., :1], np.inf)], axis=2)
    cut_SKJ = ~pressed_SKJ & (next_SKJ < end_SKJ - _ROUNDING_STEPS)
    latest_SKJ = np.maximum.accumulate(np.where(pressed_SKJ, end_SKJ, -np.inf), axis=2)
    latest_SKJ = np.concatenate([np.full_like(begin_SKJ[..., :1], -np.inf), latest_SKJ[..., :-1]], axis=2)
    from_SKJ, to_SKJ = np.empty_like(begin_SKJ), np.empty_like(begin_SKJ)
    later_SKJ = latest_SKJ > begin_SKJ + _ROUNDING_STEPS
    np.put_along_axis(from_SKJ, order_SKJ, np.where(later_SKJ, latest_SKJ, begin_SKJ), axis=2)
    np.put_along_axis(to_SKJ, order_SKJ, np.where(cut_SKJ, next_SKJ, end_SKJ), axis=2)
    return from_SKJ, to_SKJ
