"""Precomputed connectomes: one matrix per file, structural or functional, checked and converted to the cohort's edges.

Nothing is taken on trust: a matrix must be square, symmetric (or one half of a symmetric one), finite, and as large as its names say.

Shape letters: `R` region, `E` connectome edge.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from dtb.cohort.bids.names import BidsName, RunKey, combined_runs
from dtb.cohort.bids.selection import Selection
from dtb.cohort.connectomes.matrix_files import read_mat, read_npy, read_relmat
from dtb.cohort.series.region_table import read_region_table
from dtb.config import IngestConfig
from dtb.errors import AmbiguousFilesError, InputDataError
from dtb.people.records import LARGEST_CORRELATION, edges_from_matrix, matrix_from_edges
from dtb.tasks.tables import why_no_file

PATTERNS = ("*_relmat.tsv", "*_relmat.dense.tsv", "*connectivity.mat")
"""Names of the matrices' files, if `ingest.matrix_files` does not say: BEP017's, and those of QSIRecon and DSI Studio."""

_ASYMMETRY = 1e-5  # of the largest entry: what tables written in single precision differ by
_BEYOND_ONE = 1e-6
_NOT_CORRELATIONS = -0.01  # an eigenvalue: rounding and averages of runs leave none below it
_FROM_ONE = 0.01  # on the diagonal: what averages of runs and rounding differ by


@dataclasses.dataclass(frozen=True)
class MatrixFile:
    """A file that holds a person's matrix.

    Attributes
    ----------
    path : Path
    run : str
        Entities of the run that it was made of (``ses-1_run-2``); empty if its name has none.
    """

    path: Path
    run: str


def find_matrices(
    derivatives: Iterable[Path],
    label: str,
    config: IngestConfig,
    selection: Selection,
    scanned: Collection[RunKey] = (),
) -> tuple[tuple[MatrixFile, ...], tuple[Path, ...]]:
    """Return a person's matrices, in any of their folders, that pass the selection; matrices of tasks are left out.

    Parameters
    ----------
    derivatives : iterable of Path
    label : str
    config : IngestConfig
    selection : Selection
    scanned : collection of RunKey
        Runs that the raw tree has a file of.

    Returns
    -------
    matrices : tuple of MatrixFile
    combined : tuple of Path
        Those of several runs put together, beside which each run has a matrix of its own.

    Raises
    ------
    AmbiguousFilesError
        Several files belong to the same run, or one is named after another person.
    """
    patterns = PATTERNS if config.matrix_files is None else (config.matrix_files,)
    found: dict[RunKey, list[MatrixFile]] = {}
    for root in derivatives:
        for path in sorted((root / f"sub-{label}").rglob("*")):
            if not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns):
                continue
            entities = dict(re.findall(r"(?:^|_)([A-Za-z]+)-([A-Za-z0-9+]+)(?=[_.])", path.name))
            if not entities.get("task", config.rest_task).startswith(config.rest_task):
                continue
            if entities.get("sub", label) != label:
                raise AmbiguousFilesError(
                    f"{path.name} lies in the folder sub-{label}, and is named after another person. Whose is it? Move or rename it."
                )
            name = BidsName(entities, "", "")
            if not selection.wants_matrix(name):
                continue
            found.setdefault(name.run_key, []).append(MatrixFile(path, name.run_label))
    combined = [file.path for key in combined_runs(found, scanned) for file in found.pop(key)]
    for files in found.values():
        if len(files) > 1:
            raise AmbiguousFilesError(
                f"{files[0].path.name} and {files[1].path.name} are matrices of the same run; say which is meant with "
                "ingest.matrix_files, a pattern of file names."
            )
    return tuple(sorted((file for (file,) in found.values()), key=lambda file: file.run)), tuple(combined)


def read_matrix_regions(first: Path, config: IngestConfig) -> tuple[str, ...]:
    """Return the names of the cohort's regions: those that its first matrix has, or else those of `ingest.region_labels`.

    Raises
    ------
    InputDataError
        Neither names them, or not each of them once.
    """
    matrix_RR, names = _read(first, config)
    if names is None:
        if config.region_labels is None:
            raise InputDataError(
                f"{first.name} does not name its {len(matrix_RR)} regions; give a table of their names as ingest.region_labels."
            )
        names = tuple(read_region_table(config.region_labels).values())
        _require_size(matrix_RR, len(names), first)
    return names


def read_matrix(path: Path, regions: tuple[str, ...], config: IngestConfig) -> np.ndarray:
    """Read a matrix as edges of the cohort's regions.

    Parameters
    ----------
    path : Path
    regions : tuple of str
        A file with names of its own may lack some of them, which are then absent, and may have them in another order.
    config : IngestConfig

    Returns
    -------
    (E,) float64
        After `ingest.matrix_transform`; NaN where a region is absent: all of its entries are missing, or all are 0.

    Raises
    ------
    InputDataError
        The file cannot be read, or holds no connectome.
    """
    found_RR, names = _read(path, config)
    if names is None:
        _require_size(found_RR, len(regions), path)
        whole_RR = found_RR
    else:
        unknown = sorted(set(names) - set(regions))
        if unknown:
            raise InputDataError(
                f"{path.name} has the region {unknown[0]!r}, which the cohort's first matrix lacks. Is it another parcellation?"
            )
        place = [regions.index(name) for name in names]
        whole_RR = np.full((len(regions), len(regions)), np.nan)
        whole_RR[np.ix_(place, place)] = found_RR
    return edges_from_matrix(_transformed(whole_RR, path, config))


def _read(path: Path, config: IngestConfig) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Read and check a matrix, symmetric and with NaN on the diagonal and at absent regions, and its regions' names."""
    if not path.is_file():
        raise InputDataError(f"{path.name} is {why_no_file(path)}; expected a connectivity matrix.")
    read = {".mat": read_mat, ".npy": read_npy}.get(path.suffix, read_relmat)
    found_RR, names = read(path, config)
    if found_RR.ndim != 2 or found_RR.shape[0] != found_RR.shape[1] or len(found_RR) < 2:
        raise InputDataError(f"{path.name}: the matrix has the shape {found_RR.shape}; a connectome is square.")
    if names is not None:
        if len(names) != len(found_RR):
            raise InputDataError(f"{path.name} names {len(names)} regions; its matrix has {len(found_RR)}.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputDataError(f"{path.name}: the region {twice[0]!r} occurs twice.")
    matrix_RR = found_RR.astype(np.float64)
    if config.matrix_transform == "fisher_z":
        _require_correlations_diagonal(np.diagonal(matrix_RR), path)
    if config.matrix_transform == "log1p":
        _require_no_correlations(matrix_RR, path)
    np.fill_diagonal(matrix_RR, np.nan)  # whatever stands there is of no use, and may be infinite
    matrix_RR = _symmetric(matrix_RR, path)
    absent_R = (np.isnan(matrix_RR) | (matrix_RR == 0)).all(axis=1)
    matrix_RR[absent_R] = matrix_RR[:, absent_R] = np.nan
    return matrix_RR, names


def _require_no_correlations(matrix_RR: np.ndarray, path: Path) -> None:
    """Refuse a matrix that counts nothing, because it has 1 all along its diagonal and nothing beyond it.

    Raises
    ------
    InputDataError
        It is one of correlations, or of their absolute values.
    """
    if (np.abs(np.diagonal(matrix_RR) - 1) < _FROM_ONE).all() and np.nanmax(np.abs(matrix_RR)) < 1 + _FROM_ONE:
        raise InputDataError(
            f"{path.name} has 1 on its diagonal and nothing beyond 1: these seem to be correlations and no numbers of streamlines. Set "
            "`ingest.matrix_transform: fisher_z`; `none` takes values as they are."
        )


def are_fisher_z_twice(edges_E: np.ndarray) -> bool:
    """Return whether edges were transformed to Fisher z once too often: undone once they are no correlation matrix, undone twice they are.

    A correlation matrix has no negative eigenvalue. Small Fisher z, hardly different from correlations, cannot be told.
    """
    once_RR = matrix_from_edges(np.tanh(edges_E.astype(np.float64)), diagonal=1.0)
    present_R = np.isfinite(once_RR).sum(axis=1) > 1
    once_RR = once_RR[np.ix_(present_R, present_R)]
    if len(once_RR) < 2 or not np.isfinite(once_RR).all():
        return False
    twice_RR = np.tanh(once_RR)
    np.fill_diagonal(twice_RR, 1.0)
    smallest_once, smallest_twice = (np.linalg.eigvalsh(each_RR)[0] for each_RR in (once_RR, twice_RR))
    return bool(smallest_once < _NOT_CORRELATIONS and smallest_twice > -_ASYMMETRY * len(once_RR))


def _require_correlations_diagonal(diagonal_R: np.ndarray, path: Path) -> None:
    """Refuse a matrix whose diagonal no correlation matrix has: of Fisher z it is infinite or large, of covariances the variances.

    Raises
    ------
    InputDataError
        It is neither 1 nor 0 nor missing.
    """
    odd_R = ~(np.isnan(diagonal_R) | (diagonal_R == 0) | (np.abs(diagonal_R - 1) < _FROM_ONE))
    if odd_R.any():
        raise InputDataError(
            f"{path.name} has {diagonal_R[odd_R][0]:g} on its diagonal; correlations have 1 there (or 0, or nothing). If these are Fisher "
            "z already, set `ingest.matrix_transform: none`; covariances have to be made correlations first."
        )


def _symmetric(matrix_RR: np.ndarray, path: Path) -> np.ndarray:
    if np.isinf(matrix_RR).any():
        raise InputDataError(f"{path.name} has infinite values.")
    above_RR, below_RR = np.triu(np.nan_to_num(matrix_RR), 1), np.tril(np.nan_to_num(matrix_RR), -1).T
    if above_RR.any() != below_RR.any():
        # Half a matrix, as MRtrix's tck2connectome writes it unless it is told otherwise.
        half_RR = np.triu(matrix_RR if above_RR.any() else matrix_RR.T, 1)
        return np.asarray(half_RR + half_RR.T)
    apart_RR = np.abs(matrix_RR - matrix_RR.T)
    lopsided_RR = (apart_RR > _ASYMMETRY * max(np.abs(above_RR).max(), np.abs(below_RR).max())) | (
        np.isnan(matrix_RR) != np.isnan(matrix_RR.T)
    )
    if lopsided_RR.any():
        row, column = np.argwhere(lopsided_RR)[0]
        raise InputDataError(
            f"{path.name} is not symmetric: row {row + 1}, column {column + 1} is {matrix_RR[row, column]:g}, and the other way round "
            f"{matrix_RR[column, row]:g}. A directed matrix cannot be read."
        )
    return np.asarray((matrix_RR + matrix_RR.T) / 2)


def _transformed(matrix_RR: np.ndarray, path: Path, config: IngestConfig) -> np.ndarray:
    known = matrix_RR[np.isfinite(matrix_RR)]
    if config.matrix_transform == "log1p":
        if (known < 0).any():
            raise InputDataError(
                f"{path.name} has the value {known.min():g}, which is not a number of streamlines. For correlations set "
                "`ingest.matrix_transform: fisher_z`; `none` takes values as they are."
            )
        return np.asarray(np.log1p(matrix_RR))
    if config.matrix_transform == "fisher_z":
        if (np.abs(known) > 1 + _BEYOND_ONE).any():
            raise InputDataError(
                f"{path.name} has the value {known[np.abs(known).argmax()]:g}; correlations lie between -1 and 1. For numbers of "
                "streamlines set `ingest.matrix_transform: log1p`."
            )
        return np.asarray(np.arctanh(np.clip(matrix_RR, -LARGEST_CORRELATION, LARGEST_CORRELATION)))
    return matrix_RR


def _require_size(matrix_RR: np.ndarray, num_regions: int, path: Path) -> None:
    if len(matrix_RR) != num_regions:
        raise InputDataError(
            f"{path.name} has {len(matrix_RR)} regions and does not name them; the cohort has {num_regions}."
        )
