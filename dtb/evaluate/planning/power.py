"""How often a claim between people comes out: cohorts of the ground-truth generator, without files, predicted from their connectomes.

The predictor is ridge regression on edges, cross-validated over people: what a claim needs for a regression, it needs for a twin that is no
better than one. The connectome is estimated from as many minutes of rest, and behaviour from as many trials, as the plan says. What has to
come out is what the certificate asks for: a correlation beyond age, sex, site and motion, at the level that its correction for all of its
tests leaves to the first. A claim may be given its size, the partial correlation that the largest of the studies reaches: the traits'
effect on behaviour in the generator is then set to it.

Shape letters: `S` person, `E` edge, `J` trial, `C` column of a basis of covariates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from dtb.config import PlanConfig, SynthConfig
from dtb.errors import ConfigurationError
from dtb.evaluate.scores.covariates import Facts, covariate_basis
from dtb.evaluate.scores.statistics import PartialCorrelation, orthonormal
from dtb.groundtruth.behaviour import decide, make_decider, make_design
from dtb.groundtruth.population import Person, make_person, make_population
from dtb.groundtruth.signals import artefact, autocorrelated, displacement, motion_level
from dtb.groundtruth.truth import CONDITIONS
from dtb.people.records import edges_from_matrix

PENALTIES = np.logspace(0, 5, 6)
NUM_FOLDS = 5
COVARIATES = ("age", "sex", "site", "motion")
NUM_TESTS = 10
"""On the certificate of one task without BOLD: the first to pass has to do so at this part of the level (Holm)."""
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
        Share of cohorts in which the claim came out.
    lower, upper : float
        95% interval of that share (Clopper and Pearson).
    mean_r : float
        Mean over cohorts of the partial correlation between prediction and observation.
    """

    setting: Setting
    power: float
    lower: float
    upper: float
    mean_r: float


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
    target_S : dict of int to (S,)
        What is to be predicted, by number of trials.
    facts : sequence of mapping
        Each person's age, sex, site and motion.
    """

    edges_SE: dict[float, np.ndarray]
    target_S: dict[int, np.ndarray]
    facts: Facts


def make_study(config: PlanConfig, synth: SynthConfig, seed: int) -> Study:
    """Make one cohort of as many people as the largest setting has."""
    people = _people(config, synth, seed)
    return Study(
        {minutes: _connectomes(people, minutes, synth, seed) for minutes in config.rest_minutes},
        _targets(people, config, synth, seed),
        _facts(people, synth, seed),
    )


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
    only = dataclasses.replace(
        config, people=(study.people,), rest_minutes=(study.rest_minutes,), trials=(study.trials,)
    )
    seeds = [seed * 100_003 + 50_021 + cohort for cohort in range(_NUM_TUNING)]
    cohorts = []
    for each in followed(seeds):
        people = _people(only, synth, each)
        cohorts.append(
            (each, people, _connectomes(people, study.rest_minutes, synth, each), _facts(people, synth, each))
        )

    def reached(strength: float) -> float:
        stronger = dataclasses.replace(synth, trait_strength=strength)
        found = [
            predicted_r(edges_SE, _targets(people, only, stronger, each)[study.trials], facts)[0]
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


def _targets(people: list[Person], config: PlanConfig, synth: SynthConfig, seed: int) -> dict[int, np.ndarray]:
    most = max(config.trials)
    design = make_design(config.task, 0, seed)
    high, low = CONDITIONS[config.task]
    shown_J = np.resize(design.condition_J, most)
    found = {trials: np.empty(len(people)) for trials in config.trials}
    for index, person in enumerate(people):
        rt_J, _ = decide(
            make_decider(person, synth, seed, index), shown_J, synth, np.random.default_rng([seed, 21, index])
        )
        for trials in config.trials:
            seen_J, seen_rt_J = shown_J[:trials], rt_J[:trials]
            means = [_mean(seen_rt_J[seen_J == condition]) for condition in (high, low)]
            found[trials][index] = means[0] - means[1] if config.claim == "condition_rt" else _mean(seen_rt_J)
    return found


def _mean(values_J: np.ndarray) -> float:
    pressed_J = values_J[np.isfinite(values_J)]
    return float(pressed_J.mean()) if len(pressed_J) else float("nan")


def predicted_r(edges_SE: np.ndarray, target_S: np.ndarray, facts: Facts) -> tuple[float, float]:
    """Correlate what a ridge regression predicts of the people of each fold, fitted to the others, with what they did, beyond covariates.

    Each fold's mean is taken out as well, for between folds the training means move against the test means.

    Returns
    -------
    r : float
        Partial correlation; 0 where what is predicted does not vary beyond covariates.
    p : float
        One-sided, by Student's t with what was taken out counted off.
    """
    known_S = np.isfinite(target_S)
    edges_SE, target_S = edges_SE[known_S], target_S[known_S]
    predicted_S, fold_S = np.empty(len(target_S)), np.empty(len(target_S), np.int64)
    for fold, (fit, rest) in enumerate(KFold(NUM_FOLDS, shuffle=True, random_state=0).split(edges_SE)):
        mean_E, scale_E = edges_SE[fit].mean(axis=0), edges_SE[fit].std(axis=0)
        scale_E = np.where(scale_E > 0, scale_E, 1.0)
        model = RidgeCV(PENALTIES * edges_SE.shape[1] / 100).fit((edges_SE[fit] - mean_E) / scale_E, target_S[fit])
        predicted_S[rest], fold_S[rest] = model.predict((edges_SE[rest] - mean_E) / scale_E), fold
    basis_SC = covariate_basis([who for who, known in zip(facts, known_S, strict=True) if known], COVARIATES)
    basis_SC = orthonormal(np.concatenate([basis_SC, np.eye(NUM_FOLDS)[fold_S]], axis=1))
    r = float(PartialCorrelation(basis_SC)(target_S, predicted_S, np.ones((1, len(target_S))))[0])
    freedom = len(target_S) - basis_SC.shape[1] - 1
    if not np.isfinite(r):
        return 0.0, 1.0
    return r, float(stats.t.sf(r * np.sqrt(freedom / max(1 - r**2, 1e-12)), freedom))


def outcome(setting: Setting, found: list[tuple[float, float]], significance: float) -> Outcome:
    """Sum up a setting's cohorts, from r and p of each: a claim comes out where p is below its part of the level."""
    hits = sum(r > 0 and p < significance / NUM_TESTS for r, p in found)
    interval = stats.binomtest(hits, len(found)).proportion_ci(0.95, method="exact")
    mean_r = float(np.mean([r for r, _ in found]))
    return Outcome(setting, hits / len(found), float(interval.low), float(interval.high), mean_r)
