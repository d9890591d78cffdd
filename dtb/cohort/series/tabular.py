"""Parcellated series in tables: tab-separated with or without a header, and HDF5; and their accompanying tables.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from isal import igzip

from dtb.cohort.hdf5 import require_own_data
from dtb.cohort.series.atlas import BAD_BYTES
from dtb.errors import InputDataError
from dtb.tasks.tables import hint_of, number_or_none, read_tsv, why_no_file

_ABSENT = ["n/a", "nan", "NaN", ""]
_UNKNOWN = frozenset({"na", "n/a", "nan", "null", "none", ".", "-"})
_LONGEST_HEADER = 2**24
_PART_BYTES = 2**24
_NO_NAMES = frozenset({"", "index", "time", "volume"})
_INDEX_COLUMN = re.compile(r"Unnamed: \d+")
_OTHER_SEPARATOR = re.compile(r"[ ,;]")
_QUOTED = re.compile(r"([\"']).+\1")
_FEWEST_COUNTED = 5  # volumes
_SAME_STEP = 1e-6  # relative: what rounded times differ by
_EXACT = re.compile(r"(exact_\d+|random_censor)(_hash-\w+)?")
_DISPLACEMENT = re.compile(r"framewise_displacement(_hash-\w+)?")
_MASKS = ("interpolation", "denoising")  # all that was left out: in the end, and of denoising


def read_header_names(path: Path) -> tuple[str, ...]:
    """Return the column names of a tab-separated series."""
    try:
        with path.open("rb") as stream:
            return _names(stream.readline(_LONGEST_HEADER), path)
    except FileNotFoundError:
        raise InputDataError(f"{path} is {why_no_file(path)}.") from None
    except OSError as error:
        raise InputDataError(f"{path} cannot be read ({error}).") from None


def _names(header: bytes, path: Path) -> tuple[str, ...]:
    try:
        names = tuple(name.strip() for name in header.decode("utf-8-sig").rstrip("\r\n").split("\t"))
    except UnicodeDecodeError as error:
        raise InputDataError(
            f"{path.name} has a header that is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from None
    if not any(names):
        raise InputDataError(
            f"{path.name} is empty; expected a header with the names of the regions, and a line for each volume."
        )
    if "\r" in header.rstrip(b"\r\n").decode("utf-8-sig"):
        raise InputDataError(
            f"{path.name} ends its lines with carriage returns alone, as old Macs did. Save it with line feeds (`\\n`)."
        )
    if any(_QUOTED.fullmatch(name) for name in names):
        raise InputDataError(f"{path.name} has its cells in quotation marks. Write it without (in R, `quote = FALSE`).")
    if len(names) == 1 and _OTHER_SEPARATOR.search(names[0]):
        raise InputDataError(
            f"{path.name} has one column, {names[0][:60]!r}. Separate its cells by tabs, not by spaces or commas."
        )
    nameless = next((name for name in names if name in _NO_NAMES or _INDEX_COLUMN.fullmatch(name)), None)
    if nameless is not None:
        raise InputDataError(
            f"{path.name}: column {names.index(nameless) + 1} has no name of a region ({nameless!r}). If it counts the volumes, as pandas "
            "writes it, write the table without it (`index=False`)."
        )
    if not any(_is_name(name) for name in names):
        raise InputDataError(
            f"{path.name} has no header: its first line holds numbers. Give it one, with the names of the regions."
        )
    return names


def _is_name(text: str) -> bool:
    """Return whether a text may name a region: words, or a whole number."""
    return number_or_none(text) is None or text.isdecimal()


def read_with_header(path: Path, regions: tuple[str, ...], max_memory_gib: float) -> np.ndarray:
    """Read a series under a header of region names, as (V, R) in the order of `regions`; NaN for a region it lacks."""
    content = _content(path, max_memory_gib)
    start = content.find(b"\n") + 1 or len(content)
    found = _names(content[:start], path)
    table_VR = _numbers(path, memoryview(content)[start:], max_memory_gib)
    if table_VR.shape[1] != len(found):
        raise InputDataError(f"{path.name} has {table_VR.shape[1]} columns under a header of {len(found)}.")
    _require_no_count(table_VR, found, path)
    return in_order(table_VR, found, regions, path)


def _require_no_count(table_VR: np.ndarray, names: tuple[str, ...], path: Path) -> None:
    """Refuse a column that grows by the same step from volume to volume: it counts them, or has their times, whatever it is called."""
    if len(table_VR) < _FEWEST_COUNTED:
        return
    step_VR = np.diff(table_VR, axis=0)
    with np.errstate(invalid="ignore"):
        counts_R = (step_VR[0] > 0) & (np.abs(step_VR - step_VR[0]) <= _SAME_STEP * np.abs(step_VR[0])).all(axis=0)
    if counts_R.any():
        place = int(np.flatnonzero(counts_R)[0])
        raise InputDataError(
            f"{path.name}: column {place + 1}, {names[place]!r}, grows by {step_VR[0, place]:g} from volume to volume. It counts them, or "
            "has their times, and is no region: write the table without it."
        )


def in_order(found_VR: np.ndarray, found: tuple[str, ...], regions: tuple[str, ...], path: Path) -> np.ndarray:
    """Return columns in the order of the cohort's regions."""
    twice = next((name for place, name in enumerate(found) if name in found[:place]), None)
    if twice is not None:
        raise InputDataError(f"{path.name} has the region {twice!r} more than once.")
    unknown = sorted(set(found) - set(regions))
    if unknown:
        raise InputDataError(
            f"{path.name} has the region {unknown[0]!r}, which the cohort's first series lacks. Is it another parcellation?"
        )
    place = {name: at for at, name in enumerate(regions)}
    values_VR = np.full((len(found_VR), len(regions)), np.nan)
    values_VR[:, [place[name] for name in found]] = found_VR
    return values_VR


