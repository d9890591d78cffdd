"""Regressing confounds out of a parcellated series with nilearn, by a published strategy.

Regression and averaging over a parcel commute, so it is done on parcel means. Drifts go with fMRIPrep's cosine regressors.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dtb.cohort.series.atlas import UNREADABLE, first_line
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.tables import number_or_none, read_tsv, why_no_file

_FEWEST_FREE = 10  # degrees of freedom: with fewer, noise alone correlates by a third and more
_ROUNDING = 1e-9  # standard deviation of numbers that are all the same, relative to them
_LEFT = 1e-6  # of a standard deviation: what rounding leaves of a drift that is taken out
_NOT_STEADY = "non_steady_state_outlier"
_STRATEGIES: dict[str, dict[str, Any]] = {
    "24p": {"strategy": ("high_pass", "motion"), "motion": "full"},
    "24p_gsr": {"strategy": ("high_pass", "motion", "global_signal"), "motion": "full", "global_signal": "basic"},
    "36p": {
        "strategy": ("high_pass", "motion", "global_signal", "wm_csf"),
        "motion": "full",
        "global_signal": "full",
        "wm_csf": "full",
    },
}


def cleaned(
    values_VR: np.ndarray, path: Path, repetition_time: float, config: IngestConfig, table: Path | None = None
) -> np.ndarray:
    """Return an fMRIPrep run's parcel means, with confounds regressed out and filtered.

    Parameters
    ----------
    values_VR : (V, R) float64
        NaN where a region is absent.
    path : Path
        The run's image; its confounds lie beside it under fMRIPrep's name.
    repetition_time : float
        Seconds.
    config : IngestConfig
    table : Path or None
        The confounds, if they do not lie beside the image.

    Returns
    -------
    (V, R) float64
        NaN also in volumes that fMRIPrep found before the steady state, and in regions of which nothing is left.

    Raises
    ------
    InputDataError
        The confounds are absent, incomplete, of another run, or so many that hardly anything is left of the run.
    """
    steady_V = _is_steady(table or confounds_beside(path), len(values_VR))
    if config.confounds == "none" and config.low_pass_hz == 0:
        return np.where(steady_V[:, None], values_VR, np.nan)
    from nilearn.interfaces.fmriprep import load_confounds
    from nilearn.signal import clean

    if config.low_pass_hz * 2 * repetition_time >= 1:
        raise InputDataError(
            f"ingest.low_pass_hz {config.low_pass_hz:g} would remove nothing from {path.name}, which has a volume every "
            f"{repetition_time:g} s and so no frequency above {0.5 / repetition_time:.4g} Hz. Give less, or 0 to keep all."
        )
    confounds, kept = None, np.flatnonzero(steady_V)
    if config.confounds != "none":
        beside = table or confounds_beside(path)
        if beside is None:
            raise InputDataError(
                f"Confounds of {path.name} for `{config.confounds}`: there is no {_run_of(path)}_desc-confounds_timeseries.tsv beside it. "
                "Give a tree with fMRIPrep's confounds, or `ingest.confounds: none`."
            )
        if not beside.is_file():
            raise InputDataError(f"{beside.name} is {why_no_file(beside)}.")
        # nilearn finds the table by the name of an image, which need not be there, and knows few: this is one that goes with the table.
        image = beside.with_name(f"{beside.name.partition('_desc-')[0]}_desc-preproc_bold.nii.gz")
        try:
            confounds, kept = load_confounds(str(image), **_STRATEGIES[config.confounds])
        except UNREADABLE as error:
            raise InputDataError(f"Confounds of {path.name} for `{config.confounds}`: {first_line(error)}") from None
        if len(confounds) != len(values_VR):
            raise InputDataError(f"{path.name} has {len(values_VR)} volumes, its confounds {len(confounds)} rows.")
    present_R = np.isfinite(values_VR).all(axis=0)
    kept_V = np.arange(len(values_VR)) if kept is None else np.asarray(kept)
    confounds_VC = None if confounds is None else confounds.to_numpy()[kept_V]
    if confounds_VC is not None:
        _require_freedom(confounds_VC, path, config)
    known_VR = values_VR[np.ix_(kept_V, present_R)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clean_VR = clean(
                known_VR,
                confounds=confounds_VC,
                detrend=True,
                standardize=None,
                standardize_confounds=True,
                low_pass=config.low_pass_hz or None,
                t_r=repetition_time,
            )
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise InputDataError(f"Confounds of {path.name} cannot be regressed out: {first_line(error)}") from None
    result_VR = np.full_like(values_VR, np.nan)
    result_VR[np.ix_(kept_V, present_R)] = np.where(_has_signal(known_VR, clean_VR), clean_VR, np.nan)
    return result_VR


def _is_steady(table: Path | None, num_volumes: int) -> np.ndarray:
    """Return which volumes are not marked as before the steady state, (V,) bool; all where no table of that length says it."""
    steady_V = np.ones(num_volumes, dtype=bool)
    if table is None or not table.is_file():
        return steady_V
    columns = {name: cells for name, cells in read_tsv(table).columns.items() if name.startswith(_NOT_STEADY)}
    for cells in columns.values():
        if len(cells) == num_volumes:
            steady_V &= np.array([number_or_none(cell) != 1 for cell in cells])
    return steady_V


def _require_freedom(confounds_VC: np.ndarray, path: Path, config: IngestConfig) -> None:
    """Refuse a run with too few degrees of freedom left: correlations of the residuals would be noise, and large."""
    num_volumes = len(confounds_VC)
    centred_VC = confounds_VC - confounds_VC.mean(axis=0)
    scale_C = centred_VC.std(axis=0)
    drift_VC = np.column_stack([np.ones(num_volumes), np.linspace(-1, 1, num_volumes)])
    nuisance_VC = np.column_stack([centred_VC / np.where(scale_C > 0, scale_C, 1.0), drift_VC])
    rank = int(np.linalg.matrix_rank(np.nan_to_num(nuisance_VC)))
    if num_volumes - rank < _FEWEST_FREE:
        raise InputDataError(
            f"{path.name} has {num_volumes} volumes, of which {nuisance_VC.shape[1]} regressors (confounds, mean and drift) leave "
            f"{num_volumes - rank} degrees of freedom; expected at least {_FEWEST_FREE}. Was the run cut? Else choose fewer confounds than "
            f"`{config.confounds}` (ingest.confounds)."
        )


def _has_signal(before_VR: np.ndarray, after_VR: np.ndarray) -> np.ndarray:
    """Return in which regions more is left than rounding errors, (R,) bool: neither a constant nor a pure drift is."""
    before_R, after_R = before_VR.std(axis=0), after_VR.std(axis=0)
    return np.asarray(
        (before_R > _ROUNDING * np.abs(before_VR).max(axis=0, initial=0.0)) & (after_R > _LEFT * before_R)
    )


def confounds_beside(path: Path, elsewhere: Path | None = None) -> Path | None:
    """Return the confounds table beside an fMRIPrep image or CIFTI series, or else the one in another tree.

    It also holds the framewise displacement.
    """
    found = sorted(path.parent.glob(f"{_run_of(path)}_desc-confounds_*.tsv"))
    if found:
        return found[0]
    return elsewhere if elsewhere is not None and elsewhere.is_file() else None


def _run_of(path: Path) -> str:
    """Return the beginning of a name that says which run it is, whatever image was made of it."""
    return re.split("_(?:echo|space|den|res|hemi|desc)-|_bold", path.name)[0]
