"""Loading DeepSpeed's files without running what they hold: torch's restricted unpickler, with the few classes that DeepSpeed writes.

As a module that is run, it is DeepSpeed's converter for another number of workers, restricted likewise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

_VARIABLE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""DeepSpeed asks torch to load whatever there is; this variable of torch's overrules it."""


@contextlib.contextmanager
def weights_only() -> Iterator[None]:
    """Allow `torch.load` tensors, plain values and DeepSpeed's own classes within the block, and nothing else."""
    import torch

    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        with torch.serialization.safe_globals(_written_by_deepspeed()):
            yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def _written_by_deepspeed() -> list[Any]:
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [LossScaler, ZeroStageEnum, fragment_address]


def _convert() -> None:
    from deepspeed.checkpoint.ds_to_universal import main, parse_arguments

    with weights_only():
        main(parse_arguments())


if __name__ == "__main__":
    _convert()
