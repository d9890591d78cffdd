"""A second device that every machine has: tensors "on" it hold their values in main memory, say another device, and mix with no other.

What breaks on the first GPU that runs a program is, as a rule, a tensor that was made or left on the processor. Under `SecondDevice`
such tensors are found without a GPU: the device says that it is `meta`, whose name every part of torch knows, but computes. Unlike
torch's own fake tensors it has numbers, so that what depends on data (`bool(...)`, `nonzero`, draws) runs as it will there.

As with CUDA, an operation takes tensors of one device, apart from numbers (tensors without axes), indices, and copies from one to the
other; a generator of random numbers belongs to the device that is drawn on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

DEVICE = torch.device("meta")
_OF_LISTS = (torch.tensor, torch.as_tensor, torch.asarray)
_AUTOCAST = torch.autocast
_ASKED = (DEVICE.type, "cuda")
_COPIES = ("aten::copy_", "aten::_to_copy", "aten::_copy_from", "aten::set_")
_WITH_INDICES = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")


class WrongDeviceError(RuntimeError):
    """An operation was given tensors of both devices."""


_WAITS = (
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::bincount",
    "aten::masked_select",
)
waits: list[str] = []
"""What the processor would have waited for a GPU to answer, since it was last cleared: each operation's name."""


class There(torch.Tensor):
    """A tensor on the second device."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> There:
        """Put values there."""
        there = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        there.values = values
        return there  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Say what it holds."""
        return f"There({self.values!r})"

    def tolist(self) -> Any:
        """Return the values as lists, which waits for a GPU and is allowed."""
        waits.append("tolist")
        return self.values.tolist()

    def numpy(self, **_: Any) -> Any:
        """Refuse, as CUDA does."""
        raise WrongDeviceError("a tensor of the second device has no NumPy array; bring it back first, with .cpu()")

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Refuse, as CUDA does."""
        return self.numpy()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute in main memory."""
        del types
        return _computed(func, args, kwargs or {})


def _asks_for_it(value: Any) -> bool:
    return isinstance(value, str | torch.device) and torch.device(value).type in _ASKED


def _require_one_device(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    name = func._schema.name
    if name in _COPIES:
        return
    if name in _WITH_INDICES:
        args = (args[0], *args[2:])
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    here = [tensor for tensor in tensors if not isinstance(tensor, There) and tensor.ndim]
    if there and here:
        raise WrongDeviceError(
            f"{name} was given tensors of both devices: there {[tuple(one.shape) for one in there]}, "
            f"on the processor {[tuple(one.shape) for one in here]}"
        )


def _is_wait(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    if name in _WITH_INDICES:  # how many a mask chooses has to be known
        return any(isinstance(index, There) and index.dtype == torch.bool for index in args[1])
    if name in _COPIES:
        return torch.device(kwargs.get("device") or DEVICE).type == "cpu"
    return name in _WAITS


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    _require_one_device(func, args, kwargs)
    wanted = kwargs.get("device")
    has_any = any(isinstance(value, There) for value in tree_flatten((args, kwargs))[0])
    is_there = _asks_for_it(wanted) if wanted is not None else has_any
    generator = kwargs.get("generator")
    if is_there and generator is not None and generator.device.type != DEVICE.type:
        raise WrongDeviceError(f"{func._schema.name} draws on the second device with a generator of the processor")
    if has_any and _is_wait(func._schema.name, args, kwargs):
        waits.append(func._schema.name)
    inner_args, inner_kwargs = tree_map_only(There, lambda tensor: tensor.values, (args, kwargs))
    if wanted is not None:
        inner_kwargs["device"] = torch.device("cpu")
    found = func(*inner_args, **inner_kwargs)
    if func._schema.name == "aten::_local_scalar_dense" or not is_there:
        return found
    found = tree_map(lambda value: There(value) if type(value) is torch.Tensor else value, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if has_any else found


class _Made(TorchDispatchMode):
    """Makes tensors there that are asked for there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        with self:  # in inference mode, what is made of other operations comes here whole
            found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        given = tree_flatten((args, kwargs))[0]
        if any(isinstance(value, There) for value in given) or _asks_for_it(kwargs.get("device")):
            return _computed(func, args, kwargs)
        return func(*args, **kwargs)


class _Named(TorchFunctionMode):
    """Hands the second device to whoever asks for CUDA."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        args, kwargs = tree_map(
            lambda value: DEVICE if isinstance(value, torch.device) and value.type == "cuda" else value,
            (args, kwargs or {}),
        )
        if func is torch.Tensor.__getitem__ and isinstance(args[0], There):
            args = (args[0], _with_tensors(args[1]))
        if func in _OF_LISTS and _asks_for_it(kwargs.get("device")):  # torch makes these without asking a mode
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _with_tensors(index: Any) -> Any:
    """Return an index with tensors in place of lists: torch makes those itself, without values where the device says that it is `meta`."""
    if isinstance(index, list):
        return torch.tensor(index).to(DEVICE)
    return tuple(map(_with_tensors, index)) if isinstance(index, tuple) else index


def _autocast(device_type: str, **settings: Any) -> Any:
    """Make a context of automatic precision, which torch has for processors and GPUs only."""
    return _AUTOCAST("cpu" if device_type == DEVICE.type else device_type, **settings)


@contextlib.contextmanager
def second_device() -> Iterator[torch.device]:
    """Have a second device within the block.

    Yields
    ------
    torch.device
    """
    with _Named(), _Made(), mock.patch.object(torch, "autocast", _autocast):
        yield DEVICE
