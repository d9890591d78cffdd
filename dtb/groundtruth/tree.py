"""The files of a made-up cohort: descriptions, sidecars, and runs as XCP-D writes them.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dtb.cohort.bids.source import MADE_UP_SEED
from dtb.config import SynthConfig
from dtb.files import write_bytes, write_json, write_text
from dtb.groundtruth.fixed_point import fixed_point
from dtb.groundtruth.population import Person, Population
from dtb.version import __version__

SPACE = "MNI152NLin2009cAsym"


def run_folder(out: Path, pipeline: str, label: str) -> Path:
    """Return the folder of a person's runs in a derivative tree."""
    return out / "derivatives" / pipeline / f"sub-{label}" / "func"


def write_parcels(
    out: Path,
    label: str,
    name: str,
    series_VR: np.ndarray,
    displacement_V: np.ndarray,
    population: Population,
    synth: SynthConfig,
) -> None:
    """Write a run's parcellated series and its framewise displacement."""
    folder = run_folder(out, "xcp_d", label)
    stem = f"{name}_space-{SPACE}_seg-Toy{synth.num_regions}_stat-mean_timeseries"
    header = ("\t".join(population.region_names) + "\n").encode()
    write_bytes(folder / f"{stem}.tsv", header + fixed_point(series_VR), sync=False)
    sidecar = {**timing_in_words(synth), "DummyScans": 0, "SamplingFrequency": 1 / synth.repetition_time}
    write_json(folder / f"{stem}.json", sidecar, sync=False)
    text = b"framewise_displacement\nn/a\n" + fixed_point(displacement_V[1:, None])
    write_bytes(folder / f"{name}_motion.tsv", text, sync=False)


def timing_in_words(synth: SynthConfig) -> dict[str, float | bool]:
    """Return the entries of a sidecar on the volumes' times: each is the beginning of its acquisition."""
    return {"RepetitionTime": synth.repetition_time, "SliceTimingCorrected": False, "StartTime": 0.0}


def write_descriptions(out: Path, population: Population, synth: SynthConfig, seed: int) -> None:
    """Write the descriptions of the trees, and the sidecars shared by all runs."""
    made = {"Name": "dtb", "Version": __version__}
    shared = {"BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["nobody: these people do not exist"]}
    write_json(
        out / "bids" / "dataset_description.json",
        {"Name": "Ground-truth cohort", "DatasetType": "raw", **shared, "GeneratedBy": [{**made, MADE_UP_SEED: seed}]},
    )
    pipeline, what = ("fmriprep", "Images") if synth.volumes else ("xcp_d", "Parcellated series")
    tree = out / "derivatives" / pipeline
    write_json(
        tree / "dataset_description.json",
        {
            "Name": f"{what} of a ground-truth cohort, named as {'fMRIPrep' if synth.volumes else 'XCP-D'} names them",
            "DatasetType": "derivative",
            **shared,
        }
        | {"GeneratedBy": [made], "SourceDatasets": [{"URL": "../../bids"}]},
    )
    where = "preprocessed" if synth.volumes else "parcellated"
    write_text(
        out / "bids" / "README",
        "People of this cohort are made up, with known traits, connectomes and noise; see ../truth. There are no raw images: series are "
        f"given {where}, in ../derivatives/{pipeline}.\n",
    )
    for task in synth.tasks:
        write_json(out / "bids" / f"task-{task}_bold.json", {"TaskName": task, "RepetitionTime": synth.repetition_time})
        columns = {
            "response_time": {"Description": "From the trial's onset; n/a without a press.", "Units": "s"},
            "accuracy_binarized": {"Levels": {"1.0": "correct", "0.0": "error, or no press"}},
        }
        write_json(out / "bids" / f"task-{task}_events.json", columns)
    if not synth.volumes:
        write_table(tree / "atlases" / f"atlas-Toy{synth.num_regions}_dseg.tsv", region_table(population))


def region_table(population: Population) -> dict[str, list[str]]:
    """Return the columns of the table that names the regions."""
    return {
        "index": [str(place + 1) for place in range(len(population.region_names))],
        "name": population.region_names,
        "network": population.network_R.tolist(),
    } | {axis: [f"{value:.0f}" for value in population.place_R3[:, place]] for place, axis in enumerate("xyz")}


def write_participants(out: Path, people: list[Person]) -> None:
    """Write `participants.tsv` and its sidecar."""
    write_table(
        out / "bids" / "participants.tsv",
        {
            "participant_id": [f"sub-{person.label}" for person in people],
            "age": [f"{person.age:.1f}" for person in people],
            "sex": [person.sex for person in people],
            "site": [f"site{person.site + 1}" for person in people],
            "group": ["made-up"] * len(people),
        },
    )
    write_json(
        out / "bids" / "participants.json", {"age": {"Units": "years"}, "site": {"Description": "Scanner site."}}
    )


def write_table(path: Path, columns: Mapping[str, list[str]]) -> None:
    """Write columns of text as a tab-separated table."""
    lines = ["\t".join(columns), *("\t".join(row) for row in zip(*columns.values(), strict=True))]
    write_text(path, "\n".join(lines) + "\n", sync=False)
