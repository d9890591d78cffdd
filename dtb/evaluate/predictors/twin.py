"""The twin performs the held-out part of people's runs, told each person's own connectome, the mean one, or a stranger's.

Choice probabilities, reaction times and their scores follow from the hazards in closed form, without sampling; where a twin was trained
with process noise, they are means over several performances. What the twin does better
with people's own connectomes than with strangers' is what the connectome adds. The training people's mean is a weaker control: it is unlike
anybody's connectome, and a trained twin may do anything there.

Shape letters: `S` subject, `K` segment, `V` volume, `R` region, `J` trial, `A` response alternative, `O` outcome, `T` task,
`W` step of a response window, `E` edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch

from dtb.evaluate.predictors.predictions import Prediction, TrialPrediction, summary_of_prediction
from dtb.evaluate.predictors.table import PREDICTORS
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.metrics import crps_of_hazard, row_correlations
from dtb.evaluate.scores.observed import People, maps_of_series
from dtb.evaluate.scores.quantiles import TRIAL_LEVELS
from dtb.people.records import SubjectRecord
from dtb.shards.batches import BatchMaker, person_seed
from dtb.shards.split import Part, Span, Split
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch
from dtb.twin.model import Twin
from dtb.twin.readouts.press import PressDistribution, windows

PEOPLE_AT_ONCE = 8
NOISE_DRAWS = 10
"""A twin with process noise performs so many times, each time with noise of its own, and what is scored is the mean."""


@dataclasses.dataclass(eq=False)
class _Filled:
    """A prediction while it is being filled in, person by person."""

    trials: TrialPrediction
    maps_STR: np.ndarray
    series_r_ST: np.ndarray


def predict(
    twins: Sequence[Twin],
    maker: BatchMaker,
    records: Iterable[SubjectRecord],
    people: People,
    part: Part,
    split: Split,
    taskset: TaskSet,
    bold_regions: np.ndarray,
    connectomes: Mapping[str, np.ndarray],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Prediction]:
    """Simulate one part of people's runs with their twins.

    Parameters
    ----------
    twins : sequence of Twin
        Members of an ensemble, whose distributions and BOLD are averaged; or one twin.
    maker : BatchMaker
    records : iterable of SubjectRecord
        In the order of `people`.
    people : People
        What they did, as `dtb.evaluate.scores.observed.collect` gathered it from the same records and part.
    part : {"train", "validation", "test", "all"}
    split : Split
    taskset : TaskSet
    bold_regions : (R,) int
        Columns of a run's BOLD that the twin predicts.
    connectomes : mapping of str to (S, E)
        By name, the connectomes that they are told; see `told_connectomes`.
    advance : function
        Called with the number of people after each batch.

    Returns
    -------
    dict of str to Prediction
    """
    num_tasks = len(taskset.specs)
    filled = {
        name: _Filled(
            dataclasses.replace(
                TrialPrediction.none_for(people.trials),
                rt_quantiles_JQ=np.full((len(people.trials), len(TRIAL_LEVELS)), np.nan),
            ),
            np.full(people.maps_STR.shape, np.nan),
            np.full((len(people), num_tasks), np.nan),
        )
        for name in connectomes
    }
    place = _row_of_trial(people)
    first = 0
    for some in _chunks(records, PEOPLE_AT_ONCE):
        batch = maker.batch(some, part)
        for name, told_SE in connectomes.items():
            with torch.inference_mode():
                told = torch.from_numpy(np.array(told_SE[first : first + len(some)]))
                performed = [_performed(twin, told, batch, some, with_bold=len(bold_regions) > 0) for twin in twins]
                pressed = PressDistribution.mean_of([presses for presses, _ in performed])
                _fill_trials(filled[name], pressed, batch, people, place, first)
                if len(bold_regions):
                    bold_SKVR = _mean([bold_SKVR for _, bold_SKVR in performed]).numpy()
                    for row, record in enumerate(some):
                        series = _run_series(bold_SKVR[row], batch, row, record)
                        spans = split.spans(part, record.runs)
                        _fill_bold(filled[name], first + row, record, series, spans, taskset, bold_regions)
        first += len(some)
        advance(len(some))
    return {
        name: Prediction(
            summary_of_prediction(people.trials, done.trials, len(people), taskset, done.maps_STR),
            done.trials,
            done.series_r_ST,
        )
        for name, done in filled.items()
    }


def told_connectomes(edges_SE: np.ndarray, mean_E: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the connectomes that each twin is told: people's own, the mean, and a stranger's.

    Parameters
    ----------
    edges_SE : (S, E) float32
        People's own.
    mean_E : (E,) float32
        Mean over training people.
    seed : int
        Of who is given whose.

    Returns
    -------
    dict of str to (S, E)
        Without strangers' where there is one person only.
    """
    told = {TWIN: edges_SE}
    for predictor in PREDICTORS:
        if predictor.told is not None and (given_SE := predictor.told(edges_SE, mean_E, seed)) is not None:
            told[predictor.name] = given_SE
    return told


def _chunks(records: Iterable[SubjectRecord], size: int) -> Iterator[list[SubjectRecord]]:
    iterator = iter(records)
    while some := list(islice(iterator, size)):
        yield some


