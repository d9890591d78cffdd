"""Parcellated series in tables: tab-separated with or without a header, and HDF5; and the tables that lie beside them.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from dtb.errors import InputDataError
from dtb.tasks.tables import number_or_none, read_tsv


def read_header_names(path: Path) -> tuple[str, ...]:
    """Give the column names of a tab-separated series."""
    try:
        with path.open(encoding="utf-8") as stream:
            return tuple(name.strip() for name in stream.readline().rstrip("\r\n").split("\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path} cannot be read ({error}).") from None


def read_with_header(path: Path, regions: tuple[str, ...]) -> np.ndarray:
    """Read a series under a header of region names, as (V, R) in the order of `regions`; NaN for a region it lacks."""
    found = read_header_names(path)
    table_VR = _numbers(path, has_header=True)
    if table_VR.shape[1] != len(found):
        raise InputDataError(f"{path.name} has {table_VR.shape[1]} columns under a header of {len(found)}.")
    return in_order(table_VR, found, regions, path)


def in_order(found_VR: np.ndarray, found: tuple[str, ...], regions: tuple[str, ...], path: Path) -> np.ndarray:
    """Bring columns into the order of the cohort's regions."""
    unknown = sorted(set(found) - set(regions))
    if unknown or len(set(found)) != len(found):
        raise InputDataError(
            f"{path.name} has the region {(unknown or ['twice'])[0]!r}, which the cohort's first series has not: another parcellation?"
        )
    place = {name: at for at, name in enumerate(regions)}
    values_VR = np.full((len(found_VR), len(regions)), np.nan)
    values_VR[:, [place[name] for name in found]] = found_VR
    return values_VR


def read_headerless(path: Path, num_regions: int) -> np.ndarray:
    """Read a series without a header as (V, R); it must have a column for each region."""
    values_VR = _numbers(path, has_header=False)
    if values_VR.shape[1] != num_regions:
        raise InputDataError(
            f"{path.name} has {values_VR.shape[1]} columns; the table of region names has {num_regions}."
        )
    return values_VR


def _numbers(path: Path, *, has_header: bool) -> np.ndarray:
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            header=None,
            skiprows=int(has_header),
            na_values=["n/a", "nan", "NaN"],
            keep_default_na=False,
            dtype=np.float64,
        )
    except pd.errors.EmptyDataError:
        raise InputDataError(f"{path.name} has no volumes.") from None
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise InputDataError(f"{path.name} is damaged: {str(error).splitlines()[0]}") from None
    values_VR = table.to_numpy()
    if np.isinf(values_VR).any():
        raise InputDataError(f"{path.name} has infinite values.")
    return values_VR


def on_the_clock(values_VR: np.ndarray, outliers: Path, path: Path) -> np.ndarray:
    """Put a censored series back onto the run's clock: NaN where volumes were taken out."""
    table = read_tsv(outliers)
    if "framewise_displacement" not in table.columns:
        raise InputDataError(f"{outliers.name} has no column framewise_displacement.")
    marks = [number_or_none(cell) for cell in table.columns["framewise_displacement"]]
    kept_V = np.array([mark == 0 for mark in marks])
    if len(values_VR) == len(kept_V):
        return np.where(kept_V[:, None], values_VR, np.nan)
    if len(values_VR) != kept_V.sum():
        raise InputDataError(
            f"{path.name} has {len(values_VR)} volumes; {outliers.name} keeps {kept_V.sum()} of {len(kept_V)}. They do not belong together."
        )
    whole_VR = np.full((len(kept_V), values_VR.shape[1]), np.nan)
    whole_VR[kept_V] = values_VR
    return whole_VR


def mean_displacement(path: Path) -> float | None:
    """Average the column `framewise_displacement` of a table, in millimetres; None if it has none."""
    table = read_tsv(path)
    cells = [number_or_none(cell) for cell in table.columns.get("framewise_displacement", [])]
    known = [cell for cell in cells if cell is not None]
    return float(np.mean(known)) if known else None


def read_hdf5(path: Path, num_regions: int, max_memory_gib: float) -> np.ndarray:
    """Read a series of the Transdiagnostic Connectome Project: key `dataset`, (regions, volumes).

    Returns
    -------
    (V, R) float64
    """
    import h5py

    try:
        with h5py.File(path, "r") as stream:
            data = stream["dataset"]
            if not isinstance(data, h5py.Dataset) or data.ndim != 2 or data.dtype.kind != "f":
                raise InputDataError(f"{path.name}: `dataset` is no table of numbers.")
            if data.shape[0] != num_regions:
                raise InputDataError(
                    f"{path.name}: `dataset` has {data.shape[0]} rows; the table of region names has {num_regions}."
                )
            if 8 * data.shape[0] * data.shape[1] > max_memory_gib * 2**30:
                raise InputDataError(
                    f"{path.name}: `dataset` has the shape {data.shape}, too much for ingest.max_memory_gib."
                )
            return np.asarray(data[:], dtype=np.float64).T
    except KeyError:
        raise InputDataError(f"{path.name} has no `dataset`.") from None
    except OSError as error:
        raise InputDataError(f"{path.name} is not a readable HDF5 file: {str(error).splitlines()[0]}") from None
