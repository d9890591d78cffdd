"""What a first GPU runs, walked without one: training, simulation, update and search with every tensor on a second device.

`tests.second_device` refuses what mixes two devices, as CUDA does; results are compared with those of the processor.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from dtb.config import InterveneConfig, SimulateConfig, UpdateConfig
from dtb.fleet import twins
from dtb.fleet.named_target import make_search_target
from dtb.fleet.search_worker import SearchWorker
from dtb.fleet.simulate import SimulationWorker
from dtb.fleet.support import Support
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.twins import SharedTwin, open_shared_twin
from dtb.fleet.update import UpdateWorker
from dtb.train import worker
from dtb.train.looks import Looks
from tests.fleet.world import make_world
from tests.second_device import second_device, waits
from tests.train.conftest import small_config, write_cohort
from tests.train.ranks import make_job, read_rows

KEYS = ["p0000", "p0001", "p0002"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_twin(tmp_path_factory: pytest.TempPathFactory) -> SharedTwin:
    return open_shared_twin(*make_world(tmp_path_factory.mktemp("world")))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch):
    """Have this process hold a GPU."""
    with second_device() as device:
        monkeypatch.setattr(twins, "device", lambda: device)
        yield device


def simulated(shared_twin: SharedTwin) -> dict[str, pa.Table]:
    settings = SimulateConfig(num_draws=2)
    return dict(SimulationWorker([shared_twin], seed=3, settings=settings).work(KEYS).tables)


def updated(shared_twin: SharedTwin) -> dict[str, pa.Table]:
    return dict(UpdateWorker([shared_twin], seed=3, settings=UpdateConfig()).work(KEYS).tables)


def searched(shared_twin: SharedTwin) -> dict[str, pa.Table]:
    """Search, and return what everybody's twin does before any change and what changes were found."""
    asked = InterveneConfig(budget=0.2, num_steps=2, task="stroop", metric="euclidean")
    target = make_search_target(asked, shared_twin)
    surveyed = SurveyWorker([shared_twin], target, seed=0, sample=frozenset(KEYS)).work(KEYS)
    assert not surveyed.failures
    survey = dataclasses.replace(
        target.survey([surveyed.tables["people"]], ()), support=Support(num_people=30, r=0.6, p_value=0.001)
    )
    found = SearchWorker([shared_twin], target, seed=0, survey=survey).work(KEYS)
    assert not found.failures
    assert found.tables
    assert all(table.num_rows for table in found.tables.values())
    return {f"before.{name}": table for name, table in surveyed.tables.items()} | dict(found.tables)


def numbers(tables: dict[str, pa.Table]) -> dict[str, np.ndarray]:
    return {
        f"{name}.{column}": table[column].to_numpy()
        for name, table in tables.items()
        for column in table.column_names
        if pa.types.is_floating(table[column].type)
    }


def assert_same(found: dict[str, pa.Table], wanted: dict[str, pa.Table], tolerance: float) -> None:
    one, two = numbers(found), numbers(wanted)
    assert one.keys() == two.keys()
    assert one
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_people_are_simulated_there(shared_twin: SharedTwin, request: pytest.FixtureRequest) -> None:
    wanted = simulated(shared_twin)
    request.getfixturevalue("there")
    assert_same(simulated(shared_twin), wanted, 1e-4)


def test_people_are_updated_there(shared_twin: SharedTwin, request: pytest.FixtureRequest) -> None:
    wanted = updated(shared_twin)
    request.getfixturevalue("there")
    assert_same(updated(shared_twin), wanted, 1e-3)


def test_people_are_searched_there(shared_twin: SharedTwin, request: pytest.FixtureRequest) -> None:
    wanted = searched(shared_twin)
    request.getfixturevalue("there")
    assert_same(searched(shared_twin), wanted, 1e-3)


class _Engine:
    """What the loop asks of DeepSpeed's engine, on the second device: DeepSpeed itself knows processors and GPUs alone.

    From one forward pass to the next nothing may wait for the device: not the backward pass, the optimizer, nor what is summed up.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self.module, self.device = module.to(device), device
        assert all(tensor.device == device for tensor in (*module.parameters(), *module.buffers()))
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
        self.global_rank, self.world_size = 0, 1
        self.num_steps = 0

    def train(self) -> None:
        self.module.train()
        waits.clear()

    def eval(self) -> None:
        self.module.eval()
        waits.clear()

    def __call__(self, batch: Any) -> Any:
        assert not waits, f"the step before waits for its device: {waits}"
        found = self.module(batch)
        assert not waits, f"the forward pass waits for its device: {waits}"
        return found

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()
        assert not waits, f"the backward pass waits for its device: {waits}"

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.num_steps += 1
        assert not waits, f"the optimizer's step waits for its device: {waits}"

    def get_lr(self) -> list[float]:
        return [self.optimizer.param_groups[0]["lr"]]

    def zero_optimization(self) -> bool:
        return False

    bfloat16_enabled = zero_optimization_partition_weights = zero_optimization


def _looked(looks: Looks) -> None:
    """Look as a step does: at the batch before, whose flags a GPU has copied to main memory meanwhile. This device copies nothing beside its work."""
    before = list(waits)
    _LOOK(looks)
    waits[:] = before


_LOOK = Looks._look


@pytest.mark.parametrize(
    "twin",
    [
        {},
        {"cell": "gated", "generation": "full"},
        {"bold": "direct", "press": "sigmoid", "person_effects": False},
    ],
)
def test_a_twin_is_trained_there_without_a_wait_in_a_step(
    twin: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, shards = small_config(max_epochs=1, batch_size=2), write_cohort(tmp_path / "shards")
    config = dataclasses.replace(config, twin=dataclasses.replace(config.twin, **twin))
    monkeypatch.setattr("dtb.train.worker.checkpoints.save_checkpoint", lambda *_: None)
    monkeypatch.setattr(Looks, "_look", _looked)
    monkeypatch.setattr(
        "dtb.train.loop.peak_of_all", lambda *_: 1e12
    )  # it multiplies matrices that are large for a processor
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        for place in ("here", "there"):
            with second_device() if place == "there" else contextlib.nullcontext(torch.device("cpu")) as device:
                made: list[_Engine] = []
                monkeypatch.setattr(
                    worker,
                    "make_engine",
                    lambda module, _, at=device, made=made: made.append(_Engine(module, at)) or made[0],
                )
                worker.work(make_job(config, shards, tmp_path / place))
                assert made[0].num_steps == 2
    finally:
        torch.distributed.destroy_process_group()
    here, there = (read_rows(tmp_path / name) for name in ("here", "there"))
    for one, two in zip(here, there, strict=True):
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-3)
