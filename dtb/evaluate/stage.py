"""``dtb evaluate``: the exported twin on held-out data, beside baselines fitted to the same training data.

Writes `figures.json` (every figure, and the claim in words), `subjects.parquet` (one row a person and task), `bold_map.parquet` (mean
contrast maps, observed and predicted), `scores.parquet` (what each figure was computed from, one row a figure and person),
`strangers.parquet` (losses of people by connectome), `covariates.parquet` (of the people tested, for `dtb pool`) and `certificate.json`,
`.md` and `.html` (whether the twin is personal, test by test); of twins with person effects `living.parquet` and `living_people.parquet`
(what is said after so many of people's own trials: figures over people, and of each), and `living_bold.parquet` and
`living_bold_people.parquet` where they predict BOLD (the same after so many minutes of it).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import Progress

from dtb import terminal
from dtb.config import Config, load_config, sections
from dtb.evaluate.certificate.certify import NUM_PERMUTATIONS, certify
from dtb.evaluate.certificate.conclusion import compares_connectomes
from dtb.evaluate.certificate.fit import Circumstances
from dtb.evaluate.certificate.page import reading_notes, to_html, to_markdown
from dtb.evaluate.certificate.provenance import about
from dtb.evaluate.certificate.rows import first_rows
from dtb.evaluate.certificate.wording import claim_in_words
from dtb.evaluate.circumstances import read_circumstances
from dtb.evaluate.inputs import EvaluationInputs, open_inputs
from dtb.evaluate.living.stage import bold_conclusions, bold_minutes, conclusions, has_curves, living_table
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
from dtb.evaluate.predictors.retrained import permuted_twins, require_possible, retrained_baselines, with_permuted
from dtb.evaluate.predictors.table import STACK, Given, given_of, left_out_predictions
from dtb.evaluate.predictors.twin import given_connectomes, predict, predict_from_strangers
from dtb.evaluate.scores.ceilings import FEWEST_FOR_A_CEILING, edge_reliability, said_by_other_half, true_ceilings
from dtb.evaluate.scores.covariates import Covariates, Facts, basis_with_group, covariate_basis, known_covariates
from dtb.evaluate.scores.coverage import LEVELS, reach_of
from dtb.evaluate.scores.evidence import Evidence, Strangers
from dtb.evaluate.scores.figure import BLEND, TWIN, Figure
from dtb.evaluate.scores.figures import all_figures
from dtb.evaluate.scores.observed import People, Spans, collect, maps_of_halves
from dtb.evaluate.scores.picked import picks_of, with_picked
from dtb.evaluate.scores.statistics import STREAM, draw_weights
from dtb.evaluate.scores.strangers import block_of_people, deals
from dtb.evaluate.scores.tables import bold_map_table, figures_table, scores_table, strangers_table, subjects_table
from dtb.evaluate.tracking import log_evaluation
from dtb.files import sha256_of, write_json, write_text, written_whole
from dtb.people.covariates import family_numbers
from dtb.people.relatives import alike_pairs
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Split
from dtb.stages import CONFIG_FILE, OutputFolder, StageCall, read_stage
from dtb.twin.export import NUMBERS_FILE
from dtb.twin.model import Twin

FIGURES_FILE = "figures.json"
SUBJECTS_FILE = "subjects.parquet"
BOLD_MAP_FILE = "bold_map.parquet"
SCORES_FILE = "scores.parquet"
COVARIATES_FILE = "covariates.parquet"
STRANGERS_FILE = "strangers.parquet"
PERMUTED_FOLDER, RETRAINED_FOLDER = "permuted", "retrained"


def evaluate(
    config: Config,
    shards: Path,
    trained: Path,
    out: Path,
    *,
    resume: bool,
    dry_run: bool = False,
    truth: Path | None = None,
) -> None:
    """Score an exported twin on the part of the data that its split holds out.

    Parameters
    ----------
    config : Config
        `seed` and `evaluate` are read, and `cluster` to train on permuted connectomes.
    shards : Path
        Output folder of `dtb ingest`.
    trained : Path
        Output folder of `dtb train`.
    out : Path
        Folder to write into.
    resume : bool
        Accept a folder that an interrupted evaluation with the same settings left.
    dry_run : bool
        Check the inputs and say what would be done, without doing it.
    truth : Path, optional
        Folder of a ground-truth cohort's truth, for its ceilings.

    Raises
    ------
    UserError
        An input is absent, incomplete or belongs to other data, or the output folder is in use.
    """
    task = open_inputs(shards, trained, config.evaluate.members)
    require_possible(config, task)
    inputs = _inputs(task, (trained, *config.evaluate.members))
    ceilings = true_ceilings(truth, seen=task.split.tests_seen_people) if truth is not None else {}
    further = f" and {len(task.members)} members of its ensemble" if task.members else ""
    planned = (
        f"Would evaluate the twin of {trained}{further} on {len(task.split.test)} people (split by {task.split.kind}) and write to "
        f"{out}."
    )
    settings = sections(config, "seed", "evaluate")
    call = StageCall("evaluate", out, settings, resume=resume, dry_run=dry_run, inputs=inputs)
    if call.ends_early(lambda: terminal.out.print(planned)):
        return
    folder = call.claim()
    with terminal.progress() as progress:
        evidence, given = _gathered(task, config, progress)
        evidence = dataclasses.replace(evidence, true_ceilings=ceilings)
        living = living_table(task, given, _maker(task), progress) if has_curves(task) else pd.DataFrame()
        bold = bold_minutes(task, _maker(task), progress) if has_curves(task) else pd.DataFrame()
    if config.evaluate.retrained:
        found = dict(evidence.predictions)
        for name, twin, edges_of in retrained_baselines(config, shards, trained, out / RETRAINED_FOLDER):
            edges_SE = np.stack([edges_of(record) for record in task.cohort.records(task.split.test)])
            found |= _predict(task, [twin], evidence.people, {name: edges_SE})
        evidence = dataclasses.replace(evidence, predictions=found)
    figures = with_picked(all_figures(evidence), evidence.picks, evidence.weights_BS, evidence.confidence)
    if config.evaluate.num_permuted:
        twins = permuted_twins(config, shards, trained, task.training_people, out / PERMUTED_FOLDER)
        connectomes = {TWIN: evidence.people.edges_SE}
        permuted = [_predict(task, [twin], evidence.people, connectomes)[TWIN] for twin in twins]
        alone = _predict(task, [task.twin], evidence.people, connectomes)[TWIN] if task.members else None
        figures = with_permuted(figures, evidence, permuted, alone)
    predictions, reach_T = dict(evidence.predictions), reach_of(evidence, LEVELS[-1])
    subjects = subjects_table(evidence.people, evidence.observed, predictions, task.taskset, "test", reach_T)
    maps = bold_map_table(
        evidence.observed, evidence.predictions[TWIN].summary, task.taskset, task.card.bold_region_names
    )
    scores = scores_table(figures, evidence.people.pseudonyms)
    facts = pd.DataFrame(evidence.people.covariates, index=pd.Index(evidence.people.pseudonyms, name="pseudonym"))
    strangers = strangers_table(figures, evidence.people.pseudonyms)
    tables = {
        STRANGERS_FILE: strangers,
        SUBJECTS_FILE: subjects,
        BOLD_MAP_FILE: maps,
        SCORES_FILE: scores,
        COVARIATES_FILE: facts.reset_index(),
    }
    for name, table in tables.items():
        with written_whole(out / name) as temporary:
            table.to_parquet(temporary, index=False)
    described = {
        **_split_in_words(task, trained),
        "covariates": dataclasses.asdict(evidence.covariates),
        "stimuli_depend_on_responses": [spec.name for spec in task.taskset.specs if spec.stimuli_depend_on_responses],
        "edge_reliability": edge_reliability(shards),
        "share_of_twin_in_blend": None
        if evidence.blend is None
        else evidence.blend.to_plain(tuple(spec.name for spec in task.taskset.specs)),
    }
    circumstances = read_circumstances(shards, (trained, *config.evaluate.members), task.split)
    conclude(
        folder,
        config,
        figures,
        task.split,
        evidence.weights_BS,
        described,
        evidence.people.covariates,
        circumstances,
        living,
        bold,
    )
    log_evaluation(trained, read_stage(trained)["summary"].get("tracker_id"), out, figures, subjects)


def _inputs(task: EvaluationInputs, trained: Sequence[Path]) -> dict[str, str]:
    """Return the hashes of the inputs, so that --resume does not go on with another twin or cohort."""
    twins = {f"twin {number}": sha256_of(each / "twin" / NUMBERS_FILE) for number, each in enumerate(trained, start=1)}
    return {"cohort": task.cohort.manifest.cohort_hash, "split": task.split.split_hash, **twins}


def conclude(
    folder: OutputFolder,
    config: Config,
    figures: list[Figure],
    split: Split,
    weights_BS: np.ndarray,
    described: dict[str, Any],
    people: Facts,
    circumstances: Circumstances,
    living: pd.DataFrame | None = None,
    bold: pd.DataFrame | None = None,
) -> None:
    """Write figures, claim and certificate, finish the folder, and print the results.

    Parameters
    ----------
    folder : OutputFolder
    config : Config
        `evaluate` is read.
    figures : list of Figure
    split : Split
        Its test people are those of the figures.
    weights_BS : (B, S)
        Bootstrap draws that the figures were made with.
    described : dict
        What `figures.json` says about the split.
    people : sequence of mapping
        Covariates of the test people.
    circumstances : Circumstances
        What may be why the twin does not fit, if it does not.
    living : DataFrame, optional
        What was said after so many of people's own trials (`dtb.evaluate.living.table`).
    bold : DataFrame, optional
        What was said after so many minutes of their task BOLD (`dtb.evaluate.living.bold`).
    """
    out, num_people = folder.path, len(split.test)
    living = pd.DataFrame() if living is None else living
    certificate = certify(
        figures,
        are_seen=split.tests_seen_people,
        num_people=num_people,
        weights_BS=weights_BS,
        confidence=config.evaluate.confidence,
        covariates=Covariates(**{name: tuple(value) for name, value in described["covariates"].items()}),
        num_seeds=len(described.get("seeds", [0])),
        family_S=family_numbers(people),
        circumstances=circumstances,
    )
    certificate = dataclasses.replace(certificate, about=about(described, people))
    if len(living):
        worths, tables = conclusions(living, config.evaluate.num_bootstrap, config.evaluate.confidence)
        if compares_connectomes(figures):
            certificate = dataclasses.replace(certificate, worths=tuple(worths))
        if bold is not None:
            tables |= bold_conclusions(bold, config.evaluate.num_bootstrap, config.evaluate.confidence)
        for name, table in tables.items():
            with written_whole(out / name) as temporary:
                table.to_parquet(temporary, index=False)
    decided = {(test.task, test.metric): test.verdict for test in certificate.tests if test.kind == "baseline"}
    claim = claim_in_words(split, figures, decided)
    write_json(
        out / FIGURES_FILE,
        {
            "split": described,
            "fit": certificate.fit.to_plain(),
            "claim": claim,
            "certificate": {"verdict": certificate.verdict, "sentence": certificate.sentence},
            "confidence": config.evaluate.confidence,
            "num_bootstrap": config.evaluate.num_bootstrap,
            "rows": [figure.to_plain() for figure in figures],
        },
    )
    notes = reading_notes(
        certificate,
        confidence=config.evaluate.confidence,
        num_draws=config.evaluate.num_bootstrap,
        num_permutations=NUM_PERMUTATIONS,
        edges=described.get("edge_reliability"),
    )
    rows = first_rows(certificate.tests, certificate.coverage, certificate.worths)
    in_short = [{"verdict": verdict, "cells": list(cells)} for verdict, cells in rows]
    write_json(out / "certificate.json", {**certificate.to_plain(), "rows": in_short, "notes": notes})
    folder.finish(
        {
            "num_test": num_people,
            "split": split.kind,
            "num_figures": len(figures),
            "fits": certificate.fit.fits,
            "claim": claim,
        }
    )
    for name, to_page in (("certificate.md", to_markdown), ("certificate.html", to_html)):
        with terminal.or_warn(f"{out / name} was not made"):
            write_text(out / name, to_page(certificate, notes))
    terminal.out.print(figures_table(figures))
    if certificate.fit.headline is not None:
        terminal.out.print(certificate.fit.headline, style="bold red")
    terminal.out.print(claim)
    terminal.out.print(f"{certificate.sentence} The certificate is {out / 'certificate.html'}.")


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
    return _gathered(task, config, progress)[0]


def _gathered(task: EvaluationInputs, config: Config, progress: Progress) -> tuple[Evidence, Given]:
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
    predictions = _predict(
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
    found = _predict(task, [task.twin, *task.members], people, connectomes)
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
        _maker(task),
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
        twins, _maker(task), by_block, people, "test", task.split, task.taskset, regions, donor_DS, advance
    )
    return Strangers(found, donor_DS, block_S, family_S)


def _maker(task: EvaluationInputs) -> BatchMaker:
    step_seconds, regions = task.card.config.step_seconds, task.bold_regions.tolist()
    return BatchMaker(task.taskset, task.card.segments, step_seconds, regions, task.split)


def _predict(
    task: EvaluationInputs,
    twins: Sequence[Twin],
    people: People,
    connectomes: Mapping[str, np.ndarray],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Prediction]:
    """Return predictions of the held-out data by a twin or an ensemble, from connectomes given by name."""
    split, taskset, regions = task.split, task.taskset, task.bold_regions
    records = task.cohort.records(split.test)
    return predict(twins, _maker(task), records, people, "test", split, taskset, regions, connectomes, advance)


def _as_encoded(people: People, twin: Twin) -> People:
    """Return people with the edges that the twin's encoder reads, so that regressions see the same: its tangent space, where it has one."""
    if twin.tangent is None:
        return people
    rows = [twin.tangent(torch.from_numpy(edges_E)[None])[0].numpy() for edges_E in people.edges_SE]
    return dataclasses.replace(people, edges_SE=np.array(rows, np.float32).reshape(people.edges_SE.shape))


def _deviation_over_people(values_ST: np.ndarray) -> np.ndarray:
    mean_1T = mean_over_people(values_ST)
    return np.sqrt(mean_over_people((values_ST - mean_1T) ** 2))


def _split_in_words(task: EvaluationInputs, trained: Path) -> dict[str, Any]:
    split, settings = task.split, load_config(trained / CONFIG_FILE).split
    # Which fold it is the settings know, for the split holds people alone.
    fold = {"fold": settings.fold, "num_folds": settings.num_folds}
    return {
        **(fold if split.kind in {"subjects", "tasks"} and settings.kind in {"subjects", "tasks"} else {}),
        "kind": split.kind,
        "held_out": split.held_out,
        "seed": task.card.seed,
        "num_members": 1 + len(task.members),
        "split_hash": split.split_hash,
        "cohort_hash": task.card.cohort_hash,
        "num_train": len(split.train),
        "num_validation": len(split.validation),
        "num_test": len(split.test),
        "train_until": split.train_until,
        "validation_until": split.validation_until,
    }
