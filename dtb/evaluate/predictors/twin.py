"""Predictions of the held-out part of people's runs by the twin, given each person's own connectome, the mean one, or strangers'.

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
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from dtb.twin.hypernetwork import Generated
from dtb.twin.model import Twin
from dtb.twin.readouts.press import PressDistribution, windows

PEOPLE_AT_ONCE = 8
DEALS_AT_ONCE = 4
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
        By name, the connectomes that the twins get; see `given_connectomes`.
    advance : function
        Called with the number of people after each batch.

    Returns
    -------
    dict of str to Prediction
    """
    filled = {name: _unfilled(people, taskset, with_quantiles=True) for name in connectomes}
    place, first = _row_of_trial(people), 0
    for some in _chunks(records, PEOPLE_AT_ONCE):
        batch, row_S = maker.batch(some, part), np.arange(first, first + len(some))
        for name, edges_SE in connectomes.items():
            with torch.inference_mode():
                given_SE = torch.from_numpy(np.array(edges_SE[row_S]))
                simulated = [
                    simulated_by(twin, twin.generate(given_SE), 1, batch, some, with_bold=len(bold_regions) > 0)[0]
                    for twin in twins
                ]
                said, row_1S = [tuple(simulated)], row_S[None]
                _fill([filled[name]], said, batch, people, place, row_1S, some, part, split, taskset, bold_regions)
        first += len(some)
        advance(len(some))
    return {name: _prediction(done, people, taskset) for name, done in filled.items()}


def predict_from_strangers(
    twins: Sequence[Twin],
    maker: BatchMaker,
    records: Iterable[SubjectRecord],
    people: People,
    part: Part,
    split: Split,
    taskset: TaskSet,
    bold_regions: np.ndarray,
    donor_DS: np.ndarray,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Prediction, ...]:
    """Simulate one part of people's runs with the twins of strangers, each connectome encoded once.

    Parameters
    ----------
    twins, maker, people, part, split, taskset, bold_regions, advance
        See `predict`.
    records : iterable of SubjectRecord
        In any order; with those of a block together, few connectomes are kept at a time.
    donor_DS : (D, S) int
        Whose connectome is used in each deal (`dtb.evaluate.scores.strangers.deals`).

    Returns
    -------
    tuple of Prediction
        One per deal; NaN for people who get nobody's.
    """
    filled = [_unfilled(people, taskset, with_quantiles=False) for _ in donor_DS]
    place, row_of = _row_of_trial(people), {who: row for row, who in enumerate(people.pseudonyms)}
    encoded: list[dict[int, Generated]] = [{} for _ in twins]
    for some in _chunks(records, PEOPLE_AT_ONCE):
        batch, row_S = maker.batch(some, part), np.array([row_of[record.pseudonym] for record in some])
        # People who get nobody's are simulated with their own connectome, and the result is discarded.
        given_DS = np.where(donor_DS[:, row_S] < 0, row_S, donor_DS[:, row_S])
        with torch.inference_mode():
            for twin, known in zip(twins, encoded, strict=True):
                _encode(twin, people, np.unique(given_DS).tolist(), known)
            for begin in range(0, len(donor_DS), DEALS_AT_ONCE):
                these = range(begin, min(begin + DEALS_AT_ONCE, len(donor_DS)))
                rows = given_DS[list(these)].ravel().tolist()
                simulated = [
                    simulated_by(
                        twin,
                        _joined([known[row] for row in rows]),
                        len(these),
                        batch,
                        some,
                        with_bold=len(bold_regions) > 0,
                    )
                    for twin, known in zip(twins, encoded, strict=True)
                ]
                used_DS = np.where(donor_DS[list(these)][:, row_S] < 0, -1, row_S)
                said, some_filled = list(zip(*simulated, strict=True)), [filled[deal] for deal in these]
                _fill(some_filled, said, batch, people, place, used_DS, some, part, split, taskset, bold_regions)
        advance(len(some))
    return tuple(_prediction(done, people, taskset) for done in filled)


def _encode(twin: Twin, people: People, wanted: Sequence[int], known: dict[int, Generated]) -> None:
    """Make the networks of the people that are wanted and not known yet, and forget those that are not wanted."""
    for row in set(known) - set(wanted):
        del known[row]
    for row in wanted:
        if row not in known:
            known[row] = twin.generate(torch.from_numpy(np.array(people.edges_SE[row : row + 1])))


