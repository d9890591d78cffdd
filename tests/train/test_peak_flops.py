"""What a training's throughput is a share of: the data sheet of a known GPU, else the rate at which matrices are multiplied here."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

from dtb.train.peak_flops import peak_flops


@pytest.mark.parametrize(
    ("name", "float32", "bf16"),
    [
        ("NVIDIA A100-SXM4-80GB", 19.5e12, 312e12),
        ("NVIDIA H100 80GB HBM3", 67e12, 989e12),
        ("NVIDIA H100 PCIe", 51e12, 756e12),
    ],
)
def test_known_gpus_have_their_data_sheets_peak(monkeypatch, name, float32, bf16):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda"), "float32") == float32
    assert peak_flops(torch.device("cuda"), "bf16") == bf16


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_cpus_peak_is_its_fastest_product(monkeypatch, precision):
    # Products that take 0.5, 0.25, 0.125 and 0.5 seconds, with a second between them.
    took = itertools.accumulate((0.0, 0.5, 1.0, 0.25, 1.0, 0.125, 1.0, 0.5))
    monkeypatch.setattr(time, "perf_counter", lambda: next(took))
    assert peak_flops(torch.device("cpu"), precision) == 2 * 1024**3 / 0.125
