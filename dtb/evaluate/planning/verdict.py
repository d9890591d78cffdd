"""The verdict of one planned study: figures of all its folds pooled, and the certificate's own tests of them.

Figures are those of a certificate of the planned tasks without BOLD. They compare reaction times and choices with strangers' connectomes
and with the best baseline; they ask who is slow and whose condition effect is large, beyond covariates and against the best baseline; and
how much nearer people are to their own twins. What is tested, how p is computed and corrected, what "personal" asks for and when the answer
is "no" is not written here: `dtb.evaluate.certificate.certify` says it of an evaluation and of a plan alike.

Shape letters: `S` person, `Q` person of a fold, `n` person of a block, `D` deal of connectomes, `B` bootstrap draw, `C` column of a basis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dtb.evaluate.certificate.certificate import Certificate
from dtb.evaluate.certificate.certify import certify
from dtb.evaluate.certificate.wording import SEEDS_FOR_A_CLAIM
from dtb.evaluate.planning.stand_in import BASELINE, GROUP, STAND_IN, Behaviour, Fold, crps, folds, log_loss
from dtb.evaluate.predictors.predictions import mean_over_people
from dtb.evaluate.scores.covariates import Covariates, Facts, covariate_basis
from dtb.evaluate.scores.figure import STRANGER, TWIN, Figure, make_figure
from dtb.evaluate.scores.folds import (
    residuals_in_folds,
    standardised_in_folds,
    with_fold_means,
    without_fold_means,
)
from dtb.evaluate.scores.metrics import own_minus_others, similarity_by_distance
from dtb.evaluate.scores.picked import with_best
from dtb.evaluate.scores.statistics import (
    STREAM,
    PartialCorrelation,
    Statistic,
    correlation,
    draw_weights,
    mean_of,
)
from dtb.evaluate.scores.strangers import LossBlock, deals, scores_from_strangers
from dtb.people.covariates import COVARIATES

Loss = Callable[[Behaviour, Fold, str, np.ndarray, np.ndarray], np.ndarray]
"""`loss(did, fold, predictor, person_Q, said_QKY) -> (Q, K)`."""

METRICS = {"mean_rt": "mean RT", "condition_rt": "condition effect"}
"""What people are said to be like, as the certificate calls it."""
NUM_DRAWS, NUM_PERMUTATIONS = 400, 2_000
"""A fifth of an evaluation's: the share of cohorts is what is wanted, and no p of one."""
ALL_FOLDS = 1.0
"""Share of the people that a fold is fitted to who are tested in other folds (`Figure.shared`)."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the certificate of one cohort says.

    Attributes
    ----------
    is_personal : bool
        That the twin is personal, and in what the plan claims.
    is_no : bool
        That it is not.
    num_tests : int
        Tests that it counted.
    r : float
        Partial correlation of what is claimed; 0 where it is not defined.
    """

    is_personal: bool
    is_no: bool
    num_tests: int
    r: float


def verdict_of(
    edges_SE: np.ndarray,
    tasks: Mapping[str, Behaviour],
    facts: Facts,
    *,
    claim: str,
    task: str,
    significance: float,
) -> Verdict:
    """Certify the stand-in of a cohort, all of whose people are unseen people of one fold.

    Parameters
    ----------
    edges_SE : (S, E)
        Estimated connectomes.
    tasks : mapping of str to Behaviour
        What people did, by task; the tests of all share the correction.
    facts : sequence of mapping
        Age, sex, site and motion.
    claim : {"mean_rt", "condition_rt"}
    task : str
        In which it is claimed.
    significance : float
    """
    certificate = certified(edges_SE, tasks, facts, significance)
    metric = f"{METRICS[claim]} partial r"
    mine = [test for test in certificate.tests if test.task == task and test.verdict == "yes"]
    holds = any(test.metric == metric for test in mine) and any(test.kind == "connectome" for test in mine)
    r = next((each.values[TWIN] for each in certificate.figures if (each.task, each.metric) == (task, metric)), 0.0)
    return Verdict(
        holds and certificate.verdict in {"yes", "provisional"},
        certificate.verdict == "no",
        len(certificate.tests),
        float(np.nan_to_num(r)),
    )


def certified(edges_SE: np.ndarray, tasks: Mapping[str, Behaviour], facts: Facts, significance: float) -> Certificate:
    """Return the certificate of a cohort; parameters as in `verdict_of`."""
    parts = {name: list(folds(edges_SE, did)) for name, did in tasks.items()}
    return certified_folds(parts, tasks, facts, covariates_of(facts), significance)


