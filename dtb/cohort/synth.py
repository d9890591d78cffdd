"""`dtb synth`: a cohort whose truth is known, written as a laboratory's data would be.

    OUT/bids                  participants.tsv, events.tsv of each run, sidecars
    OUT/derivatives/xcp_d     parcellated rest and task series and motion, in XCP-D's naming
    OUT/truth                 traits, causal edges, expectations, noise ceilings

No part of it is the twin's own model class: behaviour comes from a drift-diffusion process, BOLD from a convolution, and the connectome
that a reader estimates from the finite rest series differs from the one that caused them.

Shape letters: `S` subject, `V` volume, `R` region, `E` edge, `J` trial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import dtb
from dtb import terminal
from dtb.cohort.behaviour import Design, decide, events_table, expectations, make_decider, make_design
from dtb.cohort.build import in_order
from dtb.cohort.fixed_point import fixed_point
from dtb.cohort.population import Person, Population, make_person, make_population
from dtb.cohort.signals import autocorrelated, regressors, response_maps
from dtb.cohort.truth import Performance, TaskTruth, make_task_truth, write_table, write_truth
from dtb.config import Config, SynthConfig, sections
from dtb.errors import StageError
from dtb.files import OutputFolder, write_bytes, write_json, write_text

_FEW = 200  # people who are made sooner than a cluster has started
_SPACE = "MNI152NLin2009cAsym"


def synthesise(config: Config, out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Write a ground-truth cohort.

    Parameters
    ----------
    config : Config
        `seed` and `synth` are read, and `cluster` for many people.
    out : Path
        Output folder.
    resume : bool
        Go on in a folder that was begun with the same configuration.
    dry_run : bool
        Say what would be written, and write nothing.
    """
    synth = config.synth
    designs = {
        task: [make_design(task, run, config.seed) for run in range(synth.runs_per_task)] for task in synth.tasks
    }
    population = make_population(synth, config.seed)
    if dry_run:
        terminal.out.print(
            f"Would write {synth.num_subjects} people with {synth.num_regions} regions to {out}: {synth.num_rest_runs} rest runs of "
            f"{synth.rest_seconds:g} s and {synth.runs_per_task} run(s) each of {', '.join(synth.tasks)}."
        )
        return
    folder = OutputFolder.claim(out, "synth", sections(config, "seed", "synth"), resume=resume)
    if folder.is_complete:
        terminal.out.print(f"{out} is complete already; nothing to do.")
        return
    _write_descriptions(out, population, synth)
    people: list[Person] = []
    truths: list[dict[str, TaskTruth]] = []
    shared = (out.absolute(), population, designs, synth, config.seed)
    indices = range(synth.num_subjects)
    made: Iterable[tuple[int, tuple[Person, dict[str, TaskTruth]] | None]]
    if synth.num_subjects < _FEW:
        made = ((index, _make_one(index, shared)) for index in indices)
    else:
        made = in_order(_make_one, indices, shared, config.cluster)
    with terminal.progress() as progress:
        for index, result in progress.track(made, total=len(indices), description="People"):
            if result is None:
                raise StageError(
                    f"The process that made person {index + 1} died twice; is there memory enough? See `dtb doctor`."
                )
            people.append(result[0])
            truths.append(result[1])
    _write_participants(out, people)
    ceilings = write_truth(out, people, truths, population, synth)
    folder.finish({"num_subjects": synth.num_subjects, "num_regions": synth.num_regions, "ceilings": ceilings})
    terminal.out.print(
        f"{synth.num_subjects} people, {synth.num_regions} regions: {out / 'bids'}, {out / 'derivatives' / 'xcp_d'}"
    )
    for task, figures in ceilings.items():
        listed = ", ".join(f"{name} {value:.2f}" for name, value in figures.items() if value is not None)
        terminal.out.print(f"Noise ceilings (r) of {task}: {listed}")


def _make_one(index: int, shared: tuple[Any, ...]) -> tuple[Person, dict[str, TaskTruth]]:
    """Make one person and write their files; give them without the matrix that only their series need."""
    out, population, designs, synth, seed = shared
    person = make_person(population, synth, seed, index)
    _write_rest(out, person, population, synth, seed, index)
    truth = _perform(out, person, population, designs, synth, seed, index)
    slim = dataclasses.replace(person, edges_E=person.edges_E.astype(np.float32), correlation_RR=np.zeros((0, 0)))
    return slim, truth


