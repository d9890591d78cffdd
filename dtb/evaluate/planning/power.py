"""The people of a planned study, without files, and how strongly their traits have to act for an effect of a given size.

They are those of the ground-truth generator. The connectome is estimated from as many minutes of rest as the plan says, and behaviour from
as many trials. An effect may be given its size, the partial correlation that the largest of the studies reaches beyond age, sex, site and
motion: the traits' effect on behaviour is then set to it.

Shape letters: `S` person, `E` edge, `J` trial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy import stats

from dtb.config import PlanConfig, SynthConfig
from dtb.errors import ConfigurationError
from dtb.evaluate.planning.stand_in import Behaviour
from dtb.evaluate.planning.verdict import Verdict, partial_r, verdict_of
from dtb.evaluate.scores.covariates import Facts
from dtb.groundtruth.behaviour import decide, make_decider, make_design
from dtb.groundtruth.population import Person, make_person, make_population
from dtb.groundtruth.signals import artefact, autocorrelated, displacement, motion_level
from dtb.groundtruth.truth import CONDITIONS
from dtb.people.records import edges_from_matrix

_STRENGTHS = 0.1 * 2.0 ** np.arange(6)
"""Of the traits, tried in turn until the wanted size is exceeded; what is stronger than the last leaves people without any press."""
_NUM_TUNING, _NUM_HALVINGS = 6, 2


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a study would collect.

    Attributes
    ----------
    people : int
    rest_minutes : float
    trials : int
    """

    people: int
    rest_minutes: float
    trials: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a setting does.

    Attributes
    ----------
    setting : Setting
    power : float
        Share of cohorts whose certificate calls the twin personal, in what is claimed.
    lower, upper : float
        95% interval of that share (Clopper and Pearson).
    no : float
        Share of cohorts whose certificate says that the twin is not personal.
    mean_r : float
        Mean over cohorts of the partial correlation between prediction and observation.
    num_tests : int
        Tests of such a certificate.
    """

    setting: Setting
    power: float
    lower: float
    upper: float
    no: float
    mean_r: float
    num_tests: int


def settings(config: PlanConfig) -> list[Setting]:
    """List what to try: each number of people with each length of rest, and with each number of trials."""
    minutes = sorted(config.rest_minutes)[len(config.rest_minutes) // 2]
    trials = sorted(config.trials)[len(config.trials) // 2]
    found = [Setting(people, each, trials) for each in sorted(config.rest_minutes) for people in sorted(config.people)]
    found += [Setting(people, minutes, each) for each in sorted(config.trials) for people in sorted(config.people)]
    return list(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One cohort's people with all that any setting collects of them, so that settings differ by what they collect alone.

    Attributes
    ----------
    edges_SE : dict of float to (S, E)
        Estimated connectomes by minutes of rest.
    tasks : dict of str to Behaviour
        What they did in as many trials as any setting has, by task.
    facts : sequence of mapping
        Each person's age, sex, site and motion.
    """

    edges_SE: dict[float, np.ndarray]
    tasks: dict[str, Behaviour]
    facts: Facts

    def verdict(self, setting: Setting, config: PlanConfig) -> Verdict:
        """Return what the certificate says of what a setting collects."""
        return verdict_of(
            self.edges_SE[setting.rest_minutes][: setting.people],
            {task: did.only(setting.people, setting.trials) for task, did in self.tasks.items()},
            self.facts[: setting.people],
            claim=config.claim,
            task=config.task,
            significance=config.significance,
        )


def make_study(config: PlanConfig, synth: SynthConfig, seed: int) -> Study:
    """Make one cohort of as many people as the largest setting has."""
    people = _people(config, synth, seed)
    return Study(
        {minutes: _connectomes(people, minutes, synth, seed) for minutes in config.rest_minutes},
        {task: _behaviour(people, task, max(config.trials), synth, seed) for task in tasks_of(config)},
        _facts(people, synth, seed),
    )


def tasks_of(config: PlanConfig) -> list[str]:
    """Return all tasks of the plan, that of the claim first."""
    return list(dict.fromkeys([config.task, *config.other_tasks]))


def _connectomes(people: list[Person], minutes: float, synth: SynthConfig, seed: int) -> np.ndarray:
    return np.stack([estimated_connectome(person, minutes, synth, seed, index) for index, person in enumerate(people)])


def _facts(people: list[Person], synth: SynthConfig, seed: int) -> Facts:
    return [
        {
            "age": person.age,
            "sex": person.sex,
            "site": str(person.site),
            "motion": motion_of(person, synth, seed, index),
        }
        for index, person in enumerate(people)
    ]


def _people(config: PlanConfig, synth: SynthConfig, seed: int) -> list[Person]:
    population = make_population(synth, seed)
    return [make_person(population, synth, seed, index) for index in range(max(config.people))]


