"""Reading a parcellated series as (volume, region), from each layout that laboratories have, without taking anything on trust.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from dtb.cohort.index import SeriesFile
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.tables import number_or_none, read_tsv


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
    """

    values_VR: np.ndarray
    repetition_time: float
    motion: float | None

    @property
    def present_R(self) -> np.ndarray:
        """(R,) bool: whether the region has a signal at all."""
        known_VR = self.values_VR[self.kept_V]
        return (
            np.asarray(np.isfinite(known_VR).all(axis=0) & (np.ptp(known_VR, axis=0) > 0))
            if len(known_VR)
            else (np.zeros(self.values_VR.shape[1], dtype=bool))
        )

    @property
    def kept_V(self) -> np.ndarray:
        """(V,) bool: whether the volume was kept, which it is if any region has a value there."""
        return np.asarray(np.isfinite(self.values_VR).any(axis=1))


def read_region_names(first: SeriesFile, derivatives: tuple[Path, ...], config: IngestConfig) -> tuple[str, ...]:
    """Give the names of the cohort's regions: the header of its first series, or the table that goes with headerless ones.

    Raises
    ------
    InputDataError
        There is no such table, or several, or a name occurs twice.
    """
    if config.layout == "xcpd":
        names = _read_header(first.path)
        source = first.path
    else:
        source = config.region_labels if config.region_labels is not None else _only_labels_table(derivatives)
        if not source.is_file():
            raise InputDataError(f"ingest.region_labels: {source} is not a file; expected lines of `index<TAB>name`.")
        rows = [line.split("\t") for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = rows[1:] if rows and rows[0][0].strip().lower() == "index" else rows
        if any(len(row) < 2 or not row[0].strip().isdecimal() for row in rows):
            raise InputDataError(f"{source}: expected lines of `index<TAB>name`.")
        names = tuple(row[1].strip() for row in sorted(rows, key=lambda row: int(row[0])))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(names) < 2:
        raise InputDataError(
            f"{source}: " + (f"the region {twice[0]!r} occurs twice." if twice else "fewer than two regions.")
        )
    return names


def read_series(file: SeriesFile, regions: tuple[str, ...], config: IngestConfig) -> Series:
    """Read a series.

    Parameters
    ----------
    file : SeriesFile
    regions : tuple of str
        Regions of the cohort. An XCP-D series may lack some, which are then absent, and may have them in another order.
    config : IngestConfig

    Raises
    ------
    InputDataError
        The file is damaged or of another parcellation, its sidecar lacks the repetition time, or censored volumes were taken out and
        nothing says which.
    """
    values_VR = _read_xcpd(file.path, regions) if config.layout == "xcpd" else _read_headerless(file.path, len(regions))
    sidecar = _sidecar(file.path)
    repetition_time = sidecar.get("RepetitionTime")
    if not isinstance(repetition_time, int | float) or not 0 < repetition_time < 100:
        raise InputDataError(f"{_json_path(file.path)}: RepetitionTime is {repetition_time!r}; expected seconds.")
    if file.outliers is not None:
        values_VR = _in_place(values_VR, file.outliers, file.path)
    motion = sidecar.get("FDMean") if file.motion is None else _mean_displacement(file.motion)
    is_number = isinstance(motion, int | float) and np.isfinite(motion)
    return Series(values_VR, float(repetition_time), float(motion) if is_number else None)  # type: ignore[arg-type]


def _read_header(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8") as stream:
            return tuple(name.strip() for name in stream.readline().rstrip("\r\n").split("\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path} cannot be read ({error}).") from None


def _read_xcpd(path: Path, regions: tuple[str, ...]) -> np.ndarray:
    found = _read_header(path)
    unknown = sorted(set(found) - set(regions))
    if unknown or len(set(found)) != len(found):
        raise InputDataError(
            f"{path.name} has the region {(unknown or ['twice'])[0]!r}, which the cohort's first series has not: another parcellation?"
        )
    table_VR = _numbers(path, has_header=True)
    if table_VR.shape[1] != len(found):
        raise InputDataError(f"{path.name} has {table_VR.shape[1]} columns under a header of {len(found)}.")
    values_VR = np.full((len(table_VR), len(regions)), np.nan)
    values_VR[:, [regions.index(name) for name in found]] = table_VR
    return values_VR


def _read_headerless(path: Path, num_regions: int) -> np.ndarray:
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


def _in_place(values_VR: np.ndarray, outliers: Path, path: Path) -> np.ndarray:
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


def _mean_displacement(path: Path) -> float | None:
    table = read_tsv(path)
    cells = [number_or_none(cell) for cell in table.columns.get("framewise_displacement", [])]
    known = [cell for cell in cells if cell is not None]
    return float(np.mean(known)) if known else None


def _json_path(path: Path) -> Path:
    return path.with_name(path.name.split(".")[0] + ".json")


def _sidecar(path: Path) -> dict[str, object]:
    try:
        # Some tools write a bare NaN, which Python's reader takes.
        values = json.loads(_json_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputDataError(
            f"{path.name} has no sidecar {_json_path(path).name}, which holds its RepetitionTime."
        ) from None
    except ValueError as error:
        raise InputDataError(f"{_json_path(path).name} is not readable JSON ({error}).") from None
    return values if isinstance(values, dict) else {}


def _only_labels_table(derivatives: tuple[Path, ...]) -> Path:
    found = sorted(path for root in derivatives for path in root.glob("*_dseg.tsv"))
    if len(found) != 1:
        listed = f"found {', '.join(path.name for path in found)}" if found else "found none"
        raise InputDataError(
            "Headerless series need the names of their regions: give ingest.region_labels, or one *_dseg.tsv at the top of a derivative "
            f"tree ({listed})."
        )
    return found[0]
