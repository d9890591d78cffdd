"""Behaviour of a made-up cohort: task designs, and a drift-diffusion process with lapses and omissions.

The designs are those of the Transdiagnostic Connectome Project (OpenNeuro ds005237): the events that come out are read through the same
task specifications as real ones. Evidence for the correct response grows with a person's drift plus noise of unit variance per second, in
steps of 5 ms, until it meets one of two boundaries; the press follows after a non-decision time.

Shape letters: `J` trial.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from dtb.config import SynthConfig
from dtb.errors import ConfigurationError
from dtb.groundtruth.population import AGE_SPREAD, MIDDLE_AGE, Person

_STEP = 0.005
_DEADLINE = 2.0
_FASTEST_LAPSE = 0.3
_BOUNDARY, _NON_DECISION = 0.85, 0.42
# Per standard deviation of the trait: log drift, the share of drift that conflict takes, log drift for faces.
_SLOWNESS_EFFECT, _CONFLICT_EFFECT, _REACTIVITY_EFFECT = 0.25, 0.17, 0.08
_COLORS = ("red", "green", "blue")
_NUM_EXPECTATION_TRIALS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The stimuli of one run of a task, the same for everybody.

    Attributes
    ----------
    task : str
    table : dict
        Columns of the events file that do not depend on the person.
    onset_J, duration_J : (J,) float
        Seconds.
    condition_J : (J,) str
    end_seconds : float
    """

    task: str
    table: dict[str, list[str]]
    onset_J: np.ndarray
    duration_J: np.ndarray
    condition_J: np.ndarray
    end_seconds: float


@dataclasses.dataclass(frozen=True)
class Decider:
    """A person's decision process.

    Attributes
    ----------
    drift : dict
        Drift for each condition of each task, per second.
    boundary, non_decision_seconds : float
    age_speed : float
        Factor in the drift by which age acts past the connectome.
    """

    drift: dict[str, float]
    boundary: float
    non_decision_seconds: float
    age_speed: float = 1.0

    def without_habits(self) -> Decider:
        """Return the process of a person with the same connectome but average caution, motor speed and age."""
        return Decider({name: drift / self.age_speed for name, drift in self.drift.items()}, _BOUNDARY, _NON_DECISION)


def make_design(task: str, run: int, seed: int) -> Design:
    """Make the design of run `run` (from 0) of a task.

    Parameters
    ----------
    task : str
        ``stroop`` or ``hammer``.
    run : int
    seed : int

    Raises
    ------
    ConfigurationError
        There is no such design.
    """
    makers = {"stroop": _stroop, "hammer": _hammer}
    if task not in makers:
        raise ConfigurationError(f"synth.tasks: there is no design of {task!r}; choose from {', '.join(makers)}.")
    return makers[task](np.random.default_rng([seed, 2, list(makers).index(task), run]))


def make_decider(person: Person, config: SynthConfig, seed: int, index: int) -> Decider:
    """Return the decision process of a person, from their scores and from traits that no connectome shows."""
    rng = np.random.default_rng([seed, 3, index])
    age_speed = float(np.exp(-config.age_on_behaviour * _age_effect(person.age, config.age_law)))
    speed = age_speed * np.exp(-_SLOWNESS_EFFECT * config.trait_strength * person.scores["slowness"])
    loss = np.clip(0.3 + _CONFLICT_EFFECT * config.trait_strength * person.scores["conflict"], 0.0, 0.8)
    return Decider(
        drift={
            "congruent": 2.3 * speed,
            "incongruent": 2.3 * speed * (1 - loss),
            "face": 2.0 * speed * np.exp(-_REACTIVITY_EFFECT * config.trait_strength * person.scores["reactivity"]),
            "shape": 2.4 * speed,
        },
        boundary=float(_BOUNDARY * np.exp(0.08 * rng.standard_normal())),
        non_decision_seconds=float(np.clip(_NON_DECISION + 0.03 * rng.standard_normal(), 0.2, 0.7)),
        age_speed=age_speed,
    )


def _age_effect(age: float, law: str) -> float:
    """Return how much age slows, with mean 0 and standard deviation 1 over ages that are uniform from 18 to 65."""
    age_z = (age - MIDDLE_AGE) / AGE_SPREAD
    # Of a uniform z, z and z^2 - 1 are uncorrelated, with variances 1 and 4/5.
    return age_z if law == "linear" else (age_z + age_z**2 - 1) / np.sqrt(1.8)


