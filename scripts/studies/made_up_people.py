"""People of `dtb synth` as records in memory, without its files: what a study of hundreds of people a second needs.

They are the people that `dtb synth` and `dtb ingest` with default settings give, but for the rounding of the files and the volumes that
ingestion leaves out for motion.

Shape letters: `V` volume, `R` region, `J` trial.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from dtb.cohort.connectomes.estimate import fisher_z
from dtb.cohort.series.read import Series
from dtb.config import SynthConfig
from dtb.groundtruth.behaviour import decide, events_table, make_decider, make_design
from dtb.groundtruth.population import Person, make_person, make_population
from dtb.groundtruth.signals import artefact, autocorrelated, displacement, motion_level, regressors, response_maps
from dtb.groundtruth.tree import write_table
from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Split
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials


def made_up_people(synth: SynthConfig, seed: int, *, with_bold: bool = True) -> tuple[list[SubjectRecord], TaskSet]:
    """Return the people of a made-up cohort who have rest, and their tasks.

    Parameters
    ----------
    synth : SynthConfig
    seed : int
    with_bold : bool
        Whether their runs have BOLD.
    """
    population = make_population(synth, seed)
    taskset = TaskSet(tuple(load_task(task) for task in synth.tasks))
    designs = {task: [make_design(task, run, seed) for run in range(synth.runs_per_task)] for task in synth.tasks}
    found = []
    for index in range(synth.num_subjects):
        person = make_person(population, synth, seed, index)
        rng = np.random.default_rng([seed, 6, index])
        motion = motion_level(person, synth, rng)
        missing = np.random.default_rng([seed, 10, index])
        has_rest = missing.random() >= synth.missing_rest_fraction
        rest = [_rest(person, synth, motion, rng) for _ in range(synth.num_rest_runs)] if has_rest else []
        decider, runs = make_decider(person, synth, seed, index), []
        for place, (task, each) in enumerate(designs.items()):
            maps = response_maps(person, population, synth, task, seed, index)
            for number, design in enumerate(each):
                if missing.random() < synth.missing_run_fraction:
                    continue
                task_rng = np.random.default_rng([seed, 7, index, place, number])
                rt_J, correct_J = decide(decider, design.condition_J, synth, task_rng)
                trials = _trials(events_table(design, rt_J, correct_J, synth.repetition_time), taskset, task)
                series_VR = None
                if with_bold:
                    num_volumes = int(np.ceil(design.end_seconds / synth.repetition_time))
                    active_J = np.where(np.isnan(rt_J), design.duration_J.clip(max=2.0), rt_J)
                    times_V = np.arange(num_volumes) * synth.repetition_time
                    design_VC = regressors(design.onset_J, active_J, design.condition_J, tuple(maps), times_V)
                    noise_VR = autocorrelated(person.correlation_RR, num_volumes, synth.repetition_time, task_rng)
                    moved_V = displacement(
                        motion, num_volumes, synth, np.random.default_rng([seed, 8, index, place, number])
                    )
                    series_VR = design_VC @ np.stack(list(maps.values())) + synth.bold_noise * noise_VR
                    series_VR = (series_VR + artefact(moved_V, synth)[:, None]).astype(np.float32)
                    series_VR -= series_VR.mean(axis=0)
                label, seconds = f"{task}AP", trials.end_seconds
                if series_VR is not None:
                    seconds = len(series_VR) * synth.repetition_time
                spacing = None if series_VR is None else synth.repetition_time
                runs.append(Run(task, label, None, f"{number + 1:02d}", trials, seconds, series_VR, spacing))
        if not rest or not runs:
            continue
        covariates = {
            "age": person.age,
            "sex": person.sex,
            "site": f"site{person.site}",
            "motion": float(np.mean([moved for _, moved in rest])),
            "rest_seconds": synth.rest_seconds * synth.num_rest_runs,
        }
        edges_E = np.mean([edges_E for edges_E, _ in rest], axis=0).astype(np.float32)
        found.append(SubjectRecord(f"p{index:05d}", edges_E, covariates, tuple(runs)))
    return found, taskset


def divided(people: list[SubjectRecord], seed: int) -> Split:
    """Return a division at random with the sizes of the default split: a fifth tests, 15% of the others validate."""
    names = np.array([person.pseudonym for person in people])[np.random.default_rng(seed).permutation(len(people))]
    test, rest = np.split(names, [len(names) // 5])
    validation, train = np.split(rest, [round(0.15 * len(rest))])
    return Split("subjects", *(tuple(sorted(part.tolist())) for part in (train, validation, test)))


def _rest(person: Person, synth: SynthConfig, motion: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return the connectome of a rest run and its mean framewise displacement."""
    num_volumes = round(synth.rest_seconds / synth.repetition_time)
    series_VR = autocorrelated(person.correlation_RR, num_volumes, synth.repetition_time, rng)
    moved_V = displacement(motion, num_volumes, synth, rng)
    series_VR = series_VR + artefact(moved_V, synth)[:, None]
    return fisher_z(Series(series_VR, synth.repetition_time, None)), float(moved_V[1:].mean())


def _trials(table: dict[str, list[str]], taskset: TaskSet, task: str) -> Trials:
    """Read the trials of a table of events as ingestion does."""
    spec = next(spec for spec in taskset.specs if spec.name == task)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.tsv"
        write_table(path, table)
        return read_trials(spec, path).trials
