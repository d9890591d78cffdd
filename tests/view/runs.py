"""A small run folder to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtb.config import Config
from dtb.people.parcellation import save_places
from dtb.shards.read import open_cohort
from dtb.shards.split import Split
from dtb.stages import OutputFolder
from tests.fleet.world import REGIONS, make_world

NUM_EDGES = len(REGIONS) * (len(REGIONS) - 1) // 2


PLACES = np.array(
    [
        [side * x, y, z]
        for x, y, z in ((50, -20, 10), (30, 40, 20), (20, -85, 5), (10, -50, 60), (22, -5, -18))
        for side in (-1, 1)
    ],
    float,
)
"""Where the regions lie: millimetres in MNI space."""


def make_run(
    folder: Path, num_people: int = 3, found_for: tuple[str, ...] = ("p0000", "p0001"), **twin: object
) -> Path:
    """Write shards, a twin and the changes found for some of the people; region 3 of p0001 is absent. The twin has not seen p0000."""
    shards, trained = make_world(folder, num_people, **twin)  # type: ignore[arg-type]
    trained.rename(folder / "train")
    split = Split.load(folder / "train" / "split.json")
    seen = tuple(name for name in split.train if name != "p0000")
    Split("subjects", seen, seen, ("p0000",)).save(
        folder / "train" / "split.json", open_cohort(shards).manifest.cohort_hash
    )
    save_places(shards, REGIONS, PLACES)
    claimed = OutputFolder.claim(folder / "intervene", "intervene", Config(), resume=False)
    (folder / "intervene" / "changes").mkdir()
    change_E = np.zeros(NUM_EDGES, np.float32)
    change_E[-1] = 0.02  # regions 8 and 9
    table = pa.table({"pseudonym": list(found_for), "change_E": [change_E] * len(found_for)})
    pq.write_table(table, folder / "intervene" / "changes" / "part-00000.parquet")
    claimed.finish({"target": "mean_rt in hammer"})
    return folder
