"""Functional connectomes: correlation of the regions, Fisher z, rest runs combined, absent regions absent.

Shape letters: `V` volume, `R` region, `E` edge, `K` rest run.
"""

from __future__ import annotations

import numpy as np

from dtb.cohort.series.read import Series
from dtb.config import IngestConfig
from dtb.people.records import LARGEST_CORRELATION, edges_from_matrix

FEWEST_VOLUMES = 3
"""Two volumes correlate perfectly, whatever they hold."""

_RUNS = {
    "average": "mean of z, weighted by volumes",
    "concatenate": "standardised and concatenated",
    "separate": "mean of z, weighted by volumes; each kept too",
}


def description(config: IngestConfig) -> dict[str, str]:
    """Return what a manifest says about connectomes that are made with these settings."""
    if config.connectome == "precomputed":
        named = {"matrix": config.matrix_key} if config.matrix_key else {}
        scale = {"log1p": "log of 1 + value", "fisher_z": "fisher_z", "none": "as it is"}[config.matrix_transform]
        return {
            "kind": "precomputed",
            **named,
            "scale": scale,
            "runs": _RUNS[config.rest_runs].replace("z, weighted by volumes", "runs"),
        }
    return {"kind": config.connectome, "scale": "fisher_z", "runs": _RUNS[config.rest_runs]}


def concatenated(runs: list[Series]) -> Series:
    """Standardise each run's regions and put the runs after one another; a region that one of them lacks is absent."""
    parts = []
    for series in runs:
        known_VR = np.where(series.present_R, series.values_VR[series.kept_V], np.nan)
        with np.errstate(invalid="ignore"):
            parts.append((known_VR - known_VR.mean(axis=0)) / known_VR.std(axis=0))
    return Series(np.concatenate(parts), runs[0].repetition_time, None)


def fisher_z(series: Series, kind: str = "pearson") -> np.ndarray:
    """Correlate the regions of one run.

    Parameters
    ----------
    series : Series
    kind : {"pearson", "ledoit_wolf", "partial"}
        Plain; or shrunk towards the identity by the share that Ledoit and Wolf (2004, J Multivar Anal) derive for standardised series;
        or partial correlations, each pair given all other regions that are present, from the inverse of that shrunk matrix.

    Returns
    -------
    (E,) float64
        Fisher z of the upper triangle; NaN for pairs with a region that is absent or does not vary.
    """
    present_R = series.present_R
    correlation_RR = np.full((len(present_R), len(present_R)), np.nan)
    if present_R.sum() >= 2 and series.kept_V.sum() >= FEWEST_VOLUMES:
        known_VR = series.values_VR[series.kept_V][:, present_R]
        correlation_RR[np.ix_(present_R, present_R)] = _correlation(known_VR, kind)
    return np.asarray(np.arctanh(np.clip(edges_from_matrix(correlation_RR), -LARGEST_CORRELATION, LARGEST_CORRELATION)))


def _correlation(known_VR: np.ndarray, kind: str) -> np.ndarray:
    if kind == "pearson":
        return np.asarray(np.corrcoef(known_VR, rowvar=False))
    from nilearn.connectome import cov_to_corr, prec_to_partial
    from sklearn.covariance import ledoit_wolf

    standardised_VR = (known_VR - known_VR.mean(axis=0)) / known_VR.std(axis=0)
    covariance_RR = ledoit_wolf(standardised_VR, assume_centered=True)[0]
    if kind == "partial":
        return np.asarray(prec_to_partial(np.linalg.inv(covariance_RR)))
    return np.asarray(cov_to_corr(covariance_RR))


def averaged(edges_KE: np.ndarray, num_volumes_K: np.ndarray) -> np.ndarray:
    """Average the runs' Fisher z, each weighted by the volumes it kept; an edge counts where a run has it.

    Returns
    -------
    (E,) float32
    """
    weight_KE = np.isfinite(edges_KE) * num_volumes_K.astype(float)[:, None]
    total_E = weight_KE.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean_E = (np.nan_to_num(edges_KE) * weight_KE).sum(axis=0) / total_E
    return mean_E.astype(np.float32)
