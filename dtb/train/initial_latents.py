"""Initial latents: predictions of the training people's behaviour and task BOLD by regressions on their connectomes.

A randomly initialised encoder has to find, from the trials of a few hundred people, which of many directions between connectomes matter,
while the rest of the network is still learning the task. It then predicts unseen people worse than a regression does. A ridge regression
in closed form finds the directions at once, each with its own penalty, and training adds what a regression cannot do.

Shape letters: `S` training person, `C` principal component, `Y` figure of behaviour, `Z` latent, `J` trial.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Span, Split
from dtb.tasks.taskset import TaskSet

FEWEST_PEOPLE = 20
"""A figure that fewer training people have is not regressed on."""
FEWEST_PRESSES = 5
"""A person with fewer presses in a condition has no figures of its reaction times."""
_PENALTIES = np.logspace(-3, 3, 25)
_SHRINKAGE = 0.1
_NUM_FOLDS = 5
_CHANCE = 0.05
"""With this probability any latent has a size where connectomes say nothing."""


def behaviour_figures(record: SubjectRecord, taskset: TaskSet, split: Split) -> np.ndarray:
    """Return statistics of a person's behaviour in the training part of each task and condition.

    Returns
    -------
    (Y,) float64
        For each condition the mean and the standard deviation of the logarithm of reaction times, and the share of right answers; NaN
        where there are too few trials.
    """
    found = []
    for spec in taskset.specs:
        spans = zip(record.runs, split.spans("train", record.runs), strict=True)
        rows = [_trials(run, span) for run, span in spans if run.task == spec.name]
        condition_J, rt_J, right_J = (
            (np.concatenate(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 3
        )
        for condition in range(len(spec.conditions)):
            here_J = condition_J == condition
            log_rt_J = np.log(rt_J[here_J & np.isfinite(rt_J)])
            known_J = right_J[here_J & np.isfinite(right_J)]
            enough = len(log_rt_J) >= FEWEST_PRESSES
            found += [log_rt_J.mean(), log_rt_J.std()] if enough else [np.nan, np.nan]
            found.append(known_J.mean() if len(known_J) else np.nan)
    return np.array(found)


def _trials(run: Run, span: Span) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return condition, reaction time (NaN without a press) and whether right (NaN where nothing is) of the
    usable trials of a run's span."""
    trials = run.trials
    begin, end = span.of(run.duration_seconds)
    used_J = trials.usable_J.astype(bool) & (trials.onset_seconds_J >= begin) & (trials.onset_seconds_J < end)
    pressed_J = trials.pressed_J & (trials.rt_seconds_J > 0)
    return (
        trials.condition_J[used_J],
        np.where(pressed_J, trials.rt_seconds_J, np.nan)[used_J],
        np.where(trials.scored_J, trials.right_J, np.nan)[used_J],
    )


