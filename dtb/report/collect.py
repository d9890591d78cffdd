"""The outputs of the other stages in a run folder, read into plain tables, with a reason for what is absent or cannot be read.

A report is written even when stages failed, so no absence is an error here: each part of `Collected` is either its value or a
`Missing` that the page prints in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow.dataset

from dtb.cohort.series.region_centres import region_places
from dtb.config import read_yaml
from dtb.errors import DamagedOutputError
from dtb.evaluate.certificate.verdict import Verdict, verdict_of
from dtb.evaluate.certificate.wording import headline_of
from dtb.people.parcellation import load_places
from dtb.report.collected import Collected, Evaluation, Interventions, Missing, People, Simulations, StageState, Trial
from dtb.shards.read import open_cohort
from dtb.stages import CONFIG_FILE, STAGE_FILE, read_stage

# The folder of each stage within a run folder, in the order of the pipeline.
FOLDERS = {
    "synth": "cohort",
    "ingest": "shards",
    "train": "train",
    "evaluate": "evaluate",
    "simulate": "simulate",
    "intervene": "intervene",
    "trial": "trial",
}
T = TypeVar("T")


def collect(run: Path, atlas: Path | None = None) -> Collected:
    """Read a run folder.

    Parameters
    ----------
    run : Path
        Folder with any of the folders named in `FOLDERS`.
    atlas : Path, optional
        Gives the regions' positions, see `dtb.cohort.series.region_centres.region_places`; by default what `dtb ingest` found.

    Raises
    ------
    InputDataError
        `atlas` does not give the regions' positions.
    """
    stages = {name: read_stage_state(name, run / folder) for name, folder in FOLDERS.items()}

    def attempt(stage: str, read: Callable[[Path], T]) -> T | Missing:
        folder = run / FOLDERS[stage]
        if stages[stage].state in {"absent", "damaged"}:
            return Missing(stages[stage].reason)
        try:
            return read(folder)
        except FileNotFoundError as error:
            name = Path(error.filename).name if error.filename else str(error)
            return Missing(stages[stage].reason or f"The output of `dtb {stage}` lacks {name}.")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            return Missing(f"The output of `dtb {stage}` cannot be read: {error}")

    people = attempt("ingest", _read_people)
    return Collected(
        stages=stages,
        people=people,
        split=attempt("train", lambda folder: _read_json(folder / "split.json", {"train", "validation", "test"})),
        learning=attempt("train", _read_learning),
        evaluation=attempt("evaluate", _read_evaluation),
        simulations=attempt("simulate", _read_simulations),
        interventions=attempt("intervene", _read_interventions),
        trial=attempt("trial", _read_trial),
        untrained=attempt("train", lambda folder: _read_table(folder / "quarantine.tsv")),
        places_R3=None
        if isinstance(people, Missing)
        else places_of_run(run, people.manifest.description.regions, atlas),
    )


def places_of_run(run: Path, regions: Sequence[str], atlas: Path | None = None) -> np.ndarray | None:
    """Return the centres (R, 3) of the regions of a run: those of an atlas that is given, or else what `dtb ingest` found."""
    return load_places(run / FOLDERS["ingest"], regions) if atlas is None else region_places(atlas, regions)


def read_stage_state(name: str, folder: Path) -> StageState:
    """Return the state of a stage in its folder, also if the folder is damaged."""
    if not folder.is_dir():
        return StageState(name, "absent", f"`dtb {name}` has not been run here.")
    if not (folder / STAGE_FILE).is_file():
        return StageState(name, "damaged", f"The folder of `dtb {name}` has no {STAGE_FILE}, so nothing in it is used.")
    try:
        found = read_stage(folder)
        settings = read_yaml(folder / CONFIG_FILE, f"`dtb {name}` wrote one there")
    except (OSError, ValueError) as error:
        return StageState(name, "damaged", f"What `dtb {name}` left cannot be read: {error}")
    if found["stage"] != name:
        return StageState(name, "damaged", f"The folder of `dtb {name}` was written by `dtb {found['stage']}`.")
    done = bool(found["complete"])
    return StageState(
        name,
        "done" if done else "interrupted",
        "" if done else f"`dtb {name}` was interrupted or failed before it finished.",
        str(found.get("dtb_version", "")),
        str(found["config_hash"]),
        dict(found["summary"]),
        settings if isinstance(settings, dict) else {},
        {str(name): str(version) for name, version in (found.get("versions") or {}).items()},
    )


def _read_people(folder: Path) -> People:
    cohort = open_cohort(folder, verify=False)
    quality = folder / "quality.tsv"
    covariates, runs = [], []
    for pseudonym in cohort.pseudonyms:
        header = cohort.header(pseudonym)
        covariates.append({"pseudonym": pseudonym, **header["covariates"]})
        runs += [{"pseudonym": pseudonym, **run} for run in header["runs"]]
    return People(
        cohort.manifest,
        cohort,
        pd.DataFrame(covariates),
        pd.DataFrame(runs),
        _read_table(folder / "quarantine.tsv"),
        _read_table(folder / "left_out.tsv"),
        _quality_of_used(pd.read_csv(quality, sep="\t", na_values="n/a")) if quality.is_file() else pd.DataFrame(),
    )


def _quality_of_used(quality: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the people and runs that are used."""
    aside = [quality[name].notna() for name in ("set_aside", "left_out") if name in quality]
    return quality[~np.any(aside, axis=0)] if aside else quality


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table of text; an absent file has no rows."""
    if not path.is_file() or not path.stat().st_size:
        return pd.DataFrame({"reason": pd.Series(dtype=str)})
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    _need(table, path, {"reason"})
    return table


def _read_learning(folder: Path) -> pd.DataFrame:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    learning = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
    _need(learning, folder / "metrics.jsonl", {"epoch", "train_loss", "validation_loss"})
    # An interrupted training writes an epoch again when it goes on: the later line is the one that counts.
    return learning.drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)


def _read_evaluation(folder: Path) -> Evaluation:
    figures = _read_json(folder / "figures.json", {"claim", "rows"})
    subjects = pd.read_parquet(folder / "subjects.parquet")
    _need(subjects, folder / "subjects.parquet", {"pseudonym", "task", "observed_mean_rt", "predicted_mean_rt"})
    path = folder / "bold_map.parquet"
    bold_map = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    if len(bold_map):
        _need(bold_map, path, {"task", "region", "observed", "predicted"})
    certificate = _read_json(folder / "certificate.json", {"verdict", "sentence", "tests", "not_tested", "notes"})
    living = pd.DataFrame()
    if (path := folder / "living.parquet").is_file():
        living = pd.read_parquet(path)
        _need(
            living, path, {"kind", "given", "judged", "amount", "num_given", "predictor", "figure", "metric", "value"}
        )
    return Evaluation(figures, certificate, subjects, bold_map, living)


def read_headline(run: Path) -> str | None:
    """Read whether the twin of a run does not fit, in a sentence; None of one that does, or that was not evaluated."""
    folder = run / FOLDERS["evaluate"]
    if read_stage_state("evaluate", folder).state != "done":
        return None
    return headline_of(_read_json(folder / "certificate.json", set()))


def read_verdict(run: Path) -> Verdict:
    """Read the verdict on the twin of a run; of one that was not evaluated, that it was not."""
    folder = run / FOLDERS["evaluate"]
    is_there = read_stage_state("evaluate", folder).state == "done"
    return verdict_of(_read_json(folder / "certificate.json", set()) if is_there else None)


def _read_simulations(folder: Path) -> Simulations:
    return Simulations(_all_rows(folder / "status", {"pseudonym", "status", "reason"}), folder)


def _read_interventions(folder: Path) -> Interventions:
    columns = {
        "pseudonym",
        "indicator",
        "task",
        "unit",
        "is_target",
        "is_wanted",
        "before",
        "after",
        "random_after",
        "spread",
    }
    status = _all_rows(folder / "status", {"pseudonym", "status", "reason"})
    results = pd.DataFrame(columns=sorted(columns))
    if any((folder / "results").glob("*.parquet")):
        results = _all_rows(folder / "results", columns)
    return Interventions(results, status, folder)


def _read_trial(folder: Path) -> Trial:
    result = _read_json(
        folder / "trial.json", {"protocol", "protocol_hash", "target", "primary", "support", "num_abstained"}
    )
    tables = []
    for name, columns in (
        ("doses", {"arm", "dose", "effect", "effect_lower", "effect_upper", "effect_in_retest_sd", "responders"}),
        ("matrix", {"arm", "task", "indicator", "is_target", "mean_size"}),
        ("slopes", {"arm", "slope", "slope_lower", "slope_upper", "share_growing"}),
    ):
        table = pd.read_csv(folder / f"{name}.tsv", sep="\t", na_values="n/a")
        _need(table, folder / f"{name}.tsv", columns)
        tables.append(table)
    return Trial(result, *tables)


def _all_rows(folder: Path, columns: set[str]) -> pd.DataFrame:
    if not any(folder.glob("*.parquet")):
        raise FileNotFoundError(2, "no Parquet file", str(folder / "*.parquet"))
    table = pyarrow.dataset.dataset(sorted(map(str, folder.glob("*.parquet"))), format="parquet").to_table().to_pandas()
    _need(table, folder, columns)
    return table


def _read_json(path: Path, keys: set[str]) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    missing = keys - set(found if isinstance(found, dict) else ())
    if missing:
        raise DamagedOutputError(f"{path.name} lacks {', '.join(sorted(missing))}")
    return dict(found)


def _need(table: pd.DataFrame, path: Path, columns: set[str]) -> None:
    missing = columns - set(table.columns)
    if missing:
        raise DamagedOutputError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
