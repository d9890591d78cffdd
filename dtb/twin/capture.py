"""On a GPU: a loop of many small operations recorded once as a CUDA graph, and replayed without the cost of launching each.

A function is recorded when tensors of the same shapes come a second time: recording costs about as much as running. Elsewhere than
on a GPU it is just called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from dtb.twin.precision import ieee

Tensors = Sequence[Tensor | None]
MOST_GRAPHS = 8
"""Each graph keeps its own memory for what goes in and comes out; the one used longest ago makes room."""


class _Recording:
    """One function on tensors of certain shapes."""

    def __init__(self, function: Callable[[Any, Tensors], Tensors], static: Hashable, given: Tensors) -> None:
        self.inputs = [
            None if tensor is None else tensor.clone(memory_format=torch.contiguous_format) for tensor in given
        ]
        # A first run outside the graph, on the stream that will record: libraries allocate their workspaces in it.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(static, self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
            self.outputs = list(function(static, self.inputs))

    def __call__(self, given: Tensors) -> Tensors:
        for own, tensor in zip(self.inputs, given, strict=True):
            if own is not None and tensor is not None:
                own.copy_(tensor)
        self.graph.replay()
        return [None if tensor is None else tensor.clone() for tensor in self.outputs]


_recordings: OrderedDict[Hashable, _Recording | None] = OrderedDict()


def replayed(function: Callable[[Any, Tensors], Tensors], static: Hashable, tensors: Tensors) -> Tensors:
    """Call ``function(static, tensors)``, on a GPU by replaying a recording of it.

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
        if first.device.type != "cuda" or torch.cuda.is_current_stream_capturing():
            return function(static, tensors)
        with torch.cuda.device(first.device):
            shapes = tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors)
            key = (function, static, first.device, shapes)
            seen = key in _recordings
            if seen and _recordings[key] is None:
                _recordings[key] = _Recording(function, static, tensors)
            recording = _recordings.setdefault(key, None)
            _recordings.move_to_end(key)
            while len(_recordings) > MOST_GRAPHS:
                _recordings.popitem(last=False)
            return function(static, tensors) if recording is None else recording(tensors)
