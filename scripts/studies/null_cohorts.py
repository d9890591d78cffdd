"""Cohorts whose truth is known, made from numbers alone: what connectomes carry, what moves behaviour, and by which way both are alike.

In a null cohort nothing of a person's connectome acts on what the person does. Both may depend on a third thing, though: the family, a
diagnosis, age, or site and motion. In a cohort with a truth, a sum of edges acts on how fast people are. What edges carry is either
*sparse* (a few edges, each moved much) or *dense* (all edges, each moved little; of the same norm).

Shape letters: `S` subject, `E` edge, `J` trial, `K` factor, `F` family.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from dtb.evaluate.planning.stand_in import Behaviour

Third = Literal["", "family", "group", "age", "site and motion"]
Loading = Literal["sparse", "dense"]
Covariates = dict[str, float | str | None]

NUM_REGIONS = 24
NUM_EDGES = NUM_REGIONS * (NUM_REGIONS - 1) // 2
NUM_SPARSE = 12
NUM_FACTORS = 10
EDGE_STEP = 0.12
"""Fisher z by which one standard deviation moves each of `NUM_SPARSE` edges, as in the ground-truth cohorts."""
NUM_TRIALS, LATEST = 40, 1.99
"""Trials of two conditions in turn, and the slowest press in seconds."""
LOCATION, LOCATION_SPREAD = np.log(0.7), 0.15
"""Of people's mean log seconds."""
SHARE_OF_THIRD = 0.25
"""Of the variance between people in behaviour."""
SHARE_IN_PAIRS, SHARE_ILL = 0.8, 1 / 3
OMITTED = 0.03


@dataclasses.dataclass(frozen=True)
class CohortKind:
    """What a cohort is made by.

    Attributes
    ----------
    third : str
        What both connectomes and behaviour depend on; nothing if empty.
    loading : {"sparse", "dense"}
        On which edges it acts, or, in a cohort with a truth, which edges act.
    strength : float
        Correlation of the edges' sum and people's speed; 0 in a null cohort.
    """

    third: Third = ""
    loading: Loading = "dense"
    strength: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class NullCohort:
    """A cohort.

    Attributes
    ----------
    edges_SE : (S, E) float64
        Fisher z.
    did : Behaviour
    facts : list of dict
        Covariates, family included; None where nobody has one.
    """

    edges_SE: np.ndarray
    did: Behaviour
    facts: list[Covariates]


def make_cohort(kind: CohortKind, num_people: int, seed: int) -> NullCohort:
    """Return a cohort; people, connectomes and behaviour depend on kind, number and seed alone."""
    rng = np.random.default_rng([seed, 0x0C0F])
    family_S = _families(num_people, rng) if kind.third == "family" else np.arange(num_people)
    age_S, motion_S = rng.uniform(18, 65, num_people), np.exp(rng.normal(np.log(0.15), 0.5, num_people))
    site_S, ill_S, sex_S = rng.integers(3, size=num_people), rng.random(num_people) < SHARE_ILL, rng.random(num_people)
    facts: list[Covariates] = [
        {
            "age": float(age_S[place]),
            "sex": "F" if sex_S[place] < 0.5 else "M",
            "site": f"site {site_S[place]}" if kind.third == "site and motion" else "one",
            "motion": float(motion_S[place]),
            "group": ("ill" if ill_S[place] else "well") if kind.third == "group" else None,
            "family": f"family {family_S[place]}" if kind.third == "family" else None,
        }
        for place in range(num_people)
    ]
    edges_SE, loading_E = _connectomes(num_people, rng), _loading(kind.loading, rng)
    truth_S = _scaled((edges_SE - edges_SE.mean(axis=0)) @ loading_E)
    moved_SE, slow_S = np.zeros_like(edges_SE), np.zeros(num_people)
    if kind.third == "family":
        # A family's brains are alike in ways of their own, and so is what it does; one says nothing of the other.
        own_FE = np.array([_loading(kind.loading, rng) for _ in range(family_S.max() + 1)])
        moved_SE, slow_S = own_FE[family_S], _scaled(rng.normal(size=len(own_FE))[family_S])
    elif kind.third == "group":
        slow_S = _scaled(ill_S)
        moved_SE = np.outer(slow_S, loading_E)
    elif kind.third == "age":
        moved_SE, slow_S = np.outer(_scaled(age_S), loading_E), _scaled(_scaled(age_S) + _scaled(age_S) ** 2)
    elif kind.third == "site and motion":
        site_3E = np.array([_loading(kind.loading, rng) for _ in range(3)])
        moved_SE = np.outer(_scaled(motion_S), loading_E) + site_3E[site_S]
        slow_S = _scaled(rng.permutation([-1.0, 0.0, 1.0])[site_S] + _scaled(np.log(motion_S)))
    alone_S = kind.strength * truth_S + np.sqrt(1 - kind.strength**2) * rng.normal(size=num_people)
    share = SHARE_OF_THIRD if kind.third else 0.0
    own_S4 = np.concatenate([alone_S[:, None], rng.normal(size=(num_people, 3))], axis=1)
    traits_S4 = np.sqrt(1 - share) * own_S4 + np.sqrt(share) * slow_S[:, None]
    return NullCohort(edges_SE + moved_SE, _behaviour(traits_S4, rng), facts)


