"""`dtb synth`: a made-up cohort with known truth, in the format of real data.

    OUT/bids                  participants.tsv, events.tsv of each run, sidecars
    OUT/derivatives/xcp_d     parcellated rest and task series and motion, in XCP-D's naming; or, with `synth.volumes`,
    OUT/derivatives/fmriprep  images, masks and confounds, in fMRIPrep's, and OUT/atlases
    OUT/truth                 traits, causal edges, expectations, noise ceilings

No part of it is the twin's own model class: behaviour comes from a drift-diffusion process, BOLD from a convolution, and the connectome
that a reader estimates from the finite rest series differs from the one that caused them. A person depends on the seed and their number
alone, so the files are the same whoever makes them.

Shape letters: `S` subject, `V` volume, `R` region, `E` edge, `J` trial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from dtb import terminal
from dtb.cluster.fan_out import as_finished
from dtb.config import Config, SynthConfig, sections
from dtb.errors import StageError
from dtb.groundtruth.behaviour import Design, decide, events_table, expectations, make_decider, make_design
from dtb.groundtruth.images import atlas_path, bytes_per_volume, write_atlas, write_volumes
from dtb.groundtruth.population import Person, Population, make_person, make_population
from dtb.groundtruth.signals import artefact, autocorrelated, displacement, motion_level, regressors, response_maps
from dtb.groundtruth.tree import write_descriptions, write_parcels, write_participants, write_table
from dtb.groundtruth.truth import Performance, TaskTruth, make_task_truth, write_truth
from dtb.stages import StageCall

_FEW = 200  # people who are made sooner than a cluster has started
_BYTES_PER_NUMBER = 7.6


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
    call = StageCall("synth", out, sections(config, "seed", "synth"), resume=resume, dry_run=dry_run)
    if call.ends_early(lambda: terminal.out.print(_plan(designs, synth, out))):
        return
    folder = call.claim()
    write_descriptions(out, population, synth, config.seed)
    if synth.volumes:
        write_atlas(out, population, synth)
    shared = (out.absolute(), population, designs, synth, config.seed)
    indices = range(synth.num_subjects)
    made: Iterable[tuple[int, tuple[Person, dict[str, TaskTruth]] | None, str]]
    if synth.num_subjects < _FEW:
        made = ((index, _make_one(index, shared), "") for index in indices)
    else:
        made = as_finished(_make_one, indices, shared, config.cluster, out)
    results: dict[int, tuple[Person, dict[str, TaskTruth]]] = {}
    with terminal.progress() as progress:
        for index, result, death in progress.track(made, total=len(indices), description="People"):
            if result is None:
                raise StageError(f"Person {index + 1} could not be made, twice: {death}. See `dtb doctor`.")
            results[index] = result
    people = [results[index][0] for index in indices]
    truths = [results[index][1] for index in indices]
    write_participants(out, people)
    ceilings = write_truth(out, people, truths, population, synth)
    folder.finish({"num_subjects": synth.num_subjects, "num_regions": synth.num_regions, "ceilings": ceilings})
    series = out / "derivatives" / ("fmriprep" if synth.volumes else "xcp_d")
    terminal.out.print(f"{synth.num_subjects} people, {synth.num_regions} regions: {out / 'bids'}, {series}")
    if synth.volumes:
        terminal.out.print(f"To read them: --ingest.layout fmriprep --ingest.atlas {atlas_path(out, synth)}")
    terminal.out.print(_ceiling_table(ceilings))


def _plan(designs: Mapping[str, list[Design]], synth: SynthConfig, out: Path) -> str:
    """Return the people to make, and the disk space that they need."""
    runs = [design for each in designs.values() for design in each]
    seconds = synth.num_rest_runs * synth.rest_seconds + sum(design.end_seconds for design in runs)
    written = bytes_per_volume(synth.num_regions) if synth.volumes else _BYTES_PER_NUMBER * synth.num_regions
    gigabytes = synth.num_subjects * seconds / synth.repetition_time * written / 1e9
    missing = [
        f"{share:.0%} without {what}"
        for share, what in (
            (synth.missing_rest_fraction, "rest"),
            (synth.missing_run_fraction, "each task run"),
        )
        if share
    ]
    return (
        f"Would write {synth.num_subjects} people of {synth.num_sites} site(s) with {synth.num_regions} regions to {out}, about "
        f"{gigabytes:.2g} GB of {'images' if synth.volumes else 'series'}: {synth.num_rest_runs} rest runs of {synth.rest_seconds:g} s and "
        f"{synth.runs_per_task} run(s) each of {', '.join(synth.tasks)}"
        + (f"; {', '.join(missing)}." if missing else ".")
    )


def _ceiling_table(ceilings: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = terminal.table("How well anyone could predict what was observed", "noise ceiling (r)", *ceilings)
    for figure in next(iter(ceilings.values()), {}):
        values = (ceilings[task][figure] for task in ceilings)
        table.add_row(
            figure.replace("_from_", " from ").replace("_", " "),
            *("-" if value is None else f"{value:.2f}" for value in values),
        )
    return table


def _make_one(index: int, shared: tuple[Any, ...]) -> tuple[Person, dict[str, TaskTruth]]:
    """Write one person's files, and return the person without the matrix that only the series need."""
    out, population, designs, synth, seed = shared
    person = make_person(population, synth, seed, index)
    rng = np.random.default_rng([seed, 6, index])
    scanner = _Scanner(out, person, population, synth, seed, index, motion_level(person, synth, rng))
    missing = np.random.default_rng([seed, 10, index])
    if missing.random() >= synth.missing_rest_fraction:
        scanner.rest(rng)
    truths = _perform(scanner, designs, missing)
    slim = dataclasses.replace(person, edges_E=person.edges_E.astype(np.float32), correlation_RR=np.zeros((0, 0)))
    return slim, truths


