"""BOLD of a made-up cohort: rest series drawn from the true connectome, with task responses added.

Shape letters: `V` volume, `R` region, `C` condition.
"""

from __future__ import annotations

import functools

import numpy as np

from dtb.config import SynthConfig
from dtb.groundtruth.population import Person, Population

_MEMORY_SECONDS = 1.6  # of the autocorrelated noise: lag-one correlation 0.6 at a repetition time of 0.8 s
_REACTIVITY_EFFECT = 0.5
_MIN_SECONDS = 0.1
_JERK_MM = 1.0
_RECOVERY_SECONDS = 2.0  # of the signal after a movement


def autocorrelated(
    correlation_RR: np.ndarray, num_volumes: int, repetition_time: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a random series of unit variance with the given correlation between regions and first-order autocorrelation in time.

    Returns
    -------
    (V, R) float
    """
    memory = np.exp(-repetition_time / _MEMORY_SECONDS)
    innovation_VR = rng.standard_normal((num_volumes, len(correlation_RR))) @ np.linalg.cholesky(correlation_RR).T
    innovation_VR[1:] *= np.sqrt(1 - memory**2)  # the first volume already has the stationary variance
    return _decaying(innovation_VR, memory)


def _decaying(values: np.ndarray, memory: float) -> np.ndarray:
    """Return the sum of all values until then, each weighted by `memory` to the power of its age, along the first axis."""
    from scipy.signal import lfilter  # here, because it takes as long to import as all that a dry run does

    return np.asarray(lfilter([1.0], [1.0, -memory], values, axis=0))


def motion_level(person: Person, config: SynthConfig, rng: np.random.Generator) -> float:
    """Return a person's mean framewise displacement in millimetres, drawn at random, without jerks."""
    return float(config.motion_mm * np.exp(0.2 * person.site + 0.008 * (person.age - 40) + rng.normal(0.0, 0.35)))


def displacement(level: float, num_volumes: int, config: SynthConfig, rng: np.random.Generator) -> np.ndarray:
    """Return random framewise displacements, (V,) millimetres; that of the first volume is 0."""
    displacement_V = rng.gamma(2.0, level / 2.0, num_volumes)
    if config.jerks_per_minute:
        rate = config.jerks_per_minute * config.repetition_time / 60 * level / config.motion_mm
        displacement_V += (rng.random(num_volumes) < rate) * rng.exponential(_JERK_MM, num_volumes)
    displacement_V[0] = 0.0
    return np.asarray(displacement_V)


def artefact(displacement_V: np.ndarray, config: SynthConfig) -> np.ndarray:
    """Return the motion artefact in the signal of every region, (V,): a drop at each displacement that decays within seconds."""
    memory = np.exp(-config.repetition_time / _RECOVERY_SECONDS)
    return -config.motion_artefact * _decaying(displacement_V - displacement_V.mean(), memory)


def response_maps(
    person: Person, population: Population, config: SynthConfig, task: str, seed: int, index: int
) -> dict[str, np.ndarray]:
    """Return the height of a person's response to each condition of a task in each region, (R,) each.

    The visual network answers every stimulus, the control network more under conflict, the limbic network and the subcortex to faces, in
    proportion to the trait `reactivity`; a little is the person's own.
    """
    visual, control = (population.network_R == network for network in ("Vis", "Cont"))
    affective = np.isin(population.network_R, ("Limbic", "Subcortex"))
    rng = np.random.default_rng([seed, 5, index])
    own = {
        name: 0.15 * rng.standard_normal(config.num_regions) for name in ("congruent", "incongruent", "face", "shape")
    }
    reactivity = max(0.0, 1.0 + _REACTIVITY_EFFECT * config.trait_strength * person.scores["reactivity"])
    maps = {
        "congruent": visual + 0.6 * control,
        "incongruent": visual + 1.0 * control,
        "face": visual + 0.3 * control + reactivity * affective,
        "shape": visual + 0.3 * control + 0.2 * affective,
    }
    conditions = {"stroop": ("congruent", "incongruent"), "hammer": ("face", "shape")}[task]
    return {name: maps[name] + own[name] for name in conditions}


def regressors(
    onset_J: np.ndarray,
    length_J: np.ndarray,
    condition_J: np.ndarray,
    conditions: tuple[str, ...],
    frame_times_V: np.ndarray,
) -> np.ndarray:
    """Convolve each condition's trials with Glover's haemodynamic response; 1 is the peak that follows one second of activity.

    Returns
    -------
    (V, C) float
    """
    columns = [
        _convolved(onset_J[condition_J == name], np.maximum(length_J[condition_J == name], _MIN_SECONDS), frame_times_V)
        for name in conditions
    ]
    return np.stack(columns, axis=1) / _peak()


@functools.cache
def _peak() -> float:
    """Return the height of the response to one second of activity."""
    return float(_convolved(np.zeros(1), np.ones(1), np.arange(0, 30, 0.1)).max())


def _convolved(onset_J: np.ndarray, length_J: np.ndarray, frame_times_V: np.ndarray) -> np.ndarray:
    from nilearn.glm.first_level.hemodynamic_models import compute_regressor

    events = (onset_J, length_J, np.ones(len(onset_J)))
    return np.asarray(compute_regressor(events, "glover", frame_times_V, oversampling=16)[0][:, 0])
