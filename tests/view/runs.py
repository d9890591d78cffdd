"""A small run folder to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtb.config import Config
from dtb.stages import OutputFolder
from tests.fleet.world import REGIONS, make_world

NUM_EDGES = len(REGIONS) * (len(REGIONS) - 1) // 2


def make_run(folder: Path, num_people: int = 3, found_for: tuple[str, ...] = ("p0000", "p0001")) -> Path:
    """Write shards, a twin and the changes found for some of the people; region 3 of p0001 is absent."""
    _, trained = make_world(folder, num_people)
    trained.rename(folder / "train")
    claimed = OutputFolder.claim(folder / "intervene", "intervene", Config(), resume=False)
    (folder / "intervene" / "changes").mkdir()
    change_E = np.zeros(NUM_EDGES, np.float32)
    change_E[-1] = 0.02  # regions 8 and 9
    table = pa.table({"pseudonym": list(found_for), "change_E": [change_E] * len(found_for)})
    pq.write_table(table, folder / "intervene" / "changes" / "part-00000.parquet")
    claimed.finish({"target": "mean_rt in hammer"})
    return folder
