"""Files that hold a matrix: tables (`relmat.tsv`, with or without names) and MATLAB's (`.mat`, of any version). None can run code.

Shape letters: `R` region.
"""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dtb.cohort.connectomes import matlab_child
from dtb.cohort.hdf5 import require_own_data
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.tables import hint_of

_NOTHING = frozenset({"", "n/a", "nan", "NaN", "NA"})
_BYTES_A_CELL = 64  # a cell of text and its number
_LONGEST_NAME = 4096
_HDF5 = b"\x89HDF\r\n\x1a\n"
# What HDF5's reader raises on bytes that are no MATLAB file, and ours on what scipy made of them.
_DAMAGES = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    *(RuntimeError, SystemError, MemoryError, zipfile.BadZipFile),
)

Names = tuple[str, ...] | None


def read_relmat(path: Path, config: IngestConfig) -> tuple[np.ndarray, Names]:
    """Read a table as (R, R), and the names of its regions if it has any.

    Names stand in a header, and may stand before each row too (XCP-D); a table without either (BEP017's `relmat.dense.tsv`) is as wide as
    it is high.

    Raises
    ------
    InputDataError
        A cell is no number, a row is too short, names of rows and columns differ, or the file asks for too much memory.
    """
    try:
        if path.stat().st_size * _BYTES_A_CELL / 2 > config.max_memory_gib * 2**30:
            raise InputDataError(f"{path.name} is too large for ingest.max_memory_gib.")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path.name} cannot be read ({error}).") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputDataError(f"{path.name} is empty.")
    separator = _separator(lines[0], path)
    rows = [line.strip().split() if separator is None else line.split(separator) for line in lines]
    names: Names = None
    first = 1
    if (
        len(rows) == len(rows[0])
        and not rows[0][0].strip()
        and _counts(rows[0][1:])
        and _counts([r[0] for r in rows[1:]])
    ):
        rows, first = [row[1:] for row in rows[1:]], 2  # the numbers that pandas gives to rows and columns
    elif len(rows) == len(rows[0]) + 1 and _counts(rows[0]):
        rows, first = rows[1:], 2
    elif any(_number(cell) is None for cell in rows[0]):
        header, rows, first = rows[0], rows[1:], 2
        if rows and len(rows[0]) == len(rows) + 1:
            # A name before each row; the corner has a name of its own, or none at all.
            header = header[len(header) - len(rows) :] if len(header) in {len(rows), len(rows) + 1} else header
            labels = [row[0].strip() for row in rows]
            if labels != [cell.strip() for cell in header]:
                raise InputDataError(f"{path.name}: the names of its rows are not those of its columns.")
            rows = [row[1:] for row in rows]
        names = tuple(cell.strip() for cell in header)
    for place, row in enumerate(
        rows
    ):  # before anything is allocated: many short rows would ask for their number squared
        if len(row) != len(rows):
            raise InputDataError(
                f"{path.name}: line {place + first} has {len(row)} values; expected {len(rows)}, for a connectome is square."
            )
    matrix = np.full((len(rows), len(rows)), np.nan)
    for place, row in enumerate(rows):
        for column, cell in enumerate(row):
            number = _number(cell)
            if number is None:
                raise InputDataError(
                    f"{path.name}: line {place + first} has {cell.strip()!r}, which is not a number{hint_of(cell)}."
                )
            matrix[place, column] = number
    return matrix, names


def _separator(line: str, path: Path) -> str | None:
    """Return what stands between the cells of a table: a tab or, in files that are named as other tables, what their first line has; None
    for spaces."""
    if path.suffix == ".tsv" or "\t" in line:
        return "\t"
    return next((mark for mark in (";", ",") if mark in line), None)


def read_npy(path: Path, config: IngestConfig) -> tuple[np.ndarray, Names]:
    """Read an array of NumPy, which names no regions.

    Raises
    ------
    InputDataError
        The file is damaged, holds no real numbers, or asks for too much memory.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputDataError(f"{path.name} is not a readable array of NumPy: {str(error).splitlines()[0]}") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise InputDataError(f"{path.name} holds no real numbers.")
    if 8 * found.size > config.max_memory_gib * 2**30:
        raise InputDataError(f"{path.name} has the shape {found.shape}, too much for ingest.max_memory_gib.")
    return np.array(found), None


def _counts(cells: list[str]) -> bool:
    """Return whether cells are 0, 1, 2 and so on, or 1, 2, 3: numbers of regions and not values."""
    return [cell.strip() for cell in cells] in ([str(place + start) for place in range(len(cells))] for start in (0, 1))


def _number(cell: str) -> float | None:
    cell = cell.strip()
    if cell in _NOTHING:
        return float("nan")
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def read_mat(path: Path, config: IngestConfig) -> tuple[np.ndarray, Names]:
    """Read a variable of a MATLAB file as (R, R), and the names of its regions if the file has them.

    Names are looked for where QSIRecon (`atlas_<atlas>_region_labels`), DSI Studio (`name`) and CONN (`names`) write them. CONN's `Z` has
    Fisher z, a row for each source and a column for each target, of which the sources come first; it is cut to them.

    Raises
    ------
    InputDataError
        The file is damaged, has several matrices and `ingest.matrix_key` does not say which, asks for too much memory, or has Fisher z
        where `ingest.matrix_transform` would make it of correlations.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(520)
        is_hdf5 = start[:8] == _HDF5 or start[512:520] == _HDF5
        matrix, names, is_conn = _read_hdf5(path, config) if is_hdf5 else _read_older(path, config)
        if is_conn and config.matrix_transform == "fisher_z":
            raise InputDataError(
                f"{path.name} is CONN's, whose Z are Fisher z already. Set `ingest.matrix_transform: none`."
            )
        return matrix[:, : len(matrix)] if is_conn and matrix.ndim == 2 else matrix, names
    except InputDataError:
        raise
    except _DAMAGES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputDataError(f"{path.name} is not a readable MATLAB file: {reason}") from None


