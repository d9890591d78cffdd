"""The certificate: test by test, whether the twin is personal, and one sentence that says so.

A twin is called personal for people it has not seen if their connectomes are of use to it, that is if it predicts them better than the
same twin given strangers' connectomes, and if what it says of each person holds beyond age, sex, site and motion. Everything else is
refused the word, people seen in training always: a code number in place of the connectome could score as well there.

Strangers' connectomes and not the mean one: the mean is unlike anybody's, a trained twin may do anything there, and would seem to
know people by comparison. If a twin's output has nothing to do with the person, own and strangers' connectomes are exchangeable.

The chance that any test of a certificate passes where there is nothing stays below 1 - confidence: p-values are Holm's over all its tests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from scipy import stats

from dtb.evaluate.claim import FEWEST_FOR_A_CLAIM, NAMES, SEEDS_FOR_A_CLAIM
from dtb.evaluate.figure import TWIN, Figure, number_or_none
from dtb.evaluate.statistics import Estimate, difference, holm, permutation_p, sign_flip_p

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


@dataclasses.dataclass(frozen=True)
class Test:
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
        What data would decide an undecided test.
    share : float or None
        The twin's share of what is possible (`Figure.fraction_of_ceiling`).
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

    def to_plain(self) -> dict[str, Any]:
        """Give the test as JSON values."""
        plain = dataclasses.asdict(self)
        gain = plain.pop("gain")
        plain |= {
            "gain": number_or_none(gain["value"]),
            "gain_lower": number_or_none(gain["lower"]),
            "gain_upper": number_or_none(gain["upper"]),
            "n": gain["num_people"],
        }
        numbers = ("twin", "p", "p_corrected")
        return plain | {name: number_or_none(plain[name]) for name in numbers}


@dataclasses.dataclass(frozen=True)
class Certificate:
    """All tests, and what they come to.

    Attributes
    ----------
    verdict : {"yes", "no", "undecided"}
        Whether the twin is personal.
    sentence : str
    tests : tuple of Test
    not_tested : tuple of str
        Tests for which there are no data, with what would be needed.
    """

    verdict: Verdict
    sentence: str
    tests: tuple[Test, ...]
    not_tested: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Give the certificate as JSON values."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "tests": [test.to_plain() for test in self.tests],
            "not_tested": list(self.not_tested),
        }


def certify(
    figures: Iterable[Figure],
    *,
    are_seen: bool,
    num_people: int,
    weights_BS: np.ndarray,
    confidence: float,
    seed: int,
    num_permutations: int = NUM_PERMUTATIONS,
    num_seeds: int = 1,
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
    num_permutations : int
    num_seeds : int
        Trainings of each fold that the figures rest on.
    """
    tests: list[Test] = []
    found = list(figures)
    for figure in found:
        tests += _tests_of(figure, weights_BS, confidence, seed, num_permutations)
    corrected = holm([test.p for test in tests])
    tests = [_decided(test, p, confidence, len(tests)) for test, p in zip(tests, corrected, strict=True)]
    tests.sort(key=lambda test: list(QUESTIONS).index(test.kind))
    verdict, sentence = _conclude(tests, are_seen, num_people)
    return Certificate(verdict, sentence, tuple(tests), _not_tested(found, are_seen, num_seeds))


_AGAINST_STRANGER = {
    "RT CRPS": "reaction times are predicted better from the own connectome than from a stranger's",
    "choice log-loss": "choices are predicted better from the own connectome than from a stranger's",
}
_ABOVE_ZERO = {
    "mean RT r beyond covariates": "differences in speed between people are predicted beyond age, sex, site and motion",
    "condition effect r beyond covariates": "people's condition effects are predicted beyond age, sex, site and motion",
    "BOLD map r beyond covariates": "what is particular to a person's BOLD map is predicted beyond age, sex, site and motion",
    "own minus others, behaviour": "a person's own twin is nearer to the person than others' twins are, in behaviour",
    "own minus others, BOLD map": "a person's own twin is nearer to the person than others' twins are, in BOLD",
}
_AGAINST_BEST = {
    "RT CRPS": "reaction times are predicted better than by any baseline",
    "choice log-loss": "choices are predicted better than by any baseline",
    "mean RT r": "people's mean reaction times are predicted better than by any baseline",
    "condition effect r": "people's condition effects are predicted better than by any baseline",
    "BOLD map r without the group map": "what is particular to a person's BOLD map is predicted better than by any baseline",
}


