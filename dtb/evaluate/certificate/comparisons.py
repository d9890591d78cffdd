"""The tests of a certificate: what is compared with what, how p is computed, what each test decides, and what would decide it.

Shape letters: `S` subject, `B` bootstrap draw.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import stats

from dtb.evaluate.certificate.certificate import CertificateTest, Kind
from dtb.evaluate.certificate.wording import FEWEST_FOR_A_CLAIM
from dtb.evaluate.predictors.table import predictor_in_words
from dtb.evaluate.scores.covariates import SHARE_KNOWN, Covariates
from dtb.evaluate.scores.figure import STRANGER, TWIN, Figure
from dtb.evaluate.scores.permutations import freedman_lane_p, sign_flip_p, wider_where_shared
from dtb.evaluate.scores.statistics import (
    STREAM,
    Estimate,
    PartialCorrelation,
    difference,
    draws_of,
    estimate,
    of_trainings,
)
from dtb.evaluate.scores.strangers import own_connectome_p

MOST_PEOPLE = 5_000
"""No larger number of people is named as what a test needs."""
POWER = 0.8
"""How probably the number of people that is named would decide a test."""
IDENTICAL = 1e-9
"""A gain that is nowhere larger is rounding."""


_AGAINST_STRANGER = {
    "RT CRPS": "reaction times are predicted better from the own connectome than from strangers'",
    "choice log-loss": "choices are predicted better from the own connectome than from strangers'",
}
_AGAINST_PERMUTED = {
    "RT CRPS": "reaction times are predicted better than by the same training on connectomes dealt to other people",
    "choice log-loss": "choices are predicted better than by the same training on connectomes dealt to other people",
}
BEYOND = {
    "mean RT partial r": "differences in speed between people are predicted",
    "condition effect partial r": "people's condition effects, of all presses, are predicted",
    "BOLD map partial r": "what is particular to a person's BOLD map is predicted",
}
_NEARER = {
    "own minus others, behaviour": "a person's own twin is nearer to the person than others' twins are, in behaviour",
    "own minus others, BOLD map": "a person's own twin is nearer to the person than others' twins are, in BOLD",
}
_AGAINST_BEST = {
    "RT CRPS": "reaction times are predicted better than {best}",
    "choice log-loss": "choices are predicted better than {best}",
    "choice agreement": "the choices that people made are said more often than {best}, erring independently included",
    "mean RT r": "people's mean reaction times are predicted better than {best}",
    "condition effect r": "people's condition effects, of all presses, are predicted better than {best}",
    "BOLD map r without the group map": "what is particular to a person's BOLD map is predicted better than {best}",
}
_BEST = {True: "by the baseline that predicts training people best", False: "by any baseline"}
"""Whether the best baseline was picked on training people."""


def tests_of(
    figure: Figure,
    covariates: Covariates,
    weights_BS: np.ndarray,
    confidence: float,
    num_permutations: int,
    family_S: np.ndarray | None,
) -> list[CertificateTest]:
    """Return the tests of one figure: against connectomes of others, the best baseline, networks trained anew, and nothing.

    Parameters
    ----------
    figure : Figure
    covariates : Covariates
        What a partial figure has regressed out, for the words of the claim.
    weights_BS : (B, S) ndarray
        How often each bootstrap draw has each person.
    confidence : float
        Coverage of the intervals.
    num_permutations : int
    family_S : (S,) ndarray or None
        Family numbers; relatives are exchanged together.

    Returns
    -------
    list of CertificateTest
        Not corrected for their number, and not decided yet.
    """
    sign = 1.0 if figure.higher_is_better else -1.0
    mine_S, tests = figure.scores[TWIN], []
    halves, best = figure.ceilings.get("halves"), figure.best_baseline

    def against(kind: Kind, claim: str, name: str, p: float, scheme: str, words: str = "") -> CertificateTest:
        return compared(kind, claim, words or predictor_in_words(name), (mine_S, figure.scores[name]), p, scheme)

    def compared(
        kind: Kind, claim: str, words: str, scores: tuple[np.ndarray, np.ndarray], p: float, scheme: str
    ) -> CertificateTest:
        gap = difference(figure.statistic, figure.observed_S, *scores, weights_BS, confidence)
        return of_gain(kind, claim, words, of_all(scores[0]), of_all(scores[1]), gap, p, scheme)

    def of_gain(
        kind: Kind, claim: str, words: str, mine: float, theirs: float | None, gap: Estimate, p: float, scheme: str
    ) -> CertificateTest:
        low, high = sorted((sign * gap.lower, sign * gap.upper))
        return CertificateTest(
            kind,
            claim,
            figure.task,
            figure.metric,
            mine,
            words,
            theirs,
            dataclasses.replace(gap, value=sign * gap.value, lower=low, upper=high),
            p,
            scheme,
            share=figure.fraction_of_ceiling,
            ceiling=figure.ceiling if figure.is_bounded else None,
            is_loss=not figure.higher_is_better,
            best="" if best is None else predictor_in_words(best),
            best_value=None if best is None else figure.baselines[best],
            is_best_picked=figure.is_best_picked,
            reliability=None if halves is None else halves**2,
            alone=figure.twin if kind == "person" else None,
        )

    def of_all(score_S: np.ndarray) -> float:
        one = np.ones((1, score_S.shape[-1]))
        return float(figure.statistic(figure.observed_S, score_S, one)[0])

    def of_gap(name: str) -> tuple[float, str]:
        """Test a gain over another predictor."""
        if name == STRANGER and figure.loss_blocks:
            num_people = sum(len(each.person_n) for each in figure.loss_blocks)
            p = own_connectome_p(figure.loss_blocks, num_permutations, figure.shared)
            return p, f"permutation of {num_people} people's connectomes"
        other_S = figure.scores[name]
        if figure.unit != "r over people":
            gain_S = _by_person(sign * (mine_S - other_S))
            flipped = sign_flip_p(gain_S, num_permutations, STREAM, figure.leverage, family_S, figure.shared)
            return flipped, "sign flips over people"
        own_B, other_B = (
            draws_of(figure.statistic, figure.observed_S, score_S, weights_BS) for score_S in (mine_S, other_S)
        )
        gain = sign * (of_all(mine_S) - of_all(other_S))
        draws_B = gain + (sign * (own_B - other_B) - gain) * wider_where_shared(figure.shared)
        finite_B = draws_B[np.isfinite(draws_B)]
        p = (1 + (finite_B <= 0).sum()) / (1 + len(finite_B)) if len(finite_B) else math.nan
        return float(p), "bootstrap over people"

    def above_zero(values_S: np.ndarray) -> tuple[float, str]:
        if all(isinstance(one, PartialCorrelation) for one in of_trainings(figure.statistic)):
            observed_S, statistic = figure.observed_S, figure.statistic
            p = freedman_lane_p(statistic, observed_S, values_S, num_permutations, STREAM, family_S, figure.shared)
            return p, "Freedman and Lane's permutation of residuals over people"
        return (
            sign_flip_p(_by_person(values_S), num_permutations, STREAM, figure.leverage, family_S, figure.shared),
            "sign flips over people",
        )

    if figure.metric in _AGAINST_STRANGER and STRANGER in figure.scores:
        tests.append(against("connectome", _AGAINST_STRANGER[figure.metric], STRANGER, *of_gap(STRANGER)))
    if figure.metric in _AGAINST_STRANGER and figure.permuted_p is not None and figure.alone_S is not None:
        # These figures are means over people, so that the mean over trainings of a person's scores is the mean of their figures.
        num, mean_S = len(figure.permuted), np.mean(figure.permuted_scores, axis=0)
        claim, words = _AGAINST_PERMUTED[figure.metric], f"{num} twins trained on permuted connectomes, on average"
        scheme = f"rank among {num} trainings on permuted connectomes"
        test = compared("connectome", claim, words, (figure.alone_S, mean_S), figure.permuted_p, scheme)
        tests.append(dataclasses.replace(test, smallest_p=1 / (1 + num)))
    theirs_S, added_S = figure.scores.get(STRANGER), figure.added_S
    if added_S is None and theirs_S is not None:
        added_S = mine_S - theirs_S
    if figure.metric in {*BEYOND, *_NEARER} and added_S is not None:
        claim = _NEARER.get(figure.metric) or (
            f"{BEYOND[figure.metric]}{beyond_known(covariates)}, better than from strangers' connectomes"
        )
        own, scheme = above_zero(mine_S)
        added, _ = above_zero(added_S)
        # Both have to hold, so the larger p is that of the two together (Berger 1982, Technometrics 24, 295).
        words = f"0, and {predictor_in_words(STRANGER)}"
        gap = estimate(figure.statistic, figure.observed_S, added_S, weights_BS, confidence)
        theirs = None if theirs_S is None else of_all(theirs_S)
        p = float(np.maximum(own, added))
        tests.append(of_gain("person", claim, words, of_all(mine_S), theirs, gap, p, scheme))
    if figure.metric in _AGAINST_BEST and best is not None:
        claim = _AGAINST_BEST[figure.metric].format(best=_BEST[figure.is_best_picked])
        tests.append(against("baseline", claim, best, *of_gap(best)))
    return tests


def _by_person(values_S: np.ndarray) -> np.ndarray:
    """Return each person's mean over trainings."""
    return values_S.mean(axis=0) if values_S.ndim > 1 else values_S