def _joined(people: Sequence[Any]) -> Any:
    """Put networks of one person each, as `Twin.generate` makes them, into one for all; what they share is taken once."""
    first = people[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(people))
    values = {name: [getattr(each, name) for each in people] for name in first._fields}
    return type(first)(**{name: some[0] if name == "shared_GN" else _joined(some) for name, some in values.items()})


def _unfilled(people: People, taskset: TaskSet, *, with_quantiles: bool) -> _Filled:
    trials = TrialPrediction.none_for(people.trials)
    if with_quantiles:
        quantiles_JQ = np.full((len(people.trials), len(TRIAL_LEVELS)), np.nan)
        trials = dataclasses.replace(trials, rt_quantiles_JQ=quantiles_JQ)
    maps_STR, series_r_ST = np.full(people.maps_STR.shape, np.nan), np.full((len(people), len(taskset.specs)), np.nan)
    return _Filled(trials, maps_STR, series_r_ST)


def _fill(
    filled: Sequence[_Filled],
    simulated: Sequence[Sequence[tuple[PressDistribution, torch.Tensor]]],
    batch: Batch,
    people: People,
    place: dict[tuple[int, int, int], int],
    row_DS: np.ndarray,
    records: Sequence[SubjectRecord],
    part: Part,
    split: Split,
    taskset: TaskSet,
    bold_regions: np.ndarray,
) -> None:
    """Fill in what the members of an ensemble say in each deal, on average, of the people in these rows; nothing of those in row -1."""
    for one, members, row_S in zip(filled, simulated, row_DS, strict=True):
        _fill_trials(one, PressDistribution.mean_of([presses for presses, _ in members]), batch, people, place, row_S)
    if not len(bold_regions):
        return
    bold_DSKVR = np.stack([_mean([bold_SKVR for _, bold_SKVR in members]).numpy() for members in simulated])
    for number, record in enumerate(records):
        # All deals of a person share volumes and stimuli, and so are looked at together, as if their regions were one deal's.
        bold_KVX = np.concatenate(list(bold_DSKVR[:, number]), axis=-1)
        series = run_series(bold_KVX, batch, number, record)
        _fill_bold(filled, row_DS[:, number], record, series, split.spans(part, record.runs), taskset, bold_regions)


def _prediction(done: _Filled, people: People, taskset: TaskSet) -> Prediction:
    summary = summary_of_prediction(people.trials, done.trials, len(people), taskset, done.maps_STR)
    return Prediction(summary, done.trials, done.series_r_ST)


def given_connectomes(edges_SE: np.ndarray, mean_E: np.ndarray) -> dict[str, np.ndarray]:
    """Return the connectomes that the twin gets, by predictor: people's own, and those of other predictors.

    Parameters
    ----------
    edges_SE : (S, E) float32
        People's own.
    mean_E : (E,) float32
        Mean over training people.

    Returns
    -------
    dict of str to (S, E)
    """
    same = {one.name: one.edges_of(edges_SE, mean_E) for one in PREDICTORS if one.edges_of is not None}
    return {TWIN: edges_SE, **same}


def _chunks(records: Iterable[SubjectRecord], size: int) -> Iterator[list[SubjectRecord]]:
    iterator = iter(records)
    while some := list(islice(iterator, size)):
        yield some


def _row_of_trial(people: People) -> dict[tuple[int, int, int], int]:
    trials = people.trials
    keys = zip(trials.person_J.tolist(), trials.run_J.tolist(), trials.trial_J.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}


