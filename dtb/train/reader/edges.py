"""Training people's edges, as rows that come in one by one and blocks of columns that go out standardised.

Nothing larger than these rows in float32 is ever made of all people and all edges; rows beyond what memory should hold lie in a
temporary file.

Shape letters: `S` training person, `E` connectome edge, `B` edge of a block.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np

IN_MEMORY_BYTES = 2 << 30
_BLOCK_BYTES = 64 << 20
_MOST_EDGES = 8192


class EdgeRows:
    """Edges of some people.

    Parameters
    ----------
    num_edges : int
    in_memory_bytes : int
        Rows beyond this lie in a temporary file.

    Examples
    --------
    >>> rows = EdgeRows(3)
    >>> rows.add(np.array([1.0, 2.0, np.nan]))
    >>> rows.standardise_by(np.zeros(3), np.array([1.0, 2.0, 1.0]))
    >>> [(block.start, block.stop, values_SB.tolist()) for block, values_SB in rows.blocks()]
    [(0, 3, [[1.0, 1.0, 0.0]])]
    """

    def __init__(self, num_edges: int, in_memory_bytes: int = IN_MEMORY_BYTES) -> None:
        self.num_edges = num_edges
        self._most = max(1, in_memory_bytes // max(4 * num_edges, 1))
        self._rows: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._num_in_file = 0
        self._mean_E, self._scale_E = np.zeros(num_edges, np.float32), np.ones(num_edges, np.float32)

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self._rows) + self._num_in_file

    def add(self, edges_E: np.ndarray) -> None:
        """Add a person; NaN where an edge is absent."""
        row_E = np.array(edges_E, np.float32)
        if len(self._rows) < self._most:
            self._rows.append(row_E)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed with this object
        self._file.write(row_E.tobytes())
        self._num_in_file += 1

    def standardise_by(self, mean_E: np.ndarray, scale_E: np.ndarray) -> None:
        """Set the means and scales of the blocks."""
        self._mean_E, self._scale_E = mean_E.astype(np.float32), scale_E.astype(np.float32)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Return blocks of edges with everybody's (S, B) float32 standardised values, 0 where absent."""
        size = int(np.clip(_BLOCK_BYTES // (4 * max(len(self), 1)), 64, _MOST_EDGES))
        spilt_SE = None
        if self._file is not None:
            self._file.flush()
            spilt_SE = np.memmap(self._file, np.float32, "r", shape=(self._num_in_file, self.num_edges))
        for begin in range(0, self.num_edges, size):
            block = slice(begin, min(begin + size, self.num_edges))
            values_SB = np.empty((len(self), block.stop - begin), np.float32)
            for place, row_E in enumerate(self._rows):
                values_SB[place] = row_E[block]
            if spilt_SE is not None:
                values_SB[len(self._rows) :] = spilt_SE[:, block]
            values_SB -= self._mean_E[block]
            values_SB /= self._scale_E[block]
            yield block, np.nan_to_num(values_SB, copy=False)