def covariates_of(facts: Facts) -> Covariates:
    """Return what is regressed out of the figures of planned people: the covariates that they are given."""
    return Covariates(tuple(one.name for one in COVARIATES if one.is_removed and one.name in facts[0]), ())


def certified_folds(
    parts: Mapping[str, Sequence[Fold]],
    tasks: Mapping[str, Behaviour],
    facts: Facts,
    covariates: Covariates,
    significance: float,
    family_S: np.ndarray | None = None,
) -> Certificate:
    """Return the certificate of all folds of a cohort, pooled.

    Parameters
    ----------
    parts : mapping of str to sequence of Fold
        By task; everybody is in one fold of each.
    tasks, facts, significance
        As in `verdict_of`.
    covariates : Covariates
        Which of the facts are taken out.
    family_S : (S,) int, optional
        Number of each person's family; everybody is one's own if not given.
    """
    num_people, confidence = len(facts), 1 - significance
    weights_BS = draw_weights(num_people, NUM_DRAWS, STREAM, family_S)
    basis_SC = covariate_basis(facts, covariates.known)
    figures: list[Figure | None] = []
    for name, did in tasks.items():
        figures += _figures(name, did, parts[name], basis_SC, weights_BS, confidence)
    figures.append(_nearness(tasks, parts, weights_BS, confidence))
    return certify(
        [dataclasses.replace(figure, shared=ALL_FOLDS) for figure in figures if figure is not None],
        are_seen=False,
        num_people=num_people,
        weights_BS=weights_BS,
        confidence=confidence,
        covariates=covariates,
        num_permutations=NUM_PERMUTATIONS,
        num_seeds=SEEDS_FOR_A_CLAIM,
        family_S=family_S,
    )


def partial_r(edges_SE: np.ndarray, did: Behaviour, facts: Facts, claim: str) -> float:
    """Return the partial correlation that the stand-in reaches in what is claimed, folds pooled; 0 where it is not defined."""
    found, column = list(folds(edges_SE, did, (STAND_IN,))), list(METRICS).index(claim)
    fold_S = _fold_numbers(found, len(edges_SE))
    basis_SC = with_fold_means(covariate_basis(facts, covariates_of(facts).known), fold_S)
    said_S = _together(found, [fold.said[TWIN][:, column] for fold in found], len(edges_SE))
    said_S = residuals_in_folds(said_S[:, None], basis_SC, fold_S)[:, 0]
    one = np.ones((1, len(edges_SE)))
    return float(np.nan_to_num(PartialCorrelation(basis_SC)(did.columns_SY[:, column], said_S, one)[0]))


def _figures(
    task: str, did: Behaviour, found: Sequence[Fold], basis_SC: np.ndarray, weights_BS: np.ndarray, confidence: float
) -> Iterable[Figure | None]:
    num_people, fold_S = len(basis_SC), _fold_numbers(found, len(basis_SC))
    nothing_S = np.zeros(num_people)

    def figure(
        metric: str,
        unit: str,
        statistic: Statistic,
        observed_S: np.ndarray,
        scores: Mapping[str, np.ndarray],
        *,
        higher_is_better: bool = True,
        added_S: np.ndarray | None = None,
    ) -> Figure | None:
        made = make_figure(
            task,
            metric,
            unit,
            statistic,
            observed_S,
            scores,
            weights_BS,
            confidence,
            higher_is_better=higher_is_better,
            added_S=added_S,
        )
        return (
            made if made is None or BASELINE not in made.scores else with_best(made, BASELINE, weights_BS, confidence)
        )

    def of_losses(metric: str, unit: str, loss: Loss) -> Figure | None:
        scores = {
            name: _together(
                found,
                [loss(did, fold, name, fold.person_Q, fold.said[name][:, None])[:, 0] for fold in found],
                num_people,
            )
            for name in (TWIN, BASELINE, GROUP)
        }
        blocks = tuple(block for fold in found for block in _blocks(loss, did, fold))
        scores[STRANGER] = scores_from_strangers(blocks, num_people)
        made = figure(metric, unit, mean_of, nothing_S, scores, higher_is_better=False)
        return None if made is None else dataclasses.replace(made, loss_blocks=blocks)

    yield of_losses("RT CRPS", "seconds", crps)
    yield of_losses("choice log-loss", "nats a trial", log_loss)
    # Whoever is right in most trials is said to be right in all, by whatever predictor.
    accuracy_S = did.columns_SY[:, 2]
    yield figure("choice agreement", "share of trials", mean_of, nothing_S, dict.fromkeys((TWIN, BASELINE), accuracy_S))
    for column, name in enumerate(METRICS.values()):
        observed_S = did.columns_SY[:, column]
        said = {
            who: _together(found, [fold.said[who][:, column] for fold in found], num_people)
            for who in (TWIN, BASELINE, GROUP)
        }
        theirs_S = _together(found, [_of_strangers(fold, column) for fold in found], num_people)
        centred_S = without_fold_means(observed_S[:, None], fold_S)[:, 0]
        own = standardised_in_folds(np.stack(list(said.values()), axis=1), fold_S).T
        yield figure(f"{name} r", "r over people", correlation, centred_S, dict(zip(said, own, strict=True)))
        with_means_SC = with_fold_means(basis_SC, fold_S)
        all_said = np.stack([*said.values(), said[TWIN] - theirs_S], axis=1)
        *rest, added_S = residuals_in_folds(all_said, with_means_SC, fold_S).T
        beyond, scores = PartialCorrelation(with_means_SC), dict(zip(said, rest, strict=True))
        yield figure(f"{name} partial r", "r over people", beyond, observed_S, scores, added_S=added_S)


