"""Taking confounds out of a parcellated series, with nilearn, by the name of a published strategy.

Regression and averaging over a parcel commute, so it is done on parcel means. Drifts go with fMRIPrep's cosine regressors.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dtb.cohort.atlas import UNREADABLE, first_line
from dtb.config import IngestConfig
from dtb.errors import InputDataError

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


def cleaned(values_VR: np.ndarray, path: Path, repetition_time: float, config: IngestConfig) -> np.ndarray:
    """Regress confounds out of an fMRIPrep run's parcel means, and filter them.

    Parameters
    ----------
    values_VR : (V, R) float64
        NaN where a region is absent.
    path : Path
        The run's image; its confounds lie beside it under fMRIPrep's name.
    repetition_time : float
        Seconds.
    config : IngestConfig

    Returns
    -------
    (V, R) float64
        NaN also in volumes that fMRIPrep found before the steady state.

    Raises
    ------
    InputDataError
        The confounds are absent, incomplete, or of another run.
    """
    if config.confounds == "none" and config.low_pass_hz == 0:
        return values_VR
    from nilearn.interfaces.fmriprep import load_confounds
    from nilearn.signal import clean

    table, kept = None, None
    if config.confounds != "none":
        try:
            table, kept = load_confounds(str(path), **_STRATEGIES[config.confounds])
        except UNREADABLE as error:
            raise InputDataError(f"Confounds of {path.name} for `{config.confounds}`: {first_line(error)}") from None
        if len(table) != len(values_VR):
            raise InputDataError(f"{path.name} has {len(values_VR)} volumes, its confounds {len(table)} rows.")
    present_R = np.isfinite(values_VR).all(axis=0)
    kept_V = np.arange(len(values_VR)) if kept is None else np.asarray(kept)
    result_VR = np.full_like(values_VR, np.nan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result_VR[np.ix_(kept_V, present_R)] = clean(
                values_VR[np.ix_(kept_V, present_R)],
                confounds=None if table is None else table.to_numpy()[kept_V],
                detrend=True,
                standardize=None,
                standardize_confounds=True,
                low_pass=config.low_pass_hz or None,
                t_r=repetition_time,
            )
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise InputDataError(f"Confounds of {path.name} cannot be taken out: {first_line(error)}") from None
    return result_VR


def mean_displacement_of(path: Path) -> Path | None:
    """Give the confounds table beside an fMRIPrep image, which holds the framewise displacement."""
    stem = path.name.split("_space-")[0].split("_desc-")[0].split("_bold")[0]
    found = sorted(path.parent.glob(f"{stem}_desc-confounds_*.tsv"))
    return found[0] if found else None
