"""Batches of tensors from people's records: segments of runs, with stimuli, presses and volumes on the model's time steps.

Shape letters: see `dtb.twin.batch`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dtb.config import SegmentConfig, TwinConfig, to_plain
from dtb.people.records import Run, SubjectRecord
from dtb.shards.bold import series
from dtb.shards.layouts import Layout
from dtb.shards.segments import Segment, cut_run
from dtb.shards.split import Part, Span, Split
from dtb.tasks.encode import encode_segment
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.readouts.interpolation import MARGIN_VOLUMES


class BatchMaker:
    """Makes batches of people.

    Parameters
    ----------
    taskset : TaskSet
        Kept as an attribute.
    segments : SegmentConfig
    step_seconds : float
        Length of a model step.
    bold_regions : sequence of int
        Columns of a run's BOLD that are targets; empty for none.
    split : Split
    loss_of : TwinConfig or None
        The twin whose loss is computed; None if people are only simulated. With `press: sigmoid` segments count until they end, and each
        step has the presses made in it, whichever segment their trials began in; the last response windows are cut off. With
        `bold: direct`, volumes before and after a segment are included for the spline, from the same part of the run only.
    bold_mean_R : (R,) ndarray or None
        Level from which BOLD is measured, in the scanner's units; the mean of the training part of each run if None.
    """

    def __init__(
        self,
        taskset: TaskSet,
        segments: SegmentConfig,
        step_seconds: float,
        bold_regions: Sequence[int],
        split: Split,
        *,
        loss_of: TwinConfig | None = None,
        bold_mean_R: np.ndarray | None = None,
    ) -> None:
        self.taskset = taskset
        self._segments = segments
        self._step_seconds = step_seconds
        self._bold_regions = np.asarray(bold_regions, dtype=np.int64)
        self._split = split
        self._by_step = loss_of is not None and loss_of.press == "sigmoid"
        self._with_spline = loss_of is not None and loss_of.bold == "direct"
        self._bold_mean_R = bold_mean_R

    @property
    def num_steps(self) -> int:
        """Return the largest number of model steps in a segment; a batch has no more than its longest run needs."""
        return max(1, round(self._segments.segment_seconds / self._step_seconds))

    @property
    def layouts_depend_on(self) -> dict[str, Any]:
        """Return all that layouts depend on, beside person and part, as JSON values."""
        mean_R = self._bold_mean_R
        return {
            "taskset": self.taskset.to_plain(),
            "segments": to_plain(self._segments),
            "step_seconds": self._step_seconds,
            "bold_regions": self._bold_regions.tolist(),
            "split": self._split.split_hash,
            "by_step": self._by_step,
            "with_spline": self._with_spline,
            "bold_mean": None if mean_R is None else mean_R.astype(np.float64).tolist(),
        }

    def _needed_steps(self, runs: Sequence[Run]) -> int:
        """Return the number of steps in a segment of some runs: no more than burn-in, longest run and last response window need."""
        ends = [run.duration_seconds + float(run.trials.window_seconds_J.max(initial=0.0)) for run in runs]
        seconds = self._segments.burn_in_seconds + max(ends, default=0.0)
        return min(self.num_steps, max(1, math.ceil(seconds / self._step_seconds)))

    def batch(
        self,
        records: Sequence[SubjectRecord],
        part: Part = "train",
        seed: int = 0,
        epoch: int = 0,
        num_subjects: int | None = None,
        num_edges: int | None = None,
    ) -> Batch:
        """Return a batch of people, padded to one shape.

        Parameters
        ----------
        records : sequence of SubjectRecord
        part : {"train", "validation", "test", "all"}
            Which part of each run is counted.
        seed, epoch : int
            With the pseudonym they make each person's seed.
        num_subjects : int, optional
            Rows to pad to; a padded row has weight 0 and the pseudonym ``""``.
        num_edges : int, optional
            Length of a connectome; needed only if there may be no records.

        Returns
        -------
        Batch
            With weight 1 for each person.
        """
        return self.batch_of([self.layout(record, part) for record in records], seed, epoch, num_subjects, num_edges)

    def batch_of(
        self,
        people: Sequence[Layout],
        seed: int = 0,
        epoch: int = 0,
        num_subjects: int | None = None,
        num_edges: int | None = None,
    ) -> Batch:
        """Return a batch of people who were laid out; see `batch`."""
        num_rows = len(people) if num_subjects is None else num_subjects
        num_segments = max([1, *(len(person.task_K) for person in people)])
        num_volumes = max([1, *(person.volume_seconds_KV.shape[1] for person in people)])
        num_edges = len(people[0].connectome_E) if num_edges is None else num_edges
        T = max([self._needed_steps(()), *(person.stimulus_KTI.shape[1] for person in people)])
        A, R = self.taskset.num_alternatives, len(self._bold_regions)
        rows: dict[str, np.ndarray] = {
            "seed_S": np.zeros(num_rows, np.int64),
            "weight_S": np.zeros(num_rows, np.float32),
            "connectome_SE": np.zeros((num_rows, num_edges), np.float32),
            "run_SK": np.full((num_rows, num_segments), -1, np.int64),
            "session_SK": np.zeros((num_rows, num_segments), np.int64),
            "start_seconds_SK": np.zeros((num_rows, num_segments), np.float64),
            "stimulus_SKTI": np.zeros((num_rows, num_segments, T, self.taskset.num_channels), np.float32),
            "task_SK": np.full((num_rows, num_segments), -1, np.int64),
            "press_SKTA": np.zeros((num_rows, num_segments, T, A), bool),
            "at_risk_SKT": np.zeros((num_rows, num_segments, T), np.float32),
            "counted_SKT": np.zeros((num_rows, num_segments, T), bool),
            "bold_SKVR": np.full((num_rows, num_segments, num_volumes, R), np.nan, np.float32),
            "bold_counted_SKV": np.zeros((num_rows, num_segments, num_volumes), bool),
            "bold_steps_SKT": np.zeros((num_rows, num_segments, T), bool),
            "volume_seconds_SKV": np.zeros((num_rows, num_segments, num_volumes), np.float32),
        }
        for row, person in enumerate(people):
            (K, V), steps = person.volume_seconds_KV.shape, slice(person.stimulus_KTI.shape[1])
            rows["seed_S"][row] = person_seed(person.pseudonym, seed, epoch)
            rows["weight_S"][row] = 1
            rows["connectome_SE"][row] = person.connectome_E
            rows["run_SK"][row, :K] = person.run_K
            rows["session_SK"][row, :K] = person.session_K
            rows["start_seconds_SK"][row, :K] = person.start_seconds_K
            rows["stimulus_SKTI"][row, :K, steps] = person.stimulus_KTI
            rows["task_SK"][row, :K] = person.task_K
            rows["press_SKTA"][row, :K, steps] = person.press_KTA
            rows["at_risk_SKT"][row, :K, steps] = person.at_risk_KT
            rows["counted_SKT"][row, :K, steps] = person.counted_KT
            rows["bold_SKVR"][row, :K, :V] = person.bold_KVR
            rows["bold_counted_SKV"][row, :K, :V] = person.bold_counted_KV
            rows["bold_steps_SKT"][row, :K, steps] = person.bold_steps_KT
            rows["volume_seconds_SKV"][row, :K, :V] = person.volume_seconds_KV
        tables = [{"subject_J": np.full(len(p.trials["run_J"]), row), **p.trials} for row, p in enumerate(people)]
        tables = tables or [{"subject_J": np.zeros(0, np.int64), **self._no_trials()}]
        trials = TrialTensors(
            **{name: torch.from_numpy(np.concatenate([table[name] for table in tables])) for name in tables[0]}
        )
        return Batch(
            pseudonyms=[person.pseudonym for person in people] + [""] * (num_rows - len(people)),
            trials=trials,
            step_seconds=self._step_seconds,
            **{name: torch.from_numpy(array) for name, array in rows.items()},
        )

    def layout(self, record: SubjectRecord, part: Part) -> Layout:
        """Return a person's layout, which is the same in each epoch."""
        spans = [
            span.of(run.duration_seconds)
            for run, span in zip(record.runs, self._split.spans(part, record.runs), strict=True)
        ]
        trained = self._split.spans("train", record.runs)
        bold = [
            series(run, span, self._bold_regions, self._bold_mean_R)
            for run, span in zip(record.runs, trained, strict=True)
        ]
        tested = self._split.spans("test", record.runs)
        pieces = [
            (number, segment)
            for number, run in enumerate(record.runs)
            for segment in cut_run(run, self._segments, *spans[number], by_step=self._by_step)
        ]
        T, A, R = self._needed_steps(record.runs), self.taskset.num_alternatives, len(self._bold_regions)
        encoded, volumes, tables = [], [], []
        for place, (number, segment) in enumerate(pieces):
            run = record.runs[number]
            encoded.append(
                encode_segment(
                    run.trials,
                    self.taskset.index(run.task),
                    self.taskset,
                    start_seconds=segment.start_seconds,
                    num_steps=T,
                    step_seconds=self._step_seconds,
                    counted_from_seconds=segment.counted_from_seconds,
                    counted_to_seconds=segment.counted_to_seconds,
                    by_step=self._by_step,
                )
            )
            volumes.append(self._volumes(run, bold[number], segment, spans[number], T))
            tables.append(self._trials(run, number, place, segment, tested[number]))
        V = max((len(seconds) for _, _, seconds in volumes), default=0)
        bold_KVR = np.full((len(pieces), V, R), np.nan, np.float32)
        counted_KV = np.zeros((len(pieces), V), bool)
        seconds_KV = np.zeros((len(pieces), V), np.float32)
        for place, (bold_VR, counted_V, seconds_V) in enumerate(volumes):
            bold_KVR[place, : len(seconds_V)] = bold_VR
            counted_KV[place, : len(seconds_V)] = counted_V
            seconds_KV[place, : len(seconds_V)] = seconds_V
        tables = tables or [self._no_trials()]
        sessions = sorted({run.session or "" for run in record.runs})
        return Layout(
            pseudonym=record.pseudonym,
            connectome_E=np.asarray(record.connectome_E, np.float32),
            stimulus_KTI=np.stack([e[0] for e in encoded])
            if encoded
            else np.zeros((0, T, self.taskset.num_channels), np.float32),
            task_K=np.array([self.taskset.index(record.runs[number].task) for number, _ in pieces], np.int64),
            run_K=np.array([number for number, _ in pieces], np.int64),
            session_K=np.array([sessions.index(record.runs[number].session or "") for number, _ in pieces], np.int64),
            start_seconds_K=np.array([segment.start_seconds for _, segment in pieces], np.float64),
            press_KTA=np.stack([e[1] for e in encoded]) if encoded else np.zeros((0, T, A), bool),
            at_risk_KT=np.stack([e[2] for e in encoded]) if encoded else np.zeros((0, T), np.float32),
            counted_KT=np.array(
                [
                    self._counted(record.runs[number], segment, at_risk_T) | press_TA.any(axis=1)
                    for (number, segment), (_, press_TA, at_risk_T) in zip(pieces, encoded, strict=True)
                ],
                bool,
            ).reshape(len(pieces), T),
            bold_KVR=bold_KVR,
            bold_counted_KV=counted_KV,
            bold_steps_KT=np.array([self._within(segment, T) for _, segment in pieces], bool).reshape(len(pieces), T),
            volume_seconds_KV=seconds_KV,
            trials={name: np.concatenate([table[name] for table in tables]) for name in tables[0]},
        )

    def _within(self, segment: Segment, num_steps: int) -> np.ndarray:
        """Return which steps lie within the counted span."""
        begin_T = segment.start_seconds + self._step_seconds * np.arange(num_steps)
        end_T = begin_T + self._step_seconds
        return (begin_T >= segment.counted_from_seconds - 1e-9) & (end_T <= segment.counted_to_seconds + 1e-9)

    def _counted(self, run: Run, segment: Segment, at_risk_T: np.ndarray) -> np.ndarray:
        """Return the steps of the counted span without presses of uncounted trials; by trial, also those at risk."""
        trials = run.trials
        begin_T = segment.start_seconds + self._step_seconds * np.arange(len(at_risk_T))
        end_T = begin_T + self._step_seconds
        counted_T = self._within(segment, len(at_risk_T))
        onset_J = trials.onset_seconds_J
        began_J = (onset_J >= segment.counted_from_seconds) & (onset_J < segment.counted_to_seconds)
        counted_J = trials.usable_J & (began_J | self._by_step)
        window_end_J = onset_J + trials.window_seconds_J
        near_J = (onset_J < segment.counted_to_seconds) & (window_end_J > segment.counted_from_seconds)
        for trial in np.flatnonzero(~counted_J & near_J):
            counted_T &= (end_T <= onset_J[trial]) | (begin_T >= window_end_J[trial])
        return counted_T if self._by_step else counted_T | (at_risk_T > 0)

    def _volumes(
        self, run: Run, bold_VR: np.ndarray | None, segment: Segment, span: tuple[float, float], num_steps: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the volumes of a segment of a part of the run, whether each counts, and their times after its beginning."""
        if bold_VR is None or run.repetition_time is None or not len(self._bold_regions):
            return np.zeros((0, len(self._bold_regions)), np.float32), np.zeros(0, bool), np.zeros(0, np.float32)
        seconds_V = run.volume_seconds_V
        begin_seconds = segment.start_seconds
        end_seconds = begin_seconds + num_steps * self._step_seconds
        if self._with_spline:
            margin = MARGIN_VOLUMES * run.repetition_time
            begin_seconds, end_seconds = max(begin_seconds - margin, span[0]), min(end_seconds + margin, span[1])
        inside_V = (seconds_V >= begin_seconds) & (seconds_V < end_seconds)
        seconds_V, bold_VR = seconds_V[inside_V], bold_VR[inside_V]
        counted_V = (seconds_V >= segment.counted_from_seconds) & (seconds_V < segment.counted_to_seconds)
        if self._with_spline:
            counted_V = np.isfinite(bold_VR).any(axis=1)  # a volume that was censored is no knot
        return bold_VR, counted_V, (seconds_V - segment.start_seconds).astype(np.float32)

    def _trials(self, run: Run, number: int, place: int, segment: Segment, tested: Span) -> dict[str, np.ndarray]:
        """Return the rows of the trial table for the trials that a segment counts."""
        trials = run.trials
        onset_J = trials.onset_seconds_J
        (rows,) = np.nonzero((onset_J >= segment.counted_from_seconds) & (onset_J < segment.counted_to_seconds))
        tested_from, tested_to = tested.of(run.duration_seconds)
        tested_J = (onset_J[rows] >= tested_from) & (onset_J[rows] < tested_to)

        def padded(alternatives_JA: np.ndarray) -> np.ndarray:
            padded_JA = np.zeros((len(rows), self.taskset.num_alternatives), alternatives_JA.dtype)
            padded_JA[:, : alternatives_JA.shape[1]] = alternatives_JA[rows]
            return padded_JA

        return {
            "segment_J": np.full(len(rows), place, np.int64),
            "run_J": np.full(len(rows), number, np.int64),
            "trial_J": rows.astype(np.int64),
            "onset_steps_J": (onset_J[rows] - segment.start_seconds) / self._step_seconds,
            "window_steps_J": trials.window_seconds_J[rows] / self._step_seconds,
            "rt_seconds_J": trials.rt_seconds_J[rows].astype(np.float64),
            "response_JA": padded(trials.response_JA),
            "correct_JA": padded(trials.correct_JA),
            "scored_J": trials.scored_J[rows],
            "usable_J": trials.usable_J[rows],
            "held_out_J": tested_J & self._split.tests_seen_people,
            "condition_J": trials.condition_J[rows].astype(np.int64),
            "task_J": np.full(len(rows), self.taskset.index(run.task), np.int64),
        }

    def _no_trials(self) -> dict[str, np.ndarray]:
        whole, real, flag = np.zeros(0, np.int64), np.zeros(0, np.float64), np.zeros(0, bool)
        flags_JA = np.zeros((0, self.taskset.num_alternatives), bool)
        kinds: dict[str, Any] = dict.fromkeys(("segment_J", "run_J", "trial_J", "condition_J", "task_J"), whole)
        kinds |= dict.fromkeys(("onset_steps_J", "window_steps_J", "rt_seconds_J"), real)
        kinds |= dict.fromkeys(("scored_J", "usable_J", "held_out_J"), flag)
        return kinds | {"response_JA": flags_JA, "correct_JA": flags_JA}


def person_seed(pseudonym: str, seed: int, epoch: int) -> int:
    """Return the seed of a person's random numbers in an epoch, between 0 and 2^63 - 1, the same in every process.

    Examples
    --------
    >>> person_seed("a1", 0, 0) == person_seed("a1", 0, 0) != person_seed("a1", 0, 1)
    True
    """
    digest = hashlib.sha256(f"{seed}/{epoch}/{pseudonym}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