def _nearness(
    tasks: Mapping[str, Behaviour], parts: Mapping[str, Sequence[Fold]], weights_BS: np.ndarray, confidence: float
) -> Figure | None:
    """Return the figure of how much nearer people are to their own twins than to others', over all tasks."""
    found, num_people = next(iter(parts.values())), weights_BS.shape[1]
    scores: dict[str, list[np.ndarray]] = {TWIN: [], STRANGER: []}
    for place, fold in enumerate(found):
        mine = [some[place] for some in parts.values()]
        did_QF = np.concatenate([did.columns_SY[fold.person_Q, :3] for did in tasks.values()], axis=1)
        said_QF = np.concatenate([each.said[TWIN][:, :3] for each in mine], axis=1)
        scale_F = np.concatenate([each.spread_Y[:3] for each in mine])
        usable_F = np.isfinite(scale_F) & (scale_F > 1e-9)
        near_QQ = similarity_by_distance(said_QF[:, usable_F], did_QF[:, usable_F], scale_F[usable_F])
        scores[TWIN].append(own_minus_others(near_QQ))
        dealt = [
            own_minus_others(np.where(donor_Q[:, None] >= 0, near_QQ[donor_Q], np.nan))
            for donor_Q in deals(fold.block_Q, fold.family_Q)
        ]
        scores[STRANGER].append(mean_over_people(np.array(dealt))[0])
    return make_figure(
        "all",
        "own minus others, behaviour",
        "training SD",
        mean_of,
        np.zeros(num_people),
        {name: _together(found, values, num_people) for name, values in scores.items()},
        weights_BS,
        confidence,
    )


def _blocks(loss: Loss, did: Behaviour, fold: Fold) -> Iterable[LossBlock]:
    for block in np.unique(fold.block_Q):
        mine_Q = fold.block_Q == block
        person_n, family_n = fold.person_Q[mine_Q], fold.family_Q[mine_Q]
        loss_nn = loss(did, fold, TWIN, person_n, fold.said[TWIN][mine_Q][None])
        known_n = np.isfinite(np.diag(loss_nn))
        if known_n.any():
            yield LossBlock(person_n[known_n], family_n[known_n], loss_nn[np.ix_(known_n, known_n)])


def _of_strangers(fold: Fold, column: int) -> np.ndarray:
    """Return the mean (Q,) of what is said from the connectomes of others in the block."""
    said_Q = fold.said[TWIN][:, column]
    donor_DQ = deals(fold.block_Q, fold.family_Q)
    dealt_DQ = np.array([np.where(donor_Q >= 0, said_Q[donor_Q], np.nan) for donor_Q in donor_DQ])
    return mean_over_people(dealt_DQ)[0]


def _fold_numbers(found: Sequence[Fold], num_people: int) -> np.ndarray:
    return _together(found, [np.full(len(fold.person_Q), place) for place, fold in enumerate(found)], num_people)


def _together(found: Sequence[Fold], values: Sequence[np.ndarray], num_people: int) -> np.ndarray:
    """Put values of each fold's people in the order of all."""
    together_S = np.full(num_people, np.nan)
    for fold, values_Q in zip(found, values, strict=True):
        together_S[fold.person_Q] = values_Q
    return together_S