def largest(config: PlanConfig) -> Setting:
    """Return the setting that collects most of everything."""
    return Setting(max(config.people), max(config.rest_minutes), max(config.trials))


def strength_of(
    size: float,
    config: PlanConfig,
    synth: SynthConfig,
    seed: int,
    followed: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> float:
    """Find how strongly traits must act on behaviour for the largest study to reach a partial correlation of `size`, on the mean.

    Behaviour of every strength is drawn for the same cohorts, which are none of those that the plan counts.

    Parameters
    ----------
    size : float
        Between 0 and 1.
    config : PlanConfig
    synth : SynthConfig
        Its `trait_strength` is not read.
    seed : int
    followed : callable, optional
        Goes through a sequence and shows how far it is.

    Returns
    -------
    float
        `synth.trait_strength`.

    Raises
    ------
    ConfigurationError
        No strength reaches the size.
    """
    study = largest(config)
    seeds = [seed * 100_003 + 50_021 + cohort for cohort in range(_NUM_TUNING)]
    cohorts = []
    for each in followed(seeds):
        people = _people(config, synth, each)
        cohorts.append(
            (each, people, _connectomes(people, study.rest_minutes, synth, each), _facts(people, synth, each))
        )

    def reached(strength: float) -> float:
        stronger = dataclasses.replace(synth, trait_strength=strength)
        found = [
            partial_r(edges_SE, _behaviour(people, config.task, study.trials, stronger, each), facts, config.claim)
            for each, people, edges_SE, facts in cohorts
        ]
        return float(np.mean(found))

    lower, upper = (0.0, 0.0), (0.0, 0.0)  # strength and size
    most = 0.0
    for strength in _STRENGTHS:
        upper = float(strength), reached(strength)
        most = max(most, upper[1])
        if upper[1] >= size:
            break
        lower = upper
    else:
        raise ConfigurationError(
            f"plan.size is {size:g}, but however strongly traits act, {study.people} people with {study.rest_minutes:g} minutes of rest "
            f"and {study.trials} trials reach a partial r of {most:.2f}: what can be measured of people bounds it. Give a smaller size, "
            "or more people, minutes or trials."
        )
    for _ in range(_NUM_HALVINGS):
        middle = (lower[0] + upper[0]) / 2, reached((lower[0] + upper[0]) / 2)
        lower, upper = (lower, middle) if middle[1] >= size else (middle, upper)
    return lower[0] + (upper[0] - lower[0]) * (size - lower[1]) / (upper[1] - lower[1])


def estimated_connectome(person: Person, minutes: float, synth: SynthConfig, seed: int, index: int) -> np.ndarray:
    """Estimate a connectome, Fisher z (E,), from minutes of rest, with what moving does to them."""
    rng = np.random.default_rng([seed, 20, index])
    num_volumes = max(3, round(60 * minutes / synth.repetition_time))
    series_VR = autocorrelated(person.correlation_RR, num_volumes, synth.repetition_time, rng)
    moved_V = displacement(motion_of(person, synth, seed, index), num_volumes, synth, rng)
    series_VR = series_VR + artefact(moved_V, synth)[:, None]
    correlation_E = edges_from_matrix(np.corrcoef(series_VR, rowvar=False))
    return np.arctanh(np.clip(correlation_E, -0.9999999, 0.9999999)).astype(np.float32)


def motion_of(person: Person, synth: SynthConfig, seed: int, index: int) -> float:
    """Return how much a person moves, as the person's files would say: mean framewise displacement in millimetres."""
    return motion_level(person, synth, np.random.default_rng([seed, 6, index]))


def _behaviour(people: list[Person], task: str, num_trials: int, synth: SynthConfig, seed: int) -> Behaviour:
    design = make_design(task, 0, seed)
    shown_J = np.resize(design.condition_J, num_trials)
    rt_SJ, is_right_SJ = np.empty((len(people), num_trials)), np.empty((len(people), num_trials), bool)
    for index, person in enumerate(people):
        rng = np.random.default_rng([seed, 21, list(CONDITIONS).index(task), index])
        decider = make_decider(person, synth, seed, index)
        rt_SJ[index], is_right_SJ[index] = decide(decider, shown_J, synth, rng)
    return Behaviour(rt_SJ, is_right_SJ, (shown_J == CONDITIONS[task][0]).astype(np.int64))


def outcome(setting: Setting, found: Sequence[Verdict]) -> Outcome:
    """Sum up a setting's cohorts."""
    hits, nos = sum(each.is_personal for each in found), sum(each.is_no for each in found)
    interval = stats.binomtest(hits, len(found)).proportion_ci(0.95, method="exact")
    mean_r, num_tests = float(np.mean([each.r for each in found])), max(each.num_tests for each in found)
    share, no = hits / len(found), nos / len(found)
    return Outcome(setting, share, float(interval.low), float(interval.high), no, mean_r, num_tests)
