"""What the first minutes of a person's task BOLD say of the later map of the same task.

Of each run the first minutes are given, and the contrast map of its second half is judged: the same for every number of minutes. No trial
is given. The twin is the network of the posterior's mean, with the person's connectome and without. Beside it stand the group map, and the
person's own map of the given minutes, drawn towards the group as far as training people's own maps were worth.

Shape letters: see `dtb.evaluate.scores.observed`; `V` volume, `K` segment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.curves import CONFIDENCE, NUM_DRAWS, Weights, by_person
from dtb.evaluate.living.questions import HALF_A_RUN
from dtb.evaluate.living.twin import TWINS
from dtb.evaluate.predictors.predictions import mean_over_people
from dtb.evaluate.predictors.twin import PEOPLE_AT_ONCE, run_series, simulated_by
from dtb.evaluate.scores.metrics import row_correlations
from dtb.evaluate.scores.observed import maps_of_series, observed_maps
from dtb.evaluate.scores.statistics import difference, estimate, mean_of
from dtb.people.records import SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Span
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch
from dtb.twin.model import Twin
from dtb.twin.own_data import only
from dtb.twin.posterior import condition, prior_of

MINUTES = (0, 1, 2, 4, 8)
JUDGED = "judged"
GROUP_MAP, OWN_MAP = "group_map", "own_map"
METRICS = {"r": "BOLD map r without the group map", "gain": "share of the group map's error that is gone"}


@dataclasses.dataclass(frozen=True, eq=False)
class MapQuestion:
    """People's runs with BOLD, and how their maps are made.

    Attributes
    ----------
    taskset : TaskSet
    bold_regions : (R,) int
        Columns of a run's BOLD that the twin predicts.
    scale_R : (R,) float64
        What each region's series is divided by.
    """

    taskset: TaskSet
    bold_regions: np.ndarray
    scale_R: np.ndarray

    def amounts(self, records: Sequence[SubjectRecord], task: int) -> list[str]:
        """Return the points of a task's curve, in minutes of BOLD, the smallest first; none where nobody has BOLD of it."""
        name = self.taskset.specs[task].name
        lasts = [
            run.duration_seconds for who in records for run in who.runs if run.task == name and run.bold_VR is not None
        ]
        if not lasts or not len(self.bold_regions):
            return []
        return [*(str(minutes) for minutes in MINUTES if 60 * minutes < np.median(lasts) / 2), HALF_A_RUN]

    def observed(self, records: Iterable[SubjectRecord], amounts: Collection[str]) -> dict[str, np.ndarray]:
        """Return people's maps (S, T, R) of what is judged, and of each of these first parts, in one pass."""
        maps: dict[str, list[np.ndarray]] = {amount: [] for amount in (JUDGED, *amounts)}
        for who in records:
            for amount, found in maps.items():
                lasts = [run.duration_seconds for run in who.runs]
                spans = [judged(seconds) if amount == JUDGED else given(seconds, amount) for seconds in lasts]
                found.append(observed_maps(who, self.taskset, spans, self.bold_regions, self.scale_R))
        return {amount: np.stack(found).astype(np.float64) for amount, found in maps.items()}


def judged(duration_seconds: float) -> Span:
    """Return the part of a run that is judged: its second half."""
    return Span(duration_seconds / 2, duration_seconds, in_seconds=True)


def given(duration_seconds: float, amount: str) -> Span:
    """Return the part of a run that is given, which ends before what is judged.

    Examples
    --------
    >>> given(300.0, "2").of(300.0), given(300.0, "4").of(300.0)
    ((0.0, 120.0), (0.0, 150.0))
    """
    half = duration_seconds / 2
    return Span(0.0, half if amount == HALF_A_RUN else min(60.0 * float(amount), half), in_seconds=True)


