"""Twins in closed form: regressions read people's behaviour from connectomes, in five folds, and the certificate pools them.

Like a trained twin, they predict people whom their fitting did not see, from their own connectomes and from strangers'. A cohort costs a
quarter of a second instead of minutes. Figures, pooling and certificate are those of `dtb plan` (`dtb.evaluate.planning.verdict`), which
are an evaluation's, test by test. What stands in a twin's place is the stack of ridge, kernel ridge and connectome-based predictive
modelling, or one of them.

Shape letters: `S` training person, `Q` unseen person, `E` edge, `Y` figure of a person, `P` penalty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from dtb.evaluate.certificate.certificate import Certificate
from dtb.evaluate.planning.stand_in import BASELINE, GROUP, Behaviour, Fold
from dtb.evaluate.planning.verdict import certified_folds
from dtb.evaluate.predictors.fitting import stack_weights
from dtb.evaluate.predictors.leave_out import balanced_folds
from dtb.evaluate.scores.covariates import known_covariates
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.strangers import block_of_people
from dtb.people.covariates import family_numbers
from scripts.studies.null_cohorts import NullCohort

PENALTIES_P = np.logspace(-2, 4, 13)
"""Over the mean of a kernel's eigenvalues."""
KERNEL_WIDTH = 0.3
CPM_P = 0.01
NUM_INNER = 5
SIGNIFICANCE = 0.05
TASK = "hammer"


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """What a reader of connectomes says.

    Attributes
    ----------
    said_QY : (Q, Y) float64
        Of unseen people, each from the own connectome.
    left_out_SY : (S, Y) float64
        Of training people, from a fit without them.
    """

    said_QY: np.ndarray
    left_out_SY: np.ndarray


def certificates(
    cohort: NullCohort, fold_S: np.ndarray, readers: tuple[str, ...], trained: Mapping[str, Sequence[np.ndarray]] = {}
) -> dict[str, Certificate]:
    """Return the certificate of all folds pooled, for each reader in a twin's place.

    Parameters
    ----------
    cohort : NullCohort
    fold_S : (S,) int
        In which fold each person is tested, from 0.
    readers : tuple of str
        Names, from `read_all`.
    trained : mapping of str to sequence of (Q, 4) array
        What twins that were trained say of the people of each fold, by name: further readers.
    """
    family_S = family_numbers(cohort.facts)
    features_SE = (cohort.edges_SE - cohort.edges_SE.mean(axis=0)) / cohort.edges_SE.std(axis=0)
    parts: dict[str, list[Fold]] = {reader: [] for reader in (*readers, *trained)}
    for fold in range(int(fold_S.max()) + 1):
        person_Q, fit_S = np.flatnonzero(fold_S == fold), np.flatnonzero(fold_S != fold)
        read = read_all(features_SE[fit_S], features_SE[person_Q], cohort.did.columns_SY[fit_S])
        read |= {name: Read(said[fold], np.empty(0)) for name, said in trained.items()}
        for reader, mine in parts.items():
            mine.append(_fold(cohort.did, person_Q, fit_S, family_S[person_Q], read, reader))
    covariates = known_covariates(cohort.facts, cohort.facts)
    return {
        reader: certified_folds(
            {TASK: parts[reader]}, {TASK: cohort.did}, cohort.facts, covariates, SIGNIFICANCE, family_S
        )
        for reader in parts
    }


def folds_of(cohort: NullCohort) -> np.ndarray:
    """Return five folds (S,) of about equal size; families stay together."""
    return balanced_folds(family_numbers(cohort.facts))


def _fold(
    did: Behaviour, person_Q: np.ndarray, fit_S: np.ndarray, family_Q: np.ndarray, read: dict[str, Read], reader: str
) -> Fold:
    columns_SY = did.columns_SY[fit_S]
    mean_QY = np.broadcast_to(columns_SY.mean(axis=0), (len(person_Q), columns_SY.shape[1]))
    said = {TWIN: read[reader].said_QY, BASELINE: read["kernel ridge"].said_QY, GROUP: mean_QY}
    offset_C, within = did.spread(fit_S)
    between = columns_SY[:, 3].var()
    scale = {name: float(np.sqrt(within + max(between - said_QY[:, 3].var(), 0.0))) for name, said_QY in said.items()}
    wrong_SJ = ~did.is_right_SJ[fit_S]
    slip = (np.isfinite(did.rt_SJ[fit_S]) & wrong_SJ).sum() / max(wrong_SJ.sum(), 1)
    block_Q = block_of_people([f"person {place}" for place in person_Q], family_Q)
    return Fold(
        person_Q, block_Q, family_Q, said, offset_C, scale, columns_SY.std(axis=0), float(np.clip(slip, 0.01, 0.99))
    )