def read_headerless(path: Path, num_regions: int, max_memory_gib: float) -> np.ndarray:
    """Read a series without a header as (V, R); it must have a column for each region."""
    values_VR = _numbers(path, memoryview(_content(path, max_memory_gib)), max_memory_gib)
    if values_VR.shape[1] != num_regions:
        raise InputDataError(
            f"{path.name} has {values_VR.shape[1]} columns; the table of region names has {num_regions}."
        )
    if num_regions > 2 and any(np.array_equal(values_VR[0], np.arange(num_regions) + start) for start in (0, 1)):
        raise InputDataError(
            f"{path.name} begins with the numbers of its regions, which are no volume. Take that line away."
        )
    return values_VR


def _content(path: Path, max_memory_gib: float) -> bytes:
    """Read a file, plain or compressed, unless it holds more than the memory that may be used."""
    limit = int(max_memory_gib * 2**30) // 2  # text stands in memory twice while its numbers are read
    try:
        with igzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            parts, size = [], 0
            while size <= limit and (part := stream.read(_PART_BYTES)):
                parts.append(part)
                size += len(part)
    except FileNotFoundError:
        raise InputDataError(f"{path.name} is {why_no_file(path)}.") from None
    except BAD_BYTES as error:
        raise InputDataError(f"{path.name} is damaged: {error}") from None
    if size > limit:
        raise InputDataError(
            f"{path.name} holds more text than ingest.max_memory_gib {max_memory_gib:g} has room for, twice."
        )
    return b"".join(parts)


def _numbers(path: Path, lines: memoryview, max_memory_gib: float) -> np.ndarray:
    """Read lines of tab-separated numbers; `n/a` and `nan` are NaN."""
    text = bytes(lines).replace(b"\r\n", b"\n")
    if not text.strip():
        raise InputDataError(f"{path.name} has no volumes.")
    if not text.endswith(b"\n"):
        raise InputDataError(f"{path.name} ends in the middle of a line: it was cut. If it was not, end its last line.")
    if b"\n\n" in text.rstrip(b"\n") or text.startswith(b"\n"):
        raise InputDataError(f"{path.name} has an empty line, where a volume should be.")
    num_cells = text.count(b"\t") + text.count(b"\n")
    if 2 * len(text) + 2 * 8 * num_cells > max_memory_gib * 2**30:
        raise InputDataError(
            f"{path.name} holds {num_cells} numbers, too many for ingest.max_memory_gib {max_memory_gib:g}."
        )
    names = [str(place) for place in range(text[: text.index(b"\n")].count(b"\t") + 1)]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text.rstrip(b"\n")),
            pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=min(len(text) + 1, 2**31 - 1)),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=_ABSENT),
        )
    except pa.ArrowException as error:
        raise InputDataError(
            _what_is_wrong(text, len(names), path) or f"{path.name} is damaged: {error}".splitlines()[0]
        ) from None
    return np.column_stack([column.to_numpy() for column in table.columns])


def _what_is_wrong(text: bytes, num_columns: int, path: Path) -> str:
    """Return which volume of a table is not as many numbers as the first one; empty if that is not it."""
    for volume, line in enumerate(text.decode("utf-8", "replace").rstrip("\n").split("\n"), 1):
        cells = line.split("\t")
        if len(cells) != num_columns:
            return (
                f"{path.name}: volume {volume} has {len(cells)} cells, the first one {num_columns}. Was the file cut?"
            )
        for column, cell in enumerate(cells, 1):
            if cell in _ABSENT or _is_number(cell):
                continue
            hint = "; write n/a where nothing is known" if cell.strip().lower() in _UNKNOWN else hint_of(cell)
            one = "; separate cells by tabs" if num_columns == 1 else ""
            return (
                f"{path.name}: volume {volume}, column {column} has {cell[:60]!r}, which is not a number{hint or one}."
            )
    return ""