def bold_table(
    twin: Twin,
    maker: BatchMaker,
    question: MapQuestion,
    training: Iterable[SubjectRecord],
    records: Sequence[SubjectRecord],
    advance: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """Return how near everybody's later map is to what is said after so many minutes, one row a task, amount, predictor and person.

    Parameters
    ----------
    twin : Twin
        With person effects.
    maker : BatchMaker
    question : MapQuestion
    training : iterable of SubjectRecord
        Training people, who are read once.
    records : sequence of SubjectRecord
        Whom to predict.
    advance : function
        Called with the number of people after each part of each point of a curve.

    Returns
    -------
    DataFrame
        ``r``: over regions, the group map taken out of both (NaN where a prediction is the group map). ``gain``: the share of the group
        map's squared error that is gone; negative where it is larger.
    """
    points = [
        (task, amount) for task in range(len(question.taskset.specs)) for amount in question.amounts(records, task)
    ]
    amounts = {amount for _, amount in points if amount != "0"}
    mine, theirs = question.observed(training, amounts), question.observed(records, amounts)
    tables = []
    for task, amount in points:
        late_PR, late_SR = mine[JUDGED][:, task], theirs[JUDGED][:, task]
        group_R = mean_over_people(late_PR)[0]
        said = dict.fromkeys((GROUP_MAP, OWN_MAP), np.broadcast_to(group_R, late_SR.shape))
        if amount != "0":
            said[OWN_MAP] = _own_map(mine[amount][:, task], late_PR, theirs[amount][:, task])
        for name in TWINS:
            maps = _performed(twin, maker, question, records, task, amount, name, advance)
            said[name] = np.concatenate(list(maps))
        for name, maps_SR in said.items():
            scored = _scored(maps_SR, late_SR, group_R, records)
            tables.append(scored.assign(task=question.taskset.specs[task].name, amount=amount, predictor=name))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def bold_curves(table: pd.DataFrame, num_draws: int = NUM_DRAWS, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return the mean over people of each metric with its interval, and how much better the twin is than each other.

    Parameters
    ----------
    table : DataFrame
        From `bold_table`, of one fold or several.
    num_draws : int
        Bootstrap draws of people, relatives together.
    confidence : float

    Returns
    -------
    DataFrame
        One row for each task, amount, predictor and metric: ``value``, ``lower``, ``upper``, ``num_people``, and the same of the living
        twin minus that predictor with the prefix ``twin_gain_``.
    """
    found, weights = [], Weights(num_draws)
    for (task, amount), rows in table.groupby(["task", "amount"], sort=False):
        people = {str(name): by_person(some) for name, some in rows.groupby("predictor", sort=False)}
        mine = people[LIVING]
        weights_BS, nothing_S = weights.of(mine), np.zeros(len(mine))
        for name, some in people.items():
            for metric in METRICS:
                own_S, other_S = (each[metric].reindex(mine.index).to_numpy(np.float64) for each in (mine, some))
                if not np.isfinite(other_S).any():
                    continue
                one = estimate(mean_of, nothing_S, other_S, weights_BS, confidence)
                gap = difference(mean_of, nothing_S, own_S, other_S, weights_BS, confidence)
                figures = (one.value, one.lower, one.upper, one.num_people, gap.value, gap.lower, gap.upper)
                found.append((task, amount, name, metric, *figures))
    columns = ["task", "amount", "predictor", "metric", "value", "lower", "upper", "num_people"]
    return pd.DataFrame(found, columns=[*columns, "twin_gain", "twin_gain_lower", "twin_gain_upper"])


def _own_map(early_PR: np.ndarray, late_PR: np.ndarray, early_SR: np.ndarray) -> np.ndarray:
    """Return the later group map plus a share of how people's early maps differ from the early group map; learnt on training people."""
    group_R, early_R = mean_over_people(late_PR)[0], mean_over_people(early_PR)[0]
    x_PR, y_PR = early_PR - early_R, late_PR - group_R
    both_PR = np.isfinite(x_PR) & np.isfinite(y_PR)
    share = float((x_PR[both_PR] @ y_PR[both_PR]) / max(float(x_PR[both_PR] @ x_PR[both_PR]), 1e-300))
    return np.asarray(group_R + max(share, 0.0) * np.nan_to_num(early_SR - early_R))


def _performed(
    twin: Twin,
    maker: BatchMaker,
    question: MapQuestion,
    records: Sequence[SubjectRecord],
    task: int,
    amount: str,
    name: str,
    advance: Callable[[int], None],
) -> Iterator[np.ndarray]:
    """Yield the twin's later maps (S, R) of one task, some people at a time."""
    for begin in range(0, len(records), PEOPLE_AT_ONCE):
        some = records[begin : begin + PEOPLE_AT_ONCE]
        batch = maker.batch(some, "test")
        connectome_SE = batch.connectome_SE if name == LIVING else torch.full_like(batch.connectome_SE, torch.nan)
        latents = prior_of(twin, connectome_SE)
        given_SKV = _given_volumes(batch, some, task, amount)
        if given_SKV.any():
            told = only(batch, torch.zeros_like(batch.trials.usable_J), given_SKV)
            latents = condition(twin, told, latents).latents
        with torch.inference_mode():
            generated = twin.hypernetwork.decode(latents.mean_SZ.float())
            ((_, bold_SKVR),) = simulated_by(twin, generated, 1, batch, some, with_bold=True)
        maps = []
        for row, record in enumerate(some):
            series = run_series(bold_SKVR[row].numpy(), batch, row, record)
            seen = {number: np.asarray(record.runs[number].bold_VR)[:, question.bold_regions] for number in series}
            spans = [judged(run.duration_seconds) for run in record.runs]
            num_regions = len(question.bold_regions)
            maps.append(maps_of_series(record, series, question.taskset, spans, num_regions, seen)[task])
        advance(len(some))
        yield np.stack(maps).astype(np.float64)


def _given_volumes(batch: Batch, records: Sequence[SubjectRecord], task: int, amount: str) -> torch.Tensor:
    """Return which counted volumes (S, K, V) of a task are given."""
    end_SK = np.zeros(batch.run_SK.shape)
    for row, record in enumerate(records):
        for segment, run in enumerate(batch.run_SK[row].tolist()):
            if run >= 0:
                end_SK[row, segment] = given(record.runs[run].duration_seconds, amount).end
    seconds_SKV = batch.start_seconds_SK[..., None] + batch.volume_seconds_SKV.double()
    here_SK = batch.task_SK == task
    return batch.bold_counted_SKV & here_SK[..., None] & (seconds_SKV < torch.from_numpy(end_SK)[..., None])


def _scored(
    said_SR: np.ndarray, late_SR: np.ndarray, group_R: np.ndarray, records: Sequence[SubjectRecord]
) -> pd.DataFrame:
    """Return a row for each person who has a later map."""
    error_S, of_group_S = (np.nanmean(np.square(late_SR - maps_SR), axis=1) for maps_SR in (said_SR, group_R))
    family = [who.covariates.get("family") for who in records]
    table = pd.DataFrame(
        {
            "pseudonym": [who.pseudonym for who in records],
            "family": pd.array([None if each is None else str(each) for each in family], dtype="string"),
            "r": row_correlations(said_SR - group_R, late_SR - group_R),
            "gain": 1 - error_S / of_group_S,
        }
    )
    return table[np.isfinite(table["gain"])]