def decide(
    decider: Decider, condition_J: np.ndarray, config: SynthConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return responses to trials.

    Returns
    -------
    rt_J : (J,) float
        Reaction time in seconds; NaN where there was no press before the deadline.
    correct_J : (J,) bool
        Whether the press was correct; False without one.
    """
    return _perform(decider, condition_J, config, _draw_chances(len(condition_J), rng))


@dataclasses.dataclass(frozen=True, eq=False)
class _Chances:
    """Random numbers of each trial: the noise of the walk (J, steps), and numbers from U[0, 1) for lapses and omissions, (J,) each."""

    noise: np.ndarray
    lapse_J: np.ndarray
    guess_J: np.ndarray
    time_J: np.ndarray
    omission_J: np.ndarray


def _draw_chances(num: int, rng: np.random.Generator) -> _Chances:
    noise = rng.standard_normal((num, round(_DEADLINE / _STEP)), dtype=np.float32) * np.float32(np.sqrt(_STEP))
    return _Chances(noise, *(rng.random(num) for _ in range(4)))


def _perform(
    decider: Decider, condition_J: np.ndarray, config: SynthConfig, chances: _Chances
) -> tuple[np.ndarray, np.ndarray]:
    drift_J = np.array([decider.drift[condition] for condition in condition_J])
    steps = round((_DEADLINE - decider.non_decision_seconds) / _STEP)
    evidence = np.cumsum(chances.noise[:, :steps] + (drift_J * _STEP).astype(np.float32)[:, None], axis=1)
    met = np.abs(evidence) >= decider.boundary
    first = met.argmax(axis=1)
    each = np.arange(len(condition_J))
    crossed_J = met[each, first]
    rt_J = np.where(crossed_J, decider.non_decision_seconds + (first + 1) * _STEP, np.nan)
    correct_J = crossed_J & (evidence[each, first] > 0)
    lapse_J = chances.lapse_J < config.lapse_rate
    rt_J = np.where(lapse_J, _FASTEST_LAPSE + (_DEADLINE - _FASTEST_LAPSE) * chances.time_J, rt_J)
    correct_J = np.where(lapse_J, chances.guess_J < 0.5, correct_J)
    omitted_J = (chances.omission_J < config.omission_rate) | np.isnan(rt_J)
    return np.where(omitted_J, np.nan, rt_J), correct_J & ~omitted_J


def expectations(decider: Decider, conditions: tuple[str, ...], config: SynthConfig, seed: int) -> dict[str, float]:
    """Return a person's expected mean reaction time and accuracy in each condition, from many trials of the same process.

    Everybody is given the same noise, so that people differ by their parameters alone.
    """
    found = {}
    chances = _expectation_chances(seed)
    for condition in conditions:
        rt_J, correct_J = _perform(decider, np.full(_NUM_EXPECTATION_TRIALS, condition), config, chances)
        found[f"{condition}_rt"] = float(np.nanmean(rt_J)) if np.isfinite(rt_J).any() else float("nan")
        found[f"{condition}_accuracy"] = float(correct_J.mean())
    return found


@functools.cache
def _expectation_chances(seed: int) -> _Chances:
    return _draw_chances(_NUM_EXPECTATION_TRIALS, np.random.default_rng([seed, 4]))


def events_table(
    design: Design, rt_J: np.ndarray, correct_J: np.ndarray, repetition_time: float
) -> dict[str, list[str]]:
    """Return the columns of a person's events file."""
    table = {
        "onset": [f"{onset:.4f}" for onset in design.onset_J],
        "duration": [f"{duration:.4f}" for duration in design.duration_J],
        "response_time": ["n/a" if np.isnan(rt) else f"{rt:.4f}" for rt in rt_J],
        "accuracy_binarized": [f"{correct:.1f}" for correct in correct_J],
        "tr_seconds": [f"{repetition_time:g}"] * len(rt_J),
    }
    return table | design.table


def _stroop(rng: np.random.Generator) -> Design:
    pairs = [(color, color) for color in _COLORS for _ in range(18)]
    pairs += [(word, ink) for word in _COLORS for ink in _COLORS if word != ink for _ in range(4)]
    pairs = [pairs[place] for place in rng.permutation(len(pairs))]
    duration_J = rng.permutation(np.repeat([2.25, 4.5, 8.25], len(pairs) // 3))
    onset_J = 2.0 + np.concatenate([[0.0], np.cumsum(duration_J)[:-1]])
    numbers = {
        (word, ink): place for place, (word, ink) in enumerate((w, i) for i in _COLORS for w in _COLORS if w != i)
    }
    kinds = [f"con{_COLORS.index(ink) + 1}" if word == ink else f"inc{numbers[word, ink] + 1}" for word, ink in pairs]
    return Design(
        task="stroop",
        table={
            "trial_type": kinds,
            "stimulus_text": [word for word, _ in pairs],
            "stimulus_color": [ink for _, ink in pairs],
        },
        onset_J=onset_J,
        duration_J=duration_J,
        condition_J=np.array(["congruent" if word == ink else "incongruent" for word, ink in pairs]),
        end_seconds=float(onset_J[-1] + duration_J[-1] + 10.0),
    )


def _hammer(rng: np.random.Generator) -> Design:
    clock = 8.0
    columns: dict[str, list[str]] = {
        name: [] for name in ("trial_type", "cueStartTime", "stimLeft", "stimTop", "stimRight")
    }
    shapes = ["circle.bmp", "oval-horizontal.bmp", "oval-vertical.bmp"]
    faces = [f"face{number:02d}.jpg" for number in range(1, 21)]
    onsets = []
    for block in range(18):
        kind = ("shape", "face")[block % 2]
        for trial in range(6):
            columns["cueStartTime"].append("n/a" if trial else f"{clock:.4f}")
            clock += 0.0 if trial else 3.03
            top, other = rng.choice(shapes if kind == "shape" else faces, 2, replace=False)
            left_matches = rng.random() < 0.5
            columns["trial_type"].append(kind)
            columns["stimTop"].append(str(top))
            columns["stimLeft"].append(str(top if left_matches else other))
            columns["stimRight"].append(str(other if left_matches else top))
            onsets.append(clock)
            clock += 3.0 + rng.uniform(0.0, 0.08)
    return Design(
        task="hammer",
        table=columns,
        onset_J=np.array(onsets),
        duration_J=np.full(len(onsets), 1.9),
        condition_J=np.array(columns["trial_type"]),
        end_seconds=clock + 8.0,
    )