def beyond_known(covariates: Covariates) -> str:
    """Return the covariates that are regressed out as the end of a claim, with a space before it; empty without any."""
    return f" beyond {covariates.in_words}" if covariates.known else ""


def says_nothing(test: CertificateTest) -> bool:
    """Return whether twin and comparison are identical: then there is nothing to test, and others need no correction for it."""
    ends = (test.gain.value, test.gain.lower, test.gain.upper)
    return math.isfinite(ends[0]) and all(abs(end) < IDENTICAL for end in ends if math.isfinite(end))


def p_of_no(test: CertificateTest, confidence: float) -> float:
    """Return how probable as small a gain would be if there were one: the normal law, with the spread that the interval shows.

    Of a test that needs two things, either may fail, so that the smaller p counts twice (Bonferroni).
    """
    found = []
    for one in (test.gain, test.alone):
        if one is not None and math.isfinite(one.upper - one.lower):
            error = (one.upper - one.lower) / (2 * stats.norm.isf((1 - confidence) / 2))
            found.append(float(stats.norm.cdf(one.value / error)) if error > 0 else float(one.value > 0))
    return min(1.0, len(found) * min(found)) if found else math.nan


def decided(
    test: CertificateTest,
    p_corrected: float,
    no_corrected: float,
    confidence: float,
    num_tests: int,
    covariates: Covariates,
) -> CertificateTest:
    """Return a test with its verdict, or with what it needs before one can be given.

    Parameters
    ----------
    test : CertificateTest
    p_corrected : float
        Corrected p of a gain as large, if there were none.
    no_corrected : float
        Corrected p of a gain as small, if there were one (`p_of_no`).
    confidence : float
    num_tests : int
        Tests for whose number p is corrected.
    covariates : Covariates

    Returns
    -------
    CertificateTest
    """
    gain = test.gain
    test = dataclasses.replace(test, p_corrected=p_corrected)
    if says_nothing(test):
        nothing = dataclasses.replace(gain, value=0.0, lower=0.0, upper=0.0)
        return dataclasses.replace(test, gain=nothing, verdict="no", needs="the two are identical")
    if not math.isfinite(gain.value) or not math.isfinite(p_corrected):
        reason = gain.note.removeprefix("not defined: ") or "nothing can be dealt to other people"
        return dataclasses.replace(test, needs=f"not defined because of this: {reason}")
    both = [one for one in (gain, test.alone) if one is not None]
    if no_corrected <= (1 - confidence) / 2:
        return dataclasses.replace(test, verdict="no")
    if test.metric in BEYOND and covariates.lacking:
        needs = f"needs {covariates.lacking_in_words} of at least {SHARE_KNOWN:.0%} of the people"
        return dataclasses.replace(test, needs=needs)
    if p_corrected < 1 - confidence and all(one.value > 0 for one in both):
        if gain.num_people >= FEWEST_FOR_A_CLAIM:
            return dataclasses.replace(test, verdict="yes")
        return dataclasses.replace(
            test, needs=f"at least {FEWEST_FOR_A_CLAIM} people: {gain.num_people} support no claim"
        )
    if test.smallest_p * num_tests >= 1 - confidence and all(one.value > 0 for one in both):
        enough = math.floor(num_tests / (1 - confidence) + 1e-9)
        needs = f"{enough} trainings on permuted connectomes (dtb evaluate --num-permuted {enough}), or fewer where other tests pass"
        return dataclasses.replace(test, needs=needs)
    # What is further from being decided says what is needed.
    weaker = min(both, key=lambda one: one.value / (one.upper - one.lower) if one.upper > one.lower else -math.inf)
    return dataclasses.replace(test, needs=needed(weaker, confidence, num_tests, test.reliability, _measure(test)))