def _is_number(cell: str) -> bool:
    try:
        return "_" not in cell and float(cell) is not None
    except ValueError:
        return False


def on_the_clock(values_VR: np.ndarray, outliers: Path, path: Path) -> np.ndarray:
    """Return a censored series with NaN for removed volumes, and for those that any column of the table marks.

    XCP-D marks volumes of too much motion (`framewise_displacement`, `dvars`), short stretches between them (`censor_between`), all that it
    left out of denoising (`denoising`) and all that it left out in the end (`interpolation`). Which of these were taken out of the series
    follows from its length. `exact_300` and the like are random choices for matrices of equal length, and are no matter of the series.

    Raises
    ------
    InputDataError
        No column marks as many volumes as are missing from the series.
    """
    table = read_tsv(outliers)
    columns = {name: cells for name, cells in table.columns.items() if not _EXACT.fullmatch(name)}
    if not columns:
        raise InputDataError(f"{outliers.name} has no column that marks volumes (framewise_displacement, denoising).")
    marks = {name: [_mark(cell) for cell in cells] for name, cells in columns.items()}
    for name, numbers in marks.items():
        odd = next(
            (
                cell
                for cell, number in zip(columns[name], numbers, strict=True)
                if number not in {0, 1} and cell.strip() not in _ABSENT
            ),
            None,
        )
        if odd is not None:
            raise InputDataError(
                f"{outliers.name} has {odd} in the column {name}; expected 0 and 1, for volumes kept and left out."
            )
    kept = {name: np.array([number == 0 for number in numbers]) for name, numbers in marks.items()}
    kept_V = np.logical_and.reduce(list(kept.values()))
    if len(values_VR) == len(kept_V):
        return np.where(kept_V[:, None], values_VR, np.nan)
    in_order = [kept_V, *(kept[name] for prefix in _MASKS for name in kept if name.startswith(prefix)), *kept.values()]
    in_series_V = next((each_V for each_V in in_order if each_V.sum() == len(values_VR)), None)
    if in_series_V is None:
        listed = ", ".join(f"{name} {each_V.sum()}" for name, each_V in kept.items())
        raise InputDataError(
            f"{path.name} has {len(values_VR)} volumes; {outliers.name} keeps {kept_V.sum()} of {len(kept_V)} ({listed}). They do not "
            "belong together."
        )
    whole_VR = np.full((len(kept_V), values_VR.shape[1]), np.nan)
    whole_VR[in_series_V] = values_VR
    whole_VR[~kept_V] = np.nan
    return whole_VR


def _mark(cell: str) -> float | None:
    """Read 0 and 1, or False and True, as pandas writes marks."""
    return {"false": 0.0, "true": 1.0}.get(cell.strip().lower(), number_or_none(cell))


def mean_displacement(path: Path, num_volumes: int, series: Path) -> float | None:
    """Return the mean of the column `framewise_displacement` of a table, in millimetres; None if it has none.

    Raises
    ------
    InputDataError
        The table has not a row for each of the series' volumes: one of them was cut, or volumes were taken out of the series.
    """
    table = read_tsv(path)
    if table.num_rows != num_volumes:
        raise InputDataError(
            f"{series.name} has {num_volumes} volumes, {path.name} {table.num_rows} rows: one was cut, or volumes were taken out of the "
            "series. Give the uncensored series, or its outliers.tsv beside it."
        )
    name = next((name for name in table.columns if _DISPLACEMENT.fullmatch(name)), "")
    cells = [number_or_none(cell) for cell in table.columns.get(name, [])]
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
            require_own_data(stream, path)
            data = stream.get("dataset")
            if not isinstance(data, h5py.Dataset) or data.ndim != 2 or data.dtype.kind != "f":
                raise InputDataError(f"{path.name} has no table of numbers under the key `dataset`.")
            if data.shape[0] != num_regions:
                raise InputDataError(
                    f"{path.name}: `dataset` has {data.shape[0]} rows; the table of region names has {num_regions}."
                )
            if 2 * 8 * data.shape[0] * data.shape[1] > max_memory_gib * 2**30:
                raise InputDataError(
                    f"{path.name}: `dataset` has the shape {data.shape}, too much for ingest.max_memory_gib {max_memory_gib:g}."
                )
            return np.asarray(data[:], dtype=np.float64).T
    except (OSError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise InputDataError(f"{path.name} is not a readable HDF5 file: {str(error).splitlines()[0]}") from None
