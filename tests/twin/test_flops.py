"""The count of operations agrees with that of torch, which looks at every product."""

import functools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dtb.config import TwinConfig
from dtb.twin.flops import forward_flops
from dtb.twin.model import Twin
from dtb.twin.recurrence.scan import scan
from dtb.twin.sizes import TwinSizes

PEOPLE, SEGMENTS, STEPS = 3, 4, 50


@pytest.mark.parametrize("cell", ["elman", "gated"])
@pytest.mark.parametrize("generation", ["full", "low_rank"])
@pytest.mark.parametrize("components", [0, 5])
def test_count_is_that_of_every_product(cell, generation, components, monkeypatch):
    monkeypatch.setattr("dtb.twin.model.scan", functools.partial(scan, method="reference"))
    config = TwinConfig(
        num_hidden=24,
        cell=cell,
        generation=generation,
        rank=3,
        connectome_components=components,
        bold="direct",
        person_effects=False,
    )
    twin = Twin(config, TwinSizes(num_regions=12, num_channels=5, num_alternatives=2, num_bold_regions=4)).eval()
    with FlopCounterMode(display=False) as counter:
        output = twin(torch.randn(PEOPLE, twin.sizes.num_edges), torch.rand(PEOPLE, SEGMENTS, STEPS, 5))
        twin.bold_at_steps(output)
    counted = forward_flops(twin, PEOPLE, PEOPLE * SEGMENTS * STEPS)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.02)
