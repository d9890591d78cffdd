"""A worker that asks for its device, apart from the others because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch

from dtb.fleet.actors.actor import Work
from dtb.fleet.twins import device


class Placed:
    """Says whether it computes on a GPU."""

    def __init__(self, _shared: object) -> None: ...

    def work(self, keys: Sequence[str]) -> Work:
        kinds = [device().type] * len(keys)
        return Work({"values": pa.table({"pseudonym": list(keys), "value": kinds})})


class Threaded:
    """Says how many threads PyTorch takes, where the environment would have it take four."""

    def __init__(self, _shared: object) -> None:
        torch.set_num_threads(4)

    def work(self, keys: Sequence[str]) -> Work:
        return Work({"values": pa.table({"pseudonym": list(keys), "value": [torch.get_num_threads()] * len(keys)})})
