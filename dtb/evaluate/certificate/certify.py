"""The certificate: test by test, whether the twin is personal, and one sentence that says so.

A twin is called personal for people it has not seen if, in one and the same task, their connectomes are of use to it, that is if it
predicts them better than the same twin given strangers' connectomes, and what it says of each person holds beyond what is known of age,
sex, site and motion, and holds less from a stranger's connectome: what is shown may depend on what was done before, and then carries the
answer without any brain. Everything else is refused the word, people seen in training always: a code number in place of the connectome
could score as well there. And what one training shows is provisional.

Strangers' connectomes and not the mean one: the mean is unlike anybody's, a trained twin may do anything there, and would seem to
know people by comparison. If a twin's output has nothing to do with the person, own and strangers' connectomes are exchangeable.

The chance that any test of a certificate passes where there is nothing stays below 1 - confidence: p-values are Holm's over all its tests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from scipy import stats

from dtb.evaluate.certificate.fit import Circumstances, Conclusion, Fit, fit_of, gated
from dtb.evaluate.certificate.wording import FEWEST_FOR_A_CLAIM, SEEDS_FOR_A_CLAIM
from dtb.evaluate.predictors.retrained_kinds import RETRAINED
from dtb.evaluate.predictors.table import predictor_in_words
from dtb.evaluate.scores.covariates import SHARE_KNOWN, Covariates
from dtb.evaluate.scores.figure import TWIN, Figure, number_or_none
from dtb.evaluate.scores.people_figures import STRANGER
from dtb.evaluate.scores.statistics import (
    Estimate,
    PartialCorrelation,
    difference,
    freedman_lane_p,
    holm,
    of_trainings,
    sign_flip_p,
)

Verdict = Literal["yes", "no", "undecided"]
Kind = Literal["connectome", "person", "baseline"]
NUM_PERMUTATIONS = 10_000
MOST_PEOPLE = 5_000
"""No larger number of people is named as what a test needs."""
QUESTIONS: dict[Kind, str] = {
    "connectome": "Is the connectome of use to the twin?",
    "person": "Is what the twin says of a person that person's?",
    "baseline": "Is it better than what is had without a twin?",
}
"""What each kind of test asks."""
POWER = 0.8
"""How probably the number of people that is named would decide a test."""
IDENTICAL = 1e-9
"""A gain that is nowhere larger is rounding."""


@dataclasses.dataclass(frozen=True)
class CertificateTest:
    """One test of a certificate.

    Attributes
    ----------
    kind : {"connectome", "person", "baseline"}
        Whether it asks if the connectome is of use, if what is said of a person is that person's, or if the best baseline is beaten.
    claim : str
        What would be claimed.
    task, metric : str
    twin : float
    against : str
        What the twin is compared with.
    against_value : float or None
    gain : Estimate
        How much better the twin is; more is better, whatever the metric.
    p, p_corrected : float
        One-sided, before and after Holm's correction.
    scheme : str
        How p was computed.
    verdict : {"yes", "no", "undecided"}
    needs : str
        What data would decide an undecided test, or why nothing can.
    share : float or None
        The twin's share of what is possible (`Figure.fraction_of_ceiling`).
    is_loss : bool
        Whether the figure is better when lower.
    best, best_value : str, float or None
        The best baseline of the figure.
    reliability : float or None
        Of what is observed, from its halves.
    alone : Estimate or None
        The twin's own figure, where it has to be above 0 as well.
    smallest_p : float
        No p can be smaller: of so many trainings on permuted connectomes, one more is at best the first.
    """

    kind: Kind
    claim: str
    task: str
    metric: str
    twin: float
    against: str
    against_value: float | None
    gain: Estimate
    p: float
    scheme: str
    p_corrected: float = math.nan
    verdict: Verdict = "undecided"
    needs: str = ""
    share: float | None = None
    is_loss: bool = False
    best: str = ""
    best_value: float | None = None
    reliability: float | None = None
    alone: Estimate | None = None
    smallest_p: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Return the test as JSON values."""
        plain = dataclasses.asdict(self)
        gain, alone = plain.pop("gain"), plain.pop("alone") or {"lower": math.nan, "upper": math.nan}
        plain |= {
            "gain": number_or_none(gain["value"]),
            "gain_lower": number_or_none(gain["lower"]),
            "gain_upper": number_or_none(gain["upper"]),
            "twin_lower": number_or_none(alone["lower"]),
            "twin_upper": number_or_none(alone["upper"]),
            "n": gain["num_people"],
        }
        numbers = ("twin", "p", "p_corrected", "against_value", "best_value")
        return plain | {name: None if plain[name] is None else number_or_none(plain[name]) for name in numbers}


