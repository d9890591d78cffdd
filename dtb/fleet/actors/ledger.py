"""The record of finished people in a stage's output: Parquet parts, each written whole.

A part holds one batch of people and has one file per table, all of the same name, `OUT/<table>/part-<name>.parquet`. Its
`status` file is written last: without it the part does not count, is removed when the stage goes on, and is done again. It says how many
rows each table of the part has, and the part does not count either where they are not there.
The name depends on the people in the batch alone, so that repeated work overwrites itself. Of many parts fewer are made (`Ledger.merge`):
the status of such a part names those that it replaces.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtb.errors import DamagedOutputError
from dtb.files import written_whole
from dtb.terminal import err

OK = "ok"
FAILED = "failed"
STATUS = "status"
_REPLACES, _ROWS = "replaces", "rows"
_MOST_BYTES = 64 << 20
STATUS_SCHEMA = pa.schema(
    [("pseudonym", pa.string()), ("status", pa.string()), ("reason", pa.string()), ("seconds", pa.float64())]
)


class Ledger:
    """The tables of one output folder.

    Parameters
    ----------
    folder : Path
        Folder of the tables, on a file system that all nodes of the cluster see.
    tables : sequence of str
        Their names, without ``status``.
    """

    def __init__(self, folder: Path, tables: Sequence[str]) -> None:
        self.folder = folder.resolve()
        self.tables = tuple(tables)

    def finished(self) -> set[str]:
        """Return the people who are finished, after removing what an interrupted run left unfinished.

        People who failed do not count as finished: their rows are removed, so that they are tried again.
        """
        finished: set[str] = set()
        found = {path: self._read(path) for path in self._parts(STATUS)}
        whole = {path for path, status in found.items() if self._is_whole(path.name, status)}
        replaced = {name for path in whole for name in _replaced_by(found[path])}
        lost: set[str] = set()
        for path, status in found.items():
            if path.name in replaced:  # a merge was cut off when all was in one part, but not yet only there
                path.unlink()
                continue
            if path not in whole:
                path.unlink()
                lost.update(status["pseudonym"].to_pylist())
                continue
            is_ok = pc.equal(status["status"], OK)
            kept = status.filter(is_ok)
            if kept.num_rows == 0:
                path.unlink()
                continue
            if kept.num_rows < status.num_rows:
                self._write(path, kept)
            finished.update(kept["pseudonym"].to_pylist())
        self.sweep()
        if lost := lost - finished:
            err.print(
                f"Results of {len(lost)} people who were done are not in {self.folder} any more (for example {min(lost)}): "
                "they are done again."
            )
        return finished

    def done(self) -> set[str]:
        """Return the people whose results are here, and change nothing."""
        found: set[str] = set()
        for path in self._parts(STATUS):
            status = self._read(path, ("pseudonym", "status"))
            if self._is_whole(path.name, status):
                found.update(status.filter(pc.equal(status["status"], OK))["pseudonym"].to_pylist())
        return found

    def _is_whole(self, name: str, status: pa.Table) -> bool:
        """Whether the tables of a part have as many rows as were written. Older versions did not say, and are believed."""
        return all(self._num_rows(self.folder / table / name) == rows for table, rows in _rows_of(status).items())

    def sweep(self) -> None:
        """Remove what a killed process left: temporary files, and tables of batches without a status."""
        names = {path.name for path in self._parts(STATUS)}
        for table in (*self.tables, STATUS):
            for path in (self.folder / table).glob(".*.partial"):
                path.unlink(missing_ok=True)
        for table in self.tables:
            for path in self._parts(table):
                if path.name not in names:
                    path.unlink()

    def commit(self, keys: Sequence[str], tables: Mapping[str, pa.Table], status: pa.Table) -> None:
        """Write one batch's tables, and its status last.

        Parameters
        ----------
        keys : sequence of str
            The people of the batch, failed or not; they name the part.
        tables : mapping of str to Table
            Rows of those who did not fail.
        status : Table
            One row a person, as in `STATUS_SCHEMA`.
        """
        name = part_name(keys)
        for table, rows in tables.items():
            if table not in self.tables:
                raise ValueError(f"{table!r} is not a table of this ledger: {', '.join(self.tables)}")
            if rows.num_rows:
                self._write(self.folder / table / name, rows)
        num_rows = {table: rows.num_rows for table, rows in tables.items() if rows.num_rows}
        self._write(self.folder / STATUS / name, status.replace_schema_metadata({_ROWS: json.dumps(num_rows)}))

    def merge(self, names: Sequence[str]) -> None:
        """Put parts together in fewer, of 64 MiB at most; what is cut off loses nobody, and `finished` clears up after it."""
        some: list[str] = []
        size = 0
        for name in names:
            paths = [self.folder / table / name for table in self.tables]
            own = sum(path.stat().st_size for path in paths if path.is_file())
            if some and size + own > _MOST_BYTES:
                self._merge(some)
                some, size = [], 0
            some.append(name)
            size += own
        self._merge(some)

    def _merge(self, names: Sequence[str]) -> None:
        if len(names) < 2:
            return
        whole = part_name(names)
        statuses = {name: self._read(self.folder / STATUS / name) for name in names}
        if not all(self._is_whole(name, status) for name, status in statuses.items()):
            return
        num_rows: dict[str, int] = {}
        for table in self.tables:
            paths = [path for name in names if (path := self.folder / table / name).is_file()]
            if paths:
                with written_whole(self.folder / table / whole) as temporary:
                    first = self._read(paths[0])
                    with pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
                        writer.write_table(first)
                        for path in paths[1:]:
                            writer.write_table(self._read(path).cast(first.schema))
                num_rows[table] = sum(map(self._num_rows, paths))
        status = pa.concat_tables(statuses.values())
        written = {_REPLACES: "\n".join(names), _ROWS: json.dumps(num_rows)}
        self._write(self.folder / STATUS / whole, status.replace_schema_metadata(written))
        for table in (STATUS, *self.tables):
            for name in names:
                (self.folder / table / name).unlink(missing_ok=True)

    def status_of(self, keys: Sequence[str]) -> list[dict[str, Any]] | None:
        """Return the status rows of a batch, or None if it is not committed."""
        path = self.folder / STATUS / part_name(keys)
        return self._read(path).to_pylist() if path.is_file() else None

    def read(self, table: str) -> pa.Table:
        """Read a whole table, its parts in the order of their names; no columns at all if there is no part."""
        parts = list(self.parts(table))
        return pa.concat_tables(parts) if parts else pa.table({})

    def parts(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read a table part by part, so that a large one need not be in memory at once; only some columns, if they are named."""
        for path in self._parts(table):
            yield self._read(path, columns)

    def _parts(self, table: str) -> Iterable[Path]:
        return sorted((self.folder / table).glob("part-*.parquet"))

    @staticmethod
    def _write(path: Path, rows: pa.Table) -> None:
        with written_whole(path) as temporary:
            pq.write_table(rows, temporary, compression="zstd")

    @staticmethod
    def _read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
        with _opened(path) as file:
            return file.read(columns)

    @staticmethod
    def _num_rows(path: Path) -> int:
        if not path.is_file():
            return 0
        with _opened(path) as file:
            return int(file.metadata.num_rows)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        # Not `read_table`, which builds a data set around the file at ten times the cost.
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DamagedOutputError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}). Remove it and run the stage again "
            "with --resume; only its people are done anew."
        ) from None