def _write_rest(out: Path, person: Person, population: Population, synth: SynthConfig, seed: int, index: int) -> None:
    rng = np.random.default_rng([seed, 6, index])
    num_volumes = round(synth.rest_seconds / synth.repetition_time)
    motion = float(np.exp(rng.normal(-2.0 + 0.2 * person.site + 0.008 * (person.age - 40), 0.35)))
    for run in range(synth.num_rest_runs):
        name = f"sub-{person.label}_task-rest_dir-{('AP', 'PA')[run % 2]}_run-{run // 2 + 1:02d}"
        series_VR = autocorrelated(person.correlation_RR, num_volumes, synth.repetition_time, rng)
        _write_series(out, person.label, name, series_VR, population, synth)
        displacement_V = rng.gamma(2.0, motion / 2.0, num_volumes)
        text = b"framewise_displacement\nn/a\n" + fixed_point(displacement_V[1:, None])
        write_bytes(_derivative(out, person.label) / f"{name}_motion.tsv", text, sync=False)


def _perform(
    out: Path,
    person: Person,
    population: Population,
    designs: Mapping[str, list[Design]],
    synth: SynthConfig,
    seed: int,
    index: int,
) -> dict[str, TaskTruth]:
    """Let a person perform every task: write events and series, and give the truth behind them."""
    decider = make_decider(person, synth, seed, index)
    truths = {}
    for place, (task, runs) in enumerate(designs.items()):
        maps = response_maps(person, population, synth, task, seed, index)
        performances = []
        for run, design in enumerate(runs):
            rng = np.random.default_rng([seed, 7, index, place, run])
            rt_J, correct_J = decide(decider, design.condition_J, synth, rng)
            name = f"sub-{person.label}_task-{task}_dir-AP_run-{run + 1:02d}"
            path = out / "bids" / f"sub-{person.label}" / "func" / f"{name}_events.tsv"
            write_table(path, events_table(design, rt_J, correct_J, synth.repetition_time))
            num_volumes = int(np.ceil(design.end_seconds / synth.repetition_time))
            times_V = np.arange(num_volumes) * synth.repetition_time
            active_J = np.where(np.isnan(rt_J), design.duration_J.clip(max=2.0), rt_J)
            design_VC = regressors(design.onset_J, active_J, design.condition_J, tuple(maps), times_V)
            signal_VR = design_VC @ np.stack(list(maps.values()))
            noise_VR = autocorrelated(person.correlation_RR, num_volumes, synth.repetition_time, rng)
            series_VR = signal_VR + synth.bold_noise * noise_VR
            _write_series(out, person.label, name, series_VR, population, synth)
            performances.append(Performance(design.condition_J, rt_J, correct_J, design_VC, signal_VR, series_VR))
        truths[task] = make_task_truth(task, performances, maps, expectations(decider, tuple(maps), synth, seed))
    return truths


def _write_descriptions(out: Path, population: Population, synth: SynthConfig) -> None:
    made = {"Name": "dtb", "Version": dtb.__version__}
    shared = {"BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["nobody: these people do not exist"]}
    write_json(
        out / "bids" / "dataset_description.json",
        {"Name": "Ground-truth cohort", "DatasetType": "raw", **shared, "GeneratedBy": [made]},
    )
    write_json(
        out / "derivatives" / "xcp_d" / "dataset_description.json",
        {
            "Name": "Parcellated series of a ground-truth cohort, named as XCP-D names them",
            "DatasetType": "derivative",
            **shared,
        }
        | {"GeneratedBy": [made], "SourceDatasets": [{"URL": "../../bids"}]},
    )
    write_text(
        out / "bids" / "README",
        "People of this cohort are made up, with known traits, connectomes and noise; see ../truth. There are no images: series are given "
        "parcellated, in ../derivatives/xcp_d.\n",
    )
    for task in synth.tasks:
        write_json(out / "bids" / f"task-{task}_bold.json", {"TaskName": task, "RepetitionTime": synth.repetition_time})
        columns = {
            "response_time": {"Description": "From the trial's onset; n/a without a press.", "Units": "s"},
            "accuracy_binarized": {"Levels": {"1.0": "correct", "0.0": "error, or no press"}},
        }
        write_json(out / "bids" / f"task-{task}_events.json", columns)
    labels = {"index": [str(place + 1) for place in range(synth.num_regions)], "name": population.region_names}
    write_table(out / "derivatives" / "xcp_d" / "atlases" / f"atlas-Toy{synth.num_regions}_dseg.tsv", labels)


def _write_participants(out: Path, people: list[Person]) -> None:
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


def _derivative(out: Path, label: str) -> Path:
    return out / "derivatives" / "xcp_d" / f"sub-{label}" / "func"


def _write_series(
    out: Path, label: str, name: str, series_VR: np.ndarray, population: Population, synth: SynthConfig
) -> None:
    stem = f"{name}_space-{_SPACE}_seg-Toy{synth.num_regions}_stat-mean_timeseries"
    text = ("\t".join(population.region_names) + "\n").encode() + fixed_point(series_VR)
    write_bytes(_derivative(out, label) / f"{stem}.tsv", text, sync=False)
    sidecar = {"RepetitionTime": synth.repetition_time, "SamplingFrequency": 1 / synth.repetition_time}
    write_json(_derivative(out, label) / f"{stem}.json", sidecar, sync=False)
