"""Noise ceilings: what the best possible predictor would reach.

From the data themselves: how well two halves of what a person did agree (every other trial; of BOLD, the halves of each run), or two
runs; and for scores of single trials, how well a person's other half predicts them. On a ground-truth cohort also from its truth, which
says how well perfect knowledge of people, or of their connectomes, would predict what was observed.

Shape letters: `S` subject, `R` region, `J` trial.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from dtb.errors import InputDataError
from dtb.evaluate.predictors.baselines import group_mean, own_earlier
from dtb.evaluate.predictors.predictions import TrialPrediction, every_other, person_task_mean
from dtb.evaluate.scores.metrics import row_correlations
from dtb.evaluate.scores.observed import ObservedTrials
from dtb.evaluate.scores.quantiles import TRIAL_LEVELS
from dtb.evaluate.scores.statistics import Statistic, correlation
from dtb.people.reliability import load_reliability

FEWEST_FOR_A_CEILING = 10
TRUTH_FILE = "ceilings.json"

_IN_TRUTH = {
    "mean RT r": "mean_rt",
    "condition effect r": "condition_rt",
    "accuracy r": "accuracy",
    "BOLD map r": "bold_contrast_map",
    "BOLD map r without the group map": "bold_contrast_map_own",
    "BOLD series r": "bold_series",
}


def ceiling_of_halves(odd_S: np.ndarray, even_S: np.ndarray, statistic: Statistic = correlation) -> float | None:
    """Return an estimate of the largest r that any predictor can have with the whole, from the correlation of its halves, plain or partial.

    None where there are fewer than ten people or the halves do not agree at all.
    """
    both_S = np.isfinite(odd_S) & np.isfinite(even_S)
    if both_S.sum() < FEWEST_FOR_A_CEILING:
        return None
    return _of_whole(float(statistic(odd_S, even_S, np.ones((1, len(odd_S))))[0]))


def ceiling_of_maps(first_SR: np.ndarray, second_SR: np.ndarray) -> float | None:
    """Return an estimate of the largest r over regions that any predictor can have with people's maps, from maps of two halves.

    None where fewer than ten people have both or the halves do not agree at all.
    """
    r_S = row_correlations(first_SR, second_SR)
    r_S = r_S[np.isfinite(r_S)]
    return _of_whole(float(r_S.mean())) if len(r_S) >= FEWEST_FOR_A_CEILING else None


def _of_whole(r: float) -> float | None:
    """Return the square root of the whole's reliability 2 r / (1 + r) (Spearman and Brown), which bounds any correlation with it."""
    return math.sqrt(2 * r / (1 + r)) if r > 0 else None


def said_by_other_half(training: ObservedTrials, trials: ObservedTrials) -> TrialPrediction:
    """Return predictions of each trial from the other half of the person's trials.

    Choices are as frequent as there; reaction times are training people's, shifted by as much as the person is slower there. It is what one
    reaches who knows the person's own behaviour: no bound, for half of the trials are few.

    Parameters
    ----------
    training : ObservedTrials
        Trials of training people.
    trials : ObservedTrials
        Trials to predict.
    """
    is_first_J, found, group = every_other(trials), TrialPrediction.none_for(trials), group_mean(training, trials)
    quantiles_JQ = np.full((len(trials), len(TRIAL_LEVELS)), np.nan)
    num_people, num_tasks = int(trials.person_J.max(initial=-1)) + 1, int(trials.task_J.max(initial=-1)) + 1
    for half_J in (is_first_J, ~is_first_J):
        mine = trials.only(half_J)
        slower_J = np.where(half_J, np.nan, trials.rt_J - group.mean_rt_J)
        slower_ST = person_task_mean(trials, slower_J, num_people, num_tasks)
        shift_J = np.nan_to_num(slower_ST[mine.person_J, mine.task_J])
        said = group_mean(training, dataclasses.replace(mine, rt_J=mine.rt_J - shift_J))
        found.outcome_JO[half_J] = own_earlier(trials.only(~half_J), mine).outcome_JO
        found.mean_rt_J[half_J], found.crps_J[half_J] = said.mean_rt_J + shift_J, said.crps_J
        if said.rt_quantiles_JQ is not None:
            quantiles_JQ[half_J] = said.rt_quantiles_JQ + shift_J[:, None]
    return TrialPrediction(found.outcome_JO, found.mean_rt_J, found.crps_J, quantiles_JQ)


def edge_reliability(shards: Path) -> dict[str, float] | None:
    """Return the median over edges of the intraclass correlation of one rest run, and how many people had two; None if nobody had."""
    found = load_reliability(shards)
    icc_E = found.get("icc_E", np.zeros(0))
    icc_E = icc_E[np.isfinite(icc_E)]
    if not len(icc_E):
        return None
    return {"median_icc": float(np.median(icc_E)), "num_people": float(found["num_people_E"].max())}


def true_ceilings(truth: Path, *, seen: bool) -> dict[tuple[str, str], float]:
    """Read the ceilings of a ground-truth cohort.

    Parameters
    ----------
    truth : Path
        The folder `truth` that `dtb synth` wrote.
    seen : bool
        Whether people are tested whom training has seen: then everything about them may be known, else their connectome alone.

    Returns
    -------
    dict
        By task and metric; over all of the cohort's people and runs.

    Raises
    ------
    InputDataError
        There is no such file, or it is none of ceilings.
    """
    path = truth / TRUTH_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        ceilings = {}
        for task, values in found.items():
            for metric, name in _IN_TRUTH.items():
                value = values.get(name) if seen else values.get(f"{name}_from_connectome", values.get(name))
                if value is not None:
                    ceilings[task, metric] = float(value)
            if (task, "mean RT r") in ceilings:
                ceilings[task, "mean RT R2"] = ceilings[task, "mean RT r"] ** 2
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputDataError(
            f"{path} cannot be read as ceilings ({error}). Give --truth the folder `truth` that `dtb synth` made, or leave it out."
        ) from None
    return ceilings