@dataclasses.dataclass(frozen=True, eq=False)
class _Scanner:
    """Makes a person's series with head motion, and writes the runs."""

    out: Path
    person: Person
    population: Population
    synth: SynthConfig
    seed: int
    index: int
    motion: float

    def rest(self, rng: np.random.Generator) -> None:
        """Make and write the rest runs."""
        num_volumes = round(self.synth.rest_seconds / self.synth.repetition_time)
        for run in range(self.synth.num_rest_runs):
            name = f"task-rest_dir-{('AP', 'PA')[run % 2]}_run-{run // 2 + 1:02d}"
            series_VR = self.noise(num_volumes, rng)
            self.write(name, series_VR, displacement(self.motion, num_volumes, self.synth, rng))

    def noise(self, num_volumes: int, rng: np.random.Generator) -> np.ndarray:
        """Return a random series with the person's true connectome."""
        return autocorrelated(self.person.correlation_RR, num_volumes, self.synth.repetition_time, rng)

    def task(self, place: int, run: int, name: str, series_VR: np.ndarray) -> np.ndarray:
        """Write a task run, and return its measured series."""
        rng = np.random.default_rng([self.seed, 8, self.index, place, run])
        return self.write(name, series_VR, displacement(self.motion, len(series_VR), self.synth, rng))

    def write(self, name: str, series_VR: np.ndarray, displacement_V: np.ndarray) -> np.ndarray:
        """Add the motion artefact, write the run, and return the series."""
        artefact_V = artefact(displacement_V, self.synth)
        series_VR = series_VR + artefact_V[:, None]
        label = self.person.label
        full = f"sub-{label}_{name}"
        if self.synth.volumes:
            rng = np.random.default_rng([self.seed, 9, self.index, *name.encode()])
            write_volumes(self.out, label, full, series_VR, artefact_V, displacement_V, self.synth, rng)
        else:
            write_parcels(self.out, label, full, series_VR, displacement_V, self.population, self.synth)
        return series_VR


def _perform(
    scanner: _Scanner, designs: Mapping[str, list[Design]], missing: np.random.Generator
) -> dict[str, TaskTruth]:
    """Simulate a person in every task: write events and series, and return the truth behind them."""
    person, population, synth, seed = scanner.person, scanner.population, scanner.synth, scanner.seed
    decider = make_decider(person, synth, seed, scanner.index)
    truths = {}
    for place, (task, runs) in enumerate(designs.items()):
        maps = response_maps(person, population, synth, task, seed, scanner.index)
        performances = []
        for run, design in enumerate(runs):
            if missing.random() < synth.missing_run_fraction:
                continue
            rng = np.random.default_rng([seed, 7, scanner.index, place, run])
            rt_J, correct_J = decide(decider, design.condition_J, synth, rng)
            name = f"task-{task}_dir-AP_run-{run + 1:02d}"
            path = scanner.out / "bids" / f"sub-{person.label}" / "func" / f"sub-{person.label}_{name}_events.tsv"
            write_table(path, events_table(design, rt_J, correct_J, synth.repetition_time))
            num_volumes = int(np.ceil(design.end_seconds / synth.repetition_time))
            times_V = np.arange(num_volumes) * synth.repetition_time
            active_J = np.where(np.isnan(rt_J), design.duration_J.clip(max=2.0), rt_J)
            design_VC = regressors(design.onset_J, active_J, design.condition_J, tuple(maps), times_V)
            signal_VR = design_VC @ np.stack(list(maps.values()))
            series_VR = signal_VR + synth.bold_noise * scanner.noise(num_volumes, rng)
            series_VR = scanner.task(place, run, name, series_VR)
            performances.append(Performance(design.condition_J, rt_J, correct_J, design_VC, signal_VR, series_VR))
        shown_J = np.concatenate([design.condition_J for design in runs])
        expected = [expectations(each, tuple(maps), synth, seed) for each in (decider, decider.without_habits())]
        truths[task] = make_task_truth(task, performances, maps, shown_J, *expected)
    return truths
