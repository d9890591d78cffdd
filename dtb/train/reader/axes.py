"""Axes: which sums of people's figures are latents, and what a person's own figures say of them.

Axes along which connectomes say most come first, as in reduced-rank regression: figures are turned so that what connectomes do not say of
them is uncorrelated and of equal variance. Where there is room, axes follow that connectomes do not show but people keep from one half of
their trials to the other.

Shape letters: `S` training person, `Y` figure, `Z` axis.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

MOST_AXES = 6
"""Axes of one kind of figures that readers are fitted to."""
_SHRINKAGE = 0.1
_LEAST_RELIABILITY = 0.3
"""Less reliable axes are no latents."""


def readable_axes(said_SY: np.ndarray, standard_SY: np.ndarray, num_axes: int) -> np.ndarray:
    """Return the axes (Y, Z) of figures of which connectomes say most.

    Parameters
    ----------
    said_SY : (S, Y)
        What is said of people who were left out.
    standard_SY : (S, Y)
        Standardised figures.
    num_axes : int
    """
    rest_YY = _shrunk(np.atleast_2d(np.cov((standard_SY - said_SY).T)))
    values_Y, vectors_YY = np.linalg.eigh(rest_YY)
    whiten_YY = (vectors_YY * np.maximum(values_Y, 1e-12) ** -0.5) @ vectors_YY.T
    centred_SY = (said_SY - said_SY.mean(axis=0)) @ whiten_YY
    explained_YY = centred_SY.T @ (standard_SY @ whiten_YY)
    return np.asarray(whiten_YY @ np.linalg.eigh(explained_YY + explained_YY.T)[1][:, ::-1][:, :num_axes])


def reliable_axes(
    standard_SY: np.ndarray, noise_YY: np.ndarray, taken_YZ: np.ndarray, num_axes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the axes (Y, Z) that people keep best from one half of their trials to the other, and their reliabilities (Z,).

    Parameters
    ----------
    standard_SY : (S, Y)
    noise_YY : (Y, Y)
        Covariance of the figures' errors.
    taken_YZ : (Y, Z)
        Axes that are latents already; the new ones are uncorrelated with them.
    num_axes : int
    """
    centred_SY = standard_SY - standard_SY.mean(axis=0)
    total_YY = _shrunk(np.atleast_2d(centred_SY.T @ centred_SY / max(len(centred_SY) - 1, 1)))
    free_YY = linalg.null_space((total_YY @ taken_YZ).T) if taken_YZ.shape[1] else np.eye(len(total_YY))
    if not free_YY.shape[1]:
        return np.zeros((len(total_YY), 0)), np.zeros(0)
    noise = free_YY.T @ _shrunk(noise_YY) @ free_YY
    ratio, vectors = linalg.eigh(noise, free_YY.T @ total_YY @ free_YY)
    reliability = 1.0 - ratio
    kept = np.flatnonzero(reliability >= _LEAST_RELIABILITY)[:num_axes]
    return free_YY @ vectors[:, kept], reliability[kept]


def noise_covariance(halves: tuple[np.ndarray, np.ndarray], spread_Y: np.ndarray) -> np.ndarray:
    """Return the covariance (Y, Y) of the errors of standardised figures, from the figures of two halves of people's trials.

    Figures that too few people have twice are taken to be all error.
    """
    difference_SY = (halves[0] - halves[1]) / 2 / spread_Y
    known_SY = np.isfinite(difference_SY)
    filled_SY = np.where(known_SY, difference_SY, 0.0)
    count_YY = known_SY.T.astype(np.float64) @ known_SY
    noise_YY = filled_SY.T @ filled_SY / np.maximum(count_YY, 1)
    few_Y = np.diag(count_YY) < 5
    noise_YY[few_Y], noise_YY[:, few_Y] = 0.0, 0.0
    noise_YY[few_Y, few_Y] = 1.0
    # Pairs of figures that different people lack can leave it indefinite.
    values_Y, vectors_YY = np.linalg.eigh(noise_YY)
    return np.asarray((vectors_YY * np.maximum(values_Y, 1e-6)) @ vectors_YY.T)


def _shrunk(covariance_YY: np.ndarray) -> np.ndarray:
    size = max(np.trace(covariance_YY) / len(covariance_YY), 1e-12)
    return (1 - _SHRINKAGE) * covariance_YY + _SHRINKAGE * size * np.eye(len(covariance_YY))