@dataclasses.dataclass(frozen=True)
class Reached:
    """What the twin and every baseline reach in one figure.

    Attributes
    ----------
    task, metric : str
    values : dict of str to float
        By predictor, the twin's first.
    """

    task: str
    metric: str
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """All tests, and what they come to.

    Attributes
    ----------
    verdict : {"yes", "provisional", "no", "undecided"}
        Whether the twin is personal; provisional if fewer trainings say so than a claim needs.
    sentence : str
    tests : tuple of CertificateTest
    not_tested : tuple of str
        Tests for which there are no data, with what would be needed.
    covariates : Covariates
        What was taken out of what people are said to be like.
    figures : tuple of Reached
        Every figure, with every baseline that was computed.
    about : dict
        What is certified: cohort, split, what was held out, trainings, whom, version and date; JSON values.
    fit : Fit
        Whether the twin fits at all, which is said first.
    """

    verdict: Conclusion
    sentence: str
    tests: tuple[CertificateTest, ...]
    not_tested: tuple[str, ...]
    covariates: Covariates = dataclasses.field(default_factory=Covariates)
    figures: tuple[Reached, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fit: Fit = dataclasses.field(default_factory=lambda: Fit(None, ""))

    def to_plain(self) -> dict[str, Any]:
        """Return the certificate as JSON values."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "fit": self.fit.to_plain(),
            "about": dict(self.about),
            "tests": [test.to_plain() for test in self.tests],
            "not_tested": list(self.not_tested),
            "covariates": {"known": list(self.covariates.known), "lacking": list(self.covariates.lacking)},
            "figures": [
                {
                    "task": reached.task,
                    "metric": reached.metric,
                    "values": {name: number_or_none(value) for name, value in reached.values.items()},
                }
                for reached in self.figures
            ],
        }


def certify(
    figures: Iterable[Figure],
    *,
    are_seen: bool,
    num_people: int,
    weights_BS: np.ndarray,
    confidence: float,
    seed: int,
    covariates: Covariates,
    num_permutations: int = NUM_PERMUTATIONS,
    num_seeds: int = 1,
    circumstances: Circumstances | None = None,
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
    seed : int
        Of the permutations.
    covariates : Covariates
        What was taken out of the partial figures.
    num_permutations : int
    num_seeds : int
        Trainings of each fold that the figures rest on.
    circumstances : Circumstances, optional
        What may be why the twin does not fit, if it does not.
    """
    tests: list[CertificateTest] = []
    found = list(figures)
    for figure in found:
        tests += _tests_of(figure, covariates, weights_BS, confidence, seed, num_permutations)
    corrected = holm([test.p for test in tests])
    tests = [_decided(test, p, confidence, len(tests), covariates) for test, p in zip(tests, corrected, strict=True)]
    tests.sort(key=lambda test: list(QUESTIONS).index(test.kind))
    fit = fit_of(found, weights_BS, confidence, circumstances or Circumstances(), are_seen=are_seen)
    verdict, sentence = gated(*_conclude(tests, covariates, are_seen, num_people, num_seeds), fit)
    reached = tuple(Reached(each.task, each.metric, {TWIN: each.twin.value, **each.baselines}) for each in found)
    missing = _not_tested(found, covariates, are_seen, num_seeds)
    return Certificate(verdict, sentence, tuple(tests), missing, covariates, reached, fit=fit)


_AGAINST_STRANGER = {
    "RT CRPS": "reaction times are predicted better from the own connectome than from a stranger's",
    "choice log-loss": "choices are predicted better from the own connectome than from a stranger's",
}
_AGAINST_PERMUTED = {
    "RT CRPS": "reaction times are predicted better than by the same training on connectomes dealt to other people",
    "choice log-loss": "choices are predicted better than by the same training on connectomes dealt to other people",
}
_BEYOND = {
    "mean RT partial r": "differences in speed between people are predicted",
    "condition effect partial r": "people's condition effects are predicted",
    "BOLD map partial r": "what is particular to a person's BOLD map is predicted",
}
_NEARER = {
    "own minus others, behaviour": "a person's own twin is nearer to the person than others' twins are, in behaviour",
    "own minus others, BOLD map": "a person's own twin is nearer to the person than others' twins are, in BOLD",
}
_AGAINST_BEST = {
    "RT CRPS": "reaction times are predicted better than by any baseline",
    "choice log-loss": "choices are predicted better than by any baseline",
    "choice agreement": "the choices that people made are said more often than by any baseline, erring independently included",
    "mean RT r": "people's mean reaction times are predicted better than by any baseline",
    "condition effect r": "people's condition effects are predicted better than by any baseline",
    "BOLD map r without the group map": "what is particular to a person's BOLD map is predicted better than by any baseline",
}


def _tests_of(
    figure: Figure,
    covariates: Covariates,
    weights_BS: np.ndarray,
    confidence: float,
    seed: int,
    num_permutations: int,
) -> list[CertificateTest]:
    sign = 1.0 if figure.higher_is_better else -1.0
    mine_S, tests = figure.scores[TWIN], []
    halves, best = figure.ceilings.get("halves"), figure.best_baseline

    def against(kind: Kind, claim: str, name: str, p: float, scheme: str, words: str = "") -> CertificateTest:
        return compared(kind, claim, words or predictor_in_words(name), (mine_S, figure.scores[name]), p, scheme)

    def compared(
        kind: Kind, claim: str, words: str, scores: tuple[np.ndarray, np.ndarray], p: float, scheme: str
    ) -> CertificateTest:
        gap = difference(figure.statistic, figure.observed_S, *scores, weights_BS, confidence)
        low, high = sorted((sign * gap.lower, sign * gap.upper))
        return CertificateTest(
            kind,
            claim,
            figure.task,
            figure.metric,
            of_all(scores[0]),
            words,
            of_all(scores[1]),
            dataclasses.replace(gap, value=sign * gap.value, lower=low, upper=high),
            p,
            scheme,
            share=figure.fraction_of_ceiling,
            is_loss=not figure.higher_is_better,
            best="" if best is None else predictor_in_words(best),
            best_value=None if best is None else figure.baselines[best],
            reliability=None if halves is None else halves**2,
            alone=figure.twin if kind == "person" else None,
        )

    def of_all(score_S: np.ndarray) -> float:
        one = np.ones((1, score_S.shape[-1]))
        return float(figure.statistic(figure.observed_S, score_S, one)[0])

    def of_gap(name: str) -> tuple[float, str]:
        """Test a gain over another predictor."""
        other_S = figure.scores[name]
        if figure.unit != "r over people":
            gain_S = _by_person(sign * (mine_S - other_S))
            return sign_flip_p(gain_S, num_permutations, seed, figure.leverage), "sign flips over people"
        draws_B = sign * (
            figure.statistic(figure.observed_S, mine_S, weights_BS)
            - figure.statistic(figure.observed_S, other_S, weights_BS)
        )
        finite_B = draws_B[np.isfinite(draws_B)]
        p = (1 + (finite_B <= 0).sum()) / (1 + len(finite_B)) if len(finite_B) else math.nan
        return float(p), "bootstrap over people"

    def above_zero(values_S: np.ndarray) -> tuple[float, str]:
        if all(isinstance(one, PartialCorrelation) for one in of_trainings(figure.statistic)):
            p = freedman_lane_p(figure.statistic, figure.observed_S, values_S, num_permutations, seed)
            return p, "Freedman and Lane's permutation of residuals over people"
        return (
            sign_flip_p(_by_person(values_S), num_permutations, seed, figure.leverage),
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
    if figure.metric in {*_BEYOND, *_NEARER} and STRANGER in figure.scores:
        claim = _NEARER.get(figure.metric) or (
            f"{_BEYOND[figure.metric]}{_beyond(covariates)}, better than from the connectome of a stranger"
        )
        added_S = mine_S - figure.scores[STRANGER] if figure.added_S is None else figure.added_S
        own, scheme = above_zero(mine_S)
        added, _ = above_zero(added_S)
        # Both have to hold, so the larger p is that of the two together (Berger 1982, Technometrics 24, 295).
        words = f"0, and {predictor_in_words(STRANGER)}"
        tests.append(against("person", claim, STRANGER, float(np.maximum(own, added)), scheme, words))
    if figure.metric in _AGAINST_BEST and best is not None:
        tests.append(against("baseline", _AGAINST_BEST[figure.metric], best, *of_gap(best)))
    return tests


def _by_person(values_S: np.ndarray) -> np.ndarray:
    """Return each person's mean over trainings."""
    return values_S.mean(axis=0) if values_S.ndim > 1 else values_S


def _beyond(covariates: Covariates) -> str:
    return f" beyond {covariates.in_words}" if covariates.known else ""


def _decided(
    test: CertificateTest, p_corrected: float, confidence: float, num_tests: int, covariates: Covariates
) -> CertificateTest:
    gain = test.gain
    test = dataclasses.replace(test, p_corrected=p_corrected)
    if not math.isfinite(gain.value) or not math.isfinite(p_corrected):
        reason = gain.note.removeprefix("not defined: ") or "nothing can be dealt to other people"
        return dataclasses.replace(test, needs=f"not defined because of this: {reason}")
    if all(abs(value) < IDENTICAL for value in (gain.value, gain.lower, gain.upper) if math.isfinite(value)):
        nothing = dataclasses.replace(gain, value=0.0, lower=0.0, upper=0.0)
        return dataclasses.replace(test, gain=nothing, verdict="no", needs="the two are identical")
    both = [one for one in (gain, test.alone) if one is not None]
    if any(one.upper <= 0 for one in both):
        return dataclasses.replace(test, verdict="no")
    if test.metric in _BEYOND and covariates.lacking:
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
    return dataclasses.replace(test, needs=_needed(weaker, confidence, num_tests, test.reliability, _measure(test)))


def _measure(test: CertificateTest) -> str:
    """Return what there would have to be more of for what is observed to be more reliable; nothing where
    more would not help as reckoned."""
    if " r" not in test.metric:
        return ""
    return "minutes of task" if "BOLD" in test.metric else "trials"


def _needed(
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


def _conclude(
    tests: list[CertificateTest], covariates: Covariates, are_seen: bool, num_people: int, num_seeds: int
) -> tuple[Conclusion, str]:
    whom = f"{num_people} {'person' if num_people == 1 else 'people'}"
    few = (
        f"{whom} support{'s' if num_people == 1 else ''} no claim between people "
        f"(at least {FEWEST_FOR_A_CLAIM} unseen people are asked for)"
    )
    if are_seen:
        return "no", (
            f"This twin may not be called personal: the {whom} were seen in training, where a code number in place of the connectome could "
            "score as well; only unseen people can show what a connectome says."
            + (f" And {few}." if num_people < FEWEST_FOR_A_CLAIM else "")
        )
    if num_people < FEWEST_FOR_A_CLAIM:
        return "undecided", f"Whether this twin is personal cannot be said: {few}."
    of_use = [test for test in tests if test.kind == "connectome"]
    of_person = [test for test in tests if test.kind == "person" and test.metric in _BEYOND]
    tasks_of_use = {test.task for test in of_use if test.verdict == "yes"}
    passed = [test for test in of_person if test.verdict == "yes"]
    both = [test for test in passed if test.task in tasks_of_use]
    if both:
        words = _what_holds(both, [test for test in tests if test.kind == "baseline" and test.verdict == "yes"])
        if num_seeds >= SEEDS_FOR_A_CLAIM:
            return "yes", f"This twin is personal, for {whom} it had not seen, in this: {words}"
        shown = "one training shows" if num_seeds == 1 else f"{num_seeds} trainings show"
        return "provisional", (
            f"As far as {shown}, this twin is personal, for {whom} it had not seen, in this: {words} Another training could come out "
            f"otherwise: a claim needs {SEEDS_FOR_A_CLAIM} seeds (dtb train --seed 0 to {SEEDS_FOR_A_CLAIM - 1} with the same split.seed, "
            "dtb evaluate each, then dtb pool)."
        )
    missing = []
    if not tasks_of_use:
        missing.append("that its connectome is of use to it")
    if not passed:
        beyond = f",{_beyond(covariates)}" if covariates.known else ""
        missing.append(f"that what it says of a person is that person's{beyond}")
    if not missing:
        missing.append(
            f"both in one task: its connectome is of use to it in {', '.join(sorted(tasks_of_use))}, and what it says of a person is that "
            f"person's in {', '.join(sorted({test.task for test in passed}))}"
        )
    verdict: Conclusion = "no" if _is_ruled_out(of_use, of_person) else "undecided"
    word = "is not shown to be personal" if verdict == "undecided" else "is not personal"
    needs = ""
    if verdict == "undecided" and covariates.lacking:
        needs = f" Undecided: needs {covariates.lacking_in_words} of at least {SHARE_KNOWN:.0%} of the people."
    return verdict, f"This twin {word}: in {whom} it had not seen, it does not show {' nor '.join(missing)}.{needs}"


def _is_ruled_out(of_use: list[CertificateTest], of_person: list[CertificateTest]) -> bool:
    """Return whether in every task one of the two things that are asked for is answered by no alone; what
    was not tested rules nothing out."""
    tasks = {test.task for test in (*of_use, *of_person)}

    def fails(tests: list[CertificateTest], task: str) -> bool:
        mine = [test for test in tests if test.task == task]
        return bool(mine) and all(test.verdict == "no" for test in mine)

    return bool(tasks) and all(fails(of_use, task) or fails(of_person, task) for task in tasks)


def _what_holds(passed: list[CertificateTest], best: list[CertificateTest]) -> str:
    """Return in words in what a twin is personal, in which tasks and by how many people each, and which baselines it beats."""
    tasks_of: dict[str, list[str]] = {}
    for test in passed:
        tasks_of.setdefault(test.claim, []).append(f"{test.task}: {test.gain.num_people} people")
    what = "; ".join(f"{claim} ({', '.join(tasks)})" for claim, tasks in tasks_of.items())
    regression = (
        f"It beats every baseline at {', '.join(f'{test.metric} ({test.task})' for test in best)}."
        if best
        else "It beats no baseline that it is compared with: a regression would do as well."
    )
    return f"{what}. {regression}"


def _not_tested(figures: list[Figure], covariates: Covariates, are_seen: bool, num_seeds: int) -> tuple[str, ...]:
    missing, metrics = [], {figure.metric for figure in figures}
    if covariates.lacking:
        missing.append(
            f"beyond {covariates.lacking_in_words}: needs {'these' if len(covariates.lacking) > 1 else 'it'} of at least "
            f"{SHARE_KNOWN:.0%} of the people, in participants.tsv (motion: in the confounds of the rest scan)"
        )
    elif "mean RT partial r" not in metrics:
        missing.append(f"{_beyond(covariates).strip()}: needs more people than these can explain")
    if "condition effect r" not in metrics:
        missing.append("condition effects: need a task with a contrast of conditions")
    if "BOLD map r" not in metrics:
        missing.append("BOLD: needs task series and a contrast of conditions")
    if are_seen:
        missing.append("unseen people: need split.kind: subjects, sites or tasks")
    compared = {name for figure in figures for name in figure.baselines}
    absent = [
        f"{kind.words} (dtb evaluate --retrained {kind.name})"
        for kind in RETRAINED
        if kind.predictor not in compared and (are_seen or not kind.needs_seen_people)
    ]
    if not any(figure.permuted for figure in figures):
        absent.append("permuted connectomes (dtb evaluate --num-permuted 19)")
    if absent:
        missing.append(f"against networks trained anew: {'; '.join(absent)}")
    if num_seeds < SEEDS_FOR_A_CLAIM:
        missing.append(
            f"other trainings: this rests on {num_seeds} {'seed' if num_seeds == 1 else 'seeds'}; train with at least {SEEDS_FOR_A_CLAIM} "
            "(--seed) and take their evaluations together (dtb pool) before you claim anything"
        )
    return tuple(missing)
