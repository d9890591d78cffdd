"""Simulations and changes as BIDS derivatives: one folder per person, named by pseudonym, for tools that read BIDS.

Events hold every press that was drawn; series and relation matrices are means over members of the ensemble and simulations.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dtb.files import write_frame, write_json, write_text
from dtb.people.records import Run, SubjectRecord, matrix_from_edges
from dtb.twin.export import TwinCard
from dtb.version import __version__

if TYPE_CHECKING:
    import pandas as pd

DERIVATIVES = "derivatives"
"""Name of the folder within a stage's output."""

BIDS_VERSION = "1.10.0"
RESEARCH_ONLY = "Simulated by a model of this person; for research only, not medical advice."
_README = f"""# Digital twins

{RESEARCH_ONLY}

Each `sub-` folder is named with a pseudonym, and holds what the twin of that person did, or what was found with it:

- `*_desc-sim_events.tsv`: a row for each press that was drawn, of each member of the ensemble and each performance;
- `*_desc-sim_timeseries.tsv`: the simulated BOLD of each region, in the units of the observed signal, a row a volume;
- `*_desc-sim_relmat.tsv`: the correlations of the simulated signals over all runs;
- `*_desc-change_relmat.tsv`: the change of the person's resting-state correlations that a search found.

Series and matrices are means over members and performances. Made by dtb from the source data that `dataset_description.json` names.
"""
_EVENT_COLUMNS = {
    "trial_type": "Condition of the trial.",
    "member": "Member of the ensemble, from 0.",
    "noise_draw": "Simulation with its own process noise, from 0.",
    "draw": "Draw of a press for this trial, from 0.",
    "response": "Alternative that the twin pressed; n/a without a press.",
}


def describe_derivatives(folder: Path, card: TwinCard, source: Mapping[str, str]) -> None:
    """Write the files at the root: the description, the README, and the list of names that BIDS does not define yet.

    Parameters
    ----------
    folder : Path
        Root of the derivative data set.
    card : TwinCard
    source : mapping of str to str
        `Name`, `License` and `DatasetDOI` of the data set that the cohort was made of, as far as they are known.
    """
    named = {"DOI": source["DatasetDOI"]} if "DatasetDOI" in source else {}
    write_json(
        folder / "dataset_description.json",
        {
            "Name": f"Digital twins of {source['Name']}" if "Name" in source else "Digital twins",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": source.get("License", "As the source data"),
            "GeneratedBy": [
                {"Name": "dtb", "Version": __version__, "Description": f"{RESEARCH_ONLY} Labels are pseudonyms."}
            ],
            "SourceDatasets": [{**named, "Version": f"cohort {card.cohort_hash}"}],
        },
    )
    write_text(folder / "README.md", _README)
    # Names of proposals that the standard has not taken up: series of BEP 12, relation matrices of BEP 17, derived events.
    write_text(folder / ".bidsignore", "*_timeseries.*\n*_relmat.*\n*_desc-sim_events.*\n")


