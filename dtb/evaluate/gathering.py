"""What an evaluation is made from: observations, the twins' predictions, and those of baselines fitted to the training data alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from rich.progress import Progress

from dtb import terminal
from dtb.config import Config
from dtb.evaluate.inputs import EvaluationInputs
from dtb.evaluate.predictors.blend import Blend, learn_blend
from dtb.evaluate.predictors.fitting import from_columns
from dtb.evaluate.predictors.predictions import (
    Prediction,
    Summary,
    mean_over_people,
    summaries_of_halves,
    summaries_of_runs,
    summary_of_people,
    with_means_of_others,
)
from dtb.evaluate.predictors.table import STACK, Given, given_of, left_out_predictions
from dtb.evaluate.predictors.twin import given_connectomes, predict, predict_from_strangers
from dtb.evaluate.scores.ceilings import FEWEST_FOR_A_CEILING, said_by_other_half
from dtb.evaluate.scores.covariates import basis_with_group, covariate_basis, known_covariates
from dtb.evaluate.scores.evidence import Evidence, Strangers
from dtb.evaluate.scores.figure import BLEND, TWIN
from dtb.evaluate.scores.observed import People, Spans, collect, maps_of_halves
from dtb.evaluate.scores.picked import picks_of
from dtb.evaluate.scores.statistics import STREAM, draw_weights
from dtb.evaluate.scores.strangers import block_of_people, deals
from dtb.people.covariates import family_numbers
from dtb.people.relatives import alike_pairs
from dtb.shards.batches import BatchMaker
from dtb.twin.model import Twin


def gather(task: EvaluationInputs, config: Config, progress: Progress) -> Evidence:
    """Return observations, the twins' predictions, and those of baselines fitted to the training data alone.

    Parameters
    ----------
    task : EvaluationInputs
    config : Config
        `evaluate` is read.
    progress : Progress
        Running display.
    """
    return gather_with_given(task, config, progress)[0]


def gather_with_given(task: EvaluationInputs, config: Config, progress: Progress) -> tuple[Evidence, Given]:
    """Return the evidence, and what baselines were fitted to."""
    scale_R = task.twin.bold_scale_R.numpy().astype(np.float64)
    regions = task.bold_regions

    def read(pseudonyms: tuple[str, ...], spans: Spans, what: str) -> People:
        bar = progress.add_task(what, total=len(pseudonyms))
        records = progress.track(task.cohort.records(pseudonyms), task_id=bar)
        return collect(records, task.taskset, spans, regions, scale_R)

    training = read(task.training_people, task.training_spans, "training people")
    people = read(task.split.test, partial(task.split.spans, "test"), "held-out data")
    if not task.split.tests_seen_people:
        _warn_of_relatives(training, people)
    bar = progress.add_task("twins perform", total=len(people))
    has_connectomes = bool(np.isfinite(people.edges_SE).any())
    connectomes = {TWIN: people.edges_SE}
    if has_connectomes:
        connectomes |= given_connectomes(people.edges_SE, task.twin.edge_mean_E.numpy())
    predictions = predict_test_people(
        task, [task.twin, *task.members], people, connectomes, lambda count: progress.advance(bar, count)
    )
    bar = progress.add_task("strangers' twins", total=len(people))
    strangers = _from_strangers(task, people, lambda count: progress.advance(bar, count)) if has_connectomes else None
    bar = progress.add_task("baselines", total=1)
    target = summary_of_people(training, task.taskset)
    if task.split.kind == "tasks":
        target = with_means_of_others(target, task.taskset.index(task.split.held_out))
    seen = task.split.tests_seen_people
    given = given_of(_as_encoded(training, task.twin), target, _as_encoded(people, task.twin), task.taskset, seen=seen)
    predictions |= given.predictions
    scale = Summary(*(_deviation_over_people(getattr(target, field.name)) for field in dataclasses.fields(Summary)))
    validation = _validation(task)
    blend = _blend(given, validation)
    if blend is not None:
        predictions[BLEND] = blend.of(predictions[STACK].summary, predictions[TWIN].summary)
    # What people did before cannot be judged on training people, who did nothing before.
    picks = {} if seen else picks_of(training, left_out_predictions(given), given.fold_S, task.taskset, scale)
    progress.advance(bar)
    covariates, half_maps = known_covariates(training.covariates, people.covariates), None
    if len(regions):
        spans = partial(task.split.spans, "test")
        half_maps = maps_of_halves(task.cohort.records(task.split.test), task.taskset, spans, regions, scale_R)
    evidence = Evidence(
        task.taskset,
        people,
        summary_of_people(people, task.taskset),
        summaries_of_halves(people, task.taskset, half_maps),
        predictions,
        mean_over_people(target.maps_STR)[0],
        scale,
        draw_weights(len(people), config.evaluate.num_bootstrap, STREAM, family_numbers(people.covariates)),
        config.evaluate.confidence,
        summaries_of_runs(people, task.taskset),
        said_by_other_half(training.trials, people.trials),
        _from_rest_runs(task, people),
        covariates,
        covariate_basis(people.covariates, covariates.known) if covariates.known else None,
        strangers,
        basis_with_group(people.covariates, covariates.known),
        None if validation is None else validation[1].mean_rt_ST - validation[2].mean_rt_ST,
        blend=blend,
        picks=picks,
    )
    return evidence, given


def _from_rest_runs(task: EvaluationInputs, people: People) -> tuple[Summary, Summary] | None:
    """Return the twin's predictions from people's first rest run alone, and from their second; None if too few have two."""
    num_runs = [len(task.cohort.header(who).get("rest_runs", [])) for who in people.pseudonyms]
    if sum(num >= 2 for num in num_runs) < FEWEST_FOR_A_CEILING:
        return None
    connectomes = {name: np.full_like(people.edges_SE, np.nan) for name in ("first", "second")}
    for row, record in enumerate(task.cohort.records(task.split.test)):
        for name, edges_E in zip(
            connectomes, list(record.rest_runs.values()) if num_runs[row] >= 2 else [], strict=False
        ):
            connectomes[name][row] = edges_E
    found = predict_test_people(task, [task.twin, *task.members], people, connectomes)
    unknown_S = np.array(num_runs) < 2
    for prediction in found.values():
        for field in dataclasses.fields(Summary):
            getattr(prediction.summary, field.name)[unknown_S] = np.nan
    return found["first"].summary, found["second"].summary


def _validation(task: EvaluationInputs) -> tuple[tuple[str, ...], Summary, Summary] | None:
    """Return validation people, what they did, and what the twin says; None if they were seen in training too.

    They had a part in when training stopped, and in nothing else.
    """
    split, nowhere = task.split, np.zeros(0, np.int64)
    if split.kind != "subjects":
        return None
    spans = partial(split.spans, "validation")
    people = collect(task.cohort.records(split.validation), task.taskset, spans, nowhere, np.zeros(0))
    said = predict(
        [task.twin, *task.members],
        maker_of(task),
        task.cohort.records(split.validation),
        people,
        "validation",
        split,
        task.taskset,
        nowhere,
        {TWIN: people.edges_SE},
    )
    return people.pseudonyms, summary_of_people(people, task.taskset), said[TWIN].summary


def _blend(given: Given, validation: tuple[tuple[str, ...], Summary, Summary] | None) -> Blend | None:
    """Return how much of the twin and of the stack is best for validation people; None without a stack or enough of them."""
    if validation is None or STACK not in given.regressions:
        return None
    pseudonyms, did, said = validation
    place = {who: row for row, who in enumerate(given.training.pseudonyms)}
    rows = [place[who] for who in pseudonyms]
    left_out_VY = given.regressions[STACK].left_out_SY[rows]
    found = learn_blend(did, from_columns(left_out_VY, *given.target.maps_STR.shape[1:])[0], said)
    return found if any(np.isfinite(share_T).any() for share_T in found.share.values()) else None


def _warn_of_relatives(training: People, people: People) -> None:
    """Warn of pairs of people who are as similar as relatives and not known to be."""
    family_S = family_numbers([*training.covariates, *people.covariates])
    pairs_P2 = alike_pairs(np.concatenate([training.edges_SE, people.edges_SE]), family_S)
    if len(pairs_P2):
        names = (*training.pseudonyms, *people.pseudonyms)
        one, other = names[pairs_P2[0, 0]], names[pairs_P2[0, 1]]
        terminal.err.print(
            f"Warning: as alike as relatives' or one person's are the connectomes of {len(pairs_P2)} "
            f"{'pair' if len(pairs_P2) == 1 else 'pairs'} of people (for example {one} and {other}), of whom no common family is known. If "
            "they are relatives, name the column of families (`ingest.family_column`) and ingest and train anew: p-values and intervals "
            "take people for unrelated."
        )


def _from_strangers(task: EvaluationInputs, people: People, advance: Callable[[int], None]) -> Strangers | None:
    """Return predictions of everybody's behaviour from strangers' connectomes; None if nobody has a stranger."""
    family_S = family_numbers(people.covariates)
    block_S = block_of_people(people.pseudonyms, family_S)
    donor_DS = deals(block_S, family_S)
    if not (donor_DS >= 0).any():
        return None
    twins, regions = [task.twin, *task.members], task.bold_regions
    by_block = task.cohort.records([people.pseudonyms[place] for place in np.argsort(block_S, kind="stable")])
    found = predict_from_strangers(
        twins, maker_of(task), by_block, people, "test", task.split, task.taskset, regions, donor_DS, advance
    )
    return Strangers(found, donor_DS, block_S, family_S)


def maker_of(task: EvaluationInputs) -> BatchMaker:
    """Return what makes batches of people as the twin was trained on them."""
    step_seconds, regions = task.card.config.step_seconds, task.bold_regions.tolist()
    return BatchMaker(task.taskset, task.card.segments, step_seconds, regions, task.split)


def predict_test_people(
    task: EvaluationInputs,
    twins: Sequence[Twin],
    people: People,
    connectomes: Mapping[str, np.ndarray],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Prediction]:
    """Return predictions of the held-out data by a twin or an ensemble, from connectomes given by name."""
    split, taskset, regions = task.split, task.taskset, task.bold_regions
    records = task.cohort.records(split.test)
    return predict(twins, maker_of(task), records, people, "test", split, taskset, regions, connectomes, advance)


def _as_encoded(people: People, twin: Twin) -> People:
    """Return people with the edges that the twin's encoder reads, so that regressions see the same: its tangent space, where it has one."""
    if twin.tangent is None:
        return people
    rows = [twin.tangent(torch.from_numpy(edges_E)[None])[0].numpy() for edges_E in people.edges_SE]
    return dataclasses.replace(people, edges_SE=np.array(rows, np.float32).reshape(people.edges_SE.shape))


def _deviation_over_people(values_ST: np.ndarray) -> np.ndarray:
    mean_1T = mean_over_people(values_ST)
    return np.sqrt(mean_over_people((values_ST - mean_1T) ** 2))
