"""The population of a made-up cohort: which edges carry which trait, and how a person's true connectome is drawn.

A trait is what its causal edges say, no more: a person's score is a weighted sum of their *true* connectome's edges, and behaviour and
task BOLD follow from the score. So a change of those edges has a known effect, and every other edge has none. Age and site move the
traits and edges of their own: whoever predicts behaviour from a connectome meets the confounds that real cohorts have.

Shape letters: `R` region, `E` edge, `N` network, `C` trait.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.config import SynthConfig
from dtb.errors import ConfigurationError
from dtb.people.networks import network_of
from dtb.people.parcellation import some_regions
from dtb.people.records import edges_from_matrix, matrix_from_edges

TRAITS = ("slowness", "conflict", "reactivity")
"""Low drift in every task; loss of drift under conflict; BOLD response of one network to faces."""

EDGE_STEP = 0.12
"""Fisher z by which one standard deviation of a trait moves each of its edges, where few carry it."""

MIDDLE_AGE, AGE_SPREAD = 41.5, 13.6
"""Mean and standard deviation of ages between 18 and 65, in years."""

NETWORKS = ("Vis", "SomMot", "DorsAttn", "SalVentAttn", "Limbic", "Cont", "Default", "Subcortex")
# Correlations between distant regions of these networks, and what being near or at the same place of both hemispheres adds: means of
# eight people of OpenNeuro ds000030 (10.1038/sdata.2016.110, CC0) after regression of motion and global signal.
_COUPLING_NN = np.array(
    [
        [0.23, 0.07, 0.07, -0.05, -0.06, -0.07, -0.05, -0.09],
        [0.07, 0.22, 0.08, 0.06, -0.02, -0.07, -0.03, -0.05],
        [0.07, 0.08, 0.17, 0.04, -0.06, -0.02, -0.09, -0.09],
        [-0.05, 0.06, 0.04, 0.19, 0.02, 0.00, -0.03, 0.04],
        [-0.06, -0.02, -0.06, 0.02, 0.28, -0.02, 0.06, 0.09],
        [-0.07, -0.07, -0.02, 0.00, -0.02, 0.10, 0.02, 0.00],
        [-0.05, -0.03, -0.09, -0.03, 0.06, 0.02, 0.12, 0.04],
        [-0.09, -0.05, -0.09, 0.04, 0.09, 0.00, 0.04, 0.18],
    ]
)
_NEAR, _NEAR_MM, _HOMOTOPIC, _SAME_PLACE_MM = 0.55, 18.0, 0.35, 15.0
_AGE_STEP, _SITE_STEP = 0.08, 0.06
_MIN_EIGENVALUE = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Properties shared by all people.

    Attributes
    ----------
    region_names : list of str
        Of a real parcellation, see `dtb.people.parcellation.some_regions`.
    place_R3 : (R, 3) float
        Centres of the regions, millimetres in MNI space.
    network_R : (R,) str
        Network of each region.
    base_E : (E,) float
        Fisher z of the average connectome.
    causal_edges : dict
        For each trait, the indices of its edges in the upper triangle: `num_causal_edges`, or all of them.
    causal_signs : dict
        For each trait, +1 or -1 for each of these edges; where all edges carry it, weights of mean square 1.
    age_edges, site_edges : (num_causal_edges,) int
        Edges that age and site move.
    step : float
        Fisher z by which one standard deviation of a trait moves an edge of weight 1.
    """

    region_names: list[str]
    place_R3: np.ndarray
    network_R: np.ndarray
    base_E: np.ndarray
    causal_edges: dict[str, np.ndarray]
    causal_signs: dict[str, np.ndarray]
    age_edges: np.ndarray
    site_edges: np.ndarray
    step: float = EDGE_STEP

    def scores(self, edges_E: np.ndarray) -> dict[str, float]:
        """Return the traits, in standard deviations, of a true connectome (Fisher z)."""
        return {
            trait: float(np.mean(self.causal_signs[trait] * (edges_E - self.base_E)[places]) / self.step)
            for trait, places in self.causal_edges.items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """One made-up person, before any task.

    Attributes
    ----------
    label : str
        Participant label without ``sub-``.
    age : float
        Years.
    sex : str
    site : int
    edges_E : (E,) float
        Fisher z of the true connectome.
    correlation_RR : (R, R) float
        The true connectome.
    scores : dict
        Each trait in standard deviations, as the true connectome has it.
    """

    label: str
    age: float
    sex: str
    site: int
    edges_E: np.ndarray
    correlation_RR: np.ndarray
    scores: dict[str, float]


def make_population(config: SynthConfig, seed: int) -> Population:
    """Return the population: networks, the average connectome, and the edges that carry traits, age and site.

    Parameters
    ----------
    config : SynthConfig
    seed : int

    Raises
    ------
    ConfigurationError
        There are too few edges for what they are to carry, or the ages are the wrong way round.
    """
    if config.age_years[0] > config.age_years[1]:
        raise ConfigurationError(f"synth.age_years is {config.age_years}: give the youngest first, then the oldest.")
    rng = np.random.default_rng([seed, 0])
    num_regions = config.num_regions
    kinds = (*TRAITS, "age", "site")
    num_edges, num_wanted = num_regions * (num_regions - 1) // 2, len(kinds) * config.num_causal_edges
    if num_wanted > num_edges:
        raise ConfigurationError(
            f"synth.num_causal_edges is {config.num_causal_edges}: {', '.join(kinds)} need {num_wanted} edges between them, but "
            f"synth.num_regions = {num_regions} has {num_edges}. At most {num_edges // len(kinds)} fit; or take more regions."
        )
    names, place_R3 = some_regions(num_regions)
    network_R = np.array([network_of(name) for name in names])
    base_RR = _mean_connectome(network_R, place_R3, rng)
    edges = dict(zip(kinds, _disjoint_edges(num_regions, config.num_causal_edges, len(kinds), rng), strict=True))
    causal_edges = {trait: edges[trait] for trait in TRAITS}
    causal_signs = {trait: rng.choice([-1.0, 1.0], config.num_causal_edges) for trait in TRAITS}
    step = EDGE_STEP
    if config.trait_loadings == "dense":
        # The same length of all changes together as where few edges carry a trait.
        step *= np.sqrt(config.num_causal_edges / num_edges)
        weights_EC, _ = np.linalg.qr(np.random.default_rng([seed, 11]).standard_normal((num_edges, len(TRAITS))))
        causal_edges = dict.fromkeys(TRAITS, np.arange(num_edges))
        causal_signs = dict(zip(TRAITS, np.sqrt(num_edges) * weights_EC.T, strict=True))
    return Population(
        region_names=names,
        place_R3=place_R3,
        network_R=network_R,
        base_E=np.arctanh(edges_from_matrix(base_RR)),
        causal_edges=causal_edges,
        causal_signs=causal_signs,
        age_edges=edges["age"],
        site_edges=edges["site"],
        step=step,
    )


def _mean_connectome(network_R: np.ndarray, place_R3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an average connectome (R, R) of the shape that real ones have: by networks, stronger between near regions and between
    those at the same place of both hemispheres, and a little of its own."""
    number_R = np.array([NETWORKS.index(network) for network in network_R])
    apart_RR = np.linalg.norm(place_R3[:, None] - place_R3, axis=-1)
    across_RR = np.linalg.norm(place_R3[:, None] - place_R3 * np.array([-1.0, 1.0, 1.0]), axis=-1)
    is_twin_RR = (across_RR <= across_RR.min(axis=1, keepdims=True)) & (across_RR < _SAME_PLACE_MM)
    is_twin_RR &= np.sign(place_R3[:, :1]) != np.sign(place_R3[:, 0])
    base_RR = _COUPLING_NN[number_R][:, number_R] + _NEAR * np.exp(-apart_RR / _NEAR_MM)
    base_RR += _HOMOTOPIC * (is_twin_RR | is_twin_RR.T) + rng.normal(0, 0.03, base_RR.shape)
    return valid_correlation((base_RR + base_RR.T) / 2)


def make_person(population: Population, config: SynthConfig, seed: int, index: int) -> Person:
    """Return person `index`, who depends only on the seed and the index.

    Parameters
    ----------
    population : Population
    config : SynthConfig
    seed : int
    index : int
        From 0.
    """
    rng = np.random.default_rng([seed, 1, index])
    age = float(np.round(rng.uniform(*config.age_years), 1))
    age_z = (age - MIDDLE_AGE) / AGE_SPREAD
    site = int(rng.integers(config.num_sites))
    site_z = 0.0 if config.num_sites == 1 else 2.0 * site / (config.num_sites - 1) - 1.0
    target_E = population.base_E.copy()
    rest = np.sqrt(1 - config.age_effect**2 - config.site_effect**2)
    for trait in TRAITS:
        level = config.age_effect * age_z + config.site_effect * site_z + rest * rng.standard_normal()
        target_E[population.causal_edges[trait]] += population.step * level * population.causal_signs[trait]
    target_E[population.age_edges] += _AGE_STEP * age_z
    target_E[population.site_edges] += _SITE_STEP * site_z
    # People differ everywhere else too: a finite sample of the target is a valid correlation matrix with edges of its own.
    target_RR = valid_correlation(matrix_from_edges(np.tanh(target_E), diagonal=1.0))
    num_samples = max(250, 2 * config.num_regions)
    own_RV = np.linalg.cholesky(target_RR) @ rng.standard_normal((config.num_regions, num_samples))
    correlation_RR = np.asarray(np.corrcoef(own_RV))
    edges_E = np.arctanh(edges_from_matrix(correlation_RR))
    return Person(
        label=f"{index + 1:04d}",
        age=age,
        sex=str(rng.choice(["F", "M"])),
        site=site,
        edges_E=edges_E,
        correlation_RR=correlation_RR,
        scores=population.scores(edges_E),
    )


def valid_correlation(matrix_RR: np.ndarray) -> np.ndarray:
    """Return a correlation matrix from a symmetric matrix: lift its eigenvalues to at least 0.05, then scale the diagonal to 1.

    Parameters
    ----------
    matrix_RR : (R, R) array
        Symmetric.

    Examples
    --------
    >>> valid_correlation(np.array([[1.0, 2.0], [2.0, 1.0]])).round(2)
    array([[1.  , 0.97],
           [0.97, 1.  ]])
    """
    symmetric_RR = matrix_RR.copy()
    np.fill_diagonal(symmetric_RR, 1.0)
    values, vectors = np.linalg.eigh(symmetric_RR)
    lifted_RR = (vectors * np.maximum(values, _MIN_EIGENVALUE)) @ vectors.T
    scale_R = 1 / np.sqrt(np.diag(lifted_RR))
    return np.asarray(lifted_RR * scale_R[:, None] * scale_R[None, :])


def _disjoint_edges(num_regions: int, num_edges: int, num_sets: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return disjoint sets of edges, each spread over as many regions as possible."""
    row, column = np.triu_indices(num_regions, 1)
    place_RR = np.zeros((num_regions, num_regions), dtype=int)
    place_RR[row, column] = place_RR[column, row] = np.arange(len(row))
    num_all = num_regions * (num_regions - 1) // 2
    taken: set[int] = set()
    sets = []
    for _ in range(num_sets):
        chosen: list[int] = []
        for _ in range(1000):
            order = rng.permutation(num_regions)[: num_regions // 2 * 2].reshape(-1, 2)
            chosen += [edge for edge in place_RR[order[:, 0], order[:, 1]].tolist() if edge not in taken]
            taken.update(chosen)
            if len(chosen) >= num_edges or len(taken) == num_all:
                break
        taken.difference_update(chosen[num_edges:])
        sets.append(np.array(sorted(chosen[:num_edges])))
    return sets
