"""The truth of a made-up cohort: expected behaviour, causal edges and noise ceilings.

Shape letters: `S` subject, `V` volume, `R` region, `E` edge, `J` trial, `C` condition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dtb.config import SynthConfig
from dtb.files import write_json, written_whole
from dtb.groundtruth.population import TRAITS, Person, Population
from dtb.groundtruth.tree import write_table

CONDITIONS = {"stroop": ("incongruent", "congruent"), "hammer": ("face", "shape")}
"""The two conditions of each design, the one that is compared first."""

_FIGURES = ("mean_rt", "condition_rt", "accuracy")


@dataclasses.dataclass(frozen=True, eq=False)
class Performance:
    """One run, as generated.

    Attributes
    ----------
    condition_J : (J,) str
    rt_J : (J,) float
        Seconds; NaN without a press.
    correct_J : (J,) bool
    design_VC : (V, C) float
        The conditions' regressors.
    signal_VR, series_VR : (V, R) float
        Task response alone, and with noise.
    """

    condition_J: np.ndarray
    rt_J: np.ndarray
    correct_J: np.ndarray
    design_VC: np.ndarray
    signal_VR: np.ndarray
    series_VR: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class TaskTruth:
    """One person's behaviour in one task, observed and expected.

    Attributes
    ----------
    observed, expected, from_connectome : dict
        `mean_rt` and `condition_rt` in seconds, and `accuracy`: what was measured (NaN where no run was made), what the person would do on
        average, and what somebody with the same true connectome and everybody's habits would.
    contrast_R : (R,) float
        True difference of the responses to the two conditions.
    estimated_contrast_R : (R,) float
        The same, fitted to the noisy series by least squares with the true regressors.
    series_r : float
        Correlation of the noisy series with its noiseless part, averaged over regions.
    """

    observed: dict[str, float]
    expected: dict[str, float]
    from_connectome: dict[str, float]
    contrast_R: np.ndarray
    estimated_contrast_R: np.ndarray
    series_r: float


def make_task_truth(
    task: str,
    performances: list[Performance],
    maps: Mapping[str, np.ndarray],
    shown_J: np.ndarray,
    expected: Mapping[str, float],
    from_connectome: Mapping[str, float],
) -> TaskTruth:
    """Return the comparison of observed and expected behaviour in a task's runs.

    Parameters
    ----------
    task : str
    performances : list of Performance
        The runs that were made.
    maps : dict
        True response to each condition, (R,).
    shown_J : (J,) str
        Conditions of all the design's trials.
    expected, from_connectome : dict
        Mean reaction time and accuracy in each condition, as `dtb.groundtruth.behaviour.expectations` gives them.
    """
    high, low = CONDITIONS[task]
    names = list(maps)
    estimates, series_r = [], []
    for each in performances:
        full_VC = np.column_stack([each.design_VC, np.ones(len(each.design_VC))])
        weights_CR = np.linalg.lstsq(full_VC, each.series_VR, rcond=None)[0]
        estimates.append(weights_CR[names.index(high)] - weights_CR[names.index(low)])
        series_r.append(_mean(_correlations(each.signal_VR, each.series_VR)))
    contrast_R = maps[high] - maps[low]
    return TaskTruth(
        observed=_observed(task, performances),
        expected=_figures(task, shown_J, expected),
        from_connectome=_figures(task, shown_J, from_connectome),
        contrast_R=contrast_R,
        estimated_contrast_R=np.mean(estimates, axis=0) if estimates else np.full(len(contrast_R), np.nan),
        series_r=float(np.mean(series_r)) if series_r else float("nan"),
    )


def _observed(task: str, performances: list[Performance]) -> dict[str, float]:
    if not performances:
        return dict.fromkeys(_FIGURES, float("nan"))
    condition_J, rt_J, correct_J = (
        np.concatenate([getattr(each, name) for each in performances]) for name in ("condition_J", "rt_J", "correct_J")
    )
    high, low = CONDITIONS[task]
    difference = _mean(rt_J[condition_J == high]) - _mean(rt_J[condition_J == low])
    return {"mean_rt": _mean(rt_J), "condition_rt": difference, "accuracy": float(np.mean(correct_J))}


def _figures(task: str, shown_J: np.ndarray, expected: Mapping[str, float]) -> dict[str, float]:
    high, low = CONDITIONS[task]
    share = {name: float(np.mean(shown_J == name)) for name in CONDITIONS[task]}
    return {
        "mean_rt": sum(share[name] * expected[f"{name}_rt"] for name in share),
        "condition_rt": expected[f"{high}_rt"] - expected[f"{low}_rt"],
        "accuracy": sum(share[name] * expected[f"{name}_accuracy"] for name in share),
    }


def write_truth(
    out: Path, people: list[Person], truths: list[dict[str, TaskTruth]], population: Population, synth: SynthConfig
) -> dict[str, dict[str, float | None]]:
    """Write the truth folder, and return each task's noise ceilings.

    A figure's ceiling is how well perfect knowledge of each person would predict what was observed; with `_from_connectome`, how well
    perfect knowledge of each true connectome would; maps with `_own` are without the mean map. The ceiling of a figure that does not
    vary is None.
    """
    table: dict[str, list[str]] = {"participant_id": [f"sub-{person.label}" for person in people]}
    for trait in TRAITS:
        table[f"trait_{trait}"] = [f"{person.scores[trait]:.5f}" for person in people]
    ceilings: dict[str, dict[str, float | None]] = {}
    for task in synth.tasks:
        found = [truth[task] for truth in truths]
        ceilings[task] = {}
        for figure in _FIGURES:
            kinds = ("observed", "expected", "from_connectome")
            values = {kind: np.array([getattr(one, kind)[figure] for one in found]) for kind in kinds}
            for kind in ("expected", "observed", "from_connectome"):
                table[f"{task}_{figure}_{kind}"] = [_cell(value) for value in values[kind]]
            ceilings[task][figure] = _json_number(_correlation(values["observed"], values["expected"]))
            ceilings[task][f"{figure}_from_connectome"] = _json_number(
                _correlation(values["observed"], values["from_connectome"])
            )
        true_SR, estimated_SR = (
            np.stack([getattr(one, name) for one in found]) for name in ("contrast_R", "estimated_contrast_R")
        )
        own = _correlations((true_SR - true_SR.mean(axis=0)).T, (estimated_SR - _column_means(estimated_SR)).T)
        ceilings[task]["bold_contrast_map"] = _json_number(_mean(_correlations(true_SR.T, estimated_SR.T)))
        ceilings[task]["bold_contrast_map_own"] = _json_number(_mean(own))
        ceilings[task]["bold_series"] = _json_number(_mean(np.array([one.series_r for one in found])))
    truth = out / "truth"
    write_table(truth / "subjects.tsv", table)
    write_json(truth / "ceilings.json", ceilings)
    rows, columns = np.triu_indices(synth.num_regions, 1)
    write_json(
        truth / "mechanism.json",
        {
            "what": "score = mean over the trait's edges of sign * (Fisher z of the true connectome - base) / step, in standard deviations",
            "regions": population.region_names,
            "step": population.step,
            "traits": {
                trait: [
                    {
                        "edge": int(edge),
                        "regions": [population.region_names[rows[edge]], population.region_names[columns[edge]]],
                        "sign": float(sign),
                        "base": float(population.base_E[edge]),
                    }
                    for edge, sign in zip(population.causal_edges[trait], population.causal_signs[trait], strict=True)
                ]
                for trait in TRAITS
            },
            "confounds": {"age": population.age_edges.tolist(), "site": population.site_edges.tolist()},
        },
    )
    arrays = {"connectomes_SE": np.stack([person.edges_E for person in people]).astype(np.float32)}
    for task in synth.tasks:
        arrays[f"contrast_{task}_SR"] = np.stack([truth[task].contrast_R for truth in truths]).astype(np.float32)
    with written_whole(truth / "arrays.npz") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return ceilings


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or np.ptp(one[known]) == 0 or np.ptp(other[known]) == 0:
        return float("nan")
    return float(np.corrcoef(one[known], other[known])[0, 1])


def _column_means(values_SR: np.ndarray) -> np.ndarray:
    known_S = np.isfinite(values_SR).all(axis=1)
    return np.asarray(values_SR[known_S].mean(axis=0)) if known_S.any() else np.zeros(values_SR.shape[1])


def _correlations(one_VR: np.ndarray, other_VR: np.ndarray) -> np.ndarray:
    """Return the correlations of the columns of two arrays, pair by pair; NaN if one does not vary."""
    centred = [each - each.mean(axis=0) for each in (one_VR, other_VR)]
    sizes = [np.linalg.norm(each, axis=0) for each in centred]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((centred[0] * centred[1]).sum(axis=0) / (sizes[0] * sizes[1]))


def _cell(value: float) -> str:
    return f"{value:.6f}" if np.isfinite(value) else "n/a"


def _json_number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
