"""The certificate: test by test, whether the twin is personal, and one sentence that says so.

A twin is called personal for people it has not seen if, in one and the same task, their connectomes are of use to it, that is if it
predicts them better than the same twin given strangers' connectomes, and what it says of each person holds beyond what is known of age,
sex, site and motion, and holds less from strangers' connectomes: what is shown may depend on what was done before, and then carries the
answer without any brain. Everything else is refused the word, people seen in training always: a code number in place of the connectome
could score as well there. And what one training shows is provisional.

Everybody is compared with many strangers, and with all where there are few people; no seed has a part in it, for bootstrap draws,
permutations and deals come from fixed streams. Strangers' connectomes and not the mean one: the mean is unlike anybody's, a trained twin
may do anything there, and would seem to know people by comparison. If a twin's
output has nothing to do with the person, own and strangers' connectomes are exchangeable.

The chance that any test of a certificate passes where there is nothing stays below 1 - confidence: p-values are Holm's over all its tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from dtb.evaluate.certificate.certificate import QUESTIONS, Certificate, CertificateTest, Reached
from dtb.evaluate.certificate.comparisons import decided, p_of_no, says_nothing, tests_of
from dtb.evaluate.certificate.conclusion import conclude, not_tested
from dtb.evaluate.certificate.fit import Circumstances, fit_of, gated
from dtb.evaluate.scores.covariates import Covariates
from dtb.evaluate.scores.coverage import coverage_of
from dtb.evaluate.scores.figure import TWIN, Figure
from dtb.evaluate.scores.permutations import holm

NUM_PERMUTATIONS = 10_000


def certify(
    figures: Iterable[Figure],
    *,
    are_seen: bool,
    num_people: int,
    weights_BS: np.ndarray,
    confidence: float,
    covariates: Covariates,
    num_permutations: int = NUM_PERMUTATIONS,
    num_seeds: int = 1,
    circumstances: Circumstances | None = None,
    family_S: np.ndarray | None = None,
) -> Certificate:
    """Test what an evaluation's figures support.

    Parameters
    ----------
    figures : iterable of Figure
    are_seen : bool
        Whether the people were seen in training.
    num_people : int
        People evaluated.
    weights_BS : (B, S)
        Bootstrap draws that the figures were made with.
    confidence : float
    covariates : Covariates
        What was taken out of the partial figures.
    num_permutations : int
    num_seeds : int
        Trainings of each fold that the figures rest on.
    circumstances : Circumstances, optional
        What may be why the twin does not fit, if it does not.
    family_S : (S,) int, optional
        Number of each person's family, whose members are exchanged together; everybody is one's own if not given.
    """
    tests: list[CertificateTest] = []
    found = list(figures)
    for figure in found:
        tests += tests_of(figure, covariates, weights_BS, confidence, num_permutations, family_S)
    corrected, no_corrected = (
        holm([math.nan if says_nothing(test) else p(test) for test in tests])
        for p in (lambda test: test.p, lambda test: p_of_no(test, confidence))
    )
    num_tests = sum(not says_nothing(test) for test in tests)
    tests = [
        decided(test, p, p_no, confidence, max(num_tests, 1), covariates)
        for test, p, p_no in zip(tests, corrected, no_corrected, strict=True)
    ]
    tests.sort(key=lambda test: list(QUESTIONS).index(test.kind))
    fit = fit_of(found, weights_BS, confidence, circumstances or Circumstances(), are_seen=are_seen)
    verdict, sentence = gated(*conclude(tests, covariates, are_seen, num_people, num_seeds), fit)
    reached = tuple(Reached(each.task, each.metric, {TWIN: each.twin.value, **each.baselines}) for each in found)
    missing = not_tested(found, covariates, are_seen, num_seeds)
    coverage = tuple(coverage_of(found))
    return Certificate(verdict, sentence, tuple(tests), missing, covariates, reached, fit=fit, coverage=coverage)
