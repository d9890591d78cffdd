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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb import terminal
from dtb.config import Config, load_config, sections
from dtb.evaluate.circumstances import read_circumstances
from dtb.evaluate.concluding import conclude
from dtb.evaluate.gathering import gather_with_given, maker_of, predict_test_people
from dtb.evaluate.inputs import EvaluationInputs, open_inputs
from dtb.evaluate.living.stage import bold_minutes, has_curves, living_table
from dtb.evaluate.predictors.retrained import permuted_twins, require_possible, retrained_baselines, with_permuted
from dtb.evaluate.scores.ceilings import edge_reliability, true_ceilings
from dtb.evaluate.scores.coverage import LEVELS, reach_of
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.figures import all_figures
from dtb.evaluate.scores.picked import with_picked
from dtb.evaluate.scores.tables import bold_map_table, scores_table, strangers_table, subjects_table
from dtb.evaluate.tracking import log_evaluation
from dtb.files import sha256_of, written_whole
from dtb.stages import CONFIG_FILE, StageCall, read_stage
from dtb.twin.export import NUMBERS_FILE

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
        evidence, given = gather_with_given(task, config, progress)
        evidence = dataclasses.replace(evidence, true_ceilings=ceilings)
        living = living_table(task, given, maker_of(task), progress) if has_curves(task) else pd.DataFrame()
        bold = bold_minutes(task, maker_of(task), progress) if has_curves(task) else pd.DataFrame()
    if config.evaluate.retrained:
        found = dict(evidence.predictions)
        for name, twin, edges_of in retrained_baselines(config, shards, trained, out / RETRAINED_FOLDER):
            edges_SE = np.stack([edges_of(record) for record in task.cohort.records(task.split.test)])
            found |= predict_test_people(task, [twin], evidence.people, {name: edges_SE})
        evidence = dataclasses.replace(evidence, predictions=found)
    figures = with_picked(all_figures(evidence), evidence.picks, evidence.weights_BS, evidence.confidence)
    if config.evaluate.num_permuted:
        twins = permuted_twins(config, shards, trained, task.training_people, out / PERMUTED_FOLDER)
        connectomes = {TWIN: evidence.people.edges_SE}
        permuted = [predict_test_people(task, [twin], evidence.people, connectomes)[TWIN] for twin in twins]
        alone = predict_test_people(task, [task.twin], evidence.people, connectomes)[TWIN] if task.members else None
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