def read_all(features_SE: np.ndarray, features_QE: np.ndarray, target_SY: np.ndarray) -> dict[str, Read]:
    """Return what each reader says: ridge, kernel ridge, connectome-based predictive modelling (CPM), and the stack of the three."""
    within_SS, across_QS = features_SE @ features_SE.T, features_QE @ features_SE.T
    size_S, size_Q = np.diag(within_SS), (features_QE**2).sum(axis=1)
    distance_SS = size_S[:, None] + size_S - 2 * within_SS
    distance_QS = size_Q[:, None] + size_S - 2 * across_QS
    gamma = KERNEL_WIDTH / np.median(distance_SS[np.triu_indices(len(size_S), 1)])
    found = {
        "ridge": ridge(within_SS, across_QS, target_SY),
        "kernel ridge": ridge(np.exp(-gamma * distance_SS), np.exp(-gamma * distance_QS), target_SY),
        "CPM": _cpm(features_SE, features_QE, target_SY),
    }
    return {**found, "stack": _stack(list(found.values()), target_SY)}


def ridge(kernel_SS: np.ndarray, kernel_QS: np.ndarray, target_SY: np.ndarray) -> Read:
    """Fit a ridge regression in a kernel; each target's penalty is that with the least error of people left out one by one."""
    mean_S, mean = kernel_SS.mean(axis=0), kernel_SS.mean()
    centred_SS = kernel_SS - mean_S - mean_S[:, None] + mean
    centred_QS = kernel_QS - kernel_QS.mean(axis=1, keepdims=True) - mean_S + mean
    middle_Y = target_SY.mean(axis=0)
    rest_SY = target_SY - middle_Y
    values_S, vectors_SS = np.linalg.eigh(centred_SS)
    values_S = np.maximum(values_S, 0.0)
    turned_SY = vectors_SS.T @ rest_SY
    penalty_P = PENALTIES_P * max(float(values_S.mean()), 1e-12)
    part_PS = values_S / (values_S + penalty_P[:, None])
    leverage_PS = part_PS @ (vectors_SS**2).T + 1 / len(values_S)
    fitted_PSY = vectors_SS @ (part_PS[:, :, None] * turned_SY)
    error_PSY = (rest_SY - fitted_PSY) / (1 - np.minimum(leverage_PS, 1 - 1e-9))[:, :, None]
    best_Y = (error_PSY**2).sum(axis=1).argmin(axis=0)
    weight_SY = vectors_SS @ (turned_SY / (values_S[:, None] + penalty_P[best_Y]))
    left_out_SY = target_SY - np.take_along_axis(error_PSY, best_Y[None, None], axis=0)[0]
    return Read(middle_Y + centred_QS @ weight_SY, left_out_SY)


def _cpm(features_SE: np.ndarray, features_QE: np.ndarray, target_SY: np.ndarray) -> Read:
    """Fit connectome-based predictive modelling (Shen et al. 2017, Nat Protoc 12, 506); people are left out in folds."""
    left_out_SY, fold_S = np.empty_like(target_SY), np.arange(len(target_SY)) % NUM_INNER
    for fold in range(NUM_INNER):
        rest_S, others_S = fold_S == fold, fold_S != fold
        left_out_SY[rest_S] = _cpm_once(features_SE[others_S], features_SE[rest_S], target_SY[others_S])
    return Read(_cpm_once(features_SE, features_QE, target_SY), left_out_SY)


def _cpm_once(features_SE: np.ndarray, features_QE: np.ndarray, target_SY: np.ndarray) -> np.ndarray:
    mean_E, middle_Y = features_SE.mean(axis=0), target_SY.mean(axis=0)
    centred_SE, rest_SY = features_SE - mean_E, target_SY - middle_Y
    size_E1 = np.maximum(np.sqrt((centred_SE**2).sum(axis=0)), 1e-12)[:, None]
    r_EY = centred_SE.T @ rest_SY / size_E1 / np.maximum(np.sqrt((rest_SY**2).sum(axis=0)), 1e-12)
    threshold_t = stats.t.isf(CPM_P / 2, len(features_SE) - 2)
    threshold_r = threshold_t / np.sqrt(len(features_SE) - 2 + threshold_t**2)
    sign_EY = np.where(np.abs(r_EY) > threshold_r, np.sign(r_EY), 0.0)
    strength_SY = centred_SE @ sign_EY
    spread_Y = (strength_SY**2).sum(axis=0)
    slope_Y = (strength_SY * rest_SY).sum(axis=0) / np.where(spread_Y > 0, spread_Y, np.inf)
    return np.asarray(middle_Y + slope_Y * ((features_QE - mean_E) @ sign_EY))


def _stack(parts: list[Read], target_SY: np.ndarray) -> Read:
    said_QY, left_out_SY = np.empty_like(parts[0].said_QY), np.empty_like(target_SY)
    for column in range(target_SY.shape[1]):
        left_out_KS = np.stack([one.left_out_SY[:, column] for one in parts])
        weight_K, centre_K1 = stack_weights(left_out_KS, target_SY[:, column]), left_out_KS.mean(axis=1, keepdims=True)
        middle = target_SY[:, column].mean()
        said_QY[:, column] = middle + weight_K @ (np.stack([one.said_QY[:, column] for one in parts]) - centre_K1)
        left_out_SY[:, column] = middle + weight_K @ (left_out_KS - centre_K1)
    return Read(said_QY, left_out_SY)
