"""On a GPU: a loop of many small operations recorded once as a CUDA graph, and replayed without the cost of launching each.

A function is recorded when tensors of the same shapes come a second time: recording costs about as much as running. Elsewhere than
on a GPU it is just called. So that batches of real cohorts, which differ in their longest person's number of segments, come
in few shapes, `padded_count` says to how many segments they are padded.

Recordings keep memory of their own for what goes in, what comes out and what is between. All together keep a share of the device's
free memory; the one used longest ago makes room, and is not made again at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from dtb.twin.precision import ieee

Tensors = Sequence[Tensor | None]
SHARE = 0.25
"""How much of the memory that would be free without recordings they may keep."""
PATIENCE = 32
"""Shapes whose recording had to make room come so often before they are recorded again: more shapes than fit would else record always."""
MOST_SHAPES = 4096
"""Shapes that are remembered without a recording."""


class _Recording:
    """One function on tensors of certain shapes."""

    def __init__(
        self, function: Callable[[Any, Tensors], Tensors], static: Hashable, given: Tensors, device: torch.device
    ) -> None:
        # Under `inference_mode` its tensors could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad():
            self.inputs = [
                None if tensor is None else tensor.clone(memory_format=torch.contiguous_format) for tensor in given
            ]
            self.outputs, self.replay, captured_bytes = _captured(lambda: function(static, self.inputs), device)
        self.bytes = captured_bytes + sum(tensor.nbytes for tensor in self.inputs if tensor is not None)

    def __call__(self, given: Tensors) -> Tensors:
        for own, tensor in zip(self.inputs, given, strict=True):
            if own is not None and tensor is not None:
                own.copy_(tensor)
        self.replay()
        return [None if tensor is None else tensor.clone() for tensor in self.outputs]


def _captured(run: Callable[[], Tensors], device: torch.device) -> tuple[Tensors, Callable[[], None], int]:
    """Record a function as a CUDA graph; give its results, how to replay it, and the bytes that it keeps."""
    with torch.cuda.device(device):
        # A first run outside the graph, on the stream that will record: libraries allocate their workspaces in it.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            # A graph's memory is a pool of its own, which only grows while it records.
            before = torch.cuda.memory_reserved()
            outputs = list(run())
            kept_bytes = torch.cuda.memory_reserved() - before
    return outputs, graph.replay, kept_bytes


Key = tuple[Callable[[Any, Tensors], Tensors], Hashable, torch.device, Hashable]
_recordings: OrderedDict[Key, _Recording] = OrderedDict()
_sights: OrderedDict[Key, int] = OrderedDict()
"""How often shapes without a recording came."""


def is_recorded(tensor: Tensor) -> bool:
    """Whether functions of this tensor are recorded: on a GPU, unless a program around is recording already."""
    return tensor.device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


def padded_count(count: int) -> int:
    """Return the next larger power of two, or the next halfway between two of them.

    Examples
    --------
    >>> [padded_count(count) for count in (1, 2, 3, 4, 5, 7, 9, 13)]
    [1, 2, 3, 4, 6, 8, 12, 16]
    """
    power = 1 << max(count - 1, 0).bit_length()
    return 3 * power // 4 if power >= 4 and count <= 3 * power // 4 else power


def replayed(function: Callable[[Any, Tensors], Tensors], static: Hashable, tensors: Tensors) -> Tensors:
    """Call ``function(static, tensors)`` in IEEE arithmetic, on a GPU by replaying a recording of it.

    Parameters
    ----------
    function : callable
        Must do the same operations on tensors of the same shapes, and read no number of theirs.
    static : hashable
        What it needs beside tensors.
    tensors : sequence of Tensor or None

    Returns
    -------
    sequence of Tensor or None
    """
    first = next(tensor for tensor in tensors if tensor is not None)
    with ieee(first.device.type):
        if not is_recorded(first):
            return function(static, tensors)
        shapes = tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors)
        key = (function, static, first.device, shapes)
        recording = _recordings.get(key)
        if recording is not None:
            _recordings.move_to_end(key)
            return recording(tensors)
        _sights[key] = _sights.pop(key, 0) + 1
        if _sights[key] < 2:
            while len(_sights) > MOST_SHAPES:
                _sights.popitem(last=False)
            return function(static, tensors)
        del _sights[key]
        recording = _recordings[key] = _Recording(function, static, tensors, first.device)
        _make_room(first.device)
        return recording(tensors)


def _make_room(device: torch.device) -> None:
    """Drop the recordings used longest ago until the others keep no more than their share."""
    kept = {key: recording.bytes for key, recording in _recordings.items() if key[2] == device}
    total = sum(kept.values())
    room = SHARE * (_free_bytes(device) + total)
    for key, size in kept.items():
        if total <= room:
            return
        del _recordings[key]
        _sights[key] = -PATIENCE
        total -= size


def _free_bytes(device: torch.device) -> int:
    """Return the free memory of a device; right after a recording torch holds none back, for it begins by giving that up."""
    return torch.cuda.mem_get_info(device)[0]