def write_person(folder: Path, key: str, tables: Mapping[str, pa.Table], record: SubjectRecord) -> None:
    """Write one person's simulations.

    Parameters
    ----------
    folder : Path
        Root of the derivative data set.
    key : str
        Pseudonym.
    tables : mapping of str to Table
        As `dtb.fleet.performance_tables.simulation_tables` makes them.
    record : SubjectRecord
        The person, with the runs that were simulated.
    """
    import pandas as pd

    func = folder / f"sub-{key}" / "func"
    own = {name: table.filter(pc.equal(table["pseudonym"], key)) for name, table in tables.items()}
    stems = _stems(key, record.runs)
    for number, rows in _by_run(own, "trials"):
        path = func / f"{stems[number]}_desc-sim_events"
        write_frame(path.with_name(f"{path.name}.tsv"), _events(rows, record.runs[number]), sync=False)
        columns = {name: {"Description": text} for name, text in _EVENT_COLUMNS.items()}
        write_json(path.with_name(f"{path.name}.json"), {**columns, "Description": RESEARCH_ONLY}, sync=False)
    for number, rows in _by_run(own, "bold"):
        run = record.runs[number]
        signal = rows.groupby("volume")["bold"].apply(lambda lists: np.stack(list(lists)).mean(axis=0))
        path = func / f"{stems[number]}_desc-sim_timeseries"
        series = pd.DataFrame(np.stack(list(signal)), columns=_regions(tables["bold"]))
        write_frame(path.with_name(f"{path.name}.tsv"), series, sync=False)
        sidecar = {
            "Description": RESEARCH_ONLY,
            "RepetitionTime": run.repetition_time,
            "StartTime": run.first_volume_seconds,
            "TaskName": run.task,
        }
        write_json(path.with_name(f"{path.name}.json"), sidecar, sync=False)
    if "connectomes" in own and own["connectomes"].num_rows:
        edges_E = np.stack(own["connectomes"]["correlations"].to_pylist()).mean(axis=0)
        regions = _regions(tables["connectomes"])
        write_relmat(func / f"sub-{key}_desc-sim_relmat", edges_E, regions, "Pearson correlation of simulated BOLD")


def write_relmat(
    stem: Path, edges_E: np.ndarray, regions: Sequence[str], measure: str | None, diagonal: float = 1.0
) -> None:
    """Write a symmetric relation matrix with the names of its regions, and its sidecar.

    Parameters
    ----------
    stem : Path
        Path without extension.
    edges_E : (E,) ndarray
        Upper triangle, row by row.
    regions : sequence of str
    measure : str or None
        What the numbers are; None where a sidecar at the root says it for everybody (`write_relmat_sidecar`).
    diagonal : float
    """
    import pandas as pd

    matrix_RR = matrix_from_edges(np.asarray(edges_E, dtype=np.float64), diagonal)
    write_frame(stem.with_name(f"{stem.name}.tsv"), pd.DataFrame(matrix_RR, columns=list(regions)), sync=False)
    if measure is not None:
        write_relmat_sidecar(stem.with_name(f"{stem.name}.json"), measure)


def write_relmat_sidecar(path: Path, measure: str) -> None:
    """Write what the numbers of a relation matrix are, or of all whose names end in that of this file (BIDS' inheritance)."""
    sidecar = {"Description": RESEARCH_ONLY, "RelationshipMeasure": measure, "Weighted": True, "Directed": False}
    write_json(path, sidecar, sync=False)


def _by_run(own: Mapping[str, pa.Table], name: str) -> Iterator[tuple[int, pd.DataFrame]]:
    if name in own:
        table = own[name].to_pandas()
        for number in sorted(set(table["run"])):
            yield int(number), table[table["run"] == number]


def _stems(key: str, runs: Sequence[Run]) -> list[str]:
    """Return the BIDS name of each run; runs with equal entities get a number."""

    stems: list[str] = []
    for number, run in enumerate(runs):
        parts = [f"sub-{key}", f"ses-{run.session}" if run.session else "", f"task-{run.label}"]
        stem = "_".join(part for part in [*parts, f"run-{run.run}" if run.run else ""] if part)
        stems.append(stem if stem not in stems else "_".join(part for part in [*parts, f"run-{number + 1}"] if part))
    return stems


def _events(rows: pd.DataFrame, run: Run) -> pd.DataFrame:
    import pandas as pd

    rows = rows.sort_values(["onset", "member", "noise_draw", "draw"])
    columns: dict[str, Any] = {
        "onset": rows["onset"],
        "duration": run.trials.window_seconds_J[rows["trial"].to_numpy()],
        "trial_type": rows["condition"].astype(object),
        **{name: rows[name] for name in ("member", "noise_draw", "draw")},
        "response": rows["choice"].astype(object),
        "response_time": rows["rt"],
    }
    return pd.DataFrame(columns)


def _regions(table: pa.Table) -> list[str]:
    names: list[str] = json.loads(table.schema.metadata[b"regions"])
    return names
