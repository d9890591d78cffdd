"""Quality figures of a person's data, for the rules of the configuration and the quality page.

Shape letters: `J` trial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
from scipy.special import bdtr, bdtrc

from dtb.cohort.connectomes.rest import Rest
from dtb.config import IngestConfig
from dtb.errors import SetAsideError
from dtb.people.records import Run
from dtb.tasks.detection import chance_of_right, d_prime
from dtb.tasks.onsets import onset_is_seen
from dtb.tasks.responses import LATE
from dtb.tasks.spec import TaskSpec

_ALPHA_BELOW, _ALPHA_ABOVE = 0.01, 0.05
_OUTLIER_DEVIATIONS = 3.0
_FASTEST_SECONDS = 0.15
_NORMAL_DEVIATION = 1.4826  # of the median absolute deviation

Flag = Literal["", "at chance", "below chance"]


@dataclasses.dataclass(frozen=True)
class RunQuality:
    """One task run.

    Attributes
    ----------
    task, label, session, run : str
        Empty where there is no such entity.
    num_trials, num_usable : int
    omission_fraction : float
        Share without a press among usable trials that asked for one; NaN if none did.
    commission_fraction : float
        Share with a press among usable trials in which withholding is right; NaN without such trials.
    d_prime : float
        Of pressing where a press is right against pressing where none is, with the log-linear correction; NaN without trials of both kinds.
    accuracy, chance : float
        Share of sure and right presses among those in trials with a right alternative, and what guessing gives; NaN without such trials.
        With one alternative a press cannot be wrong in those: the share of right trials, withholding included, and what somebody reaches
        who presses as often but looks at nothing; NaN if no trial asks to withhold.
    flag : str
        Whether that is significantly below chance, or not significantly above.
    median_rt : float
        Seconds.
    rt_outlier_fraction : float
        Share of reaction times under 0.15 s, or more than three robust standard deviations from the median.
    num_volumes : int
    volumes_fraction : float
        Share of the volumes that censoring left; NaN without volumes.
    num_presses : int
        Of usable trials.
    lost : dict
        How many trials were lost, or their presses, by the kind of reason.
    num_unseen : int
        Usable trials whose onset does not show in the stimuli.
    left_out : str
        What the run was left out for, in a word; empty for one that is used.
    """

    task: str
    label: str
    session: str
    run: str
    num_trials: int
    num_usable: int
    omission_fraction: float
    commission_fraction: float
    d_prime: float
    accuracy: float
    chance: float
    flag: Flag
    median_rt: float
    rt_outlier_fraction: float
    num_volumes: int
    volumes_fraction: float
    num_presses: int = 0
    lost: dict[str, int] = dataclasses.field(default_factory=dict)
    num_unseen: int = 0
    left_out: str = ""

    @property
    def num_late(self) -> int:
        """Return the number of presses lost because they came after the response window."""
        return sum(num for reason, num in self.lost.items() if reason.startswith(LATE))

    @property
    def late_fraction(self) -> float:
        """Return the share of presses lost in this way; NaN without presses."""
        total = self.num_late + self.num_presses
        return self.num_late / total if total else float("nan")


@dataclasses.dataclass(frozen=True)
class PersonQuality:
    """One person.

    Attributes
    ----------
    motion : float or None
        Mean framewise displacement at rest in millimetres.
    rest_seconds : float
        NaN for somebody without rest, or with matrices that do not say it.
    rest_volumes_fraction : float
        Share of the volumes of rest that censoring left; NaN without volumes.
    region_fraction : float
        Share of the regions that are present; NaN for somebody without rest.
    runs : tuple of RunQuality
        Those that are used, and those that the rules left out.
    set_aside : str
        What the person was set aside for, in a few words; empty for somebody who stayed.
    """

    motion: float | None
    rest_seconds: float
    rest_volumes_fraction: float
    region_fraction: float
    runs: tuple[RunQuality, ...]
    set_aside: str = ""


def person_quality(rest: Rest | None, runs: tuple[RunQuality, ...], set_aside: str = "") -> PersonQuality:
    """Return the quality of a person; `rest` is None if none could be read."""
    if rest is None:
        return PersonQuality(None, float("nan"), float("nan"), float("nan"), runs, set_aside)
    return PersonQuality(
        motion=rest.motion,
        rest_seconds=float("nan") if rest.seconds is None else rest.seconds,
        rest_volumes_fraction=rest.volumes_fraction,
        region_fraction=float(rest.present_R.mean()),
        runs=runs,
        set_aside=set_aside,
    )


def run_quality(
    run: Run, spec: TaskSpec, volumes_fraction: float | None = None, lost: Mapping[str, int] | None = None
) -> RunQuality:
    """Return the quality of a task run.

    Parameters
    ----------
    run : Run
    spec : TaskSpec
    volumes_fraction : float, optional
        That of a series that is not part of the run, because too little of it was left.
    lost : mapping of str to int, optional
        How many trials were lost, by the kind of reason.
    """
    trials = run.trials
    usable_J, pressed_J = trials.usable_J, trials.pressed_J
    has_answer_J = np.asarray(trials.correct_JA.any(axis=1))
    asked_J = usable_J & (has_answer_J | ~trials.scored_J)
    judged_J = usable_J & has_answer_J & pressed_J
    right_J = (trials.response_JA == trials.correct_JA).all(axis=1)
    num_judged, num_right = int(judged_J.sum()), int((judged_J & right_J).sum())
    chance = 1 / len(spec.alternatives) if num_judged else float("nan")
    flag = _flag(num_right, num_judged, chance)
    go_J = usable_J & has_answer_J
    withhold_J = usable_J & trials.scored_J & ~has_answer_J
    hits, num_go = int((go_J & pressed_J).sum()), int(go_J.sum())
    false_alarms, num_nogo = int((withhold_J & pressed_J).sum()), int(withhold_J.sum())
    if len(spec.alternatives) == 1:
        judged_J = go_J | withhold_J if num_go and num_nogo else np.zeros_like(go_J)
        num_judged, num_right = int(judged_J.sum()), hits + num_nogo - false_alarms
        chance = (
            chance_of_right(np.asarray(pressed_J)[judged_J], np.asarray(has_answer_J)[judged_J])
            if num_judged
            else float("nan")
        )
        flag = _flag_of_pressing(hits, num_go, false_alarms, num_nogo) if num_judged else ""
    rt_J = trials.rt_seconds_J[usable_J & pressed_J]
    return RunQuality(
        task=run.task,
        label=run.label,
        session=run.session or "",
        run=run.run or "",
        num_trials=trials.num_trials,
        num_usable=int(usable_J.sum()),
        omission_fraction=float(np.mean(~pressed_J[asked_J])) if asked_J.any() else float("nan"),
        commission_fraction=false_alarms / num_nogo if num_nogo else float("nan"),
        d_prime=float(d_prime(hits, num_go, false_alarms, num_nogo)),
        accuracy=num_right / num_judged if num_judged else float("nan"),
        chance=chance,
        flag=flag,
        median_rt=float(np.median(rt_J)) if len(rt_J) else float("nan"),
        rt_outlier_fraction=_outlier_fraction(rt_J),
        num_volumes=0 if run.bold_VR is None else len(run.bold_VR),
        volumes_fraction=volumes_fraction if volumes_fraction is not None else _share_left(run),
        num_presses=len(rt_J),
        lost=dict(lost or {}),
        num_unseen=int((~onset_is_seen(trials)).sum()),
    )


def _share_left(run: Run) -> float:
    return float("nan") if run.bold_VR is None else float(np.mean(np.isfinite(run.bold_VR).any(axis=1)))


def why_left_out(quality: RunQuality, config: IngestConfig) -> SetAsideError | None:
    """Return why the rules leave a run out; None if they do not."""
    if not quality.num_usable:
        reason = max(quality.lost, key=quality.lost.__getitem__) if quality.lost else ""
        return SetAsideError(
            "no usable trial", f"no usable trial{f': {reason} ({quality.lost[reason]} rows)' if reason else ''}"
        )
    if quality.omission_fraction > config.max_omission_fraction:
        return SetAsideError(
            "ingest.max_omission_fraction",
            f"{quality.omission_fraction:.0%} of the trials have no press, more than ingest.max_omission_fraction "
            f"{config.max_omission_fraction:g}",
        )
    if quality.rt_outlier_fraction > config.max_rt_outlier_fraction:
        return SetAsideError(
            "ingest.max_rt_outlier_fraction",
            f"{quality.rt_outlier_fraction:.0%} of the reaction times are outliers, more than ingest.max_rt_outlier_fraction "
            f"{config.max_rt_outlier_fraction:g}",
        )
    if quality.flag == "below chance" and config.below_chance == "drop":
        return SetAsideError(
            "ingest.below_chance",
            f"{quality.accuracy:.0%} of the answers are right where guessing gives {quality.chance:.0%} (ingest.below_chance)",
        )
    return None


def _flag(num_right: int, num_judged: int, chance: float) -> Flag:
    if not num_judged:
        return ""
    if bdtr(num_right, num_judged, chance) < _ALPHA_BELOW:
        return "below chance"
    return "at chance" if bdtrc(num_right - 1, num_judged, chance) > _ALPHA_ABOVE else ""


def _flag_of_pressing(hits: int, num_go: int, false_alarms: int, num_nogo: int) -> Flag:
    """Return the flag of a run whose presses are not related to the stimuli, by Fisher's exact test."""
    from scipy.stats import hypergeom  # takes a second, and few cohorts have such a task

    guessed = hypergeom(num_go + num_nogo, num_go, hits + false_alarms)
    if guessed.cdf(hits) < _ALPHA_BELOW:
        return "below chance"
    return "at chance" if guessed.sf(hits - 1) > _ALPHA_ABOVE else ""


def _outlier_fraction(rt_J: np.ndarray) -> float:
    if not len(rt_J):
        return float("nan")
    distance_J = np.abs(rt_J - np.median(rt_J))
    limit = _OUTLIER_DEVIATIONS * _NORMAL_DEVIATION * float(np.median(distance_J))
    return float(np.mean((distance_J > limit) | (rt_J < _FASTEST_SECONDS)))
