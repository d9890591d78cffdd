"""Reading a parcellated series as (volume, region), from each layout, with all checks.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.layouts.layout import SeriesPath
from dtb.cohort.layouts.table import LAYOUTS
from dtb.cohort.series.confounds import cleaned, confounds_beside
from dtb.cohort.series.tabular import (
    mean_displacement,
    on_the_clock,
)
from dtb.cohort.series.timing import read_sidecar, read_timing
from dtb.config import IngestConfig
from dtb.errors import InputDataError

ZERO_VOLUMES = "volumes in which every region is exactly 0 are taken for missing, as where censoring wrote zeros (AFNI's -cenmode ZERO)"
_SCRUBBED = "NumberOfVolumesDiscardedByMotionScrubbing"
_ROUNDING = 1e-9  # range of numbers that are all the same, relative to them
_FAINTEST = 1e-6  # of most regions' range: whatever has less was a constant before it was filtered


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """A parcellated series, its regions in the order of the cohort.

    Attributes
    ----------
    values_VR : (V, R) float64
        NaN where a region or a volume is absent.
    repetition_time : float
        Seconds.
    motion : float or None
        Mean framewise displacement in millimetres.
    coverage_R : (R,) float64 or None
        Share of each parcel that the images cover; None for series that others parcellated.
    dropped_volumes : int
        Volumes of the run that were taken away before the first of these.
    start_seconds : float
        Time of the run's first volume, dropped or not, on the clock of its events.
    notices, task_notices : tuple of str
        What is unknown about the series' timing or had to be decided, in the same words for everybody; `task_notices` matter only for a
        run with events.
    """

    values_VR: np.ndarray
    repetition_time: float
    motion: float | None
    coverage_R: np.ndarray | None = None
    dropped_volumes: int = 0
    start_seconds: float = 0.0
    notices: tuple[str, ...] = ()
    task_notices: tuple[str, ...] = ()

    def with_dropped(self) -> Series:
        """Return the series with the dropped volumes added as missing, so that all volumes keep their times."""
        missing_VR = np.full((self.dropped_volumes, self.values_VR.shape[1]), np.nan)
        return dataclasses.replace(self, values_VR=np.concatenate([missing_VR, self.values_VR]), dropped_volumes=0)

    @property
    def seconds(self) -> float:
        """Return the length of the run, censored volumes included."""
        return len(self.values_VR) * self.repetition_time + max(0.0, self.start_seconds)

    @property
    def present_R(self) -> np.ndarray:
        """(R,) bool: whether the region has a signal at all, beyond the rounding of numbers that are all the same."""
        known_VR = self.values_VR[self.kept_V]
        present_R = np.isfinite(known_VR).all(axis=0) & bool(len(known_VR))
        if present_R.any():
            range_R, largest_R = np.ptp(known_VR[:, present_R], axis=0), np.abs(known_VR[:, present_R]).max(axis=0)
            present_R[present_R] = range_R > np.maximum(_ROUNDING * largest_R, _FAINTEST * np.median(range_R))
        return np.asarray(present_R)

    @property
    def kept_V(self) -> np.ndarray:
        """(V,) bool: whether the volume was kept, which it is if any region has a value there."""
        return np.asarray(np.isfinite(self.values_VR).any(axis=1))


def gaps(series: Series, regions: tuple[str, ...]) -> str:
    """Return which regions are absent from a run because some volumes have no value of them; empty if none is."""
    known_VR = np.isfinite(series.values_VR[series.kept_V])
    number_R = (~known_VR).sum(axis=0)
    (partly,) = np.nonzero((number_R > 0) & known_VR.any(axis=0))
    if not len(partly):
        return ""
    first = partly[0]
    others = f", and {len(partly) - 1} more" if len(partly) > 1 else ""
    return f"absent from this run: the region {regions[first]}, which has no value in {number_R[first]} of {len(known_VR)} volumes{others}"


def read_region_names(first: SeriesFile, derivatives: tuple[Path, ...], config: IngestConfig) -> tuple[str, ...]:
    """Return the names of the cohort's regions: those of its first series, or of the table or atlas that goes with it.

    Raises
    ------
    InputDataError
        There is no such table, or several, or a name occurs twice.
    """
    if not first.path.is_file():
        raise InputDataError(
            f"{first.path} is not a file."
        )  # a pipe, for example, on which this process would wait for ever
    names = LAYOUTS[config.layout].read_region_names(first.path, derivatives, config)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(names) < 2:
        problem = f"the region {twice[0]!r} occurs twice" if twice else "fewer than two regions"
        raise InputDataError(f"{first.path.name}: {problem}.")
    return names


def require_atlas_space(files: Iterable[SeriesFile], config: IngestConfig) -> None:
    """Refuse an atlas of another space than the images.

    Raises
    ------
    InputDataError
        The atlas's name says another space than the series' do; or it says none, and the series are neither all in one MNI space nor
        chosen by `ingest.space`.
    """
    if not LAYOUTS[config.layout].is_on_grid or config.atlas is None:
        return
    example = {file.name.entities.get("space", ""): file.path.name for file in files}
    named = re.search(r"(?:^|_)(?:space|tpl)-([A-Za-z0-9+]+)", config.atlas.name)
    if named is not None:
        fits = set(example) <= {named[1]}
    else:
        fits = config.space is not None or (len(example) < 2 and all(space.startswith("MNI") for space in example))
    if not fits:
        none = "a space that its name does not say"
        listed = "; ".join(f"{name} in {space or none}" for space, name in sorted(example.items()))
        raise InputDataError(
            f"The series and the atlas must be in the same space. {config.atlas.name} is in {named[1] if named else none}, the series are, "
            f"for example: {listed}. Choose series with ingest.space, or give an atlas of their space, with space-NAME or tpl-NAME in its "
            "file name."
        )


def read_series(
    file: SeriesFile, regions: tuple[str, ...], config: IngestConfig, derivatives: tuple[Path, ...] = ()
) -> Series:
    """Read a series.

    Parameters
    ----------
    file : SeriesFile
    regions : tuple of str
        Regions of the cohort. A series with names of its own may lack some, which are then absent, and may have them in another order.
    config : IngestConfig
    derivatives : tuple of Path
        Trees in which the table of regions is looked for.

    Raises
    ------
    InputDataError
        The file is damaged or of another parcellation, nothing says its repetition time or files contradict each other, or censored volumes
        were taken out and nothing says which.
    """
    layout = LAYOUTS[config.layout]
    values_VR, header_time, coverage_R = layout.read(SeriesPath(file.path, file.mask), regions, derivatives, config)
    if np.isinf(values_VR).any():
        raise InputDataError(f"{file.path.name} has infinite values.")
    timing = read_timing(file, header_time, config)
    sidecar = read_sidecar(file.path)
    motion = sidecar.get("FDMean", sidecar.get("MeanFramewiseDisplacement"))
    scrubbed = sidecar.get(_SCRUBBED)
    if file.outliers is None and isinstance(scrubbed, int | float) and scrubbed > 0:
        raise InputDataError(
            f"{file.path.name} lacks {scrubbed:g} volumes of too much motion ({_SCRUBBED} in its sidecar), and nothing says which. Give "
            "the series of a strategy without scrubbing."
        )
    notices = timing.notices
    if layout.is_denoised:
        values_VR, num_zero = _without_zero_volumes(values_VR)
        notices = (*notices, *([ZERO_VOLUMES] if num_zero else []))
    else:
        confounds = confounds_beside(file.path, file.confounds)
        values_VR = cleaned(values_VR, file.path, timing.repetition_time, config, confounds)
        motion = None if confounds is None else mean_displacement(confounds, len(values_VR), file.path)
    if file.outliers is not None:
        values_VR = on_the_clock(values_VR, file.outliers, file.path)
    if file.motion is not None:
        motion = mean_displacement(file.motion, len(values_VR), file.path)
    is_number = isinstance(motion, int | float) and not isinstance(motion, bool) and np.isfinite(motion)
    return Series(
        values_VR,
        timing.repetition_time,
        float(motion) if is_number else None,  # type: ignore[arg-type]
        coverage_R,
        timing.dropped_volumes,
        timing.start_seconds,
        notices,
        timing.task_notices,
    )


def _without_zero_volumes(values_VR: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the series with volumes in which every region is exactly 0 marked as missing, and their number."""
    known_VR = np.isfinite(values_VR)
    zero_V = known_VR.any(axis=1) & ~(known_VR & (values_VR != 0)).any(axis=1)
    return np.where(zero_V[:, None], np.nan, values_VR), int(zero_V.sum())


def require_volumes(series: Series, file: SeriesFile, config: IngestConfig) -> None:
    """Refuse a series with too few volumes left after censoring.

    Raises
    ------
    InputDataError
        Less than `ingest.min_volumes_fraction` is left.
    """
    if series.kept_V.mean() < config.min_volumes_fraction:
        raise InputDataError(
            f"{file.path.name} has {series.kept_V.sum()} of {len(series.kept_V)} volumes left, less than ingest.min_volumes_fraction "
            f"{config.min_volumes_fraction:g}."
        )