def _row_of_trial(people: People) -> dict[tuple[int, int, int], int]:
    trials = people.trials
    keys = zip(trials.person_J.tolist(), trials.run_J.tolist(), trials.trial_J.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}


def _performed(
    twin: Twin, told_SE: torch.Tensor, batch: Batch, records: Sequence[SubjectRecord], *, with_bold: bool
) -> tuple[PressDistribution, torch.Tensor]:
    """Return the presses and the (S, K, V, R) BOLD of one twin, the mean over performances where there is noise in them."""
    generated = twin.generate(told_SE)
    seeds: list[torch.Tensor | None] = [None]
    if twin.config.process_noise > 0:
        seeds = [torch.tensor([person_seed(who.pseudonym, 0, draw) for who in records]) for draw in range(NOISE_DRAWS)]
    presses, bolds = [], []
    for seed_S in seeds:
        output = twin.perform(generated, batch.stimulus_SKTI, seed_S, with_bold=with_bold)
        given = windows(twin.hazards(output).double(), batch.trials)
        presses.append(PressDistribution.of(*given, batch.trials, twin.config.step_seconds))
        if with_bold:
            bolds.append(twin.bold(output, batch.volume_seconds_SKV))
    bold_SKVR = _mean(bolds) if bolds else torch.zeros(0)
    return PressDistribution.mean_of(presses), bold_SKVR


def _mean(values: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(values)).double().mean(0)


def _fill_trials(
    filled: _Filled,
    distribution: PressDistribution,
    batch: Batch,
    people: People,
    place: dict[tuple[int, int, int], int],
    first: int,
) -> None:
    table = batch.trials
    keys = zip((table.subject_J + first).tolist(), table.run_J.tolist(), table.trial_J.tolist(), strict=True)
    row_J = np.array([place.get(key, -1) for key in keys], dtype=np.int64)
    wanted_J = row_J >= 0
    row_J = row_J[wanted_J]
    if not len(row_J):
        return
    outcome_JO = torch.cat(
        [distribution.choice_probability_JA(), distribution.omission_probability_J()[:, None]], dim=1
    ).numpy()[wanted_J]
    filled.trials.outcome_JO[row_J] = within_task(outcome_JO, people.trials.possible_JO[row_J])
    filled.trials.mean_rt_J[row_J] = distribution.mean_rt_J().numpy()[wanted_J]
    assert filled.trials.rt_quantiles_JQ is not None
    for level, share in enumerate(TRIAL_LEVELS.tolist()):
        filled.trials.rt_quantiles_JQ[row_J, level] = distribution.rt_quantile_J(share).numpy()[wanted_J]
    filled.trials.crps_J[row_J] = crps_of_hazard(
        distribution.hazard_JWA.sum(-1).numpy()[wanted_J],
        distribution.covered_JW.numpy()[wanted_J] * distribution.step_seconds,
        people.trials.rt_J[row_J],
    )


def within_task(outcome_JO: np.ndarray, possible_JO: np.ndarray) -> np.ndarray:
    """Share the probability of response slots that a task does not have over its outcomes: such a press cannot be made."""
    kept_JO = np.where(possible_JO, outcome_JO, 0.0)
    return kept_JO / np.maximum(kept_JO.sum(axis=1, keepdims=True), 1e-300)


def _run_series(bold_KVR: np.ndarray, batch: Batch, row: int, record: SubjectRecord) -> dict[int, np.ndarray]:
    """Put a person's segments back onto their runs: the counted volumes of each, NaN elsewhere."""
    series: dict[int, np.ndarray] = {}
    for segment, number in enumerate(batch.run_SK[row].tolist()):
        if number < 0 or (run := record.runs[number]).bold_VR is None or run.repetition_time is None:
            continue
        series_VR = series.setdefault(number, np.full((len(run.bold_VR), bold_KVR.shape[-1]), np.nan))
        counted_V = batch.bold_counted_SKV[row, segment].numpy()
        seconds_V = (
            float(batch.start_seconds_SK[row, segment]) + batch.volume_seconds_SKV[row, segment].double().numpy()
        )
        series_VR[run.volumes_at(seconds_V[counted_V])] = bold_KVR[segment][counted_V]
    return series


def _fill_bold(
    filled: _Filled,
    person: int,
    record: SubjectRecord,
    series: dict[int, np.ndarray],
    spans: Sequence[Span],
    taskset: TaskSet,
    bold_regions: np.ndarray,
) -> None:
    seen = {number: np.asarray(record.runs[number].bold_VR)[:, bold_regions] for number in series}
    filled.maps_STR[person] = maps_of_series(record, series, taskset, spans, len(bold_regions), seen)
    for task, spec in enumerate(taskset.specs):
        runs = [number for number in series if record.runs[number].task == spec.name]
        with_r = [row_correlations(series[number].T, seen[number].T) for number in runs]
        finite = [r_R[np.isfinite(r_R)].mean() for r_R in with_r if np.isfinite(r_R).any()]
        if finite:
            filled.series_r_ST[person, task] = float(np.mean(finite))