def latent_directions(
    scores_SC: np.ndarray, figures_SY: np.ndarray, num_latents: int, family_S: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the directions between connectomes that predict behaviour best, by reduced-rank ridge regression.

    The figures are first transformed so that their residuals are uncorrelated and of equal variance. The axes along which most is
    explained are the latents, and each is regressed on the components with its own penalty, by leave-one-out. How large a
    latent is says how well it predicts people who had no part in it, in five folds.

    Parameters
    ----------
    scores_SC : (S, C) float64
        Principal component scores of training people.
    figures_SY : (S, Y) float64
        NaN where absent.
    num_latents : int
    family_S : (S,) int, optional
        Number of each person's family, which no fold divides; everybody is one's own if not given.

    Returns
    -------
    (C, Z) float64 or None
        The standard deviation of ``scores_SC @ directions`` is its cross-fitted correlation with what it predicts: a latent without
        predictive value is 0. None if there are too few people for any figure.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.standard_normal((200, 5))
    >>> figures = scores[:, :1] + 0.1 * rng.standard_normal((200, 2))
    >>> directions = latent_directions(scores, figures, 3)
    >>> directions.shape, float(np.abs(directions[1:, 0]).max() / np.abs(directions[0, 0])) < 0.05
    ((5, 3), True)
    """
    present_SY = np.isfinite(figures_SY)
    spread_Y = np.array(
        [column[there].std() if there.any() else 0.0 for column, there in zip(figures_SY.T, present_SY.T, strict=True)]
    )
    kept_Y = (present_SY.sum(axis=0) >= FEWEST_PEOPLE) & (spread_Y > 1e-9)
    if not kept_Y.any():
        return None
    figures_SY, spread_Y = figures_SY[:, kept_Y], spread_Y[kept_Y]
    # An absent figure is at the mean of those who have it.
    standard_SY = np.nan_to_num((figures_SY - np.nanmean(figures_SY, axis=0)) / spread_Y)
    scores_SC = scores_SC - scores_SC.mean(axis=0)
    weights_CZ, _ = _axes_and_weights(scores_SC, standard_SY, num_latents)
    r_Z = _cross_fitted_r(scores_SC, standard_SY, num_latents, family_S)
    size_Z = np.maximum((scores_SC @ weights_CZ).std(axis=0), 1e-12)
    directions_CZ = np.zeros((scores_SC.shape[1], num_latents))
    directions_CZ[:, : len(r_Z)] = weights_CZ * r_Z / size_Z
    return directions_CZ


def _axes_and_weights(
    scores_SC: np.ndarray, standard_SY: np.ndarray, num_latents: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (C, Z) of the latents on scores, and the axes (Y, Z) that turn figures into what these predict."""
    _, predicted_SY = _ridge(scores_SC, standard_SY)
    rest_YY = np.atleast_2d(np.cov((standard_SY - predicted_SY).T))
    size = np.trace(rest_YY) / len(rest_YY)
    values, vectors = np.linalg.eigh((1 - _SHRINKAGE) * rest_YY + _SHRINKAGE * size * np.eye(len(rest_YY)))
    whiten_YY = (vectors * values**-0.5) @ vectors.T
    explained_YY = (predicted_SY @ whiten_YY).T @ (standard_SY @ whiten_YY)
    axes_YZ = whiten_YY @ np.linalg.eigh(explained_YY + explained_YY.T)[1][:, ::-1][:, :num_latents]
    return _ridge(scores_SC, standard_SY @ axes_YZ)[0], axes_YZ


def _cross_fitted_r(
    scores_SC: np.ndarray, standard_SY: np.ndarray, num_latents: int, family_S: np.ndarray | None
) -> np.ndarray:
    """Return how well each latent predicts people (Z,) to whom neither its axis nor its weights were fitted; 0 where that may be chance.

    Axes that were chosen on the same people seem to predict them even where there is nothing to predict.
    """
    _, family_S = np.unique(np.arange(len(scores_SC)) if family_S is None else family_S, return_inverse=True)
    num_families = int(family_S.max()) + 1
    if num_families < _NUM_FOLDS:
        return np.zeros(min(num_latents, standard_SY.shape[1]))
    # What a family shares with itself is no evidence of what its connectomes say, and it counts once.
    fold_S = (np.random.default_rng(0).permutation(num_families) % _NUM_FOLDS)[family_S]
    said, did = [], []
    for fold in range(_NUM_FOLDS):
        fit_S, rest_S = fold_S != fold, fold_S == fold
        middle_C, middle_Y = scores_SC[fit_S].mean(axis=0), standard_SY[fit_S].mean(axis=0)
        fit_SC, fit_SY = scores_SC[fit_S] - middle_C, standard_SY[fit_S] - middle_Y
        weights_CZ, axes_YZ = _axes_and_weights(fit_SC, fit_SY, num_latents)
        scale_Z = np.maximum((fit_SY @ axes_YZ).std(axis=0), 1e-12)
        said.append((scores_SC[rest_S] - middle_C) @ weights_CZ / scale_Z)
        did.append((standard_SY[rest_S] - middle_Y) @ axes_YZ / scale_Z)
    said_SZ, did_SZ = np.concatenate(said), np.concatenate(did)
    explained_Z = 1 - ((did_SZ - said_SZ) ** 2).sum(axis=0) / np.maximum((did_SZ**2).sum(axis=0), 1e-12)
    r_Z = np.sqrt(np.maximum(explained_Z, 0.0))
    return np.where(r_Z * np.sqrt(num_families) > stats.norm.isf(_CHANCE / len(r_Z)), r_Z, 0.0)


def strongest(scores_SC: np.ndarray, found: Sequence[np.ndarray | None], num_latents: int) -> np.ndarray | None:
    """Return the best `num_latents` directions of several sets of `latent_directions`: those that predict unseen people best.

    Parameters
    ----------
    scores_SC : (S, C) float64
        Scores that the directions were fitted to.
    found : sequence of (C, Z) float64 or None
    num_latents : int

    Returns
    -------
    (C, num_latents) float64 or None
        None where nothing was found.
    """
    sets = [one_CZ for one_CZ in found if one_CZ is not None]
    if not sets:
        return None
    all_CZ = np.concatenate(sets, axis=1)
    order_Z = np.argsort(-(scores_SC @ all_CZ).std(axis=0), kind="stable")
    return np.asarray(all_CZ[:, order_Z[:num_latents]])


def _ridge(scores_SC: np.ndarray, targets_SY: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return regressions of centred targets on centred scores, each with the penalty that is best by leave-one-out.

    Returns
    -------
    weights_CY, left_out_SY
        The weights, and each person's prediction from all others.
    """
    left_SK, values_K, right_KC = np.linalg.svd(scores_SC, full_matrices=False)
    found_KY = left_SK.T @ targets_SY
    weights_CY = np.zeros((scores_SC.shape[1], targets_SY.shape[1]))
    left_out_SY = np.zeros_like(targets_SY)
    least_Y = np.full(targets_SY.shape[1], np.inf)
    for penalty in _PENALTIES * max(float(np.median(values_K**2)), 1e-12):
        shrink_K = values_K**2 / (values_K**2 + penalty)
        leverage_S = left_SK**2 @ shrink_K + 1 / len(scores_SC)
        rest_SY = (targets_SY - left_SK @ (shrink_K[:, None] * found_KY)) / np.maximum(1 - leverage_S, 1e-6)[:, None]
        error_Y = (rest_SY**2).mean(axis=0)
        better_Y = error_Y < least_Y
        least_Y[better_Y] = error_Y[better_Y]
        left_out_SY[:, better_Y] = (targets_SY - rest_SY)[:, better_Y]
        scale_K = values_K / (values_K**2 + penalty)
        weights_CY[:, better_Y] = (right_KC.T @ (scale_K[:, None] * found_KY))[:, better_Y]
    return weights_CY, left_out_SY