def _families(num_people: int, rng: np.random.Generator) -> np.ndarray:
    """Return families (S,): most people have one relative, the others none."""
    num_pairs = int(SHARE_IN_PAIRS * num_people / 2)
    number_S = np.concatenate([np.repeat(np.arange(num_pairs), 2), num_pairs + np.arange(num_people - 2 * num_pairs)])
    return np.asarray(rng.permutation(number_S))


def _connectomes(num_people: int, rng: np.random.Generator) -> np.ndarray:
    """Return connectomes with a few factors, each weaker than the one before, and noise in every edge."""
    factor_KE = rng.normal(size=(NUM_FACTORS, NUM_EDGES)) * (0.1 * 0.8 ** np.arange(NUM_FACTORS))[:, None]
    base_E = rng.normal(0.2, 0.2, NUM_EDGES)
    score_SK = rng.normal(size=(num_people, NUM_FACTORS))
    return np.asarray(base_E + score_SK @ factor_KE + rng.normal(0, 0.1, (num_people, NUM_EDGES)))


def _loading(loading: Loading, rng: np.random.Generator) -> np.ndarray:
    """Return by how much a standard deviation moves each edge (E,); the norm is the same for both kinds."""
    moved_E = rng.normal(size=NUM_EDGES)
    if loading == "sparse":
        moved_E = np.where(rng.permutation(NUM_EDGES) < NUM_SPARSE, np.sign(moved_E), 0.0)
    return np.asarray(EDGE_STEP * np.sqrt(NUM_SPARSE) * moved_E / np.linalg.norm(moved_E))


def _scaled(values_S: np.ndarray) -> np.ndarray:
    return np.asarray((values_S - values_S.mean()) / max(float(values_S.std()), 1e-12))


def _behaviour(traits_S4: np.ndarray, rng: np.random.Generator) -> Behaviour:
    """Return trials; people differ in speed, odds of a right answer, condition effect and evenness, by these standardised traits."""
    num_people, condition_J = len(traits_S4), np.arange(NUM_TRIALS) % 2
    speed_S1, odds_S1, effect_S1, evenness_S1 = traits_S4.T[:, :, None]
    noise_SJ = 0.2 * np.exp(0.2 * evenness_S1) * rng.normal(size=(num_people, NUM_TRIALS))
    effect_SJ = (0.1 + 0.06 * effect_S1) * (condition_J - 0.5)
    rt_SJ = np.clip(np.exp(LOCATION + LOCATION_SPREAD * speed_S1 + effect_SJ + noise_SJ), 0.15, LATEST)
    is_right_SJ = rng.random((num_people, NUM_TRIALS)) < 1 / (1 + np.exp(-2.5 - 0.5 * odds_S1))
    omitted_SJ = rng.random((num_people, NUM_TRIALS)) < OMITTED
    return Behaviour(np.where(omitted_SJ, np.nan, rt_SJ), is_right_SJ & ~omitted_SJ, condition_J)