def _read_older(path: Path, config: IngestConfig) -> tuple[np.ndarray, Names, bool]:
    """Return the file's content, read by another process: see `dtb.cohort.connectomes.matlab_child`."""
    command = [sys.executable, "-I", matlab_child.__file__, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            listing = child.stdout.readline()
            if not listing:
                raise OSError(_last_words(child))
            listed = {name: (tuple(shape), kind) for name, shape, kind in json.loads(listing)}
            numeric = {
                name: shape
                for name, (shape, kind) in listed.items()
                if kind not in {"char", "cell", "struct", "object", "opaque", "function", "unknown"}
            }
            key = _key(numeric, listed, path, config)
            labels = _labels_key(key, listed)
            _require_room({name: listed[name][0] for name in (key, labels) if name is not None}, key, path, config)
            child.stdin.write(json.dumps([key, labels]).encode() + b"\n")
            child.stdin.flush()
            content = child.stdout.read()
            if child.wait() != 0:
                raise OSError(_last_words(child))
        finally:
            child.kill()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        names = tuple(arrays["names"].tolist()) if "names" in arrays else None
        return arrays["matrix"], names, _is_conn(key, listed)


def _last_words(child: subprocess.Popen[bytes]) -> str:
    """Return why a process ended: the last line of its traceback, or that it crashed."""
    assert child.stderr is not None
    lines = child.stderr.read().decode("utf-8", "replace").splitlines()
    return lines[-1] if child.wait() > 0 and lines else "it crashed the process that read it"


def _read_hdf5(path: Path, config: IngestConfig) -> tuple[np.ndarray, Names, bool]:
    import h5py

    with h5py.File(path, "r") as stream:
        require_own_data(stream, path)
        data = {name: item for name, item in stream.items() if isinstance(item, h5py.Dataset)}
        numeric = {name: item.shape for name, item in data.items() if item.dtype.kind in "fiub"}
        # MATLAB's arrays lie the other way round in HDF5.
        key = _key({name: shape[::-1] for name, shape in numeric.items()}, data, path, config)
        labels = _labels_key(key, data)
        _require_room({name: data[name].shape for name in (key, labels) if name is not None}, key, path, config)
        names: Names = None
        if labels is not None:
            cells = data[labels][()]
            if cells.dtype == h5py.ref_dtype:
                longest = max((stream[cell].size for cell in cells.ravel()), default=0)
                if longest > _LONGEST_NAME:
                    raise InputDataError(
                        f"{path.name}: {labels!r} has a name of {longest} letters; expected {_LONGEST_NAME} at most."
                    )
                names = tuple("".join(map(chr, stream[cell][()].ravel())) for cell in cells.ravel())
            else:
                names = matlab_child.texts(cells)
        return data[key][()].T, names, _is_conn(key, data)


def _key(numeric: Mapping[str, tuple[int, ...]], variables: Mapping[str, Any], path: Path, config: IngestConfig) -> str:
    if config.matrix_key is None and "Z" in numeric and _is_conn("Z", variables):
        return "Z"
    square = [name for name, shape in numeric.items() if len(shape) == 2 and shape[0] == shape[1] and shape[0] > 1]
    if config.matrix_key is not None:
        if config.matrix_key not in numeric:
            raise InputDataError(
                f"{path.name} has no matrix {config.matrix_key!r} (ingest.matrix_key); it has {_listed(square)}."
            )
        return config.matrix_key
    if len(square) != 1:
        raise InputDataError(
            f"{path.name} has {len(square)} square matrices ({_listed(square)}); say which with ingest.matrix_key."
            if square
            else f"{path.name} has no square matrix of numbers."
        )
    return square[0]


def _listed(names: list[str]) -> str:
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) or "none"


def _labels_key(key: str, variables: Mapping[str, Any]) -> str | None:
    """Find the variable that names the regions of the matrix `key`."""
    ending = "_region_labels"
    fitting = [name for name in variables if name.endswith(ending) and key.startswith(name.removesuffix(ending))]
    if fitting:
        return max(fitting, key=len)
    if _is_conn(key, variables):
        return "names"
    return "name" if key == "connectivity" and "name" in variables else None


def _is_conn(key: str, variables: Mapping[str, Any]) -> bool:
    """Return whether a matrix is that of CONN's `resultsROI_*.mat`, which names sources (`names`) and targets (`names2`)."""
    return key == "Z" and {"names", "names2"} <= set(variables)


def _require_room(shapes: Mapping[str, tuple[int, ...]], key: str, path: Path, config: IngestConfig) -> None:
    """Refuse variables that need too much memory, and names that are more than the regions of the matrix `key` can have."""
    letters = _LONGEST_NAME * max(shapes[key], default=0)
    for name, shape in shapes.items():
        if name != key and math.prod(shape) > letters:
            raise InputDataError(
                f"{path.name}: {name!r} has the shape {shape}, too much for the names of {shapes[key]}."
            )
        if 8 * np.prod([float(size) for size in shape]) > config.max_memory_gib * 2**30:
            raise InputDataError(f"{path.name}: {name!r} has the shape {shape}, too much for ingest.max_memory_gib.")
