"""The stack of readers: each target's settings and non-negative weights, learnt on predictions of people left out.

Wolpert (1992, Neural Networks 5, 241) and Breiman (1996, Machine Learning 24, 49).

Shape letters: `S` training person, `Q` person of a fold, `Y` target, `P` setting, `R` reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy.optimize import nnls


@dataclasses.dataclass(frozen=True, eq=False)
class Stack:
    """Settings and weights of readers.

    Attributes
    ----------
    setting : dict of str to (Y,) int64
        By reader, the number of the setting that predicts each target best.
    weight : dict of str to (Y,) float64
        By reader, 0 or more.
    centre : dict of str to (Y,) float64
        Mean of what each reader said of people left out.
    mean_Y : (Y,) float64
        Mean of the targets.
    """

    setting: dict[str, np.ndarray]
    weight: dict[str, np.ndarray]
    centre: dict[str, np.ndarray]
    mean_Y: np.ndarray

    def of(self, said: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the stack's predictions (Q, Y) from each reader's at all settings (P, Q, Y)."""
        columns = np.arange(len(self.mean_Y))
        return self.mean_Y + np.sum(
            [
                self.weight[reader] * (said_PQY[self.setting[reader], :, columns].T - self.centre[reader])
                for reader, said_PQY in said.items()
            ],
            axis=0,
        )


def learn(left_out: Mapping[str, np.ndarray], targets_SY: np.ndarray) -> Stack:
    """Learn a stack.

    Parameters
    ----------
    left_out : dict of str to (P, S, Y)
        By reader, what each setting says of people whom its fit left out.
    targets_SY : (S, Y)
    """
    columns = np.arange(targets_SY.shape[1])
    setting, best = {}, []
    for reader, said_PSY in left_out.items():
        setting[reader] = ((said_PSY - targets_SY) ** 2).sum(axis=1).argmin(axis=0)
        best.append(said_PSY[setting[reader], :, columns].T)
    best_RSY, mean_Y = np.stack(best), targets_SY.mean(axis=0)
    centre_RY = best_RSY.mean(axis=1)
    weight_YR = [
        nnls((best_RSY[:, :, column] - centre_RY[:, column, None]).T, targets_SY[:, column] - mean_Y[column])[0]
        for column in columns
    ]
    weight = dict(zip(left_out, np.array(weight_YR).reshape(-1, len(best_RSY)).T, strict=True))
    return Stack(setting, weight, dict(zip(left_out, centre_RY, strict=True)), mean_Y)


def cross_fitted(left_out: Mapping[str, np.ndarray], targets_SY: np.ndarray, fold_S: np.ndarray) -> np.ndarray:
    """Return the stack's predictions (S, Y) of each fold's people, its settings and weights learnt on those of other folds."""
    found_SY = np.empty_like(targets_SY)
    for fold in np.unique(fold_S):
        here_S = fold_S == fold
        others = learn({name: said_PSY[:, ~here_S] for name, said_PSY in left_out.items()}, targets_SY[~here_S])
        found_SY[here_S] = others.of({name: said_PSY[:, here_S] for name, said_PSY in left_out.items()})
    return found_SY
