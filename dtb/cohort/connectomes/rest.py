"""A person's connectome, from rest series or precomputed matrices, and its quality.

Shape letters: `E` connectome edge.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from dtb.cohort.bids.files import PersonFiles
from dtb.cohort.connectomes.estimate import FEWEST_VOLUMES, averaged, concatenated, fisher_z
from dtb.cohort.connectomes.matrices import are_fisher_z_twice, read_matrix
from dtb.cohort.series.read import Series, gaps, read_series, require_volumes
from dtb.config import IngestConfig
from dtb.errors import InputDataError, SetAsideError, UserError
from dtb.people.connectome_kinds import CONNECTOMES
from dtb.people.records import matrix_from_edges

SAME_MATRIX = (
    "the matrix has the very values of another of the person's; if it is a copy, take one away, for it counts twice"
)
FISHER_Z_ALREADY = (
    "the values seem to be Fisher z already: taken for correlations they are no correlation matrix (an eigenvalue is negative), taken for "
    "Fisher z they are. If so, set ingest.matrix_transform: none, or they are transformed twice"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Rest:
    """A person's rest data.

    Attributes
    ----------
    connectome_E : (E,) float32
    runs : dict of str to (E,) float32
        The connectome of each run, by the run's entities.
    seconds, motion : float or None
        Length of rest, and mean framewise displacement in millimetres; None where unknown.
    volumes_fraction : float
        Share of the volumes that censoring left, of all runs that could be read; NaN for matrices.
    coverage_R : (R,) float64
        Share of each parcel that the images cover, the mean over runs; NaN where nothing says it.
    notices : tuple of (str, str)
        File names, and what had to be decided about them.
    unread : tuple of (str, str)
        Names of files that could not be read, or not in full, and why.
    """

    connectome_E: np.ndarray
    runs: dict[str, np.ndarray]
    seconds: float | None
    motion: float | None
    volumes_fraction: float
    coverage_R: np.ndarray
    notices: tuple[tuple[str, str], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def present_R(self) -> np.ndarray:
        """(R,) bool: whether the region has any edge."""
        return np.asarray(np.isfinite(matrix_from_edges(self.connectome_E, diagonal=np.nan)).any(axis=1))


class NoRestError(SetAsideError):
    """None of a person's rest files could be read.

    Attributes
    ----------
    unread : tuple of (str, str)
        As in `Rest`.
    """

    def __init__(self, kind: str, unread: list[tuple[str, str]]) -> None:
        super().__init__(kind, f"{kind}: {unread[0][1]}")
        self.unread = tuple(unread)


def read_rest(
    files: PersonFiles, derivatives: tuple[Path, ...], regions: tuple[str, ...], config: IngestConfig
) -> Rest:
    """Read a person's connectome.

    Raises
    ------
    NoRestError
        There are files, but none that could be read.
    InputDataError
        There are none.
    """
    if files.problem:
        raise InputDataError(files.problem)
    if CONNECTOMES[config.connectome].estimate is None:
        return _from_matrices(files, regions, config)
    return _from_series(files, derivatives, regions, config)


def require_good(rest: Rest, config: IngestConfig) -> None:
    """Refuse rest data that break the rules of the configuration.

    Raises
    ------
    SetAsideError
        It falls short of `ingest.min_rest_seconds`, `max_motion_mm` or `min_region_fraction`.
    """
    if rest.seconds is not None and rest.seconds < config.min_rest_seconds:
        raise SetAsideError(
            "ingest.min_rest_seconds",
            f"{rest.seconds:.0f} s of rest, fewer than ingest.min_rest_seconds {config.min_rest_seconds:g}",
        )
    if rest.motion is not None and rest.motion > config.max_motion_mm:
        raise SetAsideError(
            "ingest.max_motion_mm",
            f"mean framewise displacement {rest.motion:.2f} mm, more than ingest.max_motion_mm {config.max_motion_mm:g}",
        )
    present_R = rest.present_R
    if present_R.mean() < config.min_region_fraction:
        raise SetAsideError(
            "ingest.min_region_fraction",
            f"{present_R.sum()} of {len(present_R)} regions present, less than ingest.min_region_fraction {config.min_region_fraction:g}",
        )


def _from_series(
    files: PersonFiles, derivatives: tuple[Path, ...], regions: tuple[str, ...], config: IngestConfig
) -> Rest:
    if not files.rest:
        raise InputDataError("no resting-state series")
    found: dict[str, Series] = {}
    notices: list[tuple[str, str]] = []
    unread: list[tuple[str, str]] = []
    num_kept = num_volumes = 0
    for file in files.rest:
        try:
            one = read_series(file, regions, config, derivatives)
            num_kept, num_volumes = num_kept + int(one.kept_V.sum()), num_volumes + len(one.kept_V)
            require_volumes(one, file, config)
            if one.kept_V.sum() < FEWEST_VOLUMES:
                raise InputDataError(
                    f"{file.path.name} has {one.kept_V.sum()} volumes that can be used; a correlation needs {FEWEST_VOLUMES}."
                )
        except UserError as error:
            unread.append((file.path.name, str(error)))
            continue
        twin = next((label for label, other in found.items() if _is_copy(one, other)), None)
        if twin is not None:
            unread.append(
                (
                    file.path.name,
                    f"{file.path.name} has the very volumes of {twin}: a copy, which counts once. Take away the one that is wrong.",
                )
            )
            continue
        found[file.name.run_label] = one
        notices += [(file.path.name, notice) for notice in one.notices]
        if absent := gaps(one, regions):
            unread.append((file.path.name, absent))
    if not found:
        raise NoRestError("no resting-state series could be read", unread)
    series = list(found.values())
    edges_KE = np.stack([fisher_z(one, config.connectome) for one in series])
    num_volumes_K = np.array([one.kept_V.sum() for one in series])
    if config.rest_runs == "concatenate":
        connectome_E = fisher_z(concatenated(series), config.connectome).astype(np.float32)
    else:
        connectome_E = averaged(edges_KE, num_volumes_K)
    motion = [one.motion for one in series if one.motion is not None]
    return Rest(
        connectome_E,
        dict(zip(found, edges_KE.astype(np.float32), strict=True)),
        sum(float(one.kept_V.sum()) * one.repetition_time for one in series),
        float(np.mean(motion)) if motion else None,
        num_kept / num_volumes,
        np.mean(
            [np.full(len(regions), np.nan) if one.coverage_R is None else one.coverage_R for one in series], axis=0
        ),
        tuple(notices),
        tuple(unread),
    )


def _is_copy(one: Series, other: Series) -> bool:
    return np.array_equal(one.values_VR, other.values_VR, equal_nan=True)


def _from_matrices(files: PersonFiles, regions: tuple[str, ...], config: IngestConfig) -> Rest:
    if not files.matrices:
        raise InputDataError("no connectivity matrix")
    found: dict[str, np.ndarray] = {}
    notices: list[tuple[str, str]] = []
    unread: list[tuple[str, str]] = []
    for file in files.matrices:
        try:
            edges_E = read_matrix(file.path, regions, config)
        except UserError as error:
            unread.append((file.path.name, str(error)))
            continue
        if any(np.array_equal(edges_E, other_E, equal_nan=True) for other_E in found.values()):
            notices.append((file.path.name, SAME_MATRIX))
        if config.matrix_transform == "fisher_z" and are_fisher_z_twice(edges_E):
            notices.append((file.path.name, FISHER_Z_ALREADY))
        found[file.run] = edges_E
    if not found:
        raise NoRestError("no connectivity matrix could be read", unread)
    connectome_E = averaged(np.stack(list(found.values())), np.ones(len(found)))
    runs = {label: edges_E.astype(np.float32) for label, edges_E in found.items()}
    covered_R = np.full(len(regions), np.nan)
    return Rest(connectome_E, runs, None, None, float("nan"), covered_R, tuple(notices), tuple(unread))