def simulated_by(
    twin: Twin,
    generated: Generated,
    num_deals: int,
    batch: Batch,
    records: Sequence[SubjectRecord],
    *,
    with_bold: bool,
) -> list[tuple[PressDistribution, torch.Tensor]]:
    """Return the presses and the (S, K, V, R) BOLD of one twin in each deal, the mean over performances where there is noise in them.

    `generated` has the networks of all people of the first deal, then of the second, and so on.
    """
    seeds: list[torch.Tensor | None] = [None]
    if twin.config.process_noise > 0:
        seeds = [
            torch.tensor([person_seed(who.pseudonym, 0, draw) for who in records]).repeat(num_deals)
            for draw in range(NOISE_DRAWS)
        ]
    stimulus_SKTI = batch.stimulus_SKTI.repeat(num_deals, 1, 1, 1)
    presses: list[list[PressDistribution]] = [[] for _ in range(num_deals)]
    bolds: list[list[torch.Tensor]] = [[] for _ in range(num_deals)]
    for seed_S in seeds:
        output = twin.perform(generated, stimulus_SKTI, seed_S, with_bold=with_bold)
        for deal, hazard_SKTA in enumerate(twin.hazards(output).double().split(len(records))):
            given = windows(hazard_SKTA, batch.trials)
            presses[deal].append(PressDistribution.of(*given, batch.trials, twin.config.step_seconds))
        if with_bold:
            bold_SKVR = twin.bold(output, batch.volume_seconds_SKV.repeat(num_deals, 1, 1))
            for deal, each in enumerate(bold_SKVR.split(len(records))):
                bolds[deal].append(each)
    return [
        (PressDistribution.mean_of(pressed), _mean(bold) if bold else torch.zeros(0))
        for pressed, bold in zip(presses, bolds, strict=True)
    ]


def _mean(values: Sequence[torch.Tensor]) -> torch.Tensor:
    return values[0].double() if len(values) == 1 else torch.stack(list(values)).double().mean(0)


def _fill_trials(
    filled: _Filled,
    distribution: PressDistribution,
    batch: Batch,
    people: People,
    place: dict[tuple[int, int, int], int],
    row_S: np.ndarray,
) -> None:
    table = batch.trials
    keys = zip(row_S[table.subject_J.numpy()].tolist(), table.run_J.tolist(), table.trial_J.tolist(), strict=True)
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
    if (quantiles_JQ := filled.trials.rt_quantiles_JQ) is not None:
        for level, share in enumerate(TRIAL_LEVELS.tolist()):
            quantiles_JQ[row_J, level] = distribution.rt_quantile_J(share).numpy()[wanted_J]
    filled.trials.crps_J[row_J] = crps_of_hazard(
        distribution.hazard_JWA.sum(-1).numpy()[wanted_J],
        distribution.covered_JW.numpy()[wanted_J] * distribution.step_seconds,
        people.trials.rt_J[row_J],
    )


def within_task(outcome_JO: np.ndarray, possible_JO: np.ndarray) -> np.ndarray:
    """Share the probability of response slots that a task does not have over its outcomes: such a press cannot be made."""
    kept_JO = np.where(possible_JO, outcome_JO, 0.0)
    return kept_JO / np.maximum(kept_JO.sum(axis=1, keepdims=True), 1e-300)


def run_series(bold_KVR: np.ndarray, batch: Batch, row: int, record: SubjectRecord) -> dict[int, np.ndarray]:
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
    filled: Sequence[_Filled],
    row_D: np.ndarray,
    record: SubjectRecord,
    series: dict[int, np.ndarray],
    spans: Sequence[Span],
    taskset: TaskSet,
    bold_regions: np.ndarray,
) -> None:
    """Fill in a person's maps and correlations over time from the series (V, D * R) of each run."""
    num_deals, num_regions = len(row_D), len(bold_regions)
    seen = {number: np.asarray(record.runs[number].bold_VR)[:, bold_regions] for number in series}
    maps_TX = maps_of_series(record, series, taskset, spans, num_deals * num_regions, seen)
    r_of = {
        number: row_correlations(series_VX.T, np.tile(seen[number].T, (num_deals, 1))).reshape(num_deals, num_regions)
        for number, series_VX in series.items()
    }
    for deal, (one, row) in enumerate(zip(filled, row_D.tolist(), strict=True)):
        if row < 0:
            continue
        one.maps_STR[row] = maps_TX[:, deal * num_regions : (deal + 1) * num_regions]
        for task, spec in enumerate(taskset.specs):
            with_r = [r_of[number][deal] for number in series if record.runs[number].task == spec.name]
            finite = [r_R[np.isfinite(r_R)].mean() for r_R in with_r if np.isfinite(r_R).any()]
            if finite:
                one.series_r_ST[row, task] = float(np.mean(finite))