def _measure(test: CertificateTest) -> str:
    """Return what there would have to be more of for what is observed to be more reliable; nothing where
    more would not help as reckoned."""
    if " r" not in test.metric:
        return ""
    return "minutes of task" if "BOLD" in test.metric else "trials"


def needed(
    gain: Estimate, confidence: float, num_tests: int, reliability: float | None = None, measure: str = ""
) -> str:
    """Return how many people would decide a test, or how large a gain these would have shown, with a power of 0.8.

    By Student's t at the level that is left to each of as many tests (Bonferroni), with the spread between people that the interval shows.
    With twice the trials, a reliability R of what is observed becomes 2 R / (1 + R) (Spearman and Brown), and correlations grow by the root
    of the ratio.
    """
    num_people = gain.num_people
    if not math.isfinite(gain.lower):
        return f"more people: {num_people} are too few for an interval"
    error = (gain.upper - gain.lower) / (2 * stats.norm.isf((1 - confidence) / 2))
    people = np.arange(num_people, MOST_PEOPLE + 1)
    reach = stats.t.isf((1 - confidence) / num_tests, people - 1) + stats.norm.ppf(POWER)
    shown = error * math.sqrt(num_people / max(num_people - 1, 1)) * reach * np.sqrt(num_people / people)

    def enough(value: float) -> int | None:
        places = people[(shown <= value) & (people > num_people)]
        return max(int(places[0]), FEWEST_FOR_A_CLAIM) if len(places) else None

    if gain.value <= 0:
        return f"no gain is seen; {num_people} people would show one of about {shown[0]:.2g}"
    wanted = enough(gain.value)
    more = enough(gain.value * math.sqrt(2 / (1 + reliability))) if reliability is not None and measure else None
    cheaper = f", or {more:,} with twice the {measure}" if more and (wanted is None or more <= 0.8 * wanted) else ""
    if wanted is None:
        return f"more than {MOST_PEOPLE:,} people{cheaper}: the gain is next to nothing"
    return f"about {wanted:,} people{cheaper}"
