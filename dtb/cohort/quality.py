"""How good a person's data are, in figures that the rules of the configuration judge and the quality page shows.

Shape letters: `J` trial.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from scipy.stats import binom

from dtb.cohort.records import Run, SubjectRecord, matrix_from_edges
from dtb.config import IngestConfig
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


@dataclasses.dataclass(frozen=True)
class PersonQuality:
    """One person.

    Attributes
    ----------
    motion : float or None
        Mean framewise displacement at rest in millimetres.
    rest_seconds : float
    region_fraction : float
        Share of the regions that are present.
    runs : tuple of RunQuality
    """

    motion: float | None
    rest_seconds: float
    region_fraction: float
    runs: tuple[RunQuality, ...]


def person_quality(record: SubjectRecord, runs: tuple[RunQuality, ...]) -> PersonQuality:
    """Sum up a person."""
    present_R = np.isfinite(matrix_from_edges(record.connectome_E, diagonal=np.nan)).any(axis=1)
    motion, seconds = record.covariates.get("motion"), record.covariates.get("rest_seconds")
    return PersonQuality(
        motion=motion if isinstance(motion, float) else None,
        rest_seconds=seconds if isinstance(seconds, float) else 0.0,
        region_fraction=float(present_R.mean()),
        runs=runs,
    )


def run_quality(run: Run, spec: TaskSpec) -> RunQuality:
    """Sum up a task run."""
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
        volumes_fraction=float("nan") if run.bold_VR is None else float(np.mean(np.isfinite(run.bold_VR).any(axis=1))),
    )


def why_left_out(quality: RunQuality, config: IngestConfig) -> str | None:
    """Say why the rules leave a run out; None if they keep it."""
    if quality.omission_fraction > config.max_omission_fraction:
        return (
            f"{quality.omission_fraction:.0%} of the trials have no press, more than ingest.max_omission_fraction "
            f"{config.max_omission_fraction:g}"
        )
    if quality.rt_outlier_fraction > config.max_rt_outlier_fraction:
        return (
            f"{quality.rt_outlier_fraction:.0%} of the reaction times are outliers, more than ingest.max_rt_outlier_fraction "
            f"{config.max_rt_outlier_fraction:g}"
        )
    if quality.flag == "below chance" and config.below_chance == "drop":
        return f"{quality.accuracy:.0%} of the presses are right where guessing gives {quality.chance:.0%} (ingest.below_chance)"
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
