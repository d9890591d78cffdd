"""The second device: it computes what the processor computes, and finds tensors that were left there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.second_device import There, WrongDeviceError, second_device, waits


def test_it_computes_and_differentiates_as_the_processor_does():
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    rows = torch.randn(5, 3)
    layer(rows).square().sum().backward()
    wanted = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    with second_device() as device:
        there = layer.to(device)
        loss = there(rows.to(device)).square().sum()
        assert bool(loss > 0)
        loss.backward()
        optimizer = torch.optim.Adam(there.parameters(), fused=False)
        optimizer.step()
        for parameter, gradient in zip(there.parameters(), wanted, strict=True):
            assert parameter.device == device
            torch.testing.assert_close(parameter.grad.cpu(), gradient)


def test_views_that_are_written_to_change_what_they_are_views_of():
    with second_device() as device:
        whole = torch.zeros(3, 2, device=device)
        for row in whole.unbind(0):
            row.add_(1.0)
        torch.tanh(whole, out=whole)
        assert whole.tolist() == torch.tanh(torch.ones(3, 2)).tolist()


def test_numbers_are_brought_there_in_inference_mode_too():
    with second_device() as device, torch.inference_mode():
        there = torch.ones(2, 3, device=device)
        brought = torch.ones(2, 3, dtype=torch.float64).to(there)
        assert brought.dtype == torch.float32
        assert (there + brought).mT.reshape(-1).tolist() == [2.0] * 6
        assert type(there.cpu()) is torch.Tensor


def test_what_cuda_allows_is_allowed():
    with second_device() as device:
        rows = torch.arange(6.0, device=device).view(3, 2)
        assert (rows * torch.tensor(2.0)).sum().item() == 30.0
        assert rows[torch.tensor([0, 2])].cpu().tolist() == [[0.0, 1.0], [4.0, 5.0]]
        rows.copy_(torch.ones(3, 2))
        assert rows.eq(1.0).all()
        assert isinstance(torch.zeros(2, device=torch.device("cuda")), There)
        assert torch.tensor([1.0, 2.0], device=device).sum().item() == 3.0


@pytest.mark.parametrize(
    "mixed",
    [
        lambda there, here: there + here,
        lambda there, here: here @ there,
        lambda there, here: torch.where(here > 0, there, there),
        lambda there, here: torch.cat([there, here]),
        lambda there, here: here[there.long()] if here.ndim == 0 else there.index_select(0, here.long()[0]),
        lambda there, here: there.masked_fill(here > 0, 0.0),
        lambda there, here: there.numpy(),
        lambda there, here: np.asarray(there),
        lambda there, here: there.normal_(generator=torch.Generator()),
    ],
)
def test_what_cuda_refuses_is_refused(mixed):
    with second_device() as device, pytest.raises(WrongDeviceError):
        mixed(torch.ones(2, 2, device=device), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("what", "is_wait"),
    [
        (lambda there: bool((there > 0).any()), True),
        (lambda there: there.nonzero(), True),
        (lambda there: there[there > 0], True),
        (lambda there: there.cpu(), True),
        (lambda there: there.tolist(), True),
        (lambda there: torch.where(there > 0, there, 0.0)[torch.tensor([1, 0])].sum(), False),
    ],
)
def test_it_tells_what_waits_for_it(what, is_wait):
    with second_device() as device:
        there = torch.ones(2, 2, device=device)
        waits.clear()
        what(there)
        assert bool(waits) == is_wait
