"""A worker that asks for its device, apart from the others because it imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch

from dtb.fleet.actor import Work
from dtb.fleet.twins import device


class Placed:
    """Says whether it would compute on a GPU, on a machine that has one."""

    def __init__(self, _shared: object) -> None: ...

    def work(self, keys: Sequence[str]) -> Work:
        torch.cuda.is_available = lambda: True
        kinds = [device().type] * len(keys)
        return Work({"values": pa.table({"pseudonym": list(keys), "value": kinds})})
