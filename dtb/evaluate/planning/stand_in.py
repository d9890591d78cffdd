"""Who stands in for the twin of a plan: ridge regression on edges, cross-validated over people, with strangers' connectomes and own.

It says of each unseen person the mean reaction time, the condition effect, the share of right answers and where log reaction times lie.
A trial is then predicted in closed form: its reaction time is lognormal about what is said, its answer right as often as is said. The best
baseline is another regression on the same edges, about as good and not the same, so that its tests take their place among the
certificate's.

Shape letters: `S` person, `Q` person of a fold, `K` connectome that is used, `E` edge, `J` trial, `C` condition, `Y` what is said of a
person.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr

from dtb.evaluate.predictors.baselines import FURTHEST_ACCURACY
from dtb.evaluate.predictors.fitting import fill
from dtb.evaluate.predictors.leave_out import balanced_folds
from dtb.evaluate.predictors.regressions import REGRESSIONS, scaled_edges
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.strangers import block_of_people

STAND_IN, BASELINE, GROUP = "ridge", "kernel_ridge", "group_mean"
_FIT = {one.name: one.fit for one in REGRESSIONS}


@dataclasses.dataclass(frozen=True, eq=False)
class Behaviour:
    """What people did in one task, everybody in the same trials.

    Attributes
    ----------
    rt_SJ : (S, J)
        Seconds; NaN without a press.
    is_right_SJ : (S, J) bool
    condition_J : (J,) int
        1 in the condition that is compared, 0 in the one that it is compared with.
    """

    rt_SJ: np.ndarray
    is_right_SJ: np.ndarray
    condition_J: np.ndarray

    def only(self, num_people: int, num_trials: int) -> Behaviour:
        """Return the first of the people in the first of the trials."""
        rt_SJ, is_right_SJ = (values[:num_people, :num_trials] for values in (self.rt_SJ, self.is_right_SJ))
        return Behaviour(rt_SJ, is_right_SJ, self.condition_J[:num_trials])

    @functools.cached_property
    def columns_SY(self) -> np.ndarray:
        """Mean reaction time, condition effect, share of right answers, and location of log reaction times, (S, 4)."""
        mean_SC, log_SC = (self._by_condition(values_SJ) for values_SJ in (self.rt_SJ, np.log(self.rt_SJ)))
        effect_S, accuracy_S = mean_SC[:, 1] - mean_SC[:, 0], self.is_right_SJ.mean(axis=1)
        return np.stack([_mean(self.rt_SJ), effect_S, accuracy_S, log_SC.mean(axis=1)], axis=1)

    def _by_condition(self, values_SJ: np.ndarray) -> np.ndarray:
        return np.stack([_mean(values_SJ[:, self.condition_J == condition]) for condition in (0, 1)], axis=1)

    def spread(self, fit_S: np.ndarray) -> tuple[np.ndarray, float]:
        """Return how far each condition (2,) lies from people's location, and the variance within people, of log reaction times."""
        rest_SJ = np.log(self.rt_SJ[fit_S]) - self.columns_SY[fit_S, 3:]
        offset_C = np.array([np.nanmean(rest_SJ[:, self.condition_J == condition]) for condition in (0, 1)])
        return offset_C, float(np.nanvar(rest_SJ - offset_C[self.condition_J]))


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """What is said of the people of one fold by fits to all others.

    Attributes
    ----------
    person_Q : (Q,) int
        Their places among all people.
    block_Q : (Q,) int
        With whom connectomes are exchanged (`dtb.evaluate.scores.strangers.block_of_people`).
    family_Q : (Q,) int
        Numbers of families, whose members are no strangers.
    said : dict of str to (Q, 4)
        By predictor, in the columns of `Behaviour.columns_SY`.
    offset_C : (2,)
        Of the conditions' log reaction times.
    scale : dict of str to float
        Of log reaction times about what is said.
    spread_Y : (4,)
        Standard deviation of the columns over those who were fitted to.
    slip : float
        Share of the wrong answers in which a key was pressed.
    """

    person_Q: np.ndarray
    block_Q: np.ndarray
    family_Q: np.ndarray
    said: dict[str, np.ndarray]
    offset_C: np.ndarray
    scale: dict[str, float]
    spread_Y: np.ndarray
    slip: float


