"""The kernel that keeps weights on the chip: on a GPU, and elsewhere under Triton's interpreter, as exact as float32 allows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dtb.cli.command_line import parse
from dtb.config import Config
from dtb.twin.recurrence import persistent
from dtb.twin.recurrence.cells import CellName
from dtb.twin.recurrence.persistent import MOST_UNITS, fits, persistent_scan, starts
from tests.twin.recurrence.test_scan import (
    CELLS,
    Case,
    disturbed_and_not,
    make_case,
    scattered,
    states_and_gradients,
    with_gradients,
)

pytest.importorskip("triton", reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Ragged against blocks of 16 and 64 units; one step, one segment, one unit.
SIZES = [(3, 2, 7, 5), (1, 1, 1, 1), (1, 2, 4, 33)]


def on_device(case: Case) -> list[torch.Tensor]:
    there = case.to(DEVICE)
    weights = there.recurrence.dense()
    states = persistent_scan(case.cell, there.drive, weights, there.rate, there.noise, there.initial)
    return with_gradients(states, there.leaves)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_it_agrees_with_float64(cell: CellName, sizes: tuple[int, int, int, int]) -> None:
    for case in disturbed_and_not(make_case(cell, "full", sizes, torch.float32)):
        exact = states_and_gradients(case.to(torch.float64), "reference")
        for one, two in zip(on_device(case), exact, strict=True):
            assert (one.cpu() - two).abs().max() <= 3e-6 * two.abs().max()


@pytest.mark.parametrize("cell", CELLS)
def test_it_runs_low_rank_weights_multiplied_out_and_any_layout(cell: CellName) -> None:
    case = scattered(make_case(cell, "low_rank", dtype=torch.float32))
    exact = states_and_gradients(case.to(torch.float64), "reference")
    for one, two in zip(on_device(case), exact, strict=True):
        assert (one.cpu() - two).abs().max() <= 3e-6 * two.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "lowrank", "default"])
def test_it_agrees_over_as_many_steps_and_units_as_configurations_make(name: str) -> None:
    """The paper's 400 units do not fit on a chip, and take the other path; numbers of regions come in nowhere."""
    path = Path(__file__).parents[3] / "configs" / f"{name}.yaml"
    config = Config() if name == "default" else parse("train", ["a", "b", "--config", str(path)])[1]
    num_steps = round(config.segments.segment_seconds / config.twin.step_seconds)
    assert config.twin.num_hidden <= MOST_UNITS
    case = make_case(config.twin.cell, "full", (1, 1, num_steps, config.twin.num_hidden), torch.float32)
    exact = states_and_gradients(case.to(torch.float64), "reference")
    for one, two in zip(on_device(case), exact, strict=True):
        assert (one.cpu() - two).abs().max() <= 1e-4 * two.abs().max()


def test_extreme_drives_saturate_and_what_is_not_a_number_stays_one() -> None:
    drive = torch.tensor([-1e30, -50.0, -1e-20, 0.0, 1e-3, 0.625, 9.0, 1e30, torch.nan], device=DEVICE)
    states = persistent_scan(
        "elman", drive[None, None, None], torch.zeros(1, 9, 9, device=DEVICE), None, None
    ).flatten()
    torch.testing.assert_close(states[:-1], torch.tanh(drive[:-1]), rtol=1e-6, atol=0)
    assert torch.isnan(states[-1])


def test_only_float32_on_a_gpu_and_weights_that_fit_go_there() -> None:
    assert not fits(torch.zeros(1), 64)
    if DEVICE == "cuda":
        drive = torch.zeros(1, device=DEVICE)
        assert fits(drive, MOST_UNITS)
        assert not fits(drive, MOST_UNITS + 1)
        assert not fits(drive.double(), 64)


@pytest.fixture
def untried() -> Iterator[None]:
    starts.cache_clear()
    yield
    starts.cache_clear()


@pytest.mark.usefixtures("untried")
def test_a_kernel_that_starts_is_tried_once_and_gives_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert starts(torch.device(DEVICE))
    assert starts(torch.device(DEVICE))
    assert starts.cache_info().misses == 1
    assert not recwarn


@pytest.mark.usefixtures("untried")
def test_a_kernel_that_does_not_start_leaves_networks_to_the_other_path_with_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(persistent, "_launch", fail)
    monkeypatch.setattr(persistent, "starts", lambda _: starts(torch.device(DEVICE)))
    drive = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    with pytest.warns(RuntimeWarning, match="Failed to find C compiler.*apt-get install gcc") as warned:
        assert [fits(drive, 64), fits(drive, 64)] == [False, False]  # type: ignore[arg-type]
    assert len(warned) == 1


COMPILED = """
import subprocess, sys, tempfile
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dtb.twin.recurrence import kernels
absent = {"rate_SN", "rate_gradient_SKN", "noise_SKTN", "initial_SKN"}
for kernel in (kernels.forward_kernel, kernels.backward_kernel):
    constants = {"CELL": 2, "BLOCK": 128} | dict.fromkeys(absent & set(kernel.arg_names))
    kinds = {name: "constexpr" if name in constants else "i32" if name in "KTN" else "*fp32" for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    made = triton.compile(ASTSource(kernel, kinds, values), target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    path = Path(tempfile.mkdtemp()) / "kernel.cubin"
    path.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    print(subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.slow
@pytest.mark.on_request
def test_compiled_for_a_gpu_the_largest_weights_stay_in_registers(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    registers, stack = ([int(number) for number in re.findall(rf"{name}:(\d+)", found)] for name in ("REG", "STACK"))
    assert len(registers) == 2
    # 2 * 128 * 128 weights over 256 threads.
    assert min(registers) > 128
    assert stack == [0, 0]
