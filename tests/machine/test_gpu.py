"""A GPU multiplies before it is used, and a share of one keeps to its share of the memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dtb.machine.gpu import FULL, bytes_of_share, fault_of, keep_to_share


def test_a_device_that_multiplies_has_no_fault():
    assert fault_of(torch.device("cpu")) == ""


def test_a_device_that_holds_no_numbers_cannot_multiply():
    assert "meta" in fault_of(torch.device("meta"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="its GPU multiplies")
def test_a_gpu_that_pytorch_cannot_use_is_told_of_in_one_line():
    found = fault_of(torch.device("cuda"))
    assert found
    assert "\n" not in found


class _Wrong(TorchDispatchMode):
    """A device whose products are wrong, or whose memory others have."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        return self.answer(made) if function is torch.ops.aten.mm.default else made


def test_a_product_that_is_wrong_is_a_fault():
    with _Wrong(lambda product: product + 1):
        assert "came out as" in fault_of(torch.device("cpu"))


def test_memory_that_others_have_is_no_fault_of_the_device():
    def refuse(_product):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB.")

    with _Wrong(refuse):
        assert fault_of(torch.device("cpu")) == FULL


def test_shares_of_a_gpu_leave_room_for_what_its_driver_takes_for_each_process():
    total = 80 * 2**30
    assert bytes_of_share(total, 1.0) == bytes_of_share(total, 2.0) == total
    assert 4 * bytes_of_share(total, 0.25) == total - 4 * 512 * 2**20
    assert bytes_of_share(2**20, 0.1) == 0


@pytest.mark.parametrize(("device", "limited"), [("cuda", 2), ("cuda:1", 1)])
def test_a_share_is_kept_of_the_gpu_that_this_process_uses(monkeypatch, device, limited):
    """With all of PyTorch but the driver's own calls."""
    limits = []
    properties = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda *limit: limits.append(limit), raising=False)
    allowed = keep_to_share(torch.device(device), 0.25)
    assert limits == [(allowed / properties.total_memory, limited)]


@pytest.mark.gpu
def test_a_share_of_a_gpu_cannot_take_all_of_its_memory():
    device = torch.device("cuda")
    allowed = keep_to_share(device, 0.1)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(2 * allowed, dtype=torch.uint8, device=device)