def folds(edges_SE: np.ndarray, did: Behaviour, names: tuple[str, ...] = (STAND_IN, BASELINE)) -> Iterator[Fold]:
    """Predict the people of each fold from fits to the others."""
    columns_SY = did.columns_SY
    for person_Q, fit_S in divided(len(edges_SE)):
        features_SE, features_QE = scaled_edges(edges_SE[fit_S], edges_SE[person_Q])
        said = {
            TWIN if name == STAND_IN else name: _said(name, features_SE, features_QE, columns_SY[fit_S])
            for name in names
        }
        mean_Y = np.nanmean(columns_SY[fit_S], axis=0)
        said[GROUP] = np.broadcast_to(mean_Y, (len(person_Q), 4))
        offset_C, within = did.spread(fit_S)
        between = np.nanvar(columns_SY[fit_S, 3])
        # Of a prediction that is neither too bold nor too timid, the variance and that of its errors add up to that of people.
        scale = {
            name: float(np.sqrt(within + max(between - np.nanvar(said_QY[:, 3]), 0.0)))
            for name, said_QY in said.items()
        }
        wrong_SJ = ~did.is_right_SJ[fit_S]
        slip = (np.isfinite(did.rt_SJ[fit_S]) & wrong_SJ).sum() / max(wrong_SJ.sum(), 1)
        yield Fold(
            person_Q,
            block_of_people([f"person {place}" for place in person_Q]),
            person_Q,
            said,
            offset_C,
            scale,
            np.nanstd(columns_SY[fit_S], axis=0),
            float(np.clip(slip, 0.01, 0.99)),
        )


def divided(num_people: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the places of the people of each fold, and those of all others."""
    fold_S = balanced_folds(np.arange(num_people))
    for fold in np.unique(fold_S):
        yield np.flatnonzero(fold_S == fold), np.flatnonzero(fold_S != fold)


def _said(name: str, features_SE: np.ndarray, features_QE: np.ndarray, columns_SY: np.ndarray) -> np.ndarray:
    def fit(who_S: np.ndarray, some_SY: np.ndarray) -> np.ndarray:
        return _FIT[name](features_SE[who_S], features_QE, some_SY, np.arange(int(who_S.sum())))

    return fill(fit, columns_SY, len(features_QE))


def crps(did: Behaviour, fold: Fold, name: str, person_Q: np.ndarray, said_QKY: np.ndarray) -> np.ndarray:
    """Return the mean over trials of the CRPS of people's reaction times, (Q, K), for each that is said; NaN without a press."""
    location_QKJ = said_QKY[..., 3:] + fold.offset_C[did.condition_J]
    return _mean(crps_of_lognormal(location_QKJ, fold.scale[name], did.rt_SJ[person_Q][:, None]))


def crps_of_lognormal(location: np.ndarray, scale: float, rt: np.ndarray) -> np.ndarray:
    """Return the CRPS of lognormal distributions (Baran and Lerch 2015, Q J R Meteorol Soc 141, 2289), in the unit of `rt`."""
    z = (np.log(rt) - location) / scale
    tail = ndtr(z - scale) + ndtr(scale / np.sqrt(2)) - 1
    return np.asarray(rt * (2 * ndtr(z) - 1) - 2 * np.exp(location + scale**2 / 2) * tail)


def log_loss(did: Behaviour, fold: Fold, _name: str, person_Q: np.ndarray, said_QKY: np.ndarray) -> np.ndarray:
    """Return the mean over trials of the log-loss of what people answered, (Q, K), for each that is said."""
    right_Q1 = did.is_right_SJ[person_Q].mean(axis=1)[:, None]
    slip_Q1 = (np.isfinite(did.rt_SJ[person_Q]) & ~did.is_right_SJ[person_Q]).mean(axis=1)[:, None]
    probable_QK = probability(said_QKY)
    how_Q1 = slip_Q1 * np.log(fold.slip) + (1 - right_Q1 - slip_Q1) * np.log(1 - fold.slip)
    return np.asarray(-(right_Q1 * np.log(probable_QK) + (1 - right_Q1) * np.log(1 - probable_QK) + how_Q1))


def probability(said_QKY: np.ndarray) -> np.ndarray:
    """Return how probable (Q, K) a right answer is by what is said."""
    return np.clip(said_QKY[..., 2], 1 - FURTHEST_ACCURACY, FURTHEST_ACCURACY)


def _mean(values_SJ: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is."""
    known_SJ = np.isfinite(values_SJ)
    total_S, count_S = np.where(known_SJ, values_SJ, 0.0).sum(axis=-1), known_SJ.sum(axis=-1)
    return np.where(count_S > 0, total_S / np.maximum(count_S, 1), np.nan)