def _replaced_by(status: pa.Table) -> list[str]:
    """Return the names of the parts that a part was made of."""
    names = (status.schema.metadata or {}).get(_REPLACES.encode(), b"")
    return names.decode().splitlines()


def _rows_of(status: pa.Table) -> dict[str, int]:
    """Return how many rows each table of a part has; empty where an older version wrote it."""
    rows: dict[str, int] = json.loads((status.schema.metadata or {}).get(_ROWS.encode(), b"{}"))
    return rows


def column_of(values: np.ndarray) -> pa.Array:
    """Make a column; text is dictionary-encoded, because names repeat."""
    if values.dtype == object:
        return pa.array(values, type=pa.string()).dictionary_encode()
    return pa.array(values)


def status_table(rows: Iterable[tuple[str, str, str, float]]) -> pa.Table:
    """Make a status table of (pseudonym, status, reason, seconds)."""
    named = [dict(zip(STATUS_SCHEMA.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(named, schema=STATUS_SCHEMA)


def part_name(keys: Sequence[str]) -> str:
    """Return the name of the part of a batch, by its people.

    Examples
    --------
    >>> part_name(["p1", "p2"])
    'part-b98d848751a3c155.parquet'
    """
    return f"part-{hashlib.sha256(chr(10).join(keys).encode()).hexdigest()[:16]}.parquet"
