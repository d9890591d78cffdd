"""People of `dtb synth` as records in memory, without its files: what a study of hundreds of people a second needs.

They are the people that `dtb synth` and `dtb ingest` with default settings give, but for the rounding of the files and the volumes that
ingestion leaves out for motion.

Shape letters: `V` volume, `R` region, `J` trial.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from dtb.cohort.connectomes.estimate import fisher_z
from dtb.cohort.series.read import Series
from dtb.config import SynthConfig
from dtb.groundtruth.behaviour import Design, decide, events_table, make_decider, make_design
from dtb.groundtruth.population import Person, make_person, make_population
from dtb.groundtruth.signals import artefact, autocorrelated, displacement, motion_level, regressors, response_maps
from dtb.groundtruth.tree import write_table
from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Split
from dtb.tasks.read import read_trials
from dtb.tasks.spec import TaskSpec, load_task
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
    events = {
        spec.name: [_Events(design, spec, synth.repetition_time) for design in designs[spec.name]]
        for spec in taskset.specs
    }
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
                trials = events[task][number].trials(rt_J, correct_J)
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


def divided(people: list[SubjectRecord], seed: int, fold: int = 0) -> Split:
    """Return a fold of a division at random with the sizes of the default split: a fifth tests, 15% of the others validate."""
    names = np.array([person.pseudonym for person in people])[np.random.default_rng(seed).permutation(len(people))]
    test = names[fold::5]
    rest = names[~np.isin(names, test)]
    validation, train = np.split(rest, [round(0.15 * len(rest))])
    return Split("subjects", *(tuple(sorted(part.tolist())) for part in (train, validation, test)))


def _rest(person: Person, synth: SynthConfig, motion: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return the connectome of a rest run and its mean framewise displacement."""
    num_volumes = round(synth.rest_seconds / synth.repetition_time)
    series_VR = autocorrelated(person.correlation_RR, num_volumes, synth.repetition_time, rng)
    moved_V = displacement(motion, num_volumes, synth, rng)
    series_VR = series_VR + artefact(moved_V, synth)[:, None]
    return fisher_z(Series(series_VR, synth.repetition_time, None)), float(moved_V[1:].mean())


class _Events:
    """A design's trials as ingestion reads them, read once for each outcome and put together for each person."""

    def __init__(self, design: Design, spec: TaskSpec, repetition_time: float) -> None:
        num, half = len(design.onset_J), np.full(len(design.onset_J), 0.5)
        given = {"right": (half, np.ones(num, bool)), "wrong": (half, np.zeros(num, bool))}
        given["none"] = (np.full(num, np.nan), np.zeros(num, bool))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "events.tsv"
            self._of = {}
            for name, outcome in given.items():
                write_table(path, events_table(design, *outcome, repetition_time))
                self._of[name] = read_trials(spec, path).trials

    def trials(self, rt_J: np.ndarray, correct_J: np.ndarray) -> Trials:
        """Return a person's trials."""
        pressed_J, found = np.isfinite(rt_J), {}
        right, wrong, none = (self._of[name] for name in ("right", "wrong", "none"))
        for field in dataclasses.fields(Trials):
            of = [getattr(one, field.name) for one in (right, wrong, none)]
            if not field.name.endswith(("_J", "_JA")):
                found[field.name] = of[0]
                continue
            shape = (-1,) + (1,) * (of[0].ndim - 1)
            some = np.where(correct_J.reshape(shape), of[0], of[1])
            found[field.name] = np.where(pressed_J.reshape(shape), some, of[2])
        found["rt_seconds_J"] = np.where(pressed_J, rt_J, np.nan)
        return Trials(**found)
