"""A separate process in which scipy reads one MATLAB file, because its compiled reader may crash on damaged files.

It is run by its path, imports nothing of ours, and speaks with `dtb.cohort.connectomes.matrix_files`: it prints what the file holds, one
line of JSON; it reads the names of a matrix and of the variable with its labels, another line; and it writes both as `numpy.savez` does.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np


def main(path: str) -> None:
    """Print the variables of one file, and the content of the one that standard input names."""
    from scipy.io import loadmat, whosmat  # here, because whoever starts this process imports this module

    print(json.dumps([(name, [int(size) for size in shape], kind) for name, shape, kind in whosmat(path)]), flush=True)
    key, labels = json.loads(sys.stdin.readline())
    variables = loadmat(path, variable_names=[key, *([labels] if labels else [])])
    matrix = variables[key]
    matrix = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)  # of MATLAB's, some are sparse
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"{key!r} holds no real numbers")
    arrays = {"matrix": matrix}
    if labels:
        arrays["names"] = np.array(texts(variables[labels]), dtype=np.str_)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    sys.stdout.buffer.write(content.getvalue())


def texts(array: Any) -> tuple[str, ...]:
    """Return names from a cell array, an array of characters, or DSI Studio's bytes with a line for each name."""
    array = np.asarray(array)
    if array.dtype.kind in "ui":
        text = bytes(int(value) % 256 for value in array.ravel()).decode("utf-8", "replace")
        return tuple(line.strip() for line in text.split("\n") if line.strip())
    return tuple("".join(str(part) for part in np.asarray(cell).ravel()).strip() for cell in array.ravel())


if __name__ == "__main__":
    main(sys.argv[1])
