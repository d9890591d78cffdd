"""Before any claim: is the twin, on held-out data, at least as good as the group mean at log-loss and CRPS of each task?

A twin that is not has not learnt the task, and whatever it tells people apart by is no digital twin's. So this is asked first, and said
first: in the terminal, the report, the certificate and the live twin, in one sentence that is made here, with the likely reason and what
mends it.

Tolerated is what the data cannot tell from nothing, and a twentieth: a twin counts as worse only where the interval, over people, of its
loss minus the group mean's lies above 0, and its loss is more than 5% above the group mean's. Of fewer people than an interval needs, every
one has to be predicted worse.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from dtb.evaluate.certificate.wording import FEWEST_FOR_A_CLAIM
from dtb.evaluate.scores.figure import TWIN, Figure, number_or_none
from dtb.evaluate.scores.statistics import difference

Conclusion = Literal["yes", "provisional", "no", "undecided"]
GROUP_MEAN = "group_mean"
METRICS = ("choice log-loss", "RT CRPS")
TOLERATED = 0.05
"""A loss that is larger than the group mean's by no more than this share of it is as good."""
INVISIBLE_SHARE = 0.05
"""With a larger share of onsets that no stimulus channel shows, contiguous pulses are a likely reason."""
LOST_SHARE = 0.02
"""With a larger share of presses that came after their window, cut windows are."""


@dataclasses.dataclass(frozen=True)
class FitTest:
    """The twin beside the group mean at one loss of one task.

    Attributes
    ----------
    task, metric, unit : str
    twin, group_mean : float
        Losses, over the people that both predict.
    difference, lower, upper : float
        Twin minus group mean, with its interval; above 0 is worse.
    num_people : int
    is_worse : bool
        By more than is tolerated.
    """

    task: str
    metric: str
    unit: str
    twin: float
    group_mean: float
    difference: float
    lower: float
    upper: float
    num_people: int
    is_worse: bool

    def to_plain(self) -> dict[str, Any]:
        """Return the test as JSON values."""
        plain = dataclasses.asdict(self)
        return {name: number_or_none(value) if isinstance(value, float) else value for name, value in plain.items()}


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """What may be why a twin does not fit; None where it is not known.

    Attributes
    ----------
    ending : str or None
        How its training ended: ``"level"``, ``"improving"`` or ``"too short"``.
    steps : int or None
        Steps of the optimizer that it made.
    longer : str
        The option by which the next training is long enough.
    invisible_onsets : float or None
        Share of the trials whose onset no stimulus channel shows.
    lost_presses : float or None
        Share of the presses that came when no window was open.
    num_training : int or None
        People whose data trained the twin.
    """

    ending: str | None = None
    steps: int | None = None
    longer: str = ""
    invisible_onsets: float | None = None
    lost_presses: float | None = None
    num_training: int | None = None


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a twin probably does not fit, and what mends it.

    Attributes
    ----------
    name : {"budget", "contiguous pulses", "cut windows", "too few people"}
    words, remedy : str
    """

    name: str
    words: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Fit:
    """What the gate comes to.

    Attributes
    ----------
    fits : bool or None
        None where nothing could be compared.
    sentence : str
        To be said first where it does not fit.
    tests : tuple of FitTest
    reasons : tuple of Reason
        Of a twin that does not fit, the likeliest first.
    circumstances : Circumstances
    """

    fits: bool | None
    sentence: str
    tests: tuple[FitTest, ...] = ()
    reasons: tuple[Reason, ...] = ()
    circumstances: Circumstances = dataclasses.field(default_factory=Circumstances)

    @property
    def headline(self) -> str | None:
        """What is to be said before all else; None of a twin that fits."""
        return self.sentence if self.fits is False else None

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON values, as it stands in `figures.json` and `certificate.json`."""
        return {
            "fits": self.fits,
            "sentence": self.sentence,
            "tests": [test.to_plain() for test in self.tests],
            "reasons": [dataclasses.asdict(reason) for reason in self.reasons],
            "circumstances": dataclasses.asdict(self.circumstances),
        }


def fit_of(
    figures: Iterable[Figure],
    weights_BS: np.ndarray,
    confidence: float,
    circumstances: Circumstances,
    *,
    are_seen: bool = False,
) -> Fit:
    """Compare the twin with the group mean, and say what comes of it.

    Parameters
    ----------
    figures : iterable of Figure
    weights_BS : (B, S)
        Bootstrap draws that the figures were made with.
    confidence : float
    circumstances : Circumstances
    are_seen : bool
        Whether the people were seen in training.
    """
    tests = tuple(
        _test_of(figure, weights_BS, confidence)
        for figure in figures
        if figure.metric in METRICS and GROUP_MEAN in figure.scores
    )
    if not tests:
        return Fit(
            None, "Whether the twin fits could not be asked: no task has presses to compare.", (), (), circumstances
        )
    worse = [test for test in tests if test.is_worse]
    if not worse:
        sentence = "The twin fits: on held-out data it is nowhere worse than the group mean, at log-loss and CRPS of each task."
        return Fit(True, sentence, tests, (), circumstances)
    reasons = tuple(_reasons(circumstances))
    return Fit(False, _refusal(worse, reasons, are_seen), tests, reasons, circumstances)


