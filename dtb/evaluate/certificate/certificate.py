"""What a certificate holds: its tests, what they come to, and every figure that was computed; and the same as JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from dtb.evaluate.certificate.fit import Conclusion, Fit
from dtb.evaluate.living.worth import Worth
from dtb.evaluate.scores.covariates import Covariates
from dtb.evaluate.scores.coverage import Coverage
from dtb.evaluate.scores.figure import number_or_none
from dtb.evaluate.scores.statistics import (
    Estimate,
)

Verdict = Literal["yes", "no", "undecided"]
Kind = Literal["connectome", "person", "baseline"]
QUESTIONS: dict[Kind, str] = {
    "connectome": "Is the connectome of use to the twin?",
    "person": "Is what the twin says of a person that person's?",
    "baseline": "Is it better than what is had without a twin?",
}
"""What each kind of test asks."""


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
    is_best_picked : bool
        Whether it is the best on training people, or else on the people tested.
    reliability : float or None
        Of what is observed, from its halves.
    alone : Estimate or None
        The twin's own figure, where it has to be above 0 as well.
    ceiling : float or None
        What the best possible predictor would reach, where that is bounded.
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
    is_best_picked: bool = False
    reliability: float | None = None
    alone: Estimate | None = None
    ceiling: float | None = None
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
    coverage : tuple of Coverage
        How many unseen people lie within the bands that claim to hold a share of them.
    worths : tuple of Worth
        What a connectome adds to people's own trials, by task; empty without curves over own data.
    """

    verdict: Conclusion
    sentence: str
    tests: tuple[CertificateTest, ...]
    not_tested: tuple[str, ...]
    covariates: Covariates = dataclasses.field(default_factory=Covariates)
    figures: tuple[Reached, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fit: Fit = dataclasses.field(default_factory=lambda: Fit(None, ""))
    coverage: tuple[Coverage, ...] = ()
    worths: tuple[Worth, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return the certificate as JSON values."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "fit": self.fit.to_plain(),
            "about": dict(self.about),
            "tests": [test.to_plain() for test in self.tests],
            "not_tested": list(self.not_tested),
            "coverage": [dataclasses.asdict(each) for each in self.coverage],
            "worths": [each.to_plain() for each in self.worths],
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
