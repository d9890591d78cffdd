"""How good a person's data are, in figures that the rules of the configuration judge and the quality page shows.

Shape letters: `J` trial.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from scipy.stats import binom

from dtb.cohort.connectomes.rest import Rest
from dtb.config import IngestConfig
from dtb.errors import SetAsideError
from dtb.people.records import Run
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
    accuracy, chance : float
        Share of sure and right presses among those in trials with a right alternative, and what guessing gives; NaN without such trials.
    flag : str
        Whether that is significantly below chance, or not significantly above.
    median_rt : float
        Seconds.
    rt_outlier_fraction : float
        Share of reaction times under 0.15 s, or more than three robust standard deviations from the median.
    num_volumes : int
    volumes_fraction : float
        Share of the volumes that censoring left; NaN without volumes.
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
    accuracy: float
    chance: float
    flag: Flag
    median_rt: float
    rt_outlier_fraction: float
    num_volumes: int
    volumes_fraction: float
    left_out: str = ""


@dataclasses.dataclass(frozen=True)
class PersonQuality:
    """One person.

    Attributes
    ----------
    motion : float or None
        Mean framewise displacement at rest in millimetres.
    rest_seconds : float
    rest_volumes_fraction : float
        Share of the volumes of rest that censoring left; NaN without volumes.
    region_fraction : float
        Share of the regions that are present.
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


def person_quality(rest: Rest, runs: tuple[RunQuality, ...], set_aside: str = "") -> PersonQuality:
    """Sum up a person."""
    return PersonQuality(
        motion=rest.motion,
        rest_seconds=rest.seconds or 0.0,
        rest_volumes_fraction=rest.volumes_fraction,
        region_fraction=float(rest.present_R.mean()),
        runs=runs,
        set_aside=set_aside,
    )


def run_quality(run: Run, spec: TaskSpec, volumes_fraction: float | None = None) -> RunQuality:
    """Sum up a task run; `volumes_fraction` is that of a series that is not part of the run, because too little of it was left."""
    trials = run.trials
    usable_J, pressed_J = trials.usable_J, trials.pressed_J
    has_answer_J = trials.correct_JA.any(axis=1)
    asked_J = usable_J & (has_answer_J | ~trials.scored_J)
    judged_J = usable_J & has_answer_J & pressed_J
    right_J = (trials.response_JA == trials.correct_JA).all(axis=1)
    num_judged, num_right = int(judged_J.sum()), int((judged_J & right_J).sum())
    chance = 1 / len(spec.alternatives) if num_judged else float("nan")
    rt_J = trials.rt_seconds_J[usable_J & pressed_J]
    return RunQuality(
        task=run.task,
        label=run.label,
        session=run.session or "",
        run=run.run or "",
        num_trials=trials.num_trials,
        num_usable=int(usable_J.sum()),
        omission_fraction=float(np.mean(~pressed_J[asked_J])) if asked_J.any() else float("nan"),
        accuracy=num_right / num_judged if num_judged else float("nan"),
        chance=chance,
        flag=_flag(num_right, num_judged, chance),
        median_rt=float(np.median(rt_J)) if len(rt_J) else float("nan"),
        rt_outlier_fraction=_outlier_fraction(rt_J),
        num_volumes=0 if run.bold_VR is None else len(run.bold_VR),
        volumes_fraction=volumes_fraction if volumes_fraction is not None else _share_left(run),
    )


def _share_left(run: Run) -> float:
    return float("nan") if run.bold_VR is None else float(np.mean(np.isfinite(run.bold_VR).any(axis=1)))


def why_left_out(quality: RunQuality, config: IngestConfig) -> SetAsideError | None:
    """Return why the rules leave a run out; None if they do not."""
    if not quality.num_usable:
        return SetAsideError("no usable trial", "no usable trial")
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
            f"{quality.accuracy:.0%} of the presses are right where guessing gives {quality.chance:.0%} (ingest.below_chance)",
        )
    return None


def _flag(num_right: int, num_judged: int, chance: float) -> Flag:
    if not num_judged:
        return ""
    if binom.cdf(num_right, num_judged, chance) < _ALPHA_BELOW:
        return "below chance"
    return "at chance" if binom.sf(num_right - 1, num_judged, chance) > _ALPHA_ABOVE else ""


def _outlier_fraction(rt_J: np.ndarray) -> float:
    if not len(rt_J):
        return float("nan")
    distance_J = np.abs(rt_J - np.median(rt_J))
    limit = _OUTLIER_DEVIATIONS * _NORMAL_DEVIATION * float(np.median(distance_J))
    return float(np.mean((distance_J > limit) | (rt_J < _FASTEST_SECONDS)))
