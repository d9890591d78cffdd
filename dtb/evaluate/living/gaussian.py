"""A Gaussian over figures of people, some of which are seen with a noise of known size that differs from person to person.

A person's true figures are ``u ~ N(mean, covariance)``; seen is ``u`` plus noise, whose variance follows from how many trials a figure
rests on. What is not seen of a person has infinite noise. Mean and covariance are learnt by expectation and maximisation (Dempster, Laird
& Rubin 1977, J R Stat Soc B 39, 1), and what is said of somebody is exact conditioning. A mean that is shrunk towards the group by
empirical Bayes is the case of one figure; a linear mix of own mean and regression that of two; a multi-output Gaussian that of many.

Shape letters: `S` person, `F` figure.
"""

from __future__ import annotations

import dataclasses

import numpy as np

NUM_ROUNDS = 200
UNSEEN = 1e9
"""Noise, in variances of the figure, of one that is not seen."""
JITTER = 1e-8


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """A distribution of people's true figures.

    Attributes
    ----------
    mean_F : (F,) float64
    covariance_FF : (F, F) float64
    """

    mean_F: np.ndarray
    covariance_FF: np.ndarray

    def condition(
        self, seen_SF: np.ndarray, noise_SF: np.ndarray, mean_SF: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the distribution of people's true figures, given what is seen of them.

        Parameters
        ----------
        seen_SF : (S, F)
            NaN where not seen.
        noise_SF : (S, F)
            Variance of the noise in each.
        mean_SF : (S, F), optional
            Means of their own, in place of the common one.

        Returns
        -------
        mean_SF : (S, F) float64
        covariance_SFF : (S, F, F) float64

        Examples
        --------
        One figure of variance 1, seen with noise of variance 1: half of the deviation is believed.

        >>> one = Gaussian(np.zeros(1), np.ones((1, 1)))
        >>> mean_SF, covariance_SFF = one.condition(np.array([[2.0]]), np.array([[1.0]]))
        >>> round(mean_SF.item(), 6), round(covariance_SFF.item(), 6)
        (1.0, 0.5)
        """
        prior_SF = np.broadcast_to(self.mean_F, seen_SF.shape) if mean_SF is None else mean_SF
        scale_F = np.sqrt(np.maximum(np.diag(self.covariance_FF), 1e-300))
        inner_FF = self.covariance_FF / np.outer(scale_F, scale_F)
        is_seen_SF = np.isfinite(seen_SF) & np.isfinite(noise_SF)
        noise_SF = np.where(is_seen_SF, np.nan_to_num(noise_SF, posinf=0.0) / scale_F**2, UNSEEN)
        gap_SF = np.where(is_seen_SF, (np.nan_to_num(seen_SF) - prior_SF) / scale_F, 0.0)
        total_SFF = inner_FF + (noise_SF + JITTER)[:, :, None] * np.eye(len(scale_F))
        gain_SFF = np.linalg.solve(total_SFF, np.broadcast_to(inner_FF, total_SFF.shape)).transpose(0, 2, 1)
        found_SF = (gain_SFF @ gap_SF[:, :, None])[:, :, 0]
        left_SFF = inner_FF - gain_SFF @ inner_FF
        left_SFF = (left_SFF + left_SFF.transpose(0, 2, 1)) / 2
        return prior_SF + found_SF * scale_F, left_SFF * np.outer(scale_F, scale_F)


def fitted(
    seen_SF: np.ndarray, noise_SF: np.ndarray, shrinkage: float = 0.0, group_F: np.ndarray | None = None
) -> Gaussian:
    """Return the Gaussian that is learnt from people whose figures are seen with noise.

    Parameters
    ----------
    seen_SF, noise_SF : (S, F)
        See `Gaussian.condition`. A figure that does not vary gets a variance of next to nothing. Of nobody, all is NaN.
    shrinkage : float
        So many further people are imagined whose figures of different groups do not go together: it draws their correlations towards 0.
    group_F : (F,) int, optional
        The group of each figure; each is one of its own if not given.

    Returns
    -------
    Gaussian
    """
    num_people, num_figures = seen_SF.shape
    if num_people == 0:
        return Gaussian(np.full(num_figures, np.nan), np.full((num_figures, num_figures), np.nan))
    known_SF = np.isfinite(seen_SF) & np.isfinite(noise_SF)
    count_F = np.maximum(known_SF.sum(axis=0), 1)
    mean_F = np.where(known_SF, seen_SF, 0.0).sum(axis=0) / count_F
    spread_F = np.where(known_SF, (seen_SF - mean_F) ** 2, 0.0).sum(axis=0) / count_F
    noise_F = np.where(known_SF, noise_SF, 0.0).sum(axis=0) / count_F
    tiny = 1e-12 * np.maximum(mean_F**2, 1e-12)
    found = Gaussian(mean_F, np.diag(np.maximum(spread_F - noise_F, 0.1 * spread_F) + tiny))
    groups_F = np.arange(len(mean_F)) if group_F is None else group_F
    together_FF = groups_F[:, None] == groups_F
    for _ in range(NUM_ROUNDS):
        posterior_SF, left_SFF = found.condition(seen_SF, noise_SF)
        mean_F = posterior_SF.mean(axis=0)
        deviation_SF = posterior_SF - mean_F
        moment_FF = deviation_SF.T @ deviation_SF + left_SFF.sum(axis=0)
        apart_FF = np.where(together_FF, moment_FF, 0.0) / num_people
        covariance_FF = (moment_FF + shrinkage * apart_FF) / (num_people + shrinkage) + np.diag(tiny)
        change = np.abs(covariance_FF - found.covariance_FF).max() / np.abs(covariance_FF).max()
        found = Gaussian(mean_F, covariance_FF)
        if change < 1e-7:
            break
    return found