def _test_of(figure: Figure, weights_BS: np.ndarray, confidence: float) -> FitTest:
    mine_S, theirs_S = figure.scores[TWIN], figure.scores[GROUP_MEAN]
    gap = difference(figure.statistic, figure.observed_S, mine_S, theirs_S, weights_BS, confidence)
    both_S = np.isfinite(mine_S) & np.isfinite(theirs_S)
    one = np.ones((1, mine_S.shape[-1]))
    twin, mean = (
        float(figure.statistic(figure.observed_S, np.where(both_S, score_S, np.nan), one)[0])
        for score_S in (mine_S, theirs_S)
    )
    everybody_is = bool(both_S.any() and (mine_S[both_S] > theirs_S[both_S]).all())
    is_sure = bool(gap.lower > 0) if math.isfinite(gap.lower) else everybody_is
    is_worse = is_sure and gap.value > TOLERATED * mean
    return FitTest(
        figure.task, figure.metric, figure.unit, twin, mean, gap.value, gap.lower, gap.upper, gap.num_people, is_worse
    )


def _reasons(found: Circumstances) -> Iterable[Reason]:
    again = (
        f"`dtb train SHARDS NEW --config TRAINED/config.yaml {found.longer}`"
        if found.longer
        else "`dtb train` with more steps"
    )
    if found.ending == "improving":
        words = f"its training ended after {found.steps:,} steps while it was still improving"
        yield Reason("budget", words, f"train it longer ({again})")
    if found.ending == "too short":
        count = "1 step" if found.steps == 1 else f"{found.steps:,} steps"
        yield Reason(
            "budget", f"its training ended after {count}, before it had begun to learn", f"train it longer ({again})"
        )
    if (found.invisible_onsets or 0.0) > INVISIBLE_SHARE:
        yield Reason(
            "contiguous pulses",
            f"of {found.invisible_onsets:.0%} of the trials the stimulus does not show the onset, because pulses of the same kind touch",
            "give the channels of the task shorter pulses (`dtb task check TASK EVENTS` shows how), and ingest and train anew",
        )
    if (found.lost_presses or 0.0) > LOST_SHARE:
        yield Reason(
            "cut windows",
            f"{found.lost_presses:.0%} of the presses came when no response window was open, so that slow ones are missing",
            "give the task a longer response window (`dtb task check TASK EVENTS` shows what is lost), and ingest and train anew",
        )
    if found.num_training is not None and found.num_training < FEWEST_FOR_A_CLAIM:
        yield Reason(
            "too few people",
            f"only {found.num_training} people trained it",
            "add people (`dtb plan` says how many a claim needs) or make it smaller (half of `twin.num_hidden`)",
        )


def _refusal(worse: Sequence[FitTest], reasons: Sequence[Reason], are_seen: bool) -> str:
    places: dict[str, list[str]] = {}
    for test in worse:
        unit = "nats" if test.metric == METRICS[0] else "s"
        gap = f"{test.task}: {test.twin:.3f} against {test.group_mean:.3f} {unit}"
        places.setdefault(test.metric, []).append(gap)
    where = " and ".join(f"{metric} ({'; '.join(gaps)})" for metric, gaps in places.items())
    number = max(test.num_people for test in worse)
    whom = f"{number} {'person' if number == 1 else 'people'}"
    data = f"held-out data of {whom}" if are_seen else f"{whom} it had not seen"
    said = f"The twin does not fit: in {data}, it is worse than the group mean at {where}."
    if not reasons:
        return (
            f"{said} None of the usual reasons was found (too few steps, contiguous pulses, cut windows, too few people): look at the "
            "learning curves in the report, and at the quality of the data."
        )
    first, *others = reasons
    said += f" Likely because {first.words}: {first.remedy}."
    if others:
        said += f" Also, {'; '.join(f'{one.words}: {one.remedy}' for one in others)}."
    return said


def gated(verdict: Conclusion, sentence: str, fit: Fit) -> tuple[Conclusion, str]:
    """Return verdict and sentence of a certificate as they may be said: of a twin that does not fit nothing is claimed.

    Examples
    --------
    >>> gated("yes", "This twin is personal.", Fit(False, "The twin does not fit."))
    ('undecided', 'Whether this twin is personal is not said as long as it does not fit.')
    >>> gated("no", "This twin is not personal.", Fit(False, "The twin does not fit."))
    ('no', 'This twin is not personal.')
    """
    if fit.fits is False and verdict in {"yes", "provisional"}:
        return "undecided", "Whether this twin is personal is not said as long as it does not fit."
    return verdict, sentence


def together(found: Sequence[Circumstances]) -> Circumstances:
    """Return the circumstances of several trainings: the shortest that ended too early, and the fewest people.

    Examples
    --------
    >>> one, other = Circumstances(ending="level", steps=9), Circumstances(ending="improving", steps=5, num_training=40)
    >>> together([one, other]).ending, together([one, other]).num_training
    ('improving', 40)
    """
    order = ("too short", "improving", "level", None)
    worst = min(found, key=lambda each: (order.index(each.ending), each.steps or 0), default=Circumstances())

    def extreme(name: str, choose: Any) -> Any:
        return choose((getattr(each, name) for each in found if getattr(each, name) is not None), default=None)

    return dataclasses.replace(
        worst,
        invisible_onsets=extreme("invisible_onsets", max),
        lost_presses=extreme("lost_presses", max),
        num_training=extreme("num_training", min),
    )