def _tests_of(
    figure: Figure, weights_BS: np.ndarray, confidence: float, seed: int, num_permutations: int
) -> list[Test]:
    sign = 1.0 if figure.higher_is_better else -1.0
    mine_S, tests = figure.scores[TWIN], []
    is_correlation = figure.unit == "r over people"

    def against(kind: Kind, claim: str, name: str) -> Test:
        other_S = figure.scores[name]
        gap = difference(figure.statistic, figure.observed_S, mine_S, other_S, weights_BS, confidence)
        low, high = sorted((sign * gap.lower, sign * gap.upper))
        gain = dataclasses.replace(gap, value=sign * gap.value, lower=low, upper=high)
        if is_correlation:
            draws_B = sign * (
                figure.statistic(figure.observed_S, mine_S, weights_BS)
                - figure.statistic(figure.observed_S, other_S, weights_BS)
            )
            finite_B = draws_B[np.isfinite(draws_B)]
            p = (1 + (finite_B <= 0).sum()) / (1 + len(finite_B)) if math.isfinite(gap.lower) else math.nan
            scheme = "bootstrap over people"
        else:
            p, scheme = sign_flip_p(sign * (mine_S - other_S), num_permutations, seed), "sign flips over people"
        words = NAMES.get(name, name)
        return Test(
            kind,
            claim,
            figure.task,
            figure.metric,
            figure.twin.value,
            words,
            figure.baselines[name],
            gain,
            float(p),
            scheme,
            share=figure.fraction_of_ceiling,
        )

    if figure.metric in _AGAINST_STRANGER and "stranger_connectome" in figure.scores:
        tests.append(against("connectome", _AGAINST_STRANGER[figure.metric], "stranger_connectome"))
    if figure.metric in _ABOVE_ZERO:
        if is_correlation:
            p = permutation_p(figure.observed_S, mine_S, num_permutations, seed)
            scheme = "predictions dealt to people at random"
        else:
            p, scheme = sign_flip_p(mine_S, num_permutations, seed), "sign flips over people"
        tests.append(
            Test(
                "person",
                _ABOVE_ZERO[figure.metric],
                figure.task,
                figure.metric,
                figure.twin.value,
                "nothing: 0",
                0.0,
                figure.twin,
                p,
                scheme,
                share=figure.fraction_of_ceiling,
            )
        )
    if figure.metric in _AGAINST_BEST and figure.best_baseline is not None:
        tests.append(against("baseline", _AGAINST_BEST[figure.metric], figure.best_baseline))
    return tests


def _decided(test: Test, p_corrected: float, confidence: float, num_tests: int) -> Test:
    gain = test.gain
    if math.isfinite(p_corrected) and p_corrected < 1 - confidence and gain.value > 0:
        return dataclasses.replace(test, p_corrected=p_corrected, verdict="yes")
    if gain.upper <= 0 or not math.isfinite(gain.value):
        return dataclasses.replace(test, p_corrected=p_corrected, verdict="no")
    return dataclasses.replace(test, p_corrected=p_corrected, needs=_needed(gain, confidence, num_tests))


def _needed(gain: Estimate, confidence: float, num_tests: int) -> str:
    """Say how many people would decide a test, or how large a gain these would have shown, with a power of 0.8.

    By Student's t at the level that is left to each of as many tests (Bonferroni), with the spread between people that the interval shows.
    """
    num_people = gain.num_people
    if not math.isfinite(gain.lower):
        return f"more people: {num_people} are too few for an interval"
    error = (gain.upper - gain.lower) / (2 * stats.norm.isf((1 - confidence) / 2))
    people = np.arange(num_people, MOST_PEOPLE + 1)
    reach = stats.t.isf((1 - confidence) / num_tests, people - 1) + stats.norm.ppf(POWER)
    shown = error * math.sqrt(num_people / max(num_people - 1, 1)) * reach * np.sqrt(num_people / people)
    if gain.value <= 0:
        return f"no gain is seen; {num_people} people would show one of about {shown[0]:.2g}"
    enough = people[(shown <= gain.value) & (people > num_people)]
    if not len(enough):
        return f"more than {MOST_PEOPLE:,} people: the gain is next to nothing"
    return f"about {max(int(enough[0]), FEWEST_FOR_A_CLAIM):,} people"


def _conclude(tests: list[Test], are_seen: bool, num_people: int) -> tuple[Verdict, str]:
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
    of_person = [test for test in tests if test.kind == "person" and not test.metric.startswith("own minus others")]
    passed = [test for test in of_person if test.verdict == "yes"]
    if any(test.verdict == "yes" for test in of_use) and passed:
        tasks_of: dict[str, list[str]] = {}
        for test in passed:
            tasks_of.setdefault(test.claim, []).append(test.task)
        what = "; ".join(f"{claim} ({', '.join(tasks)})" for claim, tasks in tasks_of.items())
        best = [test for test in tests if test.kind == "baseline" and test.verdict == "yes"]
        regression = (
            f"It beats every baseline at {', '.join(f'{test.metric} ({test.task})' for test in best)}."
            if best
            else "It beats no baseline that it is compared with: a regression would do as well."
        )
        return "yes", f"This twin is personal, for {whom} it had not seen, in this: {what}. {regression}"
    missing = []
    if not any(test.verdict == "yes" for test in of_use):
        missing.append("that its connectome is of use to it")
    if not passed:
        missing.append("that what it says of a person is that person's, beyond age, sex, site and motion")
    open_tests = [test for test in (*of_use, *of_person) if test.verdict == "undecided"]
    verdict: Verdict = "undecided" if open_tests else "no"
    word = "is not shown to be personal" if verdict == "undecided" else "is not personal"
    return verdict, f"This twin {word}: in {whom} it had not seen, it does not show {' nor '.join(missing)}."


def _not_tested(figures: list[Figure], are_seen: bool, num_seeds: int) -> tuple[str, ...]:
    missing, metrics = [], {figure.metric for figure in figures}
    if "mean RT r beyond covariates" not in metrics:
        missing.append("beyond age, sex, site and motion: needs these covariates for at least ten training people")
    if "condition effect r" not in metrics:
        missing.append("condition effects: need a task with a contrast of conditions")
    if "BOLD map r" not in metrics:
        missing.append("BOLD: needs task series and a contrast of conditions")
    if are_seen:
        missing.append("unseen people: need split.kind: subjects, sites or tasks")
    wanted = {
        "additive_input": "one network for all people with the connectome as a further input (dtb evaluate --retrained additive)",
        "subject_code": "a code number in place of each connectome (dtb evaluate --retrained codes)",
    }
    compared = {name for figure in figures for name in figure.baselines}
    absent = [words for name, words in wanted.items() if name not in compared and (are_seen or name != "subject_code")]
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
