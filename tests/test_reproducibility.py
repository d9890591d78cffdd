"""Digests by which two runs are compared, to the last bit, in `test_api_whole.py`.

Compared is all that `dtb run` writes but its pages: cohort, shards, training, evaluation, simulation and search; trial, pool and plan are not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from tests.reproducibility import digests


def test_a_digest_sees_the_last_bit_and_not_the_time(tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()

    def write(value: float, seconds: float) -> dict[str, str]:
        table = pa.table({"pseudonym": ["a"], "value": [value], "seconds": [seconds]})
        pq.write_table(table, tmp_path / "status" / "part.parquet")
        pq.write_table(table, tmp_path / "bold.parquet")
        save_file({"value": np.array([value])}, tmp_path / "twin.safetensors")
        (tmp_path / "metrics.jsonl").write_text(f'{{"loss": {value!r}, "seconds": {seconds!r}}}\n')
        return digests(tmp_path)

    before = write(0.1, 1.0)
    later = write(0.1, 2.0)
    assert {path for path in before if before[path] != later[path]} == {"bold.parquet"}  # there, seconds are a result
    other = write(float(np.nextafter(0.1, 1.0)), 1.0)
    assert {path for path in before if before[path] != other[path]} == set(before)
