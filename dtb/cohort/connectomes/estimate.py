"""Functional connectomes: Fisher z of regions' correlations, with rest runs combined and absent regions masked.

Shape letters: `V` volume, `R` region, `E` edge, `K` rest run.
"""

from __future__ import annotations

import numpy as np

from dtb.cohort.series.read import Series
from dtb.config import IngestConfig
from dtb.people.connectome_kinds import CONNECTOMES
from dtb.people.records import LARGEST_CORRELATION, edges_from_matrix

FEWEST_VOLUMES = 3
"""Two volumes correlate perfectly, whatever they hold."""

_RUNS = {
    "average": "mean of z, weighted by volumes",
    "concatenate": "standardised and concatenated",
    "separate": "mean of z, weighted by volumes; each kept too",
}


def description(config: IngestConfig) -> dict[str, str]:
    """Return the manifest's description of connectomes made with these settings."""
    if CONNECTOMES[config.connectome].estimate is None:
        named = {"matrix": config.matrix_key} if config.matrix_key else {}
        scale = {"log1p": "log of 1 + value", "fisher_z": "fisher_z", "none": "as it is"}[config.matrix_transform]
        return {
            "kind": config.connectome,
            **named,
            "scale": scale,
            "runs": _RUNS[config.rest_runs].replace("z, weighted by volumes", "runs"),
        }
    return {"kind": config.connectome, "scale": "fisher_z", "runs": _RUNS[config.rest_runs]}


def concatenated(runs: list[Series]) -> Series:
    """Return the standardised runs, concatenated; a region that one of them lacks is absent."""
    parts = []
    for series in runs:
        known_VR = np.where(series.present_R, series.values_VR[series.kept_V], np.nan)
        with np.errstate(invalid="ignore"):
            parts.append((known_VR - known_VR.mean(axis=0)) / known_VR.std(axis=0))
    return Series(np.concatenate(parts), runs[0].repetition_time, None)


def fisher_z(series: Series, kind: str = "pearson") -> np.ndarray:
    """Return the connectome of one run.

    Parameters
    ----------
    series : Series
    kind : str
        Name of a kind that is estimated from series: see `dtb.people.connectome_kinds.CONNECTOMES`.

    Returns
    -------
    (E,) float64
        Fisher z of the upper triangle; NaN for pairs with a region that is absent or does not vary.

    Raises
    ------
    ConfigurationError
        The kind is not known.
    """
    estimate = CONNECTOMES[kind].estimate
    assert estimate is not None, f"{kind} is read from files"
    present_R = series.present_R
    correlation_RR = np.full((len(present_R), len(present_R)), np.nan)
    if present_R.sum() >= 2 and series.kept_V.sum() >= FEWEST_VOLUMES:
        known_VR = series.values_VR[series.kept_V][:, present_R]
        correlation_RR[np.ix_(present_R, present_R)] = estimate(known_VR)
    return np.asarray(np.arctanh(np.clip(edges_from_matrix(correlation_RR), -LARGEST_CORRELATION, LARGEST_CORRELATION)))


def averaged(edges_KE: np.ndarray, num_volumes_K: np.ndarray) -> np.ndarray:
    """Return the mean of the runs' Fisher z, weighted by the volumes kept; an edge is present if any run has it.

    Returns
    -------
    (E,) float32
    """
    weight_KE = np.isfinite(edges_KE) * num_volumes_K.astype(float)[:, None]
    total_E = weight_KE.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean_E = (np.nan_to_num(edges_KE) * weight_KE).sum(axis=0) / total_E
    return mean_E.astype(np.float32)
